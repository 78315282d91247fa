//! Rows 16 to 30, 36, 37 and 39: traffic over the replicas of several members.

use convoy::diag::Reason;
use serde_json::json;

use crate::{
    bed::{
        Bed,
        client::get,
        fleet::gateway,
        guide::{GATEWAY_NAME, WEB_DEMO},
        ingress::ingress,
        load::Plan,
        workload::{State, workload},
    },
    rows::{BOTH, figure, rows},
};

rows! { BOTH;
    row_016_nine_to_one,
    row_017_every_replica_is_used,
    row_018_one_to_one,
    row_019_scaled_to_zero,
    row_020_scaled_to_zero_under_load,
    row_021_scaled_up_again,
    row_022_pod_not_ready,
    row_023_pod_terminating,
    row_024_service_in_one_member,
    row_025_service_in_no_member,
    row_026_service_without_endpoints,
    row_027_same_name_in_another_namespace,
    row_028_target_port_differs,
    row_029_port_by_name,
    row_030_port_absent_in_one_member,
    row_036_application_errors_move_nothing,
    row_037_three_members,
    row_039_same_address_in_two_members,
}

pub(crate) const C1: &str = "cluster-demo-1";
pub(crate) const C2: &str = "cluster-demo-2";

/// Shares follow a schedule, so they are exact to a point (semantics.md 9).
pub(crate) const SCHEDULED: f64 = 1.0;

