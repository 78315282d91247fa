//! All findings, by the row that made them, so that recomputing a row replaces what it said.

use std::sync::Arc;

use imbl::OrdMap;

use crate::{
    diag::Diag,
    key::{MemberId, ObjectName},
    model::Host,
};

/// The row whose computation made a finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Row {
    /// The inputs of all sources.
    Reports,
    /// A gateway.
    Gateway(ObjectName),
    /// The members of a gateway.
    Members(ObjectName),
    /// An Ingress on its own.
    Ingress(ObjectName),
    /// A host of a gateway.
    Host(ObjectName, Host),
    /// A Service of a member.
    Shards(ObjectName, MemberId),
    /// A target of a gateway, by name.
    Target(ObjectName, Arc<str>),
}

/// Every finding of the moment, and which of them are news.
#[derive(Debug, Default)]
pub struct Findings {
    by_row: OrdMap<Row, Arc<[Diag]>>,
    /// `Some` if a row said something else since it was last asked; what it had not said before.
    news: Option<Vec<Diag>>,
}

impl Findings {
    /// All findings in order, each once: two gateways may say the same about one Ingress.
    pub fn list(&self) -> Vec<Diag> {
        let mut all: Vec<_> =
            self.by_row.values().flat_map(|diags| diags.iter().cloned()).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Replaces what a row said.
    pub(super) fn set(&mut self, row: Row, diags: Vec<Diag>) {
        let old = self.by_row.get(&row).map_or(&[][..], |old| old);
        if old == diags {
            return;
        }
        let appeared = diags.iter().filter(|diag| !old.contains(diag)).cloned();
        self.news.get_or_insert_default().extend(appeared);
        if diags.is_empty() {
            self.by_row.remove(&row);
        } else {
            self.by_row.insert(row, diags.into());
        }
    }

    /// What appeared since this was last asked; `None` if nothing changed.
    pub(super) fn take_news(&mut self) -> Option<Vec<Diag>> {
        self.news.take()
    }
}
