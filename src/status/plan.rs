//! When to write: a keyed queue, a limit on the rate, and patience after failures.
//!
//! Owns the order and the time of writes. An entry is a key and no more: what to write is worked
//! out when its turn comes, so the newest state wins and the queue is bounded by the objects
//! there are. Must not know what is written, nor any clock. Cost: logarithmic per entry.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::{Duration, Instant},
};

use crate::{
    diag::Reason,
    key::{GatewayId, ObjectName, ObjectRef},
};

/// What a write is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// The status of a gateway.
    Gateway(GatewayId),
    /// The status of an Ingress.
    Ingress(ObjectName),
    /// The status of a `MemberCluster`.
    Member(ObjectName),
    /// An Event that says a reason about an object.
    Event(ObjectRef, Reason),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Gateway(id) => write!(f, "status of gateway {id}"),
            Key::Ingress(name) => write!(f, "status of Ingress {name}"),
            Key::Member(name) => write!(f, "status of MemberCluster {name}"),
            Key::Event(object, reason) => write!(f, "Event {reason} about {object}"),
        }
    }
}

/// How fast, and how patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// At most one request in this time, on average.
    pub(super) interval: Duration,
    /// Requests that may be made at once after a pause.
    pub(super) burst: u32,
    /// Delay after the first failure of a key; it doubles with each further one.
    pub(super) first_retry: Duration,
    /// The longest delay after a failure.
    pub(super) last_retry: Duration,
    /// Events about one object with one reason are at least this far apart.
    pub(super) event_window: Duration,
    /// Events that may wait. Statuses are bounded by the objects there are.
    pub(super) max_events: usize,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It is this key's turn.
    Write(Key),
    /// Nothing until then.
    Wait(Instant),
    /// Nothing to do.
    Idle,
}

/// The keys that may need a write, by when.
#[derive(Debug)]
pub(super) struct Queue {
    pace: Pace,
    due: BTreeSet<(Instant, Key)>,
    waiting: BTreeMap<Key, Instant>,
    failures: BTreeMap<Key, u32>,
    /// When each Event was last written; forgotten after the window.
    written: BTreeMap<Key, Instant>,
    events: usize,
    /// When the allowance is full again.
    full_at: Option<Instant>,
    dropped: u64,
}

impl Queue {
    /// An empty queue.
    pub(super) fn new(pace: Pace) -> Queue {
        Queue {
            pace,
            due: BTreeSet::new(),
            waiting: BTreeMap::new(),
            failures: BTreeMap::new(),
            written: BTreeMap::new(),
            events: 0,
            full_at: None,
            dropped: 0,
        }
    }

    /// Something about the key may need a write. A key that waits after a failure goes on waiting.
    pub(super) fn touch(&mut self, key: Key, now: Instant) {
        if self.waiting.contains_key(&key) {
            return;
        }
        let is_event = matches!(key, Key::Event(..));
        if is_event && self.events >= self.pace.max_events {
            self.dropped += 1;
            return;
        }
        let window = self.written.get(&key).map(|last| *last + self.pace.event_window);
        self.put(key, window.map_or(now, |open| open.max(now)));
    }

    /// The next key, if its time has come and the rate allows a request. The key leaves the queue.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        let Some((at, key)) = self.due.first().cloned() else { return Next::Idle };
        let at = at.max(self.allowed_at(now));
        if at > now {
            return Next::Wait(at);
        }
        self.take(&key);
        Next::Write(key)
    }

    /// A request is about to be made: it uses up some of the allowance.
    pub(super) fn spend(&mut self, now: Instant) {
        self.full_at = Some(self.full_at.map_or(now, |full| full.max(now)) + self.pace.interval);
    }

    /// The key needs nothing any more.
    pub(super) fn done(&mut self, key: &Key) {
        self.failures.remove(key);
    }

    /// An Event was written: the next one like it waits.
    pub(super) fn event_written(&mut self, key: Key, now: Instant) {
        let window = self.pace.event_window;
        self.written.retain(|_, last| *last + window > now);
        self.failures.remove(&key);
        self.written.insert(key, now);
    }

    /// The write failed: the key waits, longer each time, and at least as long as it was told to.
    /// How often it failed in a row.
    pub(super) fn retry(&mut self, key: Key, told: Duration, now: Instant) -> u32 {
        let failures = self.failures.entry(key.clone()).or_default();
        *failures += 1;
        let failures = *failures;
        let doubled = self.pace.first_retry.saturating_mul(1 << (failures - 1).min(16));
        let delay = doubled.min(self.pace.last_retry).mul_f64(jitter(&key, failures));
        self.put(key, now + delay.max(told));
        failures
    }

    /// Forgets everything that waits: somebody else writes now.
    pub(super) fn clear(&mut self) {
        *self = Queue { dropped: self.dropped, full_at: self.full_at, ..Queue::new(self.pace) };
    }

    /// How many keys wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Events that found no room.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    fn put(&mut self, key: Key, at: Instant) {
        self.events += usize::from(matches!(key, Key::Event(..)));
        self.due.insert((at, key.clone()));
        self.waiting.insert(key, at);
    }

    fn take(&mut self, key: &Key) {
        if let Some(at) = self.waiting.remove(key) {
            self.due.remove(&(at, key.clone()));
            self.events -= usize::from(matches!(key, Key::Event(..)));
        }
    }

    /// When the rate allows the next request.
    fn allowed_at(&self, now: Instant) -> Instant {
        let saved = self.pace.interval * self.pace.burst.saturating_sub(1);
        self.full_at.and_then(|full| full.checked_sub(saved)).map_or(now, |at| at.max(now))
    }
}

/// From 0.5 to 1.5. Drawn from what is retried and how often, so that keys that failed together
/// are not retried together, and a test sees the same each time.
fn jitter(key: &Key, failures: u32) -> f64 {
    let hash = xxhash_rust::xxh3::xxh3_64(format!("{key} {failures}").as_bytes());
    0.5 + (hash % 1000) as f64 / 1000.0
}

#[cfg(test)]
mod tests;
