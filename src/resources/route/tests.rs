use std::{num::NonZeroU32, sync::Arc, time::Duration};

use super::*;
use crate::{
    key::{BackendKey, ObjectKind, ObjectName, ObjectRef, PortRef},
    model::{Filters, Form, Host, PathMatch, Protocol, Subset},
};

fn target(service: &str, member: Option<&str>) -> Target {
    let service = ObjectName::new("shop", service);
    let backend = BackendKey { service, port: PortRef::First };
    Target::of(backend, Subset { member: member.map(Into::into), ..Subset::default() })
}

fn field() -> Field {
    let ingress = ObjectRef::fleet(ObjectKind::Ingress, ObjectName::new("shop", "web"));
    Field::of(&ingress).index("spec.rules", 0)
}

fn arms(arms: &[(Target, u32)]) -> Vec<Arm> {
    let arm = |(target, weight): &(Target, u32)| Arm {
        target: Arc::new(target.clone()),
        weight: NonZeroU32::new(*weight).unwrap(),
        origin: field(),
    };
    arms.iter().map(arm).collect()
}

/// The route to these arms, decoded again. Targets named `local` are plain.
fn built(arms: Vec<Arm>, mechanisms: &Mechanisms) -> pb::Route {
    let forward = Forward { arms, timeout: None, per_try_timeout: None, rewrite: None };
    let route = Route {
        origin: field(),
        path: PathMatch::Any,
        conditions: Vec::new(),
        action: Action::Forward(forward),
        filters: Filters::default(),
    };
    let host = VirtualHost { host: Host::Any, routes: vec![route] };
    let shape_of = |target: &Target| Shape {
        form: if &*target.backend().service.name == "local" {
            Form::Plain
        } else {
            Form::Composite
        },
        protocol: Protocol::Http1,
        groups: target.chain.len().try_into().unwrap(),
    };
    let bytes = encode_host(&host, &Front::default(), &shape_of, mechanisms);
    pb::VirtualHost::decode(bytes).unwrap().routes.remove(0)
}

fn action(route: &pb::Route) -> &pb::RouteAction {
    match &route.action {
        Some(RouteKind::Route(action)) => action,
        other => panic!("not a forward: {other:?}"),
    }
}

#[test]
fn a_route_names_the_form_of_its_target() {
    let off = Mechanisms { composite_targets: false, ..Mechanisms::ALL };
    let cases = [
        ("web", Mechanisms::ALL, "shop/web:*/anywhere"),
        ("local", Mechanisms::ALL, "shop/local:*"),
        ("web", off, "shop/web:*"),
    ];
    for (service, mechanisms, expected) in cases {
        let route = built(arms(&[(target(service, None), 1)]), &mechanisms);
        let expected = ClusterSpecifier::Cluster(expected.into());
        assert_eq!(action(&route).cluster_specifier, Some(expected));
    }
}

#[test]
fn a_retry_stays_once_where_some_arm_has_several_groups() {
    let (whole, subset) = (target("web", None), target("web", Some("c1")));
    let cases = [
        (vec![(whole.clone(), 1)], 1),
        (vec![(subset.clone(), 1)], 2),
        (vec![(whole.clone(), 1), (subset, 1)], 2),
    ];
    for (split, expected) in cases {
        let route = built(arms(&split), &Mechanisms::ALL);
        let retry = action(&route).retry_policy.clone().unwrap();
        let priority = retry.retry_priority.unwrap().config_type.unwrap();
        let retry_policy::retry_priority::ConfigType::TypedConfig(any) = priority;
        let config = PreviousPrioritiesConfig::decode(any.value.as_slice()).unwrap();
        assert_eq!(config.update_frequency, expected, "{split:?}");
    }
}

#[test]
fn without_retries_there_is_no_policy() {
    let off = Mechanisms { retries: false, ..Mechanisms::ALL };
    let route = built(arms(&[(target("web", None), 1)]), &off);
    assert_eq!(action(&route).retry_policy, None);
}

#[test]
fn no_timeout_is_zero_and_not_absent() {
    let route = built(arms(&[(target("web", None), 1)]), &Mechanisms::ALL);
    assert_eq!(action(&route).timeout, pack::duration(Duration::ZERO));
    assert!(action(&route).timeout.is_some());
}

#[test]
fn fault_f19_weights_are_exact_and_never_overflow() {
    let weights = |split: &[u32]| -> Vec<u32> {
        let split: Vec<_> = split.iter().map(|weight| (target("web", None), *weight)).collect();
        let route = built(arms(&split), &Mechanisms::ALL);
        match action(&route).cluster_specifier.clone() {
            Some(ClusterSpecifier::WeightedClusters(split)) => {
                split.clusters.iter().map(|arm| arm.weight.unwrap().value).collect()
            }
            other => panic!("not a split: {other:?}"),
        }
    };
    let max = u32::MAX;
    let cases = [
        (vec![80, 20], vec![80, 20]),
        (vec![1, max - 1], vec![1, max - 1]),
        (vec![1, max], vec![1, max / 2]),
        (vec![max, max], vec![max / 2, max / 2]),
        (vec![max, max, max, 1], vec![max / 4, max / 4, max / 4, 1]),
    ];
    for (split, expected) in cases {
        assert_eq!(weights(&split), expected, "{split:?}");
        let sum: u64 = expected.iter().map(|weight| u64::from(*weight)).sum();
        assert!(sum <= u64::from(max), "{split:?}");
    }
}

#[test]
fn a_route_carries_the_field_it_comes_from() {
    let route = built(arms(&[(target("web", None), 1)]), &Mechanisms::ALL);
    let metadata = route.metadata.unwrap().filter_metadata.remove(METADATA).unwrap();
    let text = metadata.fields.get(ORIGIN).unwrap().kind.clone();
    assert_eq!(text, Some(value::Kind::StringValue("Ingress shop/web: spec.rules[0]".into())));
}
