//! The loop: from what is known to writes, one at a time.
//!
//! Owns what was last seen and last written. Reads its inputs and never blocks them (faults.md
//! B7); what it writes is not among them, so no write causes another. Cost of a new report: what
//! differs in it, and every gateway once.

use std::{
    collections::BTreeSet,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use tokio::{sync::watch, time::sleep_until};

use crate::{
    admin::{Report, proto},
    diag::Reason,
    gateway::Address,
    key::{GatewayId, ObjectName, ObjectRef},
    settings::StatusTimings,
    snapshot::Kind,
    status::{
        Inputs,
        desired::{self, Facts, LoadBalancer, Phase},
        elect::Tenure,
        events,
        lease::Knowledge,
        members::{self, MemberRow},
        plan::{Key, Next, Queue},
        state::{Changes, Desired, is_complete},
        writer::{Failure, Observed, Writer},
    },
};

/// The loop's state.
pub(super) struct Loop {
    pub(super) inputs: Inputs,
    pub(super) tenure: watch::Receiver<Tenure>,
    /// Where clients reach gateways without an annotation.
    pub(super) addresses: watch::Receiver<Vec<Address>>,
    pub(super) knowledge: watch::Sender<Knowledge>,
    pub(super) writer: Writer,
    pub(super) queue: Queue,
    pub(super) timings: StatusTimings,
    pub(super) desired: Desired,
    /// What is there; `None` while somebody else may be writing it.
    pub(super) observed: Option<Observed>,
    /// The tenure in which it was read.
    pub(super) term: u64,
    /// Not to read it before then, after that failed.
    pub(super) office_after: Option<Instant>,
    /// The gateways that connected Envoys serve, as they name them.
    pub(super) served: BTreeSet<String>,
    /// When to ask for them again.
    pub(super) envoys_due: Option<Instant>,
}

impl Loop {
    /// Runs until `stop` is raised.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            self.look(Instant::now());
            let wake = self.step().await;
            self.count();
            tokio::select! {
                biased;
                _ = stop.wait_for(|raised| *raised) => return,
                () = sleep_until(wake.into()) => {}
                Ok(()) = self.inputs.report.changed() => {}
                Ok(()) = self.inputs.registrations.changed() => {}
                Ok(()) = self.tenure.changed() => {}
                Ok(()) = self.addresses.changed() => {}
                Ok(()) = self.inputs.provisions.changed() => {}
            }
        }
    }

    /// Takes in what is new; keys whose status may differ are touched.
    fn look(&mut self, now: Instant) {
        let report = self.inputs.report.borrow_and_update().clone();
        let tenure = self.tenure.borrow_and_update().clone();
        let addresses = self.addresses.borrow_and_update().clone();
        let provisions = self.inputs.provisions.borrow_and_update().clone();
        let acknowledged = self.acknowledged(&report, &tenure, now);
        let overdue = self.desired.overdue(&report, &acknowledged, now, self.timings.lonely);
        let observed = self.observed.iter().flat_map(|own| &own.gateways);
        let listening = observed.filter(|(id, own)| {
            let is_same = report.declared.get(*id).is_some_and(|declared| declared.uid == own.uid);
            is_same && own.status.phase == Phase::Listening
        });
        let listening = listening.map(|(id, _)| id.clone()).collect();
        let gateways = desired::gateways(&Facts {
            report: &report,
            acknowledged: &acknowledged,
            overdue: &overdue,
            listening: &listening,
            addresses: &addresses,
            provisions: &provisions,
        });
        let registrations = self.inputs.registrations.borrow_and_update().clone();
        let traffic = self.inputs.traffic.read();
        let mut members = members::rows(&registrations, &report, &traffic, &self.timings);
        members.findings.extend(provisions.values().flat_map(|own| own.findings.iter().cloned()));
        let Changes { keys, gone } =
            self.desired.replace(&report, gateways, members, &self.timings);
        keys.into_iter().for_each(|key| self.queue.touch(key, now));
        if let Some(observed) = &mut self.observed {
            gone.iter().for_each(|name| _ = observed.ingresses.remove(name));
            // The time of the last contact grows without being a change.
            for name in self.desired.members_due(&observed.members, &self.timings) {
                self.queue.touch(Key::Member(name.clone()), now);
            }
        }
    }

    /// Gateways with an Envoy, here or at another replica; the others are told of ours.
    fn acknowledged(
        &mut self,
        report: &Report,
        tenure: &Tenure,
        now: Instant,
    ) -> BTreeSet<GatewayId> {
        // Every tick of the engine wakes the loop, and there may be many Envoys.
        if self.envoys_due.is_none_or(|due| due <= now) {
            self.envoys_due = Some(now + self.timings.envoy_poll);
            let envoys = self.inputs.envoys.connected();
            self.served = envoys.into_iter().filter(has_acknowledged).map(|e| e.gateway).collect();
        }
        let find = |text: &String| GatewayId::find(report.declared.keys(), text).cloned();
        let ours: BTreeSet<_> = self.served.iter().filter_map(find).collect();
        let texts: BTreeSet<_> = ours.iter().map(ToString::to_string).collect();
        let declared =
            is_complete(report).then(|| report.declared.keys().map(ToString::to_string).collect());
        self.knowledge.send_if_modified(|own| {
            // What is declared can wait for the next round; only Envoys are news.
            let is_news = !texts.is_subset(&own.acknowledged);
            *own = Knowledge { acknowledged: texts, declared };
            is_news
        });
        let theirs =
            report.declared.keys().filter(|id| tenure.acknowledged.contains(&id.to_string()));
        theirs.cloned().chain(ours.clone()).collect()
    }

    /// Makes the writes whose time has come; when to look again.
    async fn step(&mut self) -> Instant {
        let poll = Instant::now() + self.timings.envoy_poll;
        if let Err(err) = self.take_office().await {
            if self.office_after.is_none() {
                tracing::warn!(error = %err, "cannot read the statuses that are there");
            }
            // It is a list of everything, so there is no hurry to ask for it again.
            self.office_after = Some(Instant::now() + self.timings.last_retry / 4);
        }
        if self.observed.is_none() || !self.desired.is_complete {
            return poll;
        }
        loop {
            match self.queue.next(Instant::now()) {
                Next::Idle => return poll,
                Next::Wait(at) => return at.min(poll),
                Next::Write(key) => {
                    let made_request = self.write(key).await;
                    // Meanwhile there may be something new.
                    if made_request {
                        return Instant::now();
                    }
                }
            }
        }
    }

    /// At the beginning of a tenure: what is there, and everything to be looked at.
    async fn take_office(&mut self) -> Result<(), Failure> {
        let tenure = self.tenure.borrow().clone();
        if !tenure.is_held(Instant::now()) {
            self.observed = None;
            self.queue.clear();
            return Ok(());
        }
        let is_early = self.office_after.is_some_and(|after| Instant::now() < after);
        if is_early || self.observed.is_some() && self.term == tenure.term {
            return Ok(());
        }
        self.queue.clear();
        self.observed = None;
        let observed = self.writer.observe().await?;
        let now = Instant::now();
        let written = observed.ingresses.keys().cloned().map(Key::Ingress);
        written.for_each(|key| self.queue.touch(key, now));
        self.desired.keys().into_iter().for_each(|key| self.queue.touch(key, now));
        tracing::info!(term = tenure.term, "this replica writes status now");
        self.observed = Some(observed);
        self.term = tenure.term;
        self.office_after = None;
        // With what is there, some gateways may be desired otherwise.
        self.look(now);
        Ok(())
    }

    /// Whether a request was made.
    async fn write(&mut self, key: Key) -> bool {
        let outcome = match &key {
            Key::Gateway(id) => self.write_gateway(id).await,
            Key::Ingress(name) => self.write_ingress(name).await,
            Key::Member(name) => self.write_member(name).await,
            Key::Event(object, reason) => self.write_event(object, *reason).await,
        };
        let now = Instant::now();
        match outcome {
            Ok(false) => {
                self.queue.done(&key);
                return false;
            }
            Ok(true) if matches!(key, Key::Event(..)) => self.queue.event_written(key, now),
            Ok(true) => self.queue.done(&key),
            Err(Failure::Gone) => {
                self.forget(&key);
                if matches!(key, Key::Event(..)) {
                    self.queue.done(&key);
                } else {
                    // If it is gone indeed, there will be nothing to say.
                    self.queue.retry(key, Duration::ZERO, now);
                }
            }
            // The next tenure looks at everything.
            Err(Failure::NotHolder) => self.observed = None,
            Err(Failure::Later { message, after }) => {
                let failures = self.queue.retry(key.clone(), after, now);
                if failures == 1 {
                    tracing::warn!(what = %key, error = message, "cannot write; trying again");
                } else {
                    tracing::debug!(what = %key, failures, error = message, "cannot write");
                }
            }
        }
        true
    }

    /// Whether a request was made.
    async fn write_gateway(&mut self, id: &GatewayId) -> Result<bool, Failure> {
        let wanted = self.desired.gateways.get(id).zip(self.desired.uids.get(id));
        let Some(((status, uid), observed)) = wanted.zip(self.observed.as_mut()) else {
            if let Some(observed) = &mut self.observed {
                observed.gateways.remove(id);
            }
            return Ok(false);
        };
        let before = observed.gateways.get(id).filter(|own| own.uid == *uid);
        if before.is_some_and(|own| own.status == **status) {
            return Ok(false);
        }
        self.queue.spend(Instant::now());
        let written = self.writer.gateway(id, uid, status, before).await?;
        tracing::info!(gateway = %id, phase = ?status.phase, message = status.message, "status");
        observed.gateways.insert(id.clone(), written);
        Ok(true)
    }

    /// Whether a request was made.
    async fn write_ingress(&mut self, name: &ObjectName) -> Result<bool, Failure> {
        let Some(observed) = &mut self.observed else { return Ok(false) };
        let before = observed.ingresses.get(name);
        let (uid, status) = match self.desired.attachments.get(name) {
            Some(row) => (row.uid.clone(), desired::load_balancer(row, &self.desired.gateways)),
            // Somebody wrote it for us before, and it is not ours now: or it does not exist.
            None => match before {
                Some(own) => (own.uid.clone(), LoadBalancer::default()),
                None => return Ok(false),
            },
        };
        let nothing = LoadBalancer::default();
        let before = before.filter(|own| own.uid == uid).map_or(&nothing, |own| &own.status);
        if *before == status {
            return Ok(false);
        }
        self.queue.spend(Instant::now());
        let written = self.writer.ingress(name, &uid, &status).await?;
        match written.status.ingress.is_empty() {
            true => _ = observed.ingresses.remove(name),
            false => _ = observed.ingresses.insert(name.clone(), written),
        }
        Ok(true)
    }

    /// Whether a request was made.
    async fn write_member(&mut self, name: &ObjectName) -> Result<bool, Failure> {
        let Some(observed) = &mut self.observed else { return Ok(false) };
        let Some(row) = self.desired.members.get(name) else {
            observed.members.remove(name);
            return Ok(false);
        };
        let MemberRow { uid, status, .. } = row;
        let before = observed.members.get(name).filter(|own| own.uid == *uid);
        if before.is_some_and(|own| !members::is_due(status, &own.status, &self.timings)) {
            return Ok(false);
        }
        self.queue.spend(Instant::now());
        let written = self.writer.member(name, uid, status, before).await?;
        observed.members.insert(name.clone(), written);
        Ok(true)
    }

    /// Whether a request was made.
    async fn write_event(&mut self, object: &ObjectRef, reason: Reason) -> Result<bool, Failure> {
        let findings = self.desired.diags.about(object).filter(|diag| diag.reason == reason);
        let event = events::event(object, reason, findings, &self.writer.identity);
        let Some(event) = event else { return Ok(false) };
        self.queue.spend(Instant::now());
        self.writer.event(object, event).await?;
        Ok(true)
    }

    fn forget(&mut self, key: &Key) {
        let Some(observed) = &mut self.observed else { return };
        match key {
            Key::Gateway(id) => _ = observed.gateways.remove(id),
            Key::Ingress(name) => _ = observed.ingresses.remove(name),
            Key::Member(name) => _ = observed.members.remove(name),
            Key::Event(..) => {}
        }
    }

    fn count(&self) {
        let meter = &self.writer.meter;
        meter.queue.store(self.queue.len() as u64, Relaxed);
        meter.dropped_events.store(self.queue.dropped(), Relaxed);
        meter.is_holder.store(self.observed.is_some().into(), Relaxed);
    }
}

/// Whether the Envoy has taken its first listeners and clusters.
fn has_acknowledged(envoy: &proto::Envoy) -> bool {
    let kind = |kind: Kind| envoy.types.iter().find(|own| own.r#type == kind.to_string());
    let listeners = kind(Kind::Listener).is_some_and(|own| own.acknowledged > 0);
    // A gateway may have no cluster at all.
    let clusters = kind(Kind::Cluster).is_some_and(|own| own.sent == 0 || own.acknowledged > 0);
    envoy.gateway_found && listeners && clusters
}
