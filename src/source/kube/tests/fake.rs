//! An API server of a test: it lists in pages and watches what it is given, and misbehaves as told.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    http::{Method, StatusCode, Uri},
    response::Response,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::source::registry::fake_api;

type Line = Result<String, io::Error>;

type Lines = mpsc::UnboundedSender<Line>;

/// What an intercepted request is answered with; `None` lets it pass.
type Trick = Box<dyn FnMut(&Request) -> Option<Response> + Send>;

/// A cluster, behind any number of addresses.
#[derive(Clone)]
pub(super) struct Fake(Arc<Mutex<State>>);

struct State {
    uid: String,
    version: u64,
    /// By kind, namespace and name.
    objects: BTreeMap<(String, String, String), Value>,
    /// By version: kind, namespace and line.
    events: BTreeMap<u64, (String, String, String)>,
    watchers: Vec<(String, Option<String>, Lines)>,
    trick: Option<Trick>,
    log: Vec<Request>,
}

/// What was asked.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) address: String,
    /// Plural of the kind.
    pub(super) kind: String,
    pub(super) namespace: Option<String>,
    pub(super) is_watch: bool,
    pub(super) at: Instant,
    query: BTreeMap<String, String>,
}

impl Request {
    pub(super) fn is_list(&self, kind: &str) -> bool {
        self.kind == kind && !self.is_watch
    }

    pub(super) fn is_watch(&self, kind: &str) -> bool {
        self.kind == kind && self.is_watch
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.query.get("continue").map(String::as_str)
    }

    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.query.get(key)?.parse().ok()
    }

    /// `/api/v1[/namespaces/NS]/KIND` or `/apis/GROUP/VERSION[/namespaces/NS]/KIND`.
    fn new(address: &str, uri: &Uri) -> Request {
        let parts: Vec<&str> = uri.path().trim_start_matches('/').split('/').collect();
        let parts = if parts[0] == "api" { &parts[2..] } else { &parts[3..] };
        let (namespace, kind) = match parts {
            ["namespaces", _object] => (None, "namespaces"),
            ["namespaces", namespace, kind] => (Some((*namespace).to_owned()), *kind),
            parts => (None, parts[0]),
        };
        let pairs = uri.query().unwrap_or_default().split('&').filter_map(|p| p.split_once('='));
        let query: BTreeMap<_, _> = pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        Request {
            address: address.to_owned(),
            kind: kind.to_owned(),
            namespace,
            is_watch: query.contains_key("watch"),
            at: Instant::now(),
            query,
        }
    }
}

impl Fake {
    pub(super) fn new(uid: &str) -> Fake {
        Fake(Arc::new(Mutex::new(State {
            uid: uid.to_owned(),
            version: 100,
            objects: BTreeMap::new(),
            events: BTreeMap::new(),
            watchers: Vec::new(),
            trick: None,
            log: Vec::new(),
        })))
    }

    /// Opens one more address of the cluster.
    pub(super) async fn serve(&self) -> String {
        let fake = self.clone();
        let own = Arc::new(Mutex::new(String::new()));
        let name = own.clone();
        let answer = move |_: &Method, uri: &Uri, _: &[u8]| {
            let address = name.lock().unwrap().clone();
            fake.answer(Request::new(&address, uri))
        };
        let address = format!("http://{}", fake_api::serve(answer).await);
        own.lock().unwrap().clone_from(&address);
        address
    }

    /// Creates or changes an object, whose kind has this plural.
    pub(super) fn put(&self, kind: &str, mut object: Value) {
        let mut state = self.0.lock().unwrap();
        state.version += 1;
        object["metadata"]["resourceVersion"] = state.version.to_string().into();
        let key = key(kind, &object);
        let is_new = state.objects.insert(key.clone(), object.clone()).is_none();
        state.tell(&key, if is_new { "ADDED" } else { "MODIFIED" }, object);
    }

    pub(super) fn delete(&self, kind: &str, namespace: &str, name: &str) {
        let mut state = self.0.lock().unwrap();
        state.version += 1;
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        let mut object = state.objects.remove(&key).unwrap();
        object["metadata"]["resourceVersion"] = state.version.to_string().into();
        state.tell(&key, "DELETED", object);
    }

    /// From now on requests are shown to `trick` first.
    pub(super) fn trick(&self, trick: impl FnMut(&Request) -> Option<Response> + Send + 'static) {
        self.0.lock().unwrap().trick = Some(Box::new(trick));
    }

    pub(super) fn behave(&self) {
        self.0.lock().unwrap().trick = None;
    }

    /// Ends every watch; `line` is said before, if there is one.
    pub(super) fn cut(&self, line: Option<&str>) {
        for (_, _, lines) in self.0.lock().unwrap().watchers.drain(..) {
            if let Some(line) = line {
                lines.send(Ok(format!("{line}\n"))).ok();
            }
        }
    }

    /// What was asked so far.
    pub(super) fn log(&self) -> Vec<Request> {
        self.0.lock().unwrap().log.clone()
    }

    /// Another cluster answers here from now on.
    pub(super) fn become_cluster(&self, uid: &str) {
        self.0.lock().unwrap().uid = uid.to_owned();
    }

    /// The whole list of a replica that lags by so many versions, and had nothing then.
    pub(super) fn list_of_the_past(&self, lag: u64) -> Response {
        let version = self.0.lock().unwrap().version - lag;
        let metadata = json!({"resourceVersion": version.to_string()});
        fake_api::ok(&json!({"metadata": metadata, "items": []}))
    }

