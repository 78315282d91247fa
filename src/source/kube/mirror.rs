//! One kind of one cluster as it was last seen.
//!
//! Owns what is emitted for a list and for an event. Pure. An object that is refused keeps its
//! last good version, with a finding; deleting it needs nothing but its name. Cost: an event costs
//! one decode; a changed finding costs a pass over the findings of the kind.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    diag::Diag,
    key::{ObjectKind, ObjectName, Scope},
    source::decode::{Decoded, decode},
    store::{Change, Object},
};

/// The last good version of every object, and the findings on them.
#[derive(Debug)]
pub(super) struct Mirror {
    scope: Scope,
    kind: ObjectKind,
    source: String,
    objects: BTreeMap<ObjectName, Object>,
    findings: BTreeMap<ObjectName, Vec<Diag>>,
}

impl Mirror {
    /// Nothing seen yet. `source` names the watch in reports.
    pub(super) fn new(scope: Scope, kind: ObjectKind, source: String) -> Mirror {
        let (objects, findings) = (BTreeMap::new(), BTreeMap::new());
        Mirror { scope, kind, source, objects, findings }
    }

    /// A complete list. `now` is in seconds since 1970.
    pub(super) fn replace(&mut self, manifests: Vec<(ObjectName, Value)>, now: i64) -> Vec<Change> {
        let mut before = std::mem::take(&mut self.objects);
        let findings = std::mem::take(&mut self.findings);
        for (name, manifest) in manifests {
            if let Some(last) = before.remove(&name) {
                self.objects.insert(name.clone(), last);
            }
            self.take(name, manifest, now);
        }
        let objects = self.objects.values().cloned().collect();
        let mut changes = vec![Change::Replace(self.scope.clone(), self.kind, objects)];
        changes.extend((findings != self.findings).then(|| self.report()));
        changes
    }

    /// An object was added or modified.
    pub(super) fn upsert(&mut self, name: ObjectName, manifest: Value, now: i64) -> Vec<Change> {
        let object = self.objects.get(&name).cloned();
        let findings = self.findings.get(&name).cloned();
        self.take(name.clone(), manifest, now);
        let mut changes = Vec::new();
        match self.objects.get(&name) {
            Some(new) if object.as_ref() != Some(new) => {
                changes.push(Change::Upsert(self.scope.clone(), new.clone()));
            }
            None if object.is_some() => {
                changes.push(Change::Delete(self.scope.clone(), self.kind, name.clone()));
            }
            Some(_) | None => {}
        }
        changes.extend((findings.as_ref() != self.findings.get(&name)).then(|| self.report()));
        changes
    }

    /// An object was deleted, whether it could be read or not.
    pub(super) fn delete(&mut self, name: &ObjectName) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.objects.remove(name).is_some() {
            changes.push(Change::Delete(self.scope.clone(), self.kind, name.clone()));
        }
        changes.extend(self.findings.remove(name).map(|_| self.report()));
        changes
    }

    fn take(&mut self, name: ObjectName, manifest: Value, now: i64) {
        let diags = match decode(&self.scope, manifest, now) {
            Decoded::Object { object, diags, judge_again: _ } => {
                self.objects.insert(name.clone(), object);
                diags
            }
            Decoded::Refused(diag) => vec![diag],
            // It exists, and is none of our business any more.
            Decoded::Nameless(_) | Decoded::Ignored(_) => {
                self.objects.remove(&name);
                Vec::new()
            }
        };
        if diags.is_empty() {
            self.findings.remove(&name);
        } else {
            self.findings.insert(name, diags);
        }
    }

    fn report(&self) -> Change {
        let diags = self.findings.values().flatten().cloned().collect();
        Change::Report { source: self.source.clone(), diags }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ingress(path_type: &str) -> Value {
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": { "namespace": "shop", "name": "web" },
            "spec": { "rules": [{ "http": { "paths": [{
                "path": "/", "pathType": path_type,
                "backend": { "service": { "name": "web", "port": { "number": 80 } } },
            }] } }] },
        })
    }

    fn name() -> ObjectName {
        ObjectName::new("shop", "web")
    }

    /// What the changes are, without their content.
    fn outline(changes: &[Change]) -> Vec<String> {
        let line = |change: &Change| match change {
            Change::Upsert(_, object) => format!("upsert {}", object.name().name),
            Change::Delete(_, _, name) => format!("delete {}", name.name),
            Change::Replace(_, _, objects) => format!("replace {}", objects.len()),
            Change::Report { diags, .. } => format!("report {}", diags.len()),
            Change::Listed(_) | Change::Synced(_) => "other".into(),
            Change::Register(..) | Change::Health(..) | Change::Unregister(_) => "other".into(),
        };
        changes.iter().map(line).collect()
    }

    fn mirror() -> Mirror {
        Mirror::new(Scope::Fleet, ObjectKind::Ingress, "watch".into())
    }

    #[test]
    fn a_refused_version_keeps_the_last_good_one_through_events_and_relists() {
        let mut mirror = mirror();
        let steps = [
            (mirror.upsert(name(), ingress("Prefix"), 0), vec!["upsert web"]),
            (mirror.upsert(name(), ingress("Bogus"), 0), vec!["report 1"]),
            (mirror.replace(vec![(name(), ingress("Bogus"))], 0), vec!["replace 1"]),
            (mirror.upsert(name(), ingress("Exact"), 0), vec!["upsert web", "report 0"]),
            (mirror.upsert(name(), ingress("Exact"), 0), vec![]),
            (mirror.replace(vec![], 0), vec!["replace 0"]),
        ];
        for (idx, (changes, expect)) in steps.iter().enumerate() {
            assert_eq!(outline(changes), *expect, "step {idx}");
        }
    }

    #[test]
    fn deleting_an_object_that_was_never_legal_withdraws_its_finding() {
        let mut mirror = mirror();
        assert_eq!(outline(&mirror.upsert(name(), ingress("Bogus"), 0)), ["report 1"]);
        assert_eq!(outline(&mirror.delete(&name())), ["report 0"]);
        assert_eq!(outline(&mirror.delete(&name())), [""; 0]);
    }
}
