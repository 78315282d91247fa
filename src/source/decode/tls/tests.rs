//! A corpus of Secrets, good and bad. `testdata/` holds what rcgen cannot make: RSA keys, a
//! certificate of version 1, encrypted keys.

use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair as RcgenKey, PKCS_ECDSA_P384_SHA384,
    PKCS_ED25519, date_time_ymd,
};
use serde_json::json;

use super::*;
use crate::{
    key::Scope,
    source::decode::{Decoded, decode},
};

/// 2030-01-01.
const NOW: i64 = 1_893_456_000;

macro_rules! testdata {
    ($name:literal) => {
        include_str!(concat!("testdata/", $name))
    };
}

/// A certificate and its key, both PEM.
struct Pair {
    crt: String,
    key: String,
}

fn self_signed(from: i32, to: i32) -> Pair {
    let key = RcgenKey::generate().unwrap();
    let certificate = params("a.test", from, to).self_signed(&key).unwrap();
    Pair { crt: certificate.pem(), key: key.serialize_pem() }
}

fn params(name: &str, from: i32, to: i32) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    params
}

/// A leaf, and the authority that issued it.
fn issued() -> (Pair, Pair) {
    let ca_key = RcgenKey::generate().unwrap();
    let mut ca_params = params("ca.test", 2020, 2040);
    ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = ca_params.self_signed(&ca_key).unwrap();
    let ca_pair = Pair { crt: ca.pem(), key: ca_key.serialize_pem() };
    let key = RcgenKey::generate().unwrap();
    let issuer = Issuer::new(ca_params, ca_key);
    let leaf = params("leaf.test", 2020, 2040).signed_by(&key, &issuer).unwrap();
    (Pair { crt: leaf.pem(), key: key.serialize_pem() }, ca_pair)
}

fn of_algorithm(algorithm: &'static rcgen::SignatureAlgorithm) -> Pair {
    let key = RcgenKey::generate_for(algorithm).unwrap();
    let certificate = params("a.test", 2020, 2040).self_signed(&key).unwrap();
    Pair { crt: certificate.pem(), key: key.serialize_pem() }
}

fn decoded(type_: &str, crt: &str, key: &str) -> (Secret, Option<i64>) {
    let manifest = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "cert" },
        "type": type_, "stringData": { "tls.crt": crt, "tls.key": key },
    });
    let decoded = decode(&Scope::Fleet, manifest, NOW);
    let Decoded::Object { object: Object::Secret(secret), diags, judge_again } = decoded else {
        panic!("{decoded:?}")
    };
    assert_eq!(diags, [], "a Secret's problem is told where it is used");
    ((*secret).clone(), judge_again)
}

#[track_caller]
fn good(crt: &str, key: &str) -> KeyPair {
    let (secret, _) = decoded(TLS_TYPE, crt, key);
    assert_eq!(secret.problem, None);
    (*secret.pair.expect("a pair")).clone()
}

#[track_caller]
fn refused(crt: &str, key: &str, problem: &str) {
    let (secret, judge_again) = decoded(TLS_TYPE, crt, key);
    assert_eq!(secret.pair, None);
    assert_eq!(secret.problem.as_deref(), Some(problem));
    assert_eq!(judge_again, None);
}

#[test]
fn good_pairs_are_served_as_they_are() {
    let Pair { crt, key } = self_signed(2020, 2040);
    let pair = good(&crt, &key);
    assert_eq!(String::from_utf8(pair.chain).unwrap(), crt.replace('\r', ""));
    assert_eq!(String::from_utf8(pair.key).unwrap(), key.replace('\r', ""));
    let p384 = of_algorithm(&PKCS_ECDSA_P384_SHA384);
    good(&p384.crt, &p384.key);
    good(testdata!("rsa2048.crt"), testdata!("rsa2048.key"));
    let (leaf, ca) = issued();
    good(&format!("{}{}", leaf.crt, ca.crt), &leaf.key);
}

/// As the usual commands make it: version 1, and with parameters before the key.
#[test]
fn only_what_was_checked_is_served() {
    let noise = format!("subject=CN = ecv1.test\n\n{}\ntrailing text", testdata!("ecv1.crt"));
    let pair = good(&noise, testdata!("ecv1.key"));
    let (chain, key) =
        (String::from_utf8(pair.chain).unwrap(), String::from_utf8(pair.key).unwrap());
    assert_eq!(chain, testdata!("ecv1.crt"));
    assert!(key.starts_with("-----BEGIN EC PRIVATE KEY-----\n"), "{key}");
    assert!(testdata!("ecv1.key").ends_with(&key));
}

#[test]
fn fault_f9_malformed() {
    let Pair { crt, key } = self_signed(2020, 2040);
    let cut = crt.replace("-----END", "----END");
    let not_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let crl = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    for (crt, key, problem) in [
        ("", key.as_str(), "`tls.crt` is missing"),
        (&crt, "", "`tls.key` is missing"),
        ("hello", &key, "`tls.crt` holds no certificate"),
        (&cut, &key, "`tls.crt` is not legal PEM"),
        (not_der, &key, "`tls.crt` holds a certificate that cannot be parsed"),
        (&format!("{crt}{crl}"), &key, "`tls.crt` holds something that is not a certificate"),
        (&format!("{crt}{key}"), &key, "`tls.crt` holds something that is not a certificate"),
        (&key, &key, "`tls.crt` holds something that is not a certificate"),
        (&crt, &crt, "`tls.key` holds no private key"),
        (&crt, "hello", "`tls.key` holds no private key"),
    ] {
        refused(crt, key, problem);
    }
}

