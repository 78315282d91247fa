//! Network namespaces beside the one that a test begins in.
//!
//! What belongs to a namespace is decided by the thread that makes it: sockets, and processes with
//! theirs. So a whole machine is elsewhere when the threads are that run it.

use std::{fs::File, os::fd::AsRawFd, sync::Arc, thread};

use nix::sched::{CloneFlags, setns, unshare};
use tokio::runtime::{Builder, Runtime};

/// The namespace of the thread that opens it.
const OF_THIS_THREAD: &str = "/proc/thread-self/ns/net";

/// As many as the machine of CI has cores.
const THREADS: usize = 2;

/// A network namespace, which is there as long as this value, or a process or socket in it.
#[derive(Clone, Debug)]
pub(crate) struct Namespace(Arc<File>);

impl Namespace {
    /// The one of this thread.
    pub(crate) fn current() -> Namespace {
        Namespace(Arc::new(File::open(OF_THIS_THREAD).unwrap()))
    }

    /// A new one, in which nothing is up.
    ///
    /// # Panics
    /// If the kernel refuses namespaces.
    pub(crate) fn new() -> Namespace {
        on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            Namespace::current()
        })
    }

    /// Does something in it, on a thread that ends there.
    pub(crate) fn run<T: Send>(&self, part: impl FnOnce() -> T + Send) -> T {
        on_a_thread(|| {
            self.enter();
            part()
        })
    }

    /// All of whose threads are in it.
    pub(crate) fn runtime(&self) -> Runtime {
        let namespace = self.clone();
        let mut threads = Builder::new_multi_thread();
        threads.worker_threads(THREADS).enable_all().on_thread_start(move || namespace.enter());
        threads.build().unwrap()
    }

    /// How a program that this one runs finds it, while this value is there.
    pub(crate) fn path(&self) -> String {
        // `/proc` may be of another process namespace than ours: there we are called otherwise.
        let process = std::fs::read_link("/proc/self").unwrap();
        format!("/proc/{}/fd/{}", process.display(), self.0.as_raw_fd())
    }

    fn enter(&self) {
        setns(&*self.0, CloneFlags::CLONE_NEWNET).unwrap();
    }
}

fn on_a_thread<T: Send>(part: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(part).join()).unwrap()
}
