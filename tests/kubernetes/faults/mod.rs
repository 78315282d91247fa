//! Rows of the fault matrix (faults.md 2 and 3) that are about API servers, credentials and replicas.
//!
//! Owns how a gateway in front of some members comes about, and how a row looks at it. Times of the
//! table are divided by [`pace`], and what is broken stays so for an [`outage`]; `make soak` plays all
//! at full length.

mod api;
mod credentials;
mod figures;
mod probe;
mod replicas;
mod trial;

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{
    bed::{
        client::get,
        fleet::NAMESPACE,
        guide,
        poll::{SETTLE, eventually},
    },
    harness::Scenario,
    paced::{is_soak, pace},
    pods::ready_addresses,
    replica::Replica,
    scene::Scene,
    workload,
};

/// All of them.
pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![api::SCENARIO, credentials::SCENARIO, replicas::SCENARIO, figures::SCENARIO]
}

/// What does not shrink with the timers takes this much longer than they, on a machine that also runs
/// four clusters.
const SLACK: u32 = 5;

/// What `/svc1` leads to.
const BACKEND: &str = "gateway-demo/service1:80";

/// Pods of each member.
const PODS: usize = 2;

/// A time that a pass line allows, in seconds of production.
fn within(seconds: u64) -> Duration {
    let slack = if is_soak() { 1 } else { SLACK };
    Duration::from_secs(seconds) * slack / pace()
}

/// A time that passes, in seconds of production.
fn lasting(seconds: u64) -> Duration {
    Duration::from_secs(seconds) / pace()
}

/// How long a fault goes on once it is noticed.
fn outage() -> Duration {
    if is_soak() { Duration::from_secs(600) } else { Duration::from_secs(3) }
}

/// Where Convoy reaches the API of a member: at its proxy.
fn proxied(scene: &Scene, member: &str) -> String {
    format!("https://{}", scene.world.member(member).proxy.address)
}

/// The guide's gateway serves `/svc1` from the pods of these members.
async fn set_up(scene: &mut Scene, members: &[&str]) {
    for name in members {
        scene.declare_at(name, &proxied(scene, name));
        scene.world.member(name).cluster.apply(&workload::web_demo(name, PODS), "");
    }
    let fleet = &scene.world.fleet;
    fleet.apply(&guide::GATEWAY.replace("c1,c2", &members.join(",")), "");
    fleet.apply(guide::WEB_DEMO, &format!("-n {NAMESPACE}"));
    scene.start_paced_convoy().await;
    for name in members {
        ready_addresses(&scene.world.member(name).cluster, "service1", PODS).await;
    }
}

/// An Envoy of the gateway has the pods of all of these members.
async fn all_serve(scene: &Scene, members: &[&str]) {
    for name in members {
        eventually(SETTLE, "Envoy has the pods of the member", || async {
            let shard = shard(scene, name).await;
            if addresses(&shard).count() >= PODS { Ok(()) } else { Err(format!("{shard:?}")) }
        })
        .await;
    }
    let envs = members.len();
    scene.bed.settle(30, &get("/svc1"), |replies| replies.envs().0.len() == envs).await;
}

/// The workload of a member as Envoy has it: of each assignment of [`BACKEND`] the name, and what it
/// says of that member. In order.
async fn shard(scene: &Scene, member: &str) -> Vec<String> {
    let dump = scene.bed.envoy().config_dump().await;
    let dumps = list(&dump["configs"]);
    let assignments = dumps.flat_map(|dump| list(&dump["dynamic_endpoint_configs"]));
    let localities = assignments.flat_map(|assignment| {
        let assignment = &assignment["endpoint_config"];
        let name = assignment["cluster_name"].as_str().unwrap_or_default();
        list(&assignment["endpoints"]).map(move |locality| (name, locality))
    });
    let own = localities.filter(|(name, locality)| {
        name.starts_with(BACKEND) && locality["locality"]["sub_zone"] == member
    });
    let mut shard: Vec<_> = own.map(|(name, locality)| text(name, locality)).collect();
    shard.sort_unstable();
    shard
}

/// `assignment priority weight address,address`: nothing that Envoy found out by itself. In the
/// assignment for retries a member's priority depends on which others there are.
fn text(assignment: &str, locality: &Value) -> String {
    let endpoints = list(&locality["lb_endpoints"]).map(|endpoint| {
        let at = &endpoint["endpoint"]["address"]["socket_address"];
        format!("{}:{}", at["address"].as_str().unwrap_or_default(), at["port_value"])
    });
    let endpoints = endpoints.collect::<Vec<_>>().join(",");
    let priority = if assignment == BACKEND { &locality["priority"] } else { &Value::Null };
    format!("{assignment} {priority} {} {endpoints}", locality["load_balancing_weight"])
}

/// Addresses in the first assignment of a [`shard`]; the others have the same.
fn addresses(shard: &[String]) -> impl Iterator<Item = &str> {
    let lines = shard.first().into_iter();
    lines.flat_map(|line| line.rsplit(' ').next().unwrap_or_default().split(','))
}

/// The elements; none of what is absent.
fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The sum of a metric of a replica over the lines that hold `label`.
async fn metric(replica: &Replica, name: &str, label: &str) -> Result<u64, String> {
    let text = replica.admin("/metrics").await?;
    let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
    Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64)
}

/// Responses that a replica has sent to Envoys since it started.
async fn responses(replica: &Replica) -> u64 {
    metric(replica, "convoy_xds_responses_total", "").await.unwrap()
}

/// Why the first replica does not read a cluster, if it does not: `member c1`, `fleet`.
async fn trouble(scene: &Scene, cluster: &str) -> Result<Option<String>, String> {
    let text = scene.replicas[0].admin("/readyz").await?;
    let prefix = format!("degraded, {cluster}: ");
    Ok(text.lines().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned))
}

/// What the gateway's status says of a member.
fn status(scene: &Scene, member: &str) -> String {
    let path = format!("{{.status.remoteClusters[?(@.clusterId==\"{member}\")]}}");
    let name = guide::GATEWAY_NAME;
    let fleet = &scene.world.fleet;
    fleet
        .try_kubectl(&format!("get mseingressconfig {name} -ojsonpath={path}"), "")
        .unwrap_or_else(|e| e)
}

/// Returns, with how long it took, when a replica and the gateway's status say why a member is not
/// read: the word that begins the reason.
async fn degraded(scene: &Scene, member: &str, reason: &str, limit: Duration) -> Duration {
    let start = Instant::now();
    let cluster = format!("member {member}");
    eventually(limit, "Convoy says why the member is not read", || async {
        match trouble(scene, &cluster).await? {
            Some(said) if said.starts_with(reason) => Ok(()),
            said => Err(format!("{said:?}")),
        }
    })
    .await;
    let took = start.elapsed();
    eventually(SETTLE, "the gateway's status says so too", || async {
        let status = status(scene, member);
        let is_said = status.contains("Failed") && status.contains(reason);
        if is_said { Ok(()) } else { Err(status) }
    })
    .await;
    took
}

/// Returns, with how long it took, when a member is read again.
async fn recovered(scene: &Scene, member: &str, limit: Duration) -> Duration {
    let start = Instant::now();
    let cluster = format!("member {member}");
    eventually(limit, "the member is read again", || async {
        trouble(scene, &cluster).await?.map_or(Ok(()), Err)
    })
    .await;
    let took = start.elapsed();
    eventually(SETTLE, "the gateway's status says so too", || async {
        let status = status(scene, member);
        if status == format!("{{\"clusterId\":\"{member}\"}}") { Ok(()) } else { Err(status) }
    })
    .await;
    took
}
