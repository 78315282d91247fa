//! What is to be shown: the state of the first cluster and what has happened, with its time.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::cli::demo::{load::curl, play::Play};

/// The first cluster, as we made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClusterState {
    Alive,
    Lost,
}

/// Shared by the scenario, which writes, and the live view, which reads.
#[derive(Clone)]
pub(super) struct Board {
    inner: Arc<Mutex<Inner>>,
    started: Instant,
    is_live: bool,
    port: u16,
    play: &'static Play,
}

struct Inner {
    first: ClusterState,
    log: Vec<String>,
    invitation: Vec<String>,
}

impl Board {
    /// A live board is drawn by the view; another one prints each line at once.
    pub(super) fn new(play: &'static Play, is_live: bool, port: u16) -> Board {
        let inner = Inner { first: ClusterState::Alive, log: Vec::new(), invitation: Vec::new() };
        Board { inner: Arc::new(Mutex::new(inner)), started: Instant::now(), is_live, port, play }
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
        for traffic in self.play.traffic {
            self.invite(&format!("  {}", curl(traffic, self.port)));
        }
    }

    /// Something the user can do.
    pub(super) fn invite(&self, line: &str) {
        self.print(line);
        self.lock().invitation.push(line.to_owned());
    }

    pub(super) fn first(&self) -> ClusterState {
        self.lock().first
    }

    pub(super) fn set_first(&self, state: ClusterState) {
        self.lock().first = state;
    }

    pub(super) fn play(&self) -> &'static Play {
        self.play
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
