//! The loop: from what is known to writes, one at a time.
//!
//! Owns what was last seen and last written. Reads its inputs and never blocks them (faults.md
//! B7); what it writes is not among them, so no write causes another. Cost of a new report: what
//! differs in it, and every gateway once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use tokio::{sync::watch, time::sleep_until};

use crate::{
    admin::{Envoys, Report, proto},
    diag::{Diag, DiagSet, Reason},
    gateway::{Address, Attachments},
    key::{GatewayId, ObjectName, ObjectRef, Scope},
    settings::StatusTimings,
    snapshot::Kind,
    status::{
        desired::{self, Facts, GatewayStatus, LoadBalancer, Phase},
        elect::Tenure,
        events,
        lease::Knowledge,
        plan::{Key, Next, Queue},
        writer::{Failure, Observed, Writer},
    },
};

/// Everything the loop reads.
pub(super) struct Inputs {
    pub(super) report: watch::Receiver<Report>,
    pub(super) envoys: Arc<dyn Envoys>,
    pub(super) tenure: watch::Receiver<Tenure>,
    /// Where clients reach gateways without an annotation.
    pub(super) addresses: watch::Receiver<Vec<Address>>,
}

/// The loop's state.
pub(super) struct Loop {
    pub(super) inputs: Inputs,
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

/// What status should say, as of the last look.
#[derive(Debug, Default)]
pub(super) struct Desired {
    gateways: BTreeMap<GatewayId, Arc<GatewayStatus>>,
    uids: BTreeMap<GatewayId, Arc<str>>,
    attachments: Attachments,
    diags: DiagSet,
    /// When each gateway without an Envoy was first seen.
    lonely_since: BTreeMap<GatewayId, Instant>,
    /// Absence means something only after everything has been read once.
    is_complete: bool,
}

/// What differs from one state to the next.
struct Changes {
    keys: Vec<Key>,
    /// Ingresses that do not exist any more.
    gone: Vec<ObjectName>,
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
                Ok(()) = self.inputs.tenure.changed() => {}
                Ok(()) = self.inputs.addresses.changed() => {}
            }
        }
    }

    /// Takes in what is new; keys whose status may differ are touched.
    fn look(&mut self, now: Instant) {
        let report = self.inputs.report.borrow_and_update().clone();
        let tenure = self.inputs.tenure.borrow_and_update().clone();
        let addresses = self.inputs.addresses.borrow_and_update().clone();
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
        });
        let Changes { keys, gone } = self.desired.replace(&report, gateways);
        keys.into_iter().for_each(|key| self.queue.touch(key, now));
        if let Some(observed) = &mut self.observed {
            gone.iter().for_each(|name| _ = observed.ingresses.remove(name));
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
        let tenure = self.inputs.tenure.borrow().clone();
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
            Key::Gateway(name) => self.write_gateway(name).await,
            Key::Ingress(name) => self.write_ingress(name).await,
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
                self.queue.done(&key);
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
    async fn write_gateway(&mut self, name: &ObjectName) -> Result<bool, Failure> {
        let id = GatewayId::mse(&name.name);
        let wanted = self.desired.gateways.get(&id).zip(self.desired.uids.get(&id));
        let Some(((status, uid), observed)) = wanted.zip(self.observed.as_mut()) else {
            if let Some(observed) = &mut self.observed {
                observed.gateways.remove(&id);
            }
            return Ok(false);
        };
        let before = observed.gateways.get(&id).filter(|own| own.uid == *uid);
        if before.is_some_and(|own| own.status == **status) {
            return Ok(false);
        }
        self.queue.spend(Instant::now());
        let written = self.writer.gateway(&id, uid, status, before).await?;
        tracing::info!(gateway = %id, phase = ?status.phase, message = status.message, "status");
        observed.gateways.insert(id, written);
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
            Key::Gateway(name) => _ = observed.gateways.remove(&GatewayId::mse(&name.name)),
            Key::Ingress(name) => _ = observed.ingresses.remove(name),
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

impl Desired {
    /// Takes the next state; what differs in it.
    fn replace(
        &mut self,
        report: &Report,
        gateways: BTreeMap<GatewayId, Arc<GatewayStatus>>,
    ) -> Changes {
        let uids: BTreeMap<_, _> =
            report.declared.iter().map(|(id, own)| (id.clone(), own.uid.clone())).collect();
        let row = |own: &BTreeMap<GatewayId, Arc<GatewayStatus>>,
                   uids: &BTreeMap<_, Arc<str>>,
                   id| { own.get(id).cloned().zip(uids.get(id).cloned()) };
        let ids: BTreeSet<_> = self.gateways.keys().chain(gateways.keys()).collect();
        let changed = ids
            .into_iter()
            .filter(|id| row(&self.gateways, &self.uids, id) != row(&gateways, &uids, id));
        let mut keys: Vec<_> = changed.map(|id| Key::Gateway(id.name.clone())).collect();
        let points = |own: &BTreeMap<GatewayId, Arc<GatewayStatus>>, id| {
            own.get(id).map(|status| status.load_balancer.clone()).unwrap_or_default()
        };
        let moved: BTreeSet<_> = gateways
            .keys()
            .filter(|id| points(&self.gateways, id) != points(&gateways, id))
            .collect();
        if !moved.is_empty() {
            let accepted = report.attachments.accepted();
            let on_moved =
                accepted.filter(|(_, row)| row.gateways.iter().any(|id| moved.contains(id)));
            keys.extend(on_moved.map(|(name, _)| Key::Ingress(name.clone())));
        }
        let attached = report.attachments.changes(&self.attachments).cloned();
        let (here, gone): (Vec<_>, _) =
            attached.partition(|name| report.attachments.get(name).is_some());
        keys.extend(here.into_iter().map(Key::Ingress));
        keys.extend(report.diags.news(&self.diags).filter_map(event_key));
        self.attachments = report.attachments.clone();
        self.diags = report.diags.clone();
        self.is_complete = is_complete(report);
        (self.gateways, self.uids) = (gateways, uids);
        Changes { keys, gone }
    }

    /// Everything that has a status, and every finding.
    fn keys(&self) -> Vec<Key> {
        let gateways = self.gateways.keys().map(|id| Key::Gateway(id.name.clone()));
        let ingresses = self.attachments.accepted().map(|(name, _)| Key::Ingress(name.clone()));
        let events = self.diags.iter().filter_map(event_key);
        gateways.chain(ingresses).chain(events).collect()
    }

    /// Gateways that have had no Envoy for too long.
    fn overdue(
        &mut self,
        report: &Report,
        acknowledged: &BTreeSet<GatewayId>,
        now: Instant,
        patience: Duration,
    ) -> BTreeSet<GatewayId> {
        let lonely =
            |id: &GatewayId| report.declared.contains_key(id) && !acknowledged.contains(id);
        self.lonely_since.retain(|id, _| lonely(id));
        for id in report.declared.keys().filter(|id| lonely(id)) {
            self.lonely_since.entry(id.clone()).or_insert(now);
        }
        let overdue = self.lonely_since.iter().filter(|(_, since)| now >= **since + patience);
        overdue.map(|(id, _)| id.clone()).collect()
    }
}

/// Whether the fleet has been read, so that what is missing in it does not exist.
fn is_complete(report: &Report) -> bool {
    report.published && !report.unsynced.contains(&Scope::Fleet)
}

fn event_key(diag: &Diag) -> Option<Key> {
    events::resource(&diag.object)?;
    Some(Key::Event(diag.object.clone(), diag.reason))
}

/// Whether the Envoy has taken its first listeners and clusters.
fn has_acknowledged(envoy: &proto::Envoy) -> bool {
    let kind = |kind: Kind| envoy.types.iter().find(|own| own.r#type == kind.to_string());
    let listeners = kind(Kind::Listener).is_some_and(|own| own.acknowledged > 0);
    // A gateway may have no cluster at all.
    let clusters = kind(Kind::Cluster).is_some_and(|own| own.sent == 0 || own.acknowledged > 0);
    envoy.gateway_found && listeners && clusters
}
