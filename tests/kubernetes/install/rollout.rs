//! Convoy and its Envoys are replaced under load.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use serde_json::Value;

use super::{
    NAMESPACE, PATIENCE, is_followed, is_rolled_out, kept, loses_nothing, object, pods_of,
    readme::run, rollout,
};
use crate::{
    bed::{guide::GATEWAY_NAME, poll::eventually},
    harness::figure,
    scene::Scene,
};

/// Restarts a Deployment as people do, and returns its Pods before and after.
pub(super) async fn restart(scene: &Scene, deployment: &str) -> [Vec<String>; 2] {
    let fleet = &scene.world.fleet;
    let before = pods_of(fleet, deployment).unwrap();
    rollout(fleet, "restart", deployment).unwrap();
    let after = is_rolled_out(scene, deployment).await;
    assert!(after.iter().all(|pod| !before.contains(pod)), "{before:?} {after:?}");
    [before, after]
}

/// What Convoy wrote of the objects that it keeps of gateways.
fn writes(scene: &Scene) -> Vec<String> {
    let log = scene.world.fleet.audit_log();
    let is_write = |entry: &&Value| {
        let kind = entry["objectRef"]["resource"].as_str().unwrap_or_default();
        entry["user"]["username"] == format!("system:serviceaccount:{NAMESPACE}:convoy")
            && entry["verb"] == "patch"
            && ["configmaps", "deployments", "services", "poddisruptionbudgets"].contains(&kind)
    };
    log.iter().filter(is_write).map(|entry| entry["requestURI"].to_string()).collect()
}

/// Another replica finds all in order, and writes nothing.
pub(super) async fn rollout_of_convoy_loses_nothing(scene: &mut Scene) {
    let before = writes(scene);
    loses_nothing(scene, "Convoy restarted", async |scene| {
        restart(scene, "convoy").await;
        is_followed(scene, "after-restart").await;
    })
    .await;
    assert_eq!(writes(scene)[before.len()..], [""; 0]);
}

/// A process that is killed is started again by the kubelet.
pub(super) async fn rollout_of_convoy_one_is_killed(scene: &mut Scene) {
    loses_nothing(scene, "a Convoy killed", async |scene| {
        let pod = pods_of(&scene.world.fleet, "convoy").unwrap().remove(0);
        let process = scene.world.fleet_kubelet().processes(NAMESPACE, &pod)["convoy"];
        kill(Pid::from_raw(process.try_into().unwrap()), Signal::SIGKILL).unwrap();
        eventually(PATIENCE, "it runs again", || async {
            let status = object(&scene.world.fleet, &format!("pod {pod}"))?["status"].take();
            let container = &status["containerStatuses"][0];
            let runs = container["restartCount"] == 1 && container["ready"] == true;
            if runs { Ok(()) } else { Err(status.to_string()) }
        })
        .await;
        is_followed(scene, "after-kill").await;
    })
    .await;
}

/// Another value of the chart, which is none of the Envoys'.
pub(super) async fn rollout_of_the_chart_loses_nothing(scene: &mut Scene) {
    loses_nothing(scene, "helm upgrade", async |scene| {
        let fleet = &scene.world.fleet;
        let envoys = || pods_of(fleet, &kept(GATEWAY_NAME)).unwrap();
        let [convoys, before] = [pods_of(fleet, "convoy").unwrap(), envoys()];
        let upgrade = "helm upgrade convoy deploy/helm/convoy --namespace convoy-system \
                       --reset-then-reuse-values --set log.level=trace";
        run(fleet, upgrade);
        let after = is_rolled_out(scene, "convoy").await;
        assert!(after.iter().all(|pod| !convoys.contains(pod)), "{convoys:?} {after:?}");
        is_followed(scene, "after-upgrade").await;
        assert_eq!(envoys(), before, "Envoys are replaced only if what they start with changes");
    })
    .await;
}

pub(super) async fn rollout_of_envoys_one_is_deleted(scene: &mut Scene) {
    loses_nothing(scene, "an Envoy deleted", async |scene| {
        let fleet = &scene.world.fleet;
        let pod = pods_of(fleet, &kept(GATEWAY_NAME)).unwrap().remove(0);
        // Returns when it is gone.
        fleet.kubectl(&format!("delete pod {pod} -n {NAMESPACE}"));
        is_rolled_out(scene, &kept(GATEWAY_NAME)).await;
        is_followed(scene, "after-delete").await;
    })
    .await;
}

/// What says that kubectl restarted it is kubectl's, and stays.
pub(super) async fn rollout_of_envoys_loses_nothing(scene: &mut Scene) {
    loses_nothing(scene, "Envoys restarted", async |scene| {
        let [before, after] = restart(scene, &kept(GATEWAY_NAME)).await;
        figure(&format!("{} Envoys in place of {}", after.len(), before.len()));
        is_followed(scene, "after-envoys").await;
    })
    .await;
    let deployment = object(&scene.world.fleet, &format!("deployment {}", kept(GATEWAY_NAME)));
    let deployment = deployment.unwrap();
    let annotations = &deployment["spec"]["template"]["metadata"]["annotations"];
    assert!(annotations["kubectl.kubernetes.io/restartedAt"].is_string(), "{annotations}");
}
