//! The README on real clusters: Convoy from the chart, as Pods with an account of the fleet; gateways that
//! it keeps, as Pods of real Envoys behind a load balancer; members that `convoy member add` declares.
//!
//! It is one story. Its commands are those of the README, word for word but for its placeholders.

mod certificates;
mod drift;
mod isolation;
mod readme;
mod rollout;
mod secrets;

use std::{net::Ipv4Addr, time::Duration};

use serde_json::Value;

use self::{
    certificates::{
        fault_d08_a_certificate_is_renewed_under_load,
        fault_d08_the_authority_is_rotated_under_load,
    },
    drift::{
        drift_of_a_gateway_is_mended, gateways_take_their_objects_with_them,
        others_may_have_fields_of_their_own,
    },
    isolation::{
        fault_s02_an_alb_config_is_another_gateway_than_its_namesake,
        fault_s02_envoys_are_told_of_their_own_gateway_only,
    },
    readme::{
        fault_s03_nobody_was_refused, readme_fails_over_when_pods_are_killed,
        readme_fails_over_when_scaled_to_zero, readme_header_reaches_the_canary,
        readme_installs_a_gateway, readme_leaves_definitions_behind, readme_nine_to_one,
        readme_shows_the_gateway,
    },
    rollout::{
        rollout_of_convoy_loses_nothing, rollout_of_convoy_one_is_killed,
        rollout_of_envoys_loses_nothing, rollout_of_envoys_one_is_deleted,
        rollout_of_the_chart_loses_nothing,
    },
    secrets::fault_s06_no_key_is_said_at_trace_level,
};
use crate::{
    bed::{
        client::{Client, Request, get},
        guide::GATEWAY_NAME,
        load::{Load, Plan},
        poll::eventually,
    },
    clusters::cluster::Cluster,
    harness::{figure, scenario},
    scene::Scene,
};

scenario! { "install", &["c1", "c2"], fleet: Bare;
    readme_installs_a_gateway,
    readme_shows_the_gateway,
    readme_nine_to_one,
    readme_fails_over_when_scaled_to_zero,
    readme_fails_over_when_pods_are_killed,
    readme_header_reaches_the_canary,
    rollout_of_convoy_loses_nothing,
    rollout_of_convoy_one_is_killed,
    rollout_of_the_chart_loses_nothing,
    rollout_of_envoys_one_is_deleted,
    rollout_of_envoys_loses_nothing,
    fault_d08_a_certificate_is_renewed_under_load,
    fault_d08_the_authority_is_rotated_under_load,
    fault_s02_envoys_are_told_of_their_own_gateway_only,
    fault_s02_an_alb_config_is_another_gateway_than_its_namesake,
    drift_of_a_gateway_is_mended,
    others_may_have_fields_of_their_own,
    fault_s06_no_key_is_said_at_trace_level,
    gateways_take_their_objects_with_them,
    fault_s03_nobody_was_refused,
    readme_leaves_definitions_behind,
}

/// Of the release.
const NAMESPACE: &str = "convoy-system";

/// What the members' web-demo says of itself.
const C1: &str = "cluster-demo-1";
const C2: &str = "cluster-demo-2";

/// A Pod starts in two seconds and is seen to be ready in two; a busy machine takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the issue asks for.
const REQUESTS_PER_SECOND: u32 = 200;

/// `kubectl get WHAT -n convoy-system -ojson`.
fn object(fleet: &Cluster, what: &str) -> Result<Value, String> {
    let said = fleet.try_kubectl(&format!("get {what} -n {NAMESPACE} -ojson"), "")?;
    Ok(serde_json::from_str(&said).unwrap())
}

/// What every object of a gateway is called.
fn kept(gateway: &str) -> String {
    format!("convoy-{gateway}")
}

/// `kubectl rollout VERB` of a Deployment of the release.
fn rollout(fleet: &Cluster, verb: &str, deployment: &str) -> Result<String, String> {
    let limit = if verb == "status" { "--timeout=60s" } else { "" };
    fleet.try_kubectl(&format!("rollout {verb} deployment/{deployment} -n {NAMESPACE} {limit}"), "")
}

/// Waits until all replicas of a Deployment are of its newest version and ready, and no other is left.
async fn is_rolled_out(scene: &Scene, deployment: &str) -> Vec<String> {
    let fleet = &scene.world.fleet;
    // It may not be there yet.
    eventually(PATIENCE, "the Deployment is rolled out", || async {
        rollout(fleet, "status", deployment)
    })
    .await;
    eventually(PATIENCE, "only its Pods are left", || async {
        let wanted =
            object(fleet, &format!("deployment {deployment}"))?["spec"]["replicas"].clone();
        let pods = pods_of(fleet, deployment)?;
        if wanted == pods.len() { Ok(pods) } else { Err(format!("{pods:?}")) }
    })
    .await
}

