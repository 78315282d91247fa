//! What the objects of a gateway are called, and how they are found again.
//!
//! Owns names and labels. Labels of the first group are the identity of a Deployment, which no
//! version may change (its selector is immutable).

use serde_json::{Value, json};

use crate::{key::GatewayId, rbac::AUTHORITY};

/// Objects of ours, whichever gateway they belong to.
pub(super) const SELECTOR: &str =
    "app.kubernetes.io/managed-by=convoy,app.kubernetes.io/component=gateway";

/// Which gateway an object belongs to (GEP-1762).
pub(super) const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// Of a Service, and of the value of a label.
const MAX_NAME: usize = 63;

const PREFIX: &str = "convoy-";

/// The name of every object of a gateway: `convoy-NAME`, or a part of it and a hash where that is
/// no legal name of a Service, or that of a Secret of Convoy's own.
pub fn object_name(gateway: &GatewayId) -> String {
    let name = &*gateway.name.name;
    let is_legal = name.len() <= MAX_NAME - PREFIX.len() && !name.contains('.');
    if is_legal && !is_reserved(name) {
        return format!("{PREFIX}{name}");
    }
    format!("{PREFIX}{}", hashed(name, MAX_NAME - PREFIX.len()).replace('.', "-"))
}

/// Whether Convoy keeps a Secret of this name beside gateways: that of its authority, and those with
/// the credentials of members.
fn is_reserved(name: &str) -> bool {
    format!("{PREFIX}{name}") == AUTHORITY || name.starts_with("member-")
}

/// The gateway as the value of a label.
pub(super) fn label(gateway: &GatewayId) -> String {
    let name = &*gateway.name.name;
    if name.len() <= MAX_NAME { name.to_owned() } else { hashed(name, MAX_NAME) }
}

/// What Deployment, Service and budget select Pods by.
pub(super) fn selector(gateway: &GatewayId) -> Value {
    json!({
        "app.kubernetes.io/component": "gateway",
        "app.kubernetes.io/instance": label(gateway),
        "app.kubernetes.io/managed-by": "convoy",
    })
}

/// What every object of a gateway is labelled with.
pub(super) fn labels(gateway: &GatewayId) -> Value {
    let gateway = label(gateway);
    json!({
        "app.kubernetes.io/component": "gateway",
        "app.kubernetes.io/instance": gateway,
        "app.kubernetes.io/managed-by": "convoy",
        "app.kubernetes.io/name": "envoy",
        "app.kubernetes.io/part-of": "convoy",
        GATEWAY_NAME: gateway,
    })
}

/// The beginning of a name, and a hash of all of it.
fn hashed(name: &str, max: usize) -> String {
    let hash = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(name.as_bytes()));
    // Names of objects are ASCII.
    let begin: String = name.chars().take(max - hash.len() - 1).collect();
    format!("{}-{hash}", begin.trim_end_matches(['.', '-']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_legal_and_different() {
        let check = |name: &str, expect: &str| {
            let own = object_name(&GatewayId::mse(name));
            assert_eq!(own, expect);
            assert!(own.len() <= MAX_NAME && label(&GatewayId::mse(name)).len() <= MAX_NAME);
        };
        check("gw", "convoy-gw");
        check("a.b", "convoy-a-b-390c9ebbbb7402f6");
        check(&"a".repeat(56), &format!("convoy-{}", "a".repeat(56)));
        let long = |end: &str| object_name(&GatewayId::mse(&("a".repeat(200) + end)));
        assert_ne!(long("b"), long("c"));
        assert_ne!(object_name(&GatewayId::mse("a.b")), object_name(&GatewayId::mse("a-b")));
        // Secrets of Convoy's own, which a Pod of the gateway would mount.
        for name in ["authority", "member-c1"] {
            let own = object_name(&GatewayId::mse(name));
            assert!(own.starts_with(&format!("convoy-{name}-")), "{own}");
        }
        // It is cut at the dot, which is no legal place for a hash to follow.
        let cut = object_name(&GatewayId::mse(&("a".repeat(38) + "." + &"b".repeat(30))));
        assert!(cut.starts_with(&format!("convoy-{}-", "a".repeat(38))) && !cut.contains("--"));
    }
}
