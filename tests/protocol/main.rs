//! The ADS server over a real connection, in both variants of the protocol.
//!
//! The rules themselves are shown by the scripts in `src/xds/session/tests.rs`; here is what only
//! a socket can show.

// All of this file and its modules is test code; clippy.toml exempts only the test functions.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[allow(dead_code, reason = "the other test programs use all of it")]
#[path = "../bed/cert.rs"]
mod cert;
mod client;
mod proof;

use std::collections::HashMap;

use client::{Bench, Delta, Sotw, clusters, node, said, until, within};
use convoy::{
    key::GatewayId,
    snapshot::{
        Coverage, GatewayView,
        Kind::{Cluster, Endpoint, Listener},
    },
};
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use tonic::Code;

#[tokio::test]
async fn the_first_wildcard_request_is_answered_even_when_nothing_exists() {
    let bench = Bench::start().await;
    bench.publisher.publish(&GatewayId::mse("edge"), GatewayView::default().into());

    let mut delta = Delta::open(&bench, node("edge")).await;
    delta.subscribe(Cluster, &[]).await;
    assert_eq!(said(&delta.response().await), "");

    let mut sotw = Sotw::open(&bench, node("MseIngressConfig/edge")).await;
    sotw.subscribe(Cluster, &[]).await;
    assert!(sotw.response().await.resources.is_empty());
}

#[tokio::test]
async fn a_delta_subscription_is_served_acknowledged_and_kept_up_to_date() {
    let mut bench = Bench::start().await;
    bench.publish(&[(Cluster, "a", Some(1)), (Endpoint, "a", Some(1))]);
    let mut envoy = Delta::open(&bench, node("edge")).await;
    envoy.subscribe(Cluster, &[]).await;
    let response = envoy.response().await;
    assert_eq!(said(&response), "+a");
    assert_eq!(response.resources[0].version, bench.version(Cluster, "a"));
    envoy.answer(&response, None).await;
    until(|| bench.envoy().unwrap().types.get(&Cluster).is_some_and(|t| t.acknowledged == 1)).await;

    bench.publish(&[(Cluster, "b", Some(1))]);
    let response = envoy.response().await;
    assert_eq!(said(&response), "+b");
    envoy.answer(&response, None).await;

    bench.publish(&[(Cluster, "a", None)]);
    assert_eq!(said(&envoy.response().await), "-a");

    let status = bench.envoy().unwrap();
    assert_eq!(status.node_id, "envoy-1");
    assert_eq!(status.gateway, "MseIngressConfig/edge");
    assert!(status.gateway_found && status.delta && status.address.is_some());
    assert_eq!(bench.registry.counters().kinds[&Cluster].responses, 3);
}

#[tokio::test]
async fn what_is_timed_is_a_change_until_it_is_accepted() {
    let mut bench = Bench::start().await;
    bench.publish(&[(Cluster, "a", Some(1))]);
    let mut envoy = Delta::open(&bench, node("edge")).await;
    envoy.subscribe(Cluster, &[]).await;
    let response = envoy.response().await;
    envoy.answer(&response, None).await;
    let acknowledged = |bench: &Bench| bench.envoy().unwrap().types[&Cluster].acknowledged;
    until(|| acknowledged(&bench) == 1).await;
    assert_eq!(bench.propagated(Cluster), 0, "what an Envoy starts with is no change");

    bench.publish(&[(Cluster, "b", Some(1)), (Endpoint, "b", Some(1))]);
    let response = envoy.response().await;
    assert_eq!(bench.propagated(Cluster), 0, "it is not accepted yet");
    envoy.answer(&response, None).await;
    until(|| bench.propagated(Cluster) == 1).await;
    assert_eq!(bench.propagated(Endpoint), 0, "nobody asked for these");

    bench.publish(&[(Cluster, "b", Some(2))]);
    let response = envoy.response().await;
    envoy.answer(&response, Some("no")).await;
    until(|| bench.envoy().unwrap().types[&Cluster].refusals == 1).await;
    assert_eq!(bench.propagated(Cluster), 1, "a refusal is no arrival");
}

