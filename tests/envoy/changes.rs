//! A thousand random changes under load: the gates (xds.md 3.5) lose nothing.
//!
//! Four routes answer all the time while they are repointed, their Services renamed, and other
//! routes come and go; every answer with endpoints is late, so that a route that does not wait for
//! its cluster meets none.

use std::time::Duration;

use convoy::settings::{Mechanisms, Timings};

use crate::{
    bed::{
        Bed, Variant,
        client::get,
        ingress::{Ingress, ingress},
        load::{Load, Plan},
    },
    rows::{BOTH, Row, figure, rows},
};

/// The gates on, in both variants, and off, where one variant is enough.
pub(crate) fn rows() -> Vec<Row> {
    [kept::rows(), lost::rows()].into_iter().flatten().collect()
}

mod kept {
    use super::*;

    rows! { BOTH; a_thousand_random_changes_lose_nothing }

    async fn a_thousand_random_changes_lose_nothing(bed: &mut Bed) {
        assert_eq!(lost_in(bed, 1_000).await, 0);
    }
}

mod lost {
    use super::*;

    rows! { &[Variant::Delta]; without_gates_random_changes_lose_requests }

    async fn without_gates_random_changes_lose_requests(bed: &mut Bed) {
        bed.mechanisms = Mechanisms { gates: false, ..Mechanisms::ALL };
        assert!(lost_in(bed, 200).await > 0);
    }
}

/// The routes under load, and the workloads behind them.
const PATHS: [&str; 4] = ["/p0", "/p1", "/p2", "/p3"];
const WORKLOADS: [&str; 4] = ["a", "b", "c", "d"];

/// Makes failures repeatable.
const SEED: u64 = 0x5eed;

/// What the routes lead to, as far as the objects say.
struct World {
    random: Random,
    /// For each path: the Service's name, and the workload whose pods it selects.
    routes: Vec<(String, &'static str)>,
    /// A route beside those under load.
    has_extra: bool,
    /// Names Services that never existed before.
    fresh: usize,
}

/// How many GETs fail while `n` changes happen, one every two requests of a path.
async fn lost_in(bed: &mut Bed, n: usize) -> usize {
    bed.timings = Timings { endpoint_delay: Duration::from_millis(200), ..Timings::PRODUCTION };
    bed.deploy_each(&WORKLOADS);
    let routes = WORKLOADS.map(|name| (name.to_owned(), name)).to_vec();
    let mut world = World { random: Random(SEED), routes, has_extra: false, fresh: 0 };
    (0..PATHS.len()).for_each(|idx| bed.ingress(&world.ingress(idx)));
    bed.start_guide().await;
    for (path, (_, workload)) in PATHS.iter().zip(&world.routes) {
        bed.all(1, &get(path), workload).await;
    }
    let loads: Vec<_> = PATHS.iter().map(|path| start(bed, path)).collect();
    for _ in 0..n {
        world.change(bed);
        loads[0].sends(2).await;
    }
    for (path, (_, workload)) in PATHS.iter().zip(&world.routes) {
        bed.all(10, &get(path), workload).await;
    }
    let mut lost = 0;
    for load in loads {
        let report = load.stop().await;
        figure(&format!("{} {:?}", report.figures(), report.failures()));
        lost += report.lost();
    }
    lost
}

fn start(bed: &Bed, path: &'static str) -> Load {
    bed.load(&Plan { name: path, request: get(path), gets_per_second: 100, posts_per_second: 0 })
}

impl World {
    fn ingress(&self, idx: usize) -> Ingress {
        ingress(&format!("route-{idx}")).exact(PATHS[idx], &self.routes[idx].0)
    }

    /// One change of what the user declares.
    fn change(&mut self, bed: &mut Bed) {
        let idx = self.random.below(PATHS.len());
        match self.random.below(3) {
            0 => self.repoint(bed, idx),
            1 => self.rename(bed, idx),
            _ => self.toggle_extra(bed),
        }
    }

    /// The route leads to another workload, under the name that is its own.
    fn repoint(&mut self, bed: &mut Bed, idx: usize) {
        let workload = WORKLOADS[self.random.below(WORKLOADS.len())];
        let old = std::mem::replace(&mut self.routes[idx], (workload.to_owned(), workload));
        bed.ingress(&self.ingress(idx));
        self.forget(bed, old);
    }

    /// The same pods, behind a Service of a new name; the old one is deleted.
    fn rename(&mut self, bed: &mut Bed, idx: usize) {
        self.fresh += 1;
        let (_, workload) = self.routes[idx];
        let name = format!("{workload}-{}", self.fresh);
        let (running, fleet) = bed.running("c1", workload);
        running.publish_as(&name, fleet);
        let old = std::mem::replace(&mut self.routes[idx], (name, workload));
        bed.ingress(&self.ingress(idx));
        self.forget(bed, old);
    }

    /// Deletes the Service that a route has left, unless it is a workload's own.
    fn forget(&self, bed: &mut Bed, (name, workload): (String, &'static str)) {
        if name != workload {
            let (running, fleet) = bed.running("c1", workload);
            running.unpublish(&name, fleet);
        }
    }

    /// A route that nobody uses comes or goes, with a target of its own.
    fn toggle_extra(&mut self, bed: &Bed) {
        let extra = ingress("extra").subset("x", "topology.istio.io/cluster c1\n").exact("/x", "a");
        if self.has_extra {
            bed.fleet.delete(&extra.file());
        } else {
            bed.ingress(&extra);
        }
        self.has_extra = !self.has_extra;
    }
}

/// Marsaglia's xorshift: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).unwrap()
    }
}
