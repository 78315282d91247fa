//! The way to one API server, shared by everything that is asked of it.
//!
//! Owns which client is in use, and how those who share it tell each other what they notice. Must
//! not know what is asked.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use kube::Client;
use tokio::sync::{Notify, watch};

use super::meter::ScopeMeter;

/// A client that can be replaced, and two signals.
#[derive(Clone)]
pub(super) struct Link(Arc<Inner>);

struct Inner {
    client: Mutex<Client>,
    recoveries: watch::Sender<u64>,
    doubt: Notify,
    meter: ScopeMeter,
}

impl Link {
    pub(super) fn new(client: Client, meter: ScopeMeter) -> Link {
        let (recoveries, _) = watch::channel(0);
        Link(Arc::new(Inner { client: client.into(), recoveries, doubt: Notify::new(), meter }))
    }

    pub(super) fn client(&self) -> Client {
        self.0.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on requests go through this one, which has no connections yet.
    pub(super) fn renew(&self, client: Client) {
        *self.0.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
    }

    pub(super) fn meter(&self) -> &ScopeMeter {
        &self.0.meter
    }

    /// The server answers again after it did not. Whoever waits after a failure tries at once, and
    /// whoever has a request or a watch under way makes it anew: its connection may be dead.
    pub(super) fn recovered(&self) {
        self.0.recoveries.send_modify(|count| *count += 1);
    }

    /// Changes at each recovery.
    pub(super) fn recoveries(&self) -> watch::Receiver<u64> {
        self.0.recoveries.subscribe()
    }

    /// Something went wrong that a probe can tell more about.
    pub(super) fn doubt(&self) {
        self.0.doubt.notify_one();
    }

    /// Waits until somebody doubts.
    pub(super) async fn doubted(&self) {
        self.0.doubt.notified().await;
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}