#[tokio::test]
async fn a_sotw_subscription_is_served_acknowledged_and_kept_up_to_date() {
    let mut bench = Bench::start().await;
    bench.publish(&[(Cluster, "a", Some(1))]);
    let mut envoy = Sotw::open(&bench, node("edge")).await;
    envoy.subscribe(Cluster, &[]).await;
    let response = envoy.response().await;
    assert_eq!(clusters(&response), ["a"]);
    envoy.answer(&response, &[], None).await;

    bench.publish(&[(Cluster, "b", Some(1))]);
    let response = envoy.response().await;
    assert_eq!(clusters(&response), ["a", "b"]);
    envoy.answer(&response, &[], None).await;

    bench.publish(&[(Cluster, "a", None)]);
    assert_eq!(clusters(&envoy.response().await), ["b"]);
    assert!(!bench.envoy().unwrap().delta);
}

#[tokio::test]
async fn fault_d3_a_refused_version_is_reported_and_not_served_again() {
    let mut bench = Bench::start().await;
    bench.publish(&[(Cluster, "a", Some(1))]);
    let mut delta = Delta::open(&bench, node("edge")).await;
    delta.subscribe(Cluster, &[]).await;
    let response = delta.response().await;
    delta.answer(&response, Some("a is bad")).await;
    let refused = |t: &convoy::xds::TypeStatus| t.refusals == 1;
    until(|| bench.envoy().unwrap().types.get(&Cluster).is_some_and(refused)).await;
    let status = bench.envoy().unwrap().types[&Cluster].clone();
    assert_eq!(status.last_error, "a is bad");
    assert_eq!(status.rejected, ["a".into()]);
    assert_eq!((status.sent, status.acknowledged), (1, 0));

    bench.publish(&[(Cluster, "b", Some(1))]);
    let response = delta.response().await;
    assert_eq!(said(&response), "+b");
    delta.answer(&response, None).await;
    bench.publish(&[(Cluster, "a", Some(2))]);
    let response = delta.response().await;
    assert_eq!(said(&response), "+a");
    delta.answer(&response, None).await;
    until(|| bench.envoy().unwrap().types[&Cluster].acknowledged == 2).await;
    let status = bench.envoy().unwrap().types[&Cluster].clone();
    assert_eq!((status.last_error.as_str(), status.rejected.len()), ("", 0));
    assert_eq!(bench.registry.counters().kinds[&Cluster].refusals, 1);
}

#[tokio::test]
async fn fault_d2_a_delta_client_that_holds_everything_is_sent_nothing() {
    let mut bench = Bench::start().await;
    bench.publish(&[(Cluster, "a", Some(1)), (Endpoint, "a", Some(1))]);
    let held = |kind| HashMap::from([("a".to_owned(), bench.version(kind, "a"))]);
    let mut envoy = Delta::open(&bench, node("edge")).await;
    envoy.resume(Cluster, &[], held(Cluster)).await;
    envoy.resume(Endpoint, &["a"], held(Endpoint)).await;
    // The answer to a later question is the first that comes.
    envoy.subscribe(Endpoint, &["unknown"]).await;
    assert_eq!(said(&envoy.response().await), "-unknown");
    let kinds = bench.registry.counters().kinds;
    assert_eq!((kinds[&Cluster].responses, kinds[&Endpoint].responses), (0, 1));
}

#[tokio::test]
async fn fault_d2_a_sotw_client_that_holds_everything_is_sent_nothing() {
    let mut bench = Bench::start().await;
    bench.publish(&[(Cluster, "a", Some(1)), (Endpoint, "a", Some(1))]);
    let mut first = Sotw::open(&bench, node("edge")).await;
    first.subscribe(Cluster, &[]).await;
    let version = first.response().await.version_info;

    let mut again = Sotw::open(&bench, node("edge")).await;
    again.resume(Cluster, &[], &version).await;
    again.subscribe(Endpoint, &["a"]).await;
    assert_eq!(again.response().await.type_url, Endpoint.type_url());
}

