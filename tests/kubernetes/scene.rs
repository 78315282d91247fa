//! Clusters with Convoy and an Envoy of the guide's gateway.

use std::{fs, net::SocketAddr, process::Command};

use crate::{
    bed::{
        Variant,
        client::{Client, Replies, Request, get},
        convoy::bootstrap,
        envoy::Envoy,
        guide,
        netns::{CONTROL_PLANE, GATEWAY},
        poll::{SETTLE, eventually},
    },
    clusters::{World, daemon::Daemon},
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
    pub(crate) convoy: Option<Daemon>,
    pub(crate) envoy: Option<Envoy>,
}

impl Scene {
    pub(crate) async fn open(members: &[&'static str]) -> Scene {
        Scene { world: World::start(members).await, convoy: None, envoy: None }
    }

    /// Installs Convoy's kinds and its account in the fleet, and declares the members.
    pub(crate) fn install(&self, members: &[&str]) {
        let fleet = &self.world.fleet;
        fleet.apply(&convoy(&["crds"]), "--server-side");
        fleet.apply(ACCOUNT, "");
        for name in members {
            let member = &self.world.member(name).cluster;
            let (of_member, of_fleet) = (member.kubeconfig(), fleet.kubeconfig());
            let (of_member, of_fleet) = (of_member.to_str().unwrap(), of_fleet.to_str().unwrap());
            let server = member.server();
            let words = ["member", "add", "--id", name, "--kubeconfig", of_member];
            let words = [&words[..], &["--server", &server, "--fleet-kubeconfig", of_fleet]];
            convoy(&words.concat());
        }
    }

    /// Starts Convoy with its own account, and waits until it has read everything.
    pub(crate) async fn start_convoy(&mut self) {
        let fleet = &self.world.fleet;
        let token = fleet.kubectl("create token convoy -n convoy-system");
        let kubeconfig = self.world.dir().join("convoy.kubeconfig");
        fs::write(&kubeconfig, fleet.kubeconfig_with(token.trim())).unwrap();
        let admin = SocketAddr::new(CONTROL_PLANE.ip(), 18001);
        let arguments = vec![
            "serve".to_owned(),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--xds-listen={CONTROL_PLANE}"),
            format!("--admin-listen={admin}"),
            format!("--publish-address={GATEWAY}"),
        ];
        let log = self.world.dir().join("convoy.log");
        let program = env!("CARGO_BIN_EXE_convoy").as_ref();
        let convoy = self.convoy.insert(Daemon::start(program, arguments, log));
        eventually(SETTLE, "Convoy is ready", || {
            convoy.assert_running();
            async move {
                let reply = Client::plain(admin).send(&get("/readyz")).await?;
                let text = String::from_utf8_lossy(&reply.body).into_owned();
                if reply.status.is_success() { Ok(()) } else { Err(text) }
            }
        })
        .await;
    }

    /// Starts an Envoy of the guide's gateway.
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

    async fn settle(&self, n: usize, request: &Request, expect: impl Fn(&Replies) -> bool) {
        let client = Client::plain((GATEWAY, 80).into());
        eventually(SETTLE, "the answers are as expected", || async {
            let replies = client.hit(n, request).await;
            if expect(&replies) { Ok(()) } else { Err(format!("{:?}", replies.envs().0)) }
        })
        .await;
    }

    /// For the report of a failed step.
    pub(crate) fn autopsy(&self) -> String {
        let convoy = self.convoy.as_ref().map(Daemon::last_words).unwrap_or_default();
        let envoy = self.envoy.as_ref().map(Envoy::log).unwrap_or_default();
        format!("{}\n{convoy}\nEnvoy's log:\n{envoy}", self.world.autopsy())
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
