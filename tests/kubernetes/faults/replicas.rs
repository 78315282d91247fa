//! Faults of replicas: rows C1 and C4.
//!
//! Two Convoys serve; an Envoy reaches them at one address, as behind a Service, and a connection goes
//! to the first that takes it.

use std::net::SocketAddr;

use convoy::rbac::FLEET_ACCOUNT;
use serde_json::Value;

use super::{
    all_serve, metric, outage,
    probe::{Probe, percentile},
    responses, set_up,
    trial::Trial,
    within,
};
use crate::{
    audit,
    bed::{
        convoy::bootstrap,
        fleet::NAMESPACE,
        guide,
        ingress::ingress,
        netns::{CONTROL_PLANE, GATEWAY},
        poll::{SETTLE, eventually},
    },
    clusters::proxy::Proxy,
    harness::scenario,
    paced::is_soak,
    replica::Replica,
    rows::figure,
    scene::Scene,
    table::VARIANT,
};

scenario! { "faults-replicas", MEMBERS;
    two_convoys_serve_two_members,
    fault_c01_a_replica_is_killed,
    fault_c01_replicas_are_killed_again_and_again,
    fault_c04_the_holder_of_the_lease_is_killed,
    fault_c04_two_replicas_believe_to_hold_the_lease,
}

const MEMBERS: &[&str] = &["c1", "c2"];

/// Of the Service in front of the replicas.
const VIRTUAL_ADDRESS: [u8; 4] = [10, 0, 0, 99];

async fn two_convoys_serve_two_members(scene: &mut Scene) {
    set_up(scene, MEMBERS).await;
    scene.start_paced_convoy().await;
}

/// Starts an Envoy that reaches the replicas through a proxy, on a port of the test's own.
async fn start_envoy(scene: &mut Scene, port: u16) -> Proxy {
    let address = SocketAddr::from((VIRTUAL_ADDRESS, port));
    let replicas = scene.replicas.iter().map(|replica| replica.xds).collect();
    let service = Proxy::start(address, replicas).await;
    let text = bootstrap(guide::GATEWAY_NAME, "first", VARIANT);
    let text = text.replace(&CONTROL_PLANE.ip().to_string(), &address.ip().to_string());
    let text = text.replace(&CONTROL_PLANE.port().to_string(), &address.port().to_string());
    scene.bed.start_envoy_from(&text).await;
    all_serve(scene, MEMBERS).await;
    service
}

/// Which replica the Envoy is connected to.
async fn serving(scene: &Scene) -> Result<usize, String> {
    for (idx, replica) in scene.replicas.iter().enumerate() {
        // One that is dead has none.
        if metric(replica, "convoy_xds_envoys", guide::GATEWAY_NAME).await.unwrap_or(0) > 0 {
            return Ok(idx);
        }
    }
    Err("none".to_owned())
}

/// Which replica writes status; exactly one does.
async fn holder(scene: &Scene) -> Result<usize, String> {
    let mut holders = Vec::new();
    for (idx, replica) in scene.replicas.iter().enumerate() {
        if metric(replica, "convoy_status_holder", "").await.unwrap_or(0) > 0 {
            holders.push(idx);
        }
    }
    if let [own] = holders[..] { Ok(own) } else { Err(format!("{holders:?}")) }
}

/// All that the Envoy was told, with the times at which it was.
async fn told(scene: &Scene) -> Value {
    scene.bed.envoy().config_dump().await
}

async fn fault_c01_a_replica_is_killed(scene: &mut Scene) {
    let _service = start_envoy(scene, 18010).await;
    let trial = Trial::begin(scene, MEMBERS).await;
    let first = eventually(SETTLE, "the Envoy is connected", || serving(scene)).await;
    let before = told(scene).await;
    scene.replicas[first].process.kill();
    let other = eventually(SETTLE, "the Envoy goes to the other replica", || async {
        let idx = serving(scene).await?;
        if idx == first { Err("it is with the first".to_owned()) } else { Ok(idx) }
    })
    .await;
    trial.goes_on(scene, outage()).await;
    // It said what it has, and was told nothing.
    assert_eq!(responses(&scene.replicas[other]).await, 0);
    assert_eq!(told(scene).await, before);
    // Status goes on, whoever wrote it before.
    status_is_written(scene, "after-a-kill").await;
    trial.end(scene).await;
    restart(&mut scene.replicas[first]).await;
}

async fn restart(replica: &mut Replica) {
    replica.process.restart();
    replica.ready().await;
}

/// A new Ingress gets its address.
async fn status_is_written(scene: &Scene, name: &str) {
    let route = ingress(name).exact(&format!("/{name}"), "service1").manifest();
    scene.world.fleet.apply(&route.to_string(), "");
    let words = format!("get ingress {name} -n {NAMESPACE} -ojsonpath={{.status.loadBalancer}}");
    let expect = format!(r#"{{"ingress":[{{"ip":"{GATEWAY}"}}]}}"#);
    eventually(within(15) + SETTLE, "the Ingress has an address", || async {
        let status = scene.world.fleet.kubectl(&words);
        if status == expect { Ok(()) } else { Err(status) }
    })
    .await;
}

async fn fault_c01_replicas_are_killed_again_and_again(scene: &mut Scene) {
    let _service = start_envoy(scene, 18011).await;
    let mut probe = Probe::place(scene, "c2").await;
    let trial = Trial::begin(scene, MEMBERS).await;
    let kills = if is_soak() { 60 } else { 6 };
    let mut times = Vec::new();
    for _ in 0..kills {
        let victim = eventually(SETTLE, "the Envoy is connected", || serving(scene)).await;
        scene.replicas[victim].process.kill();
        times.extend(probe.times(1).await);
        restart(&mut scene.replicas[victim]).await;
    }
    times.sort_unstable();
    figure(&format!(
        "{kills} kills; a change just after is served in {:?}",
        percentile(&times, 50)
    ));
    trial.end(scene).await;
}

async fn fault_c04_the_holder_of_the_lease_is_killed(scene: &mut Scene) {
    let first = eventually(SETTLE, "one replica holds the lease", || holder(scene)).await;
    scene.replicas[first].process.kill();
    status_is_written(scene, "after-the-holder").await;
    let second = eventually(SETTLE, "one replica holds the lease", || holder(scene)).await;
    assert_ne!(first, second);
    restart(&mut scene.replicas[first]).await;
    // Who comes back does not take it.
    assert_eq!(eventually(SETTLE, "one holds the lease", || holder(scene)).await, second);
}

/// One sleeps past the end of its lease and does not know it.
async fn fault_c04_two_replicas_believe_to_hold_the_lease(scene: &mut Scene) {
    let first = eventually(SETTLE, "one replica holds the lease", || holder(scene)).await;
    scene.replicas[first].process.pause();
    eventually(within(15) + SETTLE, "the other takes the lease", || async {
        let other = &scene.replicas[1 - first];
        let is_holder = metric(other, "convoy_status_holder", "").await?;
        if is_holder == 1 { Ok(()) } else { Err("it does not".to_owned()) }
    })
    .await;
    scene.replicas[first].process.resume();
    status_is_written(scene, "between-two").await;
    assert_eq!(
        eventually(SETTLE, "one replica holds the lease", || holder(scene)).await,
        1 - first
    );
    let asked = audit::requests(&scene.world.fleet, FLEET_ACCOUNT);
    let writes = asked
        .iter()
        .filter(|request| request.resource == "ingresses/status" && request.name == "between-two");
    assert_eq!(writes.count(), 1);
}
