//! The incremental core: from changed objects to a changed view of each gateway.
//!
//! Owns the order of the stages and what is dirty. A tick is atomic: it takes a batch of changes
//! and returns what to publish. Must not know IO, clocks, kube or tonic. Cost: proportional to
//! the change, counted in [`Work`]; every stage stops where its row comes out equal.
//!
//! ```text
//! store ▶ gateways ▶ ingresses ▶ attachments ▶ hosts ▶ shards ▶ targets ▶ resources ▶ view
//! ```

mod audit;
mod boundary;
mod findings;
mod gateway;
mod ingresses;
mod shards;
mod work;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

pub use findings::Findings;
pub use work::Work;

use crate::{
    engine::{
        findings::Row,
        gateway::{Dirty, GatewayState},
        ingresses::IngressTable,
        shards::ShardTable,
    },
    gateway::{Attachments, Classes, Declared},
    key::{GatewayId, MemberId, ObjectName},
    member::Guarded,
    model::{Certificates, MemberOrder},
    settings::{GatewayDefaults, Mechanisms},
    snapshot::GatewayView,
    store::{Change, Member, Store, Touched},
};

/// What the engine derives with; it never changes while the engine lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What is switched on.
    pub mechanisms: Mechanisms,
    /// What holds for every gateway.
    pub defaults: GatewayDefaults,
    /// Where the fleet's API is, if that is known by number: no endpoint is there.
    pub api_server: Option<SocketAddr>,
}

/// What a tick changed.
#[derive(Debug, Default)]
pub struct Commit {
    /// Gateways with a new view.
    pub views: Vec<(GatewayId, Arc<GatewayView>)>,
    /// Gateways that were deleted.
    pub withdrawn: Vec<GatewayId>,
    /// Whether [`Engine::declared`] may differ.
    pub has_declared: bool,
    /// Whether [`Engine::named_secrets`] or [`Engine::labelled_namespaces`] may differ.
    pub has_references: bool,
}

/// The ground state and everything derived from it.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    store: Store,
    classes: Classes,
    ingresses: IngressTable,
    shards: ShardTable,
    gateways: BTreeMap<GatewayId, GatewayState>,
    attachments: Attachments,
    findings: Findings,
    /// Whether what objects refer to may differ since the last commit.
    references_moved: bool,
    work: Work,
}

/// What the stages of one gateway read, and the counters they keep.
struct Stages<'a> {
    settings: &'a Settings,
    store: &'a Store,
    classes: &'a Classes,
    ingresses: &'a mut IngressTable,
    shards: &'a mut ShardTable,
    attachments: &'a mut Attachments,
    findings: &'a mut Findings,
    references_moved: &'a mut bool,
    work: &'a mut Work,
}

/// Touched names by what they are, so that each stage finds its own.
#[derive(Default)]
struct Inputs {
    has_report: bool,
    gateways: BTreeSet<GatewayId>,
    has_class: bool,
    ingresses: BTreeSet<ObjectName>,
    secrets: BTreeSet<ObjectName>,
    services: BTreeSet<(ObjectName, MemberId)>,
    members: BTreeSet<MemberId>,
}

impl Engine {
    /// An engine that has seen nothing.
    pub fn new(settings: Settings) -> Engine {
        Engine {
            settings,
            store: Store::default(),
            classes: Classes::default(),
            ingresses: IngressTable::default(),
            shards: ShardTable::default(),
            gateways: BTreeMap::new(),
            attachments: Attachments::default(),
            findings: Findings::default(),
            references_moved: false,
            work: Work::default(),
        }
    }

    /// The ground state.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What is wrong at the moment.
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// What has been done so far.
    pub fn work(&self) -> Work {
        self.work
    }

    /// The view of every gateway.
    pub fn views(&self) -> BTreeMap<GatewayId, Arc<GatewayView>> {
        self.gateways.values().map(|state| (state.id().clone(), state.view().clone())).collect()
    }

    /// The members of every gateway, in order.
    pub fn members(&self) -> BTreeMap<GatewayId, MemberOrder> {
        self.gateways.values().map(|state| (state.id().clone(), state.members().clone())).collect()
    }

    /// What the TLS listeners of every gateway prove themselves with. Linear in gateways.
    pub fn certificates(&self) -> BTreeMap<GatewayId, Arc<Certificates>> {
        let states = self.gateways.values();
        states.map(|state| (state.id().clone(), state.certificates().clone())).collect()
    }

    /// Every gateway object, also one that is invalid. Linear in gateways.
    pub fn declared(&self) -> BTreeMap<GatewayId, Declared> {
        let defaults = &self.settings.defaults;
        let objects = self.store.gateways();
        objects.map(|object| Declared::new(object, defaults, &self.classes)).collect()
    }

