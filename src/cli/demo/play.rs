//! What is played: the objects of an example, who serves in it, and what is expected of it.
//!
//! Owns the form; a play a file ([`super::zone`], [`super::hybrid`]). Data only: how it is put on
//! stage and judged is the same for all.

use std::{fs, net::Ipv4Addr, path::Path};

use anyhow::{Context, Result};

/// Shares in percent by who answers.
pub(super) type Shares = &'static [(&'static str, f64)];

/// A path and what is in the file.
pub(super) type Manifest = (&'static str, &'static str);

/// One play.
#[derive(Debug)]
pub(super) struct Play {
    /// First line of the live view.
    pub(super) title: &'static str,
    /// The gateway's id: kind and name.
    pub(super) gateway: &'static str,
    /// Of the fleet: the gateway's own port in them is replaced.
    pub(super) fleet: &'static [Manifest],
    /// Of the members: their addresses are moved to loopback.
    pub(super) members: &'static [Manifest],
    /// How the manifests write the port of the gateway; empty if they leave it to Convoy.
    pub(super) port_text: &'static str,
    /// Every application.
    pub(super) workloads: &'static [Workload],
    /// Machines that lead to the pods of a workload that are not reached themselves.
    pub(super) nodes: &'static [Node],
    /// What is sent, and who must answer it.
    pub(super) traffic: &'static [Traffic],
    /// The member that is lost, and the other.
    pub(super) clusters: [Cluster; 2],
    /// How it is lost.
    pub(super) loss: Loss,
}

/// Pods of one Deployment in one member.
#[derive(Debug)]
pub(super) struct Workload {
    /// The member's id.
    pub(super) member: &'static str,
    /// The Service that selects them.
    pub(super) service: &'static str,
    /// `ENV_NAME` of the container: what the answers say.
    pub(super) env: &'static str,
    /// Where they listen, on loopback.
    pub(super) addresses: &'static [Ipv4Addr],
}

/// A machine with a NodePort.
#[derive(Debug)]
pub(super) struct Node {
    /// Its address on loopback.
    pub(super) address: Ipv4Addr,
    /// `ENV_NAME` of the workload that it leads to.
    pub(super) env: &'static str,
}

/// One kind of request.
#[derive(Debug)]
pub(super) struct Traffic {
    /// What it shows.
    pub(super) title: &'static str,
    /// The path it asks for.
    pub(super) path: &'static str,
    /// The header that makes it a canary's.
    pub(super) header: Option<(&'static str, &'static str)>,
    /// Workers with 25 requests a second each.
    pub(super) workers: usize,
    /// Who answers while both clusters live.
    pub(super) both: Shares,
    /// Who answers while one is lost.
    pub(super) alone: Shares,
}

/// A line of the live view.
#[derive(Debug)]
pub(super) struct Cluster {
    /// What it is called.
    pub(super) name: &'static str,
    /// What it has.
    pub(super) has: &'static str,
}

/// How the first of the clusters is lost, and comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// SIGKILL to all pods of this member.
    Kill(&'static str),
    /// The line to the nodes is cut; the pods behind go on.
    Cut,
}

impl Loss {
    /// How the view calls a cluster that is lost.
    pub(super) fn state(self) -> &'static str {
        match self {
            Loss::Kill(_) => "dead",
            Loss::Cut => "cut off",
        }
    }

    /// What is said when it happens.
    pub(super) fn said(self) -> [&'static str; 2] {
        match self {
            Loss::Kill(_) => [
                "cluster 1 is killed (SIGKILL to all its pods, nobody tells Convoy); the load goes on",
                "cluster 1 is started again; Envoy takes its pods back as their ejections end",
            ],
            Loss::Cut => [
                "the line to the data center is cut (nobody tells Convoy); the load goes on",
                "the line is back; Envoy takes the nodes back as their ejections end",
            ],
        }
    }

    /// What the Enter key does.
    pub(super) fn invitation(self) -> &'static str {
        match self {
            Loss::Kill(_) => "Enter kills cluster 1 or starts it again, Ctrl-C ends the demo.",
            Loss::Cut => "Enter cuts the line or mends it, Ctrl-C ends the demo.",
        }
    }
}

/// Free ports that take the place of those of the manifests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) gateway: u16,
    pub(super) pods: u16,
    pub(super) nodes: u16,
}

impl Play {
    /// Writes the fleet directory.
    pub(super) fn write(&self, dir: &Path, ports: Ports) -> Result<()> {
        for (path, text) in self.fleet {
            write_file(&dir.join(path), &self.on_port(text, ports))?;
        }
        for (path, text) in self.members {
            write_file(&dir.join(path), &on_loopback(text, ports))?;
        }
        Ok(())
    }

    fn on_port(&self, manifest: &str, ports: Ports) -> String {
        match self.port_text {
            "" => manifest.to_owned(),
            text => manifest.replace(text, &ports.gateway.to_string()),
        }
    }
}

/// The data center of the example is 192.168.10.0/24, and all else of it 10.0.0.0/8.
fn on_loopback(manifest: &str, ports: Ports) -> String {
    manifest
        .replace("  - 10.", "  - 127.")
        .replace("address: 192.168.10.", "address: 127.168.10.")
        .replace("port: 8080", &format!("port: {}", ports.pods))
        .replace("nodePort: 30100", &format!("nodePort: {}", ports.nodes))
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::{hybrid, zone};

    const PORTS: Ports = Ports { gateway: 1234, pods: 4321, nodes: 31000 };

    #[test]
    fn every_endpoint_of_the_manifests_is_served_and_no_other() {
        for play in [&zone::PLAY, &hybrid::PLAY] {
            let manifests = play.members.iter().map(|(_, text)| on_loopback(text, PORTS));
            let manifests: String = manifests.collect();
            let address = |line: &str| {
                let line = line.trim();
                let text = line.strip_prefix("- ").or_else(|| line.strip_prefix("address: "))?;
                text.parse::<Ipv4Addr>().ok().filter(Ipv4Addr::is_loopback)
            };
            let mut named: Vec<_> = manifests.lines().filter_map(address).collect();
            let is_behind = |own: &&Workload| play.nodes.iter().any(|node| node.env == own.env);
            let reached = play.workloads.iter().filter(|own| !is_behind(own));
            let mut served: Vec<_> = reached.flat_map(|own| own.addresses).copied().collect();
            served.extend(play.nodes.iter().map(|node| node.address));
            named.sort();
            served.sort();
            assert_eq!(named, served, "{}", play.title);
            let n_pods = manifests.matches("\n  port: 4321\n").count();
            assert_eq!(n_pods, play.workloads.len(), "{}", play.title);
            assert!(!manifests.contains("port: 8080") && manifests.contains("targetPort: 8080"));
            assert_eq!(manifests.contains("nodePort: 31000"), !play.nodes.is_empty());
        }
    }

    #[test]
    fn gateway_and_port_are_those_of_the_example() {
        for play in [&zone::PLAY, &hybrid::PLAY] {
            let fleet: String =
                play.fleet.iter().map(|(_, text)| play.on_port(text, PORTS)).collect();
            let (kind, name) = play.gateway.split_once('/').unwrap();
            for named in [format!("\nkind: {kind}\n"), format!("\n  name: {name}\n")] {
                assert!(fleet.contains(&named), "{}: {named}", play.title);
            }
            assert_eq!(fleet.contains("1234"), !play.port_text.is_empty(), "{}", play.title);
        }
    }
}
