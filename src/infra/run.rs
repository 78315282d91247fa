//! The loop: from what gateways declare and what is there to requests, one at a time.
//!
//! Owns what was last declared and what went wrong. Reads its inputs and never blocks them (faults.md
//! B7). Cost of news: the objects that it is about.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant, SystemTime},
};

use serde_json::Value;
use tokio::{sync::watch, time::sleep_until};

use crate::{
    admin::InfraMeter,
    diag::{Diag, Field, Reason},
    gateway::{Address, Declared},
    identity::authority::Issued,
    infra::{
        Certificates, Inputs, Kind, Options,
        api::{FIELD_MANAGER, Failure, Requests},
        drift::{difference, is_ours, is_scaled_by_others, trouble},
        name::object_name,
        observed::{News, Observed},
        queue::{Key, Queue},
        render::{DEFAULT_REPLICAS, Managed, object},
    },
    key::{GatewayId, ObjectRef},
    settings::InfraTimings,
    status::{Provision, Provisions},
};

/// What the Pods of a Deployment are made with.
const MOUNTED: [Kind; 3] = [Kind::ServiceAccount, Kind::Secret, Kind::ConfigMap];

/// The loop's state.
pub(super) struct Loop {
    requests: Requests,
    inputs: Inputs,
    provisions: watch::Sender<Arc<Provisions>>,
    meter: Arc<InfraMeter>,
    options: Options,
    timings: InfraTimings,
    observed: Observed,
    /// As it was last taken in: most reports differ in something else.
    declared: Arc<BTreeMap<GatewayId, Declared>>,
    /// Gateways whose object is valid; those of the others stay as they are.
    wanted: BTreeMap<GatewayId, Managed>,
    /// Of every gateway, by the name of its objects.
    names: BTreeMap<String, GatewayId>,
    queue: Queue,
    problems: BTreeMap<Key, Problem>,
    /// The tenure in which everything was looked at; 0 for none.
    term: u64,
    /// When to look at the age of certificates again.
    renewal: Instant,
}

/// Why an object is not as it should be, for people.
struct Problem {
    reason: Reason,
    message: String,
}

impl Loop {
    pub(super) fn new(
        requests: Requests,
        mut inputs: Inputs,
        provisions: watch::Sender<Arc<Provisions>>,
        meter: Arc<InfraMeter>,
        options: Options,
        timings: InfraTimings,
    ) -> Loop {
        inputs.report.mark_changed();
        let observed = Observed::new(&requests.client, &options.namespace);
        Loop {
            requests,
            inputs,
            provisions,
            meter,
            options,
            timings,
            observed,
            declared: Arc::default(),
            wanted: BTreeMap::new(),
            names: BTreeMap::new(),
            queue: Queue::new(timings),
            problems: BTreeMap::new(),
            term: 0,
            renewal: Instant::now() + timings.renewal,
        }
    }

    /// Runs until it is dropped.
    pub(super) async fn run(mut self) {
        loop {
            self.look(Instant::now());
            let wake = self.step().await;
            self.tell();
            tokio::select! {
                () = sleep_until(wake.into()) => {}
                news = self.observed.next() => self.take_news(news),
                Ok(()) = self.inputs.report.changed() => self.inputs.report.mark_changed(),
                Ok(()) = self.inputs.authority.changed() => self.touch_all(&[Kind::Secret]),
                Ok(()) = self.inputs.tenure.changed() => {}
            }
        }
    }

    /// Takes in what is new.
    fn look(&mut self, now: Instant) {
        self.take_report(now);
        let tenure = self.inputs.tenure.borrow_and_update().clone();
        match tenure.is_held(now) {
            true if self.term != tenure.term => {
                tracing::info!(term = tenure.term, "this replica manages gateways now");
                self.term = tenure.term;
                self.touch_all(&Kind::ALL);
            }
            true => {}
            false => self.leave(),
        }
        if self.renewal <= now {
            self.renewal = now + self.timings.renewal;
            self.touch_all(&[Kind::Secret]);
        }
    }

    /// Somebody else may write now, and says what is wrong.
    fn leave(&mut self) {
        self.term = 0;
        self.queue.clear();
        self.problems.clear();
    }

    fn take_report(&mut self, now: Instant) {
        if !self.inputs.report.has_changed().unwrap_or_default() {
            return;
        }
        let report = self.inputs.report.borrow_and_update().clone();
        // Before everything was read, nothing is known to be missing.
        if !report.published || Arc::ptr_eq(&report.declared, &self.declared) {
            return;
        }
        self.declared = report.declared.clone();
        let mut wanted = BTreeMap::new();
        for (id, own) in report.declared.iter() {
            // While the object is refused its Envoys are kept as they were.
            let last = || self.wanted.get(id).map(|last| last.instance.clone());
            let Some(instance) = own.instance.clone().or_else(last) else { continue };
            let managed = Managed { id: id.clone(), uid: own.uid.clone(), instance };
            if self.wanted.get(id) != Some(&managed) {
                Kind::ALL.into_iter().for_each(|kind| self.touch(id, kind, now));
            }
            wanted.insert(id.clone(), managed);
        }
        self.names = report.declared.keys().map(|id| (object_name(id), id.clone())).collect();
        self.problems.retain(|key, _| wanted.contains_key(&key.gateway));
        self.wanted = wanted;
    }

