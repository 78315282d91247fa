//! Who a cluster is, asked again and again.
//!
//! Owns the interval between two probes, and what a probe that fails or succeeds means to
//! everything else on the link. Must not know what is watched.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Client, Resource, api::GetParams, core::Request};
use serde_json::Value;
use tokio::{sync::mpsc, time::sleep};

use crate::{
    settings::SourceTimings,
    source::kube::{
        backoff::around,
        link::Link,
        request::{self, Fault, Trouble},
    },
};

/// Every cluster has this namespace from its first minute to its last, so that its UID is the
/// identity of the cluster.
const IDENTITY: &str = "kube-system";

/// The UID of a cluster's `kube-system`.
pub(super) type ClusterUid = Arc<str>;

/// Probes until nobody hears the answers any more.
///
/// Without an answer, the next probe goes through a client that `renew` makes: connections that
/// are dead on the way look alive from here. The first success after a failure is a recovery.
pub(super) async fn run(
    link: Link,
    renew: impl Fn() -> Option<Client>,
    answers: mpsc::Sender<Result<ClusterUid, Trouble>>,
    timings: SourceTimings,
) {
    let mut has_failed = false;
    loop {
        let answer = ask(&link.client(), timings.request).await;
        let is_lost = answer.as_ref().is_err_and(|trouble| !trouble.fault.is_refusal());
        if is_lost {
            renew().into_iter().for_each(|client| link.renew(client));
        }
        match &answer {
            Ok(_) => {
                link.meter().contact();
                if std::mem::take(&mut has_failed) {
                    link.recovered();
                }
            }
            Err(trouble) => {
                link.meter().failure(trouble.reason());
                has_failed = true;
            }
        }
        if answers.send(answer).await.is_err() {
            return;
        }
        sleep(around(timings.probe_lost)).await;
        if !is_lost {
            let rest = around(timings.probe.saturating_sub(timings.probe_lost));
            tokio::select! {
                () = sleep(rest) => {}
                () = link.doubted() => {}
            }
        }
    }
}

async fn ask(client: &Client, limit: Duration) -> Result<ClusterUid, Trouble> {
    let path = Request::new(Namespace::url_path(&(), None));
    let about = |trouble: Trouble| Trouble {
        message: format!("namespace {IDENTITY}: {}", trouble.message),
        ..trouble
    };
    let unreadable = |message: &str| about(Trouble::new(Fault::IncompleteList, message));
    let request = path.get(IDENTITY, &GetParams::default());
    let request = request.map_err(|_| unreadable("the request cannot be made"))?;
    let answer = request::fetch(client, request, limit).await;
    let answer = answer.map_err(|failure| about(failure.trouble))?;
    let object: Value = serde_json::from_slice(&answer).unwrap_or_default();
    let uid = object.get("metadata").and_then(|metadata| metadata.get("uid")?.as_str());
    let uid = uid.filter(|uid| !uid.is_empty());
    uid.map(ClusterUid::from).ok_or_else(|| unreadable("the answer holds no UID"))
}
