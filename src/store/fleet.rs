//! The fleet's objects.
//!
//! Owns the rule of the last good certificate (faults.md F8–F11). Must not know members.
//! Cost: logarithmic per change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    key::{GatewayId, ObjectKind, ObjectName},
    store::{Gateway, Health, Ingress, IngressClass, Object, Secret, Touched, set},
};

/// What a Secret that was deleted says about itself while its pair is still served.
const DELETED: &str = "the Secret was deleted; its last certificate is still served";

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fleet {
    /// All but the Secrets, which are read only because an Ingress names them.
    pub(super) is_listed: bool,
    pub(super) is_synced: bool,
    pub(super) health: Health,
    pub(super) gateways: BTreeMap<GatewayId, Arc<Gateway>>,
    pub(super) classes: BTreeMap<ObjectName, Arc<IngressClass>>,
    pub(super) ingresses: BTreeMap<ObjectName, Arc<Ingress>>,
    pub(super) secrets: BTreeMap<ObjectName, Arc<Secret>>,
    /// Names in `secrets` of what no longer exists.
    pub(super) deleted_secrets: BTreeSet<ObjectName>,
}

impl Fleet {
    pub(super) fn set_listed(&mut self) -> bool {
        !std::mem::replace(&mut self.is_listed, true)
    }

    pub(super) fn set_synced(&mut self) -> bool {
        self.is_listed = true;
        !std::mem::replace(&mut self.is_synced, true)
    }

    pub(super) fn set_health(&mut self, health: Health) -> bool {
        let is_news = self.health != health;
        self.health = health;
        is_news
    }

    pub(super) fn upsert(&mut self, object: Object) -> Option<Touched> {
        let name = object.name().clone();
        match object {
            Object::Gateway(gateway) => {
                let id = gateway.id();
                set(&mut self.gateways, id.clone(), gateway).then_some(Touched::Gateway(id))
            }
            Object::IngressClass(class) => {
                set(&mut self.classes, name.clone(), class).then_some(Touched::IngressClass(name))
            }
            Object::Ingress(ingress) => {
                set(&mut self.ingresses, name.clone(), ingress).then_some(Touched::Ingress(name))
            }
            Object::Secret(secret) => {
                self.deleted_secrets.remove(&name);
                let secret = match self.secrets.get(&name) {
                    Some(old) => last_good(old, secret),
                    None => secret,
                };
                set(&mut self.secrets, name.clone(), secret).then_some(Touched::Secret(name))
            }
            Object::Service(_)
            | Object::EndpointSlice(_)
            | Object::Pod(_)
            | Object::Node(_)
            | Object::MemberCluster(_) => None,
        }
    }

    pub(super) fn delete(&mut self, kind: ObjectKind, name: &ObjectName) -> Option<Touched> {
        let name = name.clone();
        match kind {
            ObjectKind::MseIngressConfig | ObjectKind::AlbConfig => {
                let id = GatewayId { kind, name };
                self.gateways.remove(&id).map(|_| Touched::Gateway(id))
            }
            ObjectKind::IngressClass => {
                self.classes.remove(&name).map(|_| Touched::IngressClass(name))
            }
            ObjectKind::Ingress => self.ingresses.remove(&name).map(|_| Touched::Ingress(name)),
            ObjectKind::Secret => self.delete_secret(name),
            ObjectKind::Service
            | ObjectKind::EndpointSlice
            | ObjectKind::Pod
            | ObjectKind::Node
            | ObjectKind::MemberCluster
            | ObjectKind::CustomResourceDefinition
            | ObjectKind::File => None,
        }
    }

    /// What is served with the Secret keeps being served: a host that loses its certificate
    /// would lose its traffic, and the deletion may be half of a replacement.
    fn delete_secret(&mut self, name: ObjectName) -> Option<Touched> {
        let secret = self.secrets.get(&name)?;
        let Some(pair) = secret.pair.clone() else {
            self.secrets.remove(&name);
            return Some(Touched::Secret(name));
        };
        self.deleted_secrets.insert(name.clone());
        let kept =
            Secret { name: name.clone(), pair: Some(pair), problem: Some(DELETED.to_owned()) };
        set(&mut self.secrets, name.clone(), Arc::new(kept)).then_some(Touched::Secret(name))
    }

    pub(super) fn forget_secret(&mut self, name: &ObjectName) {
        if self.deleted_secrets.remove(name) {
            self.secrets.remove(name);
        }
    }

    pub(super) fn names(&self, kind: ObjectKind) -> Vec<ObjectName> {
        match kind {
            ObjectKind::MseIngressConfig | ObjectKind::AlbConfig => {
                let ids = self.gateways.keys().filter(|id| id.kind == kind);
                ids.map(|id| id.name.clone()).collect()
            }
            ObjectKind::IngressClass => self.classes.keys().cloned().collect(),
            ObjectKind::Ingress => self.ingresses.keys().cloned().collect(),
            ObjectKind::Secret => self.secrets.keys().cloned().collect(),
            ObjectKind::Service
            | ObjectKind::EndpointSlice
            | ObjectKind::Pod
            | ObjectKind::Node
            | ObjectKind::MemberCluster
            | ObjectKind::CustomResourceDefinition
            | ObjectKind::File => Vec::new(),
        }
    }
}

/// The new content if it is good, else the pair that is there with what is wrong with the new.
fn last_good(old: &Secret, new: Arc<Secret>) -> Arc<Secret> {
    match (&old.pair, &new.problem) {
        (Some(pair), Some(problem)) => Arc::new(Secret {
            name: new.name.clone(),
            pair: Some(pair.clone()),
            problem: Some(problem.clone()),
        }),
        (None, _) | (_, None) => new,
    }
}
