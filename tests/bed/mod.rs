//! The bed: a fleet, its members and their pods, a gateway of real Envoys and clients, on one
//! machine, for one test.
//!
//! Owns how a test sees the world. Must not know any row of the table.

pub(crate) mod cert;
pub(crate) mod client;
pub(crate) mod convoy;
pub(crate) mod directory;
pub(crate) mod envoy;
pub(crate) mod fleet;
pub(crate) mod guide;
pub(crate) mod ingress;
pub(crate) mod load;
pub(crate) mod netns;
pub(crate) mod poll;
pub(crate) mod workload;

use std::{collections::BTreeMap, net::SocketAddr};

use ::convoy::{
    diag::Reason,
    serve::XdsSecurity,
    settings::{Mechanisms, Timings},
};
use tempfile::TempDir;

use self::{
    client::{Client, Replies, Request},
    convoy::Convoy,
    directory::Directory,
    envoy::Envoy,
    fleet::Fleet,
    ingress::Ingress,
    load::{Load, Plan},
    netns::{GATEWAY, Partition},
    poll::{SETTLE, eventually},
    workload::{Running, State, Workload},
};

/// How an Envoy speaks to the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    Delta,
    Sotw,
}

/// Requests per line of a [`Bed::check`]: enough to tell a rule from a coin.
const CHECKS: usize = 4;

/// Pods of a member have the upper half of its addresses; its API server is in the lower.
const FIRST_SUBNET: u8 = 128;

/// One world.
pub(crate) struct Bed {
    pub(crate) variant: Variant,
    pub(crate) fleet: Fleet,
    /// Read when the control plane starts.
    pub(crate) mechanisms: Mechanisms,
    /// Read when the control plane starts.
    pub(crate) security: XdsSecurity,
    /// Read when the control plane starts.
    pub(crate) timings: Timings,
    /// Once started.
    pub(crate) envoy: Option<Envoy>,
    convoy: Option<Convoy>,
    workloads: BTreeMap<(&'static str, &'static str, &'static str), Running>,
    dir: TempDir,
}

impl Bed {
    /// A fleet that is a directory.
    pub(crate) fn new(variant: Variant) -> Bed {
        let dir = TempDir::with_prefix("convoy-bed-").unwrap();
        let fleet = Fleet::new(Directory::create(dir.path()));
        Bed::on(fleet, variant, dir)
    }

    /// A fleet that is there; other files go to `dir`.
    pub(crate) fn on(fleet: Fleet, variant: Variant, dir: TempDir) -> Bed {
        Bed {
            variant,
            fleet,
            mechanisms: Mechanisms::ALL,
            // What is told over xDS does not depend on it; its own tests choose another.
            security: XdsSecurity::Plaintext,
            timings: Timings::PRODUCTION,
            envoy: None,
            convoy: None,
            workloads: BTreeMap::new(),
            dir,
        }
    }

    /// Starts the pods of a workload and shows them in its member.
    pub(crate) fn deploy(&mut self, spec: Workload) {
        let key = (spec.member, spec.namespace, spec.service);
        let member: u8 = spec.member.trim_start_matches('c').parse().unwrap();
        let earlier = self.workloads.keys().filter(|(id, ..)| *id == spec.member).count();
        let subnet = [10, member, FIRST_SUBNET + u8::try_from(earlier).unwrap()];
        let running = Running::start(spec, subnet, self.dir.path(), &self.fleet);
        self.workloads.insert(key, running);
    }

