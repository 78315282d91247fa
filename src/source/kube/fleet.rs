//! The watches of the fleet: gateways, IngressClasses and Ingresses, and of the Secrets those that
//! are named (faults.md S3).
//!
//! Owns the tasks and the channels between them; [`State`] decides everything. Must not know
//! members. Cost: a task and a connection's stream for each watch.

mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use kube::Client;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{AbortHandle, JoinHandle, JoinSet},
};

use crate::{
    key::Scope,
    settings::SourceTimings,
    source::{
        Wanted,
        kube::{
            fleet::state::{Key, State, Step},
            link::Link,
            meter::SourceMeter,
            watch::{News, Post, run},
        },
    },
    store::Change,
};

/// News that may wait. A watch that is faster than the engine waits for it.
const INBOX: usize = 64;

/// Watches the fleet until `changes` is closed or nobody says any more what is wanted.
///
/// `Listed` is sent when all but the Secrets have been listed; `Synced` when the Secrets that were
/// then wanted have been too, so that a restart never drops a certificate that Envoys hold, and
/// `registered` says that every member has been heard of. How the fleet is reached arrives as
/// `Health`. Nothing is ever taken back because it cannot be read.
pub fn spawn_fleet(
    fleet: Client,
    wanted: watch::Receiver<Wanted>,
    changes: mpsc::Sender<Vec<Change>>,
    meter: SourceMeter,
    timings: SourceTimings,
    registered: oneshot::Receiver<()>,
) -> JoinHandle<()> {
    // Each of the few watches is its own probe.
    let timings = SourceTimings { backoff_max: timings.probe_lost, ..timings };
    let link = Link::new(fleet, meter.of(Scope::Fleet));
    let (sender, news) = mpsc::channel(INBOX);
    let tasks = Tasks { link, timings, news: sender, running: JoinSet::new(), by_key: [].into() };
    tokio::spawn(drive(tasks, news, wanted, registered, changes))
}

async fn drive(
    mut tasks: Tasks,
    mut news: mpsc::Receiver<(Key, News)>,
    mut wanted: watch::Receiver<Wanted>,
    mut registered: oneshot::Receiver<()>,
    changes: mpsc::Sender<Vec<Change>>,
) {
    let mut are_members_known = false;
    let mut state = State::default();
    let mut step = state.start();
    loop {
        let Step { changes: new, begun, ended } = step;
        ended.iter().for_each(|key| tasks.end(key));
        begun.into_iter().for_each(|key| tasks.begin(key));
        if !new.is_empty() && changes.send(new).await.is_err() {
            return;
        }
        step = tokio::select! {
            Some((key, news)) = news.recv() => state.hear(&key, news),
            asked = wanted.changed() => match asked {
                Ok(()) => state.want(wanted.borrow_and_update().clone()),
                Err(_) => return,
            },
            heard = &mut registered, if !are_members_known => {
                are_members_known = true;
                // Of members of which nothing was heard, nothing is known.
                heard.map_or_else(|_| Step::default(), |()| state.know_members())
            }
            () = changes.closed() => return,
        };
    }
}

/// The running watches; dropping this ends them.
struct Tasks {
    link: Link,
    timings: SourceTimings,
    news: mpsc::Sender<(Key, News)>,
    running: JoinSet<()>,
    by_key: BTreeMap<Key, AbortHandle>,
}

impl Tasks {
    fn begin(&mut self, key: Key) {
        let watched = key.watched();
        tracing::debug!(watch = %watched, "begun");
        let post = Post { key: key.clone(), news: self.news.clone() };
        let task = self.running.spawn(run(self.link.clone(), watched, post, self.timings));
        self.by_key.insert(key, task);
    }

    fn end(&mut self, key: &Key) {
        if let Some(task) = self.by_key.remove(key) {
            tracing::debug!(watch = %key.watched(), "ended");
            task.abort();
        }
        // What has ended before leaves no trace.
        while self.running.try_join_next().is_some() {}
    }
}
