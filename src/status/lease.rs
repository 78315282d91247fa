//! Who writes status: one holder at a time, by a lease (faults.md C4, C5).
//!
//! Owns the rules of taking, keeping and losing it, and what replicas tell each other through it.
//! Must not know requests. Another's lease runs out when it has not been renewed for its length
//! *as seen from here*: clocks of two machines are never compared. There is no fencing, so two
//! holders are possible for a moment; what they write is idempotent.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use k8s_openapi::jiff::Timestamp;

/// The lease as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Empty when it was given back.
    pub(super) holder: String,
    /// How long the others wait after a renewal.
    pub(super) duration: Duration,
    /// By the clock of the holder: for people, and to see that it changed.
    pub(super) renewed: Option<Timestamp>,
    /// By the clock of the holder.
    pub(super) acquired: Option<Timestamp>,
    /// How often the holder changed.
    pub(super) transitions: i32,
    /// Gateways of which an Envoy of some replica has acknowledged its configuration: an Envoy
    /// talks to one replica only, and that need not be the holder.
    pub(super) acknowledged: BTreeSet<String>,
}

/// What this replica knows and the holder should.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Knowledge {
    /// Gateways of which an Envoy has acknowledged its configuration here.
    pub(super) acknowledged: BTreeSet<String>,
    /// Every gateway there is; `None` before the fleet has been read.
    pub(super) declared: Option<BTreeSet<String>>,
}

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// How long others wait after our last renewal.
    pub(super) duration: Duration,
    /// How long we write after our last renewal. Shorter than `duration`, so that we stop before
    /// anybody else begins, although clocks run at slightly different rates.
    pub(super) renew_deadline: Duration,
}

/// One replica's part in the election.
#[derive(Debug)]
pub(super) struct Election {
    identity: String,
    terms: Terms,
    /// The newest renewal that was seen, and when.
    seen: Option<(Renewal, Instant)>,
    held_until: Option<Instant>,
    term: u64,
}

/// What differs after a renewal.
type Renewal = (String, Option<Timestamp>, i32);

impl Election {
    /// A replica that holds nothing. No two replicas may have the same identity.
    pub(super) fn new(identity: String, terms: Terms) -> Election {
        Election { identity, terms, seen: None, held_until: None, term: 0 }
    }

    /// Looks at the stored lease, `None` if there is none; what to store in its place, if
    /// anything. `wall` is only written down.
    pub(super) fn step(
        &mut self,
        stored: Option<&Record>,
        own: &Knowledge,
        now: Instant,
        wall: Timestamp,
    ) -> Option<Record> {
        let nobody = Record::default();
        let stored = match stored {
            Some(stored) => stored,
            None => &nobody,
        };
        let acknowledged = &stored.acknowledged | &own.acknowledged;
        if stored.holder == self.identity {
            return Some(Record { acknowledged, ..self.mine(stored, wall) }.pruned(own));
        }
        self.held_until = None;
        if stored.holder.is_empty() || self.has_expired(stored, now) {
            let taken = Record {
                acquired: Some(wall),
                transitions: stored.transitions + 1,
                acknowledged,
                ..self.mine(stored, wall)
            };
            return Some(taken.pruned(own));
        }
        let is_news = acknowledged != stored.acknowledged;
        is_news.then(|| Record { acknowledged, ..stored.clone() })
    }

    /// What [`Election::step`] said was stored. `asked` is when it was decided, which is before
    /// anybody could see it.
    pub(super) fn stored(&mut self, record: &Record, asked: Instant) {
        if record.holder != self.identity {
            return;
        }
        if self.held_until.is_none_or(|until| until <= asked) {
            self.term += 1;
        }
        self.held_until = Some(asked + self.terms.renew_deadline);
    }

    /// Until when this replica may write, unless it renews; `None` if it may not.
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.held_until
    }

    /// Which tenure it is. What was known of the fleet's statuses ends with one, because somebody
    /// else may have written since.
    pub(super) fn term(&self) -> u64 {
        self.term
    }

    /// The lease given back, so that nobody has to wait for it to run out.
    pub(super) fn release(&mut self, stored: &Record) -> Option<Record> {
        self.held_until = None;
        let is_mine = stored.holder == self.identity;
        is_mine.then(|| Record { holder: String::new(), ..stored.clone() })
    }

    fn mine(&self, stored: &Record, wall: Timestamp) -> Record {
        Record {
            holder: self.identity.clone(),
            duration: self.terms.duration,
            renewed: Some(wall),
            ..stored.clone()
        }
    }

    fn has_expired(&mut self, stored: &Record, now: Instant) -> bool {
        let renewal = (stored.holder.clone(), stored.renewed, stored.transitions);
        match &self.seen {
            Some((seen, at)) if *seen == renewal => now >= *at + stored.duration,
            Some(_) | None => {
                self.seen = Some((renewal, now));
                false
            }
        }
    }
}

impl Record {
    /// Without gateways that are gone.
    fn pruned(mut self, own: &Knowledge) -> Record {
        if let Some(declared) = &own.declared {
            self.acknowledged.retain(|id| declared.contains(id));
        }
        self
    }
}

#[cfg(test)]
mod tests;
