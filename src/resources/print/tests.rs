use super::*;
use crate::{resources::secret, store::KeyPair};

#[test]
fn a_private_key_is_never_printed() {
    let pair = KeyPair { chain: b"chain".to_vec(), key: b"canary".to_vec() };
    let secret = secret::build(&"shop/a".into(), &pair);
    let printed = yaml([&secret]).unwrap();
    assert!(printed.contains(REDACTED), "{printed}");
    // As text and as base64.
    for canary in ["canary", "Y2FuYXJ5"] {
        assert!(!printed.contains(canary), "{printed}");
    }
}

#[test]
fn bytes_that_are_no_message_are_an_error() {
    let resource = Resource::new(crate::snapshot::Kind::Cluster, "a".into(), &[0xff], Vec::new());
    let error = json(&resource).unwrap_err().to_string();
    assert!(error.starts_with("print envoy.config.cluster.v3.Cluster: "), "{error}");
}
