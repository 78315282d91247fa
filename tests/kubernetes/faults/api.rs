//! Faults of API servers: rows A1, A3 to A5, A14 of members, B3 of the fleet.

use std::time::Duration;

use convoy::{rbac::MEMBER_ACCOUNT, resources::defaults::MAX_EJECTION};

use super::{
    PODS, addresses, all_serve, degraded, lasting, metric, outage,
    probe::{Probe, percentile},
    recovered, responses, set_up, shard,
    trial::Trial,
    trouble, within,
};
use crate::{
    audit,
    bed::{
        client::{Replies, get},
        fleet::NAMESPACE,
        guide,
        ingress::ingress,
        netns::Partition,
        poll::{SETTLE, eventually},
    },
    clusters::{pod::Order, proxy::Way},
    harness::scenario,
    paced::is_soak,
    pods::ready_addresses,
    rows::figure,
    scene::Scene,
};

scenario! { "faults-api", MEMBERS;
    three_members_are_served,
    fault_a01_member_api_killed,
    fault_a01_member_api_paused,
    fault_a14_member_api_partitioned,
    fault_a04_member_api_slow,
    fault_a05_member_api_flaps,
    fault_b03_fleet_api_killed,
    fault_a03_member_api_dead_at_start,
}

const MEMBERS: &[&str] = &["c1", "c2", "c3"];

/// Declares c1 with the Secret that `convoy member add` wrote.
const MEMBER_CLUSTER: &str = "\
apiVersion: convoy.dev/v1alpha1
kind: MemberCluster
metadata: {name: first}
spec:
  id: c1
  secretRef: {namespace: convoy-system, name: convoy-member-c1, key: c1}
";

/// Writes of the probe: enough to see a stall.
const WRITES: usize = 30;

/// How soon nine of ten are served; the table has a quieter machine, and asks it of ninety-nine.
const SOON: Duration = Duration::from_secs(1);

/// A cycle of 5 s down and 5 s up goes on for ten minutes in the table, which allows 40 lists.
const LISTS_IN_60_CYCLES: usize = 40;

async fn three_members_are_served(scene: &mut Scene) {
    set_up(scene, MEMBERS).await;
    // From now on a `MemberCluster` declares it, whose status says what its registration cannot.
    scene.world.fleet.apply(MEMBER_CLUSTER, "");
    synced(scene, "True").await;
    scene.start_envoy().await;
    all_serve(scene, MEMBERS).await;
}

async fn fault_a01_member_api_killed(scene: &mut Scene) {
    let mut probe = Probe::place(scene, "c2").await;
    let trial = Trial::begin(scene, &["c1", "c3"]).await;
    scene.world.member_mut("c1").cluster.api.kill();
    let took = degraded(scene, "c1", "Unreachable", within(80)).await;
    figure(&format!("said to be unreachable after {took:?}"));
    synced(scene, "FalseUnreachable").await;
    changes_are_served(&mut probe).await;
    // Now its pods die too, and nobody is left who could say so.
    let kubelet = &scene.world.member("c1").kubelet;
    assert_eq!(kubelet.order("web-demo", Order::Kill).await, PODS);
    trial.goes_on(scene, outage()).await;
    kubelet.order("web-demo", Order::Revive).await;
    trial.end(scene).await;
    scene.world.member_mut("c1").cluster.restart_api().await;
    let took = recovered(scene, "c1", within(35)).await;
    figure(&format!("read again {took:?} after it was ready"));
    synced(scene, "True").await;
    eventually(MAX_EJECTION + SETTLE, "the pods that came back serve", || async {
        let envs = scene.bed.http().hit(30, &get("/svc1")).await.envs();
        if envs.0.len() == MEMBERS.len() { Ok(()) } else { Err(format!("{envs:?}")) }
    })
    .await;
}

/// The condition `Synced` of [`MEMBER_CLUSTER`].
async fn synced(scene: &Scene, expect: &str) {
    let condition = ".status.conditions[?(@.type==\"Synced\")]";
    let words =
        format!("get membercluster first -ojsonpath={{{condition}.status}}{{{condition}.reason}}");
    eventually(SETTLE, "the MemberCluster has the condition", || async {
        let said = scene.world.fleet.kubectl(&words);
        if said.starts_with(expect) { Ok(()) } else { Err(said) }
    })
    .await;
}

