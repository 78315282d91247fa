//! Managed gateways on a real API server, in a namespace that enforces the pod security standard
//! `restricted`. Nobody runs the Pods here; that they are made says that they are admitted.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::{Value, json};

use crate::{
    audit,
    bed::{
        guide::{GATEWAY, GATEWAY_NAME},
        poll::{SETTLE, eventually},
    },
    clusters::cluster::Cluster,
    harness::{figure, scenario},
    scene::{Scene, convoy},
    status::{shows, shows_that, the_gateway},
};

scenario! { "infra", &[];
    infra_1_a_gateway_is_made_of_the_guides_manifest,
    infra_2_nothing_is_asked_while_all_is_in_order,
    infra_3_drift_is_repaired,
    infra_4_what_others_own_stays,
    infra_5_an_autoscaler_keeps_its_replicas,
    infra_6_an_invalid_spec_keeps_the_objects,
    infra_7_an_object_of_somebody_else_is_left_alone_and_reported,
    infra_8_a_refusal_is_reported_and_mended,
    infra_9_an_alb_config_shares_nothing_with_its_namesake,
    infra_a_the_cluster_removes_what_a_deleted_gateway_had,
    infra_b_one_kind_of_gateways_is_enough,
}

const NAMESPACE: &str = "convoy-system";

/// The garbage collector looks for new kinds every half minute.
const COLLECTED: Duration = Duration::from_secs(60);

