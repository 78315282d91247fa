//! What members offer, and what they may not (faults.md A17, S17, S18; semantics.md 2.8).

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use proptest::prelude::*;

use super::{
    check_cost_follows_change,
    fixture::{self, Fleet, slice_at},
};
use crate::{
    engine::Work,
    key::GatewayId,
    resources::print,
    snapshot::{GatewayView, Kind},
    store::{Cidr, Network, Registered, ServiceKind, TrafficPolicy},
};

const ON_NODES: (ServiceKind, TrafficPolicy) = (ServiceKind::NodePort, TrafficPolicy::Cluster);
const LOCAL: (ServiceKind, TrafficPolicy) = (ServiceKind::NodePort, TrafficPolicy::Local);

fn overlay() -> Registered {
    Registered { network: Network::Overlay, ..Registered::default() }
}

fn findings(fleet: &Fleet) -> Vec<String> {
    fleet.engine.findings().all().iter().map(ToString::to_string).collect()
}

/// Every address of every assignment, with its port.
fn served(view: &GatewayView) -> BTreeSet<String> {
    fn collect(value: &serde_json::Value, found: &mut BTreeSet<String>) {
        if let Some(own) = value.get("socketAddress").or_else(|| value.get("socket_address")) {
            let port = own.get("portValue").or_else(|| own.get("port_value")).unwrap();
            found.insert(format!("{}:{port}", own["address"].as_str().unwrap()));
        }
        value.as_array().into_iter().flatten().for_each(|own| collect(own, found));
        value.as_object().into_iter().flatten().for_each(|(_, own)| collect(own, found));
    }
    let mut found = BTreeSet::new();
    for resource in view.table(Kind::Endpoint).iter() {
        collect(&print::json(resource).unwrap(), &mut found);
    }
    found
}

/// c2 is reached through its nodes: svc-3 with policy Cluster, svc-4 Local, svc-5 by a balancer, and
/// the others are of type ClusterIP.
fn hybrid(fleet: &mut Fleet) {
    let balancer = (ServiceKind::LoadBalancer, TrafficPolicy::Cluster);
    fleet.engine.tick([
        fixture::declare("c2", overlay()),
        fixture::node("c2", 0, true),
        fixture::node("c2", 1, true),
        fixture::typed_service("c2", "svc-3", ON_NODES, &[]),
        fixture::typed_service("c2", "svc-4", LOCAL, &[]),
        fixture::typed_service("c2", "svc-5", balancer, &["192.0.2.1"]),
    ]);
}

#[test]
fn row_174_to_177_an_overlay_member_beside_an_underlay_one() {
    let mut fleet = Fleet::of_size(6);
    hybrid(&mut fleet);
    fleet.engine.audit().unwrap();
    let of_c2: Vec<_> = served(&fleet.view())
        .into_iter()
        .filter(|own| {
            own.starts_with("10.9.2.") || own.starts_with("10.2.") || !own.starts_with("10.")
        })
        .collect();
    // One Pod of svc-4, on n0.
    assert_eq!(of_c2, ["10.9.2.0:30080", "10.9.2.1:30080", "192.0.2.1:80"]);
    let unsupported =
        findings(&fleet).into_iter().filter(|own| own.contains("UnsupportedServiceType"));
    let (on_routes, on_services): (Vec<_>, Vec<_>) =
        unsupported.partition(|own| own.contains("Ingress"));
    assert_eq!((on_routes.len(), on_services.len()), (3, 3));
    assert!(on_routes[0].contains("is a ClusterIP, and the member's Pods cannot be reached"));
    // Scaled to nothing, nodes are not served though they exist.
    fleet.engine.tick([fixture::slice("c2", "svc-3", 0), fixture::slice("c2", "svc-4", 0)]);
    assert!(!served(&fleet.view()).iter().any(|own| own.starts_with("10.9.2.")));
    fleet.engine.audit().unwrap();
}

