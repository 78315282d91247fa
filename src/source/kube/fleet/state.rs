//! What is watched in the fleet, and what the engine is told of it.
//!
//! Owns which watches there are to be, when the fleet counts as read, and what is wrong with it.
//! Pure: news in, changes and watches out. Cost: of one watch's news, beside a pass over the
//! watches.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::{
    core::v1::Secret,
    networking::v1::{Ingress, IngressClass},
};

use crate::{
    api::MseIngressConfig,
    diag::{Diag, Field, Reason},
    key::{ObjectKind, ObjectName, ObjectRef, Scope},
    source::{
        Wanted,
        kube::{
            mirror::Mirror,
            request::{Fault, Trouble},
            watch::{News, Watched},
        },
    },
    store::{Change, Health},
};

/// Under this name findings about the fleet as a whole are reported.
const REPORT: &str = "fleet";

/// A server may end a watch at any time; one failure alone says nothing about it.
const FAILURES_THAT_COUNT: u32 = 2;

/// A server that has just started may refuse for some seconds what it will allow. With the waits
/// between them, so many refusals take about ten.
pub(super) const REFUSALS_THAT_COUNT: u32 = 5;

/// One watch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Gateways,
    Classes,
    Ingresses,
    /// The Secrets of type `kubernetes.io/tls` in a namespace.
    TlsSecrets(Arc<str>),
    /// One Secret, of whatever type: one that the watch of its namespace does not show.
    Secret(ObjectName),
}

impl Key {
    /// What is read whatever it says.
    const ALWAYS: [Key; 3] = [Key::Gateways, Key::Classes, Key::Ingresses];

    /// What to ask the API for.
    pub(super) fn watched(&self) -> Watched {
        let fleet = Scope::Fleet;
        let secrets = |namespace: &str, fields: String| Watched {
            namespace: Some(namespace.to_owned()),
            fields: Some(fields),
            ..Watched::of::<Secret>(Scope::Fleet, ObjectKind::Secret)
        };
        match self {
            Key::Gateways => Watched::of::<MseIngressConfig>(fleet, ObjectKind::MseIngressConfig),
            Key::Classes => Watched::of::<IngressClass>(fleet, ObjectKind::IngressClass),
            Key::Ingresses => Watched::of::<Ingress>(fleet, ObjectKind::Ingress),
            Key::TlsSecrets(namespace) => secrets(namespace, "type=kubernetes.io/tls".to_owned()),
            Key::Secret(ObjectName { namespace, name }) => {
                secrets(namespace, format!("metadata.name={name}"))
            }
        }
    }
}

/// What is to be done next.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// To tell the engine, in order.
    pub(super) changes: Vec<Change>,
    /// Watches to begin.
    pub(super) begun: Vec<Key>,
    /// Watches to end.
    pub(super) ended: Vec<Key>,
}

/// Every watch that runs, and what was said of them.
#[derive(Debug, Default)]
pub(super) struct State {
    rows: BTreeMap<Key, Row>,
    wanted: Wanted,
    /// Whether the engine was told of every member that is declared.
    are_members_known: bool,
    is_listed: bool,
    is_synced: bool,
    health: Health,
    findings: Vec<Diag>,
}

/// What is known through one watch.
#[derive(Debug)]
struct Row {
    mirror: Mirror,
    is_listed: bool,
    /// Failures in a row, and the last of them.
    failures: u32,
    trouble: Option<Trouble>,
}

impl State {
    /// The first step.
    pub(super) fn start(&mut self) -> Step {
        self.settle(Vec::new())
    }

    /// The engine says what it needs.
    pub(super) fn want(&mut self, wanted: Wanted) -> Step {
        self.wanted = wanted;
        self.settle(Vec::new())
    }

    /// The engine was told of every member.
    pub(super) fn know_members(&mut self) -> Step {
        self.are_members_known = true;
        self.settle(Vec::new())
    }

