//! Make before break: routes wait for clusters, and removals of clusters wait for routes.
//!
//! Owns gates G1 and G2 of xds.md 3.5 for one stream. Must not know how anything is sent. Cost:
//! G1 is linear in the clusters that are warming, G2 in those that are held; both are mostly none.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::snapshot::{GatewayView, Kind, Resource};

/// G1: which view routes may be taken from.
///
/// A view is pinned while its clusters warm, so that a steady flow of new clusters delays routes
/// by one warm-up and not for ever.
#[derive(Debug, Default)]
pub(crate) struct MakeGate {
    warming: BTreeMap<Arc<str>, Warming>,
    /// Which clusters wait for a resource.
    waiters: BTreeMap<(Kind, Arc<str>), Vec<Arc<str>>>,
    pin: Option<Pin>,
    open: Option<Arc<GatewayView>>,
}

/// A cluster that was added on this stream and may not be in use yet.
#[derive(Debug)]
struct Warming {
    /// Whether the client answered the cluster itself.
    is_answered: bool,
    /// Since when nothing that it awaits is on its way: only then does the timer run. An Envoy
    /// that is slow to answer for endpoints is not a corner that is dead.
    idle_since: Option<Instant>,
    /// How many of the resources that it awaits have not been accepted.
    awaits: usize,
    /// How many of these are clusters. They have timers of their own.
    parts: usize,
    /// How long it settles once all of this was accepted.
    settles: Duration,
    /// Until when it settles.
    settled_at: Option<Instant>,
}

impl Warming {
    fn new(cluster: &Resource) -> Warming {
        Warming {
            is_answered: false,
            idle_since: None,
            awaits: 0,
            parts: 0,
            settles: cluster.settles,
            settled_at: None,
        }
    }

    /// Whether all is accepted and the time to settle has passed, which begins with the former.
    fn is_warm(&mut self, now: Instant) -> bool {
        let is_accepted = self.is_answered && self.awaits == 0;
        is_accepted && *self.settled_at.get_or_insert(now + self.settles) <= now
    }

    /// Nothing is on its way: the timer runs, once the cluster itself was answered.
    fn idles(&mut self, now: Instant) {
        if self.is_answered {
            self.idle_since.get_or_insert(now);
        }
    }

    /// When nobody waits for it any more.
    fn deadline(&self, warm_timeout: Duration) -> Option<Instant> {
        let idle_since = self.idle_since.filter(|_| self.parts == 0);
        self.settled_at.or(idle_since.map(|since| since + warm_timeout))
    }
}

#[derive(Debug)]
struct Pin {
    view: Arc<GatewayView>,
    /// Added clusters of the view that are not warm.
    waiting: BTreeSet<Arc<str>>,
}

impl MakeGate {
    /// The view that listeners and routes are taken from.
    pub(crate) fn open(&self) -> Option<&Arc<GatewayView>> {
        self.open.as_ref()
    }

    /// Whether routes wait for clusters to warm.
    pub(crate) fn is_waiting(&self) -> bool {
        self.pin.is_some()
    }

    /// The views whose routes are next or in use, the newer first.
    pub(crate) fn routed(&self) -> Vec<Arc<GatewayView>> {
        self.pin.iter().map(|pin| &pin.view).chain(&self.open).cloned().collect()
    }

    /// Lets everything pass.
    pub(crate) fn force_open(&mut self, view: &Arc<GatewayView>) {
        self.open = Some(view.clone());
    }

    /// The client sees more clusters than before: what is open was open without them.
    pub(crate) fn close(&mut self) {
        self.open = None;
        self.pin = None;
    }

    /// Clusters were added. `has` tells what the client has accepted already.
    pub(crate) fn added(&mut self, clusters: &[Arc<Resource>], has: impl Fn(Kind, &str) -> bool) {
        for cluster in clusters {
            if self.warming.remove(&cluster.name).is_some() {
                self.drop_waiters();
            }
            self.warming.insert(cluster.name.clone(), Warming::new(cluster));
        }
        for cluster in clusters {
            for awaited in &cluster.awaits {
                let cold = awaited.0 == Kind::Cluster && self.warming.contains_key(&awaited.1);
                if has(awaited.0, &awaited.1) && !cold {
                    continue;
                }
                self.waiters.entry(awaited.clone()).or_default().push(cluster.name.clone());
                if let Some(warming) = self.warming.get_mut(&cluster.name) {
                    warming.awaits += 1;
                    warming.parts += usize::from(awaited.0 == Kind::Cluster);
                }
            }
        }
    }

