//! A thousand random changes under load: the gates (xds.md 3.5) lose nothing.
//!
//! Four hosts answer all the time while their Ingresses are repointed, removed and applied again,
//! while the Services behind them are renamed, and while these leave and join a member, which
//! changes how their targets are built. Endpoints are told late, so that a route that does not
//! wait for its cluster meets none. Whatever happens, each host has a backend.
//!
//! A change counts when the gateway's published revision has moved because of it, so none is
//! merged into another; Envoy, whose endpoints are late, is many revisions behind all the time.

use std::{
    collections::BTreeSet,
    env,
    time::{Duration, Instant},
};

use convoy::settings::{Mechanisms, Timings};

use crate::{
    bed::{
        Bed,
        client::{Request, get},
        ingress::{Ingress, ingress},
        load::{Load, Plan},
        poll::{SETTLE, eventually},
        workload::workload,
    },
    rows::{BOTH, figure, rows},
};

rows! { BOTH;
    a_thousand_random_changes_lose_nothing,
    without_gates_random_changes_lose_requests,
}

/// How late endpoints are: several changes happen meanwhile.
const ENDPOINT_DELAY: Duration = Duration::from_millis(200);

/// Short enough for clusters to be removed while changes go on, and longer than a worker of Envoy
/// stalls on a busy machine: below that Envoy 1.40 crashes ([`Timings::linger`]).
const LINGER: Duration = Duration::from_secs(10);

/// GETs a second to each host.
const RATE: u32 = 50;

const HOSTS: [&str; 4] = ["h0.example", "h1.example", "h2.example", "h3.example"];

/// What routes lead to: a pod in each of two members, behind a Service of this name to begin with.
const WORKLOADS: [&str; 4] = ["a", "b", "c", "d"];

/// What a host without a route of its own leads to.
const BASE: &str = "base";

/// Chosen by nobody; `CONVOY_GATES_SEED` tries another.
const SEED: u64 = 0x5eed;

async fn a_thousand_random_changes_lose_nothing(bed: &mut Bed) {
    assert_eq!(lost_in(bed, 1_000).await, 0);
}

async fn without_gates_random_changes_lose_requests(bed: &mut Bed) {
    bed.mechanisms = Mechanisms { gates: false, ..Mechanisms::ALL };
    assert!(lost_in(bed, 100).await > 0);
}

/// How many GETs fail while `n` changes happen.
async fn lost_in(bed: &mut Bed, n: usize) -> usize {
    bed.timings = Timings { endpoint_delay: ENDPOINT_DELAY, linger: LINGER, ..Timings::PRODUCTION };
    let seed = env::var("CONVOY_GATES_SEED").map_or(SEED, |seed| seed.parse().unwrap());
    let mut world = World::start(bed, seed).await;
    let loads = HOSTS.map(|host| start_load(bed, host));
    let (began, first) = (Instant::now(), bed.revision());
    for _ in 0..n {
        world.change(bed).await;
    }
    let (took, last) = (began.elapsed(), bed.revision());
    figure(&format!("seed {seed}: {n} changes, revisions {first} to {last}, in {took:?}"));
    // Without gates a cluster whose endpoints came too early waits for them for ever.
    if bed.mechanisms.gates {
        world.is_served(bed).await;
    }
    let mut lost = 0;
    for load in loads {
        let report = load.stop().await;
        figure(&format!("{} {:?}", report.figures(), report.failures()));
        lost += report.lost();
    }
    lost
}

fn start_load(bed: &Bed, host: &'static str) -> Load {
    let request = request(host);
    bed.load(&Plan { name: host, request, gets_per_second: RATE, posts_per_second: 0 })
}

fn request(host: &str) -> Request {
    get("/p").host(host)
}

/// A Service and the workload whose pods it selects.
#[derive(Clone, PartialEq)]
struct Backend {
    service: String,
    workload: &'static str,
}

impl Backend {
    /// The Service that is always there, at least in `c1`.
    fn own(workload: &'static str) -> Backend {
        Backend { service: workload.to_owned(), workload }
    }
}

/// What the objects say.
struct World {
    random: Random,
    /// The route of each host, if it has one.
    routes: [Option<Backend>; HOSTS.len()],
    /// Services that only `c1` has.
    lonely: BTreeSet<String>,
    /// Numbers Services that never existed before.
    fresh: usize,
}

