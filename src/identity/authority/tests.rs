mod property;
mod secret;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};

use super::{
    certificate::Pair,
    content::{Content, Data, Phase},
    issue::{Authority, Issued},
    rotation::{Found, Plan, Step, after, due, fresh, plan},
};
use crate::{key::GatewayId, settings::IdentityTimings};

/// Seconds in place of days.
const TIMINGS: IdentityTimings = IdentityTimings {
    authority: Duration::from_secs(300),
    leaf: Duration::from_secs(30),
    overlap: Duration::from_secs(20),
    skew: Duration::ZERO,
    request: Duration::from_secs(3),
    ..IdentityTimings::PRODUCTION
};

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

fn rotated(content: Content, step: Step, seconds: u64) -> Content {
    after(content, step, None, at(seconds), &TIMINGS).unwrap()
}

/// An authority in a phase that began at second 100.
fn content(phase: Phase) -> Content {
    let settled = Content { since: at(100), ..fresh(at(0), &TIMINGS).unwrap() };
    match phase {
        Phase::Settled => settled,
        Phase::Spreading => rotated(settled, Step::Begin, 100),
        Phase::Retiring => rotated(rotated(settled, Step::Begin, 50), Step::Switch, 100),
    }
}

#[test]
fn a_rotation_goes_on_when_its_time_has_come() {
    let check = |phase, asked: Option<&str>, seconds, expect: Option<Step>| {
        let step = due(&content(phase), asked, at(seconds), &TIMINGS);
        assert_eq!(step, expect, "{phase:?} at {seconds}");
    };
    // By age: two thirds of 300 s.
    check(Phase::Settled, None, 199, None);
    check(Phase::Settled, None, 200, Some(Step::Begin));
    // By the operator; the content has answered nothing yet.
    check(Phase::Settled, Some("now"), 100, Some(Step::Begin));
    check(Phase::Settled, Some(""), 100, None);
    check(Phase::Spreading, None, 123, None);
    check(Phase::Spreading, Some("now"), 123, None);
    check(Phase::Spreading, None, 124, Some(Step::Switch));
    check(Phase::Retiring, None, 153, None);
    check(Phase::Retiring, Some("now"), 153, None);
    check(Phase::Retiring, None, 154, Some(Step::Retire));
    // An authority that has ended overlaps with nothing.
    check(Phase::Settled, None, 301, Some(Step::Replace));
    check(Phase::Spreading, None, 301, Some(Step::Switch));
    check(Phase::Spreading, None, 401, Some(Step::Replace));
    // A clock that went back waits.
    check(Phase::Spreading, None, 0, None);
}

#[test]
fn a_rotation_replaces_what_signs_and_keeps_what_was_trusted() {
    let settled = content(Phase::Settled);
    let old = settled.signer.clone();
    let roots = |content: &Content| content.trusted().cloned().collect::<Vec<_>>();

    let spreading = after(settled, Step::Begin, Some("a"), at(100), &TIMINGS).unwrap();
    let next = spreading.next.clone().unwrap();
    assert_eq!(spreading.signer, old);
    assert_eq!(roots(&spreading), [old.root.clone(), next.root.clone()]);
    assert_eq!(spreading.answered, "a");

    let retiring = after(spreading, Step::Switch, Some("b"), at(120), &TIMINGS).unwrap();
    assert_eq!(retiring.signer, next);
    assert_eq!(roots(&retiring), [next.root.clone(), old.root.clone()]);
    assert_eq!(retiring.answered, "b", "what signed when it was asked signs no more");

    let settled = after(retiring, Step::Retire, Some("c"), at(170), &TIMINGS).unwrap();
    assert_eq!(settled.signer, next);
    assert_eq!(roots(&settled), [next.root]);
    assert_eq!(due(&settled, Some("c"), at(170), &TIMINGS), Some(Step::Begin));
    assert_eq!(due(&settled, Some("b"), at(170), &TIMINGS), None);
    assert_eq!(due(&settled, None, at(170), &TIMINGS), None);

    let replaced = rotated(settled, Step::Replace, 500);
    assert_eq!(roots(&replaced), std::slice::from_ref(&replaced.signer.root));
    assert_eq!(replaced.answered, "b");
}

/// How a plan comes out, without its content.
fn outcome(known: Option<&Content>, found: Found, asked: Option<&str>) -> &'static str {
    match plan(known, found, asked, at(110), &TIMINGS).unwrap() {
        Plan::Adopt(_) => "adopt",
        Plan::Write(next) if Some(&next) == known => "write what is known",
        Plan::Write(next) if next.phase() == Phase::Settled => "write a new one",
        Plan::Write(_) => "write the next step",
        Plan::Keep(_) => "keep",
    }
}

