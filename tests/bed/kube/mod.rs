//! Real clusters: for each an etcd, a kube-apiserver and a kube-controller-manager, and for members
//! a stand-in for scheduler and kubelet that runs Pods as processes.
//!
//! Owns what a test may do to a cluster. Must not know Convoy, Envoy, or any row of the table. Cost of
//! a fleet with two members: four seconds and 1.2 GB, so rows share one.
//!
//! | who | where |
//! |---|---|
//! | API server of member i, as others reach it | 10.i.0.1:6443+i |
//! | the same server, as the bed reaches it: a cut of the first is none of the cluster | 10.i.0.2:6443+i |
//! | a proxy in front of it, that a test may break | 10.i.0.1:8443 |
//! | pods of member i; all but web-demo in networks of their own | 10.i.1.n |
//! | nodes of member i | 10.i.2.n |
//! | Services of member i | 10.i.240.0/20 |
//! | load balancers of the fleet | 10.0.1.n |
//! | those of member i | 10.0.(1+i).n |
//!
//! The fleet is number 100. A member may be in a network of its own behind a leased line ([`line`]).

pub(crate) mod argocd;
pub(crate) mod cluster;
pub(crate) mod daemon;
pub(crate) mod keeper;
pub(crate) mod kubectl;
pub(crate) mod kubelet;
pub(crate) mod line;
pub(crate) mod namespace;
pub(crate) mod pod;
pub(crate) mod programs;
pub(crate) mod proxy;
pub(crate) mod services;

use std::{collections::BTreeMap, path::Path};

use tempfile::TempDir;
use tokio::task::JoinSet;

use self::{
    cluster::Cluster,
    kubelet::Kubelet,
    line::{Remote, Routes},
    programs::Programs,
    proxy::Proxy,
    services::Services,
};
use crate::bed::cert::Authority;

/// Apart from every member's number, and from 0, where gateways are.
const FLEET: u8 = 100;

/// A fleet and its members.
pub(crate) struct World {
    pub(crate) fleet: Cluster,
    fleet_machines: Option<(Kubelet, Services)>,
    members: BTreeMap<&'static str, Member>,
    dir: TempDir,
}

/// A member cluster: its control plane, another way to it, and its one machine.
pub(crate) struct Member {
    pub(crate) cluster: Cluster,
    pub(crate) proxy: Proxy,
    pub(crate) kubelet: Kubelet,
    distant: Option<Distant>,
}

/// What a member has that is elsewhere: machines that forward for its Services, and the way there.
struct Distant {
    _services: Services,
    remote: Remote,
}

impl World {
    /// Starts all clusters together; members are `c1`, `c2` and so on. Returns when every API is ready
    /// and every member has its nodes.
    pub(crate) async fn start(members: &[&'static str]) -> World {
        World::start_with(members, &[]).await
    }

    /// The same with some of the members each at the other end of a leased line, where their Services
    /// have NodePorts and load balancers.
    pub(crate) async fn start_with(members: &[&'static str], distant: &[&'static str]) -> World {
        let dir = TempDir::with_prefix("convoy-kube-").unwrap();
        let programs = Programs::find().unwrap_or_else(|missing| panic!("{missing}"));
        let authority = Authority::new();
        let launch = |name: &'static str, number| {
            Cluster::launch(name, number, &programs, &authority, &dir.path().join(name))
        };
        let mut fleet = launch("fleet", FLEET);
        let mut starting = JoinSet::new();
        for name in members {
            let number = name.trim_start_matches('c').parse().unwrap();
            if distant.contains(name) {
                let remote = Remote::open(number).await;
                let cluster = remote.run(|| launch(name, number));
                starting.spawn(Member::start_at(remote, cluster));
            } else {
                starting.spawn(Member::start(launch(name, number)));
            }
        }
        fleet.ready().await;
        let members = starting.join_all().await.into_iter();
        let members = members.map(|member| (member.cluster.name, member)).collect();
        World { fleet, fleet_machines: None, members, dir }
    }

    /// The same with machines in the fleet too, for a Convoy and Envoys that are deployed there.
    pub(crate) async fn start_with_fleet_nodes(members: &[&'static str]) -> World {
        let mut world = World::start(members).await;
        let kubelet = Kubelet::start(&world.fleet).await;
        world.fleet_machines = Some((kubelet, Services::start(&world.fleet).await));
        world
    }

    /// The machines of the fleet, in a world that was started with them.
    pub(crate) fn fleet_kubelet(&self) -> &Kubelet {
        &self.fleet_machines.as_ref().expect("a world that was started with fleet nodes").0
    }

    pub(crate) fn member(&self, name: &str) -> &Member {
        self.members.get(name).unwrap_or_else(|| panic!("no member {name}"))
    }

    pub(crate) fn member_mut(&mut self, name: &str) -> &mut Member {
        self.members.get_mut(name).unwrap_or_else(|| panic!("no member {name}"))
    }

    /// The fleet and all members, in order.
    pub(crate) fn clusters(&self) -> impl Iterator<Item = &Cluster> {
        [&self.fleet].into_iter().chain(self.members.values().map(|member| &member.cluster))
    }

    /// A directory that is gone with this world.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The other end of the line of a member that is there.
    pub(crate) fn remote(&self, name: &str) -> &Remote {
        &self.member(name).distant.as_ref().expect("a member behind a line").remote
    }

    /// Whether the pods of a cluster are reached from here.
    pub(crate) fn routes(&self, cluster: &Cluster) -> Routes {
        let distant = self.members.get(cluster.name).and_then(|member| member.distant.as_ref());
        distant.map_or(Routes::Underlay, |distant| distant.remote.routes())
    }

    /// For the report of a failed test.
    pub(crate) fn autopsy(&self) -> String {
        let pods = self.fleet_machines.iter().map(|(kubelet, _)| kubelet.autopsy());
        self.clusters().map(Cluster::autopsy).chain(pods).collect::<Vec<_>>().join("\n")
    }
}

impl Member {
    async fn start(mut cluster: Cluster) -> Member {
        cluster.ready().await;
        let kubelet = Kubelet::start(&cluster).await;
        let proxy = cluster.proxy().await;
        Member { cluster, proxy, kubelet, distant: None }
    }

    /// One that was launched elsewhere; all that it has runs there.
    async fn start_at(remote: Remote, cluster: Cluster) -> Member {
        let start = async {
            let member = Member::start(cluster).await;
            let services = Services::start(&member.cluster).await;
            (member, services)
        };
        let (member, services) = remote.play(start).await;
        Member { distant: Some(Distant { _services: services, remote }), ..member }
    }
}

/// Passes packets on between cables, which otherwise end at the machine that these share.
pub(crate) fn forward() {
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
}
