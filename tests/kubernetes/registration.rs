//! Every way to declare a member, all at once, and a fleet that is a member itself.

use k8s_openapi::api::core::v1::Secret;
use kube::config::Kubeconfig;
use serde_json::{Value, json};

use crate::{
    bed::{
        client::get,
        fleet::{NAMESPACE, gateway},
        guide::{GATEWAY_NAME, WEB_DEMO},
        workload::workload,
    },
    clusters::cluster::Cluster,
    harness::scenario,
    scene::{Scene, convoy},
    status::{remote_clusters, shows},
};

scenario! { "registration", MEMBERS;
    members_are_declared_in_every_way,
    every_member_serves,
    people_see_who_declares_what,
    a_member_is_removed,
}

const MEMBERS: &[&str] = &["c1", "c2", "c3"];

/// Where `convoy member add` writes.
const SYSTEM: &str = "convoy-system";

/// One with the Secret of `convoy member add`, without its label; and the fleet.
const MEMBER_CLUSTERS: &str = "\
apiVersion: convoy.dev/v1alpha1
kind: MemberCluster
metadata: {name: second}
spec:
  id: c2
  region: cn-hongkong
  zone: b
  secretRef: {namespace: convoy-system, name: convoy-member-c2, key: c2}
---
apiVersion: convoy.dev/v1alpha1
kind: MemberCluster
metadata: {name: fleet}
spec: {id: home}
";

/// Argo CD declares c1, a `MemberCluster` c2, a kubeconfig Secret c3.
async fn members_are_declared_in_every_way(scene: &mut Scene) {
    let fleet = &scene.world.fleet;
    // Convoy may read the Services of the fleet, too.
    fleet.apply(&convoy(&["account", "--fleet-network", "underlay"]), "--server-side");
    fleet.kubectl("create namespace argocd");
    scene.install(MEMBERS);
    fleet.apply(&argocd_secret(fleet).to_string(), "--server-side");
    fleet.kubectl(&format!("delete secret convoy-member-c1 -n {SYSTEM}"));
    fleet.kubectl(&format!("label secret convoy-member-c2 -n {SYSTEM} convoy.dev/member-"));
    fleet.apply(MEMBER_CLUSTERS, "");
    scene.start_convoy().await;
}

/// `server` and `config` of a cluster of Argo CD, with the credentials that `convoy member add` made.
pub(crate) fn argocd_access(fleet: &Cluster, id: &str) -> [Value; 2] {
    let secret = fleet.kubectl(&format!("get secret convoy-member-{id} -n {SYSTEM} -ojson"));
    let secret: Secret = serde_json::from_str(&secret).unwrap();
    let kubeconfig = String::from_utf8(secret.data.unwrap()[id].0.clone()).unwrap();
    let kubeconfig = json!(Kubeconfig::from_yaml(&kubeconfig).unwrap());
    let cluster = &kubeconfig["clusters"][0]["cluster"];
    let config = json!({
        "bearerToken": kubeconfig["users"][0]["user"]["token"],
        "tlsClientConfig": {"caData": cluster["certificate-authority-data"]},
    });
    [cluster["server"].clone(), config.to_string().into()]
}

/// What Argo CD writes for a cluster.
fn argocd_secret(fleet: &Cluster) -> Value {
    let [server, config] = argocd_access(fleet, "c1");
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "first",
            "namespace": "argocd",
            "labels": {"argocd.argoproj.io/secret-type": "cluster"},
            "annotations": {"cluster_id": "c1", "cluster_name": "cluster-demo-1"},
        },
        "stringData": {"name": "first", "server": server, "config": config},
    })
}

/// The pod behind the fleet's Service runs in c3, where it belongs to a Service of another name.
async fn every_member_serves(scene: &mut Scene) {
    scene.bed.deploy_service1(&[("c1", 1), ("c2", 1), ("c3", 1)]);
    scene.bed.deploy(workload("c3", "home", 1));
    let pod = scene.bed.running("c3", "home").0.address(0);
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "service1", "namespace": NAMESPACE},
        "spec": {"ports": [{"port": 80, "targetPort": pod.port()}]},
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "service1-1",
            "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": "service1"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "", "port": pod.port(), "protocol": "TCP"}],
        "endpoints": [{"addresses": [pod.ip()], "conditions": {"ready": true}}],
    });
    for object in [service, slice] {
        scene.world.fleet.apply(&object.to_string(), "--server-side");
    }
    let local = json!({"ingressClass": "mse"});
    scene.bed.fleet.object("gateway", &gateway(GATEWAY_NAME, "c1,c2,c3,home", local));
    scene.bed.fleet.apply("web-demo", WEB_DEMO);
    scene.start_envoy().await;
    let shares = ["cluster-demo-1", "cluster-demo-2", "cluster-demo-3", "home"];
    scene.shares(400, &get("/svc1"), &shares.map(|env| (env, 25.0))).await;
}

async fn people_see_who_declares_what(scene: &mut Scene) {
    let fleet = &scene.world.fleet;
    let all = r#"[{"clusterId":"c1"},{"clusterId":"c2"},{"clusterId":"c3"},{"clusterId":"home"}]"#;
    remote_clusters(fleet, all).await;
    let list = member(fleet, "list");
    let says = |id: &str, words: &[&str]| {
        let line = list.lines().find(|line| line.split_whitespace().next() == Some(id));
        let line = line.unwrap_or_else(|| panic!("no {id} in\n{list}"));
        assert!(words.iter().all(|word| line.contains(word)), "{words:?} in {line}");
    };
    says("c1", &["https://", "Secret argocd/first"]);
    says("c2", &["cn-hongkong", "https://", "MemberCluster second"]);
    says("c3", &["https://", "Secret convoy-system/convoy-member-c3"]);
    says("home", &["the fleet", "MemberCluster fleet"]);
    for object in ["second", "fleet"] {
        let what = format!("membercluster {object}");
        for kind in ["Connected", "Synced"] {
            let path = format!(".status.conditions[?(@.type==\"{kind}\")].status");
            shows(fleet, &what, &path, "True").await;
        }
        // Beside the pod, its API server.
        shows(fleet, &what, ".status.endpoints", "2").await;
    }
}

async fn a_member_is_removed(scene: &mut Scene) {
    let said = member(&scene.world.fleet, "remove --id c3 --from-gateways");
    assert!(said.contains("names c3 no longer"), "{said}");
    let rest = ["cluster-demo-1", "cluster-demo-2", "home"];
    scene.shares(300, &get("/svc1"), &rest.map(|env| (env, 33.3))).await;
    let left = r#"[{"clusterId":"c1"},{"clusterId":"c2"},{"clusterId":"home"}]"#;
    remote_clusters(&scene.world.fleet, left).await;
}

/// `convoy member WORDS` on the fleet.
fn member(fleet: &Cluster, words: &str) -> String {
    let kubeconfig = fleet.kubeconfig();
    let words = ["member"].into_iter().chain(words.split_whitespace());
    let words = words.chain(["--fleet-kubeconfig", kubeconfig.to_str().unwrap()]);
    convoy(&words.collect::<Vec<_>>())
}
