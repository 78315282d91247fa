//! Rows 1 to 6 and 11 to 14: what people see of a gateway and its Ingresses with kubectl.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use crate::{
    bed::{
        Bed,
        client::get,
        fleet::{NAMESPACE, gateway},
        guide::{CANARY, GATEWAY, GATEWAY_NAME, WEB_DEMO},
        ingress::ingress,
        load::{Load, Plan},
        netns,
        poll::{SETTLE, eventually},
        workload::workload,
    },
    clusters::{cluster::Cluster, daemon::Daemon},
    harness::{figure, steps},
    rows::{
        self,
        balance::{C1, C2, SCHEDULED, start_web_demo},
    },
    scene::Scene,
};

steps! {
    row_001_phases,
    row_002_healthy_members,
    row_003_unknown_member,
    row_004_member_leaves,
    row_005_member_joins,
    row_006_no_class_rule_serves_nothing,
    row_011_watch_namespace,
    row_012_addresses_of_ingresses,
    row_013_class_changed_away,
    row_014_invalid_gateway,
}

/// Waits until `kubectl get WHAT -ojsonpath={PATH}` prints this and nothing else.
pub(crate) async fn shows(fleet: &Cluster, what: &str, path: &str, expect: &str) {
    shows_that(fleet, what, path, |said| said == expect).await;
}

/// The same for a text that is not known in advance; returns it.
pub(crate) async fn shows_that(
    fleet: &Cluster,
    what: &str,
    path: &str,
    expect: impl Fn(&str) -> bool,
) -> String {
    let words = format!("get {what} -ojsonpath={{{path}}}");
    eventually(SETTLE, &words, || async {
        let said = fleet.try_kubectl(&words, "")?;
        if expect(&said) { Ok(said) } else { Err(said) }
    })
    .await
}

/// `status.remoteClusters` of the guide's gateway, byte for byte.
pub(crate) async fn remote_clusters(fleet: &Cluster, expect: &str) {
    shows(fleet, &the_gateway(), ".status.remoteClusters", expect).await;
}

pub(crate) fn the_gateway() -> String {
    format!("mseingressconfig {GATEWAY_NAME}")
}

fn ingress_named(name: &str) -> String {
    format!("ingress {name} -n {NAMESPACE}")
}

/// What an Ingress says that the gateway serves.
fn served() -> String {
    format!(r#"{{"ingress":[{{"ip":"{}"}}]}}"#, netns::GATEWAY)
}

/// A kubectl that prints what changes, for as long as it lives.
struct Watch {
    _kubectl: Daemon,
    log: PathBuf,
}

impl Watch {
    fn start(fleet: &Cluster, log: PathBuf) -> Watch {
        let arguments = vec![
            "get".to_owned(),
            "mseingressconfig".to_owned(),
            "-w".to_owned(),
            format!("--kubeconfig={}", fleet.kubeconfig().display()),
            format!("--cache-dir={}", fleet.dir().join("kubectl").display()),
        ];
        Watch { _kubectl: Daemon::start(&fleet.programs.kubectl, arguments, log.clone()), log }
    }

    /// The lines of the table, in words.
    fn table(&self) -> Vec<Vec<String>> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        text.lines().map(words).collect()
    }

    /// What STATUS was, one after the other. A new gateway has none, and no word for it.
    fn phases(&self) -> Vec<String> {
        let rows = self.table().into_iter().filter(|row| row.len() == 3 && row[0] == GATEWAY_NAME);
        let mut phases: Vec<String> = rows.map(|mut row| row.remove(1)).collect();
        phases.dedup();
        phases
    }
}

