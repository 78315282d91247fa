//! What the objects of a gateway are called, and how they are found again.
//!
//! Owns names and labels. Labels of the first group are the identity of a Deployment, which no
//! version may change (its selector is immutable).

use serde_json::{Value, json};

use crate::{
    key::{GatewayId, ObjectKind},
    rbac::AUTHORITY,
};

/// Objects of ours, whichever gateway they belong to.
pub(super) const SELECTOR: &str =
    "app.kubernetes.io/managed-by=convoy,app.kubernetes.io/component=gateway";

/// Which gateway an object belongs to (GEP-1762).
pub(super) const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// Of a Service, and of the value of a label.
const MAX_NAME: usize = 63;

/// Before the name of an `MseIngressConfig`.
const MSE_PREFIX: &str = "convoy-";

/// Before that of an `AlbConfig`. With `convoy-` and more it would be the name of an
/// `MseIngressConfig`'s objects, which may be called anything.
const ALB_PREFIX: &str = "alb-";

fn is_alb(gateway: &GatewayId) -> bool {
    gateway.kind == ObjectKind::AlbConfig
}

/// The name of every object of a gateway: `convoy-NAME`, or `alb-NAME` of an `AlbConfig`; a part of it
/// and a hash where that is no legal name of a Service, or that of a Secret of Convoy's own.
pub fn object_name(gateway: &GatewayId) -> String {
    let prefix = if is_alb(gateway) { ALB_PREFIX } else { MSE_PREFIX };
    let name = &*gateway.name.name;
    let whole = format!("{prefix}{name}");
    let is_legal = whole.len() <= MAX_NAME && !name.contains('.');
    if is_legal && !is_reserved(&whole) {
        return whole;
    }
    format!("{prefix}{}", hashed(name, MAX_NAME - prefix.len()).replace('.', "-"))
}

/// Whether Convoy keeps a Secret of this name beside gateways: that of its authority, and those with
/// the credentials of members.
fn is_reserved(name: &str) -> bool {
    name == AUTHORITY || name.starts_with("convoy-member-")
}

/// The gateway as the value of a label. No object has a name with capitals, so an `AlbConfig` is never
/// taken for an `MseIngressConfig`.
pub fn gateway_label(gateway: &GatewayId) -> String {
    let name = &*gateway.name.name;
    let text = match is_alb(gateway) {
        true => format!("{}.{name}", gateway.kind),
        false => name.to_owned(),
    };
    if text.len() <= MAX_NAME { text } else { hashed(&text, MAX_NAME) }
}

/// What Deployment, Service and budget select Pods by.
pub(super) fn selector(gateway: &GatewayId) -> Value {
    json!({
        "app.kubernetes.io/component": "gateway",
        "app.kubernetes.io/instance": gateway_label(gateway),
        "app.kubernetes.io/managed-by": "convoy",
    })
}

/// What every object of a gateway is labelled with.
pub(super) fn labels(gateway: &GatewayId) -> Value {
    let gateway = gateway_label(gateway);
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
            assert!(
                own.len() <= MAX_NAME && gateway_label(&GatewayId::mse(name)).len() <= MAX_NAME
            );
        };
        check("gw", "convoy-gw");
        check("alb-gw", "convoy-alb-gw");
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

    #[test]
    fn gateways_of_two_kinds_with_one_name_share_nothing() {
        let check = |name: &str, expect: &str| {
            let (mse, alb) = (GatewayId::mse(name), GatewayId::alb(name));
            assert_eq!(object_name(&alb), expect);
            assert_ne!(object_name(&mse), object_name(&alb));
            assert_ne!(gateway_label(&mse), gateway_label(&alb));
            assert_ne!(selector(&mse), selector(&alb));
            assert!(object_name(&alb).len() <= MAX_NAME && gateway_label(&alb).len() <= MAX_NAME);
        };
        check("gw", "alb-gw");
        check("a.b", "alb-a-b-390c9ebbbb7402f6");
        check(&"a".repeat(59), &format!("alb-{}", "a".repeat(59)));
        // Nothing that Convoy keeps begins so.
        check("authority", "alb-authority");
        check("member-c1", "alb-member-c1");
        assert_eq!(gateway_label(&GatewayId::alb("gw")), "AlbConfig.gw");
        let long = |end: &str| gateway_label(&GatewayId::alb(&("a".repeat(200) + end)));
        assert_ne!(long("b"), long("c"));
        // Whatever an MseIngressConfig is called.
        let (mse, alb) = (GatewayId::mse("alb-gw"), GatewayId::alb("gw"));
        assert_ne!(object_name(&mse), object_name(&alb));
    }
}
