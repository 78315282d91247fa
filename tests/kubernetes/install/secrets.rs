//! No secret leaves Convoy but to whom it is for (faults.md S6), on real clusters. Convoy has logged all
//! that it can since the chart was upgraded: while certificates and their authority were renewed, and a
//! gateway was taken apart.

use serde_json::Value;

use super::{NAMESPACE, pods_of};
use crate::{
    bed::client::{Client, get},
    clusters::cluster::Cluster,
    harness::figure,
    scene::Scene,
    spelled::{Canary, canaries, scan},
};

/// The Deployment of Convoy itself.
const CONVOY: &str = "convoy";

pub(super) async fn fault_s06_no_key_is_said_at_trace_level(scene: &mut Scene) {
    let fleet = &scene.world.fleet;
    let secrets = secrets(fleet);
    let kinds = ["convoy-authority", "convoy-member-cluster-1", "convoy-ackone-gateway-hongkong"];
    for kind in kinds {
        assert!(secrets.iter().any(|own| own.name.contains(kind)), "no canary of {kind}");
    }
    let said = said(scene).await;
    let bytes: usize = said.iter().map(|(_, text)| text.len()).sum();
    assert!(said.iter().any(|(_, text)| text.contains("TRACE")), "nobody logs all");
    let said: Vec<_> = said.iter().map(|(place, text)| (place.as_str(), text.clone())).collect();
    figure(&format!("{} secrets looked for in {bytes} bytes", secrets.len()));
    let found = scan(&secrets, &said);
    assert!(found.is_empty(), "{found:#?}");
    // What is read here is what would show it.
    let planted = format!("{:?}", secrets[0].bytes);
    assert!(!scan(&secrets, &[("planted", planted)]).is_empty(), "the scan is blind");
}

/// The private keys and the tokens of every Secret of the fleet.
fn secrets(fleet: &Cluster) -> Vec<Canary> {
    let list: Value =
        serde_json::from_str(&fleet.kubectl("get secrets --all-namespaces -ojson")).unwrap();
    let mut found = Vec::new();
    for secret in list["items"].as_array().unwrap() {
        let name = secret["metadata"]["name"].as_str().unwrap();
        for (key, value) in secret["data"].as_object().into_iter().flatten() {
            let text = String::from_utf8(base64(value.as_str().unwrap())).unwrap_or_default();
            let place = format!("{name} {key}");
            if text.contains("PRIVATE KEY") {
                found.extend(canaries(&place, &text));
            }
            if let Some((_, rest)) = text.split_once("token") {
                let is_of_token = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
                let token = rest.split(|c| !is_of_token(c)).find(|word| word.len() > 100);
                found.extend(token.map(|own| Canary { name: place, bytes: own.into() }));
            }
        }
    }
    found
}

/// All that Convoy says, and where.
async fn said(scene: &Scene) -> Vec<(String, String)> {
    let (fleet, kubelet) = (&scene.world.fleet, scene.world.fleet_kubelet());
    let mut said = Vec::new();
    for pod in pods_of(fleet, CONVOY).unwrap() {
        said.push((format!("the log of {pod}"), kubelet.output(NAMESPACE, &pod, CONVOY)));
        let admin = Client::plain((kubelet.address(NAMESPACE, &pod).unwrap(), 18001).into());
        for path in ["/metrics", "/readyz"] {
            let reply = admin.send(&get(path)).await.unwrap();
            let text = String::from_utf8_lossy(&reply.body).into_owned();
            said.push((format!("{path} of {pod}"), text));
        }
    }
    let kinds = "mseingressconfigs,memberclusters,ingresses,configmaps,deployments,services,events";
    let objects = fleet.kubectl(&format!("get {kinds} --all-namespaces -ojson"));
    said.push(("objects".to_owned(), objects));
    said
}

fn base64(text: &str) -> Vec<u8> {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}
