//! Diagnostics: what is wrong with an object, said on the object.
//!
//! Owns the vocabulary. A diagnostic becomes an Event, a row of `convoy status` and a line on
//! stderr, so its message is written for the author of the object: lower case, no full stop,
//! and it names the value.

use std::{fmt, sync::Arc};

use imbl::{OrdMap, ordmap::DiffItem};

use crate::key::ObjectRef;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Served, but not quite as written.
    Warning,
    /// Something the author asked for is not served.
    Error,
}

/// Why, as an Event's reason: UpperCamelCase and stable (users.md, Conventions 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A file could not be read or parsed; its last good objects stay.
    Unreadable,
    /// Two files hold the same object; the first path in order wins.
    DuplicateObject,
    /// Objects of the kind are not read there.
    UnsupportedKind,
    /// A field's value is refused.
    InvalidField,
    /// An annotation's value is ignored.
    InvalidAnnotation,
    /// A field that has no effect; the object is served without it.
    UnsupportedField,
    /// A rule is for a listener that its gateway does not have.
    ListenerNotFound,
    /// A rate limit holds for each Envoy of a gateway by itself.
    LimitPerEnvoy,
    /// Two Ingresses of a host have the same `order`.
    SameOrder,
    /// An annotation that Convoy does not know how to honour.
    UnsupportedAnnotation,
    /// The gateway object is refused as a whole.
    InvalidGateway,
    /// A host is not a legal Ingress host.
    InvalidHost,
    /// A path cannot be matched.
    InvalidPath,
    /// Envoy's RE2 would refuse the expression.
    InvalidRegex,
    /// An older object has the same rule.
    RuleConflict,
    /// A canary whose host and path no main Ingress has.
    CanaryWithoutMain,
    /// No endpoint matches the subset: all endpoints are used.
    SubsetEmpty,
    /// The backend's kind is not served.
    UnsupportedBackend,
    /// In a member whose Pods cannot be reached, the Service is of a type that does not lead out.
    UnsupportedServiceType,
    /// Pods are ready, and no node leads to them.
    NoEligibleNode,
    /// A member offers Services of a namespace that it is not allowed (faults.md S18).
    NamespaceNotAllowed,
    /// No member has the Service.
    ServiceNotFound,
    /// A member's Service lacks the port.
    PortNotFound,
    /// The TLS Secret is missing.
    SecretNotFound,
    /// The TLS Secret cannot be served.
    InvalidSecret,
    /// The same address comes from two members.
    AddressConflict,
    /// An endpoint's address is never served (faults.md F20).
    ForbiddenAddress,
    /// An older object declares the same member (faults.md A15).
    Conflicted,
    /// A member's credentials are not there (faults.md A8).
    CredentialsMissing,
    /// A member's credentials are refused (faults.md S5).
    InvalidKubeconfig,
    /// A member cannot be read; what was read before is still served.
    MemberStale,
    /// `remote-clusters` names a member that is not registered.
    ClusterNotFound,
    /// Members declare different protocols for a port; the first in order decides.
    ProtocolConflict,
    /// The API does not serve a kind (faults.md B5).
    KindUnavailable,
    /// A published limit is exceeded (faults.md S19).
    LimitExceeded,
    /// An object of a managed gateway has a name that somebody else's object has.
    ObjectNotOurs,
    /// An object of a managed gateway cannot be made or kept as it should be.
    ProvisioningFailed,
    /// A gateway prefers members that are near, and nobody knows where it or a member is.
    RegionUnknown,
    /// Tracing is asked for, and there is nowhere to send spans.
    CollectorMissing,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One finding on one field of one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Diag {
    /// The object to mend.
    pub object: ObjectRef,
    /// Path of the field, as in `spec.rules[0].http.paths[1].path`; empty for the whole object.
    pub field: String,
    /// How bad it is.
    pub severity: Severity,
    /// Why, for machines.
    pub reason: Reason,
    /// Why, for people.
    pub message: String,
}

impl Diag {
    /// Something is not served.
    pub fn error(at: &Field, reason: Reason, message: impl Into<String>) -> Diag {
        Diag::new(Severity::Error, at, reason, message.into())
    }

    /// Something is served otherwise than written.
    pub fn warning(at: &Field, reason: Reason, message: impl Into<String>) -> Diag {
        Diag::new(Severity::Warning, at, reason, message.into())
    }

    fn new(severity: Severity, at: &Field, reason: Reason, message: String) -> Diag {
        Diag { object: at.object.clone(), field: at.path.clone(), severity, reason, message }
    }
}

