//! The watches from which registrations are computed: the shell around [`Seen`].
//!
//! Owns the streams. Must not know what a declaration means. Cost: a few watches a namespace and
//! one for each Secret that a `MemberCluster` refers to.

use std::{collections::BTreeSet, pin::Pin, sync::Arc};

use k8s_openapi::api::core::v1 as core;
use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject},
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_stream::{Stream, StreamExt as _, StreamMap};

use crate::{
    api::MemberCluster,
    diag::Diag,
    source::registry::{
        Registrations,
        seen::{SecretWatch, Seen},
    },
    store::Change,
};

/// Labels of Secrets that declare members: our own, Istio's, Argo CD's.
const SELECTORS: [&str; 3] =
    ["convoy.dev/member=true", "istio/multiCluster=true", "argocd.argoproj.io/secret-type=cluster"];

/// Under this name findings are reported.
const REPORT: &str = "registry";

/// Watches Secrets in `namespaces` and `MemberCluster`s in the fleet until `changes` is closed.
///
/// The first value is sent when everything was listed once, even if there is no member at all;
/// before that, the initial value of the channel means nothing. The CRD may be absent, and is
/// used as soon as it is installed. Findings arrive as [`Change::Report`].
pub fn spawn(
    fleet: Client,
    namespaces: BTreeSet<String>,
    registrations: watch::Sender<Registrations>,
    changes: mpsc::Sender<Vec<Change>>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut publisher = Publisher { registrations, changes: changes.clone(), last: None };
        tokio::select! {
            () = watch_all(fleet, namespaces, &mut publisher) => {}
            () = changes.closed() => {}
        }
    })
}

async fn watch_all(fleet: Client, namespaces: BTreeSet<String>, publisher: &mut Publisher) {
    let labelled = namespaces.iter().flat_map(|namespace| {
        SELECTORS.map(|selector| SecretWatch::Labelled(namespace.clone(), selector))
    });
    let labelled: BTreeSet<_> = labelled.collect();
    let mut streams = StreamMap::new();
    streams.insert(None, clusters(&fleet));
    for watch in &labelled {
        streams.insert(Some(watch.clone()), secrets(&fleet, watch));
    }
    let mut seen = Seen::new(namespaces, &labelled);
    let mut failing = BTreeSet::new();
    while let Some((watch, news)) = streams.next().await {
        if !matches!(news, News::Failed(_)) {
            failing.remove(&watch);
        }
        match (news, &watch) {
            (News::Cluster(event), _) => seen.cluster(event),
            (News::Secret(event), Some(watch)) => seen.secret(watch, event),
            (News::Secret(_), None) => {}
            (News::Failed(error), watch) => {
                // Once for each failure that lasts; nothing is served until all are listed.
                if failing.insert(watch.clone()) {
                    tracing::warn!(?watch, %error, "registrations cannot be listed or watched");
                }
                if is_absence(&error) {
                    seen.absent(watch.as_ref());
                }
            }
        }
        let (begun, ended) = seen.follow_references();
        for watch in ended {
            streams.remove(&Some(watch));
        }
        for watch in begun {
            let stream = secrets(&fleet, &watch);
            streams.insert(Some(watch), stream);
        }
        if let Some((members, diags)) = seen.registrations() {
            publisher.publish(Arc::new(members), diags).await;
        }
    }
}

/// What a watch has to say.
enum News {
    Cluster(Event<DynamicObject>),
    Secret(Event<core::Secret>),
    Failed(watcher::Error),
}

type NewsStream = Pin<Box<dyn Stream<Item = News> + Send>>;

fn clusters(fleet: &Client) -> NewsStream {
    let kind = ApiResource::erase::<MemberCluster>(&());
    let api: Api<DynamicObject> = Api::all_with(fleet.clone(), &kind);
    let events = watcher(api, watcher::Config::default()).default_backoff();
    Box::pin(events.map(|event| event.map_or_else(News::Failed, News::Cluster)))
}

fn secrets(fleet: &Client, watch: &SecretWatch) -> NewsStream {
    let config = watcher::Config::default();
    let (namespace, config) = match watch {
        SecretWatch::Labelled(namespace, selector) => (namespace.as_str(), config.labels(selector)),
        SecretWatch::Named(name) => {
            (&*name.namespace, config.fields(&format!("metadata.name={}", name.name)))
        }
    };
    let api: Api<core::Secret> = Api::namespaced(fleet.clone(), namespace);
    let events = watcher(api, config).default_backoff();
    Box::pin(events.map(|event| event.map_or_else(News::Failed, News::Secret)))
}

/// An answer, as opposed to none: the CRD is not installed. That RBAC does not let us in says
/// nothing about what there is, and members must not be lost by it (faults.md, Principles P2).
fn is_absence(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) => status.code == 404,
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchError(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => false,
    }
}

/// Sends what is new, and nothing else.
struct Publisher {
    registrations: watch::Sender<Registrations>,
    changes: mpsc::Sender<Vec<Change>>,
    last: Option<(Registrations, Vec<Diag>)>,
}

impl Publisher {
    async fn publish(&mut self, members: Registrations, diags: Vec<Diag>) {
        let (old_members, old_diags) = self.last.take().unzip();
        if old_members.as_ref() != Some(&members) {
            self.registrations.send_replace(members.clone());
        }
        if old_diags.as_ref() != Some(&diags) {
            let report = Change::Report { source: REPORT.to_owned(), diags: diags.clone() };
            // A closed channel ends the task.
            self.changes.send(vec![report]).await.ok();
        }
        self.last = Some((members, diags));
    }
}

#[cfg(test)]
mod tests;
