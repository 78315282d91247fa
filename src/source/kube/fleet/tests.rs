//! What is decided, as tables, and what is asked of an API server that answers as it is told.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{body::Body, http::Uri, response::Response};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::{state::REFUSALS_THAT_COUNT, *};
use crate::{
    diag::Severity,
    key::ObjectName,
    source::{
        kube::{
            request::{Fault, Trouble},
            watch::{Seen, Sighting},
        },
        registry::fake_api,
    },
    store::{Health, Object, Secret},
};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn wanted(secrets: &[&str]) -> Wanted {
    let name = |name: &&str| ObjectName::new("shop", name);
    let secrets = secrets.iter().map(name).collect();
    Wanted { is_known: true, secrets, pod_namespaces: BTreeSet::new() }
}

fn said(change: &Change) -> String {
    match change {
        Change::Upsert(_, object) => format!("+{}", object.name()),
        Change::Delete(_, _, name) => format!("-{name}"),
        Change::Listed(_) => "listed".into(),
        Change::Synced(_) => "synced".into(),
        Change::Health(_, Health::Stale { reason, .. }) => (*reason).into(),
        Change::Health(_, health) => format!("{health:?}"),
        Change::Report { diags, .. } => format!("findings: {}", diags.len()),
        Change::Replace(..) | Change::Register(..) | Change::Unregister(_) => "unexpected".into(),
    }
}

fn outline(changes: &[Change]) -> String {
    changes.iter().map(said).collect::<Vec<_>>().join(" ")
}

/// Secrets as a list or a watch shows them.
fn secrets(names: &[&str]) -> Vec<Sighting> {
    let sighting = |name: &&str| {
        let name = ObjectName::new("shop", name);
        let secret = Secret { name: name.clone(), pair: None, problem: Some("test".into()) };
        Sighting { name, seen: Seen::Object(Object::Secret(secret.into()), vec![]) }
    };
    names.iter().map(sighting).collect()
}

fn tls() -> Key {
    Key::TlsSecrets("shop".into())
}

fn named(name: &str) -> Key {
    Key::Secret(ObjectName::new("shop", name))
}

fn failed(fault: Fault) -> News {
    News::Failed(Trouble::new(fault, "as the test says"))
}

/// A fleet that has been read, with these Secrets wanted.
fn synced(secrets: &[&str]) -> State {
    let mut state = State::default();
    state.start();
    for key in Key::ALWAYS {
        state.hear(&key, News::Listed(vec![]));
    }
    state.know_members();
    state.want(wanted(&[]));
    state.want(wanted(secrets));
    state
}

#[test]
fn a_fleet_is_synced_when_wanted_secrets_were_listed_and_members_are_known() {
    let mut state = State::default();
    assert_eq!(state.start().begun, Key::ALWAYS);
    let list = || News::Listed(vec![]);
    assert_eq!(outline(&state.hear(&Key::AlbConfigs, list()).changes), "");
    assert_eq!(outline(&state.hear(&Key::Ingresses, list()).changes), "");
    assert_eq!(outline(&state.hear(&Key::Classes, list()).changes), "");
    assert_eq!(outline(&state.hear(&Key::MseIngressConfigs, list()).changes), "listed");
    let step = state.want(wanted(&["cert", "opaque"]));
    assert_eq!((step.begun, outline(&step.changes)), (vec![tls()], String::new()));
    let step = state.hear(&tls(), News::Listed(secrets(&["cert", "unused"])));
    assert_eq!(step.begun, [named("opaque")]);
    assert_eq!(outline(&step.changes), "+shop/cert +shop/unused");
    let step = state.hear(&named("opaque"), News::Listed(secrets(&["opaque"])));
    assert_eq!(outline(&step.changes), "+shop/opaque");
    assert_eq!(outline(&state.know_members().changes), "synced Live");
}

