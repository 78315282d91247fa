//! Which addresses lead to the Pods of a member (semantics.md 2.8).

use std::{collections::BTreeMap, num::NonZeroU16};

use super::*;
use crate::store::Node;

/// Nodes written `name=address`; with a mark in front: `-` not eligible.
fn nodes(texts: &[&str]) -> BTreeMap<ObjectName, Arc<Node>> {
    let node = |text: &&str| {
        let (is_eligible, text) = match text.strip_prefix('-') {
            Some(text) => (false, text),
            None => (true, *text),
        };
        let (name, addresses) = text.split_once('=').unwrap();
        let name = ObjectName::cluster_scoped(name);
        let address = |is_v6: bool| addresses.split('+').find(|own| own.contains(':') == is_v6);
        let v4 = address(false).and_then(|own| own.parse().ok());
        let v6 = address(true).and_then(|own| own.parse().ok());
        (name.clone(), Arc::new(Node { name, v4, v6, is_eligible }))
    };
    texts.iter().map(node).collect()
}

/// A Service with one port, 80 at node port 30100.
fn typed(kind: ServiceKind, policy: TrafficPolicy) -> Service {
    let mut service = Service { kind, policy, ..service("svc", &[":80"]) };
    service.ports[0].node_port = NonZeroU16::new(30100);
    service
}

/// A slice of port 8080 with ready endpoints written `address@node`, or as [`slice`] has them.
fn placed(own: &str, endpoints: &[&str]) -> EndpointSlice {
    let addresses: Vec<_> = endpoints.iter().map(|e| e.split('@').next().unwrap()).collect();
    let mut slice = slice(own, &[("", 8080)], &addresses);
    for (endpoint, text) in slice.endpoints.iter_mut().zip(endpoints) {
        endpoint.node = text.split_once('@').map(|(_, node)| node.into());
    }
    slice
}

/// `replicas: address*weight …`, and what is wrong.
#[track_caller]
fn check(
    service: &Service,
    slices: &[EndpointSlice],
    texts: &[&str],
    expect: &str,
    findings: &[Reason],
) {
    check_under(strict(), service, slices, texts, expect, findings);
}

#[track_caller]
fn check_under(
    rules: Rules<'_>,
    service: &Service,
    slices: &[EndpointSlice],
    texts: &[&str],
    expect: &str,
    findings: &[Reason],
) {
    let nodes = nodes(texts);
    let (shards, diags) = shards(&id("c2"), service, slices, Reach::Nodes(&nodes), rules);
    let shard = shards.shard(&PortRef::First).unwrap();
    let endpoints = shard.endpoints.iter().map(|own| format!(" {}*{}", own.address, own.weight));
    let shown = format!("{}:{}", shard.replicas, endpoints.collect::<String>());
    assert_eq!(shown, expect, "{diags:?}");
    assert_eq!(diags.iter().map(|own| own.reason).collect::<Vec<_>>(), findings, "{diags:?}");
    // Neither the order of slices nor of endpoints decides.
    let mut turned = slices.to_vec();
    turned.reverse();
    turned.iter_mut().for_each(|own| own.endpoints.reverse());
    let again = super::shards(&id("c2"), service, &turned, Reach::Nodes(&nodes), rules).0;
    assert_eq!(again, shards);
}

const THREE: [&str; 3] = ["n1=10.9.0.1", "n2=10.9.0.2", "n3=10.9.0.3"];

#[test]
fn row_174_and_175_every_node_leads_to_all_pods_of_a_node_port() {
    let service = typed(ServiceKind::NodePort, TrafficPolicy::Cluster);
    let pods = placed("s", &["10.0.0.1@n1", "10.0.0.2@n1", "-10.0.0.3@n2", "10.0.0.4"]);
    let all = "3: 10.9.0.1:30100*1 10.9.0.2:30100*1 10.9.0.3:30100*1";
    check(&service, std::slice::from_ref(&pods), &THREE, all, &[]);
    // An address in two slices is one Pod; one that is not ready is none.
    let twice = [pods.clone(), placed("t", &["10.0.0.1@n1"])];
    check(&service, &twice, &THREE, all, &[]);
    let none = placed("s", &["-10.0.0.1@n1"]);
    check(&service, &[none], &THREE, "0:", &[]);
    check(&service, &[], &THREE, "0:", &[]);
    // Where Pods are is of no account to anybody outside: not even an address that is forbidden.
    let hidden = placed("s", &["127.0.0.1@n1"]);
    check(&service, &[hidden], &["n1=10.9.0.1"], "1: 10.9.0.1:30100*1", &[]);
}

