//! The engine's thread: batches in, views out, at most one tick in an interval.
//!
//! Owns the clock that the engine must not have, and what is held back: no view is published
//! before the fleet has been read to the end (faults.md B2). The first change of a burst is applied
//! at once; what arrives within the interval after it is applied together (xds.md 3.14).

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::{mpsc, watch};

use crate::{
    admin::Report,
    diag::{Diag, Severity},
    engine::{Commit, Engine},
    key::GatewayId,
    serve::report,
    snapshot::{GatewayView, Publisher},
    source::Wanted,
    store::Change,
};

/// Batches that may wait. A source that is faster than the engine waits for it; nothing is lost.
pub(super) const INBOX: usize = 64;

/// What the thread works with.
pub(super) struct EngineThread {
    pub(super) engine: Engine,
    pub(super) publisher: Arc<Publisher>,
    /// What the sources are to read because an object names it.
    pub(super) wanted: watch::Sender<Wanted>,
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
        let run = move || {
            let ended = catch_unwind(AssertUnwindSafe(|| self.run(inbox, &reports)));
            if ended.is_err() {
                // Without it nothing that changes is served, and nobody would notice. Envoys keep
                // what they have, and whoever runs this process starts it again.
                tracing::error!("the engine failed");
                std::process::abort();
            }
        };
        thread::Builder::new().name("engine".into()).spawn(run)?;
        Ok(report)
    }

    fn run(mut self, mut inbox: mpsc::Receiver<Vec<Change>>, reports: &watch::Sender<Report>) {
        while let Some(mut batch) = inbox.blocking_recv() {
            let started = Instant::now();
            while let Ok(more) = inbox.try_recv() {
                batch.extend(more);
            }
            self.tick(batch, started, reports);
            self.tick_seconds.observe(started.elapsed().as_secs_f64());
            if let Some(rest) = self.tick_interval.checked_sub(started.elapsed()) {
                thread::sleep(rest);
            }
        }
    }

    fn tick(&mut self, batch: Vec<Change>, since: Instant, reports: &watch::Sender<Report>) {
        let was_open = self.engine.store().is_fleet_synced();
        let Commit { views, withdrawn, has_declared, has_references } = self.engine.tick(batch);
        for id in &withdrawn {
            tracing::info!(gateway = %id, "gateway deleted; its Envoys keep what they have");
            self.publisher.withdraw(id);
        }
        if was_open {
            self.publish(views, since);
        } else if self.engine.store().is_fleet_synced() {
            // What was held back.
            self.publish(self.engine.views(), since);
        }
        self.ask(has_references);
        reports.send_modify(|report| {
            let before = report.diags.clone();
            report::update(report, &self.engine, has_declared);
            report.diags.news(&before).for_each(log);
        });
    }

    fn publish(
        &self,
        views: impl IntoIterator<Item = (GatewayId, Arc<GatewayView>)>,
        since: Instant,
    ) {
        for (id, view) in views {
            tracing::debug!(gateway = %id, revision = view.revision, "published");
            // The engine has no clock.
            self.publisher.publish(&id, Arc::new(view.at(since)));
        }
    }

    /// Says what to read, if that differs.
    fn ask(&self, has_references: bool) {
        let is_known = self.engine.store().is_fleet_listed();
        self.wanted.send_if_modified(|wanted| {
            if !has_references && is_known == wanted.is_known {
                return false;
            }
            let next = Wanted {
                is_known,
                secrets: self.engine.named_secrets(),
                pod_namespaces: self.engine.labelled_namespaces(),
            };
            let is_news = *wanted != next;
            *wanted = next;
            is_news
        });
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

#[cfg(test)]
mod tests;
