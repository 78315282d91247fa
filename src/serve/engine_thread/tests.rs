//! What the thread holds back and what it asks for.

use serde_json::{Value, json};

use super::*;
use crate::{
    diag::{Field, Reason},
    engine::Settings,
    key::{MemberId, ObjectKind, ObjectName, ObjectRef, Scope},
    settings::{GatewayDefaults, Mechanisms},
    source::decode::{Decoded, decode},
    store::{Health, Registered},
};

struct Stage {
    thread: EngineThread,
    reports: watch::Sender<Report>,
    asked: watch::Receiver<Wanted>,
}

impl Stage {
    fn new() -> Stage {
        let (wanted, asked) = watch::channel(Wanted::default());
        let settings = Settings {
            mechanisms: Mechanisms::ALL,
            defaults: GatewayDefaults::default(),
            api_server: None,
        };
        let thread = EngineThread {
            engine: Engine::new(settings),
            publisher: Arc::default(),
            wanted,
            tick_interval: Duration::ZERO,
            tick_seconds: crate::admin::tick_histogram(),
        };
        Stage { thread, reports: watch::channel(Report::default()).0, asked }
    }

    fn tick(&mut self, change: Change) {
        self.thread.tick(vec![change], Instant::now(), &self.reports);
    }

    /// How many gateways are published, and whether the program was ever ready.
    fn shown(&self) -> (usize, bool) {
        (self.thread.publisher.current().len(), self.reports.borrow().was_ready)
    }

    /// What is asked for, if that is news.
    fn asked(&mut self) -> Option<String> {
        let is_news = self.asked.has_changed().unwrap();
        let Wanted { is_known, secrets, pod_namespaces } = self.asked.borrow_and_update().clone();
        let secrets: Vec<_> = secrets.iter().map(ToString::to_string).collect();
        let namespaces: Vec<_> = pod_namespaces.iter().map(ToString::to_string).collect();
        let known = if is_known { "known" } else { "unknown" };
        is_news.then(|| format!("{known} [{}] [{}]", secrets.join(" "), namespaces.join(" ")))
    }
}

fn put(manifest: Value) -> Change {
    let Decoded::Object { object, .. } = decode(&Scope::Fleet, manifest, 0) else {
        panic!("a manifest that is legal")
    };
    Change::Upsert(Scope::Fleet, object)
}

fn gateway(name: &str) -> Change {
    put(json!({
        "apiVersion": "mse.alibabacloud.com/v1alpha1", "kind": "MseIngressConfig",
        "metadata": {"name": name}, "spec": {"ingress": {"local": {"ingressClass": "mse"}}},
    }))
}

fn ingress(annotations: Value, tls: Value) -> Change {
    put(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"namespace": "shop", "name": "web", "annotations": annotations},
        "spec": {"ingressClassName": "mse", "tls": tls, "rules": [{
            "host": "shop.example.com",
            "http": {"paths": [{
                "path": "/", "pathType": "Prefix",
                "backend": {"service": {"name": "web", "port": {"number": 80}}},
            }]},
        }]},
    }))
}

#[test]
fn fault_b02_nothing_is_published_before_the_fleet_is_read() {
    let mut stage = Stage::new();
    stage.tick(gateway("a"));
    stage.tick(gateway("b"));
    stage.tick(Change::Listed(Scope::Fleet));
    assert_eq!(stage.shown(), (0, false));
    stage.tick(Change::Synced(Scope::Fleet));
    assert_eq!(stage.shown(), (2, true));
    stage.tick(gateway("c"));
    assert_eq!(stage.shown(), (3, true));
}

#[test]
fn who_was_ready_stays_ready() {
    let c1 = MemberId::new("c1").unwrap();
    let stale = || Health::Stale { reason: "Unreachable", message: "no answer".into() };
    let mut stage = Stage::new();
    stage.tick(Change::Register(c1.clone(), Registered::default()));
    stage.tick(Change::Synced(Scope::Fleet));
    assert_eq!(stage.shown(), (0, false), "c1 is not read");
    stage.tick(Change::Synced(Scope::Member(c1)));
    assert_eq!(stage.shown(), (0, true));
    stage.tick(Change::Register(MemberId::new("c2").unwrap(), Registered::default()));
    stage.tick(Change::Health(Scope::Fleet, stale()));
    assert_eq!(stage.shown(), (0, true), "what comes or goes later");
    let report = stage.reports.borrow().clone();
    assert_eq!(report.unsynced.len(), 1);
    assert_eq!(report.fleet.trouble.unwrap().reason, "Unreachable");
}

#[test]
fn what_was_not_read_yet_is_not_found_missing() {
    let object = ObjectRef::fleet(ObjectKind::MseIngressConfig, ObjectName::cluster_scoped("a"));
    let diag = Diag::error(&Field::of(&object), Reason::InvalidField, "no");
    let mut stage = Stage::new();
    let mut check = |change: Change, expect: &[&str]| {
        stage.tick(change);
        let diags = stage.reports.borrow().diags.clone();
        let reasons: Vec<_> = diags.iter().map(|diag| diag.reason.to_string()).collect();
        assert_eq!(reasons, expect);
    };
    check(gateway("a"), &[]);
    check(ingress(json!({}), json!([])), &[]);
    check(Change::Report { source: "test".into(), diags: vec![diag] }, &["InvalidField"]);
    check(Change::Synced(Scope::Fleet), &["InvalidField", "ServiceNotFound"]);
}

#[test]
fn what_objects_refer_to_is_asked_for_when_it_differs() {
    let tls = || json!([{"hosts": ["shop.example.com"], "secretName": "cert"}]);
    let subset = |labels: &str| json!({"mse.ingress.kubernetes.io/subset-labels": labels});
    let plain = || ingress(json!({}), json!([]));
    let mut stage = Stage::new();
    let steps = [
        (gateway("a"), None),
        (plain(), None),
        (Change::Listed(Scope::Fleet), Some("known [] []")),
        (Change::Synced(Scope::Fleet), None),
        (ingress(json!({}), tls()), Some("known [shop/cert] []")),
        (gateway("b"), None),
        (ingress(subset("topology.istio.io/cluster c1"), tls()), None),
        (ingress(subset("version gray"), tls()), Some("known [shop/cert] [shop]")),
        (plain(), Some("known [] []")),
    ];
    for (idx, (change, expect)) in steps.into_iter().enumerate() {
        stage.tick(change);
        assert_eq!(stage.asked().as_deref(), expect, "step {idx}");
    }
}
