//! What is to be shown: the state of cluster 1 and what has happened, with its time.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::cli::demo::load::Traffic;

/// Cluster 1, as we made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClusterState {
    Alive,
    Dead,
}

/// Shared by the scenario, which writes, and the live view, which reads.
#[derive(Clone)]
pub(super) struct Board {
    inner: Arc<Mutex<Inner>>,
    started: Instant,
    is_live: bool,
    port: u16,
}

struct Inner {
    cluster_1: ClusterState,
    log: Vec<String>,
    invitation: Vec<String>,
}

impl Board {
    /// A live board is drawn by the view; another one prints each line at once.
    pub(super) fn new(is_live: bool, port: u16) -> Board {
        let inner =
            Inner { cluster_1: ClusterState::Alive, log: Vec::new(), invitation: Vec::new() };
        Board { inner: Arc::new(Mutex::new(inner)), started: Instant::now(), is_live, port }
    }

    /// Something has happened.
    pub(super) fn say(&self, line: &str) {
        let line = format!("{}  {line}", clock(self.started.elapsed()));
        self.print(&line);
        self.lock().log.push(line);
    }

    /// Shows the commands to try, for as long as the demo runs.
    pub(super) fn show_commands(&self) {
        self.invite("Try it:");
        for traffic in Traffic::ALL {
            self.invite(&format!("  {}", traffic.curl(self.port)));
        }
    }

    /// Something the user can do.
    pub(super) fn invite(&self, line: &str) {
        self.print(line);
        self.lock().invitation.push(line.to_owned());
    }

    pub(super) fn cluster_1(&self) -> ClusterState {
        self.lock().cluster_1
    }

    pub(super) fn set_cluster_1(&self, state: ClusterState) {
        self.lock().cluster_1 = state;
    }

    /// The last `n` lines of what has happened, then the invitation.
    pub(super) fn lines(&self, n: usize) -> (Vec<String>, Vec<String>) {
        let inner = self.lock();
        let log = inner.log.iter().skip(inner.log.len().saturating_sub(n)).cloned().collect();
        (log, inner.invitation.clone())
    }

    /// Time since the start.
    pub(super) fn clock(&self) -> String {
        clock(self.started.elapsed())
    }

    fn print(&self, line: &str) {
        if !self.is_live {
            // Nobody reads any more: the exit code still tells.
            let _ = writeln!(io::stdout(), "{line}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn clock(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}
