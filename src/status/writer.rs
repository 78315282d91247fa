//! The requests: statuses by server-side apply, Events, and what is already there.
//!
//! Owns how the API is asked and what its answers mean. Must not decide what to write. Every
//! request looks at the lease first and has a time limit (faults.md C5, B7).

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::{events::v1::Event, networking::v1::Ingress},
    jiff::Timestamp,
};
use kube::{
    Client, ResourceExt,
    api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{sync::watch, time::timeout};

use crate::{
    admin::StatusMeter,
    key::{GatewayId, ObjectKind, ObjectName, ObjectRef},
    status::{
        desired::{Condition, GatewayStatus, LoadBalancer},
        elect::Tenure,
        events,
        members::MemberStatus,
    },
};

/// Who owns the fields that we write.
const FIELD_MANAGER: &str = "convoy";
/// Objects a list asks for at once.
const PAGE: u32 = 500;

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// There is no such object.
    #[error("not found")]
    Gone,
    /// This replica may not write any more.
    #[error("another replica writes status")]
    NotHolder,
    /// It may work later.
    #[error("{message}")]
    Later {
        /// What the API said, or what happened instead.
        message: String,
        /// How long the API asks to wait; zero if it does not say.
        after: Duration,
    },
}

/// What is there of an object's status.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Written<T> {
    /// Of the object that has it.
    pub(super) uid: Arc<str>,
    pub(super) status: T,
    /// Of conditions, by type.
    transitions: BTreeMap<String, Transition>,
}

/// What a condition became, and when.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Transition {
    status: String,
    last_transition_time: String,
}

/// All statuses that are there.
#[derive(Debug, Default)]
pub(super) struct Observed {
    pub(super) gateways: BTreeMap<GatewayId, Written<GatewayStatus>>,
    /// Only those that we wrote.
    pub(super) ingresses: BTreeMap<ObjectName, Written<LoadBalancer>>,
    /// By the `MemberCluster`.
    pub(super) members: BTreeMap<ObjectName, Written<MemberStatus>>,
}

/// Asks the fleet's API.
pub(super) struct Writer {
    pub(super) client: Client,
    pub(super) tenure: watch::Receiver<Tenure>,
    pub(super) meter: Arc<StatusMeter>,
    pub(super) request_timeout: Duration,
    /// `reportingInstance` of Events.
    pub(super) identity: String,
}

impl Writer {
    /// Reads what is there.
    pub(super) async fn observe(&self) -> Result<Observed, Failure> {
        let mut observed = Observed::default();
        for kind in GatewayId::KINDS {
            for object in self.list(self.objects(kind)).await? {
                let name = ObjectName::cluster_scoped(&object.name_any());
                observed.gateways.insert(GatewayId { kind, name }, written(&object));
            }
        }
        for object in self.list(self.objects(ObjectKind::MemberCluster)).await? {
            let name = ObjectName::cluster_scoped(&object.name_any());
            observed.members.insert(name, written(&object));
        }
        for ingress in self.list(Api::<Ingress>::all(self.client.clone())).await? {
            if is_ours(&ingress) {
                let namespace = ingress.namespace().unwrap_or_default();
                let name = ObjectName::new(&namespace, &ingress.name_any());
                observed.ingresses.insert(name, written_ingress(&ingress));
            }
        }
        Ok(observed)
    }

    /// Writes the status of a gateway.
    pub(super) async fn gateway(
        &self,
        id: &GatewayId,
        uid: &Arc<str>,
        status: &GatewayStatus,
        before: Option<&Written<GatewayStatus>>,
    ) -> Result<Written<GatewayStatus>, Failure> {
        let object = ObjectRef::fleet(id.kind, id.name.clone());
        self.conditions(&object, uid, status, &status.conditions, before).await
    }

    /// Writes the status of a `MemberCluster`.
    pub(super) async fn member(
        &self,
        name: &ObjectName,
        uid: &Arc<str>,
        status: &MemberStatus,
        before: Option<&Written<MemberStatus>>,
    ) -> Result<Written<MemberStatus>, Failure> {
        let object = ObjectRef::fleet(ObjectKind::MemberCluster, name.clone());
        self.conditions(&object, uid, status, &status.conditions, before).await
    }