    /// What a list would be answered with, as text.
    pub(super) fn page_text(&self, request: &Request) -> String {
        self.0.lock().unwrap().page(request).to_string()
    }

    fn answer(&self, request: Request) -> Response {
        let mut state = self.0.lock().unwrap();
        state.log.push(request.clone());
        // A trick may ask the fake something.
        if let Some(mut trick) = state.trick.take() {
            drop(state);
            let answer = trick(&request);
            state = self.0.lock().unwrap();
            state.trick.get_or_insert(trick);
            if let Some(answer) = answer {
                return answer;
            }
        }
        match request.kind.as_str() {
            "namespaces" => fake_api::ok(&json!({"metadata": {"uid": state.uid}})),
            _ if request.is_watch => {
                let end = Duration::from_secs(request.number("timeoutSeconds").unwrap());
                let (lines, answer) = state.watch(&request);
                tokio::spawn(self.clone().end_watch(lines, end));
                answer
            }
            _ => fake_api::ok(&state.page(&request)),
        }
    }
}

impl Fake {
    /// As a server ends a watch: with a bookmark.
    async fn end_watch(self, lines: mpsc::WeakUnboundedSender<Line>, end: Duration) {
        tokio::time::sleep(end).await;
        let Some(lines) = lines.upgrade() else { return };
        let mut state = self.0.lock().unwrap();
        let bookmark = json!({"metadata": {"resourceVersion": state.version.to_string()}});
        lines.send(Ok(format!("{}\n", json!({"type": "BOOKMARK", "object": bookmark})))).ok();
        state.watchers.retain(|(_, _, own)| !own.same_channel(&lines));
    }
}

impl State {
    fn tell(&mut self, (kind, namespace, _): &(String, String, String), what: &str, object: Value) {
        let line = format!("{}\n", json!({"type": what, "object": object}));
        self.watchers.retain(|(own, only, lines)| {
            let is_theirs = own == kind && only.as_ref().is_none_or(|only| only == namespace);
            !is_theirs || lines.send(Ok(line.clone())).is_ok()
        });
        self.events.insert(self.version, (kind.clone(), namespace.clone(), line));
    }

    /// From the token's item on, as many as are asked for.
    fn page(&self, request: &Request) -> Value {
        let is_asked = |(kind, namespace, _): &(String, String, String)| {
            *kind == request.kind && request.namespace.as_ref().is_none_or(|own| own == namespace)
        };
        let all: Vec<_> = self.objects.iter().filter(|(key, _)| is_asked(key)).collect();
        let begin: usize = request.token().map_or(0, |token| token.parse().unwrap());
        let limit = request.number("limit").map_or(usize::MAX, |own| usize::try_from(own).unwrap());
        let items: Vec<_> = all.iter().skip(begin).take(limit).map(|(_, own)| *own).collect();
        let end = begin + items.len();
        let mut metadata = json!({"resourceVersion": self.version.to_string()});
        if end < all.len() {
            metadata["continue"] = end.to_string().into();
            metadata["remainingItemCount"] = (all.len() - end).into();
        }
        json!({"apiVersion": "v1", "kind": "List", "metadata": metadata, "items": items})
    }

    fn watch(&mut self, request: &Request) -> (mpsc::WeakUnboundedSender<Line>, Response) {
        let (lines, stream) = mpsc::unbounded_channel();
        let since = request.number("resourceVersion").unwrap();
        for (kind, namespace, line) in self.events.range(since + 1..).map(|(_, event)| event) {
            let only = request.namespace.as_ref();
            if *kind == request.kind && only.is_none_or(|only| only == namespace) {
                lines.send(Ok(line.clone())).unwrap();
            }
        }
        let weak = lines.downgrade();
        self.watchers.push((request.kind.clone(), request.namespace.clone(), lines));
        (weak, Response::new(Body::from_stream(UnboundedReceiverStream::new(stream))))
    }
}

fn key(kind: &str, object: &Value) -> (String, String, String) {
    let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
    (kind.to_owned(), text("namespace"), text("name"))
}

/// An error as API servers give it.
pub(super) fn refusal(code: u16, reason: &str, message: &str) -> Response {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "metadata": {},
        "code": code, "reason": reason, "message": message,
    });
    raw(code, status.to_string())
}

/// Whatever text.
pub(super) fn raw(code: u16, text: String) -> Response {
    let status = StatusCode::from_u16(code).unwrap();
    Response::builder().status(status).body(Body::from(text)).unwrap()
}

/// Headers, and then nothing for ever.
pub(super) fn silence() -> Response {
    Response::new(Body::from_stream(tokio_stream::pending::<Result<String, io::Error>>()))
}

pub(super) fn service(name: &str) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"ports": [{"port": 80}]},
    })
}

/// A slice of the Service of the same name.
pub(super) fn slice(service: &str, addresses: &[&str]) -> Value {
    let endpoint = |address: &&str| json!({"addresses": [address]});
    json!({
        "metadata": {
            "namespace": "shop", "name": service,
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "ports": [{"port": 8080}],
        "endpoints": addresses.iter().map(endpoint).collect::<Vec<_>>(),
    })
}

pub(super) fn pod(namespace: &str, name: &str) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name, "labels": {"v": "1"}}})
}
