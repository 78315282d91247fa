//! The whole room against an API of a few hundred lines' wit, which can be told to fail.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, atomic::Ordering::Relaxed},
    time::{Duration, Instant, SystemTime},
};

use axum::{
    Json, Router,
    http::{Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use prometheus_client::metrics::histogram::Histogram;
use serde_json::{Value, json};

use super::*;
use crate::{
    admin::{MemberReport, MemberState, StreamTotals, Trouble, proto},
    diag::{Diag, DiagSet, Field, Reason},
    gateway::{Attachments, Declared},
    key::{GatewayId, MemberId, ObjectKind, ObjectRef, Scope},
    snapshot::Kind,
    source::{
        kube::Traffic,
        registry::{Access, AccessError, Network, Registration, Revision},
    },
    store::Locality,
};

const GATEWAYS: &str = "/apis/mse.alibabacloud.com/v1alpha1/mseingressconfigs";
const ALBS: &str = "/apis/alibabacloud.com/v1/albconfigs";
const MEMBERS: &str = "/apis/convoy.dev/v1alpha1/memberclusters";
const INGRESSES: &str = "/apis/networking.k8s.io/v1/ingresses";

const TIMINGS: StatusTimings = StatusTimings {
    lease_duration: Duration::from_secs(1),
    renew_deadline: Duration::from_millis(700),
    lease_period: Duration::from_millis(50),
    write_interval: Duration::from_millis(1),
    request_timeout: Duration::from_secs(5),
    first_retry: Duration::from_millis(5),
    last_retry: Duration::from_millis(50),
    event_window: Duration::from_secs(300),
    envoy_poll: Duration::from_millis(10),
    lonely: Duration::from_secs(600),
    contact_step: Duration::from_secs(30),
    count_step: Duration::from_secs(5),
    contact_lost: Duration::from_secs(75),
};

/// Objects by path, and every request that was made.
#[derive(Default)]
struct World {
    objects: BTreeMap<String, Value>,
    version: u64,
    log: Vec<String>,
    /// Answers to the next writes of a status or an Event; after these, all succeed.
    failures: VecDeque<u16>,
}

type Shared = Arc<Mutex<World>>;

fn failure(code: u16) -> Response {
    let reason = match code {
        404 => "NotFound",
        409 => "Conflict",
        _ => "Scripted",
    };
    refusal(code, reason)
}

fn refusal(code: u16, reason: &str) -> Response {
    let details = json!({"retryAfterSeconds": 0});
    let body = json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason,
        "message": "as told", "details": details, "metadata": {}});
    (StatusCode::from_u16(code).unwrap(), Json(body)).into_response()
}

impl World {
    fn answer(&mut self, method: &Method, path: &str, body: Option<Value>) -> Response {
        let is_lease = path.contains("/leases");
        let is_write = *method != Method::GET;
        if is_write && !is_lease {
            self.log.push(format!("{method} {path}"));
            if let Some(code) = self.failures.pop_front() {
                return failure(code);
            }
        }
        match (method.as_str(), body) {
            ("GET", None) if [GATEWAYS, ALBS, INGRESSES, MEMBERS].contains(&path) => {
                self.list(path)
            }
            ("GET", None) => match self.objects.get(path) {
                Some(object) => Json(object).into_response(),
                None => failure(404),
            },
            ("POST", Some(object)) => {
                let name = object["metadata"]["name"].as_str().unwrap().to_owned();
                match self.objects.contains_key(&format!("{path}/{name}")) {
                    true => refusal(409, "AlreadyExists"),
                    false => self.put(&format!("{path}/{name}"), object),
                }
            }
            ("PUT", Some(object)) => {
                let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
                match self.objects.get(path) {
                    Some(stored) if version(stored) == version(&object) => self.put(path, object),
                    Some(_) => failure(409),
                    None => failure(404),
                }
            }
            ("PATCH", Some(patch)) => {
                let path = path.strip_suffix("/status").unwrap_or(path);
                let Some(mut object) = self.objects.get(path).cloned() else { return failure(404) };
                let uid = &patch["metadata"]["uid"];
                if !uid.is_null() && *uid != object["metadata"]["uid"] {
                    return failure(409);
                }
                for field in ["status", "series"] {
                    if let Some(value) = patch.get(field) {
                        object[field] = value.clone();
                    }
                }
                let manager = json!([{"manager": "convoy", "subresource": "status"}]);
                object["metadata"]["managedFields"] = manager;
                self.put(path, object)
            }
            (_, Some(_) | None) => failure(405),
        }
    }

