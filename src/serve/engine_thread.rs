//! The engine's thread: batches in, views out, at most one tick in an interval.
//!
//! Owns the clock that the engine must not have. The first change of a burst is applied at once;
//! what arrives within the interval after it is applied together (xds.md 3.14).

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, watch};

use crate::{
    engine::{Engine, Findings, Work},
    key::GatewayId,
    model::MemberOrder,
    snapshot::Publisher,
    store::{Change, MemberSummary},
};

/// Batches that may wait. A source that is faster than the engine waits for it; it never loses.
const INBOX: usize = 64;

/// What the engine says about itself after a tick.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Whether the fleet and every registered member have been read once.
    pub is_synced: bool,
    /// What is wrong.
    pub findings: Findings,
    /// What has been done.
    pub work: Work,
    /// Every registered member.
    pub members: Arc<[MemberSummary]>,
    /// The members of every gateway, in order.
    pub gateways: Arc<[(GatewayId, MemberOrder)]>,
    /// How long the last tick took.
    pub last_tick: Duration,
}

/// Where sources send, and what the thread reads.
pub(super) fn channel() -> (mpsc::Sender<Vec<Change>>, mpsc::Receiver<Vec<Change>>) {
    mpsc::channel(INBOX)
}

/// Starts the thread. It ends when every sender is gone.
pub(super) fn spawn(
    engine: Engine,
    inbox: mpsc::Receiver<Vec<Change>>,
    publisher: Arc<Publisher>,
    tick_interval: Duration,
) -> io::Result<watch::Receiver<Status>> {
    let (sender, status) = watch::channel(Status::default());
    thread::Builder::new()
        .name("engine".into())
        .spawn(move || run(engine, inbox, &publisher, &sender, tick_interval))?;
    Ok(status)
}

fn run(
    mut engine: Engine,
    mut inbox: mpsc::Receiver<Vec<Change>>,
    publisher: &Publisher,
    status: &watch::Sender<Status>,
    tick_interval: Duration,
) {
    while let Some(mut batch) = inbox.blocking_recv() {
        let started = Instant::now();
        while let Ok(more) = inbox.try_recv() {
            batch.extend(more);
        }
        tick(&mut engine, batch, publisher, status, started);
        if let Some(rest) = tick_interval.checked_sub(started.elapsed()) {
            thread::sleep(rest);
        }
    }
}

fn tick(
    engine: &mut Engine,
    batch: Vec<Change>,
    publisher: &Publisher,
    status: &watch::Sender<Status>,
    started: Instant,
) {
    let commit = engine.tick(batch);
    for id in &commit.withdrawn {
        publisher.withdraw(id);
    }
    for (id, view) in commit.views {
        publisher.publish(&id, view);
    }
    if commit.has_new_findings {
        for diag in engine.findings().list() {
            tracing::debug!(%diag, "finding");
        }
    }
    status.send_replace(Status {
        is_synced: engine.store().is_synced(),
        findings: engine.findings().clone(),
        work: engine.work(),
        members: engine.store().member_summaries().into(),
        gateways: engine.members().into_iter().collect(),
        last_tick: started.elapsed(),
    });
}