    /// The Secrets that accepted Ingresses name. Linear in them.
    pub fn named_secrets(&self) -> BTreeSet<ObjectName> {
        self.gateways.values().flat_map(GatewayState::named_secrets).cloned().collect()
    }

    /// The namespaces in which a subset names labels of Pods. Linear in targets.
    pub fn labelled_namespaces(&self) -> BTreeSet<Arc<str>> {
        self.gateways.values().flat_map(GatewayState::labelled_namespaces).cloned().collect()
    }

    /// How many addresses of Pods each two members share, of the Services that gateways use.
    pub fn shared_addresses(&self) -> impl Iterator<Item = (&MemberId, &MemberId, usize)> {
        self.shards.boundary.shared()
    }

    /// Which Ingresses are served by which gateways.
    pub fn attachments(&self) -> &Attachments {
        &self.attachments
    }

    /// Applies a batch of changes as one step.
    pub fn tick(&mut self, changes: impl IntoIterator<Item = Change>) -> Commit {
        let mut touched = BTreeSet::new();
        for change in changes {
            touched.extend(self.store.apply(change));
        }
        self.derive(touched)
    }

    /// Runs the stages for what was touched.
    fn derive(&mut self, touched: BTreeSet<Touched>) -> Commit {
        if touched.is_empty() {
            return Commit::default();
        }
        self.work.ticks += 1;
        let mut inputs = Inputs::sort(touched);
        let mut commit = Commit::default();
        self.take_reports(&inputs);
        let mut dirty = self.update_gateways(&inputs, &mut commit);
        self.update_ingresses(&inputs, &mut dirty);
        self.guard(&mut inputs);
        self.update_shards(&inputs, &mut dirty);
        for dirty in dirty.values_mut() {
            dirty.secrets.extend(inputs.secrets.iter().cloned());
        }
        self.update_views(dirty, &mut commit);
        self.report_boundary(&inputs);
        self.forget_secrets(&inputs);
        commit.has_declared = inputs.has_class || !inputs.gateways.is_empty();
        commit.has_references = std::mem::take(&mut self.references_moved);
        commit
    }

    fn take_reports(&mut self, inputs: &Inputs) {
        if inputs.has_report {
            let diags = self.store.reports().flat_map(|(_, diags)| diags.iter().cloned());
            self.findings.set(Row::Reports, diags.collect());
        }
    }

    /// Parses touched gateways. What else a gateway must look at again is in its `Dirty`; a
    /// gateway is in the result exactly if something may concern it.
    fn update_gateways(
        &mut self,
        inputs: &Inputs,
        commit: &mut Commit,
    ) -> BTreeMap<GatewayId, Dirty> {
        for name in &inputs.gateways {
            let Some(object) = self.store.gateway(name) else {
                self.remove_gateway(name, commit);
                continue;
            };
            let (parsed, diags) = crate::gateway::parse(object, &self.settings.defaults);
            self.findings.set(Row::Gateway(name.clone()), diags);
            // An invalid object changes nothing that works (semantics.md 1.2, Failed).
            let Some(parsed) = parsed else { continue };
            match self.gateways.get_mut(name) {
                Some(state) => state.replace(parsed),
                None => {
                    self.gateways.insert(name.clone(), GatewayState::new(parsed));
                }
            }
        }
        self.judge_members(inputs);
        if inputs.has_class {
            let classes = Classes::new(self.store.classes().map(Arc::as_ref));
            if classes != self.classes {
                self.classes = classes;
                self.gateways.values_mut().for_each(GatewayState::reattach);
            }
        }
        let dirty = self.gateways.iter_mut().map(|(name, state)| {
            let all = self.store.ingresses().map(|ingress| &ingress.name);
            let mut dirty = state.take_dirty(all);
            dirty.members.extend(inputs.members.iter().cloned());
            (name.clone(), dirty)
        });
        dirty.collect()
    }

    /// Whether the members of touched gateways are registered; of all of them where that changed.
    fn judge_members(&mut self, inputs: &Inputs) {
        let is_registered =
            |id: &MemberId| self.store.member(id).is_some_and(Member::is_registered);
        let locality = |id: &MemberId| {
            self.store.member(id).filter(|own| own.is_registered()).map(Member::locality)
        };
        for (name, state) in &self.gateways {
            if !inputs.members.is_empty() || inputs.gateways.contains(name) {
                let mut diags = crate::gateway::unregistered(state.gateway(), &is_registered);
                diags.extend(crate::gateway::unplaced(state.gateway(), &locality));
                self.findings.set(Row::Members(name.clone()), diags);
            }
        }
    }

    fn remove_gateway(&mut self, name: &GatewayId, commit: &mut Commit) {
        for row in [Row::Gateway(name.clone()), Row::Members(name.clone())] {
            self.findings.set(row, Vec::new());
        }
        let Some(state) = self.gateways.remove(name) else { return };
        commit.withdrawn.push(state.id().clone());
        let (mut stages, _) = self.stages();
        state.withdraw(&mut stages);
    }

