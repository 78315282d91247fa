//! Targets: who uses them, their shape, and their arrangement.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

use crate::{
    diag::{Diag, Field},
    engine::{Stages, findings::Row},
    gateway::proximity,
    key::{GatewayId, MemberId, ObjectName},
    member::{self, Issue, Offer},
    model::{Arrangement, Form, Host, Shape, Target, name},
    resources,
    snapshot::Kind,
};

use super::{Changed, Dirty, GatewayState, publish::Write};

/// The targets of a gateway, with the index from Services to them.
#[derive(Debug, Default)]
pub(super) struct Targets {
    rows: BTreeMap<Arc<Target>, TargetState>,
    by_service: BTreeMap<ObjectName, BTreeSet<Arc<Target>>>,
    /// Targets that began to be used, or that nobody uses any more.
    touched: BTreeSet<Arc<Target>>,
    /// Targets whose findings, or the routes that these are said on, may differ.
    reporting: BTreeSet<Arc<Target>>,
}

#[derive(Debug)]
struct TargetState {
    name: Arc<str>,
    users: BTreeSet<Host>,
    /// `None` until it is arranged for the first time.
    built: Option<Built>,
}

#[derive(Debug)]
struct Built {
    shape: Shape,
    arrangement: Arrangement,
    issues: Vec<Issue>,
}

impl Targets {
    pub(super) fn start_use(
        &mut self,
        target: &Arc<Target>,
        host: &Host,
        gateway: &GatewayId,
        stages: &mut Stages<'_>,
    ) {
        let state = self.rows.entry(target.clone()).or_insert_with(|| {
            self.touched.insert(target.clone());
            TargetState { name: name::target(target), users: BTreeSet::new(), built: None }
        });
        state.users.insert(host.clone());
        for link in &target.chain {
            let service = &link.backend.service;
            self.by_service.entry(service.clone()).or_default().insert(target.clone());
            if stages.shards.start_use(service, gateway) {
                stages.fill_shards(service);
            }
        }
    }

    pub(super) fn end_use(&mut self, target: &Arc<Target>, host: &Host) {
        let Some(state) = self.rows.get_mut(target) else { return };
        state.users.remove(host);
        if state.users.is_empty() {
            self.touched.insert(target.clone());
        }
    }

    /// The routes to these targets changed, so what is said on them may.
    pub(super) fn report_again<'a>(&mut self, targets: impl Iterator<Item = &'a Arc<Target>>) {
        self.reporting.extend(targets.cloned());
    }

    /// The shape of a target that is in use.
    pub(super) fn shape(&self, target: &Target) -> Shape {
        let built = self.rows.get(target).and_then(|state| state.built.as_ref());
        built.expect("invariant: targets are arranged before hosts are encoded").shape.clone()
    }

    /// Where the labels of Pods decide which endpoints come first.
    pub(super) fn labelled_namespaces(&self) -> impl Iterator<Item = &Arc<str>> {
        let links = self.rows.keys().flat_map(|target| &target.chain);
        let labelled = links.filter(|link| !link.subset.labels.is_empty());
        labelled.map(|link| &link.backend.service.namespace)
    }

    fn remove(
        &mut self,
        target: &Target,
        gateway: &GatewayId,
        stages: &mut Stages<'_>,
    ) -> Option<TargetState> {
        let state = self.rows.remove(target)?;
        for link in &target.chain {
            let service = &link.backend.service;
            let Some(users) = self.by_service.get_mut(service) else { continue };
            users.remove(target);
            if users.is_empty() {
                self.by_service.remove(service);
                stages.end_use(service, gateway);
            }
        }
        Some(state)
    }

    /// The gateway is deleted.
    pub(super) fn withdraw(&self, gateway: &GatewayId, stages: &mut Stages<'_>) {
        for state in self.rows.values() {
            stages.findings.set(Row::Target(gateway.clone(), state.name.clone()), Vec::new());
        }
        for service in self.by_service.keys() {
            stages.end_use(service, gateway);
        }
    }
}

impl Stages<'_> {
    /// The shards of a Service that begins to be used, in every member.
    fn fill_shards(&mut self, service: &ObjectName) {
        for (member, _) in self.store.members() {
            self.work.shards += 1;
            let allow_loopback = self.settings.defaults.allow_loopback_endpoints;
            let (_, diags) = self.shards.update(self.store, allow_loopback, service, member);
            self.findings.set(Row::Shards(service.clone(), member.clone()), diags);
        }
    }

    /// The gateway no longer uses the Service. If nobody does, nobody is told about it.
    fn end_use(&mut self, service: &ObjectName, gateway: &GatewayId) {
        if self.shards.end_use(service, gateway) {
            for (member, _) in self.store.members() {
                self.findings.set(Row::Shards(service.clone(), member.clone()), Vec::new());
            }
        }
    }
}

impl GatewayState {
    /// Arranges the targets that are new or whose shards changed, and drops those nobody uses.
    pub(super) fn arrange(
        &mut self,
        dirty: &Dirty,
        stages: &mut Stages<'_>,
        changed: &mut Changed,
        writes: &mut Vec<Write>,
    ) {
        let mut targets = mem::take(&mut self.targets.touched);
        *stages.references_moved |= targets.iter().any(|target| names_labels(target));
        let serves = |member: &MemberId| self.gateway.members.contains(member);
        if dirty.object.members || dirty.members.iter().any(serves) {
            targets.extend(self.targets.rows.keys().cloned());
        }
        for (service, _) in dirty.services.iter().filter(|(_, member)| serves(member)) {
            targets.extend(self.targets.by_service.get(service).into_iter().flatten().cloned());
        }
        for target in &targets {
            let row = self.targets.rows.get(target);
            if row.is_some_and(|row| !row.users.is_empty()) {
                self.arrange_one(target, stages, changed, writes);
            } else {
                self.drop_one(target, stages, writes);
            }
        }
        self.report_targets(stages);
    }

