//! The charts on a real fleet, by the real Helm: a namespace that enforces the pod security standard
//! `restricted` takes them and the Envoys that Convoy keeps, and the account that they make is enough
//! for Convoy.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::{
    bed::{
        fleet::gateway,
        poll::{SETTLE, eventually},
    },
    clusters::{cluster::Cluster, daemon::Daemon},
    harness::scenario,
    scene::Scene,
    status::shows,
};

scenario! { "chart", &[];
    fault_s21_chart_is_installed_where_restricted_is_enforced,
    fault_s03_chart_grants_what_convoy_asks_for,
    fault_s21_envoys_are_made_where_restricted_is_enforced,
    chart_is_upgraded,
    chart_leaves_definitions_and_objects_behind,
}

/// Of the release, beside what the scene installs.
const NAMESPACE: &str = "edge";

const CHART: &str = "deploy/helm/convoy --namespace edge";

/// Pods of Convoy, and Envoys of the gateway.
const REPLICAS: usize = 2;

/// Runs `helm WORDS` on the fleet.
#[track_caller]
fn helm(fleet: &Cluster, words: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(root.join("target/bed/helm"))
        .current_dir(root)
        .env("KUBECONFIG", fleet.kubeconfig())
        .env("HOME", fleet.dir())
        .args(words.split_whitespace())
        .output()
        .unwrap_or_else(|err| panic!("helm: {err}; `make bed-programs` builds it"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "helm {words}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits until the API server has made so many Pods of a name; it makes none that the namespace forbids.
async fn pods(fleet: &Cluster, name: &str, count: usize) {
    let words = format!("get pods -n {NAMESPACE} -l app.kubernetes.io/name={name} -oname");
    eventually(SETTLE, "the Pods are made", || async {
        let pods = fleet.try_kubectl(&words, "")?;
        if pods.lines().count() == count { Ok(()) } else { Err(pods) }
    })
    .await;
}

async fn fault_s21_chart_is_installed_where_restricted_is_enforced(scene: &mut Scene) {
    let fleet = &scene.world.fleet;
    fleet.kubectl(&format!("create namespace {NAMESPACE}"));
    for mode in ["enforce", "warn"] {
        let label = format!("pod-security.kubernetes.io/{mode}=restricted");
        fleet.kubectl(&format!("label namespace {NAMESPACE} {label}"));
    }
    fleet
        .try_kubectl(&format!("run root --image=root -n {NAMESPACE}"), "")
        .expect_err("the namespace forbids what is not restricted");
    // The API server finds nothing to warn of either, and would of this.
    let judge = format!("--dry-run=server --warnings-as-errors --namespace {NAMESPACE}");
    let rendered = helm(fleet, &format!("template edge {CHART}"));
    fleet.apply(&rendered, &judge);
    let unsafe_one = rendered.replace("runAsNonRoot: true", "runAsNonRoot: false");
    let said = fleet.try_kubectl(&format!("apply -f - {judge}"), &unsafe_one).unwrap_err();
    assert!(said.contains("would violate PodSecurity"), "{said}");
    // The scene has made the kinds already. Deleting these so soon after that may take the API server
    // five minutes.
    helm(fleet, "install convoy-crds deploy/helm/convoy-crds --take-ownership");
    let notes = helm(fleet, &format!("install edge {CHART}"));
    assert!(notes.contains("convoy member add --id ID"), "{notes}");
    assert!(!notes.contains("Its kinds are missing"), "{notes}");
    pods(fleet, "convoy", REPLICAS).await;
}

/// The command line of the chart's Pods, away from the cluster.
fn arguments(fleet: &Cluster, kubeconfig: &Path) -> Vec<String> {
    let deployment = fleet.kubectl(&format!("get deployment edge-convoy -n {NAMESPACE} -ojson"));
    let deployment: Value = serde_json::from_str(&deployment).unwrap();
    let own = deployment.pointer("/spec/template/spec/containers/0/args").unwrap();
    let own = own.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned());
    let elsewhere =
        |word: &String| !["--xds-listen", "--admin-listen"].iter().any(|it| word.starts_with(it));
    own.filter(elsewhere)
        .chain([
            format!("--kubeconfig={}", kubeconfig.display()),
            "--xds-listen=127.0.0.1:0".to_owned(),
            "--admin-listen=127.0.0.1:0".to_owned(),
            format!("--lease-namespace={NAMESPACE}"),
        ])
        .collect()
}

async fn fault_s03_chart_grants_what_convoy_asks_for(scene: &mut Scene) {
    let fleet = &scene.world.fleet;
    let token = fleet.kubectl(&format!("create token edge-convoy -n {NAMESPACE}"));
    let kubeconfig = scene.world.dir().join("chart.kubeconfig");
    fs::write(&kubeconfig, fleet.kubeconfig_with(token.trim())).unwrap();
    let log = scene.world.dir().join("chart.log");
    let program = env!("CARGO_BIN_EXE_convoy").as_ref();
    let convoy = Daemon::start(program, arguments(fleet, &kubeconfig), log);
    let rule = serde_json::json!({"ingressClass": "mse"});
    let mut gateway = gateway("web", "c1", rule);
    gateway["spec"]["common"]["instance"] =
        serde_json::json!({"replicas": REPLICAS, "spec": "2c4g"});
    fleet.apply(&gateway.to_string(), "");
    // Read, and written by the one that holds the lease.
    shows(fleet, "mseingressconfig web", ".status.phase", "Pending").await;
    let ours = |entry: &Value| {
        entry["user"]["username"] == format!("system:serviceaccount:{NAMESPACE}:edge-convoy")
    };
    eventually(SETTLE, "an Event is written", || async {
        let log = fleet.audit_log();
        let is_event = |entry: &Value| entry["objectRef"]["resource"] == "events";
        if log.iter().any(|entry| ours(entry) && is_event(entry)) {
            Ok(())
        } else {
            Err(format!("{} entries", log.len()))
        }
    })
    .await;
    pods(fleet, "envoy", REPLICAS).await;
    drop(convoy);
    let forbidden = |entry: &&Value| ours(entry) && entry["responseStatus"]["code"] == 403;
    let log = fleet.audit_log();
    let forbidden: Vec<_> = log.iter().filter(forbidden).map(|it| &it["requestURI"]).collect();
    assert!(forbidden.is_empty(), "{forbidden:?}");
}

/// The namespace still forbids what is not, and they are there; nobody was warned about them.
async fn fault_s21_envoys_are_made_where_restricted_is_enforced(scene: &mut Scene) {
    let fleet = &scene.world.fleet;
    let words = format!("get deployment -n {NAMESPACE} -l app.kubernetes.io/name=envoy -ojson");
    let found: Value = serde_json::from_str(&fleet.kubectl(&words)).unwrap();
    let [deployment] = &found["items"].as_array().unwrap()[..] else { panic!("{found}") };
    let mut again = deployment.clone();
    again["metadata"] = serde_json::json!({
        "name": "again", "namespace": NAMESPACE, "labels": deployment["metadata"]["labels"],
    });
    fleet.apply(&again.to_string(), "--dry-run=server --warnings-as-errors");
}

async fn chart_is_upgraded(scene: &mut Scene) {
    let fleet = &scene.world.fleet;
    helm(fleet, &format!("upgrade edge {CHART} --set replicas=3"));
    pods(fleet, "convoy", 3).await;
}

async fn chart_leaves_definitions_and_objects_behind(scene: &mut Scene) {
    let fleet = &scene.world.fleet;
    helm(fleet, &format!("uninstall edge --namespace {NAMESPACE}"));
    helm(fleet, "uninstall convoy-crds");
    pods(fleet, "convoy", 0).await;
    // Without Convoy its Envoys go on.
    pods(fleet, "envoy", REPLICAS).await;
    assert!(fleet.kubectl("get mseingressconfig -oname").contains("web"));
    assert_eq!(fleet.kubectl("get clusterrole edge-convoy --ignore-not-found -oname"), "");
}
