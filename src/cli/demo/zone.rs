//! Zone disaster recovery, `examples/zone-dr`: cluster 1 with nine replicas and a canary, cluster 2
//! with one replica; cluster 1 dies.

use std::net::Ipv4Addr;

use crate::cli::demo::play::{Cluster, Loss, Play, Traffic, Workload};

macro_rules! manifests {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../examples/zone-dr/", $path)))),*]
    };
}

const fn pod(third: u8, fourth: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 1, third, fourth)
}

const ONLY_CLUSTER_2: &[(&str, f64)] = &[("cluster-demo-2", 100.0)];

pub(super) const PLAY: Play = Play {
    title: "Convoy: one gateway, two clusters, stock Envoy",
    gateway: "MseIngressConfig/ackone-gateway-hongkong",
    fleet: manifests!(
        "fleet/gateway.yaml",
        "fleet/active-active.yaml",
        "fleet/header-canary.yaml",
        "fleet/primary-secondary.yaml",
    ),
    members: manifests!(
        "members/cluster-1/web-demo.yaml",
        "members/cluster-1/web-demo-canary-1.yaml",
        "members/cluster-2/web-demo.yaml",
    ),
    port_text: "",
    workloads: &[
        Workload {
            member: "cluster-1",
            service: "service1",
            env: "cluster-demo-1",
            addresses: &[
                pod(1, 1),
                pod(1, 2),
                pod(1, 3),
                pod(1, 4),
                pod(1, 5),
                pod(1, 6),
                pod(1, 7),
                pod(1, 8),
                pod(1, 9),
            ],
        },
        Workload {
            member: "cluster-1",
            service: "service1-canary-1",
            env: "cluster-demo-1-canary",
            addresses: &[pod(2, 1)],
        },
        Workload {
            member: "cluster-2",
            service: "service1",
            env: "cluster-demo-2",
            addresses: &[Ipv4Addr::new(127, 2, 1, 1)],
        },
    ],
    nodes: &[],
    traffic: &[
        Traffic {
            title: "active-active",
            path: "/svc1",
            header: None,
            workers: 4,
            both: &[("cluster-demo-1", 90.0), ("cluster-demo-2", 10.0)],
            alone: ONLY_CLUSTER_2,
        },
        Traffic {
            title: "canary version by header",
            path: "/svc1",
            header: Some(("canary-dest", "cluster1")),
            workers: 1,
            both: &[("cluster-demo-1-canary", 100.0)],
            alone: ONLY_CLUSTER_2,
        },
        Traffic {
            title: "primary/secondary",
            path: "/service1",
            header: None,
            workers: 1,
            both: &[("cluster-demo-1", 100.0)],
            alone: ONLY_CLUSTER_2,
        },
        Traffic {
            title: "canary cluster by header",
            path: "/service1",
            header: Some(("app-web-demo-version", "gray")),
            workers: 1,
            both: ONLY_CLUSTER_2,
            alone: ONLY_CLUSTER_2,
        },
    ],
    clusters: [
        Cluster { name: "cluster 1", has: "nine replicas and a canary" },
        Cluster { name: "cluster 2", has: "one replica" },
    ],
    loss: Loss::Kill("cluster-1"),
};
