//! One Envoy stream: five channels, two gates, and what is sent next.
//!
//! Owns the order of sending (xds.md 3.5). Pure: takes requests, views and `now`; gives frames
//! and the next moment at which time alone changes something. Must not know sockets or tasks.
//! Cost: a wake costs what changed; a call with nothing to do looks at five channels.

mod withhold;

use std::{
    array, mem,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    settings::{Mechanisms, Timings},
    snapshot::{Coverage, GatewayView, Kind, Resource},
    xds::{
        channel::{Answer, Batch, Channel},
        delta,
        gate::{BreakGate, MakeGate, Progress},
        ledger::Standing,
        request::{Request, Variant, Wants},
        sotw,
        wire::Frame,
    },
};

/// What a session goes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    gates: bool,
    warm_timeout: Duration,
    drain_timeout: Duration,
    linger: Duration,
    ack_timeout: Duration,
    endpoint_delay: Duration,
}

impl Rules {
    /// The part of the settings that concerns a stream.
    pub(crate) fn new(mechanisms: &Mechanisms, timings: &Timings) -> Rules {
        Rules {
            gates: mechanisms.gates,
            warm_timeout: timings.warm_timeout,
            drain_timeout: timings.drain_timeout,
            linger: if mechanisms.gates { timings.linger } else { Duration::ZERO },
            ack_timeout: timings.ack_timeout,
            endpoint_delay: timings.endpoint_delay,
        }
    }
}

/// What a request turned out to be.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It only said what is wanted.
    Subscribed(Kind),
    /// It also answered the response in flight.
    Answered(Kind, Answer),
    /// It answered a response that is no longer in flight.
    Stale(Kind),
    /// The type is not served.
    UnknownType,
}

/// The state of one stream.
#[derive(Debug)]
pub(crate) struct Session {
    variant: Variant,
    rules: Rules,
    channels: [Channel; Kind::ALL.len()],
    view: Option<Arc<GatewayView>>,
    make: MakeGate,
    brake: BreakGate,
    /// The view of the clusters that were sent last.
    clusters_from: Option<Arc<GatewayView>>,
    /// The client came with clusters, so it has routes as well, whatever it has asked for yet.
    resumed: bool,
    /// There is a view, and it is not served yet: one of its members is waited for.
    is_waiting: bool,
    endpoints_due: Option<Instant>,
    nonce: u64,
    /// Leases of responses that ended without an answer.
    expired: u64,
}

impl Session {
    /// A stream on which nothing was said yet.
    pub(crate) fn new(variant: Variant, rules: Rules) -> Session {
        Session {
            variant,
            rules,
            channels: array::from_fn(|idx| Channel::new(kind_at(idx))),
            view: None,
            make: MakeGate::default(),
            brake: BreakGate::default(),
            clusters_from: None,
            resumed: false,
            is_waiting: false,
            endpoints_due: None,
            nonce: 0,
            expired: 0,
        }
    }

    /// The channel of a type.
    pub(crate) fn channel(&self, kind: Kind) -> &Channel {
        let idx = Kind::ALL.iter().position(|k| *k == kind);
        idx.and_then(|idx| self.channels.get(idx)).expect("invariant: a channel for every kind")
    }

    fn channel_mut(&mut self, kind: Kind) -> &mut Channel {
        let idx = Kind::ALL.iter().position(|k| *k == kind);
        idx.and_then(|idx| self.channels.get_mut(idx)).expect("invariant: a channel for every kind")
    }

    /// Leases that ended since this was last asked.
    pub(crate) fn take_expired(&mut self) -> u64 {
        mem::take(&mut self.expired)
    }

    /// A request arrived.
    pub(crate) fn on_request(&mut self, request: Request, now: Instant) -> Outcome {
        let Some(kind) = Kind::of_type_url(&request.type_url) else { return Outcome::UnknownType };
        let variant = self.variant;
        let channel = self.channel_mut(kind);
        let matches = request.nonce.is_some_and(|nonce| channel.awaits(nonce));
        let stale = request.nonce.is_some() && !matches;
        // xds: 3.3, the answer to what is in flight will repeat the whole list; without one in
        // flight, and with delta always, a subscription change must not be lost.
        if stale && variant == Variant::Sotw && channel.is_blocked() {
            return Outcome::Stale(kind);
        }
        let answer = if matches { channel.answer(request.error) } else { None };
        let first = !channel.is_open();
        let widens = match request.wants {
            Wants::List { names, version } => sotw::subscribe(channel, names, version),
            Wants::Change { subscribe, unsubscribe, initial } => {
                delta::subscribe(channel, subscribe, unsubscribe, initial)
            }
        };
        if kind == Kind::Cluster {
            self.on_clusters_subscribed(first, widens);
        }
        match answer {
            Some(answer) => {
                self.on_answer(kind, &answer, now);
                Outcome::Answered(kind, answer)
            }
            None if stale => Outcome::Stale(kind),
            None => Outcome::Subscribed(kind),
        }
    }

