//! A process that a test may kill, pause and start again; its output goes to a file.

use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::namespace::Namespace;

/// Lines of a log that explain an end.
const LAST_LINES: usize = 15;

/// A program with its arguments, and the process while it runs.
pub(crate) struct Daemon {
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    /// Where it was started first.
    network: Namespace,
    process: Option<Child>,
}

impl Daemon {
    /// Starts it. Its output is appended to `log`.
    pub(crate) fn start(program: &Path, arguments: Vec<String>, log: PathBuf) -> Daemon {
        let (program, network) = (program.to_owned(), Namespace::current());
        let mut daemon = Daemon { program, arguments, log, network, process: None };
        daemon.restart();
        daemon
    }

    /// SIGKILL if it runs, then starts it.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let output = self.open_log();
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        let process = self.network.run(|| command.spawn());
        let process = process.unwrap_or_else(|e| panic!("{}: {e}", self.program.display()));
        self.process = Some(process);
    }

    /// SIGKILL: connections are reset, and new ones refused.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself; then the test says why it minds.
            let _ = process.kill();
            process.wait().unwrap();
        }
    }

    /// SIGSTOP: connections are still accepted, by the kernel, and nothing answers.
    pub(crate) fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Ends a pause.
    pub(crate) fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("the test did not kill it before");
        kill(Pid::from_raw(i32::try_from(process.id()).unwrap()), signal).unwrap();
    }

    /// # Panics
    /// If it ended by itself.
    pub(crate) fn assert_running(&mut self) {
        let process = self.process.as_mut().expect("the test did not kill it before");
        if let Some(status) = process.try_wait().unwrap() {
            panic!("{} ended: {status}\n{}", self.program.display(), self.last_words());
        }
    }

    /// The end of its log.
    pub(crate) fn last_words(&self) -> String {
        last_words(&self.log)
    }

    fn open_log(&self) -> File {
        OpenOptions::new().create(true).append(true).open(&self.log).unwrap()
    }
}

/// The end of a log, under its name.
pub(crate) fn last_words(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    format!("{}:\n{}", log.display(), lines[lines.len().saturating_sub(LAST_LINES)..].join("\n"))
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}