    /// Writes a status with conditions, which are as old as what they say.
    async fn conditions<T: Clone + Serialize>(
        &self,
        object: &ObjectRef,
        uid: &Arc<str>,
        status: &T,
        conditions: &[Condition],
        before: Option<&Written<T>>,
    ) -> Result<Written<T>, Failure> {
        let resource = events::resource(object).expect("invariant: a kind of the fleet");
        let none = BTreeMap::new();
        let before = before.map_or(&none, |own| &own.transitions);
        let transitions = transitions(conditions, before, Timestamp::now());
        let mut document = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            // With its uid, so that an object that was made again is not taken for this one.
            "metadata": {"name": object.name.name, "uid": uid},
            "status": status,
        });
        let list = document.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
        for condition in list.into_iter().flatten().filter_map(Value::as_object_mut) {
            let kind = condition.get("type").and_then(Value::as_str);
            let own = kind.and_then(|kind| transitions.get(kind));
            let time = own.map(|own| own.last_transition_time.as_str());
            condition.insert("lastTransitionTime".to_owned(), json!(time));
        }
        self.apply(self.objects(object.kind), &object.name.name, &document).await?;
        Ok(Written { uid: uid.clone(), status: status.clone(), transitions })
    }

    /// Writes the addresses of an Ingress; empty ones take back what we wrote.
    pub(super) async fn ingress(
        &self,
        name: &ObjectName,
        uid: &Arc<str>,
        status: &LoadBalancer,
    ) -> Result<Written<LoadBalancer>, Failure> {
        // With its uid, so that an object that was made again is not taken for this one. To take
        // something back from an object that we never wrote is nothing, so that needs none.
        let ObjectName { namespace, name: own } = name;
        let (metadata, fields) = match status.ingress.is_empty() {
            true => (json!({"name": own, "namespace": namespace}), json!({})),
            false => (
                json!({"name": own, "namespace": namespace, "uid": uid}),
                json!({"loadBalancer": status}),
            ),
        };
        let document = json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": metadata,
            "status": fields,
        });
        let api = Api::<Ingress>::namespaced(self.client.clone(), &name.namespace);
        self.apply(api, &name.name, &document).await?;
        Ok(Written { uid: uid.clone(), status: status.clone(), transitions: BTreeMap::new() })
    }

    /// Says an Event about an object, or counts on one that says the same.
    pub(super) async fn event(&self, object: &ObjectRef, event: Event) -> Result<(), Failure> {
        let resource = events::resource(object).ok_or(Failure::Gone)?;
        let (namespace, name) = (&*object.name.namespace, &*object.name.name);
        let objects = match namespace {
            "" => Api::<DynamicObject>::all_with(self.client.clone(), &resource),
            _ => Api::namespaced_with(self.client.clone(), namespace, &resource),
        };
        let metadata = self.ask(objects.get_metadata(name)).await?;
        let now = Timestamp::now();
        let event = events::named(event, &metadata.uid().unwrap_or_default(), now);
        let namespace = event.namespace().unwrap_or_default();
        let api = Api::<Event>::namespaced(self.client.clone(), &namespace);
        let params =
            PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let created = self.write(async {
            match api.create(&params, &event).await {
                Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(None),
                other => other.map(Some),
            }
        });
        if created.await?.is_none() {
            let stored = self.ask(api.get(&event.name_any())).await?;
            let patch = Patch::Merge(json!({"series": events::again(&stored, now)}));
            let params =
                PatchParams { field_manager: params.field_manager, ..PatchParams::default() };
            self.write(api.patch(&event.name_any(), &params, &patch)).await?;
        }
        Ok(())
    }

    /// All objects of a kind without namespaces.
    fn objects(&self, kind: ObjectKind) -> Api<DynamicObject> {
        let any = ObjectRef::fleet(kind, ObjectName::cluster_scoped(""));
        let resource = events::resource(&any).expect("invariant: a kind of the fleet");
        Api::all_with(self.client.clone(), &resource)
    }

    async fn apply<K>(&self, api: Api<K>, name: &str, document: &Value) -> Result<(), Failure>
    where
        K: Clone + std::fmt::Debug + DeserializeOwned,
    {
        // We are the only writer of these fields; whoever else wrote them is mistaken.
        let params = PatchParams::apply(FIELD_MANAGER).force();
        self.write(api.patch_status(name, &params, &Patch::Apply(document))).await.map(|_| ())
    }

    /// All objects, a page at a time; none where the API does not know the kind yet.
    async fn list<K>(&self, api: Api<K>) -> Result<Vec<K>, Failure>
    where
        K: Clone + std::fmt::Debug + DeserializeOwned,
    {
        let mut params = ListParams::default().limit(PAGE);
        let mut all = Vec::new();
        loop {
            let page = match self.ask(api.list(&params)).await {
                Err(Failure::Gone) => return Ok(all),
                page => page?,
            };
            all.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(all),
            }
        }
    }

    async fn write<T>(&self, request: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
        let answer = self.ask(request).await?;
        self.meter.writes.fetch_add(1, Relaxed);
        Ok(answer)
    }

    async fn ask<T>(&self, request: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
        if !self.tenure.borrow().is_held(Instant::now()) {
            return Err(Failure::NotHolder);
        }
        let failure = match timeout(self.request_timeout, request).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(err)) => Failure::from(err),
            Err(_) => later("no answer in time".to_owned()),
        };
        if matches!(failure, Failure::Later { .. }) {
            self.meter.errors.fetch_add(1, Relaxed);
        }
        Err(failure)
    }
}