async fn row_001_phases(scene: &mut Scene) {
    let (fleet, bed) = (&scene.world.fleet, &mut scene.bed);
    bed.start_convoy().await;
    let watch = Watch::start(fleet, fleet.dir().join("watch-001.log"));
    bed.fleet.apply("gateway", GATEWAY);
    shows(fleet, &the_gateway(), ".status.phase", "Pending").await;
    bed.start_envoy(GATEWAY_NAME).await;
    shows(fleet, &the_gateway(), ".status.phase", "Listening").await;
    bed.check(&[(get("/"), "404")]).await;
    let phases = watch.phases();
    figure(&phases.join(", "));
    assert_eq!(watch.table()[0], ["NAME", "STATUS", "AGE"]);
    assert_eq!(phases.first().map(String::as_str), Some("Pending"));
    // Where everything has been read before the Envoy comes, there is nothing to wait for while
    // Running; row 6 stays there.
    let order = ["Pending", "Running", "Listening"];
    let positions = phases.iter().map(|phase| order.iter().position(|it| it == phase).unwrap());
    assert!(positions.is_sorted(), "{phases:?}");
}

async fn row_002_healthy_members(scene: &mut Scene) {
    scene.bed.start_guide().await;
    remote_clusters(&scene.world.fleet, r#"[{"clusterId":"c1"},{"clusterId":"c2"}]"#).await;
    let reversed = GATEWAY.replace("c1,c2", "c2,c1");
    scene.bed.fleet.apply("gateway", &reversed);
    remote_clusters(&scene.world.fleet, r#"[{"clusterId":"c2"},{"clusterId":"c1"}]"#).await;
}

async fn row_003_unknown_member(scene: &mut Scene) {
    let (fleet, bed) = (&scene.world.fleet, &mut scene.bed);
    bed.deploy_service1(&[("c1", 1)]);
    bed.fleet.apply("web-demo", WEB_DEMO);
    bed.fleet.apply("gateway", &GATEWAY.replace("c1,c2", "c1,cX"));
    bed.start().await;
    let path = ".status.remoteClusters";
    let said = shows_that(fleet, &the_gateway(), path, |said| said.contains("Failed")).await;
    let entries: Vec<Value> = serde_json::from_str(&said).unwrap();
    assert_eq!(entries[0], json!({"clusterId": "c1"}));
    assert_eq!((&entries[1]["clusterId"], &entries[1]["status"]), (&json!("cX"), &json!("Failed")));
    assert!(entries[1]["message"].as_str().unwrap().starts_with("ClusterNotFound: "), "{said}");
    shows(fleet, &the_gateway(), ".status.phase", "Listening").await;
    bed.all(20, &get("/svc1"), C1).await;
}

fn light_load(bed: &Bed) -> Load {
    let request = get("/svc1");
    bed.load(&Plan { name: "load", request, gets_per_second: 100, posts_per_second: 0 })
}

async fn loses_nothing(load: Load) {
    load.sends(50).await;
    let report = load.stop().await;
    assert_eq!(report.lost(), 0, "{:?}", report.failures());
}

async fn row_004_member_leaves(scene: &mut Scene) {
    let (fleet, bed) = (&scene.world.fleet, &mut scene.bed);
    start_web_demo(bed, &[("c1", 1), ("c2", 1)]).await;
    bed.shares(200, &get("/svc1"), &[(C1, 50.0), (C2, 50.0)], SCHEDULED).await;
    let load = light_load(bed);
    bed.fleet.apply("gateway", &GATEWAY.replace("c1,c2", "c1"));
    bed.all(200, &get("/svc1"), C1).await;
    remote_clusters(fleet, r#"[{"clusterId":"c1"}]"#).await;
    loses_nothing(load).await;
}

async fn row_005_member_joins(scene: &mut Scene) {
    let (fleet, bed) = (&scene.world.fleet, &mut scene.bed);
    bed.deploy_service1(&[("c1", 1), ("c2", 1)]);
    bed.fleet.apply("web-demo", WEB_DEMO);
    bed.fleet.apply("gateway", &GATEWAY.replace("c1,c2", "c1"));
    bed.start().await;
    bed.all(20, &get("/svc1"), C1).await;
    let load = light_load(bed);
    bed.fleet.apply("gateway", GATEWAY);
    bed.shares(200, &get("/svc1"), &[(C1, 50.0), (C2, 50.0)], SCHEDULED).await;
    remote_clusters(fleet, r#"[{"clusterId":"c1"},{"clusterId":"c2"}]"#).await;
    loses_nothing(load).await;
    // No listener was touched, and no connection drained.
    assert_eq!(bed.envoy().stat("listener_manager.listener_(modified|removed)").await, 0);
}

async fn row_006_no_class_rule_serves_nothing(scene: &mut Scene) {
    rows::gateway::row_006_no_class_rule_serves_nothing(&mut scene.bed).await;
    let (fleet, bed) = (&scene.world.fleet, &mut scene.bed);
    shows(fleet, &the_gateway(), ".status.phase", "Running").await;
    let local = json!({"ingressClass": "mse"});
    bed.fleet.object("gateway", &gateway(GATEWAY_NAME, "c1,c2", local));
    shows(fleet, &the_gateway(), ".status.phase", "Listening").await;
    bed.all(4, &get("/svc1"), C1).await;
}

async fn row_011_watch_namespace(scene: &mut Scene) {
    rows::gateway::row_011_watch_namespace(&mut scene.bed).await;
    let fleet = &scene.world.fleet;
    shows(fleet, "ingress web -n a", ".status.loadBalancer", &served()).await;
    shows(fleet, "ingress web -n b", ".status.loadBalancer", "{}").await;
}

async fn row_012_addresses_of_ingresses(scene: &mut Scene) {
    let (fleet, bed) = (&scene.world.fleet, &mut scene.bed);
    bed.deploy(workload("c1", "service1-canary-1", 1));
    bed.fleet.apply("canary", CANARY);
    start_web_demo(bed, &[("c1", 1)]).await;
    for name in ["web-demo", "web-demo-canary-1"] {
        shows(fleet, &ingress_named(name), ".status.loadBalancer", &served()).await;
    }
    bed.all(4, &get("/svc1"), C1).await;
}

async fn row_013_class_changed_away(scene: &mut Scene) {
    let (fleet, bed) = (&scene.world.fleet, &mut scene.bed);
    start_web_demo(bed, &[("c1", 1)]).await;
    bed.all(4, &get("/svc1"), C1).await;
    shows(fleet, &ingress_named("web-demo"), ".status.loadBalancer", &served()).await;
    bed.ingress(&ingress("web-demo").class("other").exact("/svc1", "service1"));
    bed.check(&[(get("/svc1"), "404")]).await;
    shows(fleet, &ingress_named("web-demo"), ".status.loadBalancer", "{}").await;
}

/// The gateway with something in its spec that the schema lets pass (`MseIngressConfig` says why).
fn invalid(spec: Value) -> Value {
    let mut object = gateway(GATEWAY_NAME, "c1,c2", json!({"ingressClass": "mse"}));
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    object
}

async fn row_014_invalid_gateway(scene: &mut Scene) {
    let (fleet, bed) = (&scene.world.fleet, &mut scene.bed);
    start_web_demo(bed, &[("c1", 1)]).await;
    bed.all(20, &get("/svc1"), C1).await;
    let load = light_load(bed);
    let before = bed.envoy().config_dump().await;
    let two_tracers =
        json!({"xTrace": {"sampleRate": "10"}, "openTelemetry": {"sampleRate": "10"}});
    for (spec, word) in [
        (json!({"common": {"instance": {"replicas": 31}}}), "replicas"),
        (json!({"monitor": {"tracing": two_tracers}}), "tracing"),
    ] {
        bed.fleet.object("gateway", &invalid(spec));
        shows(fleet, &the_gateway(), ".status.phase", "Failed").await;
        shows_that(fleet, &the_gateway(), ".status.message", |said| said.contains(word)).await;
    }
    assert_eq!(bed.envoy().config_dump().await, before);
    bed.fleet.object("gateway", &invalid(json!({})));
    shows(fleet, &the_gateway(), ".status.phase", "Listening").await;
    loses_nothing(load).await;
}
