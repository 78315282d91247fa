//! All findings, by the row that made them, so that recomputing a row replaces what it said.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    diag::{Diag, DiagSet},
    ingress::Dialect,
    key::{GatewayId, MemberId, ObjectName},
    model::Host,
};

/// The row whose computation made a finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Row {
    /// The inputs of all sources.
    Reports,
    /// A gateway.
    Gateway(GatewayId),
    /// The members of a gateway.
    Members(GatewayId),
    /// An Ingress on its own, as gateways of a kind read it.
    Ingress(ObjectName, Dialect),
    /// A host of a gateway.
    Host(GatewayId, Host),
    /// A Service of a member.
    Shards(ObjectName, MemberId),
    /// Addresses that two members share.
    Overlap(MemberId, MemberId),
    /// Services of a member that it may not offer.
    Foreign(MemberId),
    /// A target of a gateway, by name.
    Target(GatewayId, Arc<str>),
}

/// Every finding of the moment.
#[derive(Debug, Default)]
pub struct Findings {
    by_row: BTreeMap<Row, Arc<[Arc<Diag>]>>,
    all: DiagSet,
}

impl Findings {
    /// All findings in order, each once: two gateways may say the same about one Ingress.
    pub fn all(&self) -> &DiagSet {
        &self.all
    }

    /// Replaces what a row said.
    pub(super) fn set(&mut self, row: Row, diags: Vec<Diag>) {
        let old = self.by_row.get(&row).cloned().unwrap_or_default();
        if old.iter().map(Arc::as_ref).eq(&diags) {
            return;
        }
        let new: Arc<[_]> = diags.into_iter().map(Arc::new).collect();
        new.iter().for_each(|diag| self.all.add(diag));
        old.iter().for_each(|diag| self.all.remove(diag));
        if new.is_empty() {
            self.by_row.remove(&row);
        } else {
            self.by_row.insert(row, new);
        }
    }
}
