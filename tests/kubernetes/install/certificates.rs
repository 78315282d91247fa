//! Certificates of xDS are renewed under load (row D8): streams survive or come back, and nobody loses a
//! request.
//!
//! A rotation takes months. Its phases are told from the time at which each began, so the test sets that
//! time back once all that is waited for has happened.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use convoy::identity::authority::ROTATE;
use convoy::settings::IdentityTimings;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Value, json};

use super::{
    NAMESPACE, PATIENCE, admin, is_followed, kept, loses_nothing, object, pods_of, rollout::restart,
};
use crate::{
    bed::{guide::GATEWAY_NAME, poll::eventually},
    harness::figure,
    scene::Scene,
};

/// The Secret of Convoy's own authority.
const AUTHORITY: &str = "secret convoy-authority";

/// A value of a Secret; none of what is absent.
fn value(secret: &Value, key: &str) -> Option<Vec<u8>> {
    secret["data"][key].as_str().map(|text| STANDARD.decode(text).unwrap())
}

/// The serial numbers of all certificates in a PEM text, as Envoy prints them.
fn serials(pem: &[u8]) -> Vec<String> {
    let serial = |der: CertificateDer<'_>| {
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
        let hex: String =
            certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect();
        hex.trim_start_matches('0').to_owned()
    };
    CertificateDer::pem_slice_iter(pem).map(|der| serial(der.unwrap())).collect()
}

/// What a gateway's Envoys prove themselves with, and whom they trust.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    leaf: Vec<String>,
    trusted: Vec<String>,
}

fn stored(scene: &Scene) -> Result<Identity, String> {
    let secret = object(&scene.world.fleet, &format!("secret {}", kept(GATEWAY_NAME)))?;
    let of = |key| value(&secret, key).map(|pem| serials(&pem)).ok_or("it is not complete");
    Ok(Identity { leaf: of("tls.crt")?, trusted: of("ca.crt")? })
}

/// Waits until the Secret of the gateway is as it should be, and each of its Envoys uses that.
async fn is_used(scene: &Scene, what: &str, is_so: impl Fn(&Identity) -> bool) -> Identity {
    let identity = eventually(PATIENCE, what, || async {
        let found = stored(scene)?;
        if is_so(&found) { Ok(found) } else { Err(format!("{found:?}")) }
    })
    .await;
    for pod in pods_of(&scene.world.fleet, &kept(GATEWAY_NAME)).unwrap() {
        eventually(PATIENCE, &format!("{pod} uses it"), || async {
            let loaded = admin(scene, &pod, "/certs").await?;
            let uses = |serial: &String| loaded.contains(serial.as_str());
            let all = identity.leaf.iter().take(1).chain(&identity.trusted).all(uses);
            if all { Ok(()) } else { Err(format!("{identity:?} {loaded}")) }
        })
        .await;
    }
    identity
}

/// Waits until the authority is in a phase: by whether a next one is there, and how many are trusted.
async fn authority_is(scene: &Scene, has_next: bool, trusted: usize) {
    eventually(PATIENCE, "the rotation goes on", || async {
        let secret = object(&scene.world.fleet, AUTHORITY)?;
        let now = (
            secret["data"]["next.crt"].is_string(),
            serials(&value(&secret, "ca.crt").unwrap_or_default()).len(),
        );
        if now == (has_next, trusted) { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
}

/// The phase began so long before now.
fn set_back(scene: &Scene, by: Duration) {
    let fleet = &scene.world.fleet;
    let secret = object(fleet, AUTHORITY).unwrap();
    let rotation = value(&secret, "rotation").unwrap();
    let mut rotation: Value = serde_json::from_slice(&rotation).unwrap();
    let since = SystemTime::now() - by;
    rotation["since"] = json!(since.duration_since(UNIX_EPOCH).unwrap().as_secs());
    let patch = json!({"data": {"rotation": STANDARD.encode(rotation.to_string())}});
    fleet.kubectl(&format!("patch {AUTHORITY} -n {NAMESPACE} -p {patch}"));
}

/// A Secret that somebody deletes is made again, with another certificate.
pub(super) async fn fault_d08_a_certificate_is_renewed_under_load(scene: &mut Scene) {
    let before = is_used(scene, "there is a certificate", |_| true).await;
    loses_nothing(scene, "certificate renewed", async |scene| {
        let secret = kept(GATEWAY_NAME);
        scene.world.fleet.kubectl(&format!("delete secret {secret} -n {NAMESPACE}"));
        let is_new = |it: &Identity| it.leaf != before.leaf && it.trusted == before.trusted;
        is_used(scene, "there is a new certificate", is_new).await;
        is_followed(scene, "after-renewal").await;
        // Those who connect anew are let in with it.
        restart(scene, "convoy").await;
        is_followed(scene, "after-renewal-anew").await;
    })
    .await;
}

pub(super) async fn fault_d08_the_authority_is_rotated_under_load(scene: &mut Scene) {
    let IdentityTimings { leaf, overlap, .. } = IdentityTimings::PRODUCTION;
    let before = is_used(scene, "there is a certificate", |_| true).await;
    assert_eq!(before.trusted.len(), 1, "{before:?}");
    loses_nothing(scene, "authority rotated", async |scene| {
        let words = format!("annotate {AUTHORITY} -n {NAMESPACE} {ROTATE}=now");
        scene.world.fleet.kubectl(&words);
        authority_is(scene, true, 2).await;
        is_used(scene, "both are trusted", |it| it.trusted.len() == 2).await;
        set_back(scene, overlap);
        authority_is(scene, false, 2).await;
        let is_new = |it: &Identity| it.leaf != before.leaf && it.trusted.len() == 2;
        is_used(scene, "the new one signs", is_new).await;
        is_followed(scene, "after-switch").await;
        set_back(scene, overlap + leaf);
        authority_is(scene, false, 1).await;
        let is_other = |it: &Identity| it.trusted.len() == 1 && it.trusted != before.trusted;
        let after = is_used(scene, "only the new one is trusted", is_other).await;
        figure(&format!("authority {} in place of {}", after.trusted[0], before.trusted[0]));
        // Those who connect anew are let in with what it signed.
        restart(scene, "convoy").await;
        is_followed(scene, "after-rotation").await;
    })
    .await;
}