#[test]
fn secrets_that_are_refused_for_good_keep_nobody_waiting() {
    let refused = || failed(Fault::Forbidden);
    let check = |key: &Key, news: &dyn Fn() -> News, expect: bool| {
        let mut state = State::default();
        state.start();
        for other in Key::ALWAYS {
            if other != *key {
                state.hear(&other, News::Listed(vec![]));
            }
        }
        state.know_members();
        state.want(wanted(&["cert"]));
        if *key != tls() {
            state.hear(&tls(), News::Listed(secrets(&["cert"])));
        }
        let mut said = String::new();
        for _ in 0..REFUSALS_THAT_COUNT {
            assert!(!said.contains("synced"), "{key:?}");
            said += &outline(&state.hear(key, news()).changes);
        }
        assert_eq!(said.contains("synced"), expect, "{key:?} {said}");
    };
    check(&tls(), &refused, true);
    check(&tls(), &|| failed(Fault::Unreachable), false);
    check(&Key::Ingresses, &refused, false);
    let missing = || failed(Fault::KindUnavailable);
    check(&Key::MseIngressConfigs, &missing, true);
    check(&Key::AlbConfigs, &missing, true);
    // It may have objects, which we may not see.
    check(&Key::AlbConfigs, &refused, false);
    check(&Key::Ingresses, &missing, false);
}

/// Nothing that works depends on a kind that nobody uses, and it is used when it comes.
#[test]
fn one_kind_of_gateways_is_enough() {
    for (has, lacks) in
        [(Key::MseIngressConfigs, Key::AlbConfigs), (Key::AlbConfigs, Key::MseIngressConfigs)]
    {
        let mut state = State::default();
        state.start();
        state.know_members();
        let missing = || failed(Fault::KindUnavailable);
        // Without any kind nothing is installed yet, however long that is so.
        let mut said = String::new();
        for key in [&has, &lacks].into_iter().cycle().take(4 * REFUSALS_THAT_COUNT as usize) {
            said += &outline(&state.hear(key, missing()).changes);
        }
        assert!(said.starts_with("KindUnavailable findings: 1"), "{said}");
        assert!(said.ends_with("findings: 2") && !said.contains("listed"), "{said}");
        let listed = || News::Listed(vec![]);
        assert_eq!(outline(&state.hear(&has, listed()).changes), "Syncing findings: 1", "{has:?}");
        state.hear(&Key::Classes, listed());
        assert_eq!(outline(&state.hear(&Key::Ingresses, listed()).changes), "listed", "{has:?}");
        assert_eq!(outline(&state.want(wanted(&[])).changes), "synced Live", "{has:?}");
        let [finding] = &state.findings[..] else { panic!("{:?}", state.findings) };
        assert_eq!(finding.severity, Severity::Warning);
        assert!(finding.message.contains(lacks.watched().kind.as_str()), "{finding}");
        // A server that does not answer once is not taken for more than that.
        let silent = state.hear(&lacks, failed(Fault::Unreachable)).changes;
        assert_eq!(outline(&silent), "findings: 0");
        assert_eq!(outline(&state.hear(&lacks, missing()).changes), "findings: 1");
        assert_eq!(outline(&state.hear(&lacks, listed()).changes), "findings: 0");
        // From now on it may have objects, so that it is missed (faults.md B5).
        let gone = state.hear(&lacks, missing()).changes;
        assert_eq!(outline(&gone), "KindUnavailable findings: 1");
        assert_eq!(state.findings[0].severity, Severity::Error);
    }
}

#[test]
fn what_a_first_reading_says_about_secrets_means_nothing() {
    let mut state = State::default();
    state.start();
    let early = Wanted { is_known: false, ..wanted(&["cert"]) };
    assert_eq!(state.want(early).begun, []);
}

#[test]
fn watches_begin_and_end_with_what_is_wanted() {
    let mut state = synced(&["cert"]);
    state.hear(&tls(), News::Listed(secrets(&["cert"])));
    let step = state.want(wanted(&["cert", "missing"]));
    assert_eq!((step.begun, step.ended), (vec![named("missing")], vec![]));
    let step = state.want(wanted(&["cert"]));
    assert_eq!((step.begun, step.ended), (vec![], vec![named("missing")]));
    let step = state.want(wanted(&[]));
    assert_eq!((step.ended, outline(&step.changes)), (vec![tls()], "-shop/cert".into()));
    // On its way when the watch was ended.
    assert_eq!(outline(&state.hear(&tls(), News::Listed(secrets(&["late"]))).changes), "");
}