#[test]
fn row_176_with_policy_local_a_node_weighs_as_much_as_its_pods() {
    let service = typed(ServiceKind::NodePort, TrafficPolicy::Local);
    let pods = placed(
        "s",
        &[
            "10.0.0.1@n1",
            "10.0.0.2@n1",
            "10.0.0.3@n1",
            "10.0.0.4@n2",
            "-10.0.0.5@n3",
            "10.0.0.6@nx",
        ],
    );
    let pods = [pods];
    check(&service, &pods, &THREE, "4: 10.9.0.1:30100*3 10.9.0.2:30100*1", &[]);
    // Pods on nodes that nobody may use are not reached, and do not count.
    check(&service, &pods, &["-n1=10.9.0.1", "n2=10.9.0.2"], "1: 10.9.0.2:30100*1", &[]);
    check(&service, &pods, &["n3=10.9.0.3"], "0:", &[Reason::NoEligibleNode]);
}

#[test]
fn row_177_a_cluster_ip_leads_nowhere_and_keeps_its_ports() {
    let service = typed(ServiceKind::ClusterIp, TrafficPolicy::Cluster);
    let pods = [placed("s", &["10.0.0.1@n1"])];
    check(&service, &pods, &THREE, "0:", &[Reason::UnsupportedServiceType]);
    // A member whose Pods are reached has it whatever its type.
    for kind in [ServiceKind::NodePort, ServiceKind::LoadBalancer, ServiceKind::ClusterIp] {
        let own = typed(kind, TrafficPolicy::Local);
        let (shards, diags) = shards_of(&own, &pods);
        let shard = shards.shard(&PortRef::First).unwrap();
        assert_eq!((shard.replicas, diags), (1, vec![]));
        assert_eq!(shard.endpoints[0].address.to_string(), "10.0.0.1:8080");
    }
}

#[test]
fn row_178_nodes_that_must_not_be_used_are_not() {
    let service = typed(ServiceKind::NodePort, TrafficPolicy::Cluster);
    let pods = [placed("s", &["10.0.0.1@n1", "10.0.0.2@n2"])];
    check(&service, &pods, &["-n1=10.9.0.1", "n2=10.9.0.2"], "2: 10.9.0.2:30100*1", &[]);
    check(&service, &pods, &["-n1=10.9.0.1"], "0:", &[Reason::NoEligibleNode]);
    check(&service, &pods, &[], "0:", &[Reason::NoEligibleNode]);
    // Two nodes at one address are one way.
    check(&service, &pods, &["n1=10.9.0.1", "n2=10.9.0.1"], "2: 10.9.0.1:30100*1", &[]);
}

#[test]
fn the_family_is_that_of_the_service() {
    let mut service = typed(ServiceKind::NodePort, TrafficPolicy::Cluster);
    service.prefers_ipv6 = true;
    let mut v6 = placed("s", &["fd00::1"]);
    v6.family = AddressFamily::V6;
    let slices = [v6, placed("t", &["10.0.0.1", "10.0.0.2"])];
    let both = ["n1=10.9.0.1+fd09::1", "n2=10.9.0.2"];
    check(&service, &slices, &both, "1: [fd09::1]:30100*1", &[]);
    service.prefers_ipv6 = false;
    check(&service, &slices, &both, "2: 10.9.0.1:30100*1 10.9.0.2:30100*1", &[]);
}

