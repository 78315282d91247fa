//! The fleet and its members as real clusters.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use convoy::serve::Source;
use k8s_openapi::api::{core::v1::Namespace, events::v1::Event};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::{GroupVersionKind, ObjectMeta},
};
use tokio::{runtime::Handle, task::block_in_place};

use super::World;
use crate::bed::{
    fleet::{Cluster, Keeper, NAMESPACE},
    poll::{SETTLE, eventually},
};

/// What a world calls the fleet.
const FLEET: &str = "fleet";

/// As whom the bed applies.
const MANAGER: &str = "bed";

/// Writes as an administrator does, through the API of each cluster. A clone is the same.
#[derive(Clone)]
pub(crate) struct Clusters(Arc<Shared>);

struct Shared {
    clients: BTreeMap<String, Client>,
    source: Source,
    applied: Mutex<BTreeMap<(String, String), Vec<DynamicObject>>>,
}

impl Clusters {
    /// Those of a world; Convoy reads them as `source` says.
    pub(crate) async fn of(world: &World, source: Source) -> Clusters {
        let mut clients = BTreeMap::new();
        for cluster in world.clusters() {
            clients.insert(cluster.name.to_owned(), cluster.client().await);
        }
        Clusters(Arc::new(Shared { clients, source, applied: Mutex::default() }))
    }

    /// Deletes everything that was applied, and what was said about it.
    pub(crate) async fn clear(&self) {
        let events: Api<Event> = Api::namespaced(self.0.clients[FLEET].clone(), NAMESPACE);
        let all = ListParams::default();
        events.delete_collection(&DeleteParams::default(), &all).await.unwrap();
        let applied = std::mem::take(&mut *self.0.applied.lock().unwrap());
        for ((cluster, _), objects) in applied {
            delete_all(&self.0.clients[&cluster], &objects).await;
        }
    }
}

impl Keeper for Clusters {
    fn apply(&self, to: Cluster<'_>, file: &str, manifests: &str) {
        let (cluster, objects) = (name(to), parse(manifests));
        wait(async {
            for object in &objects {
                apply(&self.0.clients[&cluster], object).await;
            }
        });
        self.0.applied.lock().unwrap().insert((cluster, file.to_owned()), objects);
    }

    fn delete(&self, from: Cluster<'_>, file: &str) {
        let cluster = name(from);
        let key = (cluster.clone(), file.to_owned());
        let objects = self.0.applied.lock().unwrap().remove(&key).unwrap();
        wait(delete_all(&self.0.clients[&cluster], &objects));
    }

    fn source(&self) -> Source {
        self.0.source.clone()
    }

    fn events(&self, object: &str) -> Option<Vec<String>> {
        let (kind, name) = object.split_once(' ').unwrap();
        let (namespace, name) = name.split_once('/').unwrap();
        let api: Api<Event> = Api::namespaced(self.0.clients[FLEET].clone(), namespace);
        let events = wait(api.list(&ListParams::default())).unwrap();
        let is_on_it = |event: &Event| {
            let about = event.regarding.clone().unwrap_or_default();
            about.kind.as_deref() == Some(kind) && about.name.as_deref() == Some(name)
        };
        Some(events.into_iter().filter(is_on_it).filter_map(|event| event.reason).collect())
    }
}

fn name(cluster: Cluster<'_>) -> String {
    match cluster {
        Cluster::Fleet => FLEET.to_owned(),
        Cluster::Member(id) => id.to_owned(),
    }
}

/// A row writes and goes on when it is written, as a person with kubectl does.
fn wait<T>(work: impl Future<Output = T>) -> T {
    block_in_place(|| Handle::current().block_on(work))
}

fn parse(manifests: &str) -> Vec<DynamicObject> {
    let mut objects: Vec<DynamicObject> = serde_saphyr::from_multiple(manifests).unwrap();
    // An API server is told by nobody when an object was made.
    objects.iter_mut().for_each(|object| object.metadata.creation_timestamp = None);
    objects
}

fn api(client: &Client, object: &DynamicObject) -> Api<DynamicObject> {
    let kind = GroupVersionKind::try_from(object.types.as_ref().unwrap()).unwrap();
    let kind = ApiResource::from_gvk(&kind);
    match object.namespace() {
        Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &kind),
        None => Api::all_with(client.clone(), &kind),
    }
}

async fn apply(client: &Client, object: &DynamicObject) {
    let (name, params) = (object.name_any(), PatchParams::apply(MANAGER).force());
    let (api, patch) = (api(client, object), Patch::Apply(object));
    // A new namespace takes a moment to have the account that pods run as.
    eventually(SETTLE, "the API server takes the object", || async {
        let answer = api.patch(&name, &params, &patch).await;
        if matches!(&answer, Err(kube::Error::Api(refusal)) if refusal.code == 404) {
            create_namespace(client, &object.namespace().unwrap()).await;
        }
        answer.map(drop).map_err(|e| e.to_string())
    })
    .await;
}

async fn create_namespace(client: &Client, name: &str) {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let namespace = Namespace { metadata, ..Namespace::default() };
    // Another object may have needed it a moment ago.
    let _ = Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await;
}

/// Returns when they are gone.
async fn delete_all(client: &Client, objects: &[DynamicObject]) {
    // Nobody runs the bed's pods who could end them with grace.
    let at_once = DeleteParams::default().grace_period(0);
    for object in objects {
        let (api, name) = (api(client, object), object.name_any());
        eventually(SETTLE, "the object is gone", || async {
            match api.delete(&name, &at_once).await {
                Err(kube::Error::Api(refusal)) if refusal.code == 404 => Ok(()),
                Err(e) => Err(e.to_string()),
                Ok(_) => Err("it is there".to_owned()),
            }
        })
        .await;
    }
}