    fn on_clusters_subscribed(&mut self, first: bool, widens: bool) {
        let Session { channels, brake, .. } = self;
        let Some(clusters) = channels.iter().find(|channel| channel.kind == Kind::Cluster) else {
            return;
        };
        // What the client unsubscribed needs no removal.
        brake.retain(|name| clusters.ledger.holds(name));
        if first {
            let version = clusters.resume.as_deref().unwrap_or_default();
            self.resumed = sotw::holds_something(version) || clusters.ledger.len() > 0;
        }
        if widens {
            self.make.close();
        }
    }

    fn on_answer(&mut self, kind: Kind, answer: &Answer, now: Instant) {
        match kind {
            Kind::Cluster => self.make.answered(&answer.names, now),
            Kind::Secret | Kind::Endpoint => {
                for name in &answer.names {
                    // What was sent before the cluster is sent again after it.
                    if answer.error.is_none() && !self.channel(kind).owes(name) {
                        self.make.accepted(kind, name, now);
                    } else {
                        self.make.not_accepted(kind, name, now);
                    }
                }
            }
            Kind::Listener | Kind::Route => {}
        }
    }

    /// A new view was published. Only the newest matters.
    pub(crate) fn on_view(&mut self, view: Arc<GatewayView>, now: Instant) {
        self.is_waiting = self.must_wait(&view);
        if self.is_waiting {
            return;
        }
        let old = self.view.replace(view.clone());
        let changes = old.as_ref().and_then(|old| view.changes_since(old));
        let mut gone = Vec::new();
        if view.coverage == Coverage::Whole && self.serve_all() {
            gone.extend(self.channel(Kind::Cluster).ledger.names().cloned());
        }
        match changes {
            Some(changes) => {
                for (kind, name) in changes {
                    self.channel_mut(*kind).touch(name, view.since);
                    if *kind == Kind::Cluster {
                        gone.push(name.clone());
                    }
                }
            }
            None => {
                self.channels.iter_mut().for_each(Channel::start_over);
                self.make.close();
                gone.extend(self.channel(Kind::Cluster).ledger.names().cloned());
            }
        }
        self.hold_removals(&gone, &view, old.as_deref(), now);
    }

    /// Clusters that the client holds and the view lacks are held, the others are not. What is
    /// withheld is not removed at all.
    fn hold_removals(
        &mut self,
        names: &[Arc<str>],
        view: &GatewayView,
        old: Option<&GatewayView>,
        now: Instant,
    ) {
        let back = self.brake.take_back(|name| view.get(Kind::Cluster, name).is_some());
        self.warm_again(&back, view, now);
        for name in names {
            let clusters = self.channel(Kind::Cluster);
            let held = clusters.ledger.holds(name) && !clusters.withholds(name);
            if held && view.get(Kind::Cluster, name).is_none() {
                let resource = old.and_then(|old| old.get(Kind::Cluster, name)).cloned();
                self.brake.hold(name, view.revision, resource, now);
            }
        }
    }

    /// Clusters that were held are back: nobody told their endpoints meanwhile, so routes wait for
    /// these as if the clusters were new.
    fn warm_again(&mut self, names: &[Arc<str>], view: &GatewayView, now: Instant) {
        if !self.rules.gates {
            return;
        }
        let Session { channels, make, .. } = self;
        let clusters: Vec<_> =
            names.iter().filter_map(|name| view.get(Kind::Cluster, name).cloned()).collect();
        make.added(&clusters, |kind, name| {
            let ledger = channels.iter().find(|c| c.kind == kind).map(|channel| &channel.ledger);
            let version = view.get(kind, name).map(|resource| resource.version);
            let accepted = ledger.zip(version).is_some_and(|(l, v)| l.has_accepted(name, v));
            accepted || kind == Kind::Cluster && ledger.is_some_and(|ledger| ledger.holds(name))
        });
        make.answered(names, now);
    }

    /// The next response, from the newest view. The caller must be able to send it.
    pub(crate) fn next(&mut self, now: Instant) -> Option<(Kind, Frame)> {
        self.expire(now);
        let view = self.view.clone()?;
        self.read(&view, now);
        self.open_make(&view);
        let frame = Kind::ALL.into_iter().find_map(|kind| self.upserts(kind, &view, now));
        frame.or_else(|| self.removals(&view, now))
    }

