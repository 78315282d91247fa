mod fetch;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{EncodingKey, Header, encode};
use rcgen::{KeyPair, PublicKeyData};
use serde_json::{Value, json};
use x509_parser::{
    prelude::{FromDer, SubjectPublicKeyInfo},
    public_key::PublicKey,
};

use super::*;

/// Whom the tests believe.
const ISSUER: &str = "https://kubernetes.default.svc";

const NOW: u64 = 1_800_000_000;

/// A key that signs tokens.
pub(in crate::identity) struct Signer {
    id: &'static str,
    algorithm: Algorithm,
    encoding: EncodingKey,
    /// As it is published.
    jwk: Value,
}

impl Signer {
    pub(in crate::identity) fn ecdsa(id: &'static str) -> Signer {
        let key = KeyPair::generate().unwrap();
        // Uncompressed: 4, and two coordinates of 32 bytes.
        let (x, y) = key.der_bytes()[1..].split_at(32);
        let jwk = json!({"kty": "EC", "kid": id, "use": "sig", "alg": "ES256", "crv": "P-256",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)});
        let encoding = EncodingKey::from_ec_der(key.serialized_der());
        Signer { id, algorithm: Algorithm::ES256, encoding, jwk }
    }

    /// ring makes no RSA keys: one of the TLS tests.
    fn rsa(id: &'static str) -> Signer {
        let pem = include_str!("../../source/decode/tls/testdata/rsa2048.key");
        let key = KeyPair::from_pem(pem).unwrap();
        let public = key.subject_public_key_info();
        let (_, public) = SubjectPublicKeyInfo::from_der(&public).unwrap();
        let PublicKey::RSA(public) = public.parsed().unwrap() else { panic!("an RSA key") };
        let modulus: Vec<_> =
            public.modulus.iter().copied().skip_while(|byte| *byte == 0).collect();
        let jwk = json!({"kty": "RSA", "kid": id, "use": "sig", "alg": "RS256",
            "n": URL_SAFE_NO_PAD.encode(modulus), "e": URL_SAFE_NO_PAD.encode(public.exponent)});
        // PKCS#8 of 2048 bits has 26 bytes before the key itself.
        let encoding = EncodingKey::from_rsa_der(&key.serialized_der()[26..]);
        Signer { id, algorithm: Algorithm::RS256, encoding, jwk }
    }

    pub(in crate::identity) fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.to_owned()), ..Header::new(self.algorithm) };
        encode(&header, claims, &self.encoding).unwrap()
    }
}

/// What an API server puts into a token of an Envoy's Pod.
pub(in crate::identity) fn claims() -> Value {
    json!({
        "aud": ["convoy"],
        "exp": NOW + 3600,
        "iat": NOW,
        "iss": ISSUER,
        "jti": "b3d5b3b0-2f0e-4b5e-9c4e-0c6f0d2f3a11",
        "kubernetes.io": {
            "namespace": "edge",
            "node": {"name": "n1", "uid": "1"},
            "pod": {"name": "envoy-7d9f", "uid": "2"},
            "serviceaccount": {"name": "envoy", "uid": "3"},
        },
        "nbf": NOW,
        "sub": "system:serviceaccount:edge:envoy",
    })
}

pub(in crate::identity) fn with(key: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[key] = value;
    claims
}

pub(in crate::identity) fn keys(signers: &[&Signer]) -> Keys {
    let jwks = signers.iter().map(|own| serde_json::from_value(own.jwk.clone()).unwrap());
    Keys::new(ISSUER.to_owned(), &JwkSet { keys: jwks.collect() })
}

pub(in crate::identity) fn tokens(keys: Option<Keys>) -> Tokens {
    Tokens {
        keys: watch::Sender::new(keys.map(Arc::new)).subscribe(),
        wanted: watch::Sender::new(0),
        leeway: Duration::from_secs(10),
    }
}

pub(in crate::identity) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn envoy() -> Account {
    Account { namespace: "edge".into(), name: "envoy".into(), pod: Some("envoy-7d9f".into()) }
}

#[test]
fn a_token_of_either_algorithm_says_whose_it_is() {
    for signer in [Signer::ecdsa("a"), Signer::rsa("b")] {
        let tokens = tokens(Some(keys(&[&signer])));
        assert_eq!(tokens.verify(&signer.sign(&claims()), now()), Ok(envoy()), "{}", signer.id);
        let unbound = signer.sign(&with("kubernetes.io", json!({"namespace": "edge"})));
        assert_eq!(tokens.verify(&unbound, now()), Ok(Account { pod: None, ..envoy() }));
        let one = signer.sign(&with("aud", json!("convoy")));
        assert_eq!(tokens.verify(&one, now()), Ok(envoy()));
    }
}