#[test]
fn row_178_a_node_touches_what_leads_through_it_and_its_heartbeats_nothing() {
    let touched = |idx: u8| check_cost_of_node(move |_| vec![fixture::node("c2", idx, false)]);
    // svc-3, and svc-4 whose only Pod is on n0: an assignment by balance and one by member each.
    let work = touched(0);
    assert_eq!((work.shards, work.targets, work.hosts, work.resources), (2, 2, 0, 4));
    let work = touched(1);
    assert_eq!((work.shards, work.targets, work.hosts, work.resources), (1, 1, 0, 2));
    let work = check_cost_of_node(|_| vec![fixture::node("c2", 0, true)]);
    assert_eq!(work, Work::default());
    // A member whose Pods are reached knows no nodes that count.
    let work = check_cost_of_node(|_| vec![fixture::node("c1", 0, true)]);
    assert_eq!(work, Work::default());
}

/// The same in a fleet that is ten times as large.
fn check_cost_of_node(change: impl Fn(&Fleet) -> Vec<crate::store::Change>) -> Work {
    let [small, large] = [10, 100].map(|size| {
        let mut fleet = Fleet::of_size(size);
        hybrid(&mut fleet);
        let before = fleet.engine.work();
        let changes = change(&fleet);
        fleet.engine.tick(changes);
        fleet.engine.audit().unwrap();
        fleet.engine.work().since(before)
    });
    assert_eq!(small, large);
    small
}

#[test]
fn nodes_and_networks_change_endpoints_and_no_route() {
    let mut fleet = Fleet::of_size(3);
    fleet
        .engine
        .tick([fixture::typed_service("c2", "svc-1", ON_NODES, &[]), fixture::node("c2", 0, true)]);
    for change in [
        fixture::declare("c2", overlay()),
        fixture::node("c2", 1, true),
        fixture::delete_node("c2", 0),
        fixture::declare("c2", Registered::default()),
    ] {
        let before = fleet.view();
        fleet.engine.tick([change]);
        let after = fleet.view();
        let kinds: BTreeSet<_> =
            after.changes_since(&before).unwrap().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, BTreeSet::from([Kind::Endpoint]));
        fleet.engine.audit().unwrap();
    }
}

#[test]
fn fault_a17_addresses_that_two_members_share_are_said_on_both_and_still_served() {
    let mut fleet = Fleet::of_size(3);
    let address = |last: u8| -> IpAddr { [10, 1, 0, last].into() };
    let conflicts = |fleet: &Fleet| -> Vec<_> {
        let all = fleet.engine.findings().all().iter();
        all.filter(|own| own.object.to_string().starts_with("MemberCluster"))
            .map(|own| format!("{} {}: {}", own.object.name, own.reason, own.message))
            .collect()
    };
    assert_eq!(conflicts(&fleet), [""; 0]);
    // Pods of svc-0 in c1 are said to be of svc-2 in c2.
    fleet.engine.tick([slice_at("c2", ("svc-2", "alien"), 9, [address(1)])]);
    fleet.engine.audit().unwrap();
    let tail = "and routing leads to one of the two; networks of Pods must not overlap, and \
                `allowedEndpointCIDRs` keeps each member to its own";
    assert_eq!(
        conflicts(&fleet),
        [
            format!("c1 AddressConflict: 10.1.0.1 is also offered by member c2, {tail}"),
            format!("c2 AddressConflict: 10.1.0.1 is also offered by member c1, {tail}"),
        ]
    );
    let both = served(&fleet.view());
    assert!(both.contains("10.1.0.1:9") && both.contains("10.1.0.1:8080"), "{both:?}");
    let count = |fleet: &Fleet| fleet.engine.shared_addresses().map(|own| own.2).sum::<usize>();
    assert_eq!(count(&fleet), 1);
    fleet.engine.tick([slice_at("c2", ("svc-2", "alien"), 9, (1..=3).map(address))]);
    assert!(conflicts(&fleet)[0].contains("10.1.0.1 and 2 others are also offered by member c2"));
    assert_eq!(count(&fleet), 3);

    let ranges = [Cidr::parse("10.2.0.0/16").unwrap()];
    let own = Registered { allowed_endpoints: Some(Arc::from(ranges)), ..Registered::default() };
    fleet.engine.tick([fixture::declare("c2", own)]);
    assert_eq!((conflicts(&fleet), count(&fleet)), (vec![], 0));
    fleet.engine.audit().unwrap();
}

