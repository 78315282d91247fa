//! Clusters with Convoy and an Envoy of the guide's gateway.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use convoy::{
    gateway::Address,
    key::ObjectName,
    serve::{Kubernetes, Source},
    status,
};
use tempfile::TempDir;

use crate::{
    bed::{
        Bed,
        client::Request,
        fleet::{Fleet, NAMESPACE},
        guide,
        netns::GATEWAY,
    },
    clusters::{World, cluster::client, keeper::Clusters},
    harness::{Ground, Play},
    replica::{Replica, write_kubeconfig},
    table::VARIANT,
};

/// What the steps of a scenario share.
pub(crate) struct Scene {
    pub(crate) world: World,
    /// Workloads, an Envoy and clients; and a Convoy in this process, where it is to have settings that
    /// no operator can choose.
    pub(crate) bed: Bed,
    /// Every other Convoy that was started, in order.
    pub(crate) replicas: Vec<Replica>,
    objects: Clusters,
}

impl Scene {
    /// Clusters with the usual namespace, but for a fleet that has nothing.
    pub(crate) async fn open(members: &[&'static str], ground: Ground) -> Scene {
        let world = match ground {
            Ground::Prepared => World::start(members).await,
            Ground::Divided => World::start_with(members, &members[members.len() - 1..]).await,
            Ground::Machines | Ground::Bare => World::start_with_fleet_nodes(members).await,
        };
        for name in members {
            world.member(name).cluster.kubectl(&format!("create namespace {NAMESPACE}"));
        }
        let kubeconfig = match ground {
            Ground::Prepared | Ground::Divided | Ground::Machines => prepare(&world),
            Ground::Bare => world.fleet.kubeconfig(),
        };
        let objects = Clusters::of(&world, source(&kubeconfig).await).await;
        Scene { world, bed: bed_on(&objects), replicas: Vec::new(), objects }
    }

    /// Declares members in the fleet.
    pub(crate) fn install(&self, members: &[&str]) {
        members.iter().for_each(|name| self.declare(name));
    }

    /// The same, with a proxy between Convoy and each of them.
    pub(crate) fn install_proxied(&self, members: &[&str]) {
        for name in members {
            let proxy = self.world.member(name).proxy.address;
            self.declare_at(name, &format!("https://{proxy}"));
        }
    }

    /// Ends everything but the clusters, and removes what the bed wrote to them.
    pub(crate) async fn clear(&mut self) {
        self.replicas.clear();
        // Envoys that are there would make its end wait.
        self.bed.envoy = None;
        self.bed.stop_convoy().await;
        self.objects.clear().await;
        self.bed = bed_on(&self.objects);
    }

    /// Plays a step.
    pub(crate) async fn play(&mut self, step: Play) {
        match step {
            Play::Scene(play) => play(self).await,
            Play::Bed(play) => play(&mut self.bed).await,
        }
    }

    /// `convoy member add`, by an administrator of both clusters.
    pub(crate) fn declare(&self, name: &str) {
        self.declare_at(name, &self.world.member(name).cluster.server());
    }

    /// The same, for a Convoy that is to reach the member's API at another URL.
    pub(crate) fn declare_at(&self, name: &str, server: &str) {
        self.declare_as(name, server, &[]);
    }

    /// The same with further flags.
    pub(crate) fn declare_as(&self, name: &str, server: &str, flags: &[&str]) {
        let (fleet, member) = (&self.world.fleet, &self.world.member(name).cluster);
        let (of_member, of_fleet) = (member.kubeconfig(), fleet.kubeconfig());
        let (of_member, of_fleet) = (of_member.to_str().unwrap(), of_fleet.to_str().unwrap());
        let words = ["member", "add", "--id", name, "--kubeconfig", of_member];
        let words = [&words[..], &["--server", server, "--fleet-kubeconfig", of_fleet]];
        convoy(&[&words.concat(), flags].concat());
    }

    /// Starts one more Convoy, and waits until it has read everything.
    pub(crate) async fn start_convoy(&mut self) -> &mut Replica {
        let number = u8::try_from(self.replicas.len()).unwrap();
        self.add(Replica::start(&self.world, number)).await
    }

    /// The same with the timers of the fault rows.
    pub(crate) async fn start_paced_convoy(&mut self) -> &mut Replica {
        let number = u8::try_from(self.replicas.len()).unwrap();
        self.add(Replica::paced(&self.world, number)).await
    }

    /// The same with managed gateways.
    pub(crate) async fn start_managing_convoy(&mut self) -> &mut Replica {
        let number = u8::try_from(self.replicas.len()).unwrap();
        self.add(Replica::managing(&self.world, number)).await
    }

    async fn add(&mut self, mut replica: Replica) -> &mut Replica {
        replica.ready().await;
        self.replicas.push(replica);
        self.replicas.last_mut().unwrap()
    }

    /// Starts an Envoy of the guide's gateway at the first Convoy.
    pub(crate) async fn start_envoy(&mut self) {
        self.bed.start_envoy(guide::GATEWAY_NAME).await;
    }

    /// All of `n` answers come from `env`, which may also be a status code, within the table's time.
    pub(crate) async fn all(&self, n: usize, request: &Request, env: &str) {
        self.bed.all(n, request, env).await;
    }

    /// Answers divide by environment in these percentages, within the table's time.
    pub(crate) async fn shares(&self, n: usize, request: &Request, shares: &[(&str, f64)]) {
        // Shares of localities are scheduled, not drawn.
        self.bed.shares(n, request, shares, 1.0).await;
    }

    /// For the report of a failed step.
    pub(crate) async fn autopsy(&self) -> String {
        let convoys = self.replicas.iter().map(|replica| replica.process.last_words());
        let convoys = convoys.collect::<Vec<_>>().join("\n");
        format!("{}\n{convoys}\n{}", self.world.autopsy(), self.bed.autopsy().await)
    }
}

/// The fleet gets what Convoy needs there; returns where the kubeconfig of its account is.
fn prepare(world: &World) -> PathBuf {
    world.fleet.kubectl(&format!("create namespace {NAMESPACE}"));
    world.fleet.apply(&convoy(&["crds"]), "--server-side");
    world.fleet.apply(&convoy(&["account"]), "--server-side");
    let kubeconfig = world.dir().join("convoy-of-bed.kubeconfig");
    write_kubeconfig(world, &kubeconfig);
    kubeconfig
}

/// A bed that has nothing yet.
fn bed_on(objects: &Clusters) -> Bed {
    let dir = TempDir::with_prefix("convoy-bed-").unwrap();
    Bed::on(Fleet::new(objects.clone()), VARIANT, dir)
}

/// What Convoy reads with a kubeconfig of the fleet.
async fn source(kubeconfig: &Path) -> Source {
    let client = client(kubeconfig).await;
    let namespaces = BTreeSet::from(["convoy-system".to_owned()]);
    let status = status::Options {
        identity: status::identity(),
        lease: ObjectName::new("convoy-system", "convoy"),
        publish_addresses: vec![Address::Ip(GATEWAY.into())],
        publish_service: None,
    };
    Source::Kubernetes(Kubernetes {
        client,
        api_server: None,
        namespaces,
        status: Some(status),
        infra: None,
    })
}

/// Runs `convoy WORDS` and returns what it prints.
#[track_caller]
pub(crate) fn convoy(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_convoy")).args(words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "convoy {}: {said}", words.join(" "));
    String::from_utf8(output.stdout).unwrap()
}
