//! What one Ingress contributes, by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    diag::Field,
    ingress::{
        annotation::{Canary, Policy},
        listens::Listens,
    },
    key::ObjectName,
    model::{Answer, Arm, Condition, Filters, Host, PathMatch, Redirect, Rewrite, Target},
};

/// One Ingress, judged without looking at any other object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressRow {
    /// Namespace and name.
    pub name: ObjectName,
    /// Seconds since 1970; the oldest wins conflicts.
    pub created: i64,
    /// Where it stands among the others of its hosts.
    pub order: Order,
    /// Main or canary.
    pub role: Role,
    /// It asks for a protection that is not served: its paths answer 403 (faults.md F15).
    pub is_denied: bool,
    /// How its routes behave.
    pub policy: Policy,
    /// On which listeners of its gateway it is.
    pub listens: Listens,
    /// Its rules by host, in the order written. A host may have none.
    pub rules: BTreeMap<Host, Vec<PathRule>>,
    /// Where unmatched requests go; the path is [`PathMatch::Any`]. Never in a canary.
    pub default_backend: Option<PathRule>,
    /// Certificates, in the order written. Never in a canary.
    pub tls: Vec<TlsEntry>,
}

/// What an Ingress is to others with the same rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// It owns its rules.
    Main,
    /// It takes traffic from the main rule of the same host and path.
    Canary(Canary),
}

/// Where an Ingress stands among the others of its hosts (semantics.md 2.4, 4.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Behind those that are older. Rules are in Kubernetes' order, whoever has them.
    Age,
    /// Behind those with smaller numbers, and so are its rules, whatever their paths.
    Number {
        /// The number.
        number: u16,
        /// Whether the author chose it.
        is_written: bool,
    },
}

impl Order {
    /// The number; the same for all that have none.
    pub(super) fn number(self) -> u16 {
        match self {
            Order::Age => 0,
            Order::Number { number, is_written: _ } => number,
        }
    }
}

/// One path of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathRule {
    /// The path's element in the object.
    pub at: Field,
    /// The match.
    pub path: PathMatch,
    /// Among paths of one kind the longer goes first.
    pub length: usize,
    /// Which of its requests: those that meet all conditions of one of these. Never empty; with
    /// the path it is the rule's key.
    pub when: Vec<Vec<Condition>>,
    /// What happens to them.
    pub does: Does,
    /// What the backend sees as the path, if not the path.
    pub rewrite: Option<Rewrite>,
    /// What is done on the way.
    pub filters: Filters,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Does {
    /// Forwards: to a complete target in a main Ingress, without what is inherited in a canary.
    Forward(Arc<Target>),
    /// Forwards in shares that no canary changes; never empty.
    Split(Vec<Arm>),
    /// Sends the client elsewhere.
    Redirect(Redirect),
    /// Answers.
    Answer(Answer),
    /// 403: what it is to do cannot be read, and it may protect (faults.md F15).
    Deny,
}

impl PathRule {
    /// Whether it is for every request of its path.
    pub(super) fn is_unconditional(&self) -> bool {
        self.when.iter().any(Vec::is_empty)
    }

    /// Where it leads, if that is one place.
    pub(super) fn target(&self) -> Option<&Arc<Target>> {
        match &self.does {
            Does::Forward(target) => Some(target),
            Does::Split(_) | Does::Redirect(_) | Does::Answer(_) | Does::Deny => None,
        }
    }
}

/// One usable entry of `spec.tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsEntry {
    /// The entry's element in the object.
    pub at: Field,
    /// What it is for.
    pub scope: TlsScope,
    /// The Secret, in the Ingress's namespace.
    pub secret: ObjectName,
}

/// What a TLS entry is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsScope {
    /// No hosts: the rule hosts without an entry of their own, and clients that name none.
    Default,
    /// These hosts, if they are rule hosts.
    Hosts(BTreeSet<Host>),
}

impl IngressRow {
    /// The hosts it contributes to: those of its rules, and any host for a default backend.
    pub fn hosts(&self) -> BTreeSet<Host> {
        let fallback = self.default_backend.as_ref().map(|_| Host::Any);
        self.rules.keys().cloned().chain(fallback).collect()
    }

    /// Whether it contributes to the host.
    pub(super) fn has_host(&self, host: &Host) -> bool {
        self.rules.contains_key(host) || (*host == Host::Any && self.default_backend.is_some())
    }

    /// By number, or else oldest first; then by namespace and name (semantics.md 2.4, 4.7).
    pub(super) fn precedence(&self) -> (u16, i64, &ObjectName) {
        match self.order {
            Order::Age => (0, self.created, &self.name),
            Order::Number { number, is_written: _ } => (number, 0, &self.name),
        }
    }
}
