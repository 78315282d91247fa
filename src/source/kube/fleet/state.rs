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
    api::{AlbConfig, MseIngressConfig},
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
    MseIngressConfigs,
    AlbConfigs,
    Classes,
    Ingresses,
    /// The Secrets of type `kubernetes.io/tls` in a namespace.
    TlsSecrets(Arc<str>),
    /// One Secret, of whatever type: one that the watch of its namespace does not show.
    Secret(ObjectName),
}

impl Key {
    /// What is read whatever it says.
    pub(super) const ALWAYS: [Key; 4] =
        [Key::MseIngressConfigs, Key::AlbConfigs, Key::Classes, Key::Ingresses];

    /// The kinds that declare gateways. A fleet may have one of them only.
    const GATEWAYS: [Key; 2] = [Key::MseIngressConfigs, Key::AlbConfigs];

    /// What to ask the API for.
    pub(super) fn watched(&self) -> Watched {
        let fleet = Scope::Fleet;
        let secrets = |namespace: &str, fields: String| Watched {
            namespace: Some(namespace.to_owned()),
            fields: Some(fields),
            ..Watched::of::<Secret>(Scope::Fleet, ObjectKind::Secret)
        };
        match self {
            Key::MseIngressConfigs => {
                Watched::of::<MseIngressConfig>(fleet, ObjectKind::MseIngressConfig)
            }
            Key::AlbConfigs => Watched::of::<AlbConfig>(fleet, ObjectKind::AlbConfig),
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
    pub(super) findings: Vec<Diag>,
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

    /// Whether the kind is one of gateways that this fleet was never seen to have, while it has
    /// another. Then it is not waited for, and nothing is wrong: its objects cannot exist. Of a kind
    /// that was listed once they may (faults.md B5), and without any kind of gateways nothing is
    /// installed yet.
    fn is_not_installed(&self, key: &Key, row: &Row) -> bool {
        let has_another = || {
            let mut others = Key::GATEWAYS.iter().filter(|other| *other != key);
            others.any(|other| self.rows.get(other).is_some_and(|own| own.is_listed))
        };
        row.is_unserved() && Key::GATEWAYS.contains(key) && has_another()
    }

    /// How far the first reading has come, if that is news.
    fn progress(&mut self) -> Vec<Change> {
        let is_done = |(key, row): (&Key, &Row)| {
            let may_lack = row.may_lack(key) || self.is_not_installed(key, row);
            row.is_listed || may_lack && row.failures >= REFUSALS_THAT_COUNT
        };
        let is_read = self.rows.iter().all(is_done);
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
        let wrong = self.rows.iter().filter(|(key, row)| !self.is_not_installed(key, row));
        let mut wrong = wrong.filter_map(|(key, row)| Some((key, row, row.trouble()?)));
        let missing = self.rows.iter().filter_map(|(key, row)| self.missing_kind(key, row));
        let findings: Vec<_> = missing.collect();
        let health = match wrong.next() {
            Some((key, row, trouble)) => {
                Health::Stale { reason: trouble.reason(), message: explain(key, row, trouble) }
            }
            None if self.is_synced => Health::Live,
            None => Health::Syncing,
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

    /// A kind that the fleet does not have, said on its definition.
    fn missing_kind(&self, key: &Key, row: &Row) -> Option<Diag> {
        let trouble = row.trouble().filter(|own| own.fault == Fault::KindUnavailable)?;
        let resource = key.watched().resource;
        let name = ObjectName::cluster_scoped(&format!("{}.{}", resource.plural, resource.group));
        let at = Field::of(&ObjectRef::fleet(ObjectKind::CustomResourceDefinition, name));
        let message = explain(key, row, trouble);
        Some(match self.is_not_installed(key, row) {
            true => Diag::warning(&at, Reason::KindUnavailable, message),
            false => Diag::error(&at, Reason::KindUnavailable, message),
        })
    }
}

impl Row {
    fn new(key: &Key) -> Row {
        Row { mirror: Mirror::new(&key.watched()), is_listed: false, failures: 0, trouble: None }
    }

    fn hear(&mut self, news: News) -> Vec<Change> {
        if let News::Failed(trouble) = news {
            // A kind that is not installed fails without end, which says nothing about a server that
            // does not answer once.
            let is_another = self.is_unserved() && trouble.fault != Fault::KindUnavailable;
            self.failures = if is_another { 1 } else { self.failures.saturating_add(1) };
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

    /// Secrets that are refused to us are not waited for: one namespace must not keep all the others
    /// from being served (faults.md, Principles P3).
    fn may_lack(&self, key: &Key) -> bool {
        let is_refused = self.trouble.as_ref().is_some_and(|own| own.fault.is_refusal());
        match key {
            Key::TlsSecrets(_) | Key::Secret(_) => is_refused,
            Key::MseIngressConfigs | Key::AlbConfigs | Key::Classes | Key::Ingresses => false,
        }
    }

    /// Whether the server does not have the kind, and was never seen to have it.
    fn is_unserved(&self) -> bool {
        let trouble = self.trouble.as_ref();
        !self.is_listed && trouble.is_some_and(|own| own.fault == Fault::KindUnavailable)
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
    if trouble.fault != Fault::KindUnavailable || !Key::GATEWAYS.contains(key) {
        return trouble.message.clone();
    }
    let kind = key.watched().kind;
    match row.is_listed {
        false => format!(
            "the CRD of {kind} is not installed: run `convoy crds | kubectl apply -f -`; it is used \
             as soon as it is there"
        ),
        true => format!(
            "the CRD of {kind} was removed: run `convoy crds | kubectl apply -f -` and apply the \
             gateways again; what Envoys have stays"
        ),
    }
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
