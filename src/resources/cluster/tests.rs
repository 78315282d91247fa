use std::{num::NonZeroU32, time::Duration};

use super::*;
use crate::{
    key::{BackendKey, ObjectName, PortRef},
    model::{HashKey, HealthCheck, Probe, Subset},
};

fn target() -> Target {
    let service = ObjectName::new("shop", "web");
    Target::of(BackendKey { service, port: PortRef::First }, Subset::default())
}

fn clusters(form: Form, groups: u32, mechanisms: &Mechanisms) -> Vec<Resource> {
    build(&target(), &Shape { form, protocol: Protocol::Http1, groups }, mechanisms)
}

/// The parts of a composite cluster, one an attempt.
fn attempts(groups: u32) -> Vec<String> {
    let built = clusters(Form::Composite, groups, &Mechanisms::ALL);
    let routed = built.iter().find(|cluster| &*cluster.name == "shop/web:*/anywhere").unwrap();
    let cluster = pb::Cluster::decode(routed.message()).unwrap();
    let Some(parts::ClusterDiscoveryType::ClusterType(custom)) = cluster.cluster_discovery_type
    else {
        panic!("not a composite")
    };
    let config = ClusterConfig::decode(custom.typed_config.unwrap().value.as_slice()).unwrap();
    config.clusters.into_iter().map(|entry| entry.name).collect()
}

#[test]
fn attempts_leave_the_member() {
    let cases = [
        (1, ["shop/web:*", "shop/web:*/members", "shop/web:*/members", "shop/web:*/members"]),
        (2, ["shop/web:*", "shop/web:*", "shop/web:*/members", "shop/web:*/members"]),
        (3, ["shop/web:*", "shop/web:*", "shop/web:*/members", "shop/web:*/members"]),
    ];
    for (groups, expected) in cases {
        assert_eq!(attempts(groups), expected);
        let retries = usize::try_from(defaults::NUM_RETRIES).unwrap();
        assert_eq!(expected.len(), retries + 1, "an attempt without an entry fails");
    }
}

#[test]
fn a_cluster_awaits_what_a_route_to_it_needs() {
    let check = |form, expected: &[(&str, &[(Kind, &str)])]| {
        let built = clusters(form, 1, &Mechanisms::ALL);
        assert_eq!(built.len(), expected.len());
        for (cluster, (name, awaits)) in built.iter().zip(expected) {
            let found: Vec<_> =
                cluster.awaits.iter().map(|(kind, name)| (*kind, &**name)).collect();
            assert_eq!((&*cluster.name, &*found), (*name, *awaits));
        }
    };
    let web = ("shop/web:*", [(Kind::Endpoint, "shop/web:*")]);
    let members = ("shop/web:*/members", [(Kind::Endpoint, "shop/web:*/members")]);
    let anywhere = (
        "shop/web:*/anywhere",
        [(Kind::Cluster, "shop/web:*"), (Kind::Cluster, "shop/web:*/members")],
    );
    check(Form::Plain, &[(web.0, &web.1)]);
    check(Form::Composite, &[(web.0, &web.1), (members.0, &members.1), (anywhere.0, &anywhere.1)]);
}

#[test]
fn without_composite_targets_every_target_is_plain() {
    let off = Mechanisms { composite_targets: false, ..Mechanisms::ALL };
    let names: Vec<_> =
        clusters(Form::Composite, 1, &off).into_iter().map(|cluster| cluster.name).collect();
    assert_eq!(names, ["shop/web:*".into()]);
}

#[test]
fn every_mechanism_can_be_switched_off() {
    let built = |mechanisms: &Mechanisms| {
        let cluster = clusters(Form::Plain, 1, mechanisms).remove(0);
        pb::Cluster::decode(cluster.message()).unwrap()
    };
    let all = Mechanisms::ALL;
    assert!(built(&all).outlier_detection.is_some());
    assert!(built(&Mechanisms { outlier_detection: false, ..all }).outlier_detection.is_none());
    let detects = |mechanisms| {
        let cluster = built(mechanisms);
        (cluster.upstream_bind_config.is_some(), cluster.upstream_connection_options.is_some())
    };
    assert_eq!(detects(&all), (true, true));
    assert_eq!(detects(&Mechanisms { dead_peer_detection: false, ..all }), (false, false));
    let panic = |mechanisms| {
        built(mechanisms).common_lb_config.unwrap().healthy_panic_threshold.unwrap().value
    };
    assert_eq!(panic(&all), defaults::PANIC_THRESHOLD);
    assert_eq!(panic(&Mechanisms { panic_threshold: false, ..all }), 0.0);
    let budget = |mechanisms| {
        let mut breakers = built(mechanisms).circuit_breakers.unwrap();
        breakers.thresholds.remove(0).retry_budget
    };
    assert!(budget(&all).is_some());
    assert!(budget(&Mechanisms { retry_budget: false, ..all }).is_none());
}

#[test]
fn a_target_that_is_checked_lets_go_of_what_is_removed() {
    let check = HealthCheck {
        probe: Probe::Tcp,
        timeout: Duration::from_secs(1),
        interval: Duration::from_secs(2),
        healthy: NonZeroU32::MIN,
        unhealthy: NonZeroU32::MIN,
        port: None,
    };
    let checked = Target { health_check: Some(Arc::new(check)), ..target() };
    let parts = |target: &Target| -> Vec<pb::Cluster> {
        let shape = Shape { form: Form::Composite, protocol: Protocol::Http1, groups: 1 };
        let built = build(target, &shape, &Mechanisms::ALL);
        built.iter().map(|own| pb::Cluster::decode(own.message()).unwrap()).collect()
    };
    let found = |target: &Target| -> Vec<_> {
        let window = |own: &pb::Cluster| {
            own.common_lb_config.as_ref().is_some_and(|own| own.update_merge_window.is_some())
        };
        let each = |own: &pb::Cluster| {
            (own.health_checks.len(), own.ignore_health_on_host_removal, window(own))
        };
        parts(target).iter().map(each).collect()
    };
    assert_eq!(found(&target()), [(0, false, false); 3]);
    // The composite has no hosts of its own.
    assert_eq!(found(&checked), [(1, true, true), (1, true, true), (0, false, false)]);
}

#[test]
fn a_target_is_balanced_as_it_asks() {
    let policy = |balance: Balance| {
        let shape = Shape { form: Form::Plain, protocol: Protocol::Http1, groups: 1 };
        let built = build(&Target { balance, ..target() }, &shape, &Mechanisms::ALL).remove(0);
        pb::Cluster::decode(built.message()).unwrap().lb_policy()
    };
    assert_eq!(policy(Balance::RoundRobin), parts::LbPolicy::RoundRobin);
    assert_eq!(policy(Balance::LeastRequest), parts::LbPolicy::LeastRequest);
    assert_eq!(policy(Balance::Hash(HashKey::SourceAddress)), parts::LbPolicy::RingHash);
}
