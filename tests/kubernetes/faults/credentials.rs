//! Faults of credentials and registrations: rows A6 to A9, A15 and A16.

use std::time::Duration;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use serde_json::{Value, json};

use super::{
    PODS, addresses, all_serve, degraded, metric, outage, probe::Probe, proxied, recovered, set_up,
    shard, trial::Trial, trouble, within,
};
use crate::{
    bed::{
        fleet::NAMESPACE,
        guide,
        poll::{SETTLE, eventually},
    },
    clusters::proxy::Way,
    harness::scenario,
    pods::ready_addresses,
    rows::figure,
    scene::Scene,
    workload,
};

scenario! { "faults-credentials", MEMBERS;
    three_members_are_served,
    fault_a06_another_authority_signs_the_certificate,
    fault_a07_the_token_is_void,
    fault_a07_one_kind_is_forbidden,
    fault_a08_the_secret_is_deleted,
    fault_a09_the_secret_leads_nowhere,
    fault_a09_the_secret_is_garbage,
    fault_a09_the_secret_leads_to_another_cluster,
    fault_a15_an_id_is_declared_twice,
    fault_a15_a_cluster_is_declared_twice,
    fault_a16_a_member_leaves,
}

const MEMBERS: &[&str] = &["c1", "c2", "c3"];

/// Where members are declared.
const SYSTEM: &str = "convoy-system";

/// An API server remembers for so many seconds that a token was good, whatever our timers are.
const TOKEN_CACHE: Duration = Duration::from_secs(10);

async fn three_members_are_served(scene: &mut Scene) {
    set_up(scene, MEMBERS).await;
    scene.start_envoy().await;
    all_serve(scene, MEMBERS).await;
}

/// The member as it was declared at first.
fn mend(scene: &Scene, member: &str) {
    scene.declare_at(member, &proxied(scene, member));
}

async fn fault_a06_another_authority_signs_the_certificate(scene: &mut Scene) {
    let trial = Trial::begin(scene, MEMBERS).await;
    let own = scene.world.member("c1");
    own.proxy.set(Way::Impostor);
    let took = degraded(scene, "c1", "TlsVerify", within(80)).await;
    figure(&format!("said to be distrusted after {took:?}"));
    trial.goes_on(scene, outage()).await;
    // Not a byte of a request was entrusted to it.
    assert_eq!(own.proxy.overheard(), 0);
    scene.declare_at("c1", &own.cluster.server());
    let took = recovered(scene, "c1", within(30)).await;
    figure(&format!("read again {took:?} after the Secret was mended"));
    own.proxy.set(Way::Open);
    mend(scene, "c1");
    trial.end(scene).await;
    recovered(scene, "c1", within(30)).await;
}

async fn fault_a07_the_token_is_void(scene: &mut Scene) {
    let trial = Trial::begin(scene, MEMBERS).await;
    let cluster = &scene.world.member("c1").cluster;
    cluster.kubectl(&format!("delete serviceaccount convoy-member -n {SYSTEM}"));
    let took = degraded(scene, "c1", "Unauthorized", TOKEN_CACHE + within(80)).await;
    figure(&format!("said to be unauthorized after {took:?}"));
    trial.goes_on(scene, outage()).await;
    mend(scene, "c1");
    let took = recovered(scene, "c1", within(30)).await;
    figure(&format!("read again {took:?} after the Secret was mended"));
    trial.end(scene).await;
}

async fn fault_a07_one_kind_is_forbidden(scene: &mut Scene) {
    let trial = Trial::begin(scene, MEMBERS).await;
    let cluster = &scene.world.member("c1").cluster;
    let role: Value =
        serde_json::from_str(&cluster.kubectl("get clusterrole convoy-member -ojson")).unwrap();
    let rules = role["rules"].as_array().unwrap();
    let is_about_slices = |rule: &Value| rule["resources"] == json!(["endpointslices"]);
    let idx = rules.iter().position(is_about_slices).unwrap();
    let patch = json!([{"op": "remove", "path": format!("/rules/{idx}")}]);
    cluster.kubectl(&format!("patch clusterrole convoy-member --type=json -p {patch}"));
    let took = degraded(scene, "c1", "Forbidden", within(80)).await;
    figure(&format!("said to be forbidden after {took:?}"));
    // Without its EndpointSlices, a Service that goes is not believed either.
    cluster.kubectl(&format!("delete service service1 -n {NAMESPACE}"));
    trial.goes_on(scene, outage()).await;
    cluster.apply(&workload::web_demo("c1", PODS), "");
    ready_addresses(cluster, "service1", PODS).await;
    mend(scene, "c1");
    let took = recovered(scene, "c1", within(35)).await;
    figure(&format!("read again {took:?} after the role was mended"));
    trial.end(scene).await;
}

async fn fault_a08_the_secret_is_deleted(scene: &mut Scene) {
    let trial = Trial::begin(scene, MEMBERS).await;
    scene.world.fleet.kubectl(&format!("delete secret convoy-member-c1 -n {SYSTEM}"));
    degraded(scene, "c1", "CredentialsMissing", within(80)).await;
    trial.goes_on(scene, outage()).await;
    mend(scene, "c1");
    recovered(scene, "c1", within(35)).await;
    trial.end(scene).await;
}

