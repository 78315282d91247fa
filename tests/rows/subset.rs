//! Rows 40 to 51, 54, 55 and 57: primary and secondary members, and subsets in general.

use convoy::diag::Reason;
use serde_json::json;

use crate::{
    bed::{
        Bed,
        client::{Request, get},
        fleet::gateway,
        guide::{CLUSTER_GRAY, CLUSTER_ONE, GATEWAY_NAME},
        ingress::{canary, ingress},
        workload::State,
    },
    rows::{BOTH, rows},
};

rows! { BOTH;
    row_040_primary_gets_all,
    row_041_primary_gets_all_although_smaller,
    row_042_partial_loss_does_not_spill,
    row_043_primary_scaled_to_zero,
    row_044_primary_is_back,
    row_045_secondaries_share_by_replicas,
    row_046_header_chooses_cluster_two,
    row_047_other_header_stays_on_cluster_one,
    row_048_gray_cluster_is_empty,
    row_049_unknown_cluster_is_all_endpoints,
    row_050_all_labels_must_match,
    row_051_no_pod_matches,
    row_054_weighted_split_between_clusters,
    row_055_weighted_share_of_an_empty_cluster,
    row_057_pod_label_does_not_lie_about_its_cluster,
}

const C1: &str = "cluster-demo-1";
const C2: &str = "cluster-demo-2";

/// Shares follow a schedule, so they are exact to a point (semantics.md 9).
const SCHEDULED: f64 = 1.0;

/// Five standard deviations of a 20 % coin in 2,000 throws.
const RANDOM: f64 = 4.5;