/// The Pods of a Deployment, those that end included.
fn pods_of(fleet: &Cluster, deployment: &str) -> Result<Vec<String>, String> {
    let all = fleet.try_kubectl(&format!("get pods -n {NAMESPACE} -oname"), "")?;
    let names = all.lines().filter_map(|line| line.strip_prefix("pod/"));
    // A ReplicaSet's name and a Pod's are each one word longer.
    let is_own = |name: &&str| name.rsplitn(3, '-').nth(2) == Some(deployment);
    Ok(names.filter(is_own).map(str::to_owned).collect())
}

/// Where clients reach a gateway whose objects have this name.
async fn load_balancer(scene: &Scene, name: &str) -> Ipv4Addr {
    eventually(PATIENCE, "the Service has an address", || async {
        let service = object(&scene.world.fleet, &format!("service {name}"))?;
        let ip = service["status"]["loadBalancer"]["ingress"][0]["ip"].as_str();
        ip.map(|ip| ip.parse().unwrap()).ok_or_else(|| service.to_string())
    })
    .await
}

async fn http(scene: &Scene) -> Client {
    Client::plain((load_balancer(scene, &kept(GATEWAY_NAME)).await, 80).into())
}

/// All of `n` answers come from `env`, which may also be a status code.
async fn all(scene: &Scene, n: usize, request: &Request, env: &str) {
    let client = http(scene).await;
    eventually(PATIENCE, &format!("{env} answers all"), || async {
        let envs = client.hit(n, request).await.envs();
        if envs.only(env) { Ok(()) } else { Err(format!("{envs:?}")) }
    })
    .await;
}

/// Plays something while clients use the gateway over connections that they keep; not one request fails.
async fn loses_nothing(scene: &mut Scene, name: &'static str, part: impl AsyncFnOnce(&mut Scene)) {
    let plan = Plan {
        name,
        request: get("/svc1"),
        gets_per_second: REQUESTS_PER_SECOND,
        posts_per_second: 0,
    };
    let load = Load::start(&http(scene).await, &plan);
    load.sends(100).await;
    part(scene).await;
    // What comes of it later.
    load.sends(200).await;
    let report = load.stop().await;
    figure(&report.figures());
    assert_eq!(report.lost(), 0, "{:?}", report.failures());
}

/// Every Envoy follows: a new Ingress is served by all of them.
async fn is_followed(scene: &Scene, name: &str) {
    let path = format!("/{name}");
    let port = serde_json::json!({"service": {"name": "service1", "port": {"number": 80}}});
    let rule = serde_json::json!({"path": path, "pathType": "Exact", "backend": port});
    let ingress = serde_json::json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "namespace": "gateway-demo"},
        "spec": {
            "ingressClassName": "mse",
            "rules": [{"host": "example.com", "http": {"paths": [rule]}}],
        },
    });
    scene.world.fleet.apply(&ingress.to_string(), "");
    // Each is asked for itself: a load balancer may forget one.
    for pod in pods_of(&scene.world.fleet, &kept(GATEWAY_NAME)).unwrap() {
        let address = scene.world.fleet_kubelet().address(NAMESPACE, &pod);
        let address = address.unwrap_or_else(|| panic!("{pod} does not run"));
        let envoy = Client::plain((address, UNPRIVILEGED_HTTP).into());
        eventually(PATIENCE, &format!("{pod} serves {path}"), || async {
            let reply = envoy.send(&get(&path)).await?;
            if reply.status.is_success() { Ok(()) } else { Err(reply.status.to_string()) }
        })
        .await;
    }
    scene.world.fleet.kubectl(&format!("delete ingress {name} -n gateway-demo"));
}

/// Where Envoys without privileges listen for port 80.
const UNPRIVILEGED_HTTP: u16 = 8080;

/// Asks over a unix socket; Python is there wherever Envoy was fetched.
const ASK: &str = "\
import http.client, socket, sys
connection = http.client.HTTPConnection('envoy')
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect('/run/envoy/admin.sock')
connection.request('GET', sys.argv[1])
answer = connection.getresponse()
sys.stdout.buffer.write(answer.read())
sys.exit(answer.status != 200)
";

/// `GET path` on the admin interface of an Envoy, which only its Pod reaches.
async fn admin(scene: &Scene, pod: &str, path: &str) -> Result<String, String> {
    let words = ["python3", "-c", ASK, path];
    scene.world.fleet_kubelet().exec((NAMESPACE, pod, "envoy"), &words).await
}
