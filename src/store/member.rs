//! One member's objects.
//!
//! Owns the reverse indexes from an EndpointSlice and a Pod to the Service they belong to.
//! Must not know the fleet. Cost: logarithmic per change, linear in the changed slice. A Node costs
//! a pass over the Services, which it may concern all, and is rare: what a kubelet reports of it
//! every few seconds is no change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    key::{ObjectKind, ObjectName},
    store::{
        EndpointSlice, Health, Labels, Locality, Network, Node, Object, Pod, Registered, Service,
        TrafficPolicy, set,
    },
};

/// One member as last seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Member {
    is_registered: bool,
    /// Outlives the registration, as the objects do.
    declared: Registered,
    health: Health,
    /// It was unreachable before it was ever read.
    is_given_up: bool,
    is_synced: bool,
    services: BTreeMap<ObjectName, Arc<Service>>,
    slices: BTreeMap<ObjectName, Arc<EndpointSlice>>,
    pods: BTreeMap<ObjectName, Arc<Pod>>,
    nodes: BTreeMap<ObjectName, Arc<Node>>,
    /// Ready endpoints of all slices.
    ready_endpoints: usize,
    /// Names of slices by Service.
    slices_of_service: Index,
    /// Names of slices by Pod.
    slices_of_pod: Index,
}

impl Member {
    /// Whether the member is registered now. Its objects outlive its registration.
    pub fn is_registered(&self) -> bool {
        self.is_registered
    }

    /// How it is reached.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Whether the member's kinds have all been listed once; before that, absence means nothing.
    pub fn is_synced(&self) -> bool {
        self.is_synced
    }

    /// Whether it is registered and was never read to the end: what it has is unknown
    /// (xds.md 3.15). What was read once stays known, however it is reached now.
    pub fn is_unread(&self) -> bool {
        self.is_registered() && !self.is_synced
    }

    /// Whether it is unread and waited for. Once it was stale it is not any more: one deadline is
    /// waited for, not another one whenever it answers for a moment.
    pub fn is_awaited(&self) -> bool {
        self.is_unread() && !self.is_given_up
    }

    /// Where it is; unknown if it is not registered.
    pub fn locality(&self) -> Locality {
        if self.is_registered { self.declared.locality.clone() } else { Locality::default() }
    }

    /// What is declared of it, or was declared last.
    pub fn declared(&self) -> &Registered {
        &self.declared
    }

    /// All its Services, by namespace and name.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// How many Services it has.
    pub fn service_count(&self) -> usize {
        self.services.len()
    }

    /// How many ready endpoints its slices have, whether a gateway uses them or not.
    pub fn ready_endpoint_count(&self) -> usize {
        self.ready_endpoints
    }

    /// One Service.
    pub fn service(&self, name: &ObjectName) -> Option<&Arc<Service>> {
        self.services.get(name)
    }

    /// The EndpointSlices of a Service, by name.
    pub fn slices(&self, service: &ObjectName) -> impl Iterator<Item = &EndpointSlice> {
        let names = self.slices_of_service.get(service);
        names.filter_map(|name| self.slices.get(name)).map(Arc::as_ref)
    }

    /// The labels of a Pod, if it is known.
    pub fn pod_labels(&self, name: &ObjectName) -> Option<Arc<Labels>> {
        self.pods.get(name).map(|pod| pod.labels.clone())
    }

    /// Its Nodes, by name.
    pub fn nodes(&self) -> &BTreeMap<ObjectName, Arc<Node>> {
        &self.nodes
    }

    pub(super) fn set_synced(&mut self) -> bool {
        !std::mem::replace(&mut self.is_synced, true)
    }

    pub(super) fn set_health(&mut self, health: Health) -> bool {
        let gives_up = match health {
            Health::Connecting | Health::Syncing | Health::Live => false,
            Health::Stale { .. } => !self.is_synced && !self.is_given_up,
        };
        let is_news = self.health != health || gives_up;
        self.is_given_up |= gives_up;
        self.health = health;
        is_news
    }

    /// Whether that is news, and the Services that are different now: how they are reached, and
    /// what may be offered of them, concerns all.
    pub(super) fn register(&mut self, declared: Registered) -> (bool, BTreeSet<ObjectName>) {
        let Registered {
            locality,
            network,
            allowed_endpoints,
            allowed_namespaces,
            api_server,
            declared_by,
        } = &declared;
        let differs = *network != self.declared.network
            || *allowed_endpoints != self.declared.allowed_endpoints
            || *allowed_namespaces != self.declared.allowed_namespaces;
        let is_news = !self.is_registered
            || *locality != self.declared.locality
            || *api_server != self.declared.api_server
            || *declared_by != self.declared.declared_by;
        self.is_registered = true;
        self.declared = declared;
        let services = self.services.keys().filter(|_| differs).cloned();
        (is_news, services.collect())
    }

    pub(super) fn unregister(&mut self) -> bool {
        self.is_given_up = false;
        std::mem::replace(&mut self.is_registered, false)
    }

    /// Nothing is known of it, not even that it has nothing.
    pub(super) fn is_unknown(&self) -> bool {
        let Member {
            is_registered,
            declared: _,
            health: _,
            is_given_up: _,
            is_synced,
            services,
            slices,
            pods,
            nodes,
            ready_endpoints: _,
            slices_of_service: _,
            slices_of_pod: _,
        } = self;
        !is_registered
            && !is_synced
            && services.is_empty()
            && slices.is_empty()
            && pods.is_empty()
            && nodes.is_empty()
    }