#[test]
fn fault_s01_a_token_that_was_not_made_for_this_proves_nothing() {
    let signer = Signer::ecdsa("a");
    let tokens = tokens(Some(keys(&[&signer])));
    let check = |key: &str, value: Value, expect: TokenError| {
        let verdict = tokens.verify(&signer.sign(&with(key, value.clone())), now());
        assert_eq!(verdict, Err(expect), "{key}: {value}");
    };
    check("aud", json!(["https://kubernetes.default.svc"]), TokenError::Audience);
    check("aud", json!("convoys"), TokenError::Audience);
    check("aud", json!([]), TokenError::Audience);
    check("aud", Value::Null, TokenError::Malformed);
    check("iss", json!("https://elsewhere"), TokenError::Issuer);
    check("exp", json!(NOW - 10), TokenError::Expired);
    check("exp", Value::Null, TokenError::Malformed);
    check("nbf", json!(NOW + 11), TokenError::NotYet);
    for subject in ["", "edge:envoy", "system:node:n1", "system:serviceaccount:edge"] {
        check("sub", json!(subject), TokenError::Malformed);
    }
    for subject in ["system:serviceaccount::envoy", "system:serviceaccount:edge:a:b"] {
        check("sub", json!(subject), TokenError::Malformed);
    }
    // The leeway.
    for (key, value) in [("exp", NOW - 9), ("nbf", NOW + 10)] {
        let verdict = tokens.verify(&signer.sign(&with(key, json!(value))), now());
        assert_eq!(verdict, Ok(envoy()), "{key}");
    }
}

#[test]
fn fault_s01_nothing_but_a_signature_of_the_fleet_is_believed() {
    let (own, rsa) = (Signer::ecdsa("a"), Signer::rsa("b"));
    let tokens = tokens(Some(keys(&[&own, &rsa])));
    let check = |token: &str, expect: TokenError| {
        assert_eq!(tokens.verify(token, now()), Err(expect), "{token}");
    };
    // Another key that calls itself like ours.
    check(&Signer::ecdsa("a").sign(&claims()), TokenError::Signature);
    check(&Signer::ecdsa("c").sign(&claims()), TokenError::UnknownKey);
    // Another algorithm than the key is for, one that takes the public key for a secret, and none.
    let of = |algorithm, key: &EncodingKey| {
        let header = Header { kid: Some("a".to_owned()), ..Header::new(algorithm) };
        encode(&header, &claims(), key).unwrap()
    };
    check(&of(Algorithm::RS256, &rsa.encoding), TokenError::Malformed);
    let public = EncodingKey::from_secret(own.jwk["x"].as_str().unwrap().as_bytes());
    check(&of(Algorithm::HS256, &public), TokenError::Malformed);
    let good = own.sign(&claims());
    let [_, body, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three") };
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":"a"}"#);
    check(&format!("{none}.{body}."), TokenError::Malformed);
    // Another content under the signature.
    let [head, ..] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three") };
    let other = URL_SAFE_NO_PAD.encode(with("sub", json!("system:serviceaccount:a:b")).to_string());
    check(&format!("{head}.{other}.{signature}"), TokenError::Signature);
    for garbage in ["", ".", "..", "a.b.c", "Bearer x", &good[1..], &good[..good.len() - 1]] {
        assert!(tokens.verify(garbage, now()).is_err(), "{garbage}");
    }
    check(&"a".repeat(MAX_TOKEN_BYTES + 1), TokenError::Malformed);
    assert_eq!(tokens.verify(&good, now()), Ok(envoy()));
}

#[test]
fn keys_are_asked_for_when_one_is_missing_and_not_otherwise() {
    let (known, unknown) = (Signer::ecdsa("a"), Signer::ecdsa("b"));
    let asked = |tokens: &Tokens, token: &str| {
        let before = *tokens.wanted.borrow();
        let verdict = tokens.verify(token, now());
        (verdict.err(), *tokens.wanted.borrow() - before)
    };
    let token = unknown.sign(&claims());
    assert_eq!(asked(&tokens(None), &token), (Some(TokenError::NoKeys), 1));
    let tokens = tokens(Some(keys(&[&known])));
    assert_eq!(asked(&tokens, &token), (Some(TokenError::UnknownKey), 1));
    assert_eq!(asked(&tokens, "garbage"), (Some(TokenError::Malformed), 0));
    assert_eq!(asked(&tokens, &known.sign(&claims())), (None, 0));
}

#[test]
fn keys_for_something_else_are_left_out() {
    let check = |field: &str, value: Value, expect: usize| {
        let mut signer = Signer::ecdsa("a");
        signer.jwk[field] = value.clone();
        assert_eq!(keys(&[&signer]).by_id.len(), expect, "{field}: {value}");
    };
    check("use", json!("sig"), 1);
    check("use", Value::Null, 1);
    check("alg", Value::Null, 1);
    check("use", json!("enc"), 0);
    check("alg", json!("ES384"), 0);
    check("crv", json!("P-384"), 0);
    check("kid", Value::Null, 0);
}
