//! Rows 169 to 173: the shares of members by weight; members in order of how near they are; sessions,
//! and active health checks.

use std::{collections::BTreeSet, time::Duration};

use convoy::diag::Reason;
use serde_json::{Value, json};

use crate::{
    bed::{
        Bed,
        client::get,
        fleet::gateway,
        guide::GATEWAY_NAME,
        ingress::{Ingress, canary, ingress},
        load::Plan,
        poll::eventually,
        workload::{State, workload},
    },
    rows::{
        BOTH,
        balance::{C1, C2, SCHEDULED},
        figure, rows,
    },
};

rows! { BOTH;
    row_169_weights_beat_replicas,
    row_169_weights_of_an_alb,
    row_170_half_the_pods_lost,
    row_170_half_the_pods_killed,
    row_171_a_weighted_member_scaled_to_zero,
    row_171_a_weighted_member_killed,
    row_172_who_is_not_named_is_the_last_resort,
    row_173_weights_that_are_refused,
    weights_of_a_canary_are_its_own,
    near_members_first,
    sessions_stay_at_their_endpoint,
    fault_e2_hung_member_is_found_by_health_checks,
    health_checks_begin_under_load,
}

const C3: &str = "cluster-demo-3";

/// The one Ingress of these rows, with weights `c1=80 c2=20`.
fn weighted(weights: &str) -> Ingress {
    weigh(ingress("web-demo"), "mse", weights).exact("/svc1", "service1")
}

fn weigh(ingress: Ingress, prefix: &str, weights: &str) -> Ingress {
    weights.split_whitespace().fold(ingress, |ingress, text| {
        let (member, weight) = text.split_once('=').unwrap();
        let key = format!("{prefix}.ingress.kubernetes.io/cluster-weight.{member}");
        ingress.annotate(&key, weight)
    })
}

