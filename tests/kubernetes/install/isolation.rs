//! Row S2 on what is deployed: an Envoy of one gateway is told nothing of another.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{NAMESPACE, PATIENCE, admin, is_rolled_out, kept, load_balancer, pods_of};
use crate::{
    bed::{
        cert::Authority,
        client::{Client, get},
        fleet::{self, gateway},
        guide::GATEWAY_NAME,
        poll::eventually,
    },
    scene::Scene,
    status::shows,
};

/// The other gateway.
pub(super) const OTHER: &str = "other";

/// What only one gateway has.
struct Own {
    /// Of its Ingress, and the name of that and of its certificate.
    class: &'static str,
    /// That it serves with a certificate of its own.
    host: &'static str,
    /// What its Deployment and Service are called.
    objects: String,
}

/// A gateway of its own class with one Envoy, an Ingress with TLS, and a certificate for that.
pub(super) async fn fault_s02_envoys_are_told_of_their_own_gateway_only(scene: &mut Scene) {
    let mut gateway = gateway(OTHER, "cluster-2", json!({"ingressClass": OTHER}));
    gateway["spec"]["common"]["instance"] = json!({"replicas": 1, "spec": "2c4g"});
    let own = Own { class: OTHER, host: "secret.example.org", objects: kept(OTHER) };
    only_its_own(scene, &own, &[gateway]).await;
}

/// Over the same members, at the same time, and of the same name.
pub(super) async fn fault_s02_an_alb_config_is_another_gateway_than_its_namesake(
    scene: &mut Scene,
) {
    let own = Own { class: "alb", host: "alb.example.org", objects: format!("alb-{GATEWAY_NAME}") };
    let config = json!({
        "apiVersion": "alibabacloud.com/v1",
        "kind": "AlbConfig",
        "metadata": {
            "name": GATEWAY_NAME,
            "annotations": {
                "alb.ingress.kubernetes.io/remote-clusters": "cluster-1,cluster-2",
                "convoy.dev/replicas": "1",
                "convoy.dev/size": "2c4g",
            },
        },
        "spec": {
            "config": {"name": "one-alb-demo", "addressType": "Internet"},
            "listeners": [{"port": 443, "protocol": "HTTPS"}],
        },
    });
    let class = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": own.class},
        "spec": {
            "controller": "ingress.k8s.alibabacloud/alb",
            "parameters": {
                "apiGroup": "alibabacloud.com", "kind": "AlbConfig", "name": GATEWAY_NAME,
            },
        },
    });
    only_its_own(scene, &own, &[class, config]).await;
    let fleet = &scene.world.fleet;
    let address = load_balancer(scene, &own.objects).await.to_string();
    let the_alb = format!("albconfig {GATEWAY_NAME}");
    shows(fleet, &the_alb, ".status.phase", "Listening").await;
    shows(fleet, &the_alb, ".status.loadBalancer.dnsname", &address).await;
    let table = fleet.kubectl(&format!("get {the_alb}"));
    let row: Vec<&str> = table.lines().last().unwrap().split_whitespace().collect();
    let (id, certificate) =
        (format!("AlbConfig/{GATEWAY_NAME}"), format!("{}/alb", fleet::NAMESPACE));
    assert_eq!(row[..5], [GATEWAY_NAME, &id, &address, "443/HTTPS", &certificate], "{table}");
    let ingress = format!("ingress {} -n {}", own.class, fleet::NAMESPACE);
    shows(fleet, &ingress, ".status.loadBalancer.ingress[*].ip", &address).await;
    fleet.kubectl(&format!("delete {the_alb}"));
}

/// Its Envoys serve what is its own, and those of the guide's gateway know nothing of it.
async fn only_its_own(scene: &Scene, own: &Own, gateway: &[Value]) {
    let Own { class, host, objects } = own;
    let authority = Authority::new();
    let leaf = authority.leaf(&[*host]);
    let fleet = &scene.world.fleet;
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": class, "namespace": fleet::NAMESPACE},
        "type": "kubernetes.io/tls",
        "data": {"tls.crt": STANDARD.encode(&leaf.chain), "tls.key": STANDARD.encode(&leaf.key)},
    });
    let backend = json!({"service": {"name": "service1", "port": {"number": 80}}});
    let path = json!({"path": "/", "pathType": "Prefix", "backend": backend});
    let ingress = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": class, "namespace": fleet::NAMESPACE},
        "spec": {
            "ingressClassName": class,
            "tls": [{"hosts": [host], "secretName": class}],
            "rules": [{"host": host, "http": {"paths": [path]}}],
        },
    });
    for object in [secret, ingress].iter().chain(gateway) {
        fleet.apply(&object.to_string(), "");
    }
    let [envoy] = &is_rolled_out(scene, objects).await[..] else { panic!("it has one Envoy") };
    let https =
        Client::tls((load_balancer(scene, objects).await, 443).into(), authority.trust(), host);
    eventually(PATIENCE, "it serves its certificate", || async {
        let reply = https.send(&get("/").host(host)).await?;
        if reply.status.is_success() { Ok(()) } else { Err(reply.status.to_string()) }
    })
    .await;
    // As an Envoy shows a certificate, and as nobody else may: its key is not even shown there.
    let certificate = STANDARD.encode(&leaf.chain);
    let dump = async |pod: &str| admin(scene, pod, "/config_dump?include_eds").await.unwrap();
    let shown = dump(envoy).await;
    assert!(shown.contains(host) && shown.contains(&certificate), "{shown}");
    // Nor does it know anything of the guide's gateway.
    assert!(!shown.contains("\"example.com\""), "{shown}");
    for pod in pods_of(fleet, &kept(GATEWAY_NAME)).unwrap() {
        let shown = dump(&pod).await;
        assert!(shown.contains("example.com"), "{NAMESPACE}/{pod}: {shown}");
        for word in [*host, certificate.as_str()] {
            assert!(!shown.contains(word), "{pod} knows {word}");
        }
    }
}
