//! How much one client may ask for, and what still answers when all of it is used up.

use std::net::SocketAddr;

use convoy::{
    bootstrap::METRICS_PORT,
    settings::{READY_HOST, READY_PATH, READY_PORT},
};

use super::{HTTP, gateway_with, raw::talk, start_envoy, verdicts};
use crate::{
    bed::{
        Bed, Variant,
        client::{Client, Request, get},
        ingress::ingress,
        netns::GATEWAY,
        poll::{SETTLE, eventually},
    },
    rows::rows,
};

rows! { &[Variant::Delta];
    fault_s15_headers_are_bounded,
    fault_s15_an_envoy_without_connections_left_is_judged,
    fault_s15_an_envoy_without_memory_left_is_judged,
}

async fn start(bed: &mut Bed) {
    bed.deploy_each(&["web"]);
    bed.ingress(&ingress("web").prefix("/", "web"));
    bed.start_guide().await;
    bed.check(&[(get("/"), "web")]).await;
}

async fn fault_s15_headers_are_bounded(bed: &mut Bed) {
    start(bed).await;
    let headers = |n: usize, size: usize| {
        let lines = (0..n).map(|idx| format!("x-{idx}: {}\r\n", "a".repeat(size)));
        let lines: String = lines.collect();
        format!("GET / HTTP/1.1\r\nHost: example.com\r\n{lines}\r\n")
    };
    let mut rows = Vec::new();
    for kib in ["60", "96"] {
        let knob = ("convoy.dev/max-request-headers-kib", kib);
        bed.fleet.apply("gateway", &gateway_with(&[knob]));
        let probe = headers(90, 1024 - 16);
        let expect = if kib == "60" { "431" } else { "200" };
        eventually(SETTLE, "the limit holds", || async {
            let saw = talk(None, HTTP, probe.as_bytes()).await.statuses();
            if saw == expect { Ok(()) } else { Err(saw) }
        })
        .await;
        for (what, request) in [
            ("90 headers", headers(90, 1)),
            ("101 headers", headers(101, 1)),
            ("55 KiB in 55 headers", headers(55, 1024 - 16)),
            ("90 KiB in 90 headers", probe),
            ("100 KiB in one header", headers(1, 100 << 10)),
        ] {
            let verdict = talk(None, HTTP, request.as_bytes()).await.statuses();
            rows.push(format!("{kib} KiB allowed: {what:24}{verdict}"));
        }
    }
    verdicts("limits", &rows);
}

/// Readiness, metrics and the admin interface answer.
async fn is_judged(bed: &Bed) {
    let ready = get(READY_PATH).host(READY_HOST);
    let at = |port: u16, request: Request| (SocketAddr::from((GATEWAY, port)), request);
    for (address, request) in [at(READY_PORT, ready), at(METRICS_PORT, get("/stats/prometheus"))] {
        let reply = Client::plain(address).send(&request).await.unwrap();
        assert_eq!(reply.status, 200, "{address}");
    }
    assert!(bed.envoy().admin("/ready").await.contains("LIVE"));
}

async fn fault_s15_an_envoy_without_connections_left_is_judged(bed: &mut Bed) {
    start(bed).await;
    start_envoy(bed, |options| options.max_connections = 4).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut connection = bed.http().connect().await.unwrap();
        assert_eq!(connection.send(&get("/")).await.unwrap().status, 200);
        held.push(connection);
    }
    assert!(bed.http().send(&get("/")).await.is_err(), "there was a fifth");
    is_judged(bed).await;
    drop(held);
    bed.all(4, &get("/"), "web").await;
}

async fn fault_s15_an_envoy_without_memory_left_is_judged(bed: &mut Bed) {
    start(bed).await;
    // Less than it has when it starts.
    start_envoy(bed, |options| options.max_heap_bytes = 1 << 20).await;
    bed.settle(1, &get("/"), |replies| replies.codes().only("503")).await;
    is_judged(bed).await;
}
