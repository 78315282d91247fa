//! A member that offers what is not its own (faults.md S17, S18, F20).

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use convoy::diag::Reason;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    bed::{
        Bed,
        client::get,
        fleet::{NAMESPACE, gateway},
        guide::{GATEWAY_NAME, WEB_DEMO},
        ingress::ingress,
        netns::run,
    },
    rows::{BOTH, rows},
};

rows! { BOTH;
    fault_s18_a_hostile_member_gets_no_connection_to_what_is_not_its_own,
}

/// Port of everything that is offered.
const PORT: u16 = 8080;

/// Offered by a member that may offer 10.2.0.0/16, and by one that may offer anything.
const OUTSIDE: [&str; 2] = ["10.1.200.1", "10.3.200.1"];
const NEVER: [&str; 3] = ["127.0.0.1", "169.254.169.254", "100.100.100.200"];
/// In a namespace that the member may offer nothing of.
const FOREIGN: &str = "10.2.200.1";

/// Connections to an address.
struct Trap(Arc<AtomicUsize>);

impl Trap {
    async fn set(address: &str) -> Trap {
        let at = SocketAddr::new(address.parse::<IpAddr>().unwrap(), PORT);
        let listener = TcpListener::bind(at).await.unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Trap(count)
    }
}

fn service(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"ports": [{"port": 80, "targetPort": PORT}]},
    })
}

fn slice<T: ToString>(namespace: &str, service: &str, name: &str, addresses: &[T]) -> Value {
    let endpoint = |own: &T| json!({"addresses": [own.to_string()], "conditions": {"ready": true}});
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "ports": [{"name": "", "port": PORT, "protocol": "TCP"}],
        "endpoints": addresses.iter().map(endpoint).collect::<Vec<_>>(),
    })
}

async fn fault_s18_a_hostile_member_gets_no_connection_to_what_is_not_its_own(bed: &mut Bed) {
    for address in ["169.254.169.254/32", "100.100.100.200/32"] {
        run("ip", &["address", "add", address, "dev", "lo"]);
    }
    let mut traps = Vec::new();
    for address in OUTSIDE.iter().chain(&NEVER).chain([&FOREIGN]) {
        traps.push((*address, Trap::set(address).await));
    }
    bed.deploy_service1(&[("c1", 1), ("c2", 1)]);
    bed.fleet.object(
        "c2",
        &json!({
            "apiVersion": "convoy.dev/v1alpha1",
            "kind": "MemberCluster",
            "metadata": {"name": "c2"},
            "spec": {
                "id": "c2",
                "allowedEndpointCIDRs": ["10.2.0.0/16"],
                "allowedNamespaces": [NAMESPACE],
            },
        }),
    );
    bed.fleet.member_object("c2", "outside", &slice(NAMESPACE, "service1", "outside", &OUTSIDE));
    bed.fleet.member_object("c2", "secret", &service("other", "secret"));
    bed.fleet.member_object("c2", "foreign", &slice("other", "secret", "foreign", &[FOREIGN]));
    bed.fleet.member_object("c3", "service1", &service(NAMESPACE, "service1"));
    bed.fleet.member_object("c3", "never", &slice(NAMESPACE, "service1", "never", &NEVER));
    bed.fleet.member_object("c2", "flood", &service(NAMESPACE, "flood"));
    for part in 0..50_u8 {
        let addresses: Vec<_> = (0..1000_u32)
            .map(|n| format!("10.2.{}.{}", part * 4 + (n / 250) as u8, n % 250 + 1))
            .collect();
        let name = format!("flood-{part}");
        bed.fleet.member_object("c2", &name, &slice(NAMESPACE, "flood", &name, &addresses));
    }
    bed.ingress(&ingress("secret").namespace("other").exact("/secret", "secret"));
    bed.ingress(&ingress("flood").exact("/flood", "flood"));
    bed.fleet.apply("web-demo", WEB_DEMO);
    let members = gateway(GATEWAY_NAME, "c1,c2,c3", json!({"ingressClass": "mse"}));
    bed.fleet.object("gateway", &members);
    bed.start().await;

    // What is theirs is served, by both, and nothing else is tried.
    bed.settle(100, &get("/svc1"), |replies| replies.pods().0.len() == 2).await;
    let replies = bed.http().hit(500, &get("/svc1")).await;
    assert!(replies.codes().only("200"), "{:?}", replies.codes().0);
    let refused = bed.http().hit(20, &get("/secret")).await;
    assert!(refused.codes().only("503"), "{:?}", refused.codes().0);
    for (address, trap) in &traps {
        assert_eq!(trap.0.load(Ordering::Relaxed), 0, "connections to {address}");
    }
    for (object, reason) in [
        ("EndpointSlice gateway-demo/outside of member c2", Reason::ForbiddenAddress),
        ("EndpointSlice gateway-demo/never of member c3", Reason::ForbiddenAddress),
        ("MemberCluster c2", Reason::NamespaceNotAllowed),
        ("Service gateway-demo/flood of member c2", Reason::LimitExceeded),
    ] {
        bed.reports(object, reason).await;
    }
}
