//! The zone disaster recovery guide, replayed step by step with kubectl.
//!
//! Manifests, commands and expected outputs are the guide's; only its placeholders are replaced. Where
//! it fails over, a small load of our own goes on, and loses nothing.

use crate::{
    bed::{
        client::{Request, get},
        fleet::NAMESPACE,
        guide::{CANARY, CLUSTER_GRAY, CLUSTER_ONE, GATEWAY, GATEWAY_NAME, WEB_DEMO},
        load::{Load, Plan},
        netns,
        poll::{SETTLE, eventually},
    },
    harness::{figure, scenario},
    pods::{answer, ready_addresses},
    scene::Scene,
    status::{Watch, remote_clusters},
    workload,
};

scenario! { "guide", &["c1", "c2"];
    guide_0_two_members_are_associated,
    guide_1_the_application_runs_in_both_members,
    guide_2_the_gateway_listens,
    guide_2_the_clusters_were_added,
    guide_3a_nine_to_one,
    guide_3a_the_ingress_has_the_address_of_the_gateway,
    guide_3a_scaled_to_zero,
    guide_3a_canary_version,
    guide_3b_primary_cluster,
    guide_3b_gray_release_by_cluster,
    guide_3b_failover,
}

const C1: &str = "cluster-demo-1";
const C2: &str = "cluster-demo-2";

fn namespaced(words: &str) -> String {
    format!("{words} -n {NAMESPACE}")
}

fn scale(scene: &Scene, member: &str, replicas: usize) -> String {
    let words = format!("scale deployment web-demo --replicas={replicas}");
    scene.world.member(member).cluster.kubectl(&namespaced(&words))
}

/// The application has so many replicas in the first member.
async fn scaled(scene: &Scene, replicas: usize) {
    assert_eq!(scale(scene, "c1", replicas), "deployment.apps/web-demo scaled\n");
    ready_addresses(&scene.world.member("c1").cluster, "service1", replicas).await;
}

fn light_load(scene: &Scene, request: Request) -> Load {
    scene.bed.load(&Plan { name: "load", request, gets_per_second: 100, posts_per_second: 0 })
}

async fn loses_nothing(load: Load) {
    load.sends(100).await;
    let report = load.stop().await;
    figure(&report.figures());
    assert_eq!(report.lost(), 0, "{:?}", report.failures());
}

async fn guide_0_two_members_are_associated(scene: &mut Scene) {
    scene.install(&["c1", "c2"]);
    scene.start_convoy().await;
}

async fn guide_1_the_application_runs_in_both_members(scene: &mut Scene) {
    for name in ["c1", "c2"] {
        let cluster = &scene.world.member(name).cluster;
        let said = cluster.apply(&workload::web_demo(name, 1), "");
        assert_eq!(said, "service/service1 created\ndeployment.apps/web-demo created\n");
        let addresses = ready_addresses(cluster, "service1", 1).await;
        let env = name.replace('c', "cluster-demo-");
        assert_eq!(answer(addresses[0]).await.unwrap(), env);
    }
}

async fn guide_2_the_gateway_listens(scene: &mut Scene) {
    let fleet = &scene.world.fleet;
    let watch = Watch::start(fleet, fleet.dir().join("watch-guide.log"));
    let said = fleet.apply(GATEWAY, "");
    assert_eq!(said, format!("mseingressconfig.mse.alibabacloud.com/{GATEWAY_NAME} created\n"));
    let table = || fleet.kubectl(&format!("get mseingressconfig {GATEWAY_NAME}"));
    let status_is = async |phase: &str| {
        let row = format!("{GATEWAY_NAME}   {phase}   ");
        eventually(SETTLE, phase, || async {
            let table = table();
            let is_there = table.lines().nth(1).is_some_and(|line| line.starts_with(&row));
            if is_there { Ok(table) } else { Err(table) }
        })
        .await
    };
    // No Envoy of it is there yet.
    status_is("Pending").await;
    scene.bed.start_envoy(GATEWAY_NAME).await;
    let table = status_is("Listening").await;
    assert!(table.starts_with("NAME                      STATUS      AGE\n"), "{table}");
    watch.saw_phases_in_order();
    // It is reachable, and routes nothing yet.
    scene.all(1, &get("/"), "404").await;
}

async fn guide_2_the_clusters_were_added(scene: &mut Scene) {
    remote_clusters(&scene.world.fleet, r#"[{"clusterId":"c1"},{"clusterId":"c2"}]"#).await;
}

async fn guide_3a_nine_to_one(scene: &mut Scene) {
    let said = scene.world.fleet.apply(WEB_DEMO, &namespaced(""));
    assert_eq!(said, "ingress.networking.k8s.io/web-demo created\n");
    scaled(scene, 9).await;
    scene.shares(100, &get("/svc1"), &[(C1, 90.0), (C2, 10.0)]).await;
    scene.shares(1000, &get("/svc1"), &[(C1, 90.0), (C2, 10.0)]).await;
}

async fn guide_3a_the_ingress_has_the_address_of_the_gateway(scene: &mut Scene) {
    let words = namespaced("get ingress web-demo -ojsonpath={.status.loadBalancer}");
    eventually(SETTLE, "the Ingress has an address", || async {
        let status = scene.world.fleet.kubectl(&words);
        // Where the requests of all other steps go.
        let expect = format!(r#"{{"ingress":[{{"ip":"{}"}}]}}"#, netns::GATEWAY);
        if status == expect { Ok(()) } else { Err(status) }
    })
    .await;
}

async fn guide_3a_scaled_to_zero(scene: &mut Scene) {
    let load = light_load(scene, get("/svc1"));
    load.sends(50).await;
    scaled(scene, 0).await;
    scene.all(100, &get("/svc1"), C2).await;
    loses_nothing(load).await;
}

async fn guide_3a_canary_version(scene: &mut Scene) {
    let member = &scene.world.member("c1").cluster;
    member.apply(&workload::canary(), "");
    ready_addresses(member, "service1-canary-1", 1).await;
    let said = scene.world.fleet.apply(CANARY, "");
    assert_eq!(said, "ingress.networking.k8s.io/web-demo-canary-1 created\n");
    let chosen = get("/svc1").header("canary-dest", "cluster1");
    scene.all(100, &chosen, "cluster-demo-1-canary").await;
    scene.all(100, &get("/svc1"), C2).await;
}

async fn guide_3b_primary_cluster(scene: &mut Scene) {
    scaled(scene, 1).await;
    let both = format!("{CLUSTER_ONE}---\n{CLUSTER_GRAY}");
    let said = scene.world.fleet.apply(&both, &namespaced(""));
    assert_eq!(
        said,
        "ingress.networking.k8s.io/web-demo-cluster-one created\n\
         ingress.networking.k8s.io/web-demo-cluster-gray created\n"
    );
    scene.all(100, &get("/service1"), C1).await;
}

async fn guide_3b_gray_release_by_cluster(scene: &mut Scene) {
    let gray = get("/service1").header("app-web-demo-version", "gray");
    scene.all(50, &gray, C2).await;
}

async fn guide_3b_failover(scene: &mut Scene) {
    let load = light_load(scene, get("/service1"));
    load.sends(50).await;
    scaled(scene, 0).await;
    scene.all(100, &get("/service1"), C2).await;
    loses_nothing(load).await;
}
