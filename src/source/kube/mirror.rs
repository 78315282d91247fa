//! What one watch has shown so far, as it was passed on.
//!
//! Owns what is emitted for a list and for an event: only what differs from what was emitted
//! before. Pure. An object that is refused keeps its last good version, with a finding; deleting
//! it needs nothing but its name. A mirror outlives the connections that fill it, so that an
//! object keeps its last good version over those too. Cost: an event is logarithmic; a changed
//! finding costs a pass over the findings.

use std::collections::BTreeMap;

use crate::{
    diag::Diag,
    key::{ObjectKind, ObjectName, Scope},
    source::kube::watch::{Seen, Sighting, Watched},
    store::{Change, Object},
};

/// The last good version of every object of one watch, and the findings on them.
#[derive(Debug)]
pub(super) struct Mirror {
    scope: Scope,
    kind: ObjectKind,
    source: String,
    objects: BTreeMap<ObjectName, Object>,
    findings: BTreeMap<ObjectName, Vec<Diag>>,
}

impl Mirror {
    /// Nothing seen yet.
    pub(super) fn new(watched: &Watched) -> Mirror {
        Mirror {
            scope: watched.scope.clone(),
            kind: watched.kind,
            source: watched.to_string(),
            objects: BTreeMap::new(),
            findings: BTreeMap::new(),
        }
    }

    /// A complete list of what the watch covers.
    pub(super) fn list(&mut self, all: impl IntoIterator<Item = Sighting>) -> Vec<Change> {
        let before = std::mem::take(&mut self.objects);
        let findings = std::mem::take(&mut self.findings);
        for sighting in all {
            if let Some(last) = before.get(&sighting.name) {
                self.objects.entry(sighting.name.clone()).or_insert_with(|| last.clone());
            }
            self.take(sighting);
        }
        let new = self.objects.iter().filter(|(name, object)| before.get(name) != Some(object));
        let new = new.map(|(_, object)| Change::Upsert(self.scope.clone(), object.clone()));
        let gone = before.keys().filter(|name| !self.objects.contains_key(name));
        let gone = gone.map(|name| Change::Delete(self.scope.clone(), self.kind, name.clone()));
        let mut changes: Vec<_> = new.chain(gone).collect();
        changes.extend((findings != self.findings).then(|| self.report()));
        changes
    }

    /// One object came, changed or went.
    pub(super) fn see(&mut self, sighting: Sighting) -> Vec<Change> {
        let name = sighting.name.clone();
        let object = self.objects.get(&name).cloned();
        let findings = self.findings.get(&name).cloned();
        self.take(sighting);
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

    /// Everything goes: nobody asks for it any more.
    pub(super) fn clear(&mut self) -> Vec<Change> {
        self.list([])
    }

    /// Whether there is an object of this name, as far as was passed on.
    pub(super) fn shows(&self, name: &ObjectName) -> bool {
        self.objects.contains_key(name)
    }

    /// Everything there is, as it was passed on.
    pub(super) fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    fn take(&mut self, Sighting { name, seen }: Sighting) {
        let diags = match seen {
            Seen::Object(object, diags) => {
                self.objects.insert(name.clone(), object);
                diags
            }
            Seen::Refused(diag) => vec![diag],
            Seen::Absent => {
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
    use super::*;
    use crate::{
        diag::{Field, Reason},
        key::ObjectRef,
        store::IngressClass,
    };

    fn class(controller: &str) -> Sighting {
        let name = name();
        let class = IngressClass {
            name: name.clone(),
            controller: controller.into(),
            parameters: None,
            is_default: false,
        };
        Sighting { name, seen: Seen::Object(Object::IngressClass(class.into()), vec![]) }
    }

    fn refused() -> Sighting {
        let at = Field::of(&ObjectRef::fleet(ObjectKind::IngressClass, name()));
        let diag = Diag::error(&at, Reason::InvalidField, "no");
        Sighting { name: name(), seen: Seen::Refused(diag) }
    }

    fn absent() -> Sighting {
        Sighting { name: name(), seen: Seen::Absent }
    }

    fn name() -> ObjectName {
        ObjectName::cluster_scoped("mse")
    }

    /// What the changes are, without their content.
    fn outline(changes: &[Change]) -> Vec<String> {
        let line = |change: &Change| match change {
            Change::Upsert(_, object) => format!("upsert {}", object.name().name),
            Change::Delete(_, _, name) => format!("delete {}", name.name),
            Change::Report { diags, .. } => format!("report {}", diags.len()),
            other => format!("unexpected {other:?}"),
        };
        changes.iter().map(line).collect()
    }

    fn mirror() -> Mirror {
        let kind = ObjectKind::IngressClass;
        Mirror::new(&Watched::of::<k8s_openapi::api::networking::v1::IngressClass>(
            Scope::Fleet,
            kind,
        ))
    }

    #[test]
    fn a_refused_version_keeps_the_last_good_one_through_events_and_relists() {
        let mut mirror = mirror();
        let steps = [
            (mirror.see(class("a")), vec!["upsert mse"]),
            (mirror.see(refused()), vec!["report 1"]),
            (mirror.list([refused()]), vec![]),
            (mirror.see(class("b")), vec!["upsert mse", "report 0"]),
            (mirror.see(class("b")), vec![]),
            (mirror.list([class("b")]), vec![]),
            (mirror.list([class("c")]), vec!["upsert mse"]),
            (mirror.list([]), vec!["delete mse"]),
            (mirror.clear(), vec![]),
        ];
        for (idx, (changes, expect)) in steps.iter().enumerate() {
            assert_eq!(outline(changes), *expect, "step {idx}");
        }
    }

    #[test]
    fn deleting_an_object_that_was_never_legal_withdraws_its_finding() {
        let mut mirror = mirror();
        assert_eq!(outline(&mirror.see(refused())), ["report 1"]);
        assert_eq!(outline(&mirror.see(absent())), ["report 0"]);
        assert_eq!(outline(&mirror.see(absent())), [""; 0]);
    }
}
