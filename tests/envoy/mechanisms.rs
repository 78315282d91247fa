//! What each failover mechanism is for: without it, requests are lost that `failover.rs` keeps.
//!
//! How Envoy learns of a mechanism does not matter here, so one variant of xDS is enough.

use convoy::settings::Mechanisms;

use crate::{
    bed::{Bed, Variant},
    rows::failover::{
        Route, as_in_the_guide, failing_primary, load, lost_after_recovery, start,
        with_per_try_timeout,
    },
    rows::{figure, rows},
};

rows! { &[Variant::Delta];
    without_composite_targets_requests_are_lost,
    without_retries_requests_are_lost,
    without_retries_of_resets_requests_are_lost,
    without_dead_peer_detection_requests_are_lost,
    without_outlier_detection_requests_are_lost,
    without_retry_budget_requests_are_lost,
    without_panic_threshold_requests_are_lost,
}

/// GETs from fault to end: past the first un-ejection.
const UNDER_FAULT: usize = 700;

/// What happens to `c1`.
enum Fault {
    Killed,
    Partitioned,
    Hung,
}

/// The fault costs a route GETs.
async fn loses(bed: &mut Bed, route: Route, fault: Fault) {
    let annotate =
        if matches!(fault, Fault::Hung) { with_per_try_timeout } else { as_in_the_guide };
    start(bed, annotate).await;
    let load = load(bed, route).await;
    let mut cut = None;
    match fault {
        Fault::Killed => bed.kill("c1"),
        Fault::Partitioned => cut = Some(bed.partition("c1").await),
        Fault::Hung => bed.pause("c1"),
    }
    load.sends(UNDER_FAULT).await;
    let report = load.stop().await;
    drop(cut);
    figure(&report.figures());
    assert!(report.lost() > 0);
}

async fn without_composite_targets_requests_are_lost(bed: &mut Bed) {
    bed.mechanisms = Mechanisms { composite_targets: false, ..Mechanisms::ALL };
    loses(bed, Route::ActiveActive, Fault::Killed).await;
}

async fn without_retries_requests_are_lost(bed: &mut Bed) {
    bed.mechanisms = Mechanisms { retries: false, ..Mechanisms::ALL };
    loses(bed, Route::ActiveActive, Fault::Killed).await;
}

async fn without_retries_of_resets_requests_are_lost(bed: &mut Bed) {
    bed.mechanisms = Mechanisms { retry_resets_of_safe_methods: false, ..Mechanisms::ALL };
    loses(bed, Route::ActiveActive, Fault::Killed).await;
}

async fn without_dead_peer_detection_requests_are_lost(bed: &mut Bed) {
    bed.mechanisms = Mechanisms { dead_peer_detection: false, ..Mechanisms::ALL };
    loses(bed, Route::ActiveActive, Fault::Partitioned).await;
}

async fn without_outlier_detection_requests_are_lost(bed: &mut Bed) {
    bed.mechanisms = Mechanisms { outlier_detection: false, ..Mechanisms::ALL };
    start(bed, as_in_the_guide).await;
    // Long enough for what takes effect within a second elsewhere.
    let replies = bed.http().hit(5_000, &failing_primary()).await;
    assert!(replies.codes().only("503"), "{:?}", replies.codes());
}

async fn without_retry_budget_requests_are_lost(bed: &mut Bed) {
    bed.mechanisms = Mechanisms { retry_budget: false, ..Mechanisms::ALL };
    loses(bed, Route::PrimarySecondary, Fault::Hung).await;
}

async fn without_panic_threshold_requests_are_lost(bed: &mut Bed) {
    bed.mechanisms = Mechanisms { panic_threshold: false, ..Mechanisms::ALL };
    assert!(lost_after_recovery(bed).await > 0);
}