    /// A watch has news.
    pub(super) fn hear(&mut self, key: &Key, news: News) -> Step {
        // Of a watch that has been ended, news may still be on the way.
        let Some(row) = self.rows.get_mut(key) else { return Step::default() };
        let mut changes = row.hear(news);
        let others = self.rows.iter().filter(|(other, _)| *other != key).map(|(_, row)| row);
        withdraw_only_unseen(&mut changes, others);
        self.settle(changes)
    }

    /// What follows from what is known now.
    fn settle(&mut self, mut changes: Vec<Change>) -> Step {
        let due = self.due();
        let ended: Vec<_> = self.rows.keys().filter(|key| !due.contains(key)).cloned().collect();
        for key in &ended {
            let Some(row) = self.rows.remove(key) else { continue };
            changes.extend(row.forget(&self.rows));
        }
        let begun: Vec<_> = due.into_iter().filter(|key| !self.rows.contains_key(key)).collect();
        self.rows.extend(begun.iter().map(|key| (key.clone(), Row::new(key))));
        changes.extend(self.progress());
        changes.extend(self.diagnosis());
        Step { changes, begun, ended }
    }

    /// Every watch that there should be.
    fn due(&self) -> Vec<Key> {
        let mut due = Key::ALWAYS.to_vec();
        if self.wanted.is_known {
            let mut namespaces: Vec<_> =
                self.wanted.secrets.iter().map(|secret| &secret.namespace).collect();
            namespaces.dedup();
            due.extend(namespaces.into_iter().cloned().map(Key::TlsSecrets));
            let unseen = self.wanted.secrets.iter().filter(|secret| self.is_unseen(secret));
            due.extend(unseen.cloned().map(Key::Secret));
        }
        due
    }

    /// Whether the Secrets of its namespace have been listed and this was not among them.
    fn is_unseen(&self, secret: &ObjectName) -> bool {
        let row = self.rows.get(&Key::TlsSecrets(secret.namespace.clone()));
        row.is_some_and(|row| row.is_listed && !row.mirror.shows(secret))
    }

    /// How far the first reading has come, if that is news.
    fn progress(&mut self) -> Vec<Change> {
        let is_read = self.rows.iter().all(|(key, row)| row.is_listed || row.is_given_up(key));
        let mut changes = Vec::new();
        // The engine asks for no Secret before it is told, so until then nothing else is read.
        if is_read && !self.is_listed {
            self.is_listed = true;
            changes.push(Change::Listed(Scope::Fleet));
        }
        if is_read && self.wanted.is_known && self.are_members_known && !self.is_synced {
            self.is_synced = true;
            changes.push(Change::Synced(Scope::Fleet));
        }
        changes
    }

    /// What is wrong, if that is news.
    fn diagnosis(&mut self) -> Vec<Change> {
        let trouble = self.rows.iter().find_map(|(key, row)| Some((key, row, row.trouble()?)));
        let (health, findings) = match trouble {
            Some((key, row, trouble)) => {
                let message = explain(key, row, trouble);
                let findings = missing_kind(key, trouble, &message);
                (Health::Stale { reason: trouble.reason(), message }, findings)
            }
            None if self.is_synced => (Health::Live, Vec::new()),
            None => (Health::Syncing, Vec::new()),
        };
        let mut changes = Vec::new();
        if health != self.health {
            log(&self.health, &health);
            self.health = health.clone();
            changes.push(Change::Health(Scope::Fleet, health));
        }
        if findings != self.findings {
            self.findings.clone_from(&findings);
            changes.push(Change::Report { source: REPORT.to_owned(), diags: findings });
        }
        changes
    }
}

impl Row {
    fn new(key: &Key) -> Row {
        Row { mirror: Mirror::new(&key.watched()), is_listed: false, failures: 0, trouble: None }
    }

