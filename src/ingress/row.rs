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
    model::{Host, PathMatch, Target},
};

/// One Ingress, judged without looking at any other object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressRow {
    /// Namespace and name.
    pub name: ObjectName,
    /// Seconds since 1970; the oldest wins conflicts.
    pub created: i64,
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

/// One path of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathRule {
    /// The path's element in the object.
    pub at: Field,
    /// The match, which is also the rule's key within its host.
    pub path: PathMatch,
    /// Among paths of one kind the longer goes first.
    pub length: usize,
    /// Where it leads: complete in a main Ingress, without what is inherited in a canary.
    pub target: Arc<Target>,
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

    /// Oldest first, then by namespace and name (semantics.md 4.7).
    pub(super) fn age(&self) -> (i64, &ObjectName) {
        (self.created, &self.name)
    }
}