#[test]
fn fault_f9_size() {
    let Pair { crt, key } = self_signed(2020, 2040);
    let long = format!("{crt}{}", " ".repeat(MAX_PEM_BYTES - crt.len()));
    good(&long, &key);
    refused(&format!("{long} "), &key, "`tls.crt` has 16385 bytes, more than 16384");
    let long = format!("{key}{}", " ".repeat(MAX_PEM_BYTES));
    let (secret, _) = decoded(TLS_TYPE, &crt, &long);
    assert!(secret.problem.unwrap().starts_with("`tls.key` has "));
}

#[test]
fn fault_f9_kind_of_key() {
    let problem = "an RSA key of 1024 bits; 2048 are the least";
    refused(testdata!("rsa1024.crt"), testdata!("rsa1024.key"), problem);
    let ed25519 = of_algorithm(&PKCS_ED25519);
    let problem = "the certificate's key is neither RSA nor ECDSA";
    refused(&ed25519.crt, &ed25519.key, problem);
    for key in [testdata!("encrypted-pkcs8.key"), testdata!("encrypted-sec1.key")] {
        refused(testdata!("ecv1.crt"), key, "`tls.key` is encrypted");
    }
}

#[test]
fn fault_f9_order_of_the_chain() {
    let (leaf, ca) = issued();
    let reversed = format!("{}{}", ca.crt, leaf.crt);
    let problem = "`tls.key` belongs to certificate 2 of `tls.crt`; it must be the first";
    refused(&reversed, &leaf.key, problem);
    let stranger = self_signed(2020, 2040);
    let unrelated = format!("{}{}", leaf.crt, stranger.crt);
    refused(&unrelated, &leaf.key, "certificate 2 of `tls.crt` is not the issuer of 1");
}

#[test]
fn fault_f9_type() {
    let Pair { crt, key } = self_signed(2020, 2040);
    let (secret, _) = decoded("Opaque", &crt, &key);
    assert_eq!(secret.pair, None);
    assert_eq!(secret.problem.unwrap(), "its type is `Opaque`, not `kubernetes.io/tls`");
}

#[test]
fn fault_f11_mismatch() {
    let (one, other) = (self_signed(2020, 2040), self_signed(2020, 2040));
    let problem = "`tls.key` does not belong to the certificate in `tls.crt`";
    refused(&one.crt, &other.key, problem);
    refused(testdata!("rsa2048.crt"), &other.key, problem);
}

/// Usable, so that it is served where there is nothing better; and reported.
#[test]
fn fault_f10_validity() {
    for (from, to, problem, judge_again) in [
        (2020, 2030, None, Some(NOW + 1)),
        (2020, 2029, Some("the certificate has expired"), None),
        (2030, 2031, None, Some(NOW + 365 * 24 * 3600 + 1)),
        (2031, 2032, Some("the certificate is not valid yet"), Some(NOW + 365 * 24 * 3600)),
    ] {
        let Pair { crt, key } = self_signed(from, to);
        let (secret, again) = decoded(TLS_TYPE, &crt, &key);
        assert!(secret.pair.is_some());
        assert_eq!((secret.problem.as_deref(), again), (problem, judge_again), "{from}-{to}");
    }
}

#[test]
fn data_is_base64_and_string_data_wins() {
    let (one, other) = (self_signed(2020, 2040), self_signed(2020, 2040));
    let mut manifest = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "cert" }, "type": TLS_TYPE,
        "data": { "tls.crt": STANDARD.encode(&one.crt), "tls.key": STANDARD.encode(&one.key) },
    });
    let chain = |manifest: &Value| {
        let decoded = decode(&Scope::Fleet, manifest.clone(), NOW);
        let Decoded::Object { object: Object::Secret(secret), .. } = decoded else {
            panic!("{decoded:?}")
        };
        String::from_utf8(secret.pair.clone().unwrap().chain.clone()).unwrap()
    };
    assert_eq!(chain(&manifest), one.crt);
    manifest["stringData"] = json!({ "tls.crt": other.crt, "tls.key": other.key });
    assert_eq!(chain(&manifest), other.crt);
}

/// Neither a message nor a debug print may hold what the Secret holds.
#[test]
fn fault_s6_nothing_leaks() {
    let Pair { crt, key } = self_signed(2020, 2040);
    let canary = key.lines().nth(1).unwrap();
    let malformed = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "cert" }, "type": TLS_TYPE,
        "data": { "tls.crt": key, "tls.key": { "nested": key } },
    });
    let (good, _) = decoded(TLS_TYPE, &crt, &key);
    let (swapped, _) = decoded(TLS_TYPE, &key, &crt);
    let texts = [
        format!("{:?}", decode(&Scope::Fleet, malformed, NOW)),
        format!("{good:?}"),
        format!("{swapped:?}"),
    ];
    for text in texts {
        assert!(!text.contains(canary) && !text.contains("BEGIN"), "{text}");
    }
}