    fn hear(&mut self, news: News) -> Vec<Change> {
        if let News::Failed(trouble) = news {
            self.failures = self.failures.saturating_add(1);
            self.trouble = Some(trouble);
            return Vec::new();
        }
        (self.failures, self.trouble) = (0, None);
        match news {
            News::Listed(all) => {
                self.is_listed = true;
                self.mirror.list(all)
            }
            News::Changed(sighting) => self.mirror.see(sighting),
            News::Contact | News::Failed(_) => Vec::new(),
        }
    }

    /// Nobody asks for it any more.
    fn forget(mut self, others: &BTreeMap<Key, Row>) -> Vec<Change> {
        let mut changes = self.mirror.clear();
        withdraw_only_unseen(&mut changes, others.values());
        changes
    }

    /// Secrets that are refused to us again and again are waited for no longer: one namespace must
    /// not keep all the others from being served (faults.md, Principles P3).
    fn is_given_up(&self, key: &Key) -> bool {
        let is_refused = self.trouble.as_ref().is_some_and(|own| own.fault.is_refusal());
        let may_lack = match key {
            Key::TlsSecrets(_) | Key::Secret(_) => true,
            Key::Gateways | Key::Classes | Key::Ingresses => false,
        };
        may_lack && is_refused && self.failures >= REFUSALS_THAT_COUNT
    }

    fn trouble(&self) -> Option<&Trouble> {
        let trouble = self.trouble.as_ref();
        trouble.filter(|own| own.fault.is_refusal() || self.failures >= FAILURES_THAT_COUNT)
    }
}

/// A Secret that two watches show is gone when neither does.
fn withdraw_only_unseen<'a>(
    changes: &mut Vec<Change>,
    others: impl Iterator<Item = &'a Row> + Clone,
) {
    changes.retain(|change| match change {
        Change::Delete(_, ObjectKind::Secret, name) => {
            !others.clone().any(|row| row.mirror.shows(name))
        }
        Change::Delete(..)
        | Change::Upsert(..)
        | Change::Replace(..)
        | Change::Listed(_)
        | Change::Synced(_)
        | Change::Register(..)
        | Change::Health(..)
        | Change::Unregister(_)
        | Change::Report { .. } => true,
    });
}

/// What is wrong, and what to do about it.
fn explain(key: &Key, row: &Row, trouble: &Trouble) -> String {
    match (key, trouble.fault, row.is_listed) {
        (Key::Gateways, Fault::KindUnavailable, false) => {
            "the CRDs of Convoy are not installed: run `convoy crds | kubectl apply -f -`; it is \
             used as soon as it is there"
                .to_owned()
        }
        (Key::Gateways, Fault::KindUnavailable, true) => {
            "the CRD of gateways was removed: run `convoy crds | kubectl apply -f -` and apply the \
             gateways again; what Envoys have stays"
                .to_owned()
        }
        (_, _, _) => trouble.message.clone(),
    }
}

fn missing_kind(key: &Key, trouble: &Trouble, message: &str) -> Vec<Diag> {
    if trouble.fault != Fault::KindUnavailable {
        return Vec::new();
    }
    let resource = key.watched().resource;
    let name = ObjectName::cluster_scoped(&format!("{}.{}", resource.plural, resource.group));
    let object = ObjectRef::fleet(ObjectKind::CustomResourceDefinition, name);
    vec![Diag::error(&Field::of(&object), Reason::KindUnavailable, message)]
}

/// Once each time the reason changes.
fn log(old: &Health, new: &Health) {
    match (old, new) {
        // Each of the watches says it in its own words.
        (Health::Stale { reason, .. }, Health::Stale { reason: still, .. }) if reason == still => {}
        (_, Health::Stale { reason, message }) => {
            tracing::warn!(reason, message, "the fleet cannot be read; what was read stays");
        }
        (_, Health::Live) => tracing::info!("the fleet is read and watched"),
        (_, Health::Connecting | Health::Syncing) => tracing::info!("reading the fleet"),
    }
}