/// Whatever is broken elsewhere.
async fn changes_are_served(probe: &mut Probe) {
    let times = probe.times(WRITES).await;
    let [p50, p90, p99] = [50, 90, 99].map(|percent| percentile(&times, percent));
    figure(&format!(
        "changes in another member are served in {p50:.0?}, p90 {p90:.0?}, p99 {p99:.0?}"
    ));
    assert!(p90 <= SOON, "{times:?}");
}

async fn fault_a01_member_api_paused(scene: &mut Scene) {
    let trial = Trial::begin(scene, MEMBERS).await;
    scene.world.member("c1").cluster.api.pause();
    let took = degraded(scene, "c1", "Unreachable", within(80)).await;
    figure(&format!("said to be unreachable after {took:?}"));
    trial.goes_on(scene, outage()).await;
    scene.world.member("c1").cluster.api.resume();
    let took = recovered(scene, "c1", within(35)).await;
    figure(&format!("read again after {took:?}"));
    trial.end(scene).await;
}

/// Packets vanish, of open connections too, and no end of a connection is ever heard of.
async fn fault_a14_member_api_partitioned(scene: &mut Scene) {
    let trial = Trial::begin(scene, MEMBERS).await;
    let address = scene.world.member("c1").proxy.address;
    let partition = Partition::cut(&format!("{}/32", address.ip()), address).await;
    let took = degraded(scene, "c1", "Unreachable", within(76)).await;
    figure(&format!("said to be unreachable after {took:?}"));
    trial.goes_on(scene, outage()).await;
    drop(partition);
    let took = recovered(scene, "c1", within(10)).await;
    figure(&format!("read again {took:?} after the partition"));
    trial.end(scene).await;
    // What happens there now is seen, over a connection that is not dead.
    scale(scene, "c1", PODS + 1).await;
    scale(scene, "c1", PODS).await;
}

/// A list takes longer than anybody waits.
async fn fault_a04_member_api_slow(scene: &mut Scene) {
    let mut probe = Probe::place(scene, "c2").await;
    let trial = Trial::begin(scene, &["c1", "c3"]).await;
    let before = percentile(&probe.times(WRITES).await, 99);
    let proxy = &scene.world.member("c1").proxy;
    proxy.set(Way::Slow(lasting(40)));
    let during = percentile(&probe.times(WRITES).await, 99);
    degraded(scene, "c1", "Unreachable", within(80)).await;
    let after = percentile(&probe.times(WRITES).await, 99);
    figure(&format!("a change in c2 is served in {before:?}, {during:?}, {after:?} (p99)"));
    // A tenth, as far as it can be told from the noise of a busy machine: a stall takes seconds.
    let allowed = before.mul_f64(1.1) + Duration::from_millis(100);
    assert!(during <= allowed && after <= allowed);
    scene.world.member("c1").proxy.set(Way::Open);
    recovered(scene, "c1", within(35)).await;
    trial.end(scene).await;
}

async fn fault_a05_member_api_flaps(scene: &mut Scene) {
    let cycles = if is_soak() { 60 } else { 20 };
    let trial = Trial::begin(scene, MEMBERS).await;
    let cluster = &scene.world.member("c1").cluster;
    let asked = |verb: &str| {
        let asked = audit::requests(cluster, MEMBER_ACCOUNT);
        asked.iter().filter(|request| request.verb == verb).count()
    };
    let (lists_before, watches_before) = (asked("list"), asked("watch"));
    let events_before = events(scene);
    let responses_before = responses(&scene.replicas[0]).await;
    for _ in 0..cycles {
        for way in [Way::Closed, Way::Open] {
            scene.world.member("c1").proxy.set(way);
            trial.goes_on(scene, lasting(5)).await;
        }
    }
    recovered(scene, "c1", within(35)).await;
    let (lists, watches) = (asked("list") - lists_before, asked("watch") - watches_before);
    let events = events(scene) - events_before;
    figure(&format!("{cycles} cycles: {watches} watches, {lists} lists, {events} Events"));
    // Both kinds were watched again and again.
    assert!(watches >= cycles, "{watches} watches");
    assert_eq!(responses(&scene.replicas[0]).await, responses_before);
    assert!(lists <= cycles * LISTS_IN_60_CYCLES / 60, "{lists} lists");
    assert!(events <= 3, "{events} Events");
    trial.end(scene).await;
}

