//! Only nodes of the second member are reached: its Service is a NodePort.

use std::collections::BTreeMap;

use serde_json::json;

use crate::{
    bed::{
        client::get,
        fleet::{NAMESPACE, gateway},
        ingress,
    },
    clusters::line::Routes,
    harness::scenario,
    hybrid::{
        MEMBERS, PORT, SERVICE1, all, distribute, endpoints,
        line::{loses_nothing_when_cut, loses_nothing_when_lossy, loses_nothing_when_slow},
        open, register, reports, scale, shares,
    },
    pods::{answer, ready_addresses},
    rows::balance::{C1, C2},
    scene::Scene,
};

scenario! { "hybrid_overlay", MEMBERS, fleet: Divided;
    clusters_of_argo_cd_are_members,
    the_applications_are_distributed,
    row_174_overlay_beside_underlay,
    row_175_no_ready_pod,
    row_176_local_nodes_by_their_pods,
    row_177_cluster_ip_of_an_overlay,
    row_178_nodes_that_are_left_out,
    the_line_is_cut,
    the_line_is_slow,
    the_line_loses_packets,
    a_gateway_of_each_kind,
}

/// Of the chart.
const NODE_PORT: u16 = 30100;

/// The second member's part of an assignment.
fn nodes(endpoints: &BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    let distant = endpoints.iter().filter(|(address, _)| address.starts_with("10.2."));
    distant.map(|(address, weight)| (address.as_str(), *weight)).collect()
}

fn node(n: u8) -> String {
    format!("10.2.2.{n}:{NODE_PORT}")
}

async fn clusters_of_argo_cd_are_members(scene: &mut Scene) {
    register(scene, Routes::Overlay).await;
}

async fn the_applications_are_distributed(scene: &mut Scene) {
    let applications = distribute(scene, "argocd/appset-overlay.yaml").await;
    let names: Vec<_> = applications.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["c2-web-demo-overlay", "c1-web-demo-overlay"]);
    let port = format!("NodePort/{NODE_PORT}");
    for (member, expect) in [("c1", "ClusterIP/"), ("c2", port.as_str())] {
        let cluster = &scene.world.member(member).cluster;
        let path = "{.spec.type}/{.spec.ports[0].nodePort}";
        let words = format!("get service service1 -n {NAMESPACE} -ojsonpath={path}");
        assert_eq!(cluster.kubectl(&words), expect);
    }
    let pod = ready_addresses(&scene.world.member("c2").cluster, "service1", 1).await[0];
    let refusal = answer(pod).await.unwrap_err();
    assert!(refusal.starts_with("connect: "), "{refusal}");
}

async fn row_174_overlay_beside_underlay(scene: &mut Scene) {
    open(scene).await;
    shares(scene, &get("/svc1"), [50.0, 50.0]).await;
    scale(scene, "c2", 3).await;
    shares(scene, &get("/svc1"), [25.0, 75.0]).await;
    scale(scene, "c1", 9).await;
    shares(scene, &get("/svc1"), [75.0, 25.0]).await;
    scale(scene, "c1", 1).await;
    endpoints(scene, SERVICE1, |all| {
        let nodes = nodes(all);
        nodes.len() == 2
            && nodes.iter().all(|(address, _)| [node(1), node(2)].contains(&(*address).to_owned()))
    })
    .await;
}

async fn row_175_no_ready_pod(scene: &mut Scene) {
    scale(scene, "c2", 0).await;
    endpoints(scene, SERVICE1, |all| nodes(all).is_empty()).await;
    all(scene, &get("/svc1"), C1).await;
}

/// Three Pods of the application on one node, one on the other.
async fn row_176_local_nodes_by_their_pods(scene: &mut Scene) {
    let cluster = &scene.world.member("c2").cluster;
    for (name, node, replicas) in [("three", 1, 3), ("one", 2, 1)] {
        let labels = json!({"app": "web-demo", "of": name});
        let container = json!({
            "name": "web-demo",
            "image": "web-demo:0.5.0",
            "env": [{"name": "ENV_NAME", "value": C2}],
        });
        let spec = json!({"nodeName": format!("c2-node-{node}"), "containers": [container]});
        let deployment = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"of": name}},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        });
        cluster.apply(&deployment.to_string(), "");
    }
    let patch = r#"{"spec":{"externalTrafficPolicy":"Local"}}"#;
    cluster.kubectl(&format!("patch service service1 -n {NAMESPACE} -p {patch}"));
    ready_addresses(cluster, "service1", 4).await;
    let expect = [(node(1), 3), (node(2), 1)];
    endpoints(scene, SERVICE1, |all| {
        nodes(all)
            .iter()
            .map(|(address, weight)| ((*address).to_owned(), *weight))
            .eq(expect.clone())
    })
    .await;
    shares(scene, &get("/svc1"), [20.0, 80.0]).await;
    let patch = r#"{"spec":{"externalTrafficPolicy":"Cluster"}}"#;
    cluster.kubectl(&format!("patch service service1 -n {NAMESPACE} -p {patch}"));
    cluster.kubectl(&format!("delete deployment three one -n {NAMESPACE}"));
    scale(scene, "c2", 1).await;
}