#[tokio::test]
async fn fault_a03_a_fresh_client_waits_for_a_member_until_it_is_given_up() {
    let mut bench = Bench::start().await;
    bench.know(Coverage::Awaited);
    bench.publish(&[(Cluster, "a", Some(1))]);
    let mut envoy = Delta::open(&bench, node("edge")).await;
    envoy.subscribe(Cluster, &[]).await;
    until(|| bench.envoy().is_some_and(|envoy| envoy.is_waiting)).await;
    bench.know(Coverage::Partial);
    assert_eq!(said(&envoy.response().await), "+a");
    assert!(!bench.envoy().unwrap().is_waiting);
}

#[tokio::test]
async fn fault_a03_a_client_with_state_keeps_what_a_member_may_be_in() {
    let mut bench = Bench::start().await;
    bench.know(Coverage::Partial);
    bench.publish(&[(Cluster, "a", Some(1)), (Endpoint, "a", Some(1)), (Endpoint, "b", Some(1))]);
    let mut envoy = Delta::open(&bench, node("edge")).await;
    let held = HashMap::from([("a".to_owned(), bench.version(Cluster, "a"))]);
    envoy.resume(Cluster, &[], held).await;
    let with_member = "0123456789abcdef".to_owned();
    envoy.resume(Endpoint, &["a", "b"], HashMap::from([("a".to_owned(), with_member)])).await;
    let response = envoy.response().await;
    assert_eq!(said(&response), "+b");
    envoy.answer(&response, None).await;
    let withheld = |bench: &Bench| bench.envoy().unwrap().types[&Endpoint].withheld;
    assert_eq!(withheld(&bench), 1);
    bench.know(Coverage::Whole);
    assert_eq!(said(&envoy.response().await), "+a");
    assert_eq!(withheld(&bench), 0);
}

#[tokio::test]
async fn fault_d6_a_first_request_of_many_megabytes_is_accepted() {
    let mut bench = Bench::start().await;
    bench.publish(&[(Cluster, "a", Some(1))]);
    let name = |i: u32| format!("{i:0>120}");
    let held: HashMap<_, _> = (0..50_000).map(|i| (name(i), "0".repeat(16))).collect();
    let mut envoy = Delta::open(&bench, node("edge")).await;
    envoy.resume(Cluster, &[], held).await;
    assert_eq!(said(&envoy.response().await), "+a");
}

#[tokio::test]
async fn fault_d6_a_request_beyond_the_limit_is_refused_with_a_reason() {
    let bench = Bench::start().await;
    let mut envoy = Delta::open(&bench, node("edge")).await;
    envoy.subscribe(Cluster, &[&"x".repeat(65 << 20)]).await;
    let status = envoy.next().await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
}

#[tokio::test]
async fn an_unknown_gateway_is_waited_for() {
    let mut bench = Bench::start().await;
    let mut delta = Delta::open(&bench, node("edge")).await;
    delta.subscribe(Cluster, &[]).await;
    until(|| bench.envoy().is_some()).await;
    assert!(!bench.envoy().unwrap().gateway_found);

    bench.publish(&[(Cluster, "a", Some(1))]);
    assert_eq!(said(&delta.response().await), "+a");
    assert!(bench.envoy().unwrap().gateway_found);

    bench.publisher.withdraw(&GatewayId::mse("edge"));
    until(|| !bench.envoy().unwrap().gateway_found).await;
}

#[tokio::test]
async fn fault_d7_a_node_without_id_or_gateway_is_refused_with_a_reason() {
    let bench = Bench::start().await;
    for (node, expect) in [(None, "node.id"), (node("Gateway/x"), "`Gateway/x` names no gateway")] {
        let mut envoy = Delta::open(&bench, node.clone()).await;
        envoy.subscribe(Cluster, &[]).await;
        let status = envoy.next().await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(expect), "{}", status.message());

        let mut envoy = Sotw::open(&bench, node).await;
        envoy.subscribe(Cluster, &[]).await;
        assert_eq!(envoy.next().await.unwrap_err().code(), Code::InvalidArgument);
    }
    assert!(bench.envoy().is_none());
}

