//! What the README says: from nothing to a gateway that fails over, and back.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use super::{
    C1, C2, NAMESPACE, PATIENCE, all, http, is_rolled_out, kept, load_balancer, loses_nothing,
};
use crate::{
    bed::{
        client::get,
        fleet,
        guide::{GATEWAY, GATEWAY_NAME},
        poll::eventually,
    },
    clusters::{cluster::Cluster, pod::Order},
    harness::figure,
    pods::ready_addresses,
    scene::Scene,
    status::{remote_clusters, shows},
    workload,
};

/// Before the block of commands that install everything, and before the one that removes it.
const INSTALL: &str = "<!-- install:";
const UNINSTALL: &str = "To take it away:";

/// From nothing to a gateway that fails over.
const MAX_COMMANDS: usize = 8;

/// What a reader has another value for, and the command that has one more word here: rollouts of Envoys
/// take as long as they drain.
const QUICK: (&str, &str) =
    ("helm install convoy deploy/helm/convoy ", " --set manageGateways.drainSeconds=5");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The commands of the first indented block after a mark, with what a reader puts for placeholders.
fn commands(scene: &Scene, mark: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, rest) = text.split_once(mark).unwrap_or_else(|| panic!("the README has no {mark}"));
    let lines = rest.lines().skip_while(|line| !line.starts_with("    "));
    let of = |member: &str| scene.world.member(member).cluster.kubeconfig().display().to_string();
    let filled = |line: &str| {
        line.replace("REGISTRY", "registry.example.com")
            .replace("KUBECONFIG_1", &of("c1"))
            .replace("KUBECONFIG_2", &of("c2"))
    };
    lines.map_while(|line| line.strip_prefix("    ")).map(filled).collect()
}