/// An admission that refuses one Service.
const REFUSED: &str = "\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: refused}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
    - {apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [services]}
  validations:
  - {expression: \"object.metadata.name != 'convoy-more'\", message: not this one}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: refused}
spec: {policyName: refused, validationActions: [Deny]}
";

/// Every kind of object that a gateway has.
const KINDS: [&str; 6] =
    ["serviceaccount", "secret", "configmap", "deployment", "service", "poddisruptionbudget"];

fn named(gateway: &str) -> String {
    format!("convoy-{gateway}")
}

/// `KIND convoy-GATEWAY -n NAMESPACE`.
fn object(kind: &str, gateway: &str) -> String {
    format!("{kind} {} -n {NAMESPACE}", named(gateway))
}

fn guides(kind: &str) -> String {
    object(kind, GATEWAY_NAME)
}

fn gateway(name: &str, replicas: usize) -> String {
    let from =
        [("ackone-gateway-hongkong", name), ("replicas: 3", &format!("replicas: {replicas}"))];
    from.iter().fold(GATEWAY.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// `Provisioned` of a gateway.
async fn provisioned(fleet: &Cluster, gateway: &str, expect: impl Fn(&str) -> bool) -> String {
    let path = r#".status.conditions[?(@.type=="Provisioned")]"#;
    shows_that(fleet, &format!("mseingressconfig {gateway}"), path, expect).await
}

async fn is_settled(fleet: &Cluster, gateway: &str) {
    provisioned(fleet, gateway, |said| said.contains(r#""status":"True""#)).await;
}

async fn pods(fleet: &Cluster, gateway: &str, count: usize) {
    let label = format!("gateway.networking.k8s.io/gateway-name={gateway}");
    eventually(SETTLE, "the Pods are made", || async {
        let said = fleet.try_kubectl(&format!("get pods -n {NAMESPACE} -l {label} -oname"), "")?;
        if said.lines().count() == count { Ok(()) } else { Err(said) }
    })
    .await;
}

/// A counter of the one that manages gateways.
async fn metric(scene: &Scene, name: &str) -> u64 {
    let text = scene.replicas.last().unwrap().admin("/metrics").await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("convoy_infra_{name} ")));
    line.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

/// Requests about objects of gateways so far, but for watches.
fn asked(fleet: &Cluster) -> usize {
    let is_ours = |own: &audit::Request| {
        let (resource, verb) = (own.resource.trim_end_matches('s'), own.verb.as_str());
        own.name.starts_with("convoy-")
            && KINDS.contains(&resource)
            && verb != "watch"
            && own.name != "convoy-authority"
    };
    audit::requests(fleet, "convoy").iter().filter(|own| is_ours(own)).count()
}

async fn infra_1_a_gateway_is_made_of_the_guides_manifest(scene: &mut Scene) {
    let enforce = "pod-security.kubernetes.io/enforce=restricted";
    scene.world.fleet.kubectl(&format!("label namespace {NAMESPACE} {enforce}"));
    scene.world.fleet.apply(&convoy(&["account", "--manage-gateways"]), "--server-side");
    scene.start_managing_convoy().await;
    let fleet = &scene.world.fleet;
    fleet.apply(GATEWAY, "");
    is_settled(fleet, GATEWAY_NAME).await;
    for kind in KINDS {
        let owner = ".metadata.ownerReferences[*].name";
        shows(fleet, &guides(kind), owner, GATEWAY_NAME).await;
    }
    shows(fleet, &guides("deployment"), ".spec.replicas", "3").await;
    pods(fleet, GATEWAY_NAME, 3).await;
    shows(fleet, &guides("service"), ".spec.ports[*].port", "80 443").await;
    shows(fleet, &guides("service"), ".spec.ports[*].targetPort", "http https").await;
    // What is asked of the size can be compared as the API server keeps it.
    assert_eq!(metric(scene, "errors_total").await, 0);
    assert_eq!(metric(scene, "applied_total").await, 6);
}

async fn infra_2_nothing_is_asked_while_all_is_in_order(scene: &mut Scene) {
    let fleet = &scene.world.fleet;
    let (before, looks) = (asked(fleet), metric(scene, "in_order_total").await);
    // What a cloud does, and what nobody needs to answer.
    let status = r#"{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.9"}]}}}"#;
    let words =
        format!("patch {} --subresource=status --type=merge -p {status}", guides("service"));
    fleet.kubectl(&words);
    eventually(SETTLE, "the event was looked at", || async {
        let now = metric(scene, "in_order_total").await;
        if now > looks { Ok(()) } else { Err(now.to_string()) }
    })
    .await;
    assert_eq!(asked(fleet), before);
    figure(&format!("{before} requests made the gateway; none since"));
    // No Envoy is there, so that nobody is sent to the address yet.
    shows(fleet, &the_gateway(), ".status.loadBalancer", "{}").await;
}

async fn infra_3_drift_is_repaired(scene: &mut Scene) {
    let fleet = &scene.world.fleet;
    let patch = |kind: &str, patch: &str| format!("patch {} --type=merge -p {patch}", guides(kind));
    let label = "app.kubernetes.io/managed-by";
    for (command, kind, path, expect) in [
        (
            format!("scale {} --replicas=1", guides("deployment")),
            "deployment",
            ".spec.replicas",
            "3",
        ),
        (
            patch("service", r#"{"spec":{"ports":[{"name":"http","port":81,"targetPort":"x"}]}}"#),
            "service",
            ".spec.ports[?(@.name==\"http\")].port",
            "80",
        ),
        (
            patch("service", r#"{"spec":{"externalTrafficPolicy":"Cluster"}}"#),
            "service",
            ".spec.externalTrafficPolicy",
            "Local",
        ),
        (
            patch("poddisruptionbudget", r#"{"spec":{"maxUnavailable":3}}"#),
            "poddisruptionbudget",
            ".spec.maxUnavailable",
            "1",
        ),
        (
            patch("serviceaccount", r#"{"automountServiceAccountToken":true}"#),
            "serviceaccount",
            ".automountServiceAccountToken",
            "false",
        ),
        (
            format!("label {} {label}-", guides("configmap")),
            "configmap",
            r".metadata.labels.app\.kubernetes\.io/managed-by",
            "convoy",
        ),
        (
            format!("label {} {label}=Helm --overwrite", guides("service")),
            "service",
            r".metadata.labels.app\.kubernetes\.io/managed-by",
            "convoy",
        ),
    ] {
        fleet.kubectl(&command);
        shows(fleet, &guides(kind), path, expect).await;
    }
    let bootstrap = fleet.kubectl(&format!("get {} -ojsonpath={{.data}}", guides("configmap")));
    fleet.kubectl(&patch("configmap", r#"{"data":{"envoy.yaml":"x"}}"#));
    shows(fleet, &guides("configmap"), ".data", &bootstrap).await;
    // Its key is not that of its certificate any more: another certificate is due.
    let certificate = r".data.tls\.crt";
    let old = fleet.kubectl(&format!("get {} -ojsonpath={{{certificate}}}", guides("secret")));
    fleet.kubectl(&patch("secret", r#"{"data":{"tls.key":"eA=="}}"#));
    let is_new = |said: &str| !said.is_empty() && said != old;
    shows_that(fleet, &guides("secret"), certificate, is_new).await;
    for kind in KINDS {
        let uid = fleet.kubectl(&format!("get {} -ojsonpath={{.metadata.uid}}", guides(kind)));
        fleet.kubectl(&format!("delete {} --wait=false", guides(kind)));
        let is_new = |said: &str| !said.is_empty() && said != uid;
        shows_that(fleet, &guides(kind), ".metadata.uid", is_new).await;
    }
    is_settled(fleet, GATEWAY_NAME).await;
    pods(fleet, GATEWAY_NAME, 3).await;
}

async fn infra_4_what_others_own_stays(scene: &mut Scene) {
    let fleet = &scene.world.fleet;
    for kind in ["service", "deployment"] {
        fleet.kubectl(&format!("annotate {} team=edge", guides(kind)));
    }
    let sidecar = r#"{"name":"sidecar","image":"sidecar"}"#;
    let injected = format!(r#"{{"spec":{{"template":{{"spec":{{"containers":[{sidecar}]}}}}}}}}"#);
    fleet.kubectl(&format!("patch {} -p {injected}", guides("deployment")));
    // With what is ours mended, the rest is still there. Nothing that would roll the Pods, none of
    // which is ever ready here.
    let label = "app.kubernetes.io/part-of";
    fleet.kubectl(&format!("label {} {label}-", guides("deployment")));
    let path = r".metadata.labels.app\.kubernetes\.io/part-of";
    shows(fleet, &guides("deployment"), path, "convoy").await;
    let containers = ".spec.template.spec.containers[*].name";
    let has_both = |said: &str| said.contains("sidecar") && said.contains("envoy");
    shows_that(fleet, &guides("deployment"), containers, has_both).await;
    for kind in ["service", "deployment"] {
        shows(fleet, &guides(kind), ".metadata.annotations.team", "edge").await;
    }
    // A container that the namespace forbids: it says so where the gateway is looked at.
    let said = provisioned(fleet, GATEWAY_NAME, |said| said.contains("violates PodSecurity")).await;
    assert!(said.contains("Deployment convoy-system/convoy-ackone-gateway-hongkong"), "{said}");
    let remove = r#"[{"op":"remove","path":"/spec/template/spec/containers/INDEX"}]"#;
    let names = fleet.kubectl(&format!("get {} -ojsonpath={{{containers}}}", guides("deployment")));
    let index = names.split(' ').position(|name| name == "sidecar").unwrap();
    let remove = remove.replace("INDEX", &index.to_string());
    fleet.kubectl(&format!("patch {} --type=json -p {remove}", guides("deployment")));
    is_settled(fleet, GATEWAY_NAME).await;
}

async fn infra_5_an_autoscaler_keeps_its_replicas(scene: &mut Scene) {
    let fleet = &scene.world.fleet;
    let path = "/spec/common/instance/replicas";
    let unset = format!(r#"[{{"op":"remove","path":"{path}"}}]"#);
    fleet.kubectl(&format!("patch {} --type=json -p {unset}", the_gateway()));
    let generation =
        fleet.kubectl(&format!("get {} -ojsonpath={{.metadata.generation}}", the_gateway()));
    shows(fleet, &the_gateway(), ".status.observedGeneration", &generation).await;
    // As an autoscaler does it.
    fleet.kubectl(&format!("scale {} --replicas=5", guides("deployment")));
    pods(fleet, GATEWAY_NAME, 5).await;
    is_settled(fleet, GATEWAY_NAME).await;
    // What is mended now leaves them alone.
    let other = r#"{"spec":{"strategy":{"rollingUpdate":{"maxUnavailable":1}}}}"#;
    fleet.kubectl(&format!("patch {} --type=merge -p {other}", guides("deployment")));
    let mended = ".spec.strategy.rollingUpdate.maxUnavailable";
    shows(fleet, &guides("deployment"), mended, "0").await;
    shows(fleet, &guides("deployment"), ".spec.replicas", "5").await;
    // Until the gateway says how many.
    fleet.apply(GATEWAY, "");
    shows(fleet, &guides("deployment"), ".spec.replicas", "3").await;
}

async fn infra_6_an_invalid_spec_keeps_the_objects(scene: &mut Scene) {
    let fleet = &scene.world.fleet;
    is_settled(fleet, GATEWAY_NAME).await;
    let versions = || -> BTreeMap<&str, String> {
        let generation = |kind| fleet.kubectl(&format!("get {} -ojson", guides(kind)));
        let spec =
            |kind| serde_json::from_str::<Value>(&generation(kind)).unwrap()["spec"].to_string();
        KINDS.into_iter().map(|kind| (kind, spec(kind))).collect()
    };
    let before = versions();
    fleet.apply(&GATEWAY.replace("2c4g", "3c3g"), "");
    shows(fleet, &the_gateway(), ".status.phase", "Failed").await;
    assert_eq!(versions(), before);
    // Its Envoys are served on, so what they need is kept, a certificate most of all.
    fleet.kubectl(&format!("delete {}", guides("secret")));
    eventually(SETTLE, "the Secret is back", || async {
        fleet.try_kubectl(&format!("get {} -oname", guides("secret")), "")
    })
    .await;
    fleet.apply(GATEWAY, "");
    shows(fleet, &the_gateway(), ".status.phase", "Pending").await;
}

async fn infra_7_an_object_of_somebody_else_is_left_alone_and_reported(scene: &mut Scene) {
    let fleet = &scene.world.fleet;
    fleet.kubectl(&format!("create service clusterip {} --tcp=9999 -n {NAMESPACE}", named("web")));
    fleet.apply(&gateway("web", 0), "");
    let said = provisioned(fleet, "web", |said| said.contains("ObjectNotOurs")).await;
    assert!(said.contains("Service convoy-system/convoy-web"), "{said}");
    // Nothing else waits for it.
    shows(fleet, &object("deployment", "web"), ".spec.replicas", "0").await;
    shows(fleet, &object("service", "web"), ".spec.ports[*].port", "9999").await;
    eventually(SETTLE, "an Event says it", || async {
        let said = fleet.try_kubectl("get events -n default -ojsonpath={.items[*].message}", "")?;
        if said.contains("Service convoy-system/convoy-web") { Ok(()) } else { Err(said) }
    })
    .await;
    assert!(metric(scene, "unsettled_gateways").await >= 1);
    fleet.kubectl(&format!("delete {}", object("service", "web")));
    shows(fleet, &object("service", "web"), ".spec.ports[*].port", "80 443").await;
    is_settled(fleet, "web").await;
}

async fn infra_8_a_refusal_is_reported_and_mended(scene: &mut Scene) {
    let fleet = &scene.world.fleet;
    fleet.apply(REFUSED, "");
    let attempt = format!("create service clusterip {} --tcp=1 -n {NAMESPACE}", named("more"));
    eventually(SETTLE, "the policy is in force", || async {
        match fleet.try_kubectl(&format!("{attempt} --dry-run=server"), "") {
            Ok(said) => Err(said),
            Err(_) => Ok(()),
        }
    })
    .await;
    fleet.apply(&gateway("more", 0), "");
    let said = provisioned(fleet, "more", |said| said.contains("not this one")).await;
    assert!(said.contains("Service convoy-system/convoy-more"), "{said}");
    shows(fleet, &object("deployment", "more"), ".spec.replicas", "0").await;
    fleet.kubectl("delete validatingadmissionpolicybinding refused");
    is_settled(fleet, "more").await;
}

/// Of the guide's name.
fn alb(ports: &[u16]) -> String {
    let listeners = ports.iter().map(|port| json!({"port": port, "protocol": "HTTP"}));
    let tls = [json!({"port": 443, "protocol": "HTTPS"})];
    json!({
        "apiVersion": "alibabacloud.com/v1",
        "kind": "AlbConfig",
        "metadata": {
            "name": GATEWAY_NAME,
            "annotations": {
                "alb.ingress.kubernetes.io/remote-clusters": "c1,c2",
                "convoy.dev/replicas": "1",
                "convoy.dev/size": "2c4g",
            },
        },
        "spec": {
            "config": {"name": "one-alb-demo", "addressType": "Internet"},
            "listeners": listeners.chain(tls).collect::<Vec<_>>(),
        },
    })
    .to_string()
}

/// `KIND alb-NAME -n NAMESPACE` of the guide's name.
fn albs(kind: &str) -> String {
    format!("{kind} alb-{GATEWAY_NAME} -n {NAMESPACE}")
}

async fn infra_9_an_alb_config_shares_nothing_with_its_namesake(scene: &mut Scene) {
    let fleet = &scene.world.fleet;
    let the_alb = format!("albconfig {GATEWAY_NAME}");
    fleet.apply(&alb(&[8001]), "");
    let provisioned = r#".status.conditions[?(@.type=="Provisioned")].status"#;
    shows(fleet, &the_alb, provisioned, "True").await;
    for kind in KINDS {
        shows(fleet, &albs(kind), ".metadata.ownerReferences[*].kind", "AlbConfig").await;
        shows(fleet, &guides(kind), ".metadata.ownerReferences[*].kind", "MseIngressConfig").await;
    }
    shows(fleet, &albs("service"), ".spec.ports[*].port", "8001 443").await;
    shows(fleet, &albs("service"), ".spec.ports[*].targetPort", "http-8001 https-443").await;
    // Each Service and budget is of its own Pods.
    pods(fleet, &format!("AlbConfig.{GATEWAY_NAME}"), 1).await;
    pods(fleet, GATEWAY_NAME, 3).await;
    for (service, count) in [(albs("service"), 1), (guides("service"), 3)] {
        let selector = fleet.kubectl(&format!("get {service} -ojsonpath={{.spec.selector}}"));
        let selector: BTreeMap<String, String> = serde_json::from_str(&selector).unwrap();
        let labels = selector.iter().map(|(key, value)| format!("{key}={value}"));
        let labels = labels.collect::<Vec<_>>().join(",");
        let found = fleet.kubectl(&format!("get pods -n {NAMESPACE} -l {labels} -oname"));
        assert_eq!(found.lines().count(), count, "{labels}: {found}");
    }
    let id = |words: &str| {
        let text = fleet.kubectl(&format!("get {words} -ojsonpath={{.data.tls\\.crt}}"));
        gateway_of(&STANDARD.decode(text).unwrap())
    };
    assert_eq!(id(&albs("secret")), format!("AlbConfig/{GATEWAY_NAME}"));
    assert_eq!(id(&guides("secret")), format!("MseIngressConfig/{GATEWAY_NAME}"));
    // What the vendor's columns show; nobody answers yet, so there is no DNSNAME.
    let table = fleet.kubectl(&format!("get {the_alb}"));
    let rows: Vec<Vec<&str>> = table.lines().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "ALBID", "DNSNAME", "PORT&PROTOCOL", "CERTID", "AGE"]);
    let listeners = ".status.loadBalancer.listeners[*].portAndProtocol";
    shows(fleet, &the_alb, listeners, "443/HTTPS 8001/HTTP").await;
    assert!(table.contains(&format!("AlbConfig/{GATEWAY_NAME}")), "{table}");
    shows(fleet, &the_alb, ".status.phase", "Pending").await;
    // A listener comes and goes, and with it its port and nothing else.
    fleet.apply(&alb(&[8001, 8002]), "");
    shows(fleet, &albs("service"), ".spec.ports[*].port", "8001 8002 443").await;
    fleet.apply(&alb(&[8001]), "");
    shows(fleet, &albs("service"), ".spec.ports[*].port", "8001 443").await;
    shows(fleet, &guides("service"), ".spec.ports[*].port", "80 443").await;
    is_settled(fleet, GATEWAY_NAME).await;
}

/// The gateway that a certificate is for.
fn gateway_of(pem: &[u8]) -> String {
    let certificate = CertificateDer::from_pem_slice(pem).unwrap();
    convoy::identity::gateway_of(&certificate).unwrap().to_string()
}

async fn infra_a_the_cluster_removes_what_a_deleted_gateway_had(scene: &mut Scene) {
    // Convoy is away.
    let mut last = scene.replicas.pop().unwrap();
    last.process.kill();
    let fleet = &scene.world.fleet;
    fleet.kubectl("delete mseingressconfig,albconfig --all");
    let label = "app.kubernetes.io/managed-by=convoy,app.kubernetes.io/component=gateway";
    eventually(COLLECTED, "everything of the gateways is gone", || async {
        let kinds = KINDS.join(",");
        let words = format!("get {kinds} -n {NAMESPACE} -l {label} -oname");
        let said = fleet.try_kubectl(&words, "")?;
        if said.is_empty() { Ok(()) } else { Err(said) }
    })
    .await;
    scene.replicas.push(last);
}

/// As where Convoy is upgraded before its CRDs, or where nobody wants the other kind.
async fn infra_b_one_kind_of_gateways_is_enough(scene: &mut Scene) {
    let crd = "albconfigs.alibabacloud.com";
    scene.world.fleet.kubectl(&format!("delete crd {crd} --timeout=60s"));
    let began = Instant::now();
    scene.start_managing_convoy().await;
    figure(&format!("ready without the CRD of one kind after {:.1?}", began.elapsed()));
    let fleet = &scene.world.fleet;
    fleet.apply(&gateway("alone", 0), "");
    is_settled(fleet, "alone").await;
    shows(fleet, "mseingressconfig alone", ".status.phase", "Pending").await;
    let findings = async || scene.replicas.last().unwrap().admin("/metrics").await.unwrap();
    let missing = r#"convoy_diagnostics{severity="warning",reason="KindUnavailable"} 1"#;
    let said = findings().await;
    assert!(said.contains(missing), "{said}");
    // It comes, and is used without a restart.
    fleet.apply(&convoy(&["crds"]), "--server-side");
    eventually(SETTLE, "the kind is served", || async {
        fleet.try_kubectl("apply -f -", &alb(&[8001]))
    })
    .await;
    let provisioned = r#".status.conditions[?(@.type=="Provisioned")].status"#;
    shows(fleet, &format!("albconfig {GATEWAY_NAME}"), provisioned, "True").await;
    let said = findings().await;
    assert!(!said.contains(missing), "{said}");
}
