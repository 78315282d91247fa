//! Rows 6 to 11 and 15: which Ingresses a gateway listens to.

use serde_json::json;

use crate::{
    bed::{
        Bed,
        client::get,
        fleet::{gateway, ingress_class},
        guide::{GATEWAY_NAME, WEB_DEMO},
        ingress::ingress,
        workload::workload,
    },
    rows::{BOTH, rows},
};

rows! { BOTH;
    row_006_no_class_rule_serves_nothing,
    row_007_empty_class_serves_every_ingress,
    row_008_class_nginx_serves_nginx_and_classless,
    row_009_bound_class_takes_precedence,
    row_010_legacy_class_annotation,
    row_011_watch_namespace,
    row_015_two_gateways_two_classes,
}

/// A gateway with `spec.ingress.local`, and `service1` in `c1`.
fn with_local(bed: &mut Bed, local: serde_json::Value) {
    bed.fleet.object("gateway", &gateway(GATEWAY_NAME, "c1,c2", local));
    bed.deploy_service1(&[("c1", 1)]);
}

pub(crate) async fn row_006_no_class_rule_serves_nothing(bed: &mut Bed) {
    with_local(bed, json!({}));
    bed.fleet.apply("web-demo", WEB_DEMO);
    bed.start().await;
    bed.check(&[(get("/svc1"), "404")]).await;
}

async fn row_007_empty_class_serves_every_ingress(bed: &mut Bed) {
    with_local(bed, json!({"ingressClass": ""}));
    bed.ingress(&ingress("none").without_class().exact("/none", "service1"));
    bed.ingress(&ingress("other").class("other").exact("/other", "service1"));
    bed.start().await;
    bed.check(&[(get("/none"), "cluster-demo-1"), (get("/other"), "cluster-demo-1")]).await;
}

async fn row_008_class_nginx_serves_nginx_and_classless(bed: &mut Bed) {
    with_local(bed, json!({"ingressClass": "nginx"}));
    bed.ingress(&ingress("nginx").class("nginx").exact("/nginx", "service1"));
    bed.ingress(&ingress("none").without_class().exact("/none", "service1"));
    bed.ingress(&ingress("mse").class("mse").exact("/mse", "service1"));
    bed.start().await;
    bed.check(&[
        (get("/nginx"), "cluster-demo-1"),
        (get("/none"), "cluster-demo-1"),
        (get("/mse"), "404"),
    ])
    .await;
}

async fn row_009_bound_class_takes_precedence(bed: &mut Bed) {
    with_local(bed, json!({"ingressClass": "mse"}));
    bed.fleet.object("foo", &ingress_class("foo", GATEWAY_NAME));
    bed.ingress(&ingress("foo").class("foo").exact("/foo", "service1"));
    bed.ingress(&ingress("mse").class("mse").exact("/mse", "service1"));
    bed.start().await;
    bed.check(&[(get("/foo"), "cluster-demo-1"), (get("/mse"), "cluster-demo-1")]).await;
    // A class that is bound elsewhere is not ours, whatever the field says.
    bed.fleet.object("mse", &ingress_class("mse", "another"));
    bed.check(&[(get("/mse"), "404"), (get("/foo"), "cluster-demo-1")]).await;
}

async fn row_010_legacy_class_annotation(bed: &mut Bed) {
    with_local(bed, json!({"ingressClass": "mse"}));
    let legacy = ingress("legacy").without_class().annotate("kubernetes.io/ingress.class", "mse");
    bed.ingress(&legacy.exact("/legacy", "service1"));
    bed.ingress(&ingress("none").without_class().exact("/none", "service1"));
    bed.start().await;
    bed.check(&[(get("/legacy"), "cluster-demo-1"), (get("/none"), "404")]).await;
}

pub(crate) async fn row_011_watch_namespace(bed: &mut Bed) {
    with_local(bed, json!({"ingressClass": "mse", "watchNamespace": "a"}));
    for namespace in ["a", "b"] {
        bed.deploy(workload("c1", "web", 1).namespace(namespace));
        let path = format!("/{namespace}");
        bed.ingress(&ingress("web").namespace(namespace).exact(&path, "web"));
    }
    bed.start().await;
    bed.check(&[(get("/a"), "web"), (get("/b"), "404")]).await;
}

async fn row_015_two_gateways_two_classes(bed: &mut Bed) {
    bed.deploy_each(&["a", "b"]);
    for (gateway_name, class, service) in [(GATEWAY_NAME, "mse", "a"), ("other", "other", "b")] {
        let local = json!({"ingressClass": class});
        bed.fleet.object(&format!("gateway-{class}"), &gateway(gateway_name, "c1,c2", local));
        bed.ingress(&ingress(class).class(class).exact("/svc1", service));
    }
    bed.start().await;
    let (mut second, client) = bed.start_second_envoy("other");
    bed.check_over(&client, &[(get("/svc1"), "b")]).await;
    bed.check(&[(get("/svc1"), "a")]).await;
    second.kill();
}