/// The guide's active-active Ingress with so many replicas in each member.
pub(crate) async fn start_web_demo(bed: &mut Bed, replicas: &[(&'static str, usize)]) {
    bed.deploy_service1(replicas);
    bed.fleet.apply("web-demo", WEB_DEMO);
    bed.start_guide().await;
}

async fn row_016_nine_to_one(bed: &mut Bed) {
    start_web_demo(bed, &[("c1", 9), ("c2", 1)]).await;
    bed.shares(1000, &get("/svc1"), &[(C1, 90.0), (C2, 10.0)], SCHEDULED).await;
}

async fn row_017_every_replica_is_used(bed: &mut Bed) {
    start_web_demo(bed, &[("c1", 9), ("c2", 1)]).await;
    bed.settle(100, &get("/svc1"), |replies| replies.pods().0.len() == 10).await;
}

async fn row_018_one_to_one(bed: &mut Bed) {
    start_web_demo(bed, &[("c1", 1), ("c2", 1)]).await;
    bed.shares(1000, &get("/svc1"), &[(C1, 50.0), (C2, 50.0)], SCHEDULED).await;
}

async fn row_019_scaled_to_zero(bed: &mut Bed) {
    start_web_demo(bed, &[("c1", 9), ("c2", 1)]).await;
    bed.scale("c1", "service1", 0);
    bed.all(100, &get("/svc1"), C2).await;
}

async fn row_020_scaled_to_zero_under_load(bed: &mut Bed) {
    start_web_demo(bed, &[("c1", 9), ("c2", 1)]).await;
    let load = bed.load(&Plan {
        name: "load",
        request: get("/svc1"),
        gets_per_second: 400,
        posts_per_second: 20,
    });
    load.sends(200).await;
    // The slice and the pods go at the same time: some requests meet a pod that has gone.
    bed.scale("c1", "service1", 0);
    bed.kill("c1");
    load.sends(1800).await;
    let report = load.stop().await;
    figure(&report.figures());
    assert_eq!(report.lost(), 0, "{:?}", report.failures());
    let twice: Vec<_> = bed.deliveries().into_iter().filter(|(_, n)| *n > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    bed.all(100, &get("/svc1"), C2).await;
}

async fn row_021_scaled_up_again(bed: &mut Bed) {
    start_web_demo(bed, &[("c1", 0), ("c2", 1)]).await;
    bed.all(100, &get("/svc1"), C2).await;
    bed.scale("c1", "service1", 9);
    bed.shares(1000, &get("/svc1"), &[(C1, 90.0), (C2, 10.0)], SCHEDULED).await;
}

async fn row_022_pod_not_ready(bed: &mut Bed) {
    loses_one_pod(bed, State::NotReady).await;
}

async fn row_023_pod_terminating(bed: &mut Bed) {
    loses_one_pod(bed, State::Terminating).await;
}

async fn loses_one_pod(bed: &mut Bed, state: State) {
    start_web_demo(bed, &[("c1", 9), ("c2", 1)]).await;
    bed.settle(100, &get("/svc1"), |replies| replies.pods().0.len() == 10).await;
    bed.set_pod("c1", "service1", 3, state);
    bed.settle(900, &get("/svc1"), |replies| {
        let pods = replies.pods();
        let avoided = pods.0.len() == 9 && !pods.0.contains_key("service1-c1-4");
        avoided && replies.envs().shares(&[(C1, 800.0 / 9.0), (C2, 100.0 / 9.0)], SCHEDULED)
    })
    .await;
}

async fn row_024_service_in_one_member(bed: &mut Bed) {
    bed.deploy_each(&["unrelated"]);
    start_web_demo(bed, &[("c2", 2)]).await;
    bed.all(100, &get("/svc1"), C2).await;
}

async fn row_025_service_in_no_member(bed: &mut Bed) {
    bed.deploy_each(&["unrelated"]);
    start_web_demo(bed, &[]).await;
    bed.check(&[(get("/svc1"), "503"), (get("/svc2"), "404")]).await;
}

async fn row_026_service_without_endpoints(bed: &mut Bed) {
    start_web_demo(bed, &[("c1", 0), ("c2", 0)]).await;
    bed.check(&[(get("/svc1"), "503")]).await;
}

async fn row_027_same_name_in_another_namespace(bed: &mut Bed) {
    bed.deploy(workload("c2", "service1", 5).namespace("other").env("wrong"));
    start_web_demo(bed, &[("c1", 1), ("c2", 1)]).await;
    bed.shares(1000, &get("/svc1"), &[(C1, 50.0), (C2, 50.0)], SCHEDULED).await;
}

async fn row_028_target_port_differs(bed: &mut Bed) {
    bed.deploy(workload("c1", "service1", 1).target(8080));
    bed.deploy(workload("c2", "service1", 1).target(9090));
    start_web_demo(bed, &[]).await;
    bed.shares(200, &get("/svc1"), &[(C1, 50.0), (C2, 50.0)], SCHEDULED).await;
}

async fn row_029_port_by_name(bed: &mut Bed) {
    bed.deploy(workload("c1", "service1", 1).port("web", 80));
    bed.deploy(workload("c2", "service1", 1).port("web", 8000).target(9090));
    bed.ingress(&ingress("web").port_name("web").exact("/svc1", "service1"));
    bed.start_guide().await;
    bed.shares(200, &get("/svc1"), &[(C1, 50.0), (C2, 50.0)], SCHEDULED).await;
}

async fn row_030_port_absent_in_one_member(bed: &mut Bed) {
    bed.deploy(workload("c1", "service1", 1));
    bed.deploy(workload("c2", "service1", 1).port("web", 8000));
    start_web_demo(bed, &[]).await;
    bed.all(100, &get("/svc1"), C1).await;
    bed.reports("Ingress gateway-demo/web-demo", Reason::PortNotFound).await;
}

async fn row_036_application_errors_move_nothing(bed: &mut Bed) {
    start_web_demo(bed, &[("c1", 9), ("c2", 1)]).await;
    let failing = get("/svc1?status=500&cluster=c1");
    // The second thousand meets whatever the first has ejected.
    for _ in 0..2 {
        bed.shares(1000, &failing, &[("500", 90.0), (C2, 10.0)], SCHEDULED).await;
    }
}

async fn row_037_three_members(bed: &mut Bed) {
    bed.fleet.object("gateway", &gateway(GATEWAY_NAME, "c1,c2,c3", json!({"ingressClass": "mse"})));
    bed.deploy_service1(&[("c1", 3), ("c2", 2), ("c3", 1)]);
    bed.fleet.apply("web-demo", WEB_DEMO);
    bed.start().await;
    let shares = [(C1, 50.0), (C2, 100.0 / 3.0), ("cluster-demo-3", 50.0 / 3.0)];
    bed.shares(1200, &get("/svc1"), &shares, SCHEDULED).await;
}

async fn row_039_same_address_in_two_members(bed: &mut Bed) {
    bed.deploy(workload("c1", "service1", 1));
    let (first, _) = bed.running("c1", "service1");
    let shared = first.address(0);
    bed.deploy(workload("c2", "service1", 1));
    let (second, fleet) = bed.running("c2", "service1");
    second.also_at(shared, fleet);
    start_web_demo(bed, &[]).await;
    bed.shares(200, &get("/svc1"), &[(C1, 50.0), (C2, 50.0)], SCHEDULED).await;
    let dump = bed.envoy().config_dump().await;
    let counts = endpoints_at(&dump, &shared.ip().to_string());
    assert!(!counts.is_empty() && counts.iter().all(|n| *n == 1), "{counts:?}");
    bed.reports("Service gateway-demo/service1 of member c2", Reason::AddressConflict).await;
}

/// How often each assignment that has `address` has it.
pub(crate) fn endpoints_at(dump: &serde_json::Value, address: &str) -> Vec<usize> {
    let sections = dump["configs"].as_array().unwrap().iter();
    let assignments = sections
        .filter_map(|section| section["dynamic_endpoint_configs"].as_array())
        .flatten()
        .map(|assignment| assignment.to_string());
    let needle = format!("\"address\":\"{address}\"");
    assignments.map(|text| text.matches(&needle).count()).filter(|n| *n > 0).collect()
}
