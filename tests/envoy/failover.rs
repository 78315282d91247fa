//! Rows 32, 56 and 189 to 194: a member dies, and no safe request is lost.
//!
//! Each fault stays through two un-ejections: Envoy ejects a host for 5 s, then for 10 s
//! (semantics.md 5.7), so 18 s at 100 requests a second.

use std::time::{Duration, Instant};

use convoy::settings::Mechanisms;

use crate::{
    bed::{
        Bed,
        client::{Request, get},
        ingress::{Ingress, canary, ingress},
        load::{Load, Plan, Report},
        workload::workload,
    },
    harness::{BOTH, Schedule, figure, rows},
};

rows! { BOTH, Schedule::Together;
    row_032_dead_member_killed,
    row_032_dead_member_partitioned,
    row_056_dead_primary_killed,
    row_056_dead_primary_partitioned,
    row_189_everybody_answers_503_for_a_while,
    row_190_one_pod_refuses_connections,
    row_191_active_active_first_member_killed,
    row_191_active_active_second_member_killed,
    row_192_active_active_partitioned,
    row_194_hung_member,
    failover_everything_killed,
    failover_everything_partitioned,
    failover_everything_hung,
    failover_everything_withdrawn,
    without_composite_targets_requests_are_lost,
    without_retries_requests_are_lost,
    without_retries_of_resets_requests_are_lost,
    without_dead_peer_detection_requests_are_lost,
    without_outlier_detection_requests_are_lost,
    without_retry_budget_requests_are_lost,
    without_panic_threshold_requests_are_lost,
}

const GETS_PER_SECOND: u32 = 100;
const POSTS_PER_SECOND: u32 = 10;

/// How many GETs go out before a fault, so that it meets connections in use.
const WARM_UP: usize = 100;

/// How many GETs go out from fault to end: two un-ejections long.
const UNDER_FAULT: usize = 1_800;

/// A route under load.
#[derive(Clone, Copy)]
enum Route {
    /// 9 replicas in `c1`, 1 in `c2`.
    ActiveActive,
    /// `c1`, and `c2` when it has none.
    PrimarySecondary,
    /// A canary in `c1`, then the service in both.
    CanaryChain,
}

const EVERYTHING: [Route; 3] = [Route::ActiveActive, Route::PrimarySecondary, Route::CanaryChain];

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
            Route::ActiveActive => get("/svc1?sleep_ms=20"),
            Route::PrimarySecondary => get("/service1?sleep_ms=20"),
            Route::CanaryChain => get("/svc1?sleep_ms=20").header("canary-dest", "cluster1"),
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
async fn start(bed: &mut Bed, annotate: impl Fn(Ingress) -> Ingress) {
    bed.deploy_service1(&[("c1", 9), ("c2", 1)]);
    bed.deploy(workload("c1", "service1-canary-1", 1).env("cluster-demo-1-canary"));
    EVERYTHING.iter().for_each(|route| bed.ingress(&annotate(route.ingress())));
    bed.start_guide().await;
    for route in EVERYTHING {
        bed.settle(50, &route.request(), |replies| replies.codes().only("200")).await;
    }
}

fn as_in_the_guide(ingress: Ingress) -> Ingress {
    ingress
}

fn with_per_try_timeout(ingress: Ingress) -> Ingress {
    ingress.annotate(PER_TRY_TIMEOUT, "1")
}

/// Load on routes, past its warm-up.
async fn load(bed: &Bed, routes: &[Route]) -> Vec<Load> {
    let start = |route: &Route| {
        bed.load(&Plan {
            name: route.name(),
            request: route.request(),
            gets_per_second: GETS_PER_SECOND,
            posts_per_second: POSTS_PER_SECOND,
        })
    };
    let loads: Vec<_> = routes.iter().map(start).collect();
    sends(&loads, WARM_UP).await;
    loads
}

