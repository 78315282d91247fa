//! The charts on a real fleet, by the real Helm: a namespace that enforces the pod security standard
//! `restricted` takes them, and the account that they make is enough for Convoy.

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
    chart_is_upgraded,
    chart_leaves_definitions_and_objects_behind,
}

/// Of the release, beside what the scene installs.
const NAMESPACE: &str = "edge";

const CHART: &str = "deploy/helm/convoy --namespace edge --set gateways[0].name=web";

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

/// Waits until the API server has made so many Pods; it makes none that the namespace forbids.
async fn pods(fleet: &Cluster, count: usize) {
    eventually(SETTLE, "the Pods of the release are made", || async {
        let pods = fleet.try_kubectl(&format!("get pods -n {NAMESPACE} -oname"), "")?;
        if pods.lines().count() == count { Ok(()) } else { Err(pods) }
    })
    .await;
}

async fn fault_s21_chart_is_installed_where_restricted_is_enforced(scene: &mut Scene) {
    let fleet = &scene.world.fleet;
    fleet.kubectl(&format!("create namespace {NAMESPACE}"));
    let enforce = "pod-security.kubernetes.io/enforce=restricted";
    fleet.kubectl(&format!("label namespace {NAMESPACE} {enforce}"));
    fleet
        .try_kubectl(&format!("run root --image=root -n {NAMESPACE}"), "")
        .expect_err("the namespace forbids what is not restricted");
    // The scene has made the kinds already. Deleting these so soon after that may take the API server
    // five minutes.
    helm(fleet, "install convoy-crds deploy/helm/convoy-crds --take-ownership");
    let notes = helm(fleet, &format!("install edge {CHART}"));
    assert!(notes.contains("convoy member add --id ID"), "{notes}");
    assert!(!notes.contains("Its kinds are missing"), "{notes}");
    // Two of Convoy and two Envoys.
    pods(fleet, 4).await;
}

async fn fault_s03_chart_grants_what_convoy_asks_for(scene: &mut Scene) {
    let fleet = &scene.world.fleet;
    let token = fleet.kubectl(&format!("create token edge-convoy -n {NAMESPACE}"));
    let kubeconfig = scene.world.dir().join("chart.kubeconfig");
    fs::write(&kubeconfig, fleet.kubeconfig_with(token.trim())).unwrap();
    let arguments = vec![
        "serve".to_owned(),
        format!("--kubeconfig={}", kubeconfig.display()),
        "--xds-listen=127.0.0.1:0".to_owned(),
        "--xds-plaintext".to_owned(),
        "--admin-listen=127.0.0.1:0".to_owned(),
        format!("--member-namespace={NAMESPACE}"),
        format!("--lease-namespace={NAMESPACE}"),
        format!("--publish-service={NAMESPACE}/edge-convoy-web"),
    ];
    let log = scene.world.dir().join("chart.log");
    let convoy = Daemon::start(env!("CARGO_BIN_EXE_convoy").as_ref(), arguments, log);
    let rule = serde_json::json!({"ingressClass": "mse"});
    fleet.apply(&gateway("web", "c1", rule).to_string(), "");
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
    drop(convoy);
    let forbidden = |entry: &&Value| ours(entry) && entry["responseStatus"]["code"] == 403;
    let log = fleet.audit_log();
    let forbidden: Vec<_> = log.iter().filter(forbidden).map(|it| &it["requestURI"]).collect();
    assert!(forbidden.is_empty(), "{forbidden:?}");
}

async fn chart_is_upgraded(scene: &mut Scene) {
    let fleet = &scene.world.fleet;
    helm(fleet, &format!("upgrade edge {CHART} --set gateways[0].replicas=3"));
    pods(fleet, 5).await;
}

async fn chart_leaves_definitions_and_objects_behind(scene: &mut Scene) {
    let fleet = &scene.world.fleet;
    helm(fleet, &format!("uninstall edge --namespace {NAMESPACE}"));
    helm(fleet, "uninstall convoy-crds");
    pods(fleet, 0).await;
    assert!(fleet.kubectl("get mseingressconfig -oname").contains("web"));
    assert_eq!(fleet.kubectl("get clusterrole edge-convoy --ignore-not-found -oname"), "");
}
