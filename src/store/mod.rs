//! The trimmed objects as last seen, ordered, with reverse indexes.
//!
//! Owns the ground state: whatever is derived is a pure function of it. Must not know the model,
//! resources or xDS. Cost: logarithmic per change; `Replace` is linear in what it lists.

mod change;
mod fleet;
mod member;
mod object;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use crate::{
    diag::Diag,
    key::{GatewayId, MemberId, ObjectKind, ObjectName, Scope},
};

pub use crate::cidr::Cidr;
pub use change::{Change, Health, Locality, Network, Registered};
use fleet::Fleet;
pub use member::Member;
pub use object::*;

/// What a change made different, as the rows that the engine derives are keyed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Touched {
    /// The fleet has been listed, or is reached otherwise than before.
    Fleet,
    /// A gateway came, changed or went.
    Gateway(GatewayId),
    /// An IngressClass did.
    IngressClass(ObjectName),
    /// An Ingress did.
    Ingress(ObjectName),
    /// A TLS Secret did, or what is wrong with it.
    Secret(ObjectName),
    /// A member's Service, one of its EndpointSlices, or a Pod or Node behind one of those.
    Service(MemberId, ObjectName),
    /// A member's registration or first sync, or that something is known of it at all.
    Member(MemberId),
    /// How a member is reached.
    Health(MemberId),
    /// What some source has to say about its inputs.
    Reports,
}

/// The ground state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Store {
    fleet: Fleet,
    members: BTreeMap<MemberId, Member>,
    reports: BTreeMap<String, Vec<Diag>>,
}

impl Store {
    /// Takes in one change and says what really differs now.
    ///
    /// Objects in a scope that does not hold their kind are ignored: members create no hosts,
    /// and Services of the fleet serve nobody (semantics.md A36).
    pub fn apply(&mut self, change: Change) -> BTreeSet<Touched> {
        match change {
            Change::Upsert(scope, object) => self.upsert(&scope, object),
            Change::Delete(scope, kind, name) => self.delete(&scope, kind, &name),
            Change::Replace(scope, kind, objects) => self.replace(&scope, kind, objects),
            Change::Listed(Scope::Fleet) => self.edit_fleet(|fleet| fleet.set_listed()),
            // Nothing waits for part of a member.
            Change::Listed(Scope::Member(_)) => BTreeSet::new(),
            Change::Synced(Scope::Fleet) => self.edit_fleet(|fleet| fleet.set_synced()),
            Change::Synced(Scope::Member(id)) => self.edit_member(&id, |m| m.set_synced()),
            Change::Register(id, registered) => self.register(&id, registered),
            Change::Health(Scope::Fleet, health) => {
                self.edit_fleet(|fleet| fleet.set_health(health))
            }
            Change::Health(Scope::Member(id), health) => {
                let is_news = self.with_member(&id, |member| member.set_health(health));
                is_news.then_some(Touched::Health(id)).into_iter().collect()
            }
            Change::Unregister(id) => self.edit_member(&id, Member::unregister),
            Change::Report { source, diags } => {
                let is_news = if diags.is_empty() {
                    self.reports.remove(&source).is_some()
                } else {
                    set(&mut self.reports, source, diags)
                };
                is_news.then_some(Touched::Reports).into_iter().collect()
            }
        }
    }

    /// Everything, as if it had just come: what a rebuild starts from.
    pub fn everything(&self) -> BTreeSet<Touched> {
        let mut all = BTreeSet::from([Touched::Fleet, Touched::Reports]);
        all.extend(self.fleet.gateways.keys().cloned().map(Touched::Gateway));
        all.extend(self.fleet.classes.keys().cloned().map(Touched::IngressClass));
        all.extend(self.fleet.ingresses.keys().cloned().map(Touched::Ingress));
        all.extend(self.fleet.secrets.keys().cloned().map(Touched::Secret));
        for (id, member) in &self.members {
            all.insert(Touched::Member(id.clone()));
            let services = member.services().map(|service| service.name.clone());
            all.extend(services.map(|name| Touched::Service(id.clone(), name)));
        }
        all
    }

    /// Drops a deleted Secret whose pair was kept because something may still be served with it.
    /// Does nothing to a Secret that exists.
    pub fn forget_secret(&mut self, name: &ObjectName) {
        self.fleet.forget_secret(name);
    }

    /// Whether the fleet's gateways, IngressClasses and Ingresses have all been listed once.
    pub fn is_fleet_listed(&self) -> bool {
        self.fleet.is_listed
    }

    /// Whether everything that is read in the fleet has been listed once.
    pub fn is_fleet_synced(&self) -> bool {
        self.fleet.is_synced
    }

    /// How the fleet is reached.
    pub fn fleet_health(&self) -> &Health {
        &self.fleet.health
    }

    /// All gateways, by kind and name.
    pub fn gateways(&self) -> impl Iterator<Item = &Arc<Gateway>> {
        self.fleet.gateways.values()
    }

    /// One gateway.
    pub fn gateway(&self, id: &GatewayId) -> Option<&Arc<Gateway>> {
        self.fleet.gateways.get(id)
    }

    /// All IngressClasses, by name.
    pub fn classes(&self) -> impl Iterator<Item = &Arc<IngressClass>> {
        self.fleet.classes.values()
    }