    fn arrange_one(
        &mut self,
        target: &Arc<Target>,
        stages: &mut Stages<'_>,
        changed: &mut Changed,
        writes: &mut Vec<Write>,
    ) {
        stages.work.targets += 1;
        let built = self.build(target, stages);
        let Some(state) = self.targets.rows.get_mut(target) else { return };
        let old = state.built.replace(built);
        let Some(new) = &state.built else { return };
        let mechanisms = &stages.settings.mechanisms;
        if old.as_ref().map(|old| &old.shape) != Some(&new.shape) {
            let kept = parts(&state.name, &new.shape);
            let had = old.as_ref().map(|old| parts(&state.name, &old.shape)).unwrap_or_default();
            writes.extend(had.difference(&kept).cloned().map(Write::remove));
            let clusters = resources::cluster::build(target, &new.shape, mechanisms);
            writes.extend(clusters.into_iter().map(|cluster| Write::put(cluster, stages.work)));
            // The form decides the name that routes use, and how they retry.
            changed.hosts.extend(state.users.iter().cloned());
        }
        if old.as_ref().map(|old| &old.arrangement) != Some(&new.arrangement) {
            let assignments = resources::endpoint::build(target, &new.arrangement);
            writes.extend(assignments.into_iter().map(|own| Write::put(own, stages.work)));
        }
        if old.as_ref().map(|old| &old.issues) != Some(&new.issues) {
            self.targets.reporting.insert(target.clone());
        }
    }

    fn build(&self, target: &Target, stages: &Stages<'_>) -> Built {
        let members: Vec<_> = self
            .gateway
            .members
            .iter()
            .filter_map(|id| {
                let member = stages.store.member(id)?;
                Some((id, member.locality(), member.is_unread()))
            })
            .collect();
        let none = BTreeMap::new();
        let offers: Vec<_> = members
            .iter()
            .map(|(member, locality, is_unread)| Offer {
                member,
                locality,
                rank: proximity(&self.gateway, locality),
                services: stages.shards.of_member(member).unwrap_or(&none),
                is_unread: *is_unread,
            })
            .collect();
        let (mut shape, mut issues) = member::shape(target, &offers);
        if !stages.settings.mechanisms.composite_targets {
            shape.form = Form::Plain;
        }
        let (arrangement, more) = member::arrange(target, &offers, shape.form);
        issues.extend(more);
        Built { shape, arrangement, issues }
    }

    fn drop_one(&mut self, target: &Arc<Target>, stages: &mut Stages<'_>, writes: &mut Vec<Write>) {
        let gateway = &self.gateway.id;
        let Some(state) = self.targets.remove(target, gateway, stages) else { return };
        stages.findings.set(Row::Target(gateway.clone(), state.name.clone()), Vec::new());
        let built = state.built.iter();
        let parts = built.flat_map(|built| parts(&state.name, &built.shape));
        writes.extend(parts.map(Write::remove));
    }

    /// Says what is wrong with targets on the routes that lead to them.
    fn report_targets(&mut self, stages: &mut Stages<'_>) {
        for target in mem::take(&mut self.targets.reporting) {
            let Some(state) = self.targets.rows.get(&target) else { continue };
            let issues = state.built.iter().flat_map(|built| &built.issues);
            let diags = issues.flat_map(|issue| self.on_routes(issue, &target, &state.users));
            let row = Row::Target(self.gateway.id.clone(), state.name.clone());
            let diags: BTreeSet<_> = diags.collect();
            stages.findings.set(row, diags.into_iter().collect());
        }
    }

    fn on_routes(&self, issue: &Issue, target: &Target, users: &BTreeSet<Host>) -> Vec<Diag> {
        let rows = users.iter().filter_map(|host| Some(&self.hosts.get(host)?.row));
        let routes = rows.flat_map(|row| row.on.values()).flat_map(|h| &h.routes);
        let arms = routes.flat_map(|route| route.action.arms());
        let origins: BTreeSet<&Field> =
            arms.filter(|arm| *arm.target == *target).map(|arm| &arm.origin).collect();
        issue.diags(origins).collect()
    }
}

/// Whether the labels of Pods decide which endpoints come first.
fn names_labels(target: &Target) -> bool {
    target.chain.iter().any(|link| !link.subset.labels.is_empty())
}

/// The resources of a target in a shape.
fn parts(name: &Arc<str>, shape: &Shape) -> BTreeSet<(Kind, Arc<str>)> {
    let mut parts = BTreeSet::from([(Kind::Cluster, name.clone()), (Kind::Endpoint, name.clone())]);
    match shape.form {
        Form::Plain => {}
        Form::Composite => {
            let members = name::members(name);
            let routed = name::routed(name, shape.form);
            parts.extend([
                (Kind::Cluster, members.clone()),
                (Kind::Endpoint, members),
                (Kind::Cluster, routed),
            ]);
        }
    }
    parts
}
