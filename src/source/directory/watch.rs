//! Watching the directory.
//!
//! Owns when to look: after events have come to rest, and not at a file that is being written.
//! Events only say that something happened; what happened is found by looking, so none that is
//! lost or misunderstood does harm.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind},
};
use tokio::sync::mpsc::Sender;

use crate::{
    source::directory::{
        now,
        scan::scan,
        tree::{Freshness, Tree},
    },
    store::Change,
};

/// Events of one action of a user come within this time of each other.
const QUIET: Duration = Duration::from_millis(5);

/// A directory that never comes to rest is looked at this often.
const MAX_BURST: Duration = Duration::from_millis(100);

/// How long to look for a moment in which nothing changes. A busy machine takes longer for a look
/// than a busy user for a change; being late harms nobody, a route to nowhere does.
const MAX_LOOK: Duration = Duration::from_secs(2);

/// A second look after each burst: what is created in a new directory before that is watched
/// causes no event.
const SECOND_LOOK: Duration = Duration::from_millis(250);

/// How long a file that is being written is left alone. `kubectl get … > file` takes a second;
/// a writer that never closes the file must not hide it for ever.
const MAX_OPEN: Duration = Duration::from_secs(5);

/// A watched directory. Dropping it ends the watch.
#[derive(Debug)]
#[must_use]
pub struct Watch {
    _watcher: RecommendedWatcher,
}

/// Reads the directory and watches it from then on. Each batch is one atomic change; the first
/// one says all there is. Errors if the directory cannot be read or watched.
pub fn spawn(dir: &Path, changes: Sender<Vec<Change>>) -> Result<Watch> {
    let context = || format!("watch {}", dir.display());
    let (sender, events) = channel();
    let mut watcher = notify::recommended_watcher(sender).with_context(context)?;
    // Watched before it is read, so that nothing falls between the two.
    watcher.watch(dir, RecursiveMode::Recursive).with_context(context)?;
    scan(dir).with_context(|| format!("read {}", dir.display()))?;
    let dir = dir.to_owned();
    thread::Builder::new()
        .name("directory".to_owned())
        .spawn(move || run(&dir, &events, &changes))
        .context("start a thread")?;
    Ok(Watch { _watcher: watcher })
}

/// Ends when nobody watches any more, or nobody listens.
fn run(dir: &Path, events: &Receiver<notify::Result<Event>>, changes: &Sender<Vec<Change>>) {
    let mut tree = Tree::new(dir);
    let mut told = Told::default();
    let mut look_again = Some(Instant::now() + SECOND_LOOK);
    loop {
        match look(dir, &mut tree, &mut told) {
            Ok(batch) => {
                if !batch.is_empty() && changes.blocking_send(batch).is_err() {
                    return;
                }
            }
            // Unseen is not empty: everything stays as it was.
            Err(err) => tracing::warn!(dir = %dir.display(), %err, "the directory cannot be read"),
        }
        let judge = tree.judge_again().map(|time| Instant::now() + seconds_until(time));
        let wake = [look_again.take(), told.first_expiry(), judge].into_iter().flatten().min();
        match next_burst(events, wake, &mut told) {
            Burst::Events => look_again = Some(Instant::now() + SECOND_LOOK),
            Burst::None => {}
            Burst::Ended => return,
        }
    }
}

/// Looks until two looks agree, so that what is told is how the directory was at one moment: an
/// Ingress as it was before a change beside the Services after it could be a route to nowhere.
fn look(dir: &Path, tree: &mut Tree, told: &mut Told) -> io::Result<Vec<Change>> {
    let start = Instant::now();
    let mut batch = Vec::new();
    let mut seen = scan(dir)?;
    loop {
        batch.extend(tree.update(&seen, &told.freshness(), now()));
        told.written.clear();
        let again = scan(dir)?;
        if again == seen || start.elapsed() > MAX_LOOK {
            return Ok(batch);
        }
        seen = again;
    }
}

fn seconds_until(time: i64) -> Duration {
    // A day at most, because the clock may be set meanwhile.
    const DAY: u64 = 24 * 60 * 60;
    Duration::from_secs(u64::try_from(time - now()).unwrap_or(0).clamp(1, DAY))
}

enum Burst {
    Events,
    None,
    Ended,
}

/// Waits for an event, until `wake`, and then until there are no more.
fn next_burst(
    events: &Receiver<notify::Result<Event>>,
    wake: Option<Instant>,
    told: &mut Told,
) -> Burst {
    let first = loop {
        let event = match wake {
            Some(wake) => events.recv_timeout(wake.saturating_duration_since(Instant::now())),
            None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match event {
            Ok(event) => {
                if told.hear(event) {
                    break Instant::now();
                }
            }
            Err(RecvTimeoutError::Timeout) => return Burst::None,
            Err(RecvTimeoutError::Disconnected) => return Burst::Ended,
        }
    };
    while first.elapsed() < MAX_BURST {
        match events.recv_timeout(QUIET) {
            Ok(event) => {
                told.hear(event);
            }
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => return Burst::Ended,
        }
    }
    Burst::Events
}

/// What events said about files.
#[derive(Default)]
struct Told {
    written: BTreeSet<PathBuf>,
    /// Files that were written to and not closed yet, with the time of the first write.
    open: BTreeMap<PathBuf, Instant>,
}

impl Told {
    /// Takes in an event; whether it is news.
    fn hear(&mut self, event: notify::Result<Event>) -> bool {
        let event = match event {
            Ok(event) => event,
            Err(err) => {
                tracing::warn!(%err, "watching the directory");
                return true;
            }
        };
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                for path in event.paths {
                    self.open.remove(&path);
                    self.written.insert(path);
                }
            }
            // Our own reading.
            EventKind::Access(_) => return false,
            EventKind::Modify(ModifyKind::Data(_)) => {
                for path in event.paths {
                    self.open.entry(path).or_insert_with(Instant::now);
                }
            }
            EventKind::Any
            | EventKind::Create(_)
            | EventKind::Modify(_)
            | EventKind::Remove(_)
            | EventKind::Other => {
                for path in &event.paths {
                    self.open.remove(path);
                }
                self.written.extend(event.paths);
            }
        }
        true
    }

    /// What is known now. A file that has been open for too long counts as written.
    fn freshness(&mut self) -> Freshness {
        let is_open = |since: &Instant| since.elapsed() < MAX_OPEN;
        let (open, given_up): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.open).into_iter().partition(|(_, since)| is_open(since));
        self.written.extend(given_up.into_keys());
        self.open = open;
        Freshness { written: self.written.clone(), open: self.open.keys().cloned().collect() }
    }

    fn first_expiry(&self) -> Option<Instant> {
        self.open.values().min().map(|since| *since + MAX_OPEN)
    }
}