#[test]
fn fault_a17_what_two_members_share_is_found_at_the_cost_of_the_change() {
    let address: IpAddr = [10, 1, 0, 1].into();
    let work =
        check_cost_follows_change(|_| vec![slice_at("c2", ("svc-2", "alien"), 9, [address])]);
    assert_eq!((work.shards, work.targets, work.resources), (1, 1, 2));
}

#[test]
fn fault_s18_services_of_other_namespaces_are_as_if_they_were_not_there() {
    let mut fleet = Fleet::of_size(3);
    let mut without = Fleet::of_size(3);
    for idx in 0..3 {
        without.engine.tick([fixture::delete_service("c2", &format!("svc-{idx}"))]);
    }
    let namespaces = Some(Arc::new(BTreeSet::from([Arc::from("other")])));
    let own = Registered { allowed_namespaces: namespaces, ..Registered::default() };
    fleet.engine.tick([fixture::declare("c2", own)]);
    fleet.engine.audit().unwrap();
    assert_eq!(fleet.fingerprint(), without.fingerprint());
    assert_eq!(
        findings(&fleet),
        ["warning: MemberCluster c2: NamespaceNotAllowed: Service demo/svc-0 and 2 others of \
          namespaces that are not allowed; nothing of that is served"]
    );
    fleet.engine.tick([fixture::declare("c2", Registered::default())]);
    assert_eq!(findings(&fleet), [""; 0]);
}

#[test]
fn fault_s17_endpoints_on_the_side_of_convoy_are_dropped_wherever_that_moves() {
    let mut fleet = Fleet::of_size(1);
    let ip: IpAddr = [192, 0, 2, 7].into();
    let ports = [80, 443, 19000, 19001, 19003, 9901, 6443, 8080];
    for port in ports {
        fleet.engine.tick([slice_at("c2", ("svc-0", &format!("to-{port}")), port, [ip])]);
    }
    let open = |fleet: &Fleet| -> Vec<_> {
        let served = served(&fleet.view());
        ports.iter().filter(|port| served.contains(&format!("{ip}:{port}"))).copied().collect()
    };
    assert_eq!(open(&fleet), ports);
    fleet.engine.tick([fixture::published("main", "c1,c2", "192.0.2.7")]);
    fleet.engine.audit().unwrap();
    assert_eq!(open(&fleet), [6443, 8080]);
    let api = Registered { api_server: "192.0.2.7:6443".parse().ok(), ..Registered::default() };
    fleet.engine.tick([fixture::declare("c3", api)]);
    fleet.engine.audit().unwrap();
    assert_eq!(open(&fleet), [8080]);
    fleet.engine.tick([fixture::gateway("main", "mse", "c1,c2")]);
    fleet.engine.audit().unwrap();
    assert_eq!(open(&fleet), [80, 443, 19000, 19001, 19003, 9901, 8080]);
}

/// Where a hostile member says that its endpoints are.
fn hostile() -> impl Strategy<Value = IpAddr> {
    let last = any::<u8>();
    prop_oneof![
        last.prop_map(|own| [10, 2, 9, own].into()),
        last.prop_map(|own| [10, 1, 0, own].into()),
        last.prop_map(|own| [127, 0, 0, own].into()),
        last.prop_map(|own| [169, 254, 169, own].into()),
        last.prop_map(|own| [0, 0, 0, own].into()),
        last.prop_map(|own| [239, 0, 0, own].into()),
        Just([100, 100, 100, 200].into()),
        Just([10, 2, 0, 99].into()),
        any::<u32>().prop_map(|own| std::net::Ipv4Addr::from(own).into()),
    ]
}