    /// One IngressClass.
    pub fn class(&self, name: &ObjectName) -> Option<&Arc<IngressClass>> {
        self.fleet.classes.get(name)
    }

    /// All Ingresses, by namespace and name.
    pub fn ingresses(&self) -> impl Iterator<Item = &Arc<Ingress>> {
        self.fleet.ingresses.values()
    }

    /// One Ingress.
    pub fn ingress(&self, name: &ObjectName) -> Option<&Arc<Ingress>> {
        self.fleet.ingresses.get(name)
    }

    /// One Secret; also a deleted one that still has the pair it was served with.
    pub fn secret(&self, name: &ObjectName) -> Option<&Arc<Secret>> {
        self.fleet.secrets.get(name)
    }

    /// The deleted Secrets that are kept until `forget_secret`.
    pub fn deleted_secrets(&self) -> impl Iterator<Item = &ObjectName> {
        self.fleet.deleted_secrets.iter()
    }

    /// Every member that is registered or of which objects are known, by id.
    pub fn members(&self) -> impl Iterator<Item = (&MemberId, &Member)> {
        self.members.iter()
    }

    /// One member.
    pub fn member(&self, id: &MemberId) -> Option<&Member> {
        self.members.get(id)
    }

    /// What the sources have to say about their inputs, by source.
    pub fn reports(&self) -> impl Iterator<Item = (&str, &[Diag])> {
        self.reports.iter().map(|(source, diags)| (source.as_str(), diags.as_slice()))
    }

    fn upsert(&mut self, scope: &Scope, object: Object) -> BTreeSet<Touched> {
        match scope {
            Scope::Fleet => self.fleet.upsert(object).into_iter().collect(),
            Scope::Member(id) => self.edit_objects(id, |member| member.upsert(object)),
        }
    }

    fn delete(&mut self, scope: &Scope, kind: ObjectKind, name: &ObjectName) -> BTreeSet<Touched> {
        match scope {
            Scope::Fleet => self.fleet.delete(kind, name).into_iter().collect(),
            Scope::Member(id) => self.edit_objects(id, |member| member.delete(kind, name)),
        }
    }

    fn replace(
        &mut self,
        scope: &Scope,
        kind: ObjectKind,
        objects: Vec<Object>,
    ) -> BTreeSet<Touched> {
        let listed: BTreeSet<_> = objects.iter().map(|object| object.name().clone()).collect();
        let known = match scope {
            Scope::Fleet => self.fleet.names(kind),
            Scope::Member(id) => self.members.get(id).map(|m| m.names(kind)).unwrap_or_default(),
        };
        let mut touched = BTreeSet::new();
        // Not `append`, which rebuilds the set each time.
        for gone in known.iter().filter(|name| !listed.contains(name)) {
            touched.extend(self.delete(scope, kind, gone));
        }
        for object in objects {
            touched.extend(self.upsert(scope, object));
        }
        touched
    }

    fn edit_fleet(&mut self, edit: impl FnOnce(&mut Fleet) -> bool) -> BTreeSet<Touched> {
        edit(&mut self.fleet).then_some(Touched::Fleet).into_iter().collect()
    }

    fn register(&mut self, id: &MemberId, registered: Registered) -> BTreeSet<Touched> {
        let (is_news, services) = self.with_member(id, |member| member.register(registered));
        let services = services.into_iter().map(|service| Touched::Service(id.clone(), service));
        is_news.then(|| Touched::Member(id.clone())).into_iter().chain(services).collect()
    }

    fn edit_objects(
        &mut self,
        id: &MemberId,
        edit: impl FnOnce(&mut Member) -> BTreeSet<ObjectName>,
    ) -> BTreeSet<Touched> {
        let was_known = self.members.contains_key(id);
        let services = self.with_member(id, edit);
        let services = services.into_iter().map(|service| Touched::Service(id.clone(), service));
        // Whether there is anything to know of a member is part of what it is.
        let differs = self.members.contains_key(id) != was_known;
        services.chain(differs.then(|| Touched::Member(id.clone()))).collect()
    }

    fn edit_member(
        &mut self,
        id: &MemberId,
        edit: impl FnOnce(&mut Member) -> bool,
    ) -> BTreeSet<Touched> {
        let is_news = self.with_member(id, edit);
        is_news.then(|| Touched::Member(id.clone())).into_iter().collect()
    }

    /// A member of which nothing is known any more has no entry, so that equal histories of
    /// objects make equal stores.
    fn with_member<T>(&mut self, id: &MemberId, edit: impl FnOnce(&mut Member) -> T) -> T {
        let member = self.members.entry(id.clone()).or_default();
        let answer = edit(member);
        if member.is_unknown() {
            self.members.remove(id);
        }
        answer
    }
}

/// Stores `row`; true if it differs from the previous one.
fn set<K: Ord, V: PartialEq>(rows: &mut BTreeMap<K, V>, key: K, row: V) -> bool {
    match rows.entry(key) {
        Entry::Occupied(entry) if *entry.get() == row => false,
        Entry::Occupied(mut entry) => {
            entry.insert(row);
            true
        }
        Entry::Vacant(entry) => {
            entry.insert(row);
            true
        }
    }
}
