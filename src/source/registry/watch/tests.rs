use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{body::Body, http::Uri, response::Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::*;
use crate::{
    key::MemberId,
    source::registry::{Access, AccessError, MEMBER_LABEL, fake_api, fixture::kubeconfig},
};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn member() -> Value {
    let kubeconfig = kubeconfig("https://10.1.0.1", "t");
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "a", "namespace": "convoy-system", "uid": "1", "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {MEMBER_LABEL: "true"},
        },
        "data": {"c1": STANDARD.encode(kubeconfig)},
    })
}

type Lines = mpsc::UnboundedReceiver<Result<String, std::io::Error>>;

/// One Secret, no CRD, and a watch of Secrets with our label that says `events`.
fn answer(uri: &Uri, events: &Mutex<Option<Lines>>) -> Response {
    if uri.path() != "/api/v1/namespaces/convoy-system/secrets" {
        return fake_api::not_found();
    }
    let query = uri.query().unwrap_or_default();
    let is_ours = query.contains("convoy.dev");
    if query.contains("watch=true") {
        let lines = events.lock().unwrap().take_if(|_| is_ours);
        return match lines {
            Some(lines) => Response::new(Body::from_stream(UnboundedReceiverStream::new(lines))),
            None => Response::new(Body::from_stream(tokio_stream::pending::<
                Result<String, std::io::Error>,
            >())),
        };
    }
    let items = if is_ours { vec![member()] } else { Vec::new() };
    fake_api::ok(&json!({
        "apiVersion": "v1", "kind": "SecretList", "metadata": {"resourceVersion": "1"},
        "items": items,
    }))
}

#[tokio::test]
async fn fault_a08_members_are_registered_and_stay_without_their_secret() {
    let (say, events) = mpsc::unbounded_channel();
    let events = Arc::new(Mutex::new(Some(events)));
    let api = fake_api::serve(move |_, uri, _| answer(uri, &events)).await;
    let config = kube::Config::new(format!("http://{api}").parse().unwrap());
    let fleet = Client::try_from(config).unwrap();
    let (sender, mut members) = watch::channel(Registrations::default());
    let (changes, mut reports) = mpsc::channel(8);
    let task = spawn(fleet, ["convoy-system".to_owned()].into(), sender, changes);
    let c1 = MemberId::new("c1").unwrap();

    timeout(PATIENCE, members.changed()).await.unwrap().unwrap();
    let first = members.borrow_and_update().clone();
    assert_eq!(first.len(), 1);
    assert!(matches!(first[&c1].access, Ok(Access::Remote(_))), "{first:?}");
    let report = Change::Report { source: "registry".to_owned(), diags: vec![] };
    assert_eq!(timeout(PATIENCE, reports.recv()).await.unwrap(), Some(vec![report]));

    say.send(Ok(format!("{}\n", json!({"type": "DELETED", "object": member()})))).unwrap();
    timeout(PATIENCE, members.changed()).await.unwrap().unwrap();
    let last = members.borrow_and_update().clone();
    assert!(matches!(last[&c1].access, Err(AccessError::Undeclared(_))), "{last:?}");

    // Who nobody listens to ends.
    drop(reports);
    timeout(PATIENCE, task).await.unwrap().unwrap();
}
