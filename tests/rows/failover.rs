//! Rows 56 and 189 to 194: a member dies, and no safe request is lost. Row 32 is the same while the
//! member's API is out of reach, so it is shown where there is one.
//!
//! Each fault stays through two un-ejections: Envoy ejects a host for 5 s, then for 10 s
//! (semantics.md 5.7), so 18 s at 100 requests a second.

use std::time::{Duration, Instant};

use crate::{
    bed::{
        Bed,
        client::{Request, get},
        ingress::{Ingress, canary, ingress},
        load::{Load, Plan, Report},
        workload::workload,
    },
    rows::{BOTH, figure, rows},
};

rows! { BOTH;
    row_056_dead_primary_killed,
    row_056_dead_primary_partitioned,
    row_189_everybody_answers_503_for_a_while,
    row_190_one_pod_refuses_connections,
    row_191_active_active_first_member_killed,
    row_191_active_active_second_member_killed,
    row_192_active_active_partitioned,
    row_194_hung_member,
    active_active_withdrawn,
    primary_secondary_hung,
    primary_secondary_withdrawn,
    canary_chain_killed,
    canary_chain_partitioned,
    canary_chain_hung,
    canary_chain_withdrawn,
    failing_primary_is_ejected,
}

const GETS_PER_SECOND: u32 = 100;
const POSTS_PER_SECOND: u32 = 10;

/// How many GETs go out before a fault, so that it meets connections in use.
const WARM_UP: usize = 100;

/// How many GETs go out from fault to end: two un-ejections long.
const UNDER_FAULT: usize = 1_800;

/// How many GETs go out after the member is back: its return must not cost any either.
const AFTERWARDS: usize = 300;

/// How long a connection that a partition cut may still take a request with it: the kernel's two
/// seconds (M32), and what a busy machine adds.
const CUT: Duration = Duration::from_secs(4);

/// A route under load.
#[derive(Clone, Copy)]
pub(crate) enum Route {
    /// 9 replicas in `c1`, 1 in `c2`.
    ActiveActive,
    /// `c1`, and `c2` when it has none.
    PrimarySecondary,
    /// A canary in `c1`, then the service in both.
    CanaryChain,
}

const ROUTES: [Route; 3] = [Route::ActiveActive, Route::PrimarySecondary, Route::CanaryChain];

impl Route {
    fn name(self) -> &'static str {
        match self {
            Route::ActiveActive => "active-active",
            Route::PrimarySecondary => "primary/secondary",
            Route::CanaryChain => "canary chain",
        }
    }

    /// Takes a moment, so that some are always under way.
    fn request(self) -> Request {
        match self {
            Route::ActiveActive => get("/svc1?sleep_ms=50"),
            Route::PrimarySecondary => get("/service1?sleep_ms=50"),
            Route::CanaryChain => get("/svc1?sleep_ms=50").header("canary-dest", "cluster1"),
        }
    }

    fn ingress(self) -> Ingress {
        let header = [("by-header", "canary-dest"), ("by-header-value", "cluster1")];
        match self {
            Route::ActiveActive => ingress("web-demo").exact("/svc1", "service1"),
            Route::PrimarySecondary => ingress("web-demo-cluster-one")
                .subset("cluster-demo-1", "topology.istio.io/cluster c1\n")
                .exact("/service1", "service1"),
            Route::CanaryChain => {
                canary("web-demo-canary-1", &header).exact("/svc1", "service1-canary-1")
            }
        }
    }
}

/// What a pod that does not answer costs: nothing by default, one try of a second where asked for.
const PER_TRY_TIMEOUT: &str = "nginx.ingress.kubernetes.io/proxy-next-upstream-timeout";

/// The guide's routes, with both members up.
pub(crate) async fn start(bed: &mut Bed, annotate: impl Fn(Ingress) -> Ingress) {
    bed.deploy_service1(&[("c1", 9), ("c2", 1)]);
    bed.deploy(workload("c1", "service1-canary-1", 1).env("cluster-demo-1-canary"));
    ROUTES.iter().for_each(|route| bed.ingress(&annotate(route.ingress())));
    bed.start_guide().await;
    for route in ROUTES {
        bed.settle(10, &route.request(), |replies| replies.codes().only("200")).await;
    }
}