#[test]
fn fault_d08_what_is_known_is_never_given_up_for_a_secret_that_is_gone_or_broken() {
    let known = content(Phase::Settled);
    let other = content(Phase::Settled);
    let broken = || Found::Broken("garbage".into());
    let check = |known: Option<&Content>, found, asked, expect: &str| {
        assert_eq!(outcome(known, found, asked), expect);
    };
    check(None, Found::Nothing, None, "write a new one");
    check(None, Found::Content(other.clone().into()), None, "adopt");
    check(None, broken(), None, "keep");
    check(Some(&known), Found::Nothing, None, "write what is known");
    check(Some(&known), Found::Nothing, Some("now"), "write what is known");
    check(Some(&known), broken(), None, "keep");
    check(Some(&known), broken(), Some("now"), "keep");
    check(Some(&known), Found::Content(known.clone().into()), None, "adopt");
    check(Some(&known), Found::Content(known.clone().into()), Some("now"), "write the next step");
    check(Some(&known), Found::Content(other.into()), None, "adopt");
}

#[test]
fn all_of_a_rotation_fits_into_the_life_that_is_left_of_an_authority() {
    for timings in [
        IdentityTimings::PRODUCTION,
        IdentityTimings::PRODUCTION.faster(86_400),
        IdentityTimings::PRODUCTION.faster(4 * 86_400),
    ] {
        let IdentityTimings { authority, leaf, overlap, skew, .. } = timings;
        assert!(overlap * 2 + leaf + skew < authority / 3, "{timings:?}");
        // A look is as fresh as a bundle may be old, many times over.
        assert!(timings.look * 10 < overlap, "{timings:?}");
    }
}

fn gateway() -> GatewayId {
    GatewayId::mse("ackone-gateway-hongkong")
}

fn authority(content: Content) -> Authority {
    Authority::new(content, TIMINGS)
}

#[test]
fn a_certificate_is_due_when_it_or_what_it_came_with_is_not_what_it_should_be() {
    let settled = content(Phase::Settled);
    let spreading = rotated(settled.clone(), Step::Begin, 100);
    let retiring = rotated(spreading.clone(), Step::Switch, 120);
    let own = authority(settled.clone()).issue(&gateway(), at(100)).unwrap();
    let other = authority(settled.clone()).issue(&gateway(), at(100)).unwrap();
    let check = |content: &Content, have: Option<&Issued>, gateway: &GatewayId, seconds, expect| {
        let is_due = authority(content.clone()).is_due(have, gateway, at(seconds));
        assert_eq!(is_due, expect, "{have:?} of {gateway} at {seconds}");
    };
    check(&settled, None, &gateway(), 100, true);
    check(&settled, Some(&own), &gateway(), 100, false);
    // Two thirds of 30 s.
    check(&settled, Some(&own), &gateway(), 119, false);
    check(&settled, Some(&own), &gateway(), 120, true);
    check(&settled, Some(&own), &GatewayId::mse("other"), 100, true);
    let foreign_key = Issued { key: other.key.clone(), ..own.clone() };
    check(&settled, Some(&foreign_key), &gateway(), 100, true);
    for garbage in ["", "garbage"] {
        let certificate = Issued { certificate: garbage.into(), ..own.clone() };
        check(&settled, Some(&certificate), &gateway(), 100, true);
        let key = Issued { key: garbage.into(), ..own.clone() };
        check(&settled, Some(&key), &gateway(), 100, true);
        let bundle = Issued { authorities: garbage.into(), ..own.clone() };
        check(&settled, Some(&bundle), &gateway(), 100, true);
    }
    // Another bundle; then the same certificate with it; then another that signs.
    check(&spreading, Some(&own), &gateway(), 100, true);
    let own = authority(spreading.clone()).issue(&gateway(), at(100)).unwrap();
    check(&spreading, Some(&own), &gateway(), 100, false);
    let own = Issued { authorities: retiring.bundle(), ..own };
    check(&retiring, Some(&own), &gateway(), 100, true);
}

#[test]
fn an_issued_certificate_ends_with_its_authority() {
    let content = content(Phase::Settled);
    let issued = authority(content.clone()).issue(&gateway(), at(295)).unwrap();
    assert!(is_client(&issued.certificate, &content.bundle(), 300));
    assert!(!is_client(&issued.certificate, &content.bundle(), 301));
}

#[test]
fn a_certificate_is_for_its_purpose_and_no_other() {
    let content = content(Phase::Settled);
    let names = ["convoy.convoy-system.svc".to_owned()];
    let server = authority(content.clone()).server(&names, at(100)).unwrap();
    let issued = authority(content.clone()).issue(&gateway(), at(100)).unwrap();
    let client = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
    let check = |leaf: &CertificateDer<'_>, name: &str, expect| {
        assert_eq!(is_server(leaf, &content.bundle(), name), expect, "{name}");
    };
    check(&server.material.chain[0], "convoy.convoy-system.svc", true);
    check(&server.material.chain[0], "localhost", false);
    check(&client, "convoy.convoy-system.svc", false);
    assert!(is_client(&issued.certificate, &content.bundle(), 100));
    let server = super::certificate::pem(&server.material.chain);
    assert!(!is_client(&server, &content.bundle(), 100));
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    assert!(matches!(key, PrivateKeyDer::Pkcs8(_)));
    assert!(!format!("{issued:?}").contains("PRIVATE"));
}

