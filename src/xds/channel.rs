//! One type on one stream: what is subscribed, held and owed, and the response in flight.
//!
//! Owns the bookkeeping of xds.md 3.4 and what the two protocol variants share of it. Must not
//! know gates, other types or clocks. Cost: linear in what is owed.

use std::{
    collections::BTreeSet,
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    snapshot::{GatewayView, Kind, Resource, Version},
    xds::{
        ledger::{Ledger, Standing},
        subscription::{Effect, Subscription, WildcardChange},
    },
};

/// How much one response may carry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub resources: usize,
    pub bytes: usize,
}

impl Budget {
    /// Small enough that a slow reader pins little, large enough that framing does not count
    /// (xds.md 3.13, 3.17).
    const NORMAL: Budget = Budget { resources: 1_000, bytes: 4 << 20 };
    /// After a refusal: the culprit shows itself, and takes nothing with it (xds.md 3.4).
    const SUSPECT: Budget = Budget { resources: 1, bytes: usize::MAX };
    /// Where a part of the state would mean the removal of the rest.
    pub(crate) const UNLIMITED: Budget = Budget { resources: usize::MAX, bytes: usize::MAX };
}

/// A response that is not answered yet.
#[derive(Debug)]
struct Flight {
    nonce: u64,
    since: Instant,
    /// What the answer is about.
    names: Vec<(Arc<str>, Version)>,
    /// The revision that the client has reached when it accepts this.
    completes: Option<u64>,
    /// When the first change came to the engine that this is the last response about.
    event: Option<Instant>,
    /// It was not answered in time and blocks no longer.
    overdue: bool,
}

/// What a response will carry.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// What goes on the wire.
    pub resources: Vec<Arc<Resource>>,
    /// Those of them that the client does not hold yet, or must hear again.
    pub fresh: Vec<Arc<Resource>>,
    /// Names that do not exist.
    pub removed: Vec<Arc<str>>,
}

/// What is owed, of one view.
#[derive(Debug, Default)]
pub(crate) struct Due {
    pub upserts: Vec<Arc<Resource>>,
    pub missing: Vec<Arc<str>>,
}

impl Due {
    pub(crate) fn is_empty(&self) -> bool {
        self.upserts.is_empty() && self.missing.is_empty()
    }
}

/// The answer to a response.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What it was about.
    pub names: Vec<Arc<str>>,
    /// Set if it was refused.
    pub error: Option<String>,
    /// Set if the client now has all of what changed: when the first of it came to the engine.
    pub event: Option<Instant>,
}

/// One type on one stream.
#[derive(Debug)]
pub(crate) struct Channel {
    pub kind: Kind,
    pub subscription: Subscription,
    pub ledger: Ledger,
    /// Visible names that may differ from what the client holds.
    dirty: BTreeSet<Arc<str>>,
    /// Visible names that must be answered even if they do not differ.
    forced: BTreeSet<Arc<str>>,
    /// Names to force as soon as they are subscribed.
    owed: BTreeSet<Arc<str>>,
    /// Names of which the client keeps what it came with; they are in none of the sets above.
    withheld: BTreeSet<Arc<str>>,
    /// What the client came with, and nobody knows what that is (SotW): it keeps all of it.
    pub frozen: bool,
    /// Everything visible must be compared with the view.
    unread: bool,
    /// The views whose routes are in use or next, and the one that the client's newest clusters
    /// are from. What they need is answered from them where the newest view lacks it: their
    /// clusters are still there, and would stay empty.
    pub needed: Vec<Arc<GatewayView>>,
    /// An answer is due even if it is empty: the first of a wildcard (xds.md 3.1).
    pub must_answer: bool,
    /// The version of a state-of-the-world client that reconnects.
    pub resume: Option<String>,
    /// The client came with versions that were not looked at yet (delta).
    pub has_claims: bool,
    flight: Option<Flight>,
    /// When the first change came to the engine that nothing was sent about yet.
    event: Option<Instant>,
    /// The last response was refused.
    suspect: bool,
    /// The revision up to which the client has accepted all of this type.
    pub completed: Option<u64>,
    /// Responses that were refused.
    pub refusals: u64,
    /// What was said about the last refusal; empty after a later acceptance.
    pub last_error: String,
}