    fn expire(&mut self, now: Instant) {
        for channel in &mut self.channels {
            let lease = channel.lease_end(self.rules.ack_timeout);
            if lease.is_some_and(|end| end <= now) {
                self.expired += 1;
                let names = channel.end_lease();
                match channel.kind {
                    Kind::Cluster => self.make.answered(&names, now),
                    kind @ (Kind::Secret | Kind::Endpoint) => {
                        names.iter().for_each(|name| self.make.not_accepted(kind, name, now));
                    }
                    Kind::Listener | Kind::Route => {}
                }
            }
        }
        self.make.expire(now, self.rules.warm_timeout);
    }

    /// Compares whole where that is due.
    fn read(&mut self, view: &GatewayView, now: Instant) {
        for kind in Kind::ALL {
            let variant = self.variant;
            let channel = self.channel_mut(kind);
            match variant {
                Variant::Sotw => sotw::resume(channel, view),
                Variant::Delta => delta::resume(channel, view),
            }
            if channel.read(view) && kind == Kind::Cluster {
                let names: Vec<_> = channel.ledger.names().cloned().collect();
                self.hold_removals(&names, view, None, now);
            }
        }
        self.withhold_clusters(view);
    }

    fn open_make(&mut self, view: &Arc<GatewayView>) {
        // Nobody knows which clusters the client has: its routes stay what they are.
        if self.channel(Kind::Cluster).frozen {
            return;
        }
        if !self.rules.gates {
            return self.make.force_open(view);
        }
        let Session { channels, make, .. } = self;
        let clusters = channels.iter().find(|channel| channel.kind == Kind::Cluster);
        let unsent =
            || clusters.iter().flat_map(|channel| channel.additions(view)).cloned().collect();
        make.advance(view, unsent, |name| {
            let Some(channel) = clusters else { return Progress::Gone };
            let unsent = channel.subscription.sees(name) && view.get(Kind::Cluster, name).is_some();
            match channel.ledger.holds(name) {
                true => Progress::Sent,
                false if unsent => Progress::Unsent,
                false => Progress::Gone,
            }
        });
        // xds: Envoy answers for clusters when they are warm. One that is gone by now must still get
        // what it awaits, or nothing is said about any other for 15 s.
        let needed = make.routed().into_iter().chain(self.clusters_from.clone());
        let needed: Vec<_> = needed.collect();
        self.channel_mut(Kind::Endpoint).needed = needed.clone();
        self.channel_mut(Kind::Secret).needed = needed;
    }

    fn upserts(
        &mut self,
        kind: Kind,
        latest: &Arc<GatewayView>,
        now: Instant,
    ) -> Option<(Kind, Frame)> {
        let channel = self.channel(kind);
        if !channel.is_open() || channel.is_blocked() || self.is_silent(kind, latest) {
            return None;
        }
        if self.is_delayed(kind, latest, now) {
            return None;
        }
        let view = match kind {
            Kind::Secret | Kind::Cluster | Kind::Endpoint => latest.clone(),
            Kind::Listener | Kind::Route => self.make.open()?.clone(),
        };
        let held = self.held(kind);
        let variant = self.variant;
        let channel = self.channel_mut(kind);
        let batch = match variant {
            Variant::Sotw => sotw::fill(channel, &view, latest, &held),
            Variant::Delta => delta::fill(channel, &view, latest),
        };
        let Some(batch) = batch else {
            if !channel.is_pending(latest) {
                channel.forget_event();
            }
            return None;
        };
        if kind == Kind::Cluster {
            self.clusters_from = Some(view.clone());
        }
        let frame = self.send(kind, batch, now);
        let channel = self.channel_mut(kind);
        if !channel.is_pending(&view) {
            channel.completes(view.revision);
        }
        Some((kind, frame))
    }

    /// Whether endpoints are kept back, which only a test of the gates asks for.
    fn is_delayed(&mut self, kind: Kind, view: &GatewayView, now: Instant) -> bool {
        let delay = self.rules.endpoint_delay;
        if kind != Kind::Endpoint || delay.is_zero() {
            return false;
        }
        let pending = self.channel(kind).is_pending(view);
        let due = pending.then(|| self.endpoints_due.unwrap_or(now + delay));
        self.endpoints_due = due.filter(|due| now < *due);
        self.endpoints_due.is_some()
    }

    fn held(&self, kind: Kind) -> Vec<Arc<Resource>> {
        match (kind, self.variant) {
            (Kind::Cluster, Variant::Sotw) => self.brake.resources(),
            (
                Kind::Secret | Kind::Cluster | Kind::Endpoint | Kind::Listener | Kind::Route,
                Variant::Sotw | Variant::Delta,
            ) => Vec::new(),
        }
    }

