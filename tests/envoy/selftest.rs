//! What the other tests rely on: the bed itself, on an Envoy with a static configuration.

use std::time::{Duration, Instant};

use crate::{
    bed::{
        Bed, Variant,
        client::{Client, get},
        envoy::ADMIN,
        load::Plan,
        workload::workload,
    },
    rows::{figure, rows},
};

rows! { &[Variant::Delta];
    bed_starts_envoy_and_pods,
    bed_partition_is_silent,
    bed_load_counts_what_fails,
    bed_records_deliveries,
    bed_pods_speak_more_than_http,
}

/// Every request to the first pod of `service1` in `c1`, without retries.
fn to_first_pod() -> String {
    format!(
        r#"
admin: {{address: {{socket_address: {{address: {}, port_value: {}}}}}}}
static_resources:
  listeners:
  - address: {{socket_address: {{address: 0.0.0.0, port_value: 80}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: http
          upgrade_configs: [{{upgrade_type: websocket}}]
          route_config:
            virtual_hosts:
            - name: any
              domains: ["*"]
              routes: [{{match: {{prefix: /}}, route: {{cluster: service1}}}}]
          http_filters:
          - name: router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: service1
    connect_timeout: 1s
    load_assignment:
      cluster_name: service1
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 10.1.128.1, port_value: 8080}}}}}}
"#,
        ADMIN.ip(),
        ADMIN.port()
    )
}

async fn bed_starts_envoy_and_pods(bed: &mut Bed) {
    let start = Instant::now();
    bed.deploy(workload("c1", "service1", 9));
    let pods = start.elapsed();
    bed.start_envoy_from(&to_first_pod()).await;
    bed.all(1, &get("/svc1"), "cluster-demo-1").await;
    figure(&format!(
        "9 pods in {pods:?}, first 200 through Envoy after {:?} more",
        start.elapsed() - pods
    ));
    let start = Instant::now();
    let echo = bed.http().send(&get("/svc1?a=b").header("x-a", "1")).await.unwrap().echo().unwrap();
    assert_eq!((echo.pod.as_str(), echo.path.as_str()), ("service1-c1-1", "/svc1?a=b"));
    assert_eq!((echo.host.as_str(), echo.headers["x-a"].as_str()), ("example.com", "1"));
    let replies = bed.http().hit(1000, &get("/svc1?status=500&cluster=c1")).await;
    assert!(replies.codes().only("500"), "{replies:?}");
    figure(&format!("1000 requests on one connection in {:?}", start.elapsed()));
}

async fn bed_partition_is_silent(bed: &mut Bed) {
    bed.deploy(workload("c1", "service1", 1));
    bed.deploy(workload("c2", "service1", 1));
    let client =
        |member: &str, bed: &mut Bed| Client::plain(bed.running(member, "service1").0.address(0));
    let (first, second) = (client("c1", bed), client("c2", bed));
    let short = get("/").patience(Duration::from_millis(300));
    let mut open = first.connect().await.unwrap();
    open.send(&short).await.unwrap();
    let partition = bed.partition("c1").await;
    // Neither a reset nor a refusal: silence.
    assert_eq!(open.send(&short).await.unwrap_err(), "timeout");
    second.send(&short).await.unwrap();
    drop(partition);
    assert!(first.send(&get("/")).await.unwrap().status.is_success());
}

async fn bed_load_counts_what_fails(bed: &mut Bed) {
    bed.deploy(workload("c1", "service1", 1));
    bed.start_envoy_from(&to_first_pod()).await;
    let plan =
        Plan { name: "load", request: get("/svc1"), gets_per_second: 200, posts_per_second: 200 };
    let load = bed.load(&plan);
    bed.all(50, &get("/svc1"), "cluster-demo-1").await;
    let start = Instant::now();
    bed.kill("c1");
    let killed = Instant::now();
    bed.all(20, &get("/svc1"), "503").await;
    bed.revive("c1");
    bed.all(50, &get("/svc1"), "cluster-demo-1").await;
    let report = load.stop().await;
    figure(&report.figures());
    assert!(report.lost() > 0 && report.lost() < report.gets.len(), "{:?}", report.failures());
    // Some were refused after the kill: only those under way at it are excused.
    let lost = report.posts_lost_apart_from(start, killed);
    assert!(!lost.is_empty() && lost.iter().all(|post| post.due > killed), "{lost:?}");
}

async fn bed_records_deliveries(bed: &mut Bed) {
    bed.deploy(workload("c1", "service1", 1));
    bed.start_envoy_from(&to_first_pod()).await;
    for id in ["a", "b", "b"] {
        bed.http().send(&get("/").post(id)).await.unwrap();
    }
    bed.kill("c1");
    assert_eq!(bed.deliveries(), [("a".to_owned(), 1), ("b".to_owned(), 2)].into());
}

async fn bed_pods_speak_more_than_http(bed: &mut Bed) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    bed.deploy(workload("c1", "service1", 1));
    bed.start_envoy_from(&to_first_pod()).await;
    let request = get("/").header("connection", "upgrade").header("upgrade", "websocket");
    let connection = bed.http().connect().await.unwrap();
    let mut socket = connection.upgrade(&request).await.unwrap();
    let mut answer = [0; 5];
    socket.write_all(b"hello").await.unwrap();
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"hello");
}