    fn touch(&mut self, gateway: &GatewayId, kind: Kind, now: Instant) {
        self.queue.touch(Key { gateway: gateway.clone(), kind }, now);
    }

    fn touch_all(&mut self, kinds: &[Kind]) {
        let now = Instant::now();
        for id in self.wanted.keys() {
            for kind in kinds {
                self.queue.touch(Key { gateway: id.clone(), kind: *kind }, now);
            }
        }
    }

    fn take_news(&mut self, news: News) {
        match news {
            News::Listed(kind) => self.touch_all(&[kind]),
            News::Objects(kind, names) => {
                for name in names {
                    if let Some(id) = self.names.get(&name).cloned() {
                        self.touch(&id, kind, Instant::now());
                    }
                }
            }
        }
    }

    /// Looks at objects whose time has come, until a request was made; when to look again.
    async fn step(&mut self) -> Instant {
        while self.term != 0 {
            match self.queue.next(Instant::now()) {
                Ok(key) => {
                    let outcome = self.settle(&key).await;
                    if self.conclude(key, outcome) {
                        // Meanwhile there may be something new.
                        return Instant::now();
                    }
                }
                Err(at) => return at.map_or(self.renewal, |at| at.min(self.renewal)),
            }
        }
        self.renewal
    }

    /// Makes one object what it should be; whether a request was made.
    async fn settle(&mut self, key: &Key) -> Result<bool, Failure> {
        let Some(managed) = self.wanted.get(&key.gateway) else { return Ok(false) };
        // Its list will ask for all of them.
        if !self.observed.is_listed(key.kind) || !self.has_ground(key) {
            return Ok(false);
        }
        let name = object_name(&key.gateway);
        let there = self.observed.get(key.kind, &name);
        let Some(document) = self.document(key.kind, managed, there) else { return Ok(false) };
        let changed = there.and_then(|own| difference(&document, own));
        if there.is_some() && changed.is_none() {
            self.meter.in_order.fetch_add(1, Relaxed);
            return Ok(false);
        }
        if there.is_some_and(|own| !is_ours(own, &key.gateway)) {
            return Err(Failure::NotOurs);
        }
        // One without our label is not watched.
        let seen = match there {
            Some(own) => Some(own.clone()),
            None => {
                self.queue.spend(Instant::now());
                let stranger = self.requests.get(key.kind, &name).await?;
                if stranger.as_ref().is_some_and(|own| !is_ours(own, &key.gateway)) {
                    return Err(Failure::NotOurs);
                }
                stranger
            }
        };
        // Whatever else differs: with a number of somebody's beside ours nothing can be applied, and
        // one that was replaced so before is not taken back by what is applied without it.
        let ports_of = |own: &Value| own.pointer("/spec/ports").cloned();
        if let Some(ports) = ports_of(&document)
            && let Some(seen) = seen.as_ref().and_then(ports_of)
            && are_other_ports(&ports, &seen)
        {
            self.queue.spend(Instant::now());
            self.requests.replace_ports(&name, &ports).await?;
        }
        self.queue.spend(Instant::now());
        let after = self.requests.apply(key.kind, &name, &document).await?;
        tracing::info!(gateway = %key.gateway, kind = key.kind.as_str(), name, "applied");
        let changed = difference(&document, &after);
        self.observed.put(key.kind, &name, after);
        changed.map_or(Ok(true), |path| Err(Failure::Changed(path)))
    }

    /// Pods are made of what they mount: of an object that is not ours, or not yet as it should be,
    /// they would take what somebody else has put there.
    fn has_ground(&self, key: &Key) -> bool {
        let is_good = |kind| {
            let own = Key { kind, ..key.clone() };
            let is_settled = !self.problems.contains_key(&own) && !self.queue.waits(&own);
            is_settled && self.observed.is_listed(kind)
        };
        key.kind != Kind::Deployment || MOUNTED.into_iter().all(is_good)
    }

    /// Whether a request was made.
    fn conclude(&mut self, key: Key, outcome: Result<bool, Failure>) -> bool {
        let failure = match outcome {
            Ok(made_request) => {
                self.queue.done(&key);
                self.problems.remove(&key);
                if MOUNTED.contains(&key.kind) {
                    self.touch(&key.gateway, Kind::Deployment, Instant::now());
                }
                return made_request;
            }
            // The next tenure looks at everything.
            Err(Failure::NotHolder) => {
                self.leave();
                return true;
            }
            Err(failure) => failure,
        };
        let (reason, after) = match &failure {
            Failure::NotOurs => (Reason::ObjectNotOurs, Duration::ZERO),
            Failure::Refused { after, .. } => (Reason::ProvisioningFailed, *after),
            Failure::Changed(_) | Failure::NotHolder => {
                (Reason::ProvisioningFailed, Duration::ZERO)
            }
        };
        self.meter.errors.fetch_add(1, Relaxed);
        let message = format!("{}: {failure}", self.named(&key));
        if self.queue.retry(key.clone(), after, Instant::now()) == 1 {
            tracing::warn!(gateway = %key.gateway, error = message, "not as it should be");
        }
        self.problems.insert(key, Problem { reason, message });
        true
    }