    /// Removals of clusters come last.
    fn removals(&mut self, view: &Arc<GatewayView>, now: Instant) -> Option<(Kind, Frame)> {
        let completed = self.routes_completed(now);
        let channel = self.channel(Kind::Cluster);
        if !channel.is_open() || channel.is_blocked() || self.is_silent(Kind::Cluster, view) {
            return None;
        }
        let Rules { drain_timeout, linger, .. } = self.rules;
        let released = self.brake.release(completed, now, drain_timeout, linger);
        if released.is_empty() {
            return None;
        }
        let batch = match self.variant {
            Variant::Sotw => {
                sotw::remove(self.channel(Kind::Cluster), view, &self.brake.resources())
            }
            Variant::Delta => delta::remove(released),
        };
        let frame = self.send(Kind::Cluster, batch, now);
        self.channel_mut(Kind::Endpoint).prune(view);
        Some((Kind::Cluster, frame))
    }

    /// The revision that the client's routes have reached, if it is known.
    fn routes_completed(&mut self, now: Instant) -> Option<u64> {
        let mut completed = Some(u64::MAX);
        if !self.rules.gates {
            return completed;
        }
        // Routes that wait for clusters are still on their way.
        let mut quiet = !self.make.is_waiting();
        for channel in &mut self.channels {
            match channel.kind {
                Kind::Listener | Kind::Route => {}
                Kind::Secret | Kind::Cluster | Kind::Endpoint => continue,
            }
            if !channel.is_open() {
                // It holds no routes; or, if it reconnected, it has not told yet.
                completed = completed.filter(|_| !self.resumed);
                continue;
            }
            let open = self.make.open();
            if let Some(open) = open.filter(|open| channel.is_quiet() && !channel.is_pending(open))
            {
                channel.completed = channel.completed.max(Some(open.revision));
            }
            completed = completed.min(channel.completed);
            quiet &= channel.is_quiet();
        }
        self.brake.observe(quiet, now);
        completed
    }

    /// Records a batch as sent.
    fn send(&mut self, kind: Kind, batch: Batch, now: Instant) -> Frame {
        self.nonce += 1;
        let nonce = self.nonce;
        if kind == Kind::Cluster && self.rules.gates {
            self.follow_clusters(&batch.fresh);
        }
        self.make.sent(kind, batch.resources.iter().map(|resource| &resource.name));
        self.channel_mut(kind).sent(&batch, nonce, now);
        match self.variant {
            Variant::Sotw => {
                Frame::sotw(kind, nonce, sotw::version_of(&batch.resources), &batch.resources)
            }
            Variant::Delta => Frame::delta(kind, nonce, &batch.resources, &batch.removed),
        }
    }

    /// Clusters leave: those that are new warm up, and endpoints follow each of them.
    fn follow_clusters(&mut self, clusters: &[Arc<Resource>]) {
        for cluster in clusters {
            for (kind, name) in &cluster.awaits {
                match kind {
                    // xds: Envoy does not ask again for the endpoints of a cluster that changed,
                    // and warms it until it gets them (3.5, rule 3).
                    Kind::Endpoint => self.channel_mut(Kind::Endpoint).force(name),
                    Kind::Secret | Kind::Cluster | Kind::Listener | Kind::Route => {}
                }
            }
        }
        let Session { channels, make, .. } = self;
        let channel = |kind| channels.iter().find(move |channel| channel.kind == kind);
        let held = |name: &str| channel(Kind::Cluster).is_some_and(|c| c.ledger.holds(name));
        let added: Vec<_> = clusters.iter().filter(|c| !held(&c.name)).cloned().collect();
        make.added(&added, |kind, name| match kind {
            Kind::Endpoint => false,
            Kind::Cluster => held(name),
            Kind::Secret | Kind::Listener | Kind::Route => {
                let standing = channel(kind).and_then(|channel| channel.ledger.standing(name));
                matches!(standing, Some(Standing::Acknowledged | Standing::Claimed))
            }
        });
    }

    /// When time alone will change what `next` says.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let leases = self.channels.iter().filter_map(|c| c.lease_end(self.rules.ack_timeout));
        let blocked = |kind| self.channel(kind).is_blocked();
        let warm = self.make.deadline(self.rules.warm_timeout);
        let drain = self.brake.deadline(self.rules.drain_timeout, self.rules.linger);
        let silent = self.view.as_ref().is_some_and(|view| self.is_silent(Kind::Cluster, view));
        let drain = drain.filter(|_| !blocked(Kind::Cluster) && !silent);
        let endpoints = self.endpoints_due.filter(|_| !blocked(Kind::Endpoint));
        leases.chain(warm).chain(drain).chain(endpoints).min()
    }
}

fn kind_at(idx: usize) -> Kind {
    *Kind::ALL.get(idx).expect("invariant: a channel for every kind")
}

#[cfg(test)]
mod tests;