/// Runs a command as somebody at the fleet would, and returns what it prints.
///
/// # Panics
/// If it fails, with what it says.
pub(super) fn run(fleet: &Cluster, line: &str) -> String {
    let (program, words) = line.split_once(' ').unwrap();
    let program = match program {
        "helm" => root().join("target/bed/helm"),
        "kubectl" => fleet.programs.kubectl.clone(),
        "convoy" => env!("CARGO_BIN_EXE_convoy").into(),
        other => panic!("{other}: the README needs another program"),
    };
    let output = Command::new(program)
        .current_dir(root())
        .env("KUBECONFIG", fleet.kubeconfig())
        .env("KUBECACHEDIR", fleet.dir().join("kubectl"))
        .env("HOME", fleet.dir())
        .args(words.split_whitespace())
        .output()
        .unwrap_or_else(|e| panic!("{line}: {e}; `make bed-programs` builds it"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The application comes to the members by others' means, and has so many replicas in each.
async fn applications(scene: &Scene, replicas: [(&str, usize); 2]) {
    for (member, n) in replicas {
        scene.world.member(member).cluster.apply(&workload::web_demo(member, n), "");
    }
    for (member, n) in replicas {
        ready_addresses(&scene.world.member(member).cluster, "service1", n).await;
    }
}

pub(super) async fn readme_installs_a_gateway(scene: &mut Scene) {
    applications(scene, [("c1", 9), ("c2", 1)]).await;
    let commands = commands(scene, INSTALL);
    assert!((5..=MAX_COMMANDS).contains(&commands.len()), "{commands:#?}");
    let fleet = &scene.world.fleet;
    // The namespace of everything takes nothing that is not restricted.
    fleet.kubectl(&format!("create namespace {NAMESPACE}"));
    let enforce = "pod-security.kubernetes.io/enforce=restricted";
    fleet.kubectl(&format!("label namespace {NAMESPACE} {enforce}"));
    for command in &commands {
        // The bed has the image.
        if command.starts_with("docker ") {
            continue;
        }
        let more = if command.starts_with(QUICK.0) { QUICK.1 } else { "" };
        let said = run(fleet, &format!("{command}{more}"));
        println!("$ {command}{more}\n{said}");
    }
    let pods = is_rolled_out(scene, "convoy").await;
    figure(&format!("{} commands; {} Convoys are ready", commands.len(), pods.len()));
    assert_eq!(pods.len(), 2);
}

/// The gateway of the example is the guide's, and shows what the guide's shows.
pub(super) async fn readme_shows_the_gateway(scene: &mut Scene) {
    let yaml = |text: &str| serde_saphyr::from_str::<Value>(text).unwrap();
    let example = fs::read_to_string(root().join("examples/zone-dr/fleet/gateway.yaml")).unwrap();
    let guide = GATEWAY.replace("c1,c2", "cluster-1,cluster-2").replace("vsw-1", "vsw-demo");
    assert_eq!(yaml(&example), yaml(&guide));
    let fleet = &scene.world.fleet;
    let envoys = is_rolled_out(scene, &kept(GATEWAY_NAME)).await;
    assert_eq!(envoys.len(), 3);
    let row = format!("{GATEWAY_NAME}   Listening   ");
    eventually(PATIENCE, "the gateway listens", || async {
        let table = fleet.kubectl(&format!("get mseingressconfig {GATEWAY_NAME}"));
        let begins = table.starts_with("NAME                      STATUS      AGE\n");
        let listens = table.lines().nth(1).is_some_and(|line| line.starts_with(&row));
        if begins && listens { Ok(()) } else { Err(table) }
    })
    .await;
    let members = r#"[{"clusterId":"cluster-1"},{"clusterId":"cluster-2"}]"#;
    remote_clusters(fleet, members).await;
    let address = load_balancer(scene, &kept(GATEWAY_NAME)).await;
    let ingress = format!("ingress web-demo -n {}", fleet::NAMESPACE);
    let expect = format!(r#"{{"ingress":[{{"ip":"{address}"}}]}}"#);
    shows(fleet, &ingress, ".status.loadBalancer", &expect).await;
}

pub(super) async fn readme_nine_to_one(scene: &mut Scene) {
    // Three Envoys of two threads each begin their rounds where they like.
    let (client, tolerance) = (http(scene).await, 2.0);
    eventually(PATIENCE, "nine of ten are answered by cluster 1", || async {
        let envs = client.hit(1000, &get("/svc1")).await.envs();
        figure(&format!("{:.1} % of 1000 are answered by {C1}", envs.share(C1)));
        let is_so = envs.shares(&[(C1, 90.0), (C2, 10.0)], tolerance);
        if is_so { Ok(()) } else { Err(format!("{envs:?}")) }
    })
    .await;
}

pub(super) async fn readme_fails_over_when_scaled_to_zero(scene: &mut Scene) {
    let scale = |scene: &Scene, n: usize| {
        let words = format!("scale deployment web-demo --replicas={n} -n {}", fleet::NAMESPACE);
        scene.world.member("c1").cluster.kubectl(&words);
    };
    loses_nothing(scene, "scaled to zero", async |scene| {
        scale(scene, 0);
        ready_addresses(&scene.world.member("c1").cluster, "service1", 0).await;
        all(scene, 100, &get("/svc1"), C2).await;
    })
    .await;
    scale(scene, 9);
    ready_addresses(&scene.world.member("c1").cluster, "service1", 9).await;
    readme_nine_to_one(scene).await;
}

pub(super) async fn readme_fails_over_when_pods_are_killed(scene: &mut Scene) {
    let order = async |scene: &Scene, order| {
        scene.world.member("c1").kubelet.order("web-demo", order).await
    };
    loses_nothing(scene, "pods killed", async |scene| {
        assert_eq!(order(scene, Order::Kill).await, 9);
        all(scene, 100, &get("/svc1"), C2).await;
    })
    .await;
    order(scene, Order::Revive).await;
    readme_nine_to_one(scene).await;
}

pub(super) async fn readme_header_reaches_the_canary(scene: &mut Scene) {
    let member = &scene.world.member("c1").cluster;
    member.apply(&workload::canary(), "");
    ready_addresses(member, "service1-canary-1", 1).await;
    let chosen = get("/svc1").header("canary-dest", "cluster1");
    all(scene, 100, &chosen, "cluster-demo-1-canary").await;
}

/// Its last commands take everything away but the definitions and what is in the members.
pub(super) async fn readme_leaves_definitions_behind(scene: &mut Scene) {
    let fleet = &scene.world.fleet;
    for command in commands(scene, UNINSTALL) {
        let said = run(fleet, &command);
        println!("$ {command}\n{said}");
    }
    let crds = fleet.kubectl("get crds -oname");
    for name in [
        "albconfigs.alibabacloud.com",
        "mseingressconfigs.mse.alibabacloud.com",
        "memberclusters.convoy.dev",
    ] {
        assert!(crds.contains(name), "{crds}");
    }
    assert_eq!(
        fleet.kubectl("get clusterroles,clusterrolebindings -oname").matches("convoy").count(),
        0
    );
    let pods = fleet.kubectl("get pods -A -oname");
    assert_eq!(pods, "");
    // Its address is nobody's.
    let ingress = fleet.kubectl(&format!("get ingress web-demo -n {} -oname", fleet::NAMESPACE));
    assert!(ingress.contains("web-demo"), "{ingress}");
}

/// What is allowed is what the chart and `convoy member add` have made, so whoever was never refused has
/// asked for nothing else. Only when the chart is removed its account goes before its Pods.
pub(super) async fn fault_s03_nobody_was_refused(scene: &mut Scene) {
    let account = format!("system:serviceaccount:{NAMESPACE}:");
    for cluster in scene.world.clusters() {
        let log = cluster.audit_log();
        let is_ours =
            |entry: &&Value| entry["user"]["username"].to_string().contains(account.as_str());
        let ours: Vec<_> = log.iter().filter(is_ours).collect();
        assert!(!ours.is_empty(), "Convoy asked nothing of {}", cluster.name);
        let refused: Vec<_> =
            ours.iter().filter(|entry| entry["responseStatus"]["code"] == 403).collect();
        figure(&format!("{}: {} requests, {} refused", cluster.name, ours.len(), refused.len()));
        let refused: Vec<_> =
            refused.iter().map(|it| format!("{} {}", it["verb"], it["requestURI"])).collect();
        assert!(refused.is_empty(), "{}: {refused:#?}", cluster.name);
    }
}