    fn list(&self, path: &str) -> Response {
        let plural = path.rsplit('/').next().unwrap();
        let group = path.strip_suffix(plural).unwrap();
        let is_one = |own: &String| own.starts_with(group) && own.contains(&format!("/{plural}/"));
        let items: Vec<_> = self.objects.iter().filter(|(own, _)| is_one(own)).collect();
        let items: Vec<_> = items.into_iter().map(|(_, object)| object).collect();
        Json(json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}))
            .into_response()
    }

    fn put(&mut self, path: &str, mut object: Value) -> Response {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(path.to_owned(), object.clone());
        Json(object).into_response()
    }
}

struct Api {
    world: Shared,
    client: Client,
}

impl Api {
    async fn start() -> Api {
        let world = Shared::default();
        let answer = {
            let world = world.clone();
            move |method: Method, uri: Uri, body: axum::body::Bytes| {
                let body = serde_json::from_slice(&body).ok();
                let answer = world.lock().unwrap().answer(&method, uri.path(), body);
                std::future::ready(answer)
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let mut config = kube::Config::new(url.parse().unwrap());
        config.default_retry = false;
        Api { world, client: Client::try_from(config).unwrap() }
    }

    fn edit<T>(&self, edit: impl FnOnce(&mut World) -> T) -> T {
        edit(&mut self.world.lock().unwrap())
    }

    /// Makes an object as a user would; its uid is its name.
    fn create(&self, path: &str, kind: &str, api_version: &str) {
        let name = path.rsplit('/').next().unwrap();
        let mut metadata =
            json!({"name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z"});
        if path.contains("/namespaces/") {
            metadata["namespace"] = json!("demo");
        }
        let object = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata});
        self.edit(|world| world.put(path, object));
    }

    fn create_gateway(&self) {
        self.create(&format!("{GATEWAYS}/gw"), "MseIngressConfig", "mse.alibabacloud.com/v1alpha1");
    }

    fn create_ingress(&self, name: &str) {
        self.create(&ingress_path(name), "Ingress", "networking.k8s.io/v1");
    }

    fn status(&self, path: &str) -> Value {
        self.edit(|world| world.objects.get(path).map_or(Value::Null, |own| own["status"].clone()))
    }

    /// Requests that wrote something about the path.
    fn writes(&self, part: &str) -> usize {
        self.edit(|world| world.log.iter().filter(|line| line.contains(part)).count())
    }
}

fn ingress_path(name: &str) -> String {
    format!("/apis/networking.k8s.io/v1/namespaces/demo/ingresses/{name}")
}

/// Polls until it is so.
async fn within(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Envoys of gateway `gw`, if there are any.
struct Crowd(bool);

impl Envoys for Crowd {
    fn connected(&self) -> Vec<proto::Envoy> {
        let kind = |kind: Kind| proto::TypeStatus {
            r#type: kind.to_string(),
            sent: 1,
            acknowledged: 1,
            ..Default::default()
        };
        let envoy = proto::Envoy {
            node_id: "envoy-0".into(),
            gateway: "MseIngressConfig/gw".into(),
            gateway_found: true,
            types: vec![kind(Kind::Listener), kind(Kind::Cluster)],
            ..Default::default()
        };
        self.0.then_some(envoy).into_iter().collect()
    }

    fn propagation(&self) -> BTreeMap<Kind, Histogram> {
        BTreeMap::new()
    }

    fn totals(&self) -> BTreeMap<Kind, StreamTotals> {
        BTreeMap::new()
    }

    fn refused(&self) -> BTreeMap<&'static str, u64> {
        BTreeMap::new()
    }
}

fn c1() -> MemberId {
    MemberId::new("c1").unwrap()
}

