//! What is there, as the watches last said it.
//!
//! Owns six watches of one namespace. That an object is missing means something only after its kind
//! has been listed.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
};

use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, TypeMeta},
    runtime::{
        WatchStreamExt,
        watcher::{self, watcher},
    },
};
use serde_json::Value;
use tokio_stream::{Stream, StreamExt, StreamMap};

use crate::infra::{Kind, name::SELECTOR};

type Events = Pin<Box<dyn Stream<Item = watcher::Result<watcher::Event<DynamicObject>>> + Send>>;

/// How a kind is reached in the API.
pub(super) fn resource(kind: Kind) -> ApiResource {
    let (group, version) = kind.group_version();
    let plural = match kind {
        Kind::ServiceAccount => "serviceaccounts",
        Kind::Secret => "secrets",
        Kind::ConfigMap => "configmaps",
        Kind::Deployment => "deployments",
        Kind::Service => "services",
        Kind::PodDisruptionBudget => "poddisruptionbudgets",
    };
    let api_version = match group {
        "" => version.to_owned(),
        _ => format!("{group}/{version}"),
    };
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version,
        kind: kind.as_str().to_owned(),
        plural: plural.to_owned(),
    }
}

fn types(kind: Kind) -> TypeMeta {
    let ApiResource { api_version, kind, .. } = resource(kind);
    TypeMeta { api_version, kind }
}

/// What may differ from before.
pub(super) enum News {
    /// These objects of a kind.
    Objects(Kind, Vec<String>),
    /// A kind was listed: everything of it, what is missing too.
    Listed(Kind),
}

/// The watches, and what they said.
pub(super) struct Observed {
    events: StreamMap<Kind, Events>,
    kinds: BTreeMap<Kind, Own>,
}

#[derive(Default)]
struct Own {
    objects: BTreeMap<String, Value>,
    /// What a list that is under way has named so far.
    listing: BTreeSet<String>,
    is_listed: bool,
    /// Why it cannot be read.
    problem: Option<String>,
}

impl Observed {
    /// Watches of a namespace. Nothing is asked before [`Observed::next`] is.
    pub(super) fn new(client: &Client, namespace: &str) -> Observed {
        let mut events = StreamMap::new();
        for kind in Kind::ALL {
            let api = Api::namespaced_with(client.clone(), namespace, &resource(kind));
            let config = watcher::Config::default().labels(SELECTOR);
            let own: Events = Box::pin(watcher(api, config).default_backoff());
            events.insert(kind, own);
        }
        let kinds = Kind::ALL.into_iter().map(|kind| (kind, Own::default())).collect();
        Observed { events, kinds }
    }

    /// The next news.
    pub(super) async fn next(&mut self) -> News {
        match self.events.next().await {
            Some((kind, event)) => self.kinds.entry(kind).or_default().take(kind, event),
            // Watches have no end.
            None => std::future::pending().await,
        }
    }

    /// Whether what is not there does not exist, or is not labelled as ours.
    pub(super) fn is_listed(&self, kind: Kind) -> bool {
        self.kinds.get(&kind).is_some_and(|own| own.is_listed)
    }

    /// An object by name.
    pub(super) fn get(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.kinds.get(&kind)?.objects.get(name)
    }

    /// Takes what the API said after a write, which the watch will say too.
    pub(super) fn put(&mut self, kind: Kind, name: &str, object: Value) {
        self.kinds.entry(kind).or_default().objects.insert(name.to_owned(), object);
    }

    /// Why kinds cannot be read.
    pub(super) fn problems(&self) -> impl Iterator<Item = &String> {
        self.kinds.values().filter_map(|own| own.problem.as_ref())
    }
}

impl Own {
    fn take(&mut self, kind: Kind, event: watcher::Result<watcher::Event<DynamicObject>>) -> News {
        let names = match event {
            Ok(watcher::Event::Init) => {
                self.listing.clear();
                Vec::new()
            }
            Ok(watcher::Event::InitApply(object)) => {
                self.listing.insert(object.name_any());
                self.store(kind, object);
                Vec::new()
            }
            Ok(watcher::Event::InitDone) => {
                (self.is_listed, self.problem) = (true, None);
                let listing = std::mem::take(&mut self.listing);
                self.objects.retain(|name, _| listing.contains(name));
                return News::Listed(kind);
            }
            Ok(watcher::Event::Apply(object)) => vec![self.store(kind, object)],
            Ok(watcher::Event::Delete(object)) => {
                let name = object.name_any();
                self.objects.remove(&name);
                vec![name]
            }
            Err(err) => {
                // The watch tries again by itself; what was read before stays.
                let message = format!("cannot watch {}s: {}", kind.as_str(), explained(&err));
                if self.problem.is_none() {
                    tracing::warn!(error = message, "managed gateways");
                }
                self.problem = Some(message);
                Vec::new()
            }
        };
        News::Objects(kind, names)
    }

    fn store(&mut self, kind: Kind, mut object: DynamicObject) -> String {
        let name = object.name_any();
        // The entries of a list do not say it, and would look as if somebody had changed them.
        object.types = Some(types(kind));
        let object = serde_json::to_value(object).expect("invariant: it came as JSON");
        self.objects.insert(name.clone(), object);
        name
    }
}

/// What the API said; without the parts that differ from time to time.
fn explained(err: &watcher::Error) -> String {
    match err {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => status.message.clone(),
        watcher::Error::WatchError(status) => status.message.clone(),
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => err.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;

    /// Entries of a list have no type, and events of a watch have one.
    #[test]
    fn an_object_has_its_type_however_it_was_read() {
        let listed = json!({"metadata": {"name": "own"}, "spec": {"replicas": 1}});
        let whole = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "own"}, "spec": {"replicas": 1},
        });
        for (event, object) in
            [(Event::InitApply as fn(_) -> _, &listed), (Event::Apply as fn(_) -> _, &whole)]
        {
            let mut own = Own::default();
            let object = serde_json::from_value(object.clone()).unwrap();
            own.take(Kind::Deployment, Ok(event(object)));
            assert_eq!(own.objects["own"], whole);
        }
    }
}