#[test]
fn a_secret_that_two_watches_show_is_gone_when_neither_does() {
    let mut state = synced(&["cert"]);
    state.hear(&tls(), News::Listed(vec![]));
    let again = |name: &str| News::Changed(secrets(&[name]).remove(0));
    assert_eq!(outline(&state.hear(&named("cert"), again("cert")).changes), "+shop/cert");
    // It was made again, with the type that it should have: the first watch is not needed.
    let step = state.hear(&tls(), again("cert"));
    assert_eq!((step.ended, outline(&step.changes)), (vec![named("cert")], "+shop/cert".into()));
    let gone = Sighting { name: ObjectName::new("shop", "cert"), seen: Seen::Absent };
    let step = state.hear(&tls(), News::Changed(gone));
    assert_eq!((step.begun, outline(&step.changes)), (vec![named("cert")], "-shop/cert".into()));
}

#[test]
fn what_is_wrong_is_said_once_and_withdrawn() {
    let mut state = synced(&[]);
    let mut check = |key: Key, news: News, expect: &str| {
        assert_eq!(outline(&state.hear(&key, news).changes), expect, "{key:?}");
    };
    // A server may end a watch at any time.
    check(Key::Ingresses, failed(Fault::Unreachable), "");
    check(Key::Ingresses, failed(Fault::Unreachable), "Unreachable");
    check(Key::Ingresses, failed(Fault::Unreachable), "");
    check(Key::Classes, News::Contact, "");
    check(Key::Ingresses, News::Contact, "Live");
    // A decision of somebody counts at once.
    check(Key::Classes, failed(Fault::Forbidden), "Forbidden");
    let gateways = || Key::MseIngressConfigs;
    check(gateways(), failed(Fault::KindUnavailable), "KindUnavailable findings: 1");
    check(gateways(), News::Contact, "Forbidden findings: 0");
    check(Key::Classes, News::Contact, "Live");
}

type Lines = mpsc::UnboundedSender<Result<String, std::io::Error>>;

const MSE: &str = "mseingressconfigs";
const ALB: &str = "albconfigs";
const BOTH: [&str; 2] = [MSE, ALB];

/// What the API server of a test serves, and what it was asked.
#[derive(Default)]
struct Served {
    /// Plurals of the kinds of gateways that are installed.
    crds: Vec<&'static str>,
    lists: Vec<String>,
    /// Whom to tell events, by path.
    watches: BTreeMap<String, Lines>,
}

/// An API server with a gateway, and a Secret for every selector; and a fleet that is read from it.
struct Scene {
    served: Arc<Mutex<Served>>,
    wanted: watch::Sender<Wanted>,
    changes: mpsc::Receiver<Vec<Change>>,
}

