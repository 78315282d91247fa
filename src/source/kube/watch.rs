//! The list and the watch of one kind of one cluster, for as long as somebody listens.
//!
//! Owns the requests, their timeouts and the back-off. Drives list and watch itself rather than
//! through `kube::runtime::watcher`, because the rules are few and strict here: a list asks for
//! no resource version, so that it is the most recent one and never that of a replica that lags;
//! it counts only when its last page has arrived; and any 410 means a new list, after a wait.
//! Must not know what objects mean. Cost: one page of a list in memory beside the objects.

use std::{
    hash::{BuildHasher as _, RandomState},
    pin::pin,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use kube::{
    Api, Client, Error,
    api::{ApiResource, DynamicObject, ListParams, WatchEvent, WatchParams},
};
use serde_json::Value;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_stream::StreamExt as _;

use super::mirror::Mirror;
use crate::{
    key::{ObjectKind, ObjectName, Scope},
    settings::SourceTimings,
    store::Change,
};

/// Objects in a page: what an API server answers within milliseconds.
const PAGE: u32 = 500;

/// What is watched.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The cluster.
    pub scope: Scope,
    /// The kind.
    pub kind: ObjectKind,
    /// Where the kind is served.
    pub resource: ApiResource,
}

/// Why a list or a watch ended.
enum Ended {
    /// The watch may be resumed from its last version.
    Resumable(String),
    /// Only a new list helps: the version is gone, or nothing was listed.
    Relist(String),
    /// Nobody listens any more.
    Unheard,
}

/// Lists and watches until the receiver of `changes` is gone.
pub async fn run(
    client: Client,
    watched: Watched,
    changes: mpsc::Sender<Vec<Change>>,
    timings: SourceTimings,
) {
    let Watched { scope, kind, resource } = watched;
    let mirror = Mirror::new(scope.clone(), kind, format!("watch of {kind} in {scope}"));
    let api = Api::all_with(client, &resource);
    let mut task = Task { api, resource, mirror, changes, timings, version: None, failures: 0 };
    loop {
        let message = match task.step().await {
            Ok(()) => continue,
            Err(Ended::Unheard) => return,
            Err(Ended::Resumable(message)) => message,
            Err(Ended::Relist(message)) => {
                task.version = None;
                message
            }
        };
        task.failures = task.failures.saturating_add(1);
        let wait = jittered(backoff(task.failures, &timings));
        tracing::warn!(%scope, %kind, message, ?wait, "watch ended");
        tokio::select! {
            () = sleep(wait) => {}
            () = task.changes.closed() => return,
        }
    }
}

struct Task {
    api: Api<DynamicObject>,
    resource: ApiResource,
    mirror: Mirror,
    changes: mpsc::Sender<Vec<Change>>,
    timings: SourceTimings,
    /// Where the watch goes on; none before the first list.
    version: Option<String>,
    failures: u32,
}

impl Task {
    async fn step(&mut self) -> Result<(), Ended> {
        match self.version.clone() {
            None => self.list().await,
            Some(version) => self.watch(&version).await,
        }
    }

