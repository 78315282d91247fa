//! The rows of the Ingresses that some gateway serves.
//!
//! Owns who uses which: an Ingress that nobody serves is not parsed and has no findings, and one
//! that gateways of two kinds serve is read once by the annotations of each. Cost: one Ingress is
//! parsed when it changed, or when the first gateway of a kind begins to serve it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    ingress::{Dialect, IngressRow},
    key::{GatewayId, ObjectName},
};

/// Rows by Ingress and dialect.
#[derive(Debug, Default)]
pub(super) struct IngressTable {
    rows: BTreeMap<(ObjectName, Dialect), Used>,
}

#[derive(Debug)]
struct Used {
    /// `None` when the object has changed since.
    row: Option<Arc<IngressRow>>,
    users: BTreeSet<GatewayId>,
}

impl IngressTable {
    /// The row of an Ingress that is in use.
    pub(super) fn get(&self, ingress: &ObjectName, dialect: Dialect) -> Option<Arc<IngressRow>> {
        self.rows.get(&(ingress.clone(), dialect))?.row.clone()
    }

    /// The object changed: what was made of it is made anew.
    pub(super) fn touch(&mut self, ingress: &ObjectName) {
        for dialect in [Dialect::Mse, Dialect::Alb] {
            if let Some(used) = self.rows.get_mut(&(ingress.clone(), dialect)) {
                used.row = None;
            }
        }
    }

    /// A gateway serves the Ingress; `parse` makes the row where there is none.
    pub(super) fn start_use(
        &mut self,
        ingress: &ObjectName,
        gateway: &GatewayId,
        parse: impl FnOnce() -> IngressRow,
    ) -> Arc<IngressRow> {
        let key = (ingress.clone(), Dialect::of(gateway));
        let used = self.rows.entry(key).or_insert(Used { row: None, users: BTreeSet::new() });
        if !used.users.contains(gateway) {
            used.users.insert(gateway.clone());
        }
        used.row.get_or_insert_with(|| Arc::new(parse())).clone()
    }

    /// A gateway does not serve the Ingress; true if none of its kind does any more.
    pub(super) fn end_use(&mut self, ingress: &ObjectName, gateway: &GatewayId) -> bool {
        let key = (ingress.clone(), Dialect::of(gateway));
        let Some(used) = self.rows.get_mut(&key) else { return false };
        used.users.remove(gateway);
        let is_unused = used.users.is_empty();
        if is_unused {
            self.rows.remove(&key);
        }
        is_unused
    }
}
