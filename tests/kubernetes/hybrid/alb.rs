//! Rows 167, 168 and 179 to 182: what an `AlbConfig` and the annotations of its Ingresses say.

use serde_json::json;

use crate::{
    bed::{
        client::{Client, get},
        fleet::NAMESPACE,
        ingress,
        netns::GATEWAY,
    },
    hybrid::{self, all, client, reports, settle},
    pods::ready_addresses,
    scene::Scene,
    workload,
};

pub(super) async fn row_167_listener_on_its_port_only(scene: &mut Scene) {
    settle(scene, 10, &get("/svc1"), |replies| replies.codes().only("200")).await;
    let refusal = Client::plain((GATEWAY, 80).into()).send(&get("/svc1")).await.unwrap_err();
    assert!(refusal.starts_with("connect: "), "{refusal}");
}

pub(super) async fn row_168_listener_that_the_gateway_lacks(scene: &mut Scene) {
    // Without TLS and `listen-ports` it asks for port 80.
    let elsewhere = ingress::ingress("elsewhere").class("alb");
    scene.bed.ingress(&elsewhere.exact("/elsewhere", "service1"));
    reports(scene, "elsewhere", "ListenerNotFound").await;
    all(scene, &get("/elsewhere"), "404").await;
    scene.bed.fleet.delete("ingress-gateway-demo-elsewhere");
}

pub(super) async fn row_179_order_before_path(scene: &mut Scene) {
    // A canary version of the application answers under another name.
    let cluster = &scene.world.member("c1").cluster;
    cluster.apply(&workload::canary(), &format!("-n {NAMESPACE}"));
    ready_addresses(cluster, "service1-canary-1", 1).await;
    let host = "order.example.com";
    scene.bed.ingress(
        &hybrid::ingress("second", &[("order", "10")]).host(host).exact("/svc1", "service1"),
    );
    let request = get("/svc1").host(host);
    settle(scene, 10, &request, |replies| replies.codes().only("200")).await;
    scene.bed.ingress(
        &hybrid::ingress("first", &[("order", "1")]).host(host).prefix("/", "service1-canary-1"),
    );
    all(scene, &request, "cluster-demo-1-canary").await;
}

pub(super) async fn row_180_fixed_response(scene: &mut Scene) {
    let action = json!([{
        "type": "FixedResponse",
        "FixedResponseConfig": {
            "contentType": "text/plain",
            "httpCode": "418",
            "content": "a teapot",
        },
    }]);
    let teapot = hybrid::ingress("teapot", &[("actions.teapot", &action.to_string())]);
    scene.bed.ingress(&teapot.port_name("use-annotation").exact("/teapot", "teapot"));
    all(scene, &get("/teapot"), "418").await;
    let reply = client().send(&get("/teapot")).await.unwrap();
    assert_eq!(reply.body, "a teapot");
    assert_eq!(reply.header("content-type"), "text/plain");
}

pub(super) async fn row_181_ssl_redirect(scene: &mut Scene) {
    scene.bed.ingress(
        &hybrid::ingress("secure", &[("ssl-redirect", "true")]).exact("/secure", "service1"),
    );
    all(scene, &get("/secure"), "308").await;
    let reply = client().send(&get("/secure?a=b")).await.unwrap();
    assert_eq!(reply.header("location"), "https://example.com/secure?a=b");
}

pub(super) async fn row_182_header_canary_to_one_member(scene: &mut Scene) {
    // The example's: only the first member has the Service.
    let chosen = get("/svc1").header("canary-dest", "cluster1");
    all(scene, &chosen, "cluster-demo-1-canary").await;
    // A canary of no rule is none.
    let canary = [
        ("canary", "true"),
        ("canary-by-header", "canary-dest"),
        ("canary-by-header-value", "cluster1"),
    ];
    let orphan = hybrid::ingress("orphan", &canary);
    scene.bed.ingress(&orphan.exact("/orphan", "service1-canary-1"));
    scene.bed.ingress(&hybrid::ingress("beside", &[]).exact("/beside", "service1"));
    settle(scene, 10, &get("/beside"), |replies| replies.codes().only("200")).await;
    let orphaned = get("/orphan").header("canary-dest", "cluster1");
    all(scene, &orphaned, "404").await;
}
