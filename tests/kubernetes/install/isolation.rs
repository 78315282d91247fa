//! Row S2 on what is deployed: an Envoy of one gateway is told nothing of another.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

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
};

/// The other gateway, and what only it has.
pub(super) const OTHER: &str = "other";
const HOST: &str = "secret.example.org";

/// A gateway of its own class with one Envoy, an Ingress with TLS, and a certificate for that.
pub(super) async fn fault_s02_envoys_are_told_of_their_own_gateway_only(scene: &mut Scene) {
    let authority = Authority::new();
    let leaf = authority.leaf(&[HOST]);
    let fleet = &scene.world.fleet;
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": OTHER, "namespace": fleet::NAMESPACE},
        "type": "kubernetes.io/tls",
        "data": {"tls.crt": STANDARD.encode(&leaf.chain), "tls.key": STANDARD.encode(&leaf.key)},
    });
    let backend = json!({"service": {"name": "service1", "port": {"number": 80}}});
    let path = json!({"path": "/", "pathType": "Prefix", "backend": backend});
    let ingress = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": OTHER, "namespace": fleet::NAMESPACE},
        "spec": {
            "ingressClassName": OTHER,
            "tls": [{"hosts": [HOST], "secretName": OTHER}],
            "rules": [{"host": HOST, "http": {"paths": [path]}}],
        },
    });
    let mut gateway = gateway(OTHER, "cluster-2", json!({"ingressClass": OTHER}));
    gateway["spec"]["common"]["instance"] = json!({"replicas": 1, "spec": "2c4g"});
    for object in [secret, ingress, gateway] {
        fleet.apply(&object.to_string(), "");
    }
    let [envoy] = &is_rolled_out(scene, &kept(OTHER)).await[..] else { panic!("it has one Envoy") };
    let https =
        Client::tls((load_balancer(scene, OTHER).await, 443).into(), authority.trust(), HOST);
    eventually(PATIENCE, "it serves its certificate", || async {
        let reply = https.send(&get("/").host(HOST)).await?;
        if reply.status.is_success() { Ok(()) } else { Err(reply.status.to_string()) }
    })
    .await;
    // As an Envoy shows a certificate, and as nobody else may: its key is not even shown there.
    let certificate = STANDARD.encode(&leaf.chain);
    let dump = async |pod: &str| admin(scene, pod, "/config_dump?include_eds").await.unwrap();
    let own = dump(envoy).await;
    assert!(own.contains(HOST) && own.contains(&certificate), "{own}");
    for pod in pods_of(fleet, &kept(GATEWAY_NAME)).unwrap() {
        let dump = dump(&pod).await;
        assert!(dump.contains("example.com"), "{NAMESPACE}/{pod}: {dump}");
        for word in [HOST, &certificate, "secret.example"] {
            assert!(!dump.contains(word), "{pod} knows {word}");
        }
    }
}
