//! When to look at an object: a limit on the rate of requests, and patience after failures.
//!
//! Owns the order and the time. An entry is a key and no more: what to do is worked out when its turn
//! comes. Must not know what is done, nor any clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::{infra::Kind, key::GatewayId, settings::InfraTimings};

/// Requests that may be made at once after a pause: a gateway is made without being held up.
const BURST: u32 = 10;

/// An object of a gateway. Objects of a gateway are made in the order of kinds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) gateway: GatewayId,
    pub(super) kind: Kind,
}

/// The keys that are to be looked at, by when.
#[derive(Debug)]
pub(super) struct Queue {
    timings: InfraTimings,
    due: BTreeSet<(Instant, Key)>,
    waiting: BTreeMap<Key, Instant>,
    failures: BTreeMap<Key, u32>,
    /// When the allowance is full again.
    full_at: Option<Instant>,
}

impl Queue {
    pub(super) fn new(timings: InfraTimings) -> Queue {
        Queue {
            timings,
            due: BTreeSet::new(),
            waiting: BTreeMap::new(),
            failures: BTreeMap::new(),
            full_at: None,
        }
    }

    /// Something about the key may be new. One that waits after a failure goes on waiting.
    pub(super) fn touch(&mut self, key: Key, now: Instant) {
        if !self.waiting.contains_key(&key) {
            self.put(key, now);
        }
    }

    /// The next key, which leaves the queue, or when there may be one.
    pub(super) fn next(&mut self, now: Instant) -> Result<Key, Option<Instant>> {
        let Some((at, _)) = self.due.first() else { return Err(None) };
        let at = (*at).max(self.allowed_at(now));
        match self.due.pop_first() {
            Some((_, key)) if at <= now => {
                self.waiting.remove(&key);
                Ok(key)
            }
            Some(early) => {
                self.due.insert(early);
                Err(Some(at))
            }
            None => Err(None),
        }
    }

    /// A request is about to be made: it uses up some of the allowance.
    pub(super) fn spend(&mut self, now: Instant) {
        let full_at = self.full_at.map_or(now, |full| full.max(now));
        self.full_at = Some(full_at + self.timings.write_interval);
    }

    /// The key needs nothing any more.
    pub(super) fn done(&mut self, key: &Key) {
        self.failures.remove(key);
    }

    /// It failed: it waits, longer each time, and at least as long as it was told to. How often it
    /// failed in a row.
    pub(super) fn retry(&mut self, key: Key, told: Duration, now: Instant) -> u32 {
        let InfraTimings { first_retry, last_retry, .. } = self.timings;
        let failures = self.failures.entry(key.clone()).or_default();
        *failures += 1;
        let failures = *failures;
        let delay = first_retry.saturating_mul(1 << (failures - 1).min(16)).min(last_retry);
        self.put(key, now + delay.max(told));
        failures
    }

    /// Whether the key waits for its turn.
    pub(super) fn waits(&self, key: &Key) -> bool {
        self.waiting.contains_key(key)
    }

    /// Forgets everything that waits.
    pub(super) fn clear(&mut self) {
        *self = Queue { full_at: self.full_at, ..Queue::new(self.timings) };
    }

    fn put(&mut self, key: Key, at: Instant) {
        self.due.insert((at, key.clone()));
        self.waiting.insert(key, at);
    }

    /// When the rate allows the next request.
    fn allowed_at(&self, now: Instant) -> Instant {
        let saved = self.timings.write_interval * (BURST - 1);
        self.full_at.and_then(|full| full.checked_sub(saved)).map_or(now, |at| at.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(kind: Kind) -> Key {
        Key { gateway: GatewayId::mse("gw"), kind }
    }

    #[test]
    fn keys_come_in_the_order_of_kinds_and_once() {
        let now = Instant::now();
        let mut queue = Queue::new(InfraTimings::PRODUCTION);
        for kind in [Kind::Service, Kind::ServiceAccount, Kind::Service, Kind::Deployment] {
            queue.touch(key(kind), now);
        }
        for kind in [Kind::ServiceAccount, Kind::Deployment, Kind::Service] {
            assert_eq!(queue.next(now), Ok(key(kind)));
        }
        assert_eq!(queue.next(now), Err(None));
    }

    #[test]
    fn a_failure_waits_longer_each_time_and_others_do_not() {
        let now = Instant::now();
        let mut queue = Queue::new(InfraTimings::PRODUCTION);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            queue.retry(key(Kind::Secret), Duration::ZERO, now);
            queue.touch(key(Kind::Secret), now);
            queue.touch(key(Kind::Service), now);
            assert_eq!(queue.next(now), Ok(key(Kind::Service)));
            let due = now + seconds * SECOND;
            assert_eq!(queue.next(now), Err(Some(due)));
            assert_eq!(queue.next(due), Ok(key(Kind::Secret)));
        }
        queue.done(&key(Kind::Secret));
        assert_eq!(queue.retry(key(Kind::Secret), 90 * SECOND, now), 1);
        assert_eq!(queue.next(now), Err(Some(now + 90 * SECOND)));
    }

    #[test]
    fn requests_are_ten_a_second_and_ten_more_at_once() {
        let start = Instant::now();
        let mut queue = Queue::new(InfraTimings::PRODUCTION);
        let (mut now, mut spent) = (start, 0);
        while now < start + 10 * SECOND {
            queue.touch(key(Kind::Service), now);
            match queue.next(now) {
                Ok(_) => {
                    queue.spend(now);
                    spent += 1;
                }
                Err(at) => now = at.unwrap(),
            }
        }
        assert_eq!(spent, 109);
    }
}