impl Channel {
    /// A type that nobody has asked for.
    pub(crate) fn new(kind: Kind) -> Channel {
        Channel {
            kind,
            subscription: Subscription::new(kind),
            ledger: Ledger::default(),
            dirty: BTreeSet::new(),
            forced: BTreeSet::new(),
            owed: BTreeSet::new(),
            withheld: BTreeSet::new(),
            frozen: false,
            unread: false,
            needed: Vec::new(),
            must_answer: false,
            resume: None,
            has_claims: false,
            flight: None,
            event: None,
            suspect: false,
            completed: None,
            refusals: 0,
            last_error: String::new(),
        }
    }

    /// Whether any request has come.
    pub(crate) fn is_open(&self) -> bool {
        self.subscription.is_open()
    }

    /// Whether a response is in flight that blocks the next one.
    pub(crate) fn is_blocked(&self) -> bool {
        self.flight.as_ref().is_some_and(|flight| !flight.overdue)
    }

    /// Whether nothing is refused or unanswered.
    pub(crate) fn is_quiet(&self) -> bool {
        self.flight.is_none() && self.ledger.is_settled()
    }

    /// Whether this is the nonce of the response in flight.
    pub(crate) fn awaits(&self, nonce: u64) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.nonce == nonce)
    }

    /// Applies what a request changed in the subscription.
    pub(crate) fn apply(&mut self, effect: Effect) {
        for name in effect.dropped {
            if self.subscription.sees(&name) {
                // xds: 3.2, the wildcard still covers it, so the client must learn what it is.
                self.ledger.disbelieve(&name);
                self.forced.insert(name);
            } else {
                self.forget(&name);
            }
        }
        for name in effect.asked {
            // xds: 3.9, only a first request names what the client holds for certain.
            if self.owed.remove(&name) || !effect.first {
                self.ledger.disbelieve(&name);
            }
            // A client that asks again may hold nothing any more.
            self.withheld.remove(&name);
            self.forced.insert(name);
        }
        match effect.wildcard {
            Some(WildcardChange::Gained) => {
                self.unread = true;
                self.must_answer = true;
            }
            Some(WildcardChange::Lost) => {
                let subscription = &self.subscription;
                self.ledger.retain(|name| subscription.sees(name));
                for names in [&mut self.dirty, &mut self.forced, &mut self.withheld] {
                    names.retain(|name| subscription.sees(name));
                }
            }
            None => {}
        }
    }

    fn forget(&mut self, name: &str) {
        self.ledger.forget(name);
        self.dirty.remove(name);
        self.forced.remove(name);
        self.withheld.remove(name);
    }

    /// The view changed this name; `event` is when that came to the engine.
    pub(crate) fn touch(&mut self, name: &Arc<str>, event: Option<Instant>) {
        if self.is_open() && self.subscription.sees(name) && !self.withheld.contains(name) {
            self.dirty.insert(name.clone());
            self.event = self.event.or(event);
        }
    }

    /// What changed needs no response.
    pub(crate) fn forget_event(&mut self) {
        self.event = None;
    }

    /// The client keeps what it has of these names until `serve_all`.
    pub(crate) fn withhold(&mut self, names: impl IntoIterator<Item = Arc<str>>) {
        for name in names {
            self.dirty.remove(&name);
            self.forced.remove(&name);
            self.withheld.insert(name);
        }
    }

    /// Nothing is withheld any more. Returns whether something was.
    pub(crate) fn serve_all(&mut self) -> bool {
        let had = !self.withheld.is_empty() || self.frozen;
        self.frozen = false;
        self.dirty.append(&mut self.withheld);
        had
    }

    /// Whether the client keeps what it has of this name.
    pub(crate) fn withholds(&self, name: &str) -> bool {
        self.frozen || self.withheld.contains(name)
    }

    /// How many names are withheld.
    pub(crate) fn withheld(&self) -> usize {
        self.withheld.len()
    }

    /// Names that the client holds and that may differ.
    pub(crate) fn changed(&self) -> impl Iterator<Item = &Arc<str>> {
        self.dirty.union(&self.forced).filter(|name| self.ledger.holds(name))
    }

    /// Everything must be compared with the view.
    pub(crate) fn touch_all(&mut self) {
        self.unread = self.is_open();
    }

    /// The view changed, and it is not known how; perhaps its revisions begin anew.
    pub(crate) fn start_over(&mut self) {
        self.touch_all();
        self.completed = None;
        if let Some(flight) = &mut self.flight {
            flight.completes = None;
        }
    }

    /// The name must be answered even if it did not change; later, if it is not subscribed yet.
    pub(crate) fn force(&mut self, name: &Arc<str>) {
        if self.is_open() && self.subscription.sees(name) {
            self.ledger.disbelieve(name);
            self.withheld.remove(name);
            self.forced.insert(name.clone());
        } else {
            self.owed.insert(name.clone());
        }
    }

    /// Forgets names that were to be forced and exist no longer.
    pub(crate) fn prune(&mut self, view: &GatewayView) {
        self.owed.retain(|name| view.get(self.kind, name).is_some());
    }

    /// Whether the name must still be answered.
    pub(crate) fn owes(&self, name: &str) -> bool {
        self.forced.contains(name) || self.owed.contains(name)
    }

    /// Compares everything visible with the view, if that is due. True if it was.
    pub(crate) fn read(&mut self, view: &GatewayView) -> bool {
        if !mem::take(&mut self.unread) {
            return false;
        }
        let visible = self.subscription.visible(view.table(self.kind));
        let differs =
            |resource: &&Arc<Resource>| !self.ledger.is_at(&resource.name, resource.version);
        let gone = |name: &&Arc<str>| view.get(self.kind, name).is_none();
        let gone = self.ledger.names().filter(gone);
        let names = visible.filter(differs).map(|resource| &resource.name).chain(gone);
        self.dirty.extend(names.filter(|name| !self.withheld.contains(*name)).cloned());
        true
    }

    /// Names that the client does not hold and that this view has.
    pub(crate) fn additions<'a>(
        &'a self,
        view: &'a GatewayView,
    ) -> impl Iterator<Item = &'a Arc<str>> {
        let owed = self.dirty.union(&self.forced);
        owed.filter(|name| !self.ledger.holds(name) && view.get(self.kind, name).is_some())
    }

    /// What a name is answered with.
    fn find(&self, view: &GatewayView, name: &str) -> Option<Arc<Resource>> {
        let needed = || self.needed.iter().find_map(|view| view.get(self.kind, name));
        view.get(self.kind, name).or_else(needed).cloned()
    }

    /// What one response may carry now.
    pub(crate) fn budget(&self) -> Budget {
        if self.suspect { Budget::SUSPECT } else { Budget::NORMAL }
    }

    /// Takes what is owed of `view`. A name that only `latest` knows stays owed.
    pub(crate) fn take_due(
        &mut self,
        view: &GatewayView,
        latest: &GatewayView,
        budget: Budget,
    ) -> Due {
        let mut due = Due::default();
        let mut bytes = 0;
        let names: Vec<_> = self.dirty.union(&self.forced).cloned().collect();
        for name in names {
            if due.upserts.len() + due.missing.len() >= budget.resources || bytes >= budget.bytes {
                break;
            }
            let newest = latest.get(self.kind, &name);
            let found = self.find(view, &name);
            match &found {
                Some(resource) => {
                    if self.must_send(resource) {
                        bytes += resource.message().len();
                        due.upserts.push(resource.clone());
                    }
                }
                None if newest.is_some() => continue,
                None => {
                    if self.must_remove(&name) {
                        due.missing.push(name.clone());
                    }
                }
            }
            self.forced.remove(&name);
            if newest.map(|r| r.version) == found.map(|r| r.version) {
                self.dirty.remove(&name);
            } else {
                self.dirty.insert(name);
            }
        }
        due
    }

    fn must_send(&self, resource: &Resource) -> bool {
        let current = self.ledger.is_at(&resource.name, resource.version);
        // xds: what the client says it holds, on its first request, comes from its live state.
        let believed = self.ledger.standing(&resource.name) == Some(Standing::Claimed);
        !current || (!believed && self.forced.contains(&resource.name))
    }

    /// Whether a name that does not exist is answered with its removal.
    fn must_remove(&self, name: &str) -> bool {
        let forced = self.forced.contains(name);
        match self.kind {
            // What the client holds is removed through gate G2.
            Kind::Cluster => forced && !self.ledger.holds(name),
            Kind::Listener => forced || self.ledger.holds(name),
            // xds: 3.8, Envoy keeps the last good one; only a question is answered.
            Kind::Secret | Kind::Endpoint | Kind::Route => forced,
        }
    }

    /// Whether something of `view` is still to be sent.
    pub(crate) fn is_pending(&self, view: &GatewayView) -> bool {
        let behind = |name: &Arc<str>| match self.find(view, name) {
            Some(resource) => self.must_send(&resource),
            None => self.must_remove(name),
        };
        self.must_answer || self.dirty.union(&self.forced).any(behind)
    }

    /// A batch leaves.
    pub(crate) fn sent(&mut self, batch: &Batch, nonce: u64, now: Instant) {
        for resource in &batch.fresh {
            let version = Some(resource.version);
            self.ledger.record(resource.name.clone(), version, Standing::Awaited);
        }
        for name in &batch.removed {
            self.ledger.forget(name);
        }
        let names = batch.fresh.iter().map(|r| (r.name.clone(), r.version)).collect();
        self.must_answer = false;
        self.flight =
            Some(Flight { nonce, since: now, names, completes: None, event: None, overdue: false });
    }

    /// The batch just sent was the last of this revision.
    pub(crate) fn completes(&mut self, revision: u64) {
        if let Some(flight) = &mut self.flight {
            flight.completes = Some(revision);
            flight.event = self.event.take();
        }
    }

    /// The response in flight is accepted or refused.
    pub(crate) fn answer(&mut self, error: Option<String>) -> Option<Answer> {
        let flight = self.flight.take()?;
        let standing = if error.is_some() { Standing::Refused } else { Standing::Acknowledged };
        for (name, version) in &flight.names {
            self.ledger.answer(name, *version, standing);
        }
        let event = flight.event.filter(|_| error.is_none());
        self.suspect = error.is_some();
        if self.suspect && flight.names.len() > 1 {
            self.send_again_alone(&flight.names);
        }
        self.refusals += u64::from(error.is_some());
        self.last_error = error.clone().unwrap_or_default();
        if let Some(revision) = flight.completes.filter(|_| self.ledger.is_settled()) {
            self.completed = self.completed.max(Some(revision));
        }
        let names = flight.names.into_iter().map(|(name, _)| name).collect();
        Some(Answer { names, error, event })
    }

    /// Envoy takes nothing of a response with one bad resource, and a fresh one would be without the
    /// good ones for ever (faults.md D1). Each is due again, alone because the channel is suspect.
    fn send_again_alone(&mut self, names: &[(Arc<str>, Version)]) {
        match self.kind {
            // xds: of these it takes the good ones.
            Kind::Cluster | Kind::Listener => {}
            Kind::Endpoint | Kind::Route | Kind::Secret => {
                let is_newest = |(name, version): &&(Arc<str>, Version)| {
                    self.ledger.is_at(name, *version) && self.subscription.sees(name)
                };
                let again = names.iter().filter(is_newest).map(|(name, _)| name.clone());
                self.forced.extend(again);
            }
        }
    }

    /// When the response in flight stops to block.
    pub(crate) fn lease_end(&self, lease: Duration) -> Option<Instant> {
        let flight = self.flight.as_ref().filter(|flight| !flight.overdue)?;
        Some(flight.since + lease)
    }

    /// Ends the lease of the response in flight. Returns what it was about.
    pub(crate) fn end_lease(&mut self) -> Vec<Arc<str>> {
        let Some(flight) = &mut self.flight else { return Vec::new() };
        flight.overdue = true;
        flight.names.iter().map(|(name, _)| name.clone()).collect()
    }
}