/// Changes the type of the Service, by the port that it then has.
fn retype(scene: &Scene, kind: &str, port: serde_json::Value) {
    let patch = json!({"spec": {"type": kind, "ports": [port]}});
    let words = format!("patch service service1 -n {NAMESPACE} --type=merge -p {patch}");
    scene.world.member("c2").cluster.kubectl(&words);
}

async fn row_177_cluster_ip_of_an_overlay(scene: &mut Scene) {
    retype(scene, "ClusterIP", json!({"port": 80, "targetPort": 8080}));
    all(scene, &get("/svc1"), C1).await;
    reports(scene, "web-demo", "UnsupportedServiceType").await;
    retype(scene, "NodePort", json!({"port": 80, "targetPort": 8080, "nodePort": NODE_PORT}));
    shares(scene, &get("/svc1"), [50.0, 50.0]).await;
}

async fn row_178_nodes_that_are_left_out(scene: &mut Scene) {
    let cluster = &scene.world.member("c2").cluster;
    let label = "node.kubernetes.io/exclude-from-external-load-balancers";
    let are = async |expect: &[u8]| {
        endpoints(scene, SERVICE1, |all| {
            nodes(all)
                .iter()
                .map(|(address, _)| (*address).to_owned())
                .eq(expect.iter().map(|n| node(*n)))
        })
        .await;
    };
    are(&[1, 2]).await;
    cluster.kubectl(&format!("label node c2-node-1 {label}=true"));
    are(&[2]).await;
    cluster.kubectl(&format!("label node c2-node-1 {label}-"));
    are(&[1, 2]).await;
    let ready = |status: &str| {
        let condition = json!([{"type": "Ready", "status": status, "reason": "Bed"}]);
        let patch = json!({"status": {"conditions": condition}});
        cluster.kubectl(&format!("patch node c2-node-2 --subresource=status -p {patch}"));
    };
    ready("False");
    are(&[1]).await;
    // The Pods that the other node leads to are as many as before.
    shares(scene, &get("/svc1"), [50.0, 50.0]).await;
    ready("True");
    are(&[1, 2]).await;
}

async fn the_line_is_cut(scene: &mut Scene) {
    loses_nothing_when_cut(scene).await;
}

async fn the_line_is_slow(scene: &mut Scene) {
    loses_nothing_when_slow(scene).await;
}

async fn the_line_loses_packets(scene: &mut Scene) {
    loses_nothing_when_lossy(scene).await;
}

/// An `MseIngressConfig` over the same members: each Envoy has the routes of its own gateway.
async fn a_gateway_of_each_kind(scene: &mut Scene) {
    scale(scene, "c1", 1).await;
    scale(scene, "c2", 1).await;
    let mse = gateway("other", "c1,c2", json!({"ingressClass": "mse"}));
    scene.bed.fleet.object("other", &mse);
    scene.bed.ingress(&ingress::ingress("other").exact("/other", "service1"));
    let (mut envoy, other) = scene.bed.start_second_envoy("other");
    let halves = [(C1, 50.0), (C2, 50.0)];
    let other = async |path: &str, expect: &[(&str, f64)]| {
        let expect = |replies: &crate::bed::client::Replies| replies.envs().shares(expect, 1.0);
        scene.bed.settle_over(&other, 200, &get(path), expect).await;
    };
    other("/other", &halves).await;
    other("/svc1", &[("404", 100.0)]).await;
    all(scene, &get("/other"), "404").await;
    shares(scene, &get("/svc1"), [50.0, 50.0]).await;
    // Neither is told anything of the other.
    let dump = scene.bed.envoy().config_dump().await.to_string();
    assert!(dump.contains("/svc1") && !dump.contains("/other"));
    let listeners = scene.bed.envoy().admin("/listeners").await;
    assert!(listeners.contains(&format!(":{PORT}")) && !listeners.contains(":80\n"), "{listeners}");
    envoy.kill();
}