#[tokio::test]
async fn fault_d7_a_type_that_is_not_served_is_ignored_and_counted() {
    let mut bench = Bench::start().await;
    bench.publish(&[(Cluster, "a", Some(1))]);
    let mut envoy = Delta::open(&bench, None).await;
    let unknown = DeltaDiscoveryRequest {
        node: node("edge"),
        type_url: "type.googleapis.com/other".into(),
        ..Default::default()
    };
    envoy.send(unknown).await;
    envoy.subscribe(Cluster, &[]).await;
    assert_eq!(said(&envoy.response().await), "+a");
    assert_eq!(bench.registry.counters().unknown_types, 1);
}

#[tokio::test]
async fn a_stream_that_ends_leaves_the_registry() {
    let mut bench = Bench::start().await;
    bench.publish(&[(Cluster, "a", Some(1))]);
    let mut envoy = Delta::open(&bench, node("edge")).await;
    envoy.subscribe(Cluster, &[]).await;
    envoy.response().await;
    drop(envoy);
    until(|| bench.envoy().is_none()).await;
    assert_eq!(bench.registry.counters().streams_opened, 1);
}

#[tokio::test]
async fn a_server_that_stops_ends_its_streams_and_returns() {
    let mut bench = Bench::start().await;
    bench.publish(&[(Cluster, "a", Some(1))]);
    let mut delta = Delta::open(&bench, node("edge")).await;
    delta.subscribe(Cluster, &[]).await;
    delta.response().await;
    let mut silent = Sotw::open(&bench, node("edge")).await;

    bench.stop();
    assert!(delta.next().await.unwrap().is_none());
    assert!(silent.next().await.unwrap().is_none());
    bench.stopped().await;
}

#[tokio::test]
async fn fault_d5_what_changes_while_a_client_is_slow_is_merged() {
    let mut bench = Bench::start().await;
    bench.publish(&[(Listener, "l", Some(0))]);
    let mut envoy = Delta::open(&bench, node("edge")).await;
    envoy.subscribe(Listener, &[]).await;
    let first = envoy.response().await;
    for content in 1..=1_000 {
        bench.publish(&[(Listener, "l", Some(content))]);
        tokio::task::yield_now().await;
    }
    envoy.answer(&first, None).await;
    let second = envoy.response().await;
    assert_eq!(second.resources[0].version, bench.version(Listener, "l"));
    envoy.answer(&second, None).await;
    until(|| bench.envoy().unwrap().types[&Listener].acknowledged == 1).await;
    assert_eq!(bench.registry.counters().kinds[&Listener].responses, 2);
}

#[tokio::test]
async fn a_thousand_changes_end_in_the_newest_state_after_a_bounded_number_of_responses() {
    let mut bench = Bench::start().await;
    bench.publish(&[(Cluster, "c0", Some(0))]);
    let mut envoy = Delta::open(&bench, node("edge")).await;
    envoy.subscribe(Cluster, &[]).await;
    let mut held: HashMap<String, String> = HashMap::new();
    let publish = async {
        // A fixed sequence that looks random: x → 5x + 3 (mod 2^16) visits everything.
        let mut x: u32 = 1;
        for step in 1..=1_000 {
            x = (5 * x + 3) % (1 << 16);
            bench.publish(&[(Cluster, &format!("c{}", x / 7 % 10), Some(step))]);
            tokio::task::yield_now().await;
        }
        (0..10).map(|i| (format!("c{i}"), bench.version(Cluster, &format!("c{i}")))).collect()
    };
    let mut publish = std::pin::pin!(publish);
    let mut responses = 0;
    let expect: HashMap<String, String> = within(async {
        loop {
            tokio::select! {
                done = &mut publish => break done,
                response = envoy.response() => {
                    responses += 1;
                    let news = response.resources.iter();
                    held.extend(news.map(|r| (r.name.clone(), r.version.clone())));
                    envoy.answer(&response, None).await;
                }
            }
        }
    })
    .await;
    while held != expect {
        let response = envoy.response().await;
        responses += 1;
        held.extend(response.resources.iter().map(|r| (r.name.clone(), r.version.clone())));
        envoy.answer(&response, None).await;
    }
    assert!(responses <= 1_001, "{responses} responses");
}