/// The guide's gateway with these weights, and so many replicas in each member.
async fn start(bed: &mut Bed, replicas: &[(&'static str, usize)], weights: &str) {
    bed.deploy_service1(replicas);
    bed.ingress(&weighted(weights));
    bed.start_guide().await;
}

async fn eighty_to_twenty(bed: &Bed) {
    bed.shares(1000, &get("/svc1"), &[(C1, 80.0), (C2, 20.0)], SCHEDULED).await;
}

async fn row_169_weights_beat_replicas(bed: &mut Bed) {
    start(bed, &[("c1", 1), ("c2", 9)], "c1=80 c2=20").await;
    eighty_to_twenty(bed).await;
    bed.ingress(&weighted("c1=1 c2=1"));
    bed.shares(1000, &get("/svc1"), &[(C1, 50.0), (C2, 50.0)], SCHEDULED).await;
    // Endpoints that come do not move shares.
    bed.scale("c1", "service1", 4);
    bed.settle(200, &get("/svc1"), |replies| {
        let split = replies.envs().shares(&[(C1, 50.0), (C2, 50.0)], SCHEDULED);
        split && replies.pods().0.len() == 13
    })
    .await;
}

async fn row_169_weights_of_an_alb(bed: &mut Bed) {
    let ingress = weigh(ingress("web-demo"), "alb", "c1=80 c2=20");
    start_alb(bed, &[("c1", 1), ("c2", 9)], ingress).await;
    eighty_to_twenty(bed).await;
}

/// An ALB with so many replicas in each member, and this Ingress to them.
async fn start_alb(bed: &mut Bed, replicas: &[(&'static str, usize)], ingress: Ingress) {
    const ALB: &str = "one-alb-demo";
    bed.deploy_service1(replicas);
    bed.fleet.object(
        "gateway",
        &json!({
            "apiVersion": "alibabacloud.com/v1",
            "kind": "AlbConfig",
            "metadata": {
                "name": ALB,
                "annotations": {"alb.ingress.kubernetes.io/remote-clusters": "c1,c2"},
            },
            "spec": {"config": {"name": ALB}, "listeners": [{"port": 80, "protocol": "HTTP"}]},
        }),
    );
    bed.fleet.object(
        "class",
        &json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": {"name": "alb"},
            "spec": {
                "controller": "ingress.k8s.alibabacloud/alb",
                "parameters": {"apiGroup": "alibabacloud.com", "kind": "AlbConfig", "name": ALB},
            },
        }),
    );
    bed.ingress(&ingress.class("alb").exact("/svc1", "service1"));
    bed.start_convoy().await;
    bed.start_envoy(&format!("AlbConfig/{ALB}")).await;
}

async fn row_170_half_the_pods_lost(bed: &mut Bed) {
    start(bed, &[("c1", 4), ("c2", 9)], "c1=80 c2=20").await;
    eighty_to_twenty(bed).await;
    bed.scale("c1", "service1", 2);
    bed.settle(1000, &get("/svc1"), |replies| {
        let split = replies.envs().shares(&[(C1, 80.0), (C2, 20.0)], SCHEDULED);
        split && replies.pods().0.len() == 11
    })
    .await;
}

/// The API says nothing: only Envoy notices.
async fn row_170_half_the_pods_killed(bed: &mut Bed) {
    start(bed, &[("c1", 2), ("c2", 2)], "c1=80 c2=20").await;
    bed.scale("c1", "service1", 4);
    bed.settle(100, &get("/svc1"), |replies| replies.pods().0.len() == 6).await;
    bed.running("c1", "service1").0.kill_newest();
    // What the dead pods are sent meanwhile is served elsewhere, so it has to have an end before
    // they are tried again: few requests at a time.
    bed.shares(300, &get("/svc1"), &[(C1, 80.0), (C2, 20.0)], SCHEDULED).await;
}

async fn row_171_a_weighted_member_scaled_to_zero(bed: &mut Bed) {
    start(bed, &[("c1", 1), ("c2", 9)], "c1=80 c2=20").await;
    eighty_to_twenty(bed).await;
    bed.scale("c1", "service1", 0);
    bed.all(100, &get("/svc1"), C2).await;
    bed.scale("c1", "service1", 1);
    eighty_to_twenty(bed).await;
}

async fn row_171_a_weighted_member_killed(bed: &mut Bed) {
    start(bed, &[("c1", 2), ("c2", 2)], "c1=80 c2=20").await;
    eighty_to_twenty(bed).await;
    bed.kill("c1");
    bed.all(100, &get("/svc1"), C2).await;
}

async fn row_172_who_is_not_named_is_the_last_resort(bed: &mut Bed) {
    start(bed, &[("c1", 1), ("c2", 9)], "c1=100").await;
    bed.all(200, &get("/svc1"), C1).await;
    bed.scale("c1", "service1", 0);
    bed.all(200, &get("/svc1"), C2).await;
    bed.scale("c1", "service1", 1);
    bed.all(200, &get("/svc1"), C1).await;
    bed.kill("c1");
    bed.all(200, &get("/svc1"), C2).await;
}

async fn row_173_weights_that_are_refused(bed: &mut Bed) {
    start(bed, &[("c1", 1), ("c2", 9)], "c1=80 c2=20").await;
    eighty_to_twenty(bed).await;
    for refused in ["c1=80 c2=x", "c1=-1 c2=20", "c1=0 c2=0"] {
        bed.ingress(&weighted(refused));
        bed.shares(1000, &get("/svc1"), &[(C1, 10.0), (C2, 90.0)], SCHEDULED).await;
        bed.reports("Ingress gateway-demo/web-demo", Reason::InvalidAnnotation).await;
        bed.ingress(&weighted("c1=80 c2=20"));
        eighty_to_twenty(bed).await;
    }
}

/// Half of the traffic to an arm whose members have equal weights, half to the main's.
async fn weights_of_a_canary_are_its_own(bed: &mut Bed) {
    bed.deploy(workload("c1", "next", 1).env("next-1"));
    bed.deploy(workload("c2", "next", 3).env("next-2"));
    let half = || canary("canary", &[("weight", "50")]);
    bed.ingress(&weigh(half(), "mse", "c1=1 c2=1").exact("/svc1", "next"));
    start(bed, &[("c1", 1), ("c2", 9)], "c1=80 c2=20").await;
    let shares = [(C1, 40.0), (C2, 10.0), ("next-1", 25.0), ("next-2", 25.0)];
    // Which arm is drawn is random.
    bed.shares(2000, &get("/svc1"), &shares, 5.0).await;
    bed.ingress(&half().exact("/svc1", "next"));
    let shares = [(C1, 40.0), (C2, 10.0), ("next-1", 12.5), ("next-2", 37.5)];
    bed.shares(2000, &get("/svc1"), &shares, 5.0).await;
}

/// Three centers in two regions: the own one, the other zone of the region, the other region.
async fn near_members_first(bed: &mut Bed) {
    let mut near = gateway(GATEWAY_NAME, "c3,c2,c1", json!({"ingressClass": "mse"}));
    let plain = near.clone();
    for (key, value) in [("prefer", "zone"), ("region", "r1"), ("zone", "a")] {
        near["metadata"]["annotations"][format!("convoy.dev/{key}")] = value.into();
    }
    for (id, region, zone) in [("c1", "r1", "a"), ("c2", "r1", "b"), ("c3", "r2", "a")] {
        bed.fleet.object(&format!("member-{id}"), &member(id, region, zone));
    }
    bed.deploy_service1(&[("c1", 1), ("c2", 1), ("c3", 2)]);
    bed.ingress(&ingress("web-demo").exact("/svc1", "service1"));
    bed.fleet.object("gateway", &near);
    bed.start().await;
    bed.all(100, &get("/svc1"), C1).await;
    bed.scale("c1", "service1", 0);
    bed.all(100, &get("/svc1"), C2).await;
    bed.scale("c2", "service1", 0);
    bed.all(100, &get("/svc1"), C3).await;
    bed.scale("c2", "service1", 1);
    bed.all(100, &get("/svc1"), C2).await;
    bed.scale("c1", "service1", 1);
    bed.all(100, &get("/svc1"), C1).await;
    // A member moves, and back.
    bed.fleet.object("member-c1", &member("c1", "r2", "a"));
    bed.all(100, &get("/svc1"), C2).await;
    bed.fleet.object("member-c1", &member("c1", "r1", "a"));
    bed.all(100, &get("/svc1"), C1).await;
    // Nobody asks for it any more.
    bed.fleet.object("gateway", &plain);
    let equal = [(C1, 25.0), (C2, 25.0), (C3, 50.0)];
    bed.shares(400, &get("/svc1"), &equal, SCHEDULED).await;
    bed.fleet.object("gateway", &near);
    bed.all(100, &get("/svc1"), C1).await;
    // The API says nothing: only Envoy notices.
    bed.kill("c1");
    bed.all(100, &get("/svc1"), C2).await;
}

/// Where a member is.
fn member(id: &str, region: &str, zone: &str) -> Value {
    json!({
        "apiVersion": "convoy.dev/v1alpha1",
        "kind": "MemberCluster",
        "metadata": {"name": id},
        "spec": {"id": id, "region": region, "zone": zone},
    })
}

/// Annotations with the vendor's prefix for ALBs.
fn alb(ingress: Ingress, annotations: &[(&str, &str)]) -> Ingress {
    annotations.iter().fold(ingress, |ingress, (key, value)| {
        ingress.annotate(&format!("alb.ingress.kubernetes.io/{key}"), value)
    })
}

async fn sessions_stay_at_their_endpoint(bed: &mut Bed) {
    let sticky = alb(ingress("web-demo"), &[("sticky-session", "true")]);
    start_alb(bed, &[("c1", 3), ("c2", 3)], sticky).await;
    bed.settle(10, &get("/svc1"), |replies| replies.codes().only("200")).await;
    let mut pods = BTreeSet::new();
    let mut last = None;
    for _ in 0..20 {
        let reply = bed.http().send(&get("/svc1")).await.unwrap();
        let cookie = reply.header("set-cookie").split(';').next().unwrap().to_owned();
        let pod = reply.echo().unwrap().pod;
        let again = get("/svc1").cookie(&cookie);
        // Each on a connection of its own.
        bed.settle(10, &again, |replies| replies.pods().only(&pod)).await;
        let reply = bed.http().send(&again).await.unwrap();
        assert_eq!(reply.header("set-cookie"), "", "who has a cookie keeps it");
        pods.insert(pod.clone());
        last = Some((again, pod));
    }
    let members: BTreeSet<_> = pods.iter().map(|pod| pod.split('-').nth(1)).collect();
    assert!(pods.len() > 2 && members.len() == 2, "sessions are everywhere: {pods:?}");
    // Its pod is gone: the session goes on elsewhere, and stays there.
    let (again, pod) = last.unwrap();
    let (member, idx) = pod.strip_prefix("service1-").unwrap().split_once('-').unwrap();
    bed.set_pod(member, "service1", idx.parse::<usize>().unwrap() - 1, State::Gone);
    bed.settle(20, &again, |replies| {
        let pods = replies.pods().0;
        pods.len() == 1 && !pods.contains_key(&pod)
    })
    .await;
}

/// What makes a member that hangs be found in two checks.
const CHECKED: [(&str, &str); 5] = [
    ("healthcheck-enabled", "true"),
    ("healthcheck-interval-seconds", "1"),
    ("healthcheck-timeout-seconds", "1"),
    ("healthy-threshold-count", "2"),
    ("unhealthy-threshold-count", "2"),
];

/// The kernel of a stopped process still takes connections, so nothing else notices.
async fn fault_e2_hung_member_is_found_by_health_checks(bed: &mut Bed) {
    // Two checks of a second each, a tenth more than a second apart, and what a busy machine adds.
    const FOUND: Duration = Duration::from_secs(6);
    start_alb(bed, &[("c1", 4), ("c2", 4)], alb(ingress("web-demo"), &CHECKED)).await;
    bed.shares(400, &get("/svc1"), &[(C1, 50.0), (C2, 50.0)], SCHEDULED).await;
    bed.pause("c1");
    let began = std::time::Instant::now();
    let hasty = get("/svc1").patience(Duration::from_millis(300));
    eventually(FOUND, "nobody is sent to the hung member", || async {
        let split = bed.http().hit(40, &hasty).await.envs();
        if split.only(C2) { Ok(()) } else { Err(format!("{:?}", split.0)) }
    })
    .await;
    figure(&format!("no request hangs any more after {:?}", began.elapsed()));
    bed.resume("c1");
    bed.shares(400, &get("/svc1"), &[(C1, 50.0), (C2, 50.0)], SCHEDULED).await;
    // What is not in the assignment is not kept because it answers its checks.
    bed.scale("c1", "service1", 0);
    bed.all(100, &get("/svc1"), C2).await;
}

/// The cluster of a target that is checked is another one, and of no use until a round of checks has
/// ended: routes wait for it.
async fn health_checks_begin_under_load(bed: &mut Bed) {
    start_alb(bed, &[("c1", 3), ("c2", 3)], ingress("web-demo")).await;
    bed.settle(60, &get("/svc1"), |replies| replies.pods().0.len() == 6).await;
    let load = bed.load(&Plan {
        name: "load",
        request: get("/svc1"),
        gets_per_second: 200,
        posts_per_second: 20,
    });
    load.sends(200).await;
    for checks in [&CHECKED[..], &[], &CHECKED] {
        let ingress = alb(ingress("web-demo"), checks);
        bed.ingress(&ingress.class("alb").exact("/svc1", "service1"));
        load.sends(600).await;
    }
    let report = load.stop().await;
    figure(&report.figures());
    assert_eq!(report.lost(), 0, "{:?}", report.failures());
}
