//! The shards of the Services that some gateway uses.
//!
//! Owns which Services are used, and recomputes a shard only when its member's Service changed, or
//! what no shard may hold.
//! Cost: linear in the slices of one Service of one member.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    diag::Diag,
    engine::boundary::Boundary,
    key::{GatewayId, MemberId, ObjectName},
    member::{self, Guarded, Reach, Rules, ServiceShards, ServicesOfMember},
    store::{Member, Network, Service, Store},
};

/// Shards by member and Service, and who uses the Service.
#[derive(Debug, Default)]
pub(super) struct ShardTable {
    rows: BTreeMap<MemberId, ServicesOfMember>,
    /// By Service: the gateways with a target that names it.
    users: BTreeMap<ObjectName, BTreeSet<GatewayId>>,
    /// What no member may offer.
    guarded: Guarded,
    /// What members offer beyond what is theirs.
    pub(super) boundary: Boundary,
}

impl ShardTable {
    /// Whether some gateway's target names the Service.
    pub(super) fn is_used(&self, service: &ObjectName) -> bool {
        self.users.contains_key(service)
    }

    /// The Services that some gateway's target names.
    pub(super) fn used(&self) -> impl Iterator<Item = &ObjectName> {
        self.users.keys()
    }

    /// What no member may offer from now on; whether it differs, so that every row may.
    pub(super) fn guard(&mut self, guarded: Guarded) -> bool {
        let differs = self.guarded != guarded;
        self.guarded = guarded;
        differs
    }

    /// A gateway begins to use a Service; true if it was unused, so that its rows are missing.
    pub(super) fn start_use(&mut self, service: &ObjectName, gateway: &GatewayId) -> bool {
        let is_new = !self.is_used(service);
        self.users.entry(service.clone()).or_default().insert(gateway.clone());
        is_new
    }

    /// A gateway no longer uses a Service; true if nobody does, and its rows are gone.
    pub(super) fn end_use(&mut self, service: &ObjectName, gateway: &GatewayId) -> bool {
        let Some(users) = self.users.get_mut(service) else { return false };
        users.remove(gateway);
        if !users.is_empty() {
            return false;
        }
        self.users.remove(service);
        for (member, services) in &mut self.rows {
            self.boundary.set_foreign(member, service, false);
            if let Some(row) = services.remove(service) {
                self.boundary.replace(member, Some(&row), None);
            }
        }
        true
    }

    /// What a member has of the Services in use.
    pub(super) fn of_member(&self, member: &MemberId) -> Option<&ServicesOfMember> {
        self.rows.get(member)
    }

    /// Recomputes one row; whether it differs, and what is wrong with it.
    pub(super) fn update(
        &mut self,
        store: &Store,
        allow_loopback: bool,
        service: &ObjectName,
        member: &MemberId,
    ) -> (bool, Vec<Diag>) {
        let found =
            store.member(member).and_then(|own| Some((own, own.service(service)?.as_ref())));
        let is_foreign = found.is_some_and(|(own, _)| !may_offer(own, service));
        self.boundary.set_foreign(member, service, is_foreign);
        let found = found.filter(|_| !is_foreign);
        let rules = Rules { allow_loopback, allowed: None, guarded: &self.guarded };
        let (row, diags) = found.map(|(own, object)| shards(member, own, object, rules)).unzip();
        let rows = self.rows.entry(member.clone()).or_default();
        let old = rows.get(service).map(Arc::as_ref);
        let differs = old != row.as_ref();
        if differs {
            self.boundary.replace(member, old, row.as_ref());
        }
        match row {
            Some(row) if differs => _ = rows.insert(service.clone(), Arc::new(row)),
            Some(_) => {}
            None => _ = rows.remove(service),
        }
        (differs, diags.unwrap_or_default())
    }
}

/// Whether the member may offer Services of this namespace.
fn may_offer(member: &Member, service: &ObjectName) -> bool {
    let allowed = member.declared().allowed_namespaces.as_ref();
    allowed.is_none_or(|own| own.contains(&service.namespace))
}

fn shards(
    id: &MemberId,
    member: &Member,
    service: &Service,
    rules: Rules<'_>,
) -> (ServiceShards, Vec<Diag>) {
    let labels = |pod: &ObjectName| member.pod_labels(pod);
    let reach = match member.declared().network {
        Network::Underlay => Reach::Pods(&labels),
        Network::Overlay => Reach::Nodes(member.nodes()),
    };
    let rules = Rules { allowed: member.declared().allowed_endpoints.as_deref(), ..rules };
    member::shards(id, service, member.slices(&service.name), reach, rules)
}