/// The guide's primary/secondary Ingress, "one", with so many replicas in each member.
async fn start_one(bed: &mut Bed, replicas: &[(&'static str, usize)]) {
    bed.deploy_service1(replicas);
    bed.fleet.apply("one", CLUSTER_ONE);
    bed.start_guide().await;
}

/// "one" with the guide's canary by cluster, "gray".
async fn start_gray(bed: &mut Bed) {
    bed.fleet.apply("gray", CLUSTER_GRAY);
    start_one(bed, &[("c1", 1), ("c2", 1)]).await;
}

fn gray() -> Request {
    get("/service1").header("app-web-demo-version", "gray")
}

async fn row_040_primary_gets_all(bed: &mut Bed) {
    start_one(bed, &[("c1", 1), ("c2", 1)]).await;
    bed.all(100, &get("/service1"), C1).await;
}

async fn row_041_primary_gets_all_although_smaller(bed: &mut Bed) {
    start_one(bed, &[("c1", 1), ("c2", 9)]).await;
    bed.all(100, &get("/service1"), C1).await;
}

async fn row_042_partial_loss_does_not_spill(bed: &mut Bed) {
    start_one(bed, &[("c1", 9), ("c2", 1)]).await;
    for idx in 1..9 {
        bed.set_pod("c1", "service1", idx, State::NotReady);
    }
    bed.settle(100, &get("/service1"), |replies| replies.pods().only("service1-c1-1")).await;
}

async fn row_043_primary_scaled_to_zero(bed: &mut Bed) {
    start_one(bed, &[("c1", 2), ("c2", 1)]).await;
    bed.scale("c1", "service1", 0);
    bed.all(100, &get("/service1"), C2).await;
}

async fn row_044_primary_is_back(bed: &mut Bed) {
    start_one(bed, &[("c1", 0), ("c2", 1)]).await;
    bed.all(100, &get("/service1"), C2).await;
    bed.scale("c1", "service1", 2);
    bed.all(100, &get("/service1"), C1).await;
}

async fn row_045_secondaries_share_by_replicas(bed: &mut Bed) {
    bed.fleet.object("gateway", &gateway(GATEWAY_NAME, "c1,c2,c3", json!({"ingressClass": "mse"})));
    bed.deploy_service1(&[("c1", 0), ("c2", 2), ("c3", 1)]);
    bed.fleet.apply("one", CLUSTER_ONE);
    bed.start().await;
    let shares = [(C2, 200.0 / 3.0), ("cluster-demo-3", 100.0 / 3.0)];
    bed.shares(900, &get("/service1"), &shares, SCHEDULED).await;
}

async fn row_046_header_chooses_cluster_two(bed: &mut Bed) {
    start_gray(bed).await;
    bed.all(50, &gray(), C2).await;
}

async fn row_047_other_header_stays_on_cluster_one(bed: &mut Bed) {
    start_gray(bed).await;
    bed.all(50, &get("/service1").header("app-web-demo-version", "blue"), C1).await;
    bed.all(50, &get("/service1"), C1).await;
}

async fn row_048_gray_cluster_is_empty(bed: &mut Bed) {
    start_gray(bed).await;
    bed.scale("c2", "service1", 0);
    bed.all(50, &gray(), C1).await;
}

async fn row_049_unknown_cluster_is_all_endpoints(bed: &mut Bed) {
    bed.deploy_service1(&[("c1", 9), ("c2", 1)]);
    let typo = ingress("typo").subset("typo", "topology.istio.io/cluster c9\n");
    bed.ingress(&typo.exact("/service1", "service1"));
    bed.start_guide().await;
    bed.shares(1000, &get("/service1"), &[(C1, 90.0), (C2, 10.0)], SCHEDULED).await;
    bed.reports("Ingress gateway-demo/typo", Reason::SubsetEmpty).await;
}

/// Pods 1 and 2 of `c1` and pod 1 of `c2` are of version gray; the Ingress asks for those in `c1`.
async fn start_two_labels(bed: &mut Bed, version: &str) {
    bed.deploy_service1(&[("c1", 4), ("c2", 1)]);
    for (member, idx) in [("c1", 0), ("c1", 1), ("c2", 0)] {
        bed.label_pod(member, "service1", idx, "version", version);
    }
    let both = ingress("both").subset("both", "topology.istio.io/cluster c1\nversion gray\n");
    bed.ingress(&both.exact("/service1", "service1"));
    bed.start_guide().await;
}

async fn row_050_all_labels_must_match(bed: &mut Bed) {
    start_two_labels(bed, "gray").await;
    bed.settle(100, &get("/service1"), |replies| {
        replies.pods().0.keys().eq(["service1-c1-1", "service1-c1-2"])
    })
    .await;
}

async fn row_051_no_pod_matches(bed: &mut Bed) {
    start_two_labels(bed, "blue").await;
    bed.settle(100, &get("/service1"), |replies| {
        replies.pods().0.len() == 5 && replies.codes().only("200")
    })
    .await;
}

/// 20 % to `c2`, the rest to `c1`.
async fn start_split(bed: &mut Bed) {
    let in_cluster = |id: &str| format!("topology.istio.io/cluster {id}\n");
    bed.deploy_service1(&[("c1", 1), ("c2", 1)]);
    bed.ingress(&ingress("main").subset("one", &in_cluster("c1")).exact("/service1", "service1"));
    let share = canary("share", &[("weight", "20")]).subset("two", &in_cluster("c2"));
    bed.ingress(&share.exact("/service1", "service1"));
    bed.start_guide().await;
}

async fn row_054_weighted_split_between_clusters(bed: &mut Bed) {
    start_split(bed).await;
    bed.shares(2000, &get("/service1"), &[(C1, 80.0), (C2, 20.0)], RANDOM).await;
}

async fn row_055_weighted_share_of_an_empty_cluster(bed: &mut Bed) {
    start_split(bed).await;
    bed.scale("c2", "service1", 0);
    bed.all(200, &get("/service1"), C1).await;
}

async fn row_057_pod_label_does_not_lie_about_its_cluster(bed: &mut Bed) {
    bed.deploy_service1(&[("c1", 1), ("c2", 1)]);
    bed.label_pod("c2", "service1", 0, "topology.istio.io/cluster", "c1");
    bed.fleet.apply("one", CLUSTER_ONE);
    bed.start_guide().await;
    bed.all(100, &get("/service1"), C1).await;
}
