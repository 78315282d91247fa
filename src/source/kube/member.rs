//! One member, from its registration on.
//!
//! Owns which connection is in force and what is said of the member's health. What is known of a
//! member is only ever changed by a connection that is complete and proved to lead to the same
//! cluster as before; whatever happens to credentials, requests or the registration meanwhile is
//! reported and takes nothing away (faults.md A1–A9). Must not know other members, except that
//! one of them may have a better claim to the same cluster. Cost: the trimmed objects, shared with
//! the store.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use kube::Client;
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};

use crate::{
    key::{MemberId, ObjectKind, Scope},
    settings::SourceTimings,
    source::{
        Wanted,
        kube::{
            backoff::backoff,
            claims::{Claim, Claims, Rank, Rival},
            connection::{Connection, Heard, Part},
            meter::SourceMeter,
            mirror::Mirror,
            probe::ClusterUid,
            request::{Fault, Trouble},
        },
        registry::{Access, AccessError, Registration},
    },
    store::{Change, Health, Network, Registered},
};

/// The reason of a member that does not answer.
const UNREACHABLE: &str = Fault::Unreachable.reason();

/// How much sooner than a deadline its passing is noticed: as a part of the deadline.
const JUDGEMENTS: u32 = 16;

/// What the tasks of all members share.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) fleet: Client,
    pub(super) wanted: watch::Receiver<Wanted>,
    pub(super) changes: mpsc::Sender<Vec<Change>>,
    pub(super) claims: Claims,
    pub(super) meter: SourceMeter,
    pub(super) timings: SourceTimings,
}

/// Nobody takes changes any more.
struct Closed;

/// Reads the member until nobody takes changes any more, or its registration is gone.
pub(super) async fn run(common: Common, mut registration: watch::Receiver<Registration>) {
    let mut wanted = common.wanted.clone();
    let mut claims = common.claims.subscribe();
    let mut clock = interval(common.timings.sync_deadline / JUDGEMENTS);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let now = registration.borrow_and_update().clone();
    let asked = wanted.borrow_and_update().clone();
    let mut member = Member::new(common, now, asked);
    member.follow_registration();
    while member.settle().await.is_ok() {
        let Member { proven, candidate, .. } = &mut member;
        let done = tokio::select! {
            heard = next(proven) => member.pass_on(heard).await,
            // It is not open: all it has to say, it knows.
            _noted = next(candidate) => Ok(()),
            changed = registration.changed() => {
                if changed.is_err() {
                    return;
                }
                member.registration = registration.borrow_and_update().clone();
                member.follow_registration();
                Ok(())
            }
            Ok(()) = wanted.changed() => {
                member.wanted = wanted.borrow_and_update().clone();
                member.cover();
                Ok(())
            }
            Ok(()) = claims.changed() => Ok(()),
            _ = clock.tick() => Ok(()),
        };
        if done.is_err() {
            return;
        }
    }
}

async fn next(connection: &mut Option<Connection>) -> Heard {
    match connection {
        Some(connection) => connection.next().await,
        None => std::future::pending().await,
    }
}

struct Member {
    common: Common,
    registration: Registration,
    wanted: Wanted,
    mirrors: BTreeMap<Part, Mirror>,
    /// With the credentials that are in force.
    proven: Option<Connection>,
    /// With the ones that will be, if they are as good.
    candidate: Option<Connection>,
    /// Why no client can be made of the credentials.
    unusable: Option<AccessError>,
    /// Who the member is, from the first time that it was live.
    identity: Option<ClusterUid>,
    /// Its objects are in the store.
    is_served: bool,
    /// It is known to have nothing, because another member is the same cluster.
    has_yielded: bool,
    /// Why the connection in force had to be made anew, until it is open.
    broken: Option<(&'static str, String)>,
    /// Connections in a row that had to be made anew.
    breaks: u32,
    said: Option<(Registered, Health)>,
}

impl Member {
    fn new(common: Common, registration: Registration, wanted: Wanted) -> Member {
        Member {
            common,
            registration,
            wanted,
            mirrors: BTreeMap::new(),
            proven: None,
            candidate: None,
            unusable: None,
            identity: None,
            is_served: false,
            has_yielded: false,
            broken: None,
            breaks: 0,
            said: None,
        }
    }