impl From<kube::Error> for Failure {
    fn from(err: kube::Error) -> Failure {
        let kube::Error::Api(status) = err else { return later(err.to_string()) };
        if status.code == 404 {
            return Failure::Gone;
        }
        let after = status.details.as_ref().map_or(0, |own| own.retry_after_seconds);
        Failure::Later {
            message: format!("{} {}: {}", status.code, status.reason, status.message),
            after: Duration::from_secs(after.into()),
        }
    }
}

fn later(message: String) -> Failure {
    Failure::Later { message, after: Duration::ZERO }
}

/// Whether we wrote something of the status.
fn is_ours(ingress: &Ingress) -> bool {
    ingress.managed_fields().iter().any(|entry| {
        entry.manager.as_deref() == Some(FIELD_MANAGER)
            && entry.subresource.as_deref() == Some("status")
    })
}

fn written_ingress(ingress: &Ingress) -> Written<LoadBalancer> {
    let status = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    Written {
        uid: ingress.uid().unwrap_or_default().into(),
        status: status.and_then(reread).unwrap_or_default(),
        transitions: BTreeMap::new(),
    }
}

fn written<T: Default + DeserializeOwned>(object: &DynamicObject) -> Written<T> {
    let status = object.data.get("status");
    let conditions = status.and_then(|own| own.get("conditions")).and_then(Value::as_array);
    let transition = |own: &Value| Some((own.get("type")?.as_str()?.to_owned(), reread(own)?));
    Written {
        uid: object.uid().unwrap_or_default().into(),
        status: status.and_then(reread).unwrap_or_default(),
        transitions: conditions.into_iter().flatten().filter_map(transition).collect(),
    }
}

/// A status as the types of ours; `None` if it was written by somebody with other ones.
fn reread<T: DeserializeOwned>(status: &impl Serialize) -> Option<T> {
    serde_json::from_value(serde_json::to_value(status).ok()?).ok()
}

/// When each condition came to be as it is: a status that stays keeps its time.
fn transitions(
    conditions: &[Condition],
    before: &BTreeMap<String, Transition>,
    now: Timestamp,
) -> BTreeMap<String, Transition> {
    // Whole seconds, as everywhere in Kubernetes.
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now).to_string();
    let transition = |own: &Condition| {
        let kept = before.get(&own.r#type).filter(|old| old.status == own.status);
        let fresh = || Transition { status: own.status.clone(), last_transition_time: now.clone() };
        (own.r#type.clone(), kept.cloned().unwrap_or_else(fresh))
    };
    conditions.iter().map(transition).collect()
}