    fn update_ingresses(&mut self, inputs: &Inputs, dirty: &mut BTreeMap<GatewayId, Dirty>) {
        for name in &inputs.ingresses {
            // Who serves it says so again, because class and age decide that too.
            self.ingresses.touch(name);
            if self.store.ingress(name).is_none() {
                self.attachments.forget(name);
            }
            for dirty in dirty.values_mut() {
                dirty.ingresses.insert(name.clone());
            }
        }
    }

    /// What is on the side of Convoy follows gateways and registrations. Both are few, and where
    /// they are reached hardly ever changes; if it does, every shard may.
    fn guard(&mut self, inputs: &mut Inputs) {
        if inputs.gateways.is_empty() && inputs.members.is_empty() {
            return;
        }
        let Settings { mechanisms: _, defaults, api_server } = &self.settings;
        let gateways = self.store.gateways();
        let gateways = gateways.flat_map(|own| crate::gateway::own_addresses(own, defaults));
        let members = self.store.members().filter_map(|(_, own)| own.declared().api_server);
        let apis = members.chain(*api_server).map(|own| (own, "the address of an API server"));
        let all = apis.chain(gateways.map(|own| (own, "an address of a gateway")));
        if self.shards.guard(Guarded::new(all)) {
            for service in self.shards.used() {
                let members = self.store.members().map(|(id, _)| (service.clone(), id.clone()));
                inputs.services.extend(members);
            }
        }
    }

    fn report_boundary(&mut self, inputs: &Inputs) {
        self.shards.boundary.say_again(&inputs.members);
        for (row, diags) in self.shards.boundary.news(&self.store) {
            self.findings.set(row, diags);
        }
    }

    fn update_shards(&mut self, inputs: &Inputs, dirty: &mut BTreeMap<GatewayId, Dirty>) {
        for (service, member) in &inputs.services {
            if !self.shards.is_used(service) {
                continue;
            }
            self.work.shards += 1;
            let allow_loopback = self.settings.defaults.allow_loopback_endpoints;
            let (changed, diags) = self.shards.update(&self.store, allow_loopback, service, member);
            self.findings.set(Row::Shards(service.clone(), member.clone()), diags);
            if changed {
                for dirty in dirty.values_mut() {
                    dirty.services.insert((service.clone(), member.clone()));
                }
            }
        }
    }

    fn update_views(&mut self, dirty: BTreeMap<GatewayId, Dirty>, commit: &mut Commit) {
        let (mut stages, gateways) = self.stages();
        for (name, dirty) in dirty {
            let Some(state) = gateways.get_mut(&name) else { continue };
            if let Some(view) = state.update(dirty, &mut stages) {
                stages.work.views += 1;
                commit.views.push((state.id().clone(), view));
            }
        }
    }

    /// The parts of the engine that a gateway's stages work with, and the gateways.
    fn stages(&mut self) -> (Stages<'_>, &mut BTreeMap<GatewayId, GatewayState>) {
        let stages = Stages {
            settings: &self.settings,
            store: &self.store,
            classes: &self.classes,
            ingresses: &mut self.ingresses,
            shards: &mut self.shards,
            attachments: &mut self.attachments,
            findings: &mut self.findings,
            references_moved: &mut self.references_moved,
            work: &mut self.work,
        };
        (stages, &mut self.gateways)
    }

    /// A deleted Secret is kept while it is served, and no longer.
    fn forget_secrets(&mut self, inputs: &Inputs) {
        // Also those that something ceased to name: there are few.
        let kept = self.store.deleted_secrets().chain(&inputs.secrets);
        let is_used =
            |name: &ObjectName| self.gateways.values().any(|state| state.uses_secret(name));
        let unused: BTreeSet<_> = kept.filter(|name| !is_used(name)).cloned().collect();
        unused.iter().for_each(|name| self.store.forget_secret(name));
    }
}

impl Inputs {
    fn sort(touched: BTreeSet<Touched>) -> Inputs {
        let mut inputs = Inputs::default();
        for touched in touched {
            match touched {
                // No row depends on these: only readiness, and what views know of members, which
                // every update asks for.
                Touched::Fleet | Touched::Health(_) => {}
                Touched::Reports => inputs.has_report = true,
                Touched::Gateway(name) => _ = inputs.gateways.insert(name),
                Touched::IngressClass(_) => inputs.has_class = true,
                Touched::Ingress(name) => _ = inputs.ingresses.insert(name),
                Touched::Secret(name) => _ = inputs.secrets.insert(name),
                Touched::Service(member, name) => _ = inputs.services.insert((name, member)),
                Touched::Member(member) => _ = inputs.members.insert(member),
            }
        }
        inputs
    }
}