    fn id(&self) -> &MemberId {
        &self.registration.id
    }

    fn parts(&self) -> BTreeSet<Part> {
        Part::all(self.registration.network, &self.wanted.pod_namespaces)
    }

    /// How its Pods are reached, as far as anybody should know: while a member is served, its Pods
    /// are not given up before its Nodes are known.
    fn network(&self) -> Network {
        match self.registration.network {
            Network::Overlay if self.is_served && !self.mirrors.contains_key(&Part::Nodes) => {
                Network::Underlay
            }
            declared @ (Network::Overlay | Network::Underlay) => declared,
        }
    }

    /// Make before break: while the member is served, new credentials are tried beside the old
    /// ones (faults.md A9), and without any the old ones go on as long as they work (A8).
    fn follow_registration(&mut self) {
        self.unusable = None;
        self.cover();
        if self.registration.paused {
            (self.proven, self.candidate) = (None, None);
            return;
        }
        let access = self.registration.access.as_ref().ok();
        let has = |own: &Option<Connection>| own.as_ref().map(Connection::access) == access;
        if access.is_none() || has(&self.proven) {
            self.candidate = None;
        } else if self.proven.is_none() || !self.is_served {
            let access = self.registration.access.clone();
            self.proven = access.ok().and_then(|access| self.connect(&access, Duration::ZERO));
        } else if !has(&self.candidate) {
            let access = self.registration.access.clone();
            self.candidate = access.ok().and_then(|access| self.connect(&access, Duration::ZERO));
        }
    }

    /// A connection that begins after `delay`; `None` if there can be none.
    fn connect(&mut self, access: &Access, delay: Duration) -> Option<Connection> {
        let Common { fleet, meter, timings, .. } = &self.common;
        let meter = meter.of(Scope::Member(self.id().clone()));
        let parts = self.parts();
        let made = Connection::new(self.id(), (access, fleet), &parts, (meter, *timings), delay);
        match made {
            Ok(connection) => Some(connection),
            Err(err) => {
                self.unusable = Some(AccessError::InvalidKubeconfig(err.to_string()));
                None
            }
        }
    }

    fn cover(&mut self) {
        let parts = self.parts();
        let connections = self.proven.iter_mut().chain(&mut self.candidate);
        connections.for_each(|own| own.cover(&parts));
    }

    /// What nobody asks for any more goes, once it was said what is asked for instead.
    async fn forget(&mut self) -> Result<(), Closed> {
        let parts = self.parts();
        let unwanted = self.mirrors.extract_if(.., |part, _| !parts.contains(part));
        let gone = unwanted.flat_map(|(_, mut mirror)| mirror.clear()).collect();
        self.send(gone).await
    }

    async fn pass_on(&mut self, heard: Heard) -> Result<(), Closed> {
        let changes = match heard {
            Heard::Listed(part, all) => self.mirror(&part).list(all),
            Heard::Changed(part, sighting) => self.mirror(&part).see(sighting),
            Heard::Noted => return Ok(()),
        };
        self.send(changes).await
    }

    fn mirror(&mut self, part: &Part) -> &mut Mirror {
        let id = &self.registration.id;
        self.mirrors.entry(part.clone()).or_insert_with(|| Mirror::new(&part.watched(id)))
    }

    /// Draws the consequences of whatever is known now.
    async fn settle(&mut self) -> Result<(), Closed> {
        self.abandon();
        self.yield_to_rival().await?;
        if self.candidate.as_ref().is_some_and(|own| self.may_open(own)) {
            self.proven = self.candidate.take();
        }
        if self.proven.as_ref().is_some_and(|own| self.may_open(own)) {
            self.open().await?;
        }
        self.claim();
        self.say().await?;
        self.forget().await
    }

    /// A connection of which one kind is refused, or that leads to another cluster, is given up:
    /// Services and EndpointSlices must be of the same time (faults.md A7). Everything will be
    /// listed anew.
    fn abandon(&mut self) {
        let Some(connection) = self.proven.as_ref().filter(|own| own.is_open()) else { return };
        let refusal = connection.refusal().map(|own| (own.reason(), own.message.clone()));
        let Some(broken) = refusal.or_else(|| self.mismatch(connection)) else { return };
        let (reason, message) = &broken;
        tracing::warn!(member = %self.id(), reason, message, "frozen: everything is listed anew");
        self.breaks = if connection.has_lasted() { 1 } else { self.breaks.saturating_add(1) };
        let access = connection.access().clone();
        let delay = backoff(self.breaks, &self.common.timings);
        self.broken = Some(broken);
        self.proven = self.connect(&access, delay);
    }