    /// The Services that are different now.
    pub(super) fn upsert(&mut self, object: Object) -> BTreeSet<ObjectName> {
        let name = object.name().clone();
        match object {
            Object::Service(service) => {
                let is_news = set(&mut self.services, name.clone(), service);
                is_news.then_some(name).into_iter().collect()
            }
            Object::EndpointSlice(slice) => self.put_slice(&name, Some(slice)),
            Object::Pod(pod) => {
                let is_news = set(&mut self.pods, name.clone(), pod);
                if is_news { self.services_of_pod(&name) } else { BTreeSet::new() }
            }
            Object::Node(node) => {
                let is_news = set(&mut self.nodes, name.clone(), node);
                if is_news { self.services_on(&name) } else { BTreeSet::new() }
            }
            Object::Gateway(_)
            | Object::IngressClass(_)
            | Object::Ingress(_)
            | Object::Secret(_)
            | Object::MemberCluster(_) => BTreeSet::new(),
        }
    }

    /// The Services that are different now.
    pub(super) fn delete(&mut self, kind: ObjectKind, name: &ObjectName) -> BTreeSet<ObjectName> {
        match kind {
            ObjectKind::Service => {
                self.services.remove(name).map(|_| name.clone()).into_iter().collect()
            }
            ObjectKind::EndpointSlice => self.put_slice(name, None),
            ObjectKind::Pod => match self.pods.remove(name) {
                Some(_) => self.services_of_pod(name),
                None => BTreeSet::new(),
            },
            ObjectKind::Node => match self.nodes.remove(name) {
                Some(_) => self.services_on(name),
                None => BTreeSet::new(),
            },
            ObjectKind::MseIngressConfig
            | ObjectKind::AlbConfig
            | ObjectKind::IngressClass
            | ObjectKind::Ingress
            | ObjectKind::Secret
            | ObjectKind::MemberCluster
            | ObjectKind::CustomResourceDefinition
            | ObjectKind::File => BTreeSet::new(),
        }
    }

    pub(super) fn names(&self, kind: ObjectKind) -> Vec<ObjectName> {
        match kind {
            ObjectKind::Service => self.services.keys().cloned().collect(),
            ObjectKind::EndpointSlice => self.slices.keys().cloned().collect(),
            ObjectKind::Pod => self.pods.keys().cloned().collect(),
            ObjectKind::Node => self.nodes.keys().cloned().collect(),
            ObjectKind::MseIngressConfig
            | ObjectKind::AlbConfig
            | ObjectKind::IngressClass
            | ObjectKind::Ingress
            | ObjectKind::Secret
            | ObjectKind::MemberCluster
            | ObjectKind::CustomResourceDefinition
            | ObjectKind::File => Vec::new(),
        }
    }

    /// Both Services are different if the slice moved from one to another.
    fn put_slice(
        &mut self,
        name: &ObjectName,
        new: Option<Arc<EndpointSlice>>,
    ) -> BTreeSet<ObjectName> {
        let old = match &new {
            Some(slice) => self.slices.insert(name.clone(), slice.clone()),
            None => self.slices.remove(name),
        };
        if old == new {
            return BTreeSet::new();
        }
        let ready = |slice: &Option<Arc<EndpointSlice>>| -> usize {
            slice.iter().flat_map(|slice| &slice.endpoints).filter(|e| e.is_ready).count()
        };
        self.ready_endpoints = self.ready_endpoints + ready(&new) - ready(&old);
        let services = |slice: &Option<Arc<EndpointSlice>>| -> BTreeSet<ObjectName> {
            slice.iter().map(|slice| slice.service_name()).collect()
        };
        let pods = |slice: &Option<Arc<EndpointSlice>>| -> BTreeSet<ObjectName> {
            slice.iter().flat_map(|s| s.endpoints.iter().filter_map(|e| s.pod_name(e))).collect()
        };
        self.slices_of_service.reindex(name, &services(&old), &services(&new));
        self.slices_of_pod.reindex(name, &pods(&old), &pods(&new));
        let mut touched = services(&old);
        touched.extend(services(&new));
        touched
    }

    fn services_of_pod(&self, pod: &ObjectName) -> BTreeSet<ObjectName> {
        let names = self.slices_of_pod.get(pod);
        names.filter_map(|name| self.slices.get(name)).map(|slice| slice.service_name()).collect()
    }

    /// The Services that are reached through a node.
    fn services_on(&self, node: &ObjectName) -> BTreeSet<ObjectName> {
        match self.declared.network {
            Network::Underlay => BTreeSet::new(),
            Network::Overlay => {
                let services = self.services.values().filter(|own| self.is_on(own, &node.name));
                services.map(|own| own.name.clone()).collect()
            }
        }
    }

    fn is_on(&self, service: &Service, node: &str) -> bool {
        let hosts = |slice: &EndpointSlice| {
            slice.endpoints.iter().any(|own| own.is_ready && own.node.as_deref() == Some(node))
        };
        service.is_on_nodes()
            && match service.policy {
                TrafficPolicy::Cluster => true,
                TrafficPolicy::Local => self.slices(&service.name).any(hosts),
            }
    }
}

/// From a key to the slices that name it. A key that no slice names has no row.
#[derive(Clone, Debug, Default, PartialEq)]
struct Index(BTreeMap<ObjectName, BTreeSet<ObjectName>>);

impl Index {
    fn get(&self, key: &ObjectName) -> impl Iterator<Item = &ObjectName> {
        self.0.get(key).into_iter().flatten()
    }

    fn reindex(
        &mut self,
        slice: &ObjectName,
        old: &BTreeSet<ObjectName>,
        new: &BTreeSet<ObjectName>,
    ) {
        for key in old.difference(new) {
            let Some(slices) = self.0.get_mut(key) else { continue };
            slices.remove(slice);
            if slices.is_empty() {
                self.0.remove(key);
            }
        }
        for key in new.difference(old) {
            self.0.entry(key.clone()).or_default().insert(slice.clone());
        }
    }
}
