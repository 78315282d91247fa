//! Hybrid, `examples/hybrid`: a cloud cluster whose pods are reached, a data center of which only
//! the nodes are, weights between them, and the line to the data center cut.

use std::net::Ipv4Addr;

use crate::cli::demo::play::{Cluster, Loss, Node, Play, Traffic, Workload};

macro_rules! manifests {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../examples/hybrid/", $path)))),*]
    };
}

const ONLY_CLUSTER_1: &[(&str, f64)] = &[("cluster-demo-1", 100.0)];
const ONLY_CANARY: &[(&str, f64)] = &[("cluster-demo-1-canary", 100.0)];

pub(super) const PLAY: Play = Play {
    title: "Convoy: one gateway, a cloud and a data center, stock Envoy",
    gateway: "AlbConfig/ackone-gateway-demo",
    fleet: manifests!(
        "fleet/gateway.yaml",
        "fleet/active-active.yaml",
        "fleet/cluster-weights.yaml",
        "fleet/header-canary.yaml",
        "fleet/directory/cluster-2.yaml",
    ),
    members: manifests!(
        "members/cluster-1/web-demo.yaml",
        "members/cluster-1/web-demo-canary-1.yaml",
        "members/cluster-2/nodes.yaml",
        "members/cluster-2/web-demo.yaml",
    ),
    port_text: "8001",
    workloads: &[
        Workload {
            member: "cluster-1",
            service: "service1",
            env: "cluster-demo-1",
            addresses: &[
                Ipv4Addr::new(127, 1, 1, 1),
                Ipv4Addr::new(127, 1, 1, 2),
                Ipv4Addr::new(127, 1, 1, 3),
            ],
        },
        Workload {
            member: "cluster-1",
            service: "service1-canary-1",
            env: "cluster-demo-1-canary",
            addresses: &[Ipv4Addr::new(127, 1, 2, 1)],
        },
        Workload {
            member: "cluster-2",
            service: "service1",
            env: "cluster-demo-2",
            addresses: &[Ipv4Addr::new(127, 20, 1, 1), Ipv4Addr::new(127, 20, 2, 1)],
        },
    ],
    nodes: &[
        Node { address: Ipv4Addr::new(127, 168, 10, 1), env: "cluster-demo-2" },
        Node { address: Ipv4Addr::new(127, 168, 10, 2), env: "cluster-demo-2" },
    ],
    traffic: &[
        Traffic {
            title: "by replica",
            path: "/svc1",
            header: None,
            workers: 4,
            both: &[("cluster-demo-1", 60.0), ("cluster-demo-2", 40.0)],
            alone: ONLY_CLUSTER_1,
        },
        Traffic {
            title: "by cluster weight",
            path: "/weights",
            header: None,
            workers: 2,
            both: &[("cluster-demo-1", 80.0), ("cluster-demo-2", 20.0)],
            alone: ONLY_CLUSTER_1,
        },
        Traffic {
            title: "canary version by header",
            path: "/svc1",
            header: Some(("canary-dest", "cluster1")),
            workers: 1,
            both: ONLY_CANARY,
            alone: ONLY_CANARY,
        },
    ],
    clusters: [
        Cluster { name: "data center", has: "two replicas behind the NodePort of two nodes" },
        Cluster { name: "cloud", has: "three replicas and a canary" },
    ],
    loss: Loss::Cut,
};