impl fmt::Display for Diag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{level}: {}", self.object)?;
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}: {}", self.reason, self.message)
    }
}

/// Findings in order, each once, whoever says it how often. A clone is O(1) and shares everything,
/// so two states of the set are compared at the cost of what differs.
#[derive(Clone, Debug, Default)]
pub struct DiagSet(OrdMap<Arc<Diag>, usize>);

impl DiagSet {
    /// Says a finding once more.
    pub fn add(&mut self, diag: &Arc<Diag>) {
        *self.0.entry(diag.clone()).or_default() += 1;
    }

    /// Takes one saying of a finding back.
    pub fn remove(&mut self, diag: &Arc<Diag>) {
        match self.0.get(diag) {
            None => {}
            Some(1) => _ = self.0.remove(diag),
            Some(count) => _ = self.0.insert(diag.clone(), count - 1),
        }
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Diag> {
        self.0.keys().map(Arc::as_ref)
    }

    /// Those about one object.
    pub fn about(&self, object: &ObjectRef) -> impl Iterator<Item = &Diag> {
        let first = Diag {
            object: object.clone(),
            field: String::new(),
            // The least of each, so that every finding about the object comes after this one.
            severity: Severity::Warning,
            reason: Reason::Unreadable,
            message: String::new(),
        };
        self.0.range(first..).map(|(diag, _)| diag.as_ref()).take_while(|d| d.object == *object)
    }

    /// Those that are here and were not in an earlier state.
    pub fn news<'a>(&'a self, since: &'a DiagSet) -> impl Iterator<Item = &'a Diag> {
        since.0.diff(&self.0).filter_map(|item| match item {
            DiffItem::Add(diag, _) => Some(diag.as_ref()),
            DiffItem::Update { .. } | DiffItem::Remove(..) => None,
        })
    }
}

impl FromIterator<Diag> for DiagSet {
    fn from_iter<T: IntoIterator<Item = Diag>>(diags: T) -> Self {
        let mut set = DiagSet::default();
        diags.into_iter().for_each(|diag| set.add(&Arc::new(diag)));
        set
    }
}

/// A place in an object, grown from the root: `Field::of(obj).key("spec").index("rules", 0)`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Field {
    /// The object.
    pub object: ObjectRef,
    /// The path so far; empty at the root.
    pub path: String,
}

impl Field {
    /// The whole object.
    pub fn of(object: &ObjectRef) -> Field {
        Field { object: object.clone(), path: String::new() }
    }

    /// `.name` below this place.
    pub fn key(&self, name: &str) -> Field {
        let dot = if self.path.is_empty() { "" } else { "." };
        Field { object: self.object.clone(), path: format!("{}{dot}{name}", self.path) }
    }

    /// `.name[idx]` below this place.
    pub fn index(&self, name: &str, idx: usize) -> Field {
        let at = self.key(name);
        Field { path: format!("{}[{idx}]", at.path), ..at }
    }

    /// `metadata.annotations[key]` of the object.
    pub fn annotation(&self, key: &str) -> Field {
        Field { object: self.object.clone(), path: format!("metadata.annotations[{key}]") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{ObjectKind, ObjectName};

    fn diag(name: &str, field: &str) -> Diag {
        let object = ObjectRef::fleet(ObjectKind::Ingress, ObjectName::new("demo", name));
        Diag::error(&Field::of(&object).key(field), Reason::InvalidPath, "no")
    }

    #[test]
    fn a_finding_is_there_as_long_as_somebody_says_it() {
        let one = Arc::new(diag("a", "spec"));
        let mut set = DiagSet::default();
        let mut step = |edit: fn(&mut DiagSet, &Arc<Diag>), count: usize, news: usize| {
            let before = set.clone();
            edit(&mut set, &one);
            assert_eq!((set.iter().count(), set.news(&before).count()), (count, news));
        };
        step(DiagSet::add, 1, 1);
        step(DiagSet::add, 1, 0);
        step(DiagSet::remove, 1, 0);
        step(DiagSet::remove, 0, 0);
        step(DiagSet::remove, 0, 0);
    }

    #[test]
    fn findings_about_an_object_are_found() {
        let all = [diag("a", "x"), diag("b", ""), diag("b", "y"), diag("c", "z")];
        let set = DiagSet::from_iter(all.clone());
        assert!(set.about(&all[1].object).eq(&all[1..3]));
        assert_eq!(set.about(&diag("d", "").object).count(), 0);
    }
}