    /// `service1` with so many replicas in each of the members.
    pub(crate) fn deploy_service1(&mut self, replicas: &[(&'static str, usize)]) {
        for (member, n) in replicas {
            self.deploy(workload::workload(member, "service1", *n));
        }
    }

    /// A Service with one pod in `c1`, for each name.
    pub(crate) fn deploy_each(&mut self, services: &[&'static str]) {
        for service in services {
            self.deploy(workload::workload("c1", service, 1));
        }
    }

    /// `kubectl scale`, seen by the API only: pods beyond `n` keep running.
    pub(crate) fn scale(&mut self, member: &str, service: &str, n: usize) {
        let (running, fleet) = self.running(member, service);
        running.scale(n, fleet);
    }

    /// The EndpointSlice says something else about a pod, counted from zero.
    pub(crate) fn set_pod(&mut self, member: &str, service: &str, idx: usize, state: State) {
        let (running, fleet) = self.running(member, service);
        running.set(idx, state, fleet);
    }

    /// A Pod object of the member says that a pod, counted from zero, has a label.
    pub(crate) fn label_pod(
        &mut self,
        member: &str,
        service: &str,
        idx: usize,
        key: &str,
        value: &str,
    ) {
        let (running, fleet) = self.running(member, service);
        running.label(idx, key, value, fleet);
    }

    /// A workload in the usual namespace.
    pub(crate) fn running(&mut self, member: &str, service: &str) -> (&mut Running, &Fleet) {
        let found = self.workloads.iter_mut().find(|((id, namespace, name), _)| {
            (*id, *namespace, *name) == (member, fleet::NAMESPACE, service)
        });
        let (_, running) = found.unwrap_or_else(|| panic!("no {service} in {member}"));
        (running, &self.fleet)
    }

    /// SIGKILL for every pod of a member; its API shows nothing.
    pub(crate) fn kill(&mut self, member: &str) {
        self.of_member(member).for_each(Running::kill);
    }

    /// Every pod of a member runs again.
    pub(crate) fn revive(&mut self, member: &str) {
        self.of_member(member).for_each(Running::revive);
    }

    /// SIGSTOP for every pod of a member.
    pub(crate) fn pause(&mut self, member: &str) {
        self.of_member(member).for_each(|running| running.pause());
    }

    /// SIGCONT for every pod of a member.
    pub(crate) fn resume(&mut self, member: &str) {
        self.of_member(member).for_each(|running| running.resume());
    }

    /// Packets from and to the pods of a member vanish while the value lives.
    pub(crate) async fn partition(&mut self, member: &str) -> Partition {
        let listener = self.of_member(member).next().unwrap().address(0);
        let network = match listener {
            SocketAddr::V4(v4) => format!("10.{}.{FIRST_SUBNET}.0/17", v4.ip().octets()[1]),
            SocketAddr::V6(_) => panic!("the bed's addresses are IPv4"),
        };
        Partition::cut(&network, listener).await
    }

    fn of_member(&mut self, member: &str) -> impl Iterator<Item = &mut Running> {
        self.workloads.iter_mut().filter(move |((id, ..), _)| *id == member).map(|(_, r)| r)
    }

    /// How often each recorded request reached a pod.
    pub(crate) fn deliveries(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for id in self.workloads.values().flat_map(Running::deliveries) {
            *counts.entry(id).or_default() += 1;
        }
        counts
    }

    /// Applies an Ingress.
    pub(crate) fn ingress(&self, ingress: &Ingress) {
        self.fleet.object(&ingress.file(), &ingress.manifest());
    }

    /// Starts the control plane and an Envoy of the guide's gateway, and waits until it serves.
    pub(crate) async fn start(&mut self) {
        self.start_convoy().await;
        self.start_envoy(guide::GATEWAY_NAME).await;
    }

    /// The fleet holds the guide's gateway; then as [`Bed::start`].
    pub(crate) async fn start_guide(&mut self) {
        self.fleet.apply("gateway", guide::GATEWAY);
        self.start().await;
    }

    pub(crate) async fn start_convoy(&mut self) {
        let security = self.security.clone();
        let convoy =
            Convoy::start(self.fleet.source(), security, self.mechanisms, self.timings).await;
        self.convoy = Some(convoy);
    }

    /// Ends the control plane and starts it again.
    pub(crate) async fn restart_convoy(&mut self) {
        self.stop_convoy().await;
        self.start_convoy().await;
    }

    /// Ends the control plane, if it runs; the Envoy keeps what it has.
    pub(crate) async fn stop_convoy(&mut self) {
        if let Some(convoy) = self.convoy.take() {
            convoy.stop().await;
        }
    }

    /// Starts the Envoy, or starts it again.
    pub(crate) async fn start_envoy(&mut self, gateway: &str) {
        self.start_envoy_from(&convoy::bootstrap(gateway, "first", self.variant)).await;
    }

    /// Starts an Envoy from a bootstrap of the test's own.
    pub(crate) async fn start_envoy_from(&mut self, bootstrap: &str) {
        // The old one must free its ports first.
        self.envoy = None;
        let envoy = self.envoy.insert(Envoy::start(bootstrap, self.dir.path()));
        envoy.live().await;
    }

    /// Starts a second Envoy, on a machine of its own.
    pub(crate) fn start_second_envoy(&self, gateway: &str) -> (Envoy, Client) {
        let bootstrap = convoy::bootstrap(gateway, "second", self.variant);
        let (envoy, address) = Envoy::start_elsewhere(&bootstrap, &self.dir.path().join("second"));
        (envoy, Client::plain((address, 80).into()))
    }

    pub(crate) fn convoy(&self) -> &Convoy {
        self.convoy.as_ref().expect("the test started its Convoy")
    }

    pub(crate) fn envoy(&self) -> &Envoy {
        self.envoy.as_ref().expect("the test started its Envoy")
    }

    /// Plaintext to the gateway.
    pub(crate) fn http(&self) -> Client {
        Client::plain((GATEWAY, 80).into())
    }

    /// TLS to the gateway, asking for `server`.
    pub(crate) fn https(&self, authority: &cert::Authority, server: &str) -> Client {
        Client::tls((GATEWAY, 443).into(), authority.trust(), server)
    }

    /// `n` requests, again and again until `expect` holds.
    ///
    /// # Panics
    /// If it does not within the table's five seconds.
    pub(crate) async fn settle(
        &self,
        n: usize,
        request: &Request,
        expect: impl Fn(&Replies) -> bool,
    ) {
        self.settle_over(&self.http(), n, request, expect).await;
    }

    /// [`Bed::settle`] over another client.
    pub(crate) async fn settle_over(
        &self,
        client: &Client,
        n: usize,
        request: &Request,
        expect: impl Fn(&Replies) -> bool,
    ) {
        eventually(SETTLE, "the answers are as expected", || async {
            let replies = client.hit(n, request).await;
            if expect(&replies) {
                return Ok(());
            }
            let (envs, pods, codes) = (replies.envs().0, replies.pods().0, replies.codes().0);
            Err(format!("{envs:?} {pods:?} {codes:?}"))
        })
        .await;
    }

    /// All answers come from `env`, which may also be a status code.
    pub(crate) async fn all(&self, n: usize, request: &Request, env: &str) {
        self.settle(n, request, |replies| replies.envs().only(env)).await;
    }

    /// Answers divide by environment in these percentages.
    pub(crate) async fn shares(
        &self,
        n: usize,
        request: &Request,
        shares: &[(&str, f64)],
        tolerance: f64,
    ) {
        self.settle(n, request, |replies| replies.envs().shares(shares, tolerance)).await;
    }

    /// Each request is always answered by its environment, or with its status code.
    pub(crate) async fn check(&self, table: &[(Request, &str)]) {
        self.check_over(&self.http(), table).await;
    }

    /// [`Bed::check`] over another client.
    pub(crate) async fn check_over(&self, client: &Client, table: &[(Request, &str)]) {
        eventually(SETTLE, "every request reaches its backend", || async {
            for (request, expect) in table {
                let split = client.hit(CHECKS, request).await.envs();
                if !split.only(expect) {
                    return Err(format!("{request:?}: expected {expect}, saw {:?}", split.0));
                }
            }
            Ok(())
        })
        .await;
    }

    /// The object, as in `Ingress gateway-demo/web-demo`, is reported for `reason`, where there are
    /// Events with one.
    pub(crate) async fn reports(&self, object: &str, reason: Reason) {
        let convoy = self.convoy.as_ref().expect("the test started its control plane");
        eventually(SETTLE, "the object is reported", || async {
            let diags = convoy.diags();
            let found = diags.iter().any(|d| d.reason == reason && d.object.to_string() == object);
            let events = self.fleet.events(object);
            let is_said = events.as_ref().is_none_or(|said| said.contains(&reason.to_string()));
            if found && is_said { Ok(()) } else { Err(format!("{diags:?}, Events: {events:?}")) }
        })
        .await;
    }

    /// Grows with every change that is published.
    pub(crate) fn revision(&self) -> u64 {
        self.convoy.as_ref().expect("the test started its control plane").revision()
    }

    /// Starts load on the gateway.
    pub(crate) fn load(&self, plan: &Plan) -> Load {
        Load::start(&self.http(), plan)
    }

    /// For the report of a failed test.
    pub(crate) async fn autopsy(&self) -> String {
        let Some(envoy) = &self.envoy else { return "no Envoy was started".to_owned() };
        let stats = envoy.try_admin("/stats?usedonly&filter=^cluster").await;
        let (log, stats) = (envoy.log(), stats.unwrap_or_else(|e| e));
        let diags = self.convoy.as_ref().map(Convoy::diags).unwrap_or_default();
        let diags: Vec<_> = diags.iter().map(ToString::to_string).collect();
        format!("diagnostics:\n{}\nstatistics:\n{stats}\nEnvoy's log:\n{log}", diags.join("\n"))
    }
}
