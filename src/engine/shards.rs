//! The shards of the Services that some gateway uses.
//!
//! Owns which Services are used, and recomputes a shard only when its member's Service changed.
//! Cost: linear in the slices of one Service of one member.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    diag::Diag,
    key::{GatewayId, MemberId, ObjectName},
    member::{self, Rules, ServicesOfMember},
    store::Store,
};

/// Shards by member and Service, and who uses the Service.
#[derive(Debug, Default)]
pub(super) struct ShardTable {
    rows: BTreeMap<MemberId, ServicesOfMember>,
    /// By Service: the gateways with a target that names it.
    users: BTreeMap<ObjectName, BTreeSet<GatewayId>>,
}

impl ShardTable {
    /// Whether some gateway's target names the Service.
    pub(super) fn is_used(&self, service: &ObjectName) -> bool {
        self.users.contains_key(service)
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
        for services in self.rows.values_mut() {
            services.remove(service);
        }
        true
    }

    /// What a member has of the Services in use.
    pub(super) fn of_member(&self, member: &MemberId) -> Option<&ServicesOfMember> {
        self.rows.get(member)
    }

    /// Recomputes one row; whether it differs, and what is wrong with it. To the rules for all
    /// members comes what is allowed to this one.
    pub(super) fn update(
        &mut self,
        store: &Store,
        rules: Rules<'_>,
        service: &ObjectName,
        member: &MemberId,
    ) -> (bool, Vec<Diag>) {
        let objects = store.member(member);
        let allowed = objects.and_then(|objects| objects.allowed_endpoints());
        let (row, diags) = member::shards(
            member,
            objects.and_then(|objects| objects.service(service)).map(Arc::as_ref),
            objects.into_iter().flat_map(|objects| objects.slices(service)),
            &|pod| objects?.pod_labels(pod),
            Rules { allowed, ..rules },
        );
        let rows = self.rows.entry(member.clone()).or_default();
        let differs = rows.get(service).map(Arc::as_ref) != row.as_ref();
        match row {
            Some(row) if differs => _ = rows.insert(service.clone(), Arc::new(row)),
            Some(_) => {}
            None => _ = rows.remove(service),
        }
        (differs, diags)
    }
}