    /// Who has the better claim to the same cluster is served instead, as soon as it is. From then
    /// on nobody need wait for this one: it is known to have nothing.
    async fn yield_to_rival(&mut self) -> Result<(), Closed> {
        let rival = self.uid().and_then(|uid| self.rival(uid));
        if self.has_yielded || !rival.is_some_and(|rival| rival.is_served) {
            return Ok(());
        }
        (self.has_yielded, self.is_served) = (true, false);
        if let Some(open) = self.proven.take_if(|own| own.is_open()) {
            self.proven = self.connect(open.access(), Duration::ZERO);
        }
        let mut changes = self.mirrors.values_mut().flat_map(Mirror::clear).collect();
        self.everything(&mut changes);
        self.send(changes).await
    }

    /// Which cluster it is, as far as is known.
    fn uid(&self) -> Option<&ClusterUid> {
        let proven = self.proven.as_ref().filter(|own| self.mismatch(own).is_none());
        proven.and_then(Connection::uid).or(self.identity.as_ref())
    }

    /// A cluster whose declaration is gone may be declared anew under another id. Neither of the
    /// two yields then: whoever still names the old id keeps its endpoints (faults.md A8).
    fn is_undeclared(&self) -> bool {
        matches!(self.registration.access, Err(AccessError::Undeclared(_)))
    }

    fn rival(&self, uid: &ClusterUid) -> Option<Rival> {
        if self.is_undeclared() {
            return None;
        }
        self.common.claims.rival(uid, &Rank::of(&self.registration))
    }

    /// The identity that counts: a declared one, or the one that was met first.
    fn expected(&self) -> Option<&str> {
        self.registration.cluster_uid.as_deref().or(self.identity.as_deref())
    }

    fn mismatch(&self, connection: &Connection) -> Option<(&'static str, String)> {
        let (expected, uid) = (self.expected()?, connection.uid()?);
        let message = format!("the cluster that answers is {uid}, and the member is {expected}");
        (expected != &**uid).then_some(("ClusterIdentityMismatch", message))
    }

    /// Until it is known which Pods are wanted, a member is not known either.
    fn may_open(&self, connection: &Connection) -> bool {
        !connection.is_open()
            && connection.is_complete()
            && self.wanted.is_known
            && self.mismatch(connection).is_none()
            && connection.uid().is_some_and(|uid| self.rival(uid).is_none())
    }

    /// What the connection has gathered takes the place of what was known.
    async fn open(&mut self) -> Result<(), Closed> {
        let Some(connection) = &mut self.proven else { return Ok(()) };
        let gathered = connection.open();
        self.identity = connection.uid().cloned();
        (self.is_served, self.has_yielded) = (true, false);
        self.broken = None;
        let mut changes = Vec::new();
        for (part, all) in gathered {
            let own = self.mirror(&part).list(all);
            changes.extend(own.into_iter().filter(|own| matches!(own, Change::Report { .. })));
        }
        self.everything(&mut changes);
        tracing::info!(member = %self.id(), "listed and watched");
        self.send(changes).await
    }

    /// All that is known, and that it is all. Not the differences to what was known before:
    /// another task may have filled the store before this one.
    fn everything(&self, changes: &mut Vec<Change>) {
        let scope = Scope::Member(self.id().clone());
        let kinds =
            [ObjectKind::Service, ObjectKind::EndpointSlice, ObjectKind::Pod, ObjectKind::Node];
        for kind in kinds {
            let mirrors = self.mirrors.iter().filter(|(part, _)| part.kind() == kind);
            let objects = mirrors.flat_map(|(_, mirror)| mirror.objects()).cloned().collect();
            changes.push(Change::Replace(scope.clone(), kind, objects));
        }
        changes.push(Change::Synced(scope));
    }

    fn claim(&mut self) {
        let uid = self.uid().filter(|_| !self.is_undeclared());
        let claim = uid.map(|uid| Claim {
            uid: uid.clone(),
            rank: Rank::of(&self.registration),
            is_served: self.is_served,
        });
        self.common.claims.set(self.id(), claim);
    }