    async fn list(&mut self) -> Result<(), Ended> {
        let mut manifests = Vec::new();
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let page = timeout(self.timings.request, self.api.list(&params)).await;
            let page = page.map_err(|_| Ended::Relist("no answer to a list".into()))?;
            let page = page.map_err(|err| Ended::Relist(err.to_string()))?;
            let items = page.items.into_iter();
            manifests.extend(items.filter_map(|object| manifest(&self.resource, object)));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => {
                    let version = page.metadata.resource_version.filter(|own| !own.is_empty());
                    let version =
                        version.ok_or_else(|| Ended::Relist("a list without version".into()))?;
                    let changes = self.mirror.replace(manifests, now());
                    self.send(changes).await?;
                    self.version = Some(version);
                    return Ok(());
                }
            }
        }
    }

    async fn watch(&mut self, version: &str) -> Result<(), Ended> {
        let idle = self.timings.watch_idle;
        let started = Instant::now();
        let seconds = u32::try_from(idle.as_secs()).unwrap_or(u32::MAX).max(1);
        let params = WatchParams::default().timeout(seconds);
        let stream = timeout(self.timings.request, self.api.watch(&params, version)).await;
        let stream = stream.map_err(|_| Ended::Resumable("no answer to a watch".into()))?;
        let mut stream = pin!(stream.map_err(ended)?);
        // The server ends the watch at `idle`; a connection that is dead does not.
        while let Ok(event) = timeout(idle + self.timings.request, stream.next()).await {
            let Some(event) = event else {
                // A server that ends every watch at once is not asked again at once.
                let is_ordinary = started.elapsed() >= self.timings.backoff_min;
                let early = || Ended::Resumable("the watch ended as it began".into());
                return is_ordinary.then_some(()).ok_or_else(early);
            };
            self.event(event.map_err(ended)?).await?;
            self.failures = 0;
        }
        Err(Ended::Resumable("a watch without a sign of life".into()))
    }

    async fn event(&mut self, event: WatchEvent<DynamicObject>) -> Result<(), Ended> {
        let (version, changes) = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                let version = object.metadata.resource_version.clone();
                let changes = manifest(&self.resource, object)
                    .map(|(name, manifest)| self.mirror.upsert(name, manifest, now()));
                (version, changes.unwrap_or_default())
            }
            WatchEvent::Deleted(object) => {
                let version = object.metadata.resource_version.clone();
                let changes = name(&object).map(|name| self.mirror.delete(&name));
                (version, changes.unwrap_or_default())
            }
            WatchEvent::Bookmark(bookmark) => {
                (Some(bookmark.metadata.resource_version), Vec::new())
            }
            WatchEvent::Error(status) => return Err(ended(Error::Api(status))),
        };
        self.send(changes).await?;
        self.version = version.filter(|own| !own.is_empty()).or_else(|| self.version.take());
        Ok(())
    }

    async fn send(&self, changes: Vec<Change>) -> Result<(), Ended> {
        if changes.is_empty() {
            return Ok(());
        }
        self.changes.send(changes).await.map_err(|_| Ended::Unheard)
    }
}

/// 410 comes as the answer to a request or as an event; some proxies leave out one of code and
/// reason. Events that cannot be read may have been deletions, so they too need a list.
fn ended(err: Error) -> Ended {
    let needs_list = if let Error::Api(status) = &err {
        status.code == 410 || is_expired(&status.reason)
    } else {
        matches!(err, Error::SerdeError(_))
    };
    let message = err.to_string();
    if needs_list { Ended::Relist(message) } else { Ended::Resumable(message) }
}

fn is_expired(reason: &str) -> bool {
    matches!(reason, "Expired" | "Gone")
}

fn name(object: &DynamicObject) -> Option<ObjectName> {
    let name = object.metadata.name.as_deref()?;
    Some(ObjectName::new(object.metadata.namespace.as_deref().unwrap_or_default(), name))
}

/// The object with the type that items of a list leave out.
fn manifest(resource: &ApiResource, object: DynamicObject) -> Option<(ObjectName, Value)> {
    let name = name(&object)?;
    let mut manifest = serde_json::to_value(object).ok()?;
    let fields = manifest.as_object_mut()?;
    fields.insert("kind".into(), resource.kind.as_str().into());
    fields.insert("apiVersion".into(), resource.api_version.as_str().into());
    Some((name, manifest))
}

fn backoff(failures: u32, timings: &SourceTimings) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
    timings.backoff_min.saturating_mul(doubled).min(timings.backoff_max)
}

/// Half of the wait to all of it, so that watches that failed together do not return together.
fn jittered(wait: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8) % 1000;
    let part = u32::try_from(random).unwrap_or(0);
    wait / 2 + wait / 2 * part / 1000
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn every_form_of_410_means_a_new_list() {
        let table = [
            (410, "Expired", true),
            (410, "Gone", true),
            (410, "", true),
            (500, "Expired", true),
            (500, "InternalError", false),
            (403, "Forbidden", false),
        ];
        for (code, reason, expect) in table {
            let mut status = Status::failure("", reason);
            status.code = code;
            let relists = matches!(ended(Error::Api(status.boxed())), Ended::Relist(_));
            assert_eq!(relists, expect, "{code} {reason}");
        }
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let wait = |failures| backoff(failures, &SourceTimings::PRODUCTION).as_millis();
        assert_eq!([1, 2, 3, 7, 100].map(wait), [500, 1000, 2000, 30_000, 30_000]);
    }
}
