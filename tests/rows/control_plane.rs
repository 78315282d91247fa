//! Rows 183 to 187: changes, restarts and bad objects do not disturb what works.

use std::time::{Duration, Instant};

use convoy::diag::Reason;
use serde_json::Value;

use crate::{
    bed::{
        Bed,
        client::get,
        guide::{GATEWAY_NAME, WEB_DEMO},
        ingress::ingress,
        load::Plan,
    },
    rows::{BOTH, figure, rows},
};

rows! { BOTH;
    row_183_unrelated_ingresses_come_and_go,
    row_184_endpoint_churn_is_endpoints_only,
    row_185_envoy_restarts,
    row_186_one_bad_ingress,
    row_187_two_envoys,
}

const C1: &str = "cluster-demo-1";
const C2: &str = "cluster-demo-2";

async fn start_web_demo(bed: &mut Bed, replicas: &[(&'static str, usize)]) {
    bed.deploy_service1(replicas);
    bed.fleet.apply("web-demo", WEB_DEMO);
    bed.start_guide().await;
}

async fn row_183_unrelated_ingresses_come_and_go(bed: &mut Bed) {
    start_web_demo(bed, &[("c1", 2), ("c2", 1)]).await;
    bed.deploy_each(&["a"]);
    let plan =
        Plan { name: "load", request: get("/svc1"), gets_per_second: 100, posts_per_second: 0 };
    let load = bed.load(&plan);
    let unrelated = ingress("unrelated").exact("/unrelated", "a");
    for _ in 0..100 {
        bed.ingress(&unrelated);
        bed.all(1, &get("/unrelated"), "a").await;
        bed.fleet.delete(&unrelated.file());
        bed.all(1, &get("/unrelated"), "404").await;
    }
    let report = load.stop().await;
    figure(&report.figures());
    assert_eq!(report.lost(), 0, "{:?}", report.failures());
}

async fn row_184_endpoint_churn_is_endpoints_only(bed: &mut Bed) {
    start_web_demo(bed, &[("c1", 9), ("c2", 1)]).await;
    bed.settle(100, &get("/svc1"), |replies| replies.pods().0.len() == 10).await;
    let before = all_but_endpoints(bed).await;
    for event in 0..200 {
        bed.scale("c1", "service1", event % 10);
    }
    bed.scale("c1", "service1", 4);
    bed.settle(100, &get("/svc1"), |replies| replies.pods().0.len() == 5).await;
    // The dump says when each resource was last updated.
    assert_eq!(before, all_but_endpoints(bed).await);
}

async fn all_but_endpoints(bed: &Bed) -> Value {
    serde_json::from_str(&bed.envoy().admin("/config_dump").await).unwrap()
}

async fn row_185_envoy_restarts(bed: &mut Bed) {
    start_web_demo(bed, &[("c1", 2), ("c2", 1)]).await;
    bed.check(&[(get("/svc2"), "404")]).await;
    let start = Instant::now();
    bed.start_envoy(GATEWAY_NAME).await;
    let replies = bed.http().hit(500, &get("/svc1")).await;
    // Live means complete: not one request met a route without its cluster.
    assert!(replies.codes().only("200"), "{:?}", replies.codes());
    figure(&format!("restart and 500 requests in {:?}", start.elapsed()));
    assert!(start.elapsed() < Duration::from_secs(5));
}

async fn row_186_one_bad_ingress(bed: &mut Bed) {
    start_web_demo(bed, &[("c1", 1)]).await;
    let regex = |name: &str, path: &str| {
        let annotated = ingress(name).annotate("nginx.ingress.kubernetes.io/use-regex", "true");
        annotated.prefix(path, "service1")
    };
    bed.ingress(&regex("bad", "/bad/("));
    bed.ingress(&regex("good", "/good/[a-z]+"));
    bed.check(&[(get("/good/x"), C1), (get("/svc1"), C1), (get("/bad/("), "404")]).await;
    bed.reports("Ingress gateway-demo/bad", Reason::InvalidRegex).await;
    assert_eq!(bed.envoy().stat(".*update_rejected").await, 0);
}

async fn row_187_two_envoys(bed: &mut Bed) {
    start_web_demo(bed, &[("c1", 9), ("c2", 1)]).await;
    let (mut second, client) = bed.start_second_envoy(GATEWAY_NAME);
    for client in [bed.http(), client] {
        bed.settle_over(&client, 1000, &get("/svc1"), |replies| {
            replies.envs().shares(&[(C1, 90.0), (C2, 10.0)], 1.0)
        })
        .await;
    }
    second.kill();
}
