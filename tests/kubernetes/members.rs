//! Rows 31 to 35, 38, 56, 191 and 192: a member's API is out of reach, the control plane dies,
//! credentials change, pods die.
//!
//! Whoever is to lose the API of a member is Convoy alone: each member is declared at its proxy. Timers
//! of Convoy are scaled down, so that a row sees a member go stale and come back.

use std::collections::BTreeSet;

use convoy::settings::{SourceTimings, Timings};

use crate::{
    bed::{
        client::get,
        guide::{GATEWAY, GATEWAY_NAME, WEB_DEMO},
        load::{Load, Plan},
        poll::{SETTLE, eventually},
    },
    clusters::proxy::Way,
    harness::steps,
    rows::{
        balance::{C1, C2, SCHEDULED, endpoints_at, start_web_demo},
        failover::{
            self, Route, as_in_the_guide, lose_nothing_when_killed, lose_nothing_when_partitioned,
        },
    },
    scene::Scene,
    status::{remote_clusters, shows_that, the_gateway},
};

steps! {
    row_031_member_api_unreachable,
    row_032_dead_member_killed,
    row_032_dead_member_partitioned,
    row_033_member_api_restored,
    row_034_control_plane_killed,
    row_035_control_plane_restarted_without_a_member,
    row_038_kubeconfig_rotated,
    row_056_row_191_first_member_killed,
    row_056_row_192_first_member_partitioned,
    row_191_second_member_killed,
}

/// 9 pods in the first member, 1 in the second.
const NINE_TO_ONE: [(&str, f64); 2] = [(C1, 90.0), (C2, 10.0)];
const HALF_AND_HALF: [(&str, f64); 2] = [(C1, 50.0), (C2, 50.0)];

const BOTH_HEALTHY: &str = r#"[{"clusterId":"c1"},{"clusterId":"c2"}]"#;

/// Production's, faster: a member without contact is stale after 3.75 s, and nobody waits for one that
/// was never read for more than 1.5 s.
fn timings() -> Timings {
    Timings { source: SourceTimings::PRODUCTION.faster(20), ..Timings::PRODUCTION }
}

fn light_load(scene: &Scene) -> Load {
    let request = get("/svc1");
    scene.bed.load(&Plan { name: "load", request, gets_per_second: 100, posts_per_second: 0 })
}

async fn loses_nothing(load: Load) {
    load.sends(50).await;
    let report = load.stop().await;
    assert_eq!(report.lost(), 0, "{:?}", report.failures());
}

/// Convoy loses the API of a member, and says so.
async fn cut(scene: &Scene, member: &str) {
    scene.world.member(member).proxy.set(Way::Closed);
    failed(scene, member, "Unreachable").await;
}