/// One gateway with one live member, and these Ingresses.
fn report(ingresses: &[&str]) -> Report {
    let member = c1();
    let gateway = Declared {
        uid: "gw".into(),
        generation: 1,
        problem: None,
        members: [member.clone()].into(),
        listens: true,
        addresses: Vec::new(),
        instance: None,
        envoy_account: None,
    };
    let row = MemberReport { state: MemberState::Live, synced: true, ..MemberReport::default() };
    let mut attachments = Attachments::default();
    for name in ingresses {
        attachments.attach(&ObjectName::new("demo", name), &(*name).into(), &GatewayId::mse("gw"));
    }
    Report {
        published: true,
        declared: Arc::new(BTreeMap::from([(GatewayId::mse("gw"), gateway)])),
        members: Arc::new(BTreeMap::from([(member, row)])),
        attachments,
        ..Report::default()
    }
}

struct Replica {
    reports: watch::Sender<Report>,
    registrations: watch::Sender<Registrations>,
    meter: Arc<StatusMeter>,
    handle: Handle,
}

fn replica(api: &Api, identity: &str, has_envoys: bool, first: Report) -> Replica {
    let (reports, report) = watch::channel(first);
    let (registrations, registered) = watch::channel(Registrations::default());
    let meter = Arc::<StatusMeter>::default();
    let options = Options {
        identity: identity.into(),
        lease: ObjectName::new("convoy-system", "convoy"),
        publish_addresses: vec!["192.0.2.7".parse().unwrap()],
        publish_service: None,
    };
    let envoys = Arc::new(Crowd(has_envoys));
    let contact = Traffic { last_contact: Some(SystemTime::now()), ..Traffic::default() };
    let traffic = SourceMeter::counted([(Scope::Member(c1()), contact)]);
    let inputs = Inputs {
        report,
        envoys,
        registrations: registered,
        traffic,
        provisions: watch::channel(Arc::default()).1,
    };
    let handle = spawn(api.client.clone(), inputs, meter.clone(), options, TIMINGS);
    Replica { reports, registrations, meter, handle }
}

fn address() -> Value {
    json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}})
}

