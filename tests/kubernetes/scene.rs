//! Clusters with Convoy and an Envoy of the guide's gateway.

use std::process::Command;

use crate::{
    bed::{
        Variant,
        client::{Client, Replies, Request},
        convoy::bootstrap,
        envoy::Envoy,
        fleet::NAMESPACE,
        guide,
        netns::GATEWAY,
        poll::{SETTLE, eventually},
    },
    clusters::World,
    replica::Replica,
};

/// Convoy's account in the fleet. It is nobody's administrator.
const ACCOUNT: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: convoy-system}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: convoy, namespace: convoy-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: convoy}
rules:
- {apiGroups: [networking.k8s.io], resources: [ingresses, ingressclasses], verbs: [get, list, watch]}
- {apiGroups: [networking.k8s.io], resources: [ingresses/status], verbs: [get, patch]}
- {apiGroups: [mse.alibabacloud.com], resources: [mseingressconfigs], verbs: [get, list, watch]}
- {apiGroups: [mse.alibabacloud.com], resources: [mseingressconfigs/status], verbs: [get, patch]}
- {apiGroups: [convoy.dev], resources: [memberclusters], verbs: [get, list, watch]}
- {apiGroups: [convoy.dev], resources: [memberclusters/status], verbs: [get, patch]}
- {apiGroups: [''], resources: [secrets, namespaces, services], verbs: [get, list, watch]}
- {apiGroups: [events.k8s.io, ''], resources: [events], verbs: [get, list, create, patch, update]}
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: convoy}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: convoy}
subjects: [{kind: ServiceAccount, name: convoy, namespace: convoy-system}]
";

/// What the steps of a scenario share.
pub(crate) struct Scene {
    pub(crate) world: World,
    /// Every Convoy that was started, in order.
    pub(crate) replicas: Vec<Replica>,
    pub(crate) envoy: Option<Envoy>,
}

impl Scene {
    pub(crate) async fn open(members: &[&'static str]) -> Scene {
        Scene { world: World::start(members).await, replicas: Vec::new(), envoy: None }
    }

    /// Makes the usual namespace everywhere, installs Convoy's kinds and its account in the fleet, and
    /// declares the members there.
    pub(crate) fn install(&self, members: &[&str]) {
        let fleet = &self.world.fleet;
        for cluster in self.world.clusters() {
            cluster.kubectl(&format!("create namespace {NAMESPACE}"));
        }
        fleet.apply(&convoy(&["crds"]), "--server-side");
        fleet.apply(ACCOUNT, "");
        members.iter().for_each(|name| self.declare(name));
    }

    /// `convoy member add`, by an administrator of both clusters.
    pub(crate) fn declare(&self, name: &str) {
        let (fleet, member) = (&self.world.fleet, &self.world.member(name).cluster);
        let (of_member, of_fleet) = (member.kubeconfig(), fleet.kubeconfig());
        let (of_member, of_fleet) = (of_member.to_str().unwrap(), of_fleet.to_str().unwrap());
        let server = member.server();
        let words = ["member", "add", "--id", name, "--kubeconfig", of_member];
        let words = [&words[..], &["--server", &server, "--fleet-kubeconfig", of_fleet]];
        convoy(&words.concat());
    }

    /// Starts one more Convoy, and waits until it has read everything.
    pub(crate) async fn start_convoy(&mut self) -> &mut Replica {
        let number = u8::try_from(self.replicas.len()).unwrap();
        let mut replica = Replica::start(&self.world, number);
        replica.ready().await;
        self.replicas.push(replica);
        self.replicas.last_mut().unwrap()
    }

    /// Starts an Envoy of the guide's gateway at the first Convoy.
    pub(crate) async fn start_envoy(&mut self) {
        let bootstrap = bootstrap(guide::GATEWAY_NAME, "first", Variant::Delta);
        let envoy = self.envoy.insert(Envoy::start(&bootstrap, &self.world.dir().join("envoy")));
        envoy.live().await;
    }

    /// All of `n` answers come from `env`, which may also be a status code, within the table's time.
    pub(crate) async fn all(&self, n: usize, request: &Request, env: &str) {
        self.settle(n, request, |replies| replies.envs().only(env)).await;
    }

    /// Answers divide by environment in these percentages, within the table's time.
    pub(crate) async fn shares(&self, n: usize, request: &Request, shares: &[(&str, f64)]) {
        // Shares of localities are scheduled, not drawn.
        self.settle(n, request, |replies| replies.envs().shares(shares, 1.0)).await;
    }

    /// `n` requests, again and again until `expect` holds.
    pub(crate) async fn settle(
        &self,
        n: usize,
        request: &Request,
        expect: impl Fn(&Replies) -> bool,
    ) {
        let client = Client::plain((GATEWAY, 80).into());
        eventually(SETTLE, "the answers are as expected", || async {
            let replies = client.hit(n, request).await;
            if expect(&replies) { Ok(()) } else { Err(format!("{:?}", replies.envs().0)) }
        })
        .await;
    }

    /// For the report of a failed step.
    pub(crate) fn autopsy(&self) -> String {
        let convoys = self.replicas.iter().map(|replica| replica.process.last_words());
        let convoys = convoys.collect::<Vec<_>>().join("\n");
        let envoy = self.envoy.as_ref().map(Envoy::log).unwrap_or_default();
        format!("{}\n{convoys}\nEnvoy's log:\n{envoy}", self.world.autopsy())
    }
}

/// Runs `convoy WORDS` and returns what it prints.
#[track_caller]
fn convoy(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_convoy")).args(words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "convoy {}: {said}", words.join(" "));
    String::from_utf8(output.stdout).unwrap()
}