/// Returns when each load has sent `n` more.
async fn sends(loads: &[Load], n: usize) {
    let goals: Vec<_> = loads.iter().map(|load| load.sent() + n).collect();
    for (load, goal) in loads.iter().zip(goals) {
        load.reaches(goal).await;
    }
}

/// Ends loads; what became of each is printed.
async fn stop(loads: Vec<Load>) -> Vec<Report> {
    let mut reports = Vec::new();
    for load in loads {
        let report = load.stop().await;
        figure(&report.figures());
        reports.push(report);
    }
    reports
}

/// Waits out the fault; no GET failed, and no request arrived twice.
async fn survives(bed: &Bed, loads: Vec<Load>) -> Vec<Report> {
    sends(&loads, UNDER_FAULT).await;
    let reports = stop(loads).await;
    for report in &reports {
        assert_eq!(report.lost(), 0, "{}: {:?}", report.name, report.failures());
    }
    nothing_twice(bed);
    reports
}

fn nothing_twice(bed: &Bed) {
    let twice: Vec<_> = bed.deliveries().into_iter().filter(|(_, n)| *n > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

async fn killed(bed: &mut Bed, member: &str, routes: &[Route]) {
    start(bed, as_in_the_guide).await;
    let loads = load(bed, routes).await;
    bed.kill(member);
    let moment = Instant::now();
    for report in survives(bed, loads).await {
        let unexcused = report.posts_lost_apart_from(&[moment]);
        assert!(unexcused.is_empty(), "{}: {unexcused:?}", report.name);
    }
}

async fn partitioned(bed: &mut Bed, routes: &[Route]) {
    start(bed, as_in_the_guide).await;
    let loads = load(bed, routes).await;
    let _partition = bed.partition("c1").await;
    survives(bed, loads).await;
}

async fn hung(bed: &mut Bed, routes: &[Route]) {
    start(bed, with_per_try_timeout).await;
    let loads = load(bed, routes).await;
    bed.pause("c1");
    survives(bed, loads).await;
}

async fn row_032_dead_member_killed(bed: &mut Bed) {
    killed(bed, "c1", &[Route::ActiveActive]).await;
    bed.all(100, &Route::ActiveActive.request(), "cluster-demo-2").await;
}

async fn row_032_dead_member_partitioned(bed: &mut Bed) {
    partitioned(bed, &[Route::ActiveActive]).await;
}

async fn row_056_dead_primary_killed(bed: &mut Bed) {
    killed(bed, "c1", &[Route::PrimarySecondary]).await;
    bed.all(100, &Route::PrimarySecondary.request(), "cluster-demo-2").await;
}

async fn row_056_dead_primary_partitioned(bed: &mut Bed) {
    partitioned(bed, &[Route::PrimarySecondary]).await;
}

/// How many requests failed later than 200 ms after everybody recovered from two seconds of 503.
async fn lost_after_recovery(bed: &mut Bed) -> usize {
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
    let loads = load(bed, &[Route::PrimarySecondary]).await;
    for report in survives(bed, loads).await {
        let elsewhere = report.gets.iter().filter(|s| s.outcome != Ok("cluster-demo-1".into()));
        assert_eq!(elsewhere.count(), 0);
    }
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
    hung(bed, &[Route::ActiveActive]).await;
}

async fn failover_everything_killed(bed: &mut Bed) {
    killed(bed, "c1", &EVERYTHING).await;
}

async fn failover_everything_partitioned(bed: &mut Bed) {
    partitioned(bed, &EVERYTHING).await;
}

async fn failover_everything_hung(bed: &mut Bed) {
    hung(bed, &EVERYTHING).await;
}

async fn failover_everything_withdrawn(bed: &mut Bed) {
    start(bed, as_in_the_guide).await;
    let loads = load(bed, &EVERYTHING).await;
    // The slices are emptied and the pods end at the same time.
    bed.scale("c1", "service1", 0);
    bed.scale("c1", "service1-canary-1", 0);
    bed.kill("c1");
    sends(&loads, 500).await;
    bed.revive("c1");
    bed.scale("c1", "service1", 9);
    bed.scale("c1", "service1-canary-1", 1);
    sends(&loads, 500).await;
    for report in stop(loads).await {
        assert_eq!(report.lost(), 0, "{}: {:?}", report.name, report.failures());
    }
    nothing_twice(bed);
    bed.all(50, &Route::CanaryChain.request(), "cluster-demo-1-canary").await;
}

/// How many GETs a route loses when `c1` suffers `fault`, without some mechanism.
async fn lost_without(bed: &mut Bed, mechanisms: Mechanisms, route: Route) -> usize {
    bed.mechanisms = mechanisms;
    start(bed, as_in_the_guide).await;
    let loads = load(bed, &[route]).await;
    bed.kill("c1");
    sends(&loads, UNDER_FAULT).await;
    stop(loads).await.iter().map(Report::lost).sum()
}

async fn without_composite_targets_requests_are_lost(bed: &mut Bed) {
    let off = Mechanisms { composite_targets: false, ..Mechanisms::ALL };
    assert!(lost_without(bed, off, Route::ActiveActive).await > 0);
}

async fn without_retries_requests_are_lost(bed: &mut Bed) {
    let off = Mechanisms { retries: false, ..Mechanisms::ALL };
    assert!(lost_without(bed, off, Route::ActiveActive).await > 0);
}

async fn without_retries_of_resets_requests_are_lost(bed: &mut Bed) {
    let off = Mechanisms { retry_resets_of_safe_methods: false, ..Mechanisms::ALL };
    assert!(lost_without(bed, off, Route::ActiveActive).await > 0);
}

async fn without_dead_peer_detection_requests_are_lost(bed: &mut Bed) {
    bed.mechanisms = Mechanisms { dead_peer_detection: false, ..Mechanisms::ALL };
    start(bed, as_in_the_guide).await;
    let loads = load(bed, &[Route::ActiveActive]).await;
    let _partition = bed.partition("c1").await;
    sends(&loads, UNDER_FAULT).await;
    assert!(stop(loads).await.iter().map(Report::lost).sum::<usize>() > 0);
}

/// Nobody retries a POST that may have been delivered; that its pod is avoided is all it has.
async fn without_outlier_detection_requests_are_lost(bed: &mut Bed) {
    bed.mechanisms = Mechanisms { outlier_detection: false, ..Mechanisms::ALL };
    start(bed, with_per_try_timeout).await;
    let loads = load(bed, &[Route::PrimarySecondary]).await;
    bed.pause("c1");
    sends(&loads, UNDER_FAULT / 2).await;
    let late = Instant::now();
    sends(&loads, UNDER_FAULT / 2).await;
    for report in stop(loads).await {
        let after = report.posts.iter().filter(|post| post.due > late);
        let (lost, kept): (Vec<_>, Vec<_>) = after.partition(|post| post.outcome.is_err());
        assert!(lost.len() > kept.len(), "{} lost, {} kept", lost.len(), kept.len());
    }
}

async fn without_retry_budget_requests_are_lost(bed: &mut Bed) {
    bed.mechanisms = Mechanisms { retry_budget: false, ..Mechanisms::ALL };
    start(bed, with_per_try_timeout).await;
    let loads = load(bed, &[Route::PrimarySecondary]).await;
    bed.pause("c1");
    sends(&loads, UNDER_FAULT / 2).await;
    assert!(stop(loads).await.iter().map(Report::lost).sum::<usize>() > 0);
}

async fn without_panic_threshold_requests_are_lost(bed: &mut Bed) {
    bed.mechanisms = Mechanisms { panic_threshold: false, ..Mechanisms::ALL };
    assert!(lost_after_recovery(bed).await > 0);
}