    /// Says what is declared of the member and how it is, if that is news.
    async fn say(&mut self) -> Result<(), Closed> {
        let (said_what, said_how) = self.said.take().unzip();
        let registered = Registered { network: self.network(), ..self.registration.registered() };
        let health = steady(said_how.as_ref(), self.health());
        let mut changes = Vec::new();
        let id = self.id().clone();
        if said_what.as_ref() != Some(&registered) {
            changes.push(Change::Register(id.clone(), registered.clone()));
        }
        if said_how.as_ref() != Some(&health) {
            tracing::info!(member = %id, ?health, "member");
            changes.push(Change::Health(Scope::Member(id), health.clone()));
        }
        self.said = Some((registered, health));
        self.send(changes).await
    }

    fn health(&self) -> Health {
        let stale = |(reason, message)| Health::Stale { reason, message };
        if self.registration.paused {
            return stale(("Paused", "the registration says that it is left alone".to_owned()));
        }
        let error = self.registration.access.as_ref().err().or(self.unusable.as_ref());
        if let Some(error) = error {
            return stale((error.reason(), error.to_string()));
        }
        if let Some(trouble) = self.candidate.as_ref().and_then(|own| self.delay_of(own)) {
            let (reason, message) = trouble;
            return stale((reason, format!("new credentials are not in force: {message}")));
        }
        match &self.proven {
            None => Health::Connecting,
            Some(own) if own.is_open() => {
                own.staleness().map_or(Health::Live, |trouble| stale(said(&trouble)))
            }
            Some(own) => {
                let trouble = self.delay_of(own).or_else(|| self.broken.clone());
                let begun = if own.is_answered() { Health::Syncing } else { Health::Connecting };
                trouble.map_or(begun, stale)
            }
        }
    }

    /// Why a connection is not open yet, if somebody should know.
    fn delay_of(&self, connection: &Connection) -> Option<(&'static str, String)> {
        let trouble = connection.trouble();
        let refused = trouble.filter(|trouble| trouble.fault.is_refusal()).map(said);
        let conflict = || {
            let Rival { id, .. } = self.rival(connection.uid()?)?;
            let message =
                format!("it is the same cluster as member {id}, which was declared first");
            Some(("Conflicted", message))
        };
        let overdue = || {
            let late = || ("SyncTimeout", "not everything could be listed so far".to_owned());
            connection.is_overdue().then(|| trouble.map_or_else(late, said))
        };
        refused.or_else(|| self.mismatch(connection)).or_else(conflict).or_else(overdue)
    }

    async fn send(&self, changes: Vec<Change>) -> Result<(), Closed> {
        if changes.is_empty() {
            return Ok(());
        }
        self.common.changes.send(changes).await.map_err(|_| Closed)
    }
}

/// While an API server is out of reach each attempt may fail in its own way. The first message
/// stands, so that statuses are not written for every one (faults.md A5).
fn steady(before: Option<&Health>, now: Health) -> Health {
    let is_lost = |health: &Health| matches!(health, Health::Stale { reason: UNREACHABLE, .. });
    before.filter(|before| is_lost(before) && is_lost(&now)).cloned().unwrap_or(now)
}

fn said(trouble: &Trouble) -> (&'static str, String) {
    (trouble.reason(), trouble.message.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_a05_a_lost_member_keeps_its_first_message_and_no_other_does() {
        let stale = |reason, message: &str| Health::Stale { reason, message: message.to_owned() };
        let (reset, eof) = (stale("Unreachable", "reset"), stale("Unreachable", "eof"));
        let (forbidden, refused) = (stale("Forbidden", "pods"), stale("Forbidden", "services"));
        let check = |before: Option<&Health>, now: &Health, expect: &Health| {
            assert_eq!(steady(before, now.clone()), *expect, "{before:?} {now:?}");
        };
        check(None, &eof, &eof);
        check(Some(&reset), &eof, &reset);
        check(Some(&reset), &Health::Live, &Health::Live);
        check(Some(&Health::Live), &reset, &reset);
        check(Some(&reset), &forbidden, &forbidden);
        check(Some(&forbidden), &refused, &refused);
    }
}
