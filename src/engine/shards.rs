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
    key::{MemberId, ObjectName},
    member::{self, ServiceShards},
    settings::GatewayDefaults,
    store::Store,
};

/// Shards by Service and member, and who uses the Service.
#[derive(Debug, Default)]
pub(super) struct ShardTable {
    rows: BTreeMap<ObjectName, BTreeMap<MemberId, Arc<ServiceShards>>>,
    users: BTreeMap<ObjectName, BTreeSet<ObjectName>>,
}

impl ShardTable {
    /// Whether some gateway's target names the Service.
    pub(super) fn is_used(&self, service: &ObjectName) -> bool {
        self.users.contains_key(service)
    }

    /// A gateway begins to use a Service; true if it was unused, so that its rows are missing.
    pub(super) fn start_use(&mut self, service: &ObjectName, gateway: &ObjectName) -> bool {
        let is_new = !self.is_used(service);
        self.users.entry(service.clone()).or_default().insert(gateway.clone());
        is_new
    }

    /// A gateway no longer uses a Service; true if nobody does, and its rows are gone.
    pub(super) fn end_use(&mut self, service: &ObjectName, gateway: &ObjectName) -> bool {
        let Some(users) = self.users.get_mut(service) else { return false };
        users.remove(gateway);
        if !users.is_empty() {
            return false;
        }
        self.users.remove(service);
        self.rows.remove(service);
        true
    }

    /// Whether this gateway is the only one that uses the Service.
    pub(super) fn is_used_only_by(&self, service: &ObjectName, gateway: &ObjectName) -> bool {
        let users = self.users.get(service);
        users.is_some_and(|users| users.len() == 1 && users.contains(gateway))
    }

    /// The members that have the Service.
    pub(super) fn members(&self, service: &ObjectName) -> Vec<MemberId> {
        self.rows.get(service).into_iter().flat_map(|rows| rows.keys().cloned()).collect()
    }

    /// What a member offers of a Service, if it has the Service.
    pub(super) fn get(&self, service: &ObjectName, member: &MemberId) -> Option<&ServiceShards> {
        self.rows.get(service)?.get(member).map(Arc::as_ref)
    }

    /// Recomputes one row; whether it differs, and what is wrong with it.
    pub(super) fn update(
        &mut self,
        store: &Store,
        defaults: &GatewayDefaults,
        service: &ObjectName,
        member: &MemberId,
    ) -> (bool, Vec<Diag>) {
        let (row, diags) = member::shards(store, member, service, defaults);
        let rows = self.rows.entry(service.clone()).or_default();
        let differs = rows.get(member).map(Arc::as_ref) != row.as_ref();
        match row {
            Some(row) if differs => _ = rows.insert(member.clone(), Arc::new(row)),
            Some(_) => {}
            None => _ = rows.remove(member),
        }
        (differs, diags)
    }
}
