//! The task, against an API of one Secret that can be told to fail.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Instant,
};

use axum::{
    Json, Router,
    http::{Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::*;
use crate::{
    identity::authority::{self, Options, ROTATE, Running},
    key::ObjectName,
    rbac::AUTHORITY,
};

/// A look every few milliseconds; what it finds lasts.
const QUICK: IdentityTimings =
    IdentityTimings { look: Duration::from_millis(5), ..IdentityTimings::PRODUCTION };

/// The Secret, and how the API is.
#[derive(Default)]
struct World {
    secret: Option<Value>,
    version: u64,
    writes: usize,
    /// What the next requests are answered with; `None` lets one pass.
    tricks: VecDeque<Option<u16>>,
    /// What all are answered with that are no reads.
    refused: Option<u16>,
    is_away: bool,
}

impl World {
    fn answer(&mut self, method: &Method, body: Option<Value>) -> Response {
        if self.is_away {
            return refusal(503);
        }
        if let Some(code) = self.tricks.pop_front().flatten() {
            return refusal(code);
        }
        if let (true, Some(code)) = (method != Method::GET, self.refused) {
            return refusal(code);
        }
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        match (method.as_str(), body, &self.secret) {
            ("GET", _, Some(secret)) => Json(secret).into_response(),
            ("GET", _, None) => refusal(404),
            ("POST", Some(object), None) => self.put(object),
            ("POST", Some(_), Some(_)) => refusal(409),
            ("PUT", Some(own), Some(secret)) if version(&own) == version(secret) => self.put(own),
            ("PUT", Some(_), Some(_)) => refusal(409),
            ("PUT", Some(_), None) => refusal(404),
            (_, _, _) => refusal(405),
        }
    }

    fn put(&mut self, mut object: Value) -> Response {
        self.version += 1;
        self.writes += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.secret = Some(object.clone());
        Json(object).into_response()
    }
}

fn refusal(code: u16) -> Response {
    let reason = if code == 404 { "NotFound" } else { "Scripted" };
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": "as told"});
    (StatusCode::from_u16(code).unwrap(), Json(body)).into_response()
}

#[derive(Clone)]
struct Api {
    world: Arc<Mutex<World>>,
    client: kube::Client,
}

impl Api {
    async fn start() -> Api {
        let world: Arc<Mutex<World>> = Arc::default();
        let answer = {
            let world = world.clone();
            move |method: Method, _: Uri, body: axum::body::Bytes| {
                let body = serde_json::from_slice(&body).ok();
                std::future::ready(world.lock().unwrap().answer(&method, body))
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        let mut config = kube::Config::new(url.parse().unwrap());
        config.default_retry = false;
        Api { world, client: kube::Client::try_from(config).unwrap() }
    }

    fn edit<T>(&self, edit: impl FnOnce(&mut World) -> T) -> T {
        edit(&mut self.world.lock().unwrap())
    }

    fn content(&self) -> Option<Content> {
        let secret = self.edit(|world| world.secret.clone())?;
        let secret: k8s_openapi::api::core::v1::Secret = serde_json::from_value(secret).unwrap();
        let data = secret.data.unwrap_or_default().into_iter();
        Content::parse(&data.map(|(key, value)| (key, value.0)).collect()).unwrap()
    }

    fn replica(&self) -> Replica {
        let options = Options {
            secret: ObjectName::new("convoy-system", AUTHORITY),
            names: vec!["convoy.convoy-system.svc".to_owned()],
        };
        Replica(authority::spawn(self.client.clone(), options, QUICK))
    }
}

struct Replica(Running);

impl Drop for Replica {
    fn drop(&mut self) {
        self.0.task.abort();
    }
}

impl Replica {
    /// Waits until it uses what the Secret says, and serves with it.
    async fn uses(&self, api: &Api) {
        within("it uses what the Secret says", || {
            let authority = self.0.authority.borrow().clone();
            let used = authority.as_ref().map(|own| own.content().clone());
            used.is_some() && used == api.content() && self.serves()
        })
        .await;
    }

    /// Whether what it serves with is trusted by who has its bundle.
    fn serves(&self) -> bool {
        let authority = self.0.authority.borrow().clone();
        let material = self.0.materials.borrow().clone();
        let (Some(authority), Some(material)) = (authority, material) else { return false };
        let now = authority.issue(&gateway(), SystemTime::now()).unwrap();
        let trusted = CertificateDer::pem_slice_iter(now.authorities.as_bytes());
        let trusted: Vec<_> = trusted.map(Result::unwrap).collect();
        material.authorities == trusted && material.chain.len() == 1
    }

    fn trouble(&self) -> Option<String> {
        self.0.report.borrow().trouble.clone()
    }

    async fn complains(&self, of: &str) {
        within("it says what is wrong", || {
            self.trouble().is_some_and(|trouble| trouble.contains(of))
        })
        .await;
    }
}

/// Polls until it is so.
async fn within(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A Secret and a replica that uses it.
async fn settled() -> (Api, Replica) {
    let api = Api::start().await;
    let replica = api.replica();
    replica.uses(&api).await;
    (api, replica)
}

#[tokio::test]
async fn replicas_that_start_together_make_one_authority() {
    let api = Api::start().await;
    let replicas = [api.replica(), api.replica(), api.replica()];
    for replica in &replicas {
        replica.uses(&api).await;
        assert_eq!(replica.trouble(), None);
    }
    assert_eq!(api.edit(|world| world.writes), 1);
    let secret = api.edit(|world| world.secret.clone()).unwrap();
    assert_eq!(secret["type"], "Opaque");
    assert_eq!(secret["metadata"]["labels"]["app.kubernetes.io/managed-by"], "convoy");
}

#[tokio::test]
async fn fault_d08_a_secret_that_was_deleted_is_written_again_as_it_was() {
    let (api, replica) = settled().await;
    let before = api.content();
    for emptied in [None, Some(json!({"metadata": {"resourceVersion": "7"}}))] {
        api.edit(|world| world.secret = emptied);
        within("it is back", || api.content() == before).await;
    }
    replica.uses(&api).await;
}

#[tokio::test]
async fn fault_d08_a_secret_that_was_broken_by_hand_is_reported_and_left() {
    let (api, replica) = settled().await;
    let good = api.edit(|world| world.secret.clone()).unwrap();
    let mut broken = good.clone();
    broken["data"]["tls.key"] = json!("Z2FyYmFnZQ==");
    api.edit(|world| world.secret = Some(broken.clone()));
    replica.complains("Secret convoy-system/convoy-authority: `tls.crt` and `tls.key`").await;
    assert!(replica.serves());
    assert_eq!(api.edit(|world| world.secret.clone()), Some(broken));
    api.edit(|world| world.secret = Some(good));
    within("it is well again", || replica.trouble().is_none()).await;
    assert_eq!(api.edit(|world| world.writes), 1);
}

#[tokio::test]
async fn fault_d08_while_the_api_is_away_what_is_known_is_used() {
    let (api, replica) = settled().await;
    api.edit(|world| world.is_away = true);
    replica.complains("read it").await;
    assert!(replica.serves());
    let authority = replica.0.authority.borrow().clone().unwrap();
    let issued = authority.issue(&gateway(), SystemTime::now()).unwrap();
    assert!(!authority.is_due(Some(&issued), &gateway(), SystemTime::now()));
}

#[tokio::test]
async fn a_secret_that_cannot_be_made_is_named() {
    let api = Api::start().await;
    api.edit(|world| world.refused = Some(403));
    let replica = api.replica();
    replica.complains("Secret convoy-system/convoy-authority: write it: as told").await;
    assert!(replica.0.materials.borrow().is_none());
    assert_eq!(replica.0.report.borrow().server_end, None);
    api.edit(|world| world.refused = None);
    replica.uses(&api).await;
    within("all is well", || replica.trouble().is_none()).await;
}

#[tokio::test]
async fn an_operator_begins_a_rotation_and_a_lost_race_is_no_error() {
    let (api, replica) = settled().await;
    let before = api.content().unwrap();
    api.edit(|world| {
        world.tricks = [None, Some(409)].into();
        let secret = world.secret.as_mut().unwrap();
        secret["metadata"]["annotations"] = json!({ ROTATE: "2026-11-24" });
    });
    within("the next authority is trusted", || {
        api.content().is_some_and(|own| own.phase() == Phase::Spreading)
    })
    .await;
    replica.uses(&api).await;
    let content = api.content().unwrap();
    assert_eq!((content.signer, content.answered), (before.signer, "2026-11-24".to_owned()));
    within("it is said", || replica.0.report.borrow().phase == Some(Phase::Spreading)).await;
    assert_eq!(replica.trouble(), None);
    assert_eq!(api.edit(|world| world.writes), 2, "it is answered once");
}
