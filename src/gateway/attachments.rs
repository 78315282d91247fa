//! Which Ingresses the gateways serve, all together.
//!
//! Owns the table that status is written from. Cost: logarithmic per change; a clone is O(1) and
//! shares everything, so two states of the table are compared at the cost of what differs.

use std::{collections::BTreeSet, sync::Arc};

use imbl::{OrdMap, ordmap::DiffItem};

use crate::key::{GatewayId, ObjectName};

/// One Ingress that is served, or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// `metadata.uid` of the Ingress that was accepted.
    pub uid: Arc<str>,
    /// The gateways that serve it. Empty: it was served, still exists, and is no longer ours.
    pub gateways: BTreeSet<GatewayId>,
}

/// Every Ingress that is served, or was served and still exists.
#[derive(Clone, Debug, Default)]
pub struct Attachments(OrdMap<ObjectName, Attachment>);

impl Attachments {
    /// One Ingress.
    pub fn get(&self, ingress: &ObjectName) -> Option<&Attachment> {
        self.0.get(ingress)
    }

    /// The Ingresses that are served, by name.
    pub fn accepted(&self) -> impl Iterator<Item = (&ObjectName, &Attachment)> {
        self.0.iter().filter(|(_, row)| !row.gateways.is_empty())
    }

    /// The Ingresses whose row differs between two states of the table.
    pub fn changes<'a>(&'a self, since: &'a Attachments) -> impl Iterator<Item = &'a ObjectName> {
        since.0.diff(&self.0).map(|item| match item {
            DiffItem::Add(name, _) | DiffItem::Remove(name, _) => name,
            DiffItem::Update { new: (name, _), .. } => name,
        })
    }

    /// The gateway serves the Ingress.
    pub fn attach(&mut self, ingress: &ObjectName, uid: &Arc<str>, gateway: &GatewayId) {
        let mut gateways = match self.0.get(ingress) {
            Some(row) if row.uid == *uid && row.gateways.contains(gateway) => return,
            Some(row) => row.gateways.clone(),
            None => BTreeSet::new(),
        };
        gateways.insert(gateway.clone());
        self.0.insert(ingress.clone(), Attachment { uid: uid.clone(), gateways });
    }

    /// The gateway does not serve the Ingress.
    pub fn detach(&mut self, ingress: &ObjectName, gateway: &GatewayId) {
        if self.0.get(ingress).is_some_and(|row| row.gateways.contains(gateway))
            && let Some(row) = self.0.get_mut(ingress)
        {
            row.gateways.remove(gateway);
        }
    }

    /// The Ingress does not exist.
    pub fn forget(&mut self, ingress: &ObjectName) {
        self.0.remove(ingress);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_say_who_serves_and_who_did() {
        let (main, other) = (GatewayId::mse("main"), GatewayId::mse("other"));
        let ingress = ObjectName::new("demo", "web");
        let mut table = Attachments::default();
        let mut step = |edit: &dyn Fn(&mut Attachments), changes: usize, expect: Option<&str>| {
            let before = table.clone();
            edit(&mut table);
            let row = table.get(&ingress).map(|row| {
                let gateways: Vec<_> = row.gateways.iter().map(ToString::to_string).collect();
                format!("{}: {}", row.uid, gateways.join(" "))
            });
            assert_eq!(row.as_deref(), expect);
            assert_eq!(table.changes(&before).count(), changes, "{expect:?}");
        };
        let uid = |uid: &str| Arc::from(uid);
        step(&|t| t.detach(&ingress, &main), 0, None);
        step(&|t| t.attach(&ingress, &uid("1"), &main), 1, Some("1: MseIngressConfig/main"));
        step(&|t| t.attach(&ingress, &uid("1"), &main), 0, Some("1: MseIngressConfig/main"));
        let both = "1: MseIngressConfig/main MseIngressConfig/other";
        step(&|t| t.attach(&ingress, &uid("1"), &other), 1, Some(both));
        step(&|t| t.detach(&ingress, &main), 1, Some("1: MseIngressConfig/other"));
        step(&|t| t.detach(&ingress, &other), 1, Some("1: "));
        step(&|t| t.attach(&ingress, &uid("2"), &other), 1, Some("2: MseIngressConfig/other"));
        step(&|t| t.forget(&ingress), 1, None);
    }
}