impl Scene {
    async fn start(crds: &[&'static str]) -> Scene {
        let served = Arc::new(Mutex::new(Served { crds: crds.to_vec(), ..Served::default() }));
        let api = fake_api::serve({
            let served = served.clone();
            move |_, uri, _| answer(&mut served.lock().unwrap(), uri)
        });
        let config = ::kube::Config::new(format!("http://{}", api.await).parse().unwrap());
        let client = Client::try_from(config).unwrap();
        let (wanted, asked) = watch::channel(Wanted::default());
        let (sender, changes) = mpsc::channel(8);
        let timings = SourceTimings::PRODUCTION.faster(20);
        let (registered, members) = oneshot::channel();
        registered.send(()).unwrap();
        spawn_fleet(client, asked, sender, SourceMeter::default(), timings, members);
        Scene { served, wanted, changes }
    }

    /// What comes, up to and with this.
    async fn until(&mut self, last: &str) -> String {
        let mut all = Vec::new();
        while all.last().is_none_or(|said| said != last) {
            let batch = timeout(PATIENCE, self.changes.recv()).await;
            let batch = batch.unwrap_or_else(|_| panic!("{last} did not come after {all:?}"));
            all.extend(batch.unwrap().iter().map(said));
        }
        all.join(" ")
    }

    /// The lists of Secrets that were asked for.
    fn secret_lists(&self) -> Vec<String> {
        let lists = self.served.lock().unwrap().lists.clone();
        lists.into_iter().filter(|path| path.contains("secrets")).collect()
    }
}

fn answer(served: &mut Served, uri: &Uri) -> Response {
    let path = uri.path().to_owned();
    let gateways = BOTH.into_iter().find(|plural| path.ends_with(plural));
    if gateways.is_some_and(|plural| !served.crds.contains(&plural)) {
        return fake_api::not_found();
    }
    let query = uri.query().unwrap_or_default();
    let selector = query.split('&').find_map(|part| part.strip_prefix("fieldSelector="));
    if query.contains("watch=true") {
        let (lines, body) = mpsc::unbounded_channel();
        served.watches.insert(path, lines);
        return Response::new(Body::from_stream(UnboundedReceiverStream::new(body)));
    }
    served.lists.push(format!("{path} {}", selector.unwrap_or_default()));
    let items = match selector {
        Some(selector) => vec![secret(if selector.starts_with("type") { "cert" } else { "old" })],
        None if gateways == Some(MSE) => vec![json!({
            "metadata": {"name": "hongkong"}, "spec": {},
        })],
        None if gateways == Some(ALB) => vec![json!({
            "metadata": {"name": "alb"}, "spec": {"listeners": [{"port": 8001}]},
        })],
        None => vec![],
    };
    fake_api::ok(&json!({"metadata": {"resourceVersion": "1"}, "items": items}))
}

fn secret(name: &str) -> Value {
    json!({"metadata": {"namespace": "shop", "name": name}, "type": "Opaque"})
}

#[tokio::test]
async fn fault_s03_secrets_are_read_only_where_they_are_named() {
    let mut scene = Scene::start(&BOTH).await;
    let first = scene.until("listed").await;
    assert!(["+hongkong", "+alb"].iter().all(|own| first.contains(own)), "{first}");
    assert_eq!(scene.secret_lists(), [""; 0]);
    scene.wanted.send_replace(wanted(&["cert", "old"]));
    assert_eq!(scene.until("Live").await, "+shop/cert +shop/old synced Live");
    let path = "/api/v1/namespaces/shop/secrets";
    let expect =
        [format!("{path} type%3Dkubernetes.io%2Ftls"), format!("{path} metadata.name%3Dold")];
    assert_eq!(scene.secret_lists(), expect);
    scene.wanted.send_replace(wanted(&[]));
    assert_eq!(scene.until("-shop/old").await, "-shop/cert -shop/old");
}

#[tokio::test]
async fn a_crd_that_is_installed_later_is_used() {
    let mut scene = Scene::start(&[]).await;
    let said = scene.until("findings: 2").await;
    assert!(said.starts_with("Syncing KindUnavailable"), "{said}");
    scene.served.lock().unwrap().crds = vec![MSE];
    let rest = scene.until("listed").await;
    assert!(rest.contains("+hongkong"), "{rest}");
    scene.served.lock().unwrap().crds = BOTH.to_vec();
    assert_eq!(scene.until("+alb").await, "findings: 0 +alb");
}

#[tokio::test]
async fn fault_b05_a_kind_that_is_not_served_any_more_is_kept() {
    let mut scene = Scene::start(&BOTH).await;
    scene.until("listed").await;
    scene.wanted.send_replace(wanted(&[]));
    scene.until("Live").await;
    {
        let mut served = scene.served.lock().unwrap();
        served.crds = vec![ALB];
        // Every watch ends.
        served.watches.clear();
    }
    assert_eq!(scene.until("findings: 1").await, "KindUnavailable findings: 1");
    scene.served.lock().unwrap().crds = BOTH.to_vec();
    // Nothing of it was ever taken back, so nothing has to come again.
    assert_eq!(scene.until("findings: 0").await, "Live findings: 0");
}
