//! What has gone to and fro between Convoy and each API server.
//!
//! Owns the counters and the time of the last contact. Counted where it is done, read by a scrape
//! and by whoever writes status.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use crate::key::Scope;

/// Every API server that was ever asked something.
#[derive(Clone, Debug, Default)]
pub struct SourceMeter(Arc<Mutex<BTreeMap<Scope, Traffic>>>);

/// One API server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// When it last gave an answer that is no error: a page, an event, a probe.
    pub last_contact: Option<SystemTime>,
    /// Complete lists, since the start.
    pub lists: u64,
    /// Watches opened, since the start.
    pub watches: u64,
    /// Requests that failed, by reason, since the start.
    pub failures: BTreeMap<&'static str, u64>,
}

impl Traffic {
    /// Since the last contact; zero if the clock was set back meanwhile.
    pub fn contact_age(&self) -> Option<Duration> {
        Some(self.last_contact?.elapsed().unwrap_or_default())
    }
}

impl SourceMeter {
    /// All that was counted so far.
    pub fn read(&self) -> BTreeMap<Scope, Traffic> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One that has counted this.
    #[cfg(test)]
    pub(crate) fn counted(all: impl IntoIterator<Item = (Scope, Traffic)>) -> SourceMeter {
        SourceMeter(Arc::new(Mutex::new(all.into_iter().collect())))
    }

    /// The meter of one API server.
    pub(super) fn of(&self, scope: Scope) -> ScopeMeter {
        ScopeMeter { all: self.clone(), scope }
    }
}

/// The meter of one API server.
#[derive(Clone, Debug)]
pub(super) struct ScopeMeter {
    all: SourceMeter,
    scope: Scope,
}

impl ScopeMeter {
    pub(super) fn contact(&self) {
        self.count(|traffic| traffic.last_contact = Some(SystemTime::now()));
    }

    pub(super) fn list(&self) {
        self.count(|traffic| traffic.lists += 1);
    }

    pub(super) fn watch(&self) {
        self.count(|traffic| traffic.watches += 1);
    }

    pub(super) fn failure(&self, reason: &'static str) {
        self.count(|traffic| *traffic.failures.entry(reason).or_default() += 1);
    }

    fn count(&self, count: impl FnOnce(&mut Traffic)) {
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        count(all.entry(self.scope.clone()).or_default());
    }
}