pub(crate) fn as_in_the_guide(ingress: Ingress) -> Ingress {
    ingress
}

pub(crate) fn with_per_try_timeout(ingress: Ingress) -> Ingress {
    ingress.annotate(PER_TRY_TIMEOUT, "1")
}

/// Load on a route, past its warm-up.
pub(crate) async fn load(bed: &Bed, route: Route) -> Load {
    let load = bed.load(&Plan {
        name: route.name(),
        request: route.request(),
        gets_per_second: GETS_PER_SECOND,
        posts_per_second: POSTS_PER_SECOND,
    });
    load.sends(WARM_UP).await;
    load
}

/// Load on each of the routes.
async fn loads(bed: &Bed, routes: &[Route]) -> Vec<Load> {
    let mut loads = Vec::new();
    for route in routes {
        loads.push(load(bed, *route).await);
    }
    loads
}

/// The member is back: no GET failed since the load began, and no request arrived twice.
async fn survives(bed: &Bed, load: Load) -> Report {
    load.sends(AFTERWARDS).await;
    let report = load.stop().await;
    figure(&report.figures());
    assert_eq!(report.lost(), 0, "{:?}", report.failures());
    let twice: Vec<_> = bed.deliveries().into_iter().filter(|(_, n)| *n > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    report
}

/// Each load survives, and POSTs failed only where they were under way at some time from `start` to
/// `end`.
async fn survive(bed: &Bed, loads: Vec<Load>, start: Instant, end: Instant) {
    for load in loads {
        let report = survives(bed, load).await;
        let unexcused = report.posts_lost_apart_from(start, end);
        assert!(unexcused.is_empty(), "{}: {unexcused:?}", report.name);
    }
}

pub(crate) async fn killed(bed: &mut Bed, member: &str, routes: &[Route]) {
    start(bed, as_in_the_guide).await;
    lose_nothing_when_killed(bed, member, routes).await;
}

/// Routes that are [`start`]ed.
pub(crate) async fn lose_nothing_when_killed(bed: &mut Bed, member: &str, routes: &[Route]) {
    let loads = loads(bed, routes).await;
    let before = Instant::now();
    bed.kill(member);
    let after = Instant::now();
    loads[0].sends(UNDER_FAULT).await;
    bed.revive(member);
    survive(bed, loads, before, after).await;
}

pub(crate) async fn partitioned(bed: &mut Bed, routes: &[Route]) {
    start(bed, as_in_the_guide).await;
    lose_nothing_when_partitioned(bed, routes).await;
}

/// Routes that are [`start`]ed.
pub(crate) async fn lose_nothing_when_partitioned(bed: &mut Bed, routes: &[Route]) {
    let loads = loads(bed, routes).await;
    let before = Instant::now();
    let partition = bed.partition("c1").await;
    let cut = Instant::now();
    loads[0].sends(UNDER_FAULT).await;
    drop(partition);
    survive(bed, loads, before, cut + CUT).await;
}

/// The pods go on afterwards with what had reached them: the deliveries count that, too.
async fn hung(bed: &mut Bed, route: Route) {
    start(bed, with_per_try_timeout).await;
    let load = load(bed, route).await;
    bed.pause("c1");
    load.sends(UNDER_FAULT).await;
    bed.resume("c1");
    survives(bed, load).await;
}

/// The slices are emptied and the pods end at the same time; later both are back.
async fn withdrawn(bed: &mut Bed, route: Route) {
    start(bed, as_in_the_guide).await;
    let load = load(bed, route).await;
    bed.scale("c1", "service1", 0);
    bed.scale("c1", "service1-canary-1", 0);
    bed.kill("c1");
    load.sends(UNDER_FAULT / 2).await;
    bed.revive("c1");
    bed.scale("c1", "service1", 9);
    bed.scale("c1", "service1-canary-1", 1);
    survives(bed, load).await;
}

async fn row_056_dead_primary_killed(bed: &mut Bed) {
    killed(bed, "c1", &[Route::PrimarySecondary]).await;
}

async fn row_056_dead_primary_partitioned(bed: &mut Bed) {
    partitioned(bed, &[Route::PrimarySecondary]).await;
}

/// How many requests failed later than 200 ms after everybody recovered from two seconds of 503.
pub(crate) async fn lost_after_recovery(bed: &mut Bed) -> usize {
    start(bed, as_in_the_guide).await;
    let plan = |name, request| Plan {
        name,
        request,
        gets_per_second: GETS_PER_SECOND,
        posts_per_second: 0,
    };
    let ill = bed.load(&plan("ill", get("/svc1?status=503")));
    ill.sends(200).await;
    let ill = ill.stop().await;
    // The application's own answer, never the gateway's `no healthy upstream`.
    assert!(
        ill.failures().keys().all(|reason| reason.starts_with("503 {")),
        "{:?}",
        ill.failures()
    );
    let recovered = Instant::now();
    let well = bed.load(&plan("well", get("/svc1")));
    well.sends(600).await;
    let well = well.stop().await;
    figure(&well.figures());
    let grace = recovered + Duration::from_millis(200);
    well.gets.iter().filter(|sample| sample.outcome.is_err() && sample.due > grace).count()
}

async fn row_189_everybody_answers_503_for_a_while(bed: &mut Bed) {
    assert_eq!(lost_after_recovery(bed).await, 0);
}

async fn row_190_one_pod_refuses_connections(bed: &mut Bed) {
    bed.deploy_service1(&[("c1", 2), ("c2", 1)]);
    bed.scale("c1", "service1", 3);
    bed.running("c1", "service1").0.kill_newest();
    bed.ingress(&Route::PrimarySecondary.ingress());
    bed.start_guide().await;
    let load = load(bed, Route::PrimarySecondary).await;
    load.sends(UNDER_FAULT).await;
    let report = survives(bed, load).await;
    let elsewhere = report.gets.iter().filter(|get| get.outcome != Ok("cluster-demo-1".into()));
    assert_eq!(elsewhere.count(), 0);
}

async fn row_191_active_active_first_member_killed(bed: &mut Bed) {
    killed(bed, "c1", &[Route::ActiveActive]).await;
}

async fn row_191_active_active_second_member_killed(bed: &mut Bed) {
    killed(bed, "c2", &[Route::ActiveActive]).await;
}

async fn row_192_active_active_partitioned(bed: &mut Bed) {
    partitioned(bed, &[Route::ActiveActive]).await;
}

async fn row_194_hung_member(bed: &mut Bed) {
    hung(bed, Route::ActiveActive).await;
}

async fn active_active_withdrawn(bed: &mut Bed) {
    withdrawn(bed, Route::ActiveActive).await;
}

async fn primary_secondary_hung(bed: &mut Bed) {
    hung(bed, Route::PrimarySecondary).await;
}

async fn primary_secondary_withdrawn(bed: &mut Bed) {
    withdrawn(bed, Route::PrimarySecondary).await;
}

async fn canary_chain_killed(bed: &mut Bed) {
    killed(bed, "c1", &[Route::CanaryChain]).await;
}

async fn canary_chain_partitioned(bed: &mut Bed) {
    partitioned(bed, &[Route::CanaryChain]).await;
}

async fn canary_chain_hung(bed: &mut Bed) {
    hung(bed, Route::CanaryChain).await;
}

async fn canary_chain_withdrawn(bed: &mut Bed) {
    withdrawn(bed, Route::CanaryChain).await;
    bed.all(50, &Route::CanaryChain.request(), "cluster-demo-1-canary").await;
}

/// An answer, so no retry helps: only the ejection of the pods that give it.
pub(crate) fn failing_primary() -> Request {
    get("/service1?status=503&cluster=c1")
}

async fn failing_primary_is_ejected(bed: &mut Bed) {
    start(bed, as_in_the_guide).await;
    bed.all(100, &failing_primary(), "cluster-demo-2").await;
}