/// c2 may offer 10.2.0.0/16 in namespace `demo`, and its API is at 10.2.0.99:8080.
fn bounded() -> Registered {
    Registered {
        allowed_endpoints: Some(Arc::from([Cidr::parse("10.2.0.0/16").unwrap()])),
        allowed_namespaces: Some(Arc::new(BTreeSet::from([Arc::from("demo")]))),
        api_server: "10.2.0.99:8080".parse().ok(),
        ..Registered::default()
    }
}

/// Names and versions, which are hashes of the bytes.
fn of_gateway(fleet: &Fleet, name: &str) -> Vec<String> {
    let view = fleet.engine.views()[&GatewayId::mse(name)].clone();
    let all = Kind::ALL.into_iter().flat_map(|kind| {
        view.table(kind)
            .iter()
            .map(|own| format!("{} {}", own.name, own.version))
            .collect::<Vec<_>>()
    });
    all.collect()
}

fn attacked() -> Fleet {
    let mut fleet = Fleet::of_size(3);
    let safe = fixture::gateway("safe", "mse", "c1,c3");
    fleet.engine.tick([safe, fixture::declare("c2", bounded())]);
    fleet
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 25, ..ProptestConfig::default() })]

    /// 10^5 endpoints in all (faults.md R18).
    #[test]
    fn fault_s18_no_address_that_is_denied_is_in_any_assignment(
        slices in prop::collection::vec(prop::collection::vec(hostile(), 1000), 4),
    ) {
        let mut fleet = attacked();
        let before = of_gateway(&fleet, "safe");
        for (idx, addresses) in slices.iter().enumerate() {
            let (service, own) = (format!("svc-{}", idx % 3), format!("hostile-{idx}"));
            fleet.engine.tick([slice_at("c2", (&service, &own), 8080, addresses.iter().copied())]);
        }
        for own in served(&fleet.view()) {
            // c1's own three Pods of each Service are the only others.
            let is_own = own.starts_with("10.2.") && own != "10.2.0.99:8080";
            let of_c1 = ["10.1.0.", "10.1.1.", "10.1.2."].iter().any(|net| {
                (1..=3).any(|last| own == format!("{net}{last}:8080"))
            });
            prop_assert!(is_own || of_c1, "{own}");
        }
        prop_assert_eq!(before, of_gateway(&fleet, "safe"));
        prop_assert_eq!(fleet.engine.audit(), Ok(()));
    }
}

#[test]
fn fault_s18_fifty_thousand_endpoints_are_cut_and_others_have_the_same_bytes() {
    let mut fleet = attacked();
    let before = of_gateway(&fleet, "safe");
    let own: BTreeSet<_> =
        served(&fleet.view()).into_iter().filter(|own| own.starts_with("10.1.")).collect();
    for slice in 0..50 {
        let addresses = (0..1000_u32).map(|n| {
            let n = slice * 1000 + n;
            IpAddr::from([10, 2, (n / 250) as u8 + 20, (n % 250) as u8 + 1])
        });
        let name = format!("flood-{slice}");
        fleet.engine.tick([slice_at("c2", ("svc-1", &name), 8080, addresses)]);
    }
    fleet.engine.audit().unwrap();
    let after = served(&fleet.view());
    assert!(own.is_subset(&after));
    // 5,000 of the one Service, and what c2 has of the two others.
    assert_eq!(after.difference(&own).count(), 5_000 + 2);
    assert_eq!(before, of_gateway(&fleet, "safe"));
    assert!(findings(&fleet).iter().any(|own| own.contains("port 80 has 50001 endpoints")));
}