async fn fault_a09_the_secret_leads_nowhere(scene: &mut Scene) {
    // Nobody listens there.
    rotate(scene, "Unreachable", || scene.declare_at("c1", "https://10.1.0.9:6443")).await;
}

async fn fault_a09_the_secret_is_garbage(scene: &mut Scene) {
    rotate(scene, "InvalidKubeconfig", || {
        declare_with(scene, "convoy-member-c1", "c1", "not a kubeconfig");
    })
    .await;
}

async fn fault_a09_the_secret_leads_to_another_cluster(scene: &mut Scene) {
    let other = kubeconfig(scene, "c2");
    rotate(scene, "ClusterIdentityMismatch", || {
        declare_with(scene, "convoy-member-c1", "c1", &other);
    })
    .await;
}

/// The old credentials go on until the new ones are as good: what happens in the member is seen.
async fn rotate(scene: &Scene, reason: &str, replace: impl FnOnce()) {
    let mut probe = Probe::place(scene, "c1").await;
    let trial = Trial::begin(scene, MEMBERS).await;
    replace();
    degraded(scene, "c1", reason, within(80)).await;
    probe.times(2).await;
    trial.goes_on(scene, outage()).await;
    let shard = shard(scene, "c1").await;
    assert!(addresses(&shard).all(|address| address.starts_with("10.1.")), "{shard:?}");
    mend(scene, "c1");
    recovered(scene, "c1", within(35)).await;
    probe.times(2).await;
    trial.end(scene).await;
}

/// Another Secret with the same id: the older one wins, whatever their names are.
async fn fault_a15_an_id_is_declared_twice(scene: &mut Scene) {
    let trial = Trial::begin(scene, MEMBERS).await;
    let other = kubeconfig(scene, "c2");
    declare_with(scene, "a-younger", "c1", &other);
    conflict_is_said(scene, true).await;
    scene.replicas[0].process.restart();
    scene.replicas[0].ready().await;
    conflict_is_said(scene, true).await;
    trial.goes_on(scene, outage()).await;
    assert_eq!(trouble(scene, "member c1").await.unwrap(), None);
    scene.world.fleet.kubectl(&format!("delete secret a-younger -n {SYSTEM}"));
    conflict_is_said(scene, false).await;
    trial.end(scene).await;
}

/// Whether there is a finding that a declaration lost against an older one.
async fn conflict_is_said(scene: &Scene, expect: bool) {
    eventually(SETTLE, "the conflict is reported, or no longer", || async {
        let label = "reason=\"Conflicted\"";
        let findings = metric(&scene.replicas[0], "convoy_diagnostics", label).await?;
        if (findings > 0) == expect { Ok(()) } else { Err(format!("{findings} findings")) }
    })
    .await;
}

/// Another id for a cluster that is a member already: the one that is served stays.
async fn fault_a15_a_cluster_is_declared_twice(scene: &mut Scene) {
    let trial = Trial::begin(scene, MEMBERS).await;
    let same = kubeconfig(scene, "c1");
    // It would come first, were the order that of names.
    declare_with(scene, "a-younger", "a1", &same);
    associate(scene, "c1,c2,c3,a1");
    degraded(scene, "a1", "Conflicted", within(80)).await;
    assert_eq!(shard(scene, "a1").await, [""; 0]);
    trial.goes_on(scene, outage()).await;
    associate(scene, "c1,c2,c3");
    scene.world.fleet.kubectl(&format!("delete secret a-younger -n {SYSTEM}"));
    trial.end(scene).await;
}

async fn fault_a16_a_member_leaves(scene: &mut Scene) {
    let before = shard(scene, "c2").await;
    let trial = Trial::begin(scene, &["c1", "c3"]).await;
    let has = async |expect: &[String]| {
        eventually(SETTLE, "Envoy has what the gateway names", || async {
            let shard = shard(scene, "c2").await;
            if shard == expect { Ok(()) } else { Err(format!("{shard:?}")) }
        })
        .await;
    };
    associate(scene, "c1,c3");
    has(&[]).await;
    trial.goes_on(scene, outage()).await;
    associate(scene, "c1,c2,c3");
    has(&before).await;
    trial.end(scene).await;
}

/// Names the members of the gateway.
fn associate(scene: &Scene, ids: &str) {
    let key = "mse.alibabacloud.com/remote-clusters";
    let name = guide::GATEWAY_NAME;
    let words = format!("annotate mseingressconfig {name} {key}={ids} --overwrite");
    scene.world.fleet.kubectl(&words);
}

/// The kubeconfig with which a member was declared.
fn kubeconfig(scene: &Scene, member: &str) -> String {
    let secret =
        scene.world.fleet.kubectl(&format!("get secret convoy-member-{member} -n {SYSTEM} -ojson"));
    let secret: Secret = serde_json::from_str(&secret).unwrap();
    String::from_utf8(secret.data.unwrap()[member].0.clone()).unwrap()
}

/// A Secret that declares a member.
fn declare_with(scene: &Scene, name: &str, id: &str, kubeconfig: &str) {
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": SYSTEM,
            "labels": {"convoy.dev/member": "true"},
        },
        "data": {id: ByteString(kubeconfig.into())},
    });
    scene.world.fleet.apply(&secret.to_string(), "--server-side --force-conflicts");
}