#[test]
fn a_load_balancer_stands_for_all_pods_and_until_it_is_there_nodes_do() {
    let mut service = typed(ServiceKind::LoadBalancer, TrafficPolicy::Cluster);
    let pods = [placed("s", &["10.0.0.1", "10.0.0.2", "10.0.0.3"])];
    check(&service, &pods, &["n1=10.9.0.1"], "3: 10.9.0.1:30100*1", &[]);
    service.balancers = vec![[192, 0, 2, 1].into(), [192, 0, 2, 2].into()];
    check(&service, &pods, &["n1=10.9.0.1"], "3: 192.0.2.1:80*1 192.0.2.2:80*1", &[]);
    check(&service, &[], &["n1=10.9.0.1"], "0:", &[]);
    service.balancers = Vec::new();
    service.ports[0].node_port = None;
    check(&service, &pods, &["n1=10.9.0.1"], "0:", &[Reason::UnsupportedServiceType]);
}

#[test]
fn fault_f20_the_rules_apply_to_what_is_served() {
    let service = typed(ServiceKind::NodePort, TrafficPolicy::Cluster);
    let pods = [placed("s", &["10.0.0.1", "10.0.0.2"])];
    let texts = ["n1=127.0.0.1", "n2=169.254.169.254", "n3=10.9.0.3"];
    check(&service, &pods, &texts, "2: 10.9.0.3:30100*1", &[Reason::ForbiddenAddress]);
    check(&service, &pods, &texts[..2], "0:", &[Reason::ForbiddenAddress]);
    let own = [Cidr::parse("10.8.0.0/16").unwrap()];
    let rules = Rules { allowed: Some(&own), ..strict() };
    check_under(rules, &service, &pods, &texts[2..], "0:", &[Reason::ForbiddenAddress]);
    let balancer = Service {
        balancers: vec![[169, 254, 169, 254].into()],
        ..typed(ServiceKind::LoadBalancer, TrafficPolicy::Cluster)
    };
    // It has an address, be it one that nobody uses.
    check(&balancer, &pods, &texts, "0:", &[Reason::ForbiddenAddress]);
}

#[test]
fn fault_s17_nothing_on_convoys_own_side_is_an_endpoint() {
    let guarded = Guarded::new([
        ("10.0.0.1:8080".parse().unwrap(), "the address of an API server"),
        ("10.9.0.1:30100".parse().unwrap(), "an address of a gateway"),
    ]);
    let rules = Rules { guarded: &guarded, ..strict() };
    let service = typed(ServiceKind::NodePort, TrafficPolicy::Cluster);
    let pods = [placed("s", &["10.0.0.1", "10.0.0.2"])];
    let texts = ["n1=10.9.0.1", "n2=10.9.0.2"];
    check_under(rules, &service, &pods, &texts, "2: 10.9.0.2:30100*1", &[Reason::ForbiddenAddress]);
    let (shards, diags) = shards_under(rules, &service, &pods);
    let shard = shards.shard(&PortRef::First).unwrap();
    let served: Vec<_> = shard.endpoints.iter().map(|own| own.address.to_string()).collect();
    assert_eq!(served, ["10.0.0.2:8080"]);
    assert_eq!(
        diags[0].message,
        "`10.0.0.1:8080` is the address of an API server, endpoint dropped"
    );
    // The same address at another port is somebody else's.
    let other = [slice("s", &[("", 8081)], &["10.0.0.1"])];
    let (shards, diags) = shards_under(rules, &service, &other);
    assert_eq!((shards.shard(&PortRef::First).unwrap().replicas, diags), (1, vec![]));
}

#[test]
fn fault_s19_a_share_is_limited_as_endpoints_are() {
    let addresses: Vec<_> =
        (0..=MAX_ENDPOINTS).map(|n| format!("10.0.{}.{}", n / 256, n % 256)).collect();
    let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
    let pods = [placed("s", &addresses)];
    let service = typed(ServiceKind::NodePort, TrafficPolicy::Cluster);
    check(&service, &pods, &["n=10.9.0.1"], "5000: 10.9.0.1:30100*1", &[Reason::LimitExceeded]);
    assert_eq!(shards_of(&service, &pods).0.shard(&PortRef::First).unwrap().replicas, 5000);
}
