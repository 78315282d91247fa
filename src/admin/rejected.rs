//! From refused resources back to the objects that they were made of.
//!
//! Owns which object is to be looked at, and how many of them have a series. Must not know why
//! Envoy refused. Cost: linear in what is refused, which is nothing on a good day.

use std::collections::BTreeMap;

use crate::{
    admin::proto,
    key::{GatewayId, ObjectKind, ObjectName, ObjectRef},
    model::name,
    snapshot::Kind,
};

/// Series of one scrape. A table that is refused is one object, so a hundred is a fleet in ruins.
const MOST: usize = 100;

/// What Envoys refuse at the moment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rejected {
    /// By object and xDS type: how many Envoys refuse it. The first [`MOST`], in order.
    pub(super) shown: BTreeMap<(ObjectRef, String), u64>,
    /// How many more objects there are.
    pub(super) left_out: u64,
}

impl Rejected {
    pub(super) fn of(envoys: &[proto::Envoy]) -> Rejected {
        let mut all: BTreeMap<(ObjectRef, String), u64> = BTreeMap::new();
        for envoy in envoys {
            for own in &envoy.types {
                let mut objects: Vec<_> = own
                    .rejected
                    .iter()
                    .filter_map(|resource| made_of(&envoy.gateway, &own.r#type, resource))
                    .collect();
                // One object has several clusters.
                objects.sort();
                objects.dedup();
                for object in objects {
                    *all.entry((object, own.r#type.clone())).or_default() += 1;
                }
            }
        }
        let left_out = all.len().saturating_sub(MOST) as u64;
        Rejected { shown: all.into_iter().take(MOST).collect(), left_out }
    }
}

/// The object that a resource was made of: the Service of a cluster, the Secret of a certificate.
/// Listeners and tables are made of many; which of them is at fault only Envoy's words say, so
/// they are the gateway's.
fn made_of(gateway: &str, kind: &str, resource: &str) -> Option<ObjectRef> {
    let kind = Kind::ALL.into_iter().find(|own| own.as_str() == kind)?;
    let of_gateway = || {
        let GatewayId { kind, name } = GatewayId::parse(gateway)?;
        Some(ObjectRef::fleet(kind, name))
    };
    match kind {
        Kind::Secret => {
            let (namespace, name) = resource.split_once('/')?;
            Some(ObjectRef::fleet(ObjectKind::Secret, ObjectName::new(namespace, name)))
        }
        Kind::Cluster | Kind::Endpoint => match name::service(resource) {
            // Members have the Service; the fleet's Ingresses name it.
            Some(service) => Some(ObjectRef::fleet(ObjectKind::Service, service)),
            None => of_gateway(),
        },
        Kind::Listener | Kind::Route => of_gateway(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envoy(kind: &str, rejected: &[String]) -> proto::Envoy {
        envoy_of("MseIngressConfig/hongkong", kind, rejected)
    }

    fn envoy_of(gateway: &str, kind: &str, rejected: &[String]) -> proto::Envoy {
        let own = proto::TypeStatus {
            r#type: kind.into(),
            rejected: rejected.to_vec(),
            ..proto::TypeStatus::default()
        };
        proto::Envoy { gateway: gateway.to_owned(), types: vec![own], ..proto::Envoy::default() }
    }

    #[test]
    fn a_resource_leads_to_its_object() {
        for (kind, resource, expect) in [
            ("sds", "demo/tls", "Secret demo/tls"),
            ("cds", "demo/web:80", "Service demo/web"),
            ("cds", "demo/web:80@v=1/members", "Service demo/web"),
            ("eds", "demo/web:http~0123456789", "Service demo/web"),
            ("cds", name::COLLECTOR, "MseIngressConfig hongkong"),
            ("lds", "http", "MseIngressConfig hongkong"),
            ("rds", "https", "MseIngressConfig hongkong"),
        ] {
            let found = Rejected::of(&[envoy(kind, &[resource.to_owned()])]).shown;
            let found: Vec<_> = found.keys().map(|(object, _)| object.to_string()).collect();
            assert_eq!(found, [expect], "{kind} {resource}");
        }
        let found = Rejected::of(&[envoy_of("AlbConfig/hongkong", "lds", &["http-80".into()])]);
        let found: Vec<_> = found.shown.keys().map(|(object, _)| object.to_string()).collect();
        assert_eq!(found, ["AlbConfig hongkong"]);
    }

    #[test]
    fn series_are_bounded_and_count_envoys() {
        let names = |n| (0..n).map(|n| format!("demo/tls-{n:03}")).collect::<Vec<_>>();
        let Rejected { shown, left_out } =
            Rejected::of(&[envoy("sds", &names(150)), envoy("sds", &names(1))]);
        assert_eq!((shown.len(), left_out), (MOST, 50));
        assert_eq!(shown.values().sum::<u64>(), 101);
    }
}