    /// What an object should be; `None` if it cannot be known yet, or there is to be none.
    fn document(&self, kind: Kind, managed: &Managed, there: Option<&Value>) -> Option<Value> {
        let certificate = match kind {
            Kind::Secret => self.certificate(managed, there),
            Kind::ServiceAccount
            | Kind::ConfigMap
            | Kind::Deployment
            | Kind::Service
            | Kind::PodDisruptionBudget => None,
        };
        let is_scaled = there.is_some_and(|own| is_scaled_by_others(own, FIELD_MANAGER));
        let default = (!is_scaled).then_some(DEFAULT_REPLICAS);
        let replicas = managed.instance.replicas.or(default);
        object(kind, managed, &self.options, certificate.as_ref(), replicas)
    }

    /// The certificate that is there, or a new one when that is due.
    fn certificate(&self, managed: &Managed, there: Option<&Value>) -> Option<Issued> {
        match self.options.certificates {
            Certificates::Issued => {}
            Certificates::Brought | Certificates::None => return None,
        }
        let authority = self.inputs.authority.borrow().clone()?;
        let have = there.and_then(issued);
        let now = SystemTime::now();
        if !authority.is_due(have.as_ref(), &managed.id, now) {
            return have;
        }
        match authority.issue(&managed.id, now) {
            Ok(issued) => Some(issued),
            Err(err) => {
                tracing::warn!(gateway = %managed.id, error = %err, "no certificate");
                None
            }
        }
    }

    /// Says what is there to whoever writes status, and counts it.
    fn tell(&self) {
        let own = |(name, id): (&String, &GatewayId)| (id.clone(), self.provision(name, id));
        let all: Provisions = self.names.iter().map(own).collect();
        let unsettled = all.values().filter(|own| !own.is_settled).count();
        self.meter.unsettled.store(unsettled as u64, Relaxed);
        self.provisions.send_if_modified(|own| {
            let is_news = **own != all;
            if is_news {
                *own = Arc::new(all);
            }
            is_news
        });
    }

    fn provision(&self, name: &str, id: &GatewayId) -> Provision {
        let at = Field::of(&ObjectRef::fleet(id.kind, id.name.clone()));
        let key = |kind| Key { gateway: id.clone(), kind };
        let own = Kind::ALL.into_iter().filter_map(|kind| self.problems.get(&key(kind)));
        let mut findings: Vec<_> =
            own.map(|own| Diag::error(&at, own.reason, own.message.clone())).collect();
        let deployment = self.observed.get(Kind::Deployment, name);
        let pods = deployment.and_then(trouble);
        let pods = pods.map(|own| format!("{}: {own}", self.named(&key(Kind::Deployment))));
        let unread = self.observed.problems().cloned();
        let more = pods.into_iter().chain(unread);
        findings.extend(more.map(|own| Diag::error(&at, Reason::ProvisioningFailed, own)));
        let is_there = |kind| match (kind, self.options.certificates) {
            (Kind::Secret, Certificates::Brought | Certificates::None) => true,
            (kind, _) => self.observed.get(kind, name).is_some() && !self.queue.waits(&key(kind)),
        };
        Provision {
            addresses: self.observed.get(Kind::Service, name).map(addresses).unwrap_or_default(),
            is_settled: findings.is_empty() && Kind::ALL.into_iter().all(is_there),
            findings,
        }
    }

    fn named(&self, key: &Key) -> String {
        let name = object_name(&key.gateway);
        format!("{} {}/{name}", key.kind.as_str(), self.options.namespace)
    }
}

/// Whether a Service has other ports than it should, also where all that it should have are there.
fn are_other_ports(wanted: &Value, there: &Value) -> bool {
    let count = |ports: &Value| ports.as_array().map_or(0, Vec::len);
    count(wanted) != count(there) || difference(wanted, there).is_some()
}

/// What a Secret of type `kubernetes.io/tls` holds.
fn issued(secret: &Value) -> Option<Issued> {
    let file = |name: &str| {
        let data: k8s_openapi::ByteString =
            serde_json::from_value(secret.get("data")?.get(name)?.clone()).ok()?;
        String::from_utf8(data.0).ok()
    };
    Some(Issued {
        certificate: file("tls.crt")?,
        key: file("tls.key")?,
        authorities: file("ca.crt")?,
    })
}

/// Where a Service is reached from outside, in order, each once.
fn addresses(service: &Value) -> Vec<Address> {
    let points = service.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
    let text = |own: &Value| own.get("ip").or(own.get("hostname"))?.as_str()?.parse().ok();
    let mut all: Vec<_> = points.into_iter().flatten().filter_map(text).collect();
    all.sort();
    all.dedup();
    all
}