#[test]
fn what_is_written_is_read_back() {
    for phase in Phase::ALL {
        let content = Content { answered: "twice \"now\"".into(), ..content(phase) };
        let mut data = Data::from([("other".to_owned(), b"kept".to_vec())]);
        content.write(&mut data);
        assert_eq!(Content::parse(&data), Ok(Some(content.clone())), "{phase:?}");
        assert_eq!(content.phase(), phase);
        assert_eq!(data["other"], b"kept");
        // Nothing of an earlier phase stays.
        let mut again = data.clone();
        self::content(Phase::Settled).write(&mut again);
        assert_eq!(Content::parse(&again).unwrap().unwrap().phase(), Phase::Settled);
    }
    assert_eq!(Content::parse(&Data::new()), Ok(None));
}

#[test]
fn a_secret_that_is_broken_says_where() {
    let check = |key: &str, value: Option<&str>, expect: &str| {
        let mut data = Data::new();
        content(Phase::Spreading).write(&mut data);
        match value {
            Some(value) => data.insert(key.to_owned(), value.as_bytes().to_vec()),
            None => data.remove(key),
        };
        assert_eq!(Content::parse(&data).unwrap_err(), expect);
    };
    let other = content(Phase::Settled);
    let pem = other.bundle();
    let leaf = authority(other.clone()).issue(&gateway(), at(100)).unwrap().certificate;
    check("tls.crt", None, "`tls.crt` is missing");
    check("tls.key", Some(""), "`tls.key` is missing");
    check("ca.crt", None, "`ca.crt` is missing");
    check("next.crt", None, "`next.crt` is missing");
    check("next.key", None, "`next.key` is missing");
    check("rotation", None, "`rotation` is missing");
    let pair = "`tls.crt` and `tls.key`: the";
    let check_pair =
        |key, value: &str, why: &str| check(key, Some(value), &format!("{pair} {why}"));
    check_pair("tls.crt", "garbage", "certificate is not legal PEM of exactly one");
    check_pair("tls.crt", &format!("{pem}{pem}"), "certificate is not legal PEM of exactly one");
    check_pair(
        "tls.crt",
        &leaf,
        "certificate's PEM holds a certificate that is not an authority's",
    );
    check_pair("tls.key", "garbage", "key is not legal PEM of a PKCS#8 key");
    check_pair("tls.key", &other.signer.key_pem(), "key does not belong to the certificate");
    let torn = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    check("ca.crt", Some(torn), "`ca.crt` holds a certificate that cannot be parsed");
    check("rotation", Some("{"), "`rotation` is not what Convoy writes");
    let endless = format!("{{\"since\": {}}}", u64::MAX);
    check("rotation", Some(&endless), "`rotation` has no legal time");
}

fn roots(bundle: &str) -> std::sync::Arc<rustls::RootCertStore> {
    let mut roots = rustls::RootCertStore::empty();
    for der in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(der.unwrap()).unwrap();
    }
    std::sync::Arc::new(roots)
}

fn provider() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
    std::sync::Arc::new(rustls::crypto::ring::default_provider())
}

fn unix_time(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(at(seconds).duration_since(UNIX_EPOCH).unwrap())
}

/// Whether a server that trusts the bundle lets in who has this certificate.
fn is_client(certificate: &str, bundle: &str, seconds: u64) -> bool {
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(roots(bundle), provider());
    let leaf = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    verifier.build().unwrap().verify_client_cert(&leaf, &[], unix_time(seconds)).is_ok()
}

/// Whether a client that trusts the bundle takes the certificate for that of a server.
fn is_server(leaf: &CertificateDer<'_>, bundle: &str, name: &str) -> bool {
    use rustls::client::{WebPkiServerVerifier, danger::ServerCertVerifier};
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(bundle), provider());
    let name = ServerName::try_from(name).unwrap();
    let verifier = verifier.build().unwrap();
    verifier.verify_server_cert(leaf, &[], &name, &[], unix_time(100)).is_ok()
}

#[test]
fn no_two_authorities_have_the_same_name() {
    let one = Pair::new(at(0), TIMINGS.skew, TIMINGS.authority).unwrap();
    let other = Pair::new(at(0), TIMINGS.skew, TIMINGS.authority).unwrap();
    assert_ne!(one.root.subject, other.root.subject);
}
