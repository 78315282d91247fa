//! The engine's thread: batches in, views out, at most one tick in an interval.
//!
//! Owns the clock that the engine must not have. The first change of a burst is applied at once;
//! what arrives within the interval after it is applied together (xds.md 3.14).

use std::{
    collections::BTreeMap,
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::{mpsc, watch};

use crate::{
    admin::{EngineCounters, MemberReport, Report, Trouble},
    diag::{Diag, Severity},
    engine::{Commit, Engine},
    key::{MemberId, Scope},
    snapshot::Publisher,
    store::{Change, Health, Member, Store},
};

/// Batches that may wait. A source that is faster than the engine waits for it; nothing is lost.
pub(super) const INBOX: usize = 64;

/// What the thread works with.
pub(super) struct EngineThread {
    pub(super) engine: Engine,
    pub(super) publisher: Arc<Publisher>,
    pub(super) tick_interval: Duration,
    pub(super) tick_seconds: Histogram,
}

impl EngineThread {
    /// Starts the thread. It ends when every sender of the inbox is gone.
    pub(super) fn spawn(
        self,
        inbox: mpsc::Receiver<Vec<Change>>,
    ) -> io::Result<watch::Receiver<Report>> {
        let (reports, report) = watch::channel(Report::default());
        thread::Builder::new().name("engine".into()).spawn(move || self.run(inbox, &reports))?;
        Ok(report)
    }

    fn run(mut self, mut inbox: mpsc::Receiver<Vec<Change>>, reports: &watch::Sender<Report>) {
        while let Some(mut batch) = inbox.blocking_recv() {
            let started = Instant::now();
            while let Ok(more) = inbox.try_recv() {
                batch.extend(more);
            }
            let commit = self.engine.tick(batch);
            self.publish(commit, reports);
            self.tick_seconds.observe(started.elapsed().as_secs_f64());
            if let Some(rest) = self.tick_interval.checked_sub(started.elapsed()) {
                thread::sleep(rest);
            }
        }
    }

    fn publish(&self, commit: Commit, reports: &watch::Sender<Report>) {
        for id in &commit.withdrawn {
            tracing::info!(gateway = %id, "gateway deleted; its Envoys keep what they have");
            self.publisher.withdraw(id);
        }
        for (id, view) in commit.views {
            tracing::debug!(gateway = %id, revision = view.revision, "published");
            self.publisher.publish(&id, view);
        }
        reports.send_modify(|report| {
            commit.news.iter().for_each(|diag| log(diag));
            if commit.has_declared {
                report.declared = Arc::new(self.engine.declared());
            }
            self.update(report);
        });
    }

    fn update(&self, report: &mut Report) {
        let store = self.engine.store();
        report.published = true;
        report.unsynced = unsynced(store);
        let gateways = self.engine.members().into_iter();
        report.gateways = Arc::new(gateways.map(|(id, order)| (id, order.to_vec())).collect());
        report.members = Arc::new(members(store));
        report.diags = self.engine.findings().all().clone();
        report.attachments = self.engine.attachments().clone();
        let work = self.engine.work();
        report.engine = EngineCounters {
            ticks: work.ticks,
            rows_recomputed: work.rows(),
            bytes_encoded: work.bytes_encoded,
        };
    }
}

/// A finding, once: when it appears.
fn log(diag: &Diag) {
    let Diag { object, field, severity, reason, message } = diag;
    match severity {
        Severity::Warning => tracing::info!(%object, field, %reason, message, "finding"),
        Severity::Error => tracing::warn!(%object, field, %reason, message, "finding"),
    }
}

fn unsynced(store: &Store) -> Vec<Scope> {
    let fleet = (!store.is_fleet_synced()).then_some(Scope::Fleet);
    let members = store.members().filter(|(_, member)| member.is_registered());
    let members = members.filter(|(_, member)| !member.is_synced());
    fleet.into_iter().chain(members.map(|(id, _)| Scope::Member(id.clone()))).collect()
}

fn members(store: &Store) -> BTreeMap<MemberId, MemberReport> {
    let registered = store.members().filter(|(_, member)| member.is_registered());
    let report = |member: &Member| MemberReport {
        synced: member.is_synced(),
        services: member.service_count() as u64,
        endpoints: member.ready_endpoint_count() as u64,
        trouble: trouble(member.health()),
    };
    registered.map(|(id, member)| (id.clone(), report(member))).collect()
}

fn trouble(health: &Health) -> Option<Trouble> {
    match health {
        Health::Connecting | Health::Syncing | Health::Live => None,
        Health::Stale { reason, message } => Some(Trouble { reason, message: message.clone() }),
    }
}