#[tokio::test]
async fn row_012_row_013_addresses_come_and_go_with_the_class() {
    let api = Api::start().await;
    api.create_gateway();
    ["web", "canary", "doomed"].iter().for_each(|name| api.create_ingress(name));
    let own = replica(&api, "r0", true, report(&["web", "canary", "doomed"]));
    for name in ["web", "canary", "doomed"] {
        within("address", || api.status(&ingress_path(name)) == address()).await;
    }
    let gateway = api.status(&format!("{GATEWAYS}/gw"));
    assert_eq!(gateway["phase"], "Listening");
    assert_eq!(gateway["remoteClusters"].to_string(), r#"[{"clusterId":"c1"}]"#);
    let before = api.writes("");
    own.reports.send_modify(|report| {
        report.attachments.detach(&ObjectName::new("demo", "web"), &GatewayId::mse("gw"));
        report.attachments.forget(&ObjectName::new("demo", "doomed"));
    });
    within("taken back", || api.status(&ingress_path("web")) == json!({})).await;
    // Nothing is said to one that is gone, nor to one that stays.
    assert_eq!(api.writes("") - before, 1);
    own.handle.shutdown().await;
}

#[tokio::test]
async fn one_write_for_each_of_a_thousand_and_none_for_no_change() {
    let api = Api::start().await;
    api.create_gateway();
    let names: Vec<_> = (0..1000).map(|n| format!("web-{n}")).collect();
    names.iter().for_each(|name| api.create_ingress(name));
    let own = replica(&api, "r0", true, report(&[]));
    within("gateway", || api.status(&format!("{GATEWAYS}/gw"))["phase"] == "Listening").await;
    let texts: Vec<_> = names.iter().map(String::as_str).collect();
    own.reports.send_replace(report(&texts));
    // Cheap to ask: on a busy machine the room needs the time.
    within("all", || api.writes("/ingresses/") >= 1000).await;
    within("all", || names.iter().all(|name| api.status(&ingress_path(name)) == address())).await;
    // G17 of performance.md.
    assert_eq!(api.writes("/ingresses/"), 1000);
    // The same again, made anew: compared by value, and nothing is written.
    own.reports.send_replace(report(&texts));
    own.reports.send_modify(|report| {
        report.attachments.detach(&ObjectName::new("demo", "web-0"), &GatewayId::mse("gw"));
    });
    within("last", || api.status(&ingress_path("web-0")) == json!({})).await;
    assert_eq!(api.writes("/ingresses/"), 1001);
    own.handle.shutdown().await;
}

#[tokio::test]
async fn fault_b07_writes_that_fail_are_made_in_the_end() {
    let api = Api::start().await;
    api.create_gateway();
    ["a", "b", "c"].iter().for_each(|name| api.create_ingress(name));
    let script = [429, 409, 500, 503, 429, 429, 409, 500];
    api.edit(|world| world.failures = script.into());
    let own = replica(&api, "r0", true, report(&["a", "b", "c"]));
    for name in ["a", "b", "c"] {
        within("address", || api.status(&ingress_path(name)) == address()).await;
    }
    within("gateway", || api.status(&format!("{GATEWAYS}/gw"))["phase"] == "Listening").await;
    assert_eq!(api.writes(""), 4 + script.len());
    assert_eq!(own.meter.errors.load(Relaxed), script.len() as u64);
    // The last answer may be on its way.
    within("counted", || own.meter.writes.load(Relaxed) == 4).await;
    own.handle.shutdown().await;
}

#[tokio::test]
async fn fault_c04_another_replica_goes_on_and_writes_nothing_twice() {
    let api = Api::start().await;
    api.create_gateway();
    api.create_ingress("web");
    api.create_ingress("left");
    let first = replica(&api, "r0", true, report(&["web", "left"]));
    within("address", || api.status(&ingress_path("web")) == address()).await;
    within("address", || api.status(&ingress_path("left")) == address()).await;
    within("gateway", || api.status(&format!("{GATEWAYS}/gw"))["phase"] == "Listening").await;
    // While nobody writes, one Ingress leaves and one comes.
    let second = replica(&api, "r1", false, report(&["web", "new"]));
    api.create_ingress("new");
    let before = api.writes("");
    first.handle.shutdown().await;
    within("address", || api.status(&ingress_path("new")) == address()).await;
    within("taken back", || api.status(&ingress_path("left")) == json!({})).await;
    // Neither the other Ingress nor the gateway, although this replica has no Envoy.
    assert_eq!(api.writes("") - before, 2);
    assert_eq!(second.meter.is_holder.load(Relaxed), 1);
    second.handle.shutdown().await;
}

/// Gateways of two kinds with one name: each has its own status, and keeps it.
#[tokio::test]
async fn row_001_an_alb_config_is_written_beside_its_namesake() {
    let api = Api::start().await;
    api.create_gateway();
    api.create(&format!("{ALBS}/gw"), "AlbConfig", "alibabacloud.com/v1");
    let both = || {
        let one = report(&["web"]);
        let mut declared = BTreeMap::clone(&one.declared);
        let alb = Declared { uid: "gw".into(), ..declared[&GatewayId::mse("gw")].clone() };
        declared.insert(GatewayId::alb("gw"), alb);
        let mut attachments = one.attachments.clone();
        let name = ObjectName::new("demo", "alb");
        attachments.attach(&name, &"alb".into(), &GatewayId::alb("gw"));
        Report { declared: Arc::new(declared), attachments, ..one }
    };
    ["web", "alb"].iter().for_each(|name| api.create_ingress(name));
    // Only the MseIngressConfig has an Envoy.
    let first = replica(&api, "r0", true, both());
    let phase = |plural: &str| api.status(&format!("{plural}/gw"))["phase"].clone();
    within("listening", || phase(GATEWAYS) == "Listening").await;
    within("pending", || phase(ALBS) == "Pending").await;
    within("address", || api.status(&ingress_path("web")) == address()).await;
    assert_eq!(api.status(&ingress_path("alb")), Value::Null);
    let id = api.status(&format!("{ALBS}/gw"))["loadBalancer"]["id"].clone();
    assert_eq!(id, "AlbConfig/gw");
    first.reports.send_modify(|report| {
        let at = Field::of(&ObjectRef::fleet(ObjectKind::AlbConfig, GatewayId::alb("gw").name));
        report.diags = DiagSet::from_iter([Diag::warning(&at, Reason::UnsupportedField, "no")]);
    });
    let regards = |world: &mut World| {
        let mut events = world.objects.iter().filter(|(path, _)| path.contains("/events/"));
        events.next().map(|(_, event)| event["regarding"]["kind"].clone())
    };
    within("an Event", || api.edit(regards) == Some(json!("AlbConfig"))).await;
    let before = api.writes("");
    first.handle.shutdown().await;
    // Whoever takes over has read both, and finds nothing to say.
    let second = replica(&api, "r1", true, both());
    within("in office", || second.meter.is_holder.load(Relaxed) == 1).await;
    second.reports.send_modify(|report| {
        report.attachments.detach(&ObjectName::new("demo", "web"), &GatewayId::mse("gw"));
    });
    within("taken back", || api.status(&ingress_path("web")) == json!({})).await;
    assert_eq!(api.writes("") - before, 1);
    second.handle.shutdown().await;
}

#[tokio::test]
async fn an_envoy_of_another_replica_counts() {
    let api = Api::start().await;
    api.create_gateway();
    let holder = replica(&api, "r0", false, report(&[]));
    let phase = || api.status(&format!("{GATEWAYS}/gw"))["phase"].clone();
    within("pending", || phase() == "Pending").await;
    let other = replica(&api, "r1", true, report(&[]));
    within("listening", || phase() == "Listening").await;
    assert_eq!(other.meter.writes.load(Relaxed), 0);
    holder.handle.shutdown().await;
    other.handle.shutdown().await;
}

#[tokio::test]
async fn nothing_is_taken_back_before_the_fleet_is_read() {
    let api = Api::start().await;
    api.create_gateway();
    api.create_ingress("web");
    let first = replica(&api, "r0", true, report(&["web"]));
    within("address", || api.status(&ingress_path("web")) == address()).await;
    first.handle.shutdown().await;
    let before = api.writes("");
    let unread = Report { unsynced: vec![Scope::Fleet], ..report(&[]) };
    let second = replica(&api, "r1", true, unread);
    within("in office", || second.meter.is_holder.load(Relaxed) == 1).await;
    second.reports.send_replace(report(&["web"]));
    api.create_ingress("later");
    second.reports.send_replace(report(&["web", "later"]));
    within("address", || api.status(&ingress_path("later")) == address()).await;
    assert_eq!(api.writes("") - before, 1);
    second.handle.shutdown().await;
}

#[tokio::test]
async fn findings_become_one_event_an_object_and_reason() {
    let api = Api::start().await;
    api.create_gateway();
    api.create_ingress("web");
    let object = |name: &str| ObjectRef::fleet(ObjectKind::Ingress, ObjectName::new("demo", name));
    let diag = |name: &str, field: &str, reason| {
        Diag::error(&Field::of(&object(name)).key(field), reason, "no")
    };
    let findings = [
        diag("web", "a", Reason::InvalidPath),
        diag("web", "b", Reason::InvalidPath),
        diag("web", "c", Reason::InvalidHost),
        diag("missing", "d", Reason::InvalidHost),
    ];
    let with = |findings: &[Diag]| Report {
        diags: DiagSet::from_iter(findings.iter().cloned()),
        ..report(&[])
    };
    let own = replica(&api, "r0", true, with(&findings));
    let events = || {
        api.edit(|world| {
            let all = world.objects.iter().filter(|(path, _)| path.contains("/events/"));
            let text = |event: &Value| {
                format!(
                    "{} {} {}/{}: {}",
                    event["type"].as_str().unwrap(),
                    event["reason"].as_str().unwrap(),
                    event["regarding"]["namespace"].as_str().unwrap(),
                    event["regarding"]["uid"].as_str().unwrap(),
                    event["note"].as_str().unwrap(),
                )
            };
            let mut all: Vec<_> = all.map(|(_, event)| text(event)).collect();
            all.sort();
            all
        })
    };
    let expect =
        ["Warning InvalidHost demo/web: c: no", "Warning InvalidPath demo/web: a: no (and 1 more)"];
    within("events", || events() == expect).await;
    // Away and back within the window: nothing is said.
    own.reports.send_replace(with(&[]));
    own.reports.send_replace(with(&findings[..1]));
    own.reports.send_replace(with(&[findings[0].clone(), diag("web", "e", Reason::InvalidField)]));
    within("the new one", || events().len() == 3).await;
    assert_eq!(api.writes("/events"), 3);
    own.handle.shutdown().await;
    // Another replica says what still holds; what was said in the same words is counted on.
    let second = replica(&api, "r1", true, with(&findings[2..3]));
    let series = || {
        api.edit(|world| {
            let mut all = world.objects.values().filter(|own| own["note"] == "c: no");
            all.next().map(|own| own["series"]["count"].clone())
        })
    };
    within("counted", || series() == Some(json!(2))).await;
    assert_eq!(events().len(), 3);
    second.handle.shutdown().await;
}

/// `MemberCluster` `hk` declares `c1`.
fn declared_by(object: &ObjectRef) -> Registrations {
    let registration = Registration {
        id: c1(),
        revision: Revision { uid: object.name.name.clone(), generation: 4 },
        locality: Locality::default(),
        network: Network::Underlay,
        allowed_endpoints: None,
        allowed_namespaces: None,
        access: Ok(Access::Fleet),
        paused: false,
        cluster_uid: None,
        declared_by: object.clone(),
        created: 0,
    };
    Arc::new(BTreeMap::from([(c1(), registration)]))
}

#[tokio::test]
async fn fault_a01_a_member_says_why_it_is_stale_and_since_when() {
    let api = Api::start().await;
    let path = format!("{MEMBERS}/hk");
    api.create(&path, "MemberCluster", "convoy.dev/v1alpha1");
    let own = replica(&api, "r0", true, report(&[]));
    let object = ObjectRef::fleet(ObjectKind::MemberCluster, ObjectName::cluster_scoped("hk"));
    own.registrations.send_replace(declared_by(&object));
    let synced = |key: &str| api.status(&path)["conditions"][1][key].clone();
    within("live", || synced("status") == "True").await;
    assert_eq!(api.status(&path)["observedGeneration"], 4);
    assert_eq!(api.status(&path)["conditions"][0]["status"], "True");
    let written = api.writes("memberclusters");
    own.reports.send_modify(|report| {
        let trouble = Trouble { reason: "Unreachable", message: "no answer".into() };
        let members = Arc::make_mut(&mut report.members);
        members.values_mut().for_each(|own| own.state = MemberState::Stale(trouble.clone()));
    });
    within("stale", || synced("reason") == "Unreachable").await;
    assert_eq!(synced("message"), "no answer");
    within("an Event", || api.writes("POST /apis/events.k8s.io") == 1).await;
    // It answered a moment ago; the short silence since then is none.
    assert_eq!(api.status(&path)["conditions"][0]["status"], "True");
    assert_eq!(api.writes("memberclusters"), written + 1);
    // It is gone, and nothing is said to it any more.
    api.create_ingress("web");
    let mut gone = Registrations::unwrap_or_clone(declared_by(&object));
    gone.values_mut().for_each(|own| own.access = Err(AccessError::Undeclared("gone".into())));
    own.registrations.send_replace(Arc::new(gone));
    own.reports.send_modify(|report| {
        let members = Arc::make_mut(&mut report.members);
        members.values_mut().for_each(|own| own.state = MemberState::Live);
        report.attachments.attach(
            &ObjectName::new("demo", "web"),
            &"web".into(),
            &GatewayId::mse("gw"),
        );
    });
    within("address", || api.status(&ingress_path("web")) == address()).await;
    assert_eq!(synced("status"), "False");
    own.handle.shutdown().await;
}

#[tokio::test]
async fn a_secret_that_declares_a_member_gets_events() {
    let api = Api::start().await;
    let path = "/api/v1/namespaces/demo/secrets/c1";
    api.create(path, "Secret", "v1");
    let own = replica(&api, "r0", true, report(&[]));
    let object = ObjectRef::fleet(ObjectKind::Secret, ObjectName::new("demo", "c1"));
    own.registrations.send_replace(declared_by(&object));
    own.reports.send_modify(|report| {
        let trouble = Trouble { reason: "Forbidden", message: "no slices".into() };
        let members = Arc::make_mut(&mut report.members);
        members.values_mut().for_each(|own| own.state = MemberState::Stale(trouble.clone()));
    });
    within("an Event", || api.writes("POST /apis/events.k8s.io/v1/namespaces/demo") == 1).await;
    assert_eq!(api.writes("memberclusters"), 0);
    own.handle.shutdown().await;
}