impl World {
    /// Every host is served, by what its route leads to.
    async fn start(bed: &mut Bed, seed: u64) -> World {
        for name in WORKLOADS.into_iter().chain([BASE]) {
            bed.deploy(workload("c1", name, 1));
            bed.deploy(workload("c2", name, 1));
        }
        let routes = WORKLOADS.map(|workload| Some(Backend::own(workload)));
        let random = Random(seed.max(1));
        let world = World { random, routes, lonely: BTreeSet::new(), fresh: 0 };
        for (idx, host) in HOSTS.into_iter().enumerate() {
            let base = ingress(&format!("base-{idx}")).host(host).prefix("/", BASE);
            bed.ingress(&base);
            world.apply(bed, idx);
        }
        bed.start_guide().await;
        world.is_served(bed).await;
        world
    }

    /// Every host is answered by the workload that the objects name.
    async fn is_served(&self, bed: &Bed) {
        for (host, route) in HOSTS.into_iter().zip(&self.routes) {
            let expected = route.as_ref().map_or(BASE, |backend| backend.workload);
            bed.all(10, &request(host), expected).await;
        }
    }

    /// One change of what users declare; returns once it is published.
    async fn change(&mut self, bed: &mut Bed) {
        let idx = self.random.below(HOSTS.len());
        let before = bed.revision();
        let old = self.routes[idx].clone();
        match (&old, self.random.below(4)) {
            (Some(_), 0) => self.remove(bed, idx),
            (Some(backend), 1) => self.rename(bed, idx, backend.workload),
            (Some(backend), 2) => self.join_or_leave(bed, backend),
            (Some(_) | None, _) => self.repoint(bed, idx),
        }
        eventually(SETTLE, "the change is published", || async {
            if bed.revision() > before { Ok(()) } else { Err(before.to_string()) }
        })
        .await;
        if let Some(old) = old.filter(|old| self.routes[idx].as_ref() != Some(old)) {
            self.forget(bed, &old);
        }
    }

    /// Only the base of the host is left.
    fn remove(&mut self, bed: &Bed, idx: usize) {
        self.routes[idx] = None;
        bed.fleet.delete(&route(idx).file());
    }

    /// The route leads to another workload; a host without a route gets one.
    fn repoint(&mut self, bed: &Bed, idx: usize) {
        let mut others = WORKLOADS.map(Backend::own).to_vec();
        others.retain(|other| self.routes[idx].as_ref() != Some(other));
        self.routes[idx] = Some(others.swap_remove(self.random.below(others.len())));
        self.apply(bed, idx);
    }

    /// The same pods, behind a Service of a new name.
    fn rename(&mut self, bed: &mut Bed, idx: usize, workload: &'static str) {
        self.fresh += 1;
        let service = format!("{workload}-{}", self.fresh);
        for member in ["c1", "c2"] {
            let (running, fleet) = bed.running(member, workload);
            running.publish_as(&service, fleet);
        }
        self.routes[idx] = Some(Backend { service, workload });
        self.apply(bed, idx);
    }

    /// The Service disappears from `c2`, or appears there: its target is built another way.
    fn join_or_leave(&mut self, bed: &mut Bed, Backend { service, workload }: &Backend) {
        let (running, fleet) = bed.running("c2", workload);
        if self.lonely.remove(service) {
            running.publish_as(service, fleet);
        } else {
            running.unpublish(service, fleet);
            self.lonely.insert(service.clone());
        }
    }

    /// Deletes a Service that its route has left; a workload's own stays.
    fn forget(&mut self, bed: &mut Bed, Backend { service, workload }: &Backend) {
        if service == workload {
            return;
        }
        let members: &[_] = if self.lonely.remove(service) { &["c1"] } else { &["c1", "c2"] };
        for member in members {
            let (running, fleet) = bed.running(member, workload);
            running.unpublish(service, fleet);
        }
    }

    fn apply(&self, bed: &Bed, idx: usize) {
        if let Some(backend) = &self.routes[idx] {
            bed.ingress(&route(idx).exact("/p", &backend.service));
        }
    }
}

fn route(idx: usize) -> Ingress {
    ingress(&format!("route-{idx}")).host(HOSTS[idx])
}

/// Marsaglia's xorshift: small, and the same everywhere. Never zero.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).unwrap()
    }
}