    /// Clusters were accepted or refused, or were not answered in time.
    pub(crate) fn answered(&mut self, clusters: &[Arc<str>], now: Instant) {
        for name in clusters {
            if let Some(warming) = self.warming.get_mut(name) {
                warming.is_answered = true;
                warming.idles(now);
            }
            self.finish_if_warm(name, now);
        }
    }

    /// Other resources were sent: clusters that wait for one have no timer until it is answered.
    pub(crate) fn sent<'a>(&mut self, kind: Kind, names: impl Iterator<Item = &'a Arc<str>>) {
        for name in names {
            for cluster in self.waiters.get(&(kind, name.clone())).into_iter().flatten() {
                if let Some(warming) = self.warming.get_mut(cluster) {
                    warming.idle_since = None;
                }
            }
        }
    }

    /// Another resource was answered, or its lease ended, and it is not accepted.
    pub(crate) fn not_accepted(&mut self, kind: Kind, name: &Arc<str>, now: Instant) {
        for cluster in self.waiters.get(&(kind, name.clone())).into_iter().flatten() {
            if let Some(warming) = self.warming.get_mut(cluster) {
                warming.idles(now);
            }
        }
    }

    /// Another resource was accepted.
    pub(crate) fn accepted(&mut self, kind: Kind, name: &Arc<str>, now: Instant) {
        for cluster in self.waiters.remove(&(kind, name.clone())).unwrap_or_default() {
            if let Some(warming) = self.warming.get_mut(&cluster) {
                warming.awaits = warming.awaits.saturating_sub(1);
                warming.parts = warming.parts.saturating_sub(usize::from(kind == Kind::Cluster));
                warming.idles(now);
            }
            self.finish_if_warm(&cluster, now);
        }
    }

    fn finish_if_warm(&mut self, cluster: &Arc<str>, now: Instant) {
        if self.warming.get_mut(cluster).is_some_and(|warming| warming.is_warm(now)) {
            self.warming.remove(cluster);
            self.accepted(Kind::Cluster, cluster, now);
        }
    }

    /// Takes clusters for warm that have settled, and gives up on those that have been warming for
    /// too long.
    pub(crate) fn expire(&mut self, now: Instant, warm_timeout: Duration) {
        let late = |w: &Warming| w.deadline(warm_timeout).is_some_and(|at| at <= now);
        let cold: Vec<_> = self.warming.iter().filter(|(_, w)| late(w)).collect();
        let cold: Vec<_> = cold.into_iter().map(|(name, _)| name.clone()).collect();
        if cold.is_empty() {
            return;
        }
        for cluster in cold {
            self.warming.remove(&cluster);
            self.accepted(Kind::Cluster, &cluster, now);
        }
        self.drop_waiters();
    }

    /// Forgets who waits and is not warming any more.
    fn drop_waiters(&mut self) {
        for clusters in self.waiters.values_mut() {
            clusters.retain(|cluster| self.warming.contains_key(cluster));
        }
        self.waiters.retain(|_, clusters| !clusters.is_empty());
    }

    /// When the next cluster will have settled, or been warming for too long.
    pub(crate) fn deadline(&self, warm_timeout: Duration) -> Option<Instant> {
        self.warming.values().filter_map(|warming| warming.deadline(warm_timeout)).min()
    }

    /// Opens for the newest view whose clusters are warm. `unsent` are the clusters of `latest`
    /// that this stream must still be sent, and `progress` is where any cluster stands.
    pub(crate) fn advance(
        &mut self,
        latest: &Arc<GatewayView>,
        unsent: impl Fn() -> BTreeSet<Arc<str>>,
        progress: impl Fn(&str) -> Progress,
    ) {
        while self.open.as_ref().is_none_or(|open| open.revision != latest.revision) {
            let warming = &self.warming;
            let needed = |name: &&Arc<str>| latest.get(Kind::Cluster, name).is_some();
            let pin = self.pin.get_or_insert_with(|| Pin {
                view: latest.clone(),
                waiting: warming.keys().filter(needed).cloned().chain(unsent()).collect(),
            });
            let mut gone = false;
            pin.waiting.retain(|name| {
                let progress = progress(name);
                let warms = warming.contains_key(name);
                gone |= progress == Progress::Gone && !warms;
                warms || progress == Progress::Unsent
            });
            if gone {
                // A cluster of the pinned view will never be sent: only a newer view can do.
                self.pin = None;
            } else if pin.waiting.is_empty() {
                self.open = self.pin.take().map(|pin| pin.view);
            } else {
                return;
            }
        }
    }
}