fn events(scene: &Scene) -> usize {
    let events = scene.world.fleet.kubectl("get events.events.k8s.io -A --no-headers");
    events.lines().count()
}

async fn fault_b03_fleet_api_killed(scene: &mut Scene) {
    let mut probe = Probe::place(scene, "c2").await;
    let trial = Trial::begin(scene, &["c3"]).await;
    scene.world.fleet.api.kill();
    eventually(within(80), "Convoy says that the fleet is not read", || async {
        let said = trouble(scene, "fleet").await?;
        said.filter(|said| said.starts_with("Unreachable")).map(drop).ok_or("ready".to_owned())
    })
    .await;
    scale(scene, "c1", PODS + 1).await;
    changes_are_served(&mut probe).await;
    trial.goes_on(scene, outage()).await;
    trial.end(scene).await;
    scene.world.fleet.restart_api().await;
    let route = ingress("after").exact("/after", "service1").manifest();
    scene.world.fleet.apply(&route.to_string(), "");
    eventually(within(35), "the fleet is read again", || async {
        let replies = scene.bed.http().hit(1, &get("/after")).await;
        if replies.codes().only("200") { Ok(()) } else { Err(format!("{:?}", replies.codes())) }
    })
    .await;
    eventually(SETTLE, "and Convoy says so", || async {
        trouble(scene, "fleet").await?.map_or(Ok(()), Err)
    })
    .await;
    scale(scene, "c1", PODS).await;
}

/// `kubectl scale`, and Envoy has so many pods of the member.
async fn scale(scene: &Scene, member: &str, replicas: usize) {
    let cluster = &scene.world.member(member).cluster;
    cluster.kubectl(&format!("scale deployment web-demo --replicas={replicas} -n {NAMESPACE}"));
    ready_addresses(cluster, "service1", replicas).await;
    eventually(SETTLE, "Envoy has the pods", || async {
        let shard = shard(scene, member).await;
        if addresses(&shard).count() == replicas { Ok(()) } else { Err(format!("{shard:?}")) }
    })
    .await;
}

async fn fault_a03_member_api_dead_at_start(scene: &mut Scene) {
    let trial = Trial::begin(scene, MEMBERS).await;
    scene.world.member_mut("c3").cluster.api.kill();
    scene.replicas[0].process.restart();
    let (_second, client) = scene.bed.start_second_envoy(guide::GATEWAY_NAME);
    let envs = |replies: &Replies| replies.envs().0.into_keys().collect::<Vec<_>>();
    let without = ["cluster-demo-1", "cluster-demo-2"];
    let request = get("/svc1");
    eventually(within(30) + SETTLE, "a fresh Envoy serves without the dead member", || async {
        let seen = envs(&client.hit(30, &request).await);
        if seen == without { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
    degraded(scene, "c3", "Unreachable", within(30)).await;
    scene.replicas[0].ready().await;
    eventually(SETTLE, "both Envoys are connected", || async {
        let n = metric(&scene.replicas[0], "convoy_xds_envoys", guide::GATEWAY_NAME).await?;
        if n == 2 { Ok(()) } else { Err(n.to_string()) }
    })
    .await;
    trial.goes_on(scene, outage()).await;
    // The one that knew the dead member has its endpoints still, and was told nothing.
    trial.end(scene).await;
    scene.world.member_mut("c3").cluster.restart_api().await;
    recovered(scene, "c3", within(35)).await;
    eventually(SETTLE, "the member has joined", || async {
        let seen = envs(&client.hit(30, &request).await);
        if seen.len() == MEMBERS.len() { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
    all_serve(scene, MEMBERS).await;
}