/// The gateway's status says why a member is not read.
async fn failed(scene: &Scene, member: &str, reason: &str) {
    let path = format!(".status.remoteClusters[?(@.clusterId==\"{member}\")]");
    let expect = format!(r#""message":"{reason}: "#);
    let fleet = &scene.world.fleet;
    let says = |said: &str| said.contains(r#""status":"Failed""#) && said.contains(&expect);
    shows_that(fleet, &the_gateway(), &path, says).await;
}

/// The API is back.
async fn mend(scene: &Scene, member: &str) {
    scene.world.member(member).proxy.set(Way::Open);
    remote_clusters(&scene.world.fleet, BOTH_HEALTHY).await;
}

async fn row_031_member_api_unreachable(scene: &mut Scene) {
    scene.bed.timings = timings();
    start_web_demo(&mut scene.bed, &[("c1", 9), ("c2", 1)]).await;
    scene.bed.shares(1000, &get("/svc1"), &NINE_TO_ONE, SCHEDULED).await;
    let load = light_load(scene);
    cut(scene, "c1").await;
    // The other member's news arrive meanwhile.
    scene.bed.scale("c2", "service1", 9);
    scene.bed.shares(900, &get("/svc1"), &HALF_AND_HALF, SCHEDULED).await;
    scene.bed.scale("c2", "service1", 1);
    scene.bed.shares(1000, &get("/svc1"), &NINE_TO_ONE, SCHEDULED).await;
    loses_nothing(load).await;
    mend(scene, "c1").await;
}

/// The guide's routes while Convoy cannot read the first member.
async fn start_without_api(scene: &mut Scene) {
    scene.bed.timings = timings();
    failover::start(&mut scene.bed, as_in_the_guide).await;
    cut(scene, "c1").await;
}

async fn row_032_dead_member_killed(scene: &mut Scene) {
    start_without_api(scene).await;
    lose_nothing_when_killed(&mut scene.bed, "c1", &[Route::ActiveActive]).await;
    mend(scene, "c1").await;
}

async fn row_032_dead_member_partitioned(scene: &mut Scene) {
    start_without_api(scene).await;
    lose_nothing_when_partitioned(&mut scene.bed, &[Route::ActiveActive]).await;
    mend(scene, "c1").await;
}

async fn row_033_member_api_restored(scene: &mut Scene) {
    scene.bed.timings = timings();
    start_web_demo(&mut scene.bed, &[("c1", 9), ("c2", 1)]).await;
    scene.bed.shares(1000, &get("/svc1"), &NINE_TO_ONE, SCHEDULED).await;
    cut(scene, "c1").await;
    // Pods that have left the slice run on: who does not know goes on sending there.
    scene.bed.scale("c1", "service1", 1);
    scene.bed.shares(1000, &get("/svc1"), &NINE_TO_ONE, SCHEDULED).await;
    mend(scene, "c1").await;
    scene.bed.shares(1000, &get("/svc1"), &HALF_AND_HALF, SCHEDULED).await;
    let address = scene.bed.running("c1", "service1").0.address(0).ip().to_string();
    let counts = endpoints_at(&scene.bed.envoy().config_dump().await, &address);
    assert!(!counts.is_empty() && counts.iter().all(|n| *n == 1), "{counts:?}");
}

/// The control plane is a process here, as an operator runs it, and is killed as one.
async fn row_034_control_plane_killed(scene: &mut Scene) {
    scene.bed.deploy_service1(&[("c1", 9), ("c2", 1)]);
    scene.bed.fleet.apply("web-demo", WEB_DEMO);
    scene.bed.fleet.apply("gateway", GATEWAY);
    scene.start_convoy().await;
    scene.bed.start_envoy(GATEWAY_NAME).await;
    scene.bed.shares(1000, &get("/svc1"), &NINE_TO_ONE, SCHEDULED).await;
    let load = light_load(scene);
    scene.replicas[0].process.kill();
    load.sends(100).await;
    scene.bed.kill("c1");
    load.sends(300).await;
    scene.bed.all(100, &get("/svc1"), C2).await;
    loses_nothing(load).await;
}

async fn row_035_control_plane_restarted_without_a_member(scene: &mut Scene) {
    scene.bed.timings = timings();
    start_web_demo(&mut scene.bed, &[("c1", 1), ("c2", 1)]).await;
    scene.bed.shares(200, &get("/svc1"), &HALF_AND_HALF, SCHEDULED).await;
    let load = light_load(scene);
    scene.bed.stop_convoy().await;
    scene.world.member("c2").proxy.set(Way::Closed);
    scene.bed.start_convoy().await;
    let (mut fresh, client) = scene.bed.start_second_envoy(GATEWAY_NAME);
    // One that has nothing is served without the second member when the time is up.
    scene.bed.settle_over(&client, 20, &get("/svc1"), |replies| replies.envs().only(C1)).await;
    // It answers with a reset, so there is more to say than `SyncTimeout` (semantics.md 5.6).
    failed(scene, "c2", "Unreachable").await;
    // One that has something keeps it.
    scene.bed.shares(200, &get("/svc1"), &HALF_AND_HALF, SCHEDULED).await;
    mend(scene, "c2").await;
    scene
        .bed
        .settle_over(&client, 200, &get("/svc1"), |replies| {
            replies.envs().shares(&HALF_AND_HALF, SCHEDULED)
        })
        .await;
    loses_nothing(load).await;
    fresh.kill();
}

/// With which tokens Convoy has come to the API of a member.
fn tokens(scene: &Scene, member: &str) -> BTreeSet<String> {
    let log = scene.world.member(member).cluster.audit_log();
    let ours = log.iter().filter(|entry| {
        let who = entry["user"]["username"].as_str().unwrap_or_default();
        who == "system:serviceaccount:convoy-system:convoy-member"
    });
    ours.map(|entry| {
        entry["user"]["extra"]["authentication.kubernetes.io/credential-id"].to_string()
    })
    .collect()
}

async fn row_038_kubeconfig_rotated(scene: &mut Scene) {
    start_web_demo(&mut scene.bed, &[("c1", 2), ("c2", 2)]).await;
    scene.bed.shares(200, &get("/svc1"), &HALF_AND_HALF, SCHEDULED).await;
    remote_clusters(&scene.world.fleet, BOTH_HEALTHY).await;
    let load = light_load(scene);
    let (known, revision) = (tokens(scene, "c1"), scene.bed.revision());
    scene.install_proxied(&["c1"]);
    eventually(SETTLE, "Convoy comes with the new token", || async {
        let now = tokens(scene, "c1");
        if now.is_subset(&known) { Err(format!("{now:?}")) } else { Ok(()) }
    })
    .await;
    // Nothing that an Envoy is told has changed; what the new client reads does arrive.
    assert_eq!(scene.bed.revision(), revision);
    scene.bed.scale("c1", "service1", 6);
    scene.bed.shares(400, &get("/svc1"), &[(C1, 75.0), (C2, 25.0)], SCHEDULED).await;
    remote_clusters(&scene.world.fleet, BOTH_HEALTHY).await;
    loses_nothing(load).await;
}

/// One fault for all that it is to show: steps are played one by one, and a fault lasts 18 s.
const BOTH_PATTERNS: [Route; 2] = [Route::ActiveActive, Route::PrimarySecondary];

async fn row_056_row_191_first_member_killed(scene: &mut Scene) {
    failover::killed(&mut scene.bed, "c1", &BOTH_PATTERNS).await;
}

async fn row_056_row_192_first_member_partitioned(scene: &mut Scene) {
    failover::partitioned(&mut scene.bed, &BOTH_PATTERNS).await;
}

async fn row_191_second_member_killed(scene: &mut Scene) {
    failover::killed(&mut scene.bed, "c2", &[Route::ActiveActive]).await;
}
