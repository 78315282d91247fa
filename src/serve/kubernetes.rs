//! A fleet and its members on Kubernetes as the source, and the room that writes status back.
//!
//! Owns which tasks that takes and how they are joined.

use std::{collections::BTreeSet, fmt, sync::Arc};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    admin::{Report, StatusMeter},
    settings::Timings,
    source::{Wanted, registry},
    status,
    store::Change,
    xds::EnvoyRegistry,
};

/// A fleet on Kubernetes.
#[derive(Clone)]
pub struct Kubernetes {
    /// Of the fleet.
    pub client: ::kube::Client,
    /// Where Secrets declare members.
    pub namespaces: BTreeSet<String>,
    /// What is written to the fleet; nothing without.
    pub status: Option<status::Options>,
}

impl fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Kubernetes { client: _, namespaces, status } = self;
        let mut out = f.debug_struct("Kubernetes");
        out.field("namespaces", namespaces).field("status", status).finish_non_exhaustive()
    }
}

/// The running tasks. Dropping it ends them; [`Running::stop`] also gives the lease back.
#[derive(Debug)]
pub(super) struct Running {
    sources: Vec<Task>,
    status: Option<status::Handle>,
}

/// What the sources are joined with.
pub(super) struct Joints {
    /// To the engine.
    pub(super) changes: mpsc::Sender<Vec<Change>>,
    /// What the engine asks for.
    pub(super) wanted: watch::Receiver<Wanted>,
    /// What the engine says.
    pub(super) report: watch::Receiver<Report>,
    /// Who is connected.
    pub(super) envoys: Arc<EnvoyRegistry>,
    /// Counts what is written.
    pub(super) meter: Arc<StatusMeter>,
}

/// Starts reading, and writing if asked to.
pub(super) fn spawn(kubernetes: Kubernetes, joints: Joints, timings: &Timings) -> Running {
    let Kubernetes { client, namespaces, status } = kubernetes;
    let Joints { changes, wanted: _, report, envoys, meter } = joints;
    let (registrations, _registered) = watch::channel(registry::Registrations::default());
    let sources = [registry::spawn(client.clone(), namespaces, registrations, changes.clone())];
    let status =
        status.map(|options| status::spawn(client, report, envoys, meter, options, timings.status));
    Running { sources: sources.map(Task).into(), status }
}

impl Running {
    /// Stops writing first, so that another replica can take over at once.
    pub(super) async fn stop(self) {
        let Running { sources, status } = self;
        if let Some(status) = status {
            status.shutdown().await;
        }
        drop(sources);
    }
}

/// A task that ends when it is dropped.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
