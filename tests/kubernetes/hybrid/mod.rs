//! The second guide on real clusters: `examples/hybrid` as it is, with a member beside the fleet and one
//! behind a leased line; once with routes to its pods, once without.

mod alb;
mod line;
pub(crate) mod overlay;
pub(crate) mod underlay;
mod weights;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{
    bed::{
        client::{Client, Replies, Request, get},
        fleet::NAMESPACE,
        ingress::{self, Ingress},
        netns::GATEWAY,
        poll::{SETTLE, eventually},
    },
    clusters::{
        argocd::{Application, applications},
        line::Routes,
    },
    pods::ready_addresses,
    registration::argocd_access,
    rows::balance::{C1, C2},
    scene::Scene,
};

const MEMBERS: &[&str] = &["c1", "c2"];

/// The gateway of the example, as Envoys name it.
const ALB: &str = "AlbConfig/ackone-gateway-demo";

/// Where it listens.
const PORT: u16 = 8001;

/// The backend of most routes, as Envoys name its assignment.
const SERVICE1: &str = "gateway-demo/service1:80";

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hybrid")
}

/// A file of the example, for members that are called otherwise.
fn manifest(path: &str) -> String {
    let text = fs::read_to_string(example().join(path)).unwrap();
    text.replace("cluster-1", "c1").replace("cluster-2", "c2")
}

fn objects(manifests: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(manifests).unwrap()
}

/// Argo CD knows the clusters; Convoy, which starts, knows them by that.
async fn register(scene: &mut Scene, routes: Routes) {
    scene.world.remote("c2").route(routes).await;
    let fleet = &scene.world.fleet;
    fleet.kubectl("create namespace argocd");
    for mut secret in objects(&manifest("argocd/clusters.yaml")) {
        let annotations = secret["metadata"]["annotations"].as_object_mut().unwrap();
        if routes == Routes::Underlay {
            // As the example says.
            annotations.remove("convoy.dev/network");
        }
        let network = annotations.get("convoy.dev/network").and_then(Value::as_str);
        let flags = ["--network", network.unwrap_or("underlay")];
        let id = annotations["cluster_id"].as_str().unwrap().to_owned();
        scene.declare_as(&id, &scene.world.member(&id).cluster.server(), &flags);
        let [server, config] = argocd_access(fleet, &id);
        secret["stringData"]["server"] = server;
        secret["stringData"]["config"] = config;
        fleet.apply(&secret.to_string(), "--server-side");
        fleet.kubectl(&format!("delete secret convoy-member-{id} -n convoy-system"));
    }
    scene.start_convoy().await;
}

/// The Applications of an ApplicationSet of the example reach their clusters and run.
async fn distribute(scene: &Scene, set: &str) -> Vec<Application> {
    let fleet = &scene.world.fleet;
    let words = "get secrets -n argocd -l argocd.argoproj.io/secret-type=cluster -ojson";
    let secrets: Value = serde_json::from_str(&fleet.kubectl(words)).unwrap();
    let secrets = secrets["items"].as_array().unwrap();
    let set = objects(&manifest(set)).remove(0);
    let mut nameless = secrets.clone();
    nameless[0]["metadata"]["annotations"].as_object_mut().unwrap().remove("cluster_name");
    // Argo CD makes no Application of what its templates do not find.
    assert!(applications(&set, &nameless).unwrap_err().contains("cluster_name"));
    let applications = applications(&set, secrets).unwrap();
    for application in &applications {
        let cluster = &scene.world.member(&application.destination).cluster;
        application.sync(&example(), cluster);
        ready_addresses(cluster, "service1", 1).await;
    }
    applications
}

/// The gateway and its Ingresses are applied, and an Envoy serves them.
async fn open(scene: &mut Scene) {
    for entry in fs::read_dir(example().join("fleet")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            scene.world.fleet.apply(&manifest(path.to_str().unwrap()), "--server-side");
        }
    }
    scene.bed.start_envoy(ALB).await;
    settle(scene, 10, &get("/svc1"), |it| it.codes().only("200")).await;
}

/// To the gateway of the example.
fn client() -> Client {
    Client::plain((GATEWAY, PORT).into())
}

/// Asks the gateway until the answers are as expected.
async fn settle(scene: &Scene, n: usize, request: &Request, expect: impl Fn(&Replies) -> bool) {
    scene.bed.settle_over(&client(), n, request, expect).await;
}

/// All answers come from `env`, which may also be a status code.
async fn all(scene: &Scene, request: &Request, env: &str) {
    settle(scene, 100, request, |replies| replies.envs().only(env)).await;
}

/// Answers of the two members divide in these percentages.
async fn shares(scene: &Scene, request: &Request, [c1, c2]: [f64; 2]) {
    let expect = [(C1, c1), (C2, c2)];
    // Shares are scheduled, not drawn.
    settle(scene, 1000, request, |replies| replies.envs().shares(&expect, 1.0)).await;
}

/// `kubectl scale` of the application, until that is so.
async fn scale(scene: &Scene, member: &str, replicas: usize) {
    let cluster = &scene.world.member(member).cluster;
    let words = format!("scale deployment web-demo -n {NAMESPACE} --replicas={replicas}");
    cluster.kubectl(&words);
    ready_addresses(cluster, "service1", replicas).await;
}

/// An Ingress of the gateway's class and port for `example.com`, with further annotations.
fn ingress(name: &str, annotations: &[(&str, &str)]) -> Ingress {
    let ingress = ingress::ingress(name).class("alb");
    let ingress = ingress.annotate(&alb("listen-ports"), r#"[{"HTTP":8001}]"#);
    annotations.iter().fold(ingress, |it, (key, value)| it.annotate(&alb(key), value))
}

fn alb(key: &str) -> String {
    format!("alb.ingress.kubernetes.io/{key}")
}

/// People see why an Ingress does not do what it says.
async fn reports(scene: &Scene, ingress: &str, reason: &str) {
    let object = format!("Ingress {NAMESPACE}/{ingress}");
    eventually(SETTLE, "there is an Event", || async {
        let reasons = scene.bed.fleet.events(&object).unwrap_or_default();
        let is_there = reasons.iter().any(|own| own == reason);
        if is_there { Ok(()) } else { Err(format!("{reasons:?}")) }
    })
    .await;
}

/// The endpoints of an assignment, with their weights, once they are as expected.
async fn endpoints(
    scene: &Scene,
    assignment: &str,
    expect: impl Fn(&BTreeMap<String, u64>) -> bool,
) {
    eventually(SETTLE, "the endpoints are as expected", || async {
        let found = endpoints_of(&scene.bed.envoy().config_dump().await, assignment);
        if expect(&found) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

/// As in `10.2.2.1:30100` with weight 3.
fn endpoints_of(dump: &Value, assignment: &str) -> BTreeMap<String, u64> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let sections = list(&dump["configs"]);
    let configs = sections.iter().flat_map(|it| list(&it["dynamic_endpoint_configs"]));
    let configs = configs.map(|it| it["endpoint_config"].clone());
    let mut found = BTreeMap::new();
    for config in configs.filter(|it| it["cluster_name"] == json!(assignment)) {
        for own in list(&config["endpoints"]).iter().flat_map(|it| list(&it["lb_endpoints"])) {
            let socket = &own["endpoint"]["address"]["socket_address"];
            let address =
                format!("{}:{}", socket["address"].as_str().unwrap(), socket["port_value"]);
            found.insert(address, own["load_balancing_weight"].as_u64().unwrap_or(1));
        }
    }
    found
}
