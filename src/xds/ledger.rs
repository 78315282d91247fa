//! What one stream holds of one type, as far as the server knows.
//!
//! Owns the versions that were sent and how each was answered. A version is recorded when it is
//! sent, not when it is acknowledged, so a refused one is never sent again (xds.md 3.4). Must not
//! know views. Cost: logarithmic per name; the counts are kept, never counted.

use std::{collections::BTreeMap, sync::Arc};

use crate::snapshot::Version;

/// How a version came to be in the ledger, or was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The client said that it holds it.
    Claimed,
    /// Sent, not answered.
    Awaited,
    /// Sent and accepted.
    Acknowledged,
    /// Sent and refused, alone or with others.
    Refused,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// `None` is a version that was never ours.
    version: Option<Version>,
    standing: Standing,
}

/// The ledger.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: BTreeMap<Arc<str>, Entry>,
    /// Entries that are neither awaited nor refused.
    settled: usize,
}

impl Ledger {
    /// Whether the client holds this name, or was sent it.
    pub(crate) fn holds(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Whether the client holds this name at this version, or was sent it.
    pub(crate) fn is_at(&self, name: &str, version: Version) -> bool {
        self.entries.get(name).is_some_and(|entry| entry.version == Some(version))
    }

    /// How it stands with a name.
    pub(crate) fn standing(&self, name: &str) -> Option<Standing> {
        self.entries.get(name).map(|entry| entry.standing)
    }

    /// What the client said that it holds and was not sent again, with what it said.
    pub(crate) fn claims(&self) -> impl Iterator<Item = (&Arc<str>, Option<Version>)> {
        let claimed = |entry: &Entry| entry.standing == Standing::Claimed;
        let claims = self.entries.iter().filter(move |(_, entry)| claimed(entry));
        claims.map(|(name, entry)| (name, entry.version))
    }

    /// The names, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.entries.keys()
    }

    /// How many names there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many names the client is known to hold at the version last sent.
    pub(crate) fn settled(&self) -> usize {
        self.settled
    }

    /// Whether nothing that was sent is refused or unanswered.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled == self.entries.len()
    }

    /// Whether the client holds this name at this version for certain.
    pub(crate) fn has_accepted(&self, name: &str, version: Version) -> bool {
        let accepted = |entry: &Entry| settled(entry.standing) == 1;
        self.is_at(name, version) && self.entries.get(name).is_some_and(accepted)
    }

    /// Records a version.
    pub(crate) fn record(&mut self, name: Arc<str>, version: Option<Version>, standing: Standing) {
        let old = self.entries.insert(name, Entry { version, standing });
        self.settled -= old.map_or(0, |old| settled(old.standing));
        self.settled += settled(standing);
    }

    /// The client's claim no longer counts as an answer: the name must be sent.
    pub(crate) fn disbelieve(&mut self, name: &str) {
        if let Some(entry) = self.entries.get_mut(name)
            && entry.standing == Standing::Claimed
        {
            entry.standing = Standing::Acknowledged;
        }
    }

    /// Records the answer to a version, unless a newer one was sent since.
    pub(crate) fn answer(&mut self, name: &str, version: Version, standing: Standing) {
        if let Some(entry) = self.entries.get_mut(name)
            && entry.version == Some(version)
        {
            self.settled -= settled(entry.standing);
            self.settled += settled(standing);
            entry.standing = standing;
        }
    }

    /// The client does not hold this name any more.
    pub(crate) fn forget(&mut self, name: &str) {
        let old = self.entries.remove(name);
        self.settled -= old.map_or(0, |old| settled(old.standing));
    }

    /// The client holds only the names for which `keep` is true.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.entries.retain(|name, _| keep(name));
        self.settled = self.entries.values().map(|entry| settled(entry.standing)).sum();
    }

    /// Names that were refused, in order.
    pub(crate) fn refused(&self) -> impl Iterator<Item = &Arc<str>> {
        let refused = |entry: &Entry| entry.standing == Standing::Refused;
        self.entries.iter().filter(move |(_, entry)| refused(entry)).map(|(name, _)| name)
    }
}

fn settled(standing: Standing) -> usize {
    match standing {
        Standing::Claimed | Standing::Acknowledged => 1,
        Standing::Awaited | Standing::Refused => 0,
    }
}
