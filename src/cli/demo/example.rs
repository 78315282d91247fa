//! The fleet that is played: `examples/zone-dr`, its pods moved to loopback addresses.
//!
//! The manifests are used as they are; only `10.…` becomes `127.…` and the pods' port a free one.

use std::{fs, net::Ipv4Addr, path::Path};

use anyhow::{Context, Result};

/// The gateway of the example.
pub(super) const GATEWAY: &str = "ackone-gateway-hongkong";

/// The port of the pods in the manifests.
const POD_PORT: &str = "port: 8080";

macro_rules! manifests {
    ($($path:literal),* $(,)?) => {
        [$(($path, include_str!(concat!("../../../examples/zone-dr/", $path)))),*]
    };
}

/// Path below the fleet directory, and content.
const FLEET: [(&str, &str); 4] = manifests!(
    "fleet/gateway.yaml",
    "fleet/active-active.yaml",
    "fleet/header-canary.yaml",
    "fleet/primary-secondary.yaml",
);

const MEMBERS: [(&str, &str); 3] = manifests!(
    "members/cluster-1/web-demo.yaml",
    "members/cluster-1/web-demo-canary-1.yaml",
    "members/cluster-2/web-demo.yaml",
);

/// Pods of one Deployment in one member.
pub(super) struct Workload {
    /// The member's id.
    pub(super) member: &'static str,
    /// The Service that selects them.
    pub(super) service: &'static str,
    /// `ENV_NAME` of the container: what the answers say.
    pub(super) env: &'static str,
    /// The first three bytes of the pods' addresses on loopback.
    network: [u8; 3],
    /// How many pods; their last bytes count from 1.
    replicas: u8,
}

/// Cluster 1 with nine replicas and a canary, cluster 2 with one replica.
pub(super) const WORKLOADS: [Workload; 3] = [
    Workload {
        member: "cluster-1",
        service: "service1",
        env: "cluster-demo-1",
        network: [127, 1, 1],
        replicas: 9,
    },
    Workload {
        member: "cluster-1",
        service: "service1-canary-1",
        env: "cluster-demo-1-canary",
        network: [127, 1, 2],
        replicas: 1,
    },
    Workload {
        member: "cluster-2",
        service: "service1",
        env: "cluster-demo-2",
        network: [127, 2, 1],
        replicas: 1,
    },
];

impl Workload {
    /// The pods' addresses.
    pub(super) fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        let [a, b, c] = self.network;
        (1..=self.replicas).map(move |d| Ipv4Addr::new(a, b, c, d))
    }
}

/// Writes the fleet directory, with the pods at `pod_port`.
pub(super) fn write(dir: &Path, pod_port: u16) -> Result<()> {
    for (path, text) in FLEET {
        write_file(&dir.join(path), text)?;
    }
    for (path, text) in MEMBERS {
        write_file(&dir.join(path), &on_loopback(text, pod_port))?;
    }
    Ok(())
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

fn on_loopback(manifest: &str, pod_port: u16) -> String {
    manifest.replace("  - 10.", "  - 127.").replace(POD_PORT, &format!("port: {pod_port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_of_the_manifests_is_served_and_no_other() {
        let manifests = MEMBERS.map(|(_, text)| on_loopback(text, 4321)).concat();
        let endpoint = |line: &str| line.trim().strip_prefix("- ")?.parse::<Ipv4Addr>().ok();
        let mut in_manifests: Vec<_> = manifests.lines().filter_map(endpoint).collect();
        let mut served: Vec<_> = WORKLOADS.iter().flat_map(Workload::addresses).collect();
        in_manifests.sort();
        served.sort();
        assert_eq!(in_manifests, served);
        assert_eq!(manifests.matches("\n  port: 4321\n").count(), WORKLOADS.len());
        assert!(!manifests.contains(POD_PORT) && manifests.contains("targetPort: 8080"));
    }

    #[test]
    fn the_gateway_is_the_one_of_the_example() {
        assert!(FLEET.iter().any(|(_, text)| text.contains(&format!("name: {GATEWAY}\n"))));
    }
}
