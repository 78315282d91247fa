//! Targets: who uses them, their shape, and their arrangement.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    engine::{Findings, Stages, findings::Row, shards::ShardTable},
    key::{MemberId, ObjectName},
    member::{self, Offer},
    model::{Arrangement, Host, Shape, Target, name},
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
}

#[derive(Debug)]
struct TargetState {
    name: Arc<str>,
    users: BTreeSet<Host>,
    /// `None` until it is arranged for the first time.
    built: Option<(Shape, Arrangement)>,
}

impl Targets {
    pub(super) fn start_use(
        &mut self,
        target: &Arc<Target>,
        host: &Host,
        gateway: &ObjectName,
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
            if !stages.shards.start_use(service, gateway) {
                continue;
            }
            for member in stages.store.members() {
                stages.work.shards += 1;
                let (_, diags) =
                    stages.shards.update(stages.store, &stages.settings.defaults, service, member);
                stages.report(Row::Shards(service.clone(), member.clone()), diags);
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

    /// The shape of a target that is in use.
    pub(super) fn shape(&self, target: &Target) -> Shape {
        let built = self.rows.get(target).and_then(|state| state.built.as_ref());
        built
            .map(|(shape, _)| shape.clone())
            .expect("invariant: targets are arranged before hosts are encoded")
    }

    fn remove(
        &mut self,
        target: &Arc<Target>,
        gateway: &ObjectName,
        stages: &mut Stages<'_>,
    ) -> Option<TargetState> {
        let state = self.rows.remove(target)?;
        for link in &target.chain {
            let service = &link.backend.service;
            let Some(users) = self.by_service.get_mut(service) else { continue };
            users.remove(target);
            if !users.is_empty() {
                continue;
            }
            self.by_service.remove(service);
            if stages.shards.end_use(service, gateway) {
                for member in stages.store.members() {
                    stages.report(Row::Shards(service.clone(), member.clone()), Vec::new());
                }
            }
        }
        Some(state)
    }

    pub(super) fn withdraw(
        &self,
        gateway: &ObjectName,
        findings: &mut Findings,
        shards: &mut ShardTable,
    ) -> bool {
        let mut differs = false;
        for state in self.rows.values() {
            differs |= findings.set(Row::Target(gateway.clone(), state.name.clone()), Vec::new());
        }
        for service in self.by_service.keys() {
            for member in shards.members(service) {
                let row = Row::Shards(service.clone(), member);
                if shards.is_used_only_by(service, gateway) {
                    differs |= findings.set(row, Vec::new());
                }
            }
            shards.end_use(service, gateway);
        }
        differs
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
        let mut targets = std::mem::take(&mut self.targets.touched);
        let serves = |member: &MemberId| self.gateway.members.contains(member);
        if dirty.object.members || dirty.members.iter().any(serves) {
            targets.extend(self.targets.rows.keys().cloned());
        }
        for (service, _) in dirty.services.iter().filter(|(_, member)| serves(member)) {
            targets.extend(self.targets.by_service.get(service).into_iter().flatten().cloned());
        }
        for target in targets {
            let is_used = self.targets.rows.get(&target).is_some_and(|row| !row.users.is_empty());
            if is_used {
                self.arrange_one(&target, stages, changed, writes);
            } else if let Some(state) = self.targets.remove(&target, &self.gateway.id.name, stages)
            {
                stages.report(
                    Row::Target(self.gateway.id.name.clone(), state.name.clone()),
                    Vec::new(),
                );
                remove_target(&state, writes);
            }
        }
    }

    fn arrange_one(
        &mut self,
        target: &Arc<Target>,
        stages: &mut Stages<'_>,
        changed: &mut Changed,
        writes: &mut Vec<Write>,
    ) {
        stages.work.targets += 1;
        let offers: Vec<_> = self
            .gateway
            .members
            .iter()
            .filter_map(|member| {
                let locality = stages.store.locality(member)?;
                let services = target.chain.iter().filter_map(|link| {
                    let service = &link.backend.service;
                    Some((service, stages.shards.get(service, member)?))
                });
                Some(Offer { member, locality, services: services.collect() })
            })
            .collect();
        let (shape, mut diags) = member::shape(target, &offers, &stages.settings.mechanisms);
        let (arrangement, more) = member::arrange(target, &offers, shape.form);
        diags.extend(more);
        let Some(state) = self.targets.rows.get_mut(target) else { return };
        let name = state.name.clone();
        let old = state.built.replace((shape, arrangement));
        let Some((shape, arrangement)) = &state.built else { return };
        let (old_shape, old_arrangement) = old.unzip();
        if old_shape.as_ref() != Some(shape) {
            let groups = target.chain.len();
            let clusters =
                resources::cluster::build(&name, shape, groups, &stages.settings.mechanisms);
            writes.extend(removed_parts(&name, old_shape.as_ref(), shape));
            writes.extend(clusters.into_iter().map(|resource| Write::put(resource, stages.work)));
            // The form decides the name that routes use and how they retry.
            changed.hosts.extend(state.users.iter().cloned());
        }
        if old_arrangement.as_ref() != Some(arrangement) {
            let mut put = |name: &Arc<str>, assignment| {
                writes.push(Write::put(resources::endpoint::build(name, assignment), stages.work));
            };
            put(&name, &arrangement.groups);
            if let Some(members) = &arrangement.members {
                put(&name::members(&name), members);
            }
        }
        stages.report(Row::Target(self.gateway.id.name.clone(), name), diags);
    }
}

fn remove_target(state: &TargetState, writes: &mut Vec<Write>) {
    let Some((shape, _)) = &state.built else { return };
    for (kind, name) in parts(&state.name, shape) {
        writes.push(Write::remove(kind, name));
    }
}

/// What the old form had and the new one has not.
fn removed_parts(name: &Arc<str>, old: Option<&Shape>, new: &Shape) -> Vec<Write> {
    let kept = parts(name, new);
    let old = old.map(|old| parts(name, old)).unwrap_or_default();
    old.difference(&kept).map(|(kind, name)| Write::remove(*kind, name.clone())).collect()
}

/// The resources of a target in a shape.
fn parts(name: &Arc<str>, shape: &Shape) -> BTreeSet<(Kind, Arc<str>)> {
    let mut parts = BTreeSet::from([(Kind::Cluster, name.clone()), (Kind::Endpoint, name.clone())]);
    match shape.form {
        crate::model::Form::Plain => {}
        crate::model::Form::Composite => {
            parts.insert((Kind::Cluster, name::members(name)));
            parts.insert((Kind::Endpoint, name::members(name)));
            parts.insert((Kind::Cluster, name::routed(name, shape.form)));
        }
    }
    parts
}
