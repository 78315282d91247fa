//! The zone disaster recovery guide, replayed step by step with kubectl.

use std::collections::BTreeSet;

use crate::{
    bed::{
        client::get,
        fleet::NAMESPACE,
        guide::{CANARY, CLUSTER_GRAY, CLUSTER_ONE, GATEWAY, GATEWAY_NAME, WEB_DEMO},
        netns,
        poll::{SETTLE, eventually},
    },
    harness::scenario,
    pods::{answer, ready_addresses},
    scene::Scene,
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

fn namespaced(words: &str) -> String {
    format!("{words} -n {NAMESPACE}")
}

fn scale(scene: &Scene, member: &str, replicas: usize) {
    let words = format!("scale deployment web-demo --replicas={replicas}");
    scene.world.member(member).cluster.kubectl(&namespaced(&words));
}

async fn guide_0_two_members_are_associated(scene: &mut Scene) {
    scene.install(&["c1", "c2"]);
    scene.start_convoy().await;
}

async fn guide_1_the_application_runs_in_both_members(scene: &mut Scene) {
    for name in ["c1", "c2"] {
        let cluster = &scene.world.member(name).cluster;
        cluster.apply(&workload::web_demo(name, 1), "");
        let addresses = ready_addresses(cluster, "service1", 1).await;
        let env = name.replace('c', "cluster-demo-");
        assert_eq!(answer(addresses[0]).await.unwrap(), env);
    }
}

async fn guide_2_the_gateway_listens(scene: &mut Scene) {
    let said = scene.world.fleet.apply(GATEWAY, "");
    assert_eq!(said, format!("mseingressconfig.mse.alibabacloud.com/{GATEWAY_NAME} created\n"));
    let show = || {
        let text = scene.world.fleet.kubectl(&format!("get mseingressconfig {GATEWAY_NAME}"));
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        text.lines().map(words).collect::<Vec<_>>()
    };
    let mut phases = BTreeSet::new();
    // No Envoy of it is there yet.
    eventually(SETTLE, "the gateway is Pending", || async {
        let table = show();
        assert_eq!(table[0], ["NAME", "STATUS", "AGE"]);
        if table[1][1] == "Pending" { Ok(()) } else { Err(format!("{table:?}")) }
    })
    .await;
    scene.start_envoy().await;
    let fleet = &scene.world.fleet;
    let phase = format!("get mseingressconfig {GATEWAY_NAME} -ojsonpath={{.status.phase}}");
    eventually(SETTLE, "the gateway is Listening", || {
        let phase = fleet.kubectl(&phase);
        phases.insert(phase.clone());
        async move { if phase == "Listening" { Ok(()) } else { Err(phase) } }
    })
    .await;
    assert!(!phases.contains("Failed"), "{phases:?}");
    // It is reachable, and routes nothing yet.
    scene.all(1, &get("/"), "404").await;
}

async fn guide_2_the_clusters_were_added(scene: &mut Scene) {
    let words =
        format!("get mseingressconfig {GATEWAY_NAME} -ojsonpath={{.status.remoteClusters}}");
    eventually(SETTLE, "both members are healthy", || async {
        let clusters = scene.world.fleet.kubectl(&words);
        let expect = r#"[{"clusterId":"c1"},{"clusterId":"c2"}]"#;
        if clusters == expect { Ok(()) } else { Err(clusters) }
    })
    .await;
}

async fn guide_3a_nine_to_one(scene: &mut Scene) {
    let said = scene.world.fleet.apply(WEB_DEMO, &namespaced(""));
    assert_eq!(said, "ingress.networking.k8s.io/web-demo created\n");
    scale(scene, "c1", 9);
    ready_addresses(&scene.world.member("c1").cluster, "service1", 9).await;
    let shares = [("cluster-demo-1", 90.0), ("cluster-demo-2", 10.0)];
    scene.shares(1000, &get("/svc1"), &shares).await;
}

async fn guide_3a_the_ingress_has_the_address_of_the_gateway(scene: &mut Scene) {
    let words = namespaced("get ingress web-demo -ojsonpath={.status.loadBalancer}");
    eventually(SETTLE, "the Ingress has an address", || async {
        let status = scene.world.fleet.kubectl(&words);
        let expect = format!(r#"{{"ingress":[{{"ip":"{}"}}]}}"#, netns::GATEWAY);
        if status == expect { Ok(()) } else { Err(status) }
    })
    .await;
}

async fn guide_3a_scaled_to_zero(scene: &mut Scene) {
    scale(scene, "c1", 0);
    scene.all(100, &get("/svc1"), "cluster-demo-2").await;
}

async fn guide_3a_canary_version(scene: &mut Scene) {
    let member = &scene.world.member("c1").cluster;
    member.apply(&workload::canary(), "");
    ready_addresses(member, "service1-canary-1", 1).await;
    scene.world.fleet.apply(CANARY, "");
    let chosen = get("/svc1").header("canary-dest", "cluster1");
    scene.all(100, &chosen, "cluster-demo-1-canary").await;
    scene.all(100, &get("/svc1"), "cluster-demo-2").await;
}

async fn guide_3b_primary_cluster(scene: &mut Scene) {
    scale(scene, "c1", 1);
    ready_addresses(&scene.world.member("c1").cluster, "service1", 1).await;
    let both = format!("{CLUSTER_ONE}---\n{CLUSTER_GRAY}");
    let said = scene.world.fleet.apply(&both, &namespaced(""));
    assert_eq!(
        said,
        "ingress.networking.k8s.io/web-demo-cluster-one created\n\
         ingress.networking.k8s.io/web-demo-cluster-gray created\n"
    );
    scene.all(100, &get("/service1"), "cluster-demo-1").await;
}

async fn guide_3b_gray_release_by_cluster(scene: &mut Scene) {
    let gray = get("/service1").header("app-web-demo-version", "gray");
    scene.all(50, &gray, "cluster-demo-2").await;
}

async fn guide_3b_failover(scene: &mut Scene) {
    scale(scene, "c1", 0);
    scene.all(100, &get("/service1"), "cluster-demo-2").await;
}