/// Where a cluster stands on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It must still be sent.
    Unsent,
    /// It was sent.
    Sent,
    /// It was never sent, and will not be.
    Gone,
}

/// G2: clusters that are gone from the view and not yet from the client.
#[derive(Debug, Default)]
pub(crate) struct BreakGate {
    held: BTreeMap<Arc<str>, Held>,
    /// Since when nothing of the routes is refused or unanswered.
    quiet_since: Option<Instant>,
}

#[derive(Debug)]
struct Held {
    /// The revision that no longer has it, or a later one.
    revision: u64,
    since: Instant,
    /// Since when no route of the client can name it.
    unused_since: Option<Instant>,
    /// What a state-of-the-world response goes on saying. A client that reconnects may hold a
    /// cluster that nobody has bytes of; its removal is a name.
    resource: Option<Arc<Resource>>,
}

impl BreakGate {
    /// A cluster that the client holds is gone from this revision.
    pub(crate) fn hold(
        &mut self,
        name: &Arc<str>,
        revision: u64,
        resource: Option<Arc<Resource>>,
        now: Instant,
    ) {
        let held = Held { revision, since: now, unused_since: None, resource };
        self.held.entry(name.clone()).or_insert(held);
    }

    /// Clusters that the client does not hold any more need no removal.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.held.retain(|name, _| keep(name));
    }

    /// Lets go what is back, and names it.
    pub(crate) fn take_back(&mut self, is_back: impl Fn(&str) -> bool) -> Vec<Arc<str>> {
        self.held.extract_if(.., |name, _| is_back(name)).map(|(name, _)| name).collect()
    }

    /// The clusters that are held, by name.
    pub(crate) fn resources(&self) -> Vec<Arc<Resource>> {
        self.held.values().filter_map(|held| held.resource.clone()).collect()
    }

    /// Notes whether something of the routes is refused or unanswered: no timer runs then.
    pub(crate) fn observe(&mut self, quiet: bool, now: Instant) {
        self.quiet_since = quiet.then(|| self.quiet_since.unwrap_or(now));
    }

    /// Lets go what no route of the client has named for `linger`: all its routes are of revision
    /// `completed` or later, or it has waited for too long.
    pub(crate) fn release(
        &mut self,
        completed: Option<u64>,
        now: Instant,
        drain_timeout: Duration,
        linger: Duration,
    ) -> Vec<Arc<str>> {
        let quiet_since = self.quiet_since;
        for held in self.held.values_mut() {
            let due = quiet_since.map(|quiet| quiet.max(held.since) + drain_timeout);
            if Some(held.revision) <= completed || due.is_some_and(|due| due <= now) {
                held.unused_since.get_or_insert(now);
            }
        }
        let parts = self.parts();
        let free = |held: &Held| held.unused_since.is_some_and(|since| since + linger <= now);
        let is_free = |name: &Arc<str>, held: &mut Held| free(held) && !parts.contains(name);
        self.held.extract_if(.., is_free).map(|(name, _)| name).collect()
    }

    /// The parts of clusters that are still held. They leave in a later response, because Envoy
    /// removes what a list lacks in an order of its own, and no composite may outlive its parts.
    fn parts(&self) -> BTreeSet<Arc<str>> {
        let resources = self.held.values().filter_map(|held| held.resource.as_ref());
        let awaited = resources.flat_map(|resource| &resource.awaits);
        awaited.filter(|(kind, _)| *kind == Kind::Cluster).map(|(_, name)| name.clone()).collect()
    }

    /// When something held will have waited for long enough.
    pub(crate) fn deadline(&self, drain_timeout: Duration, linger: Duration) -> Option<Instant> {
        let parts = self.parts();
        let due = |held: &Held| match held.unused_since {
            Some(since) => Some(since + linger),
            None => self.quiet_since.map(|quiet| quiet.max(held.since) + drain_timeout),
        };
        let whole = self.held.iter().filter(|(name, _)| !parts.contains(*name));
        whole.filter_map(|(_, held)| due(held)).min()
    }
}
