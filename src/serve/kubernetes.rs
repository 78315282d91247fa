//! A fleet and its members on Kubernetes as the source, and the room that writes status back.
//!
//! Owns which tasks that takes and how they are joined.

use std::{collections::BTreeSet, fmt, net::SocketAddr, sync::Arc};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use crate::{
    admin::{InfraMeter, Report, StatusMeter},
    identity::authority::Authority,
    infra,
    settings::Timings,
    source::{
        Wanted,
        kube::{self, SourceMeter},
        registry,
    },
    status,
    store::Change,
    xds::EnvoyRegistry,
};

/// A fleet on Kubernetes.
#[derive(Clone)]
pub struct Kubernetes {
    /// Of the fleet.
    pub client: ::kube::Client,
    /// Where the client goes, if that is known by number.
    pub api_server: Option<SocketAddr>,
    /// Where Secrets declare members.
    pub namespaces: BTreeSet<String>,
    /// What is written to the fleet; nothing without.
    pub status: Option<status::Options>,
    /// How the Envoys of gateways are kept there; not at all without, nor without `status`, whose
    /// lease decides which replica does.
    pub infra: Option<infra::Options>,
}

impl Kubernetes {
    /// Where Convoy keeps what is its own: that of the lease, or of the account.
    pub fn own_namespace(&self) -> &str {
        let status = self.status.as_ref();
        status.map_or(self.client.default_namespace(), |own| &own.lease.namespace)
    }
}

impl fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Kubernetes { client: _, api_server, namespaces, status, infra } = self;
        let mut out = f.debug_struct("Kubernetes");
        out.field("api_server", api_server)
            .field("namespaces", namespaces)
            .field("status", status)
            .field("infra", infra);
        out.finish_non_exhaustive()
    }
}

/// The running tasks. Dropping it ends them; [`Running::stop`] also gives the lease back.
#[derive(Debug)]
pub(super) struct Running {
    sources: Vec<Task>,
    status: Option<status::Handle>,
    infra: Option<infra::Handle>,
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
    /// Counts what is read.
    pub(super) traffic: SourceMeter,
    /// Counts what is written.
    pub(super) meter: Arc<StatusMeter>,
    /// Counts what is made for gateways.
    pub(super) infra: Arc<InfraMeter>,
    /// Issues certificates for their Envoys.
    pub(super) authority: watch::Receiver<Option<Arc<Authority>>>,
}

/// Starts reading, and writing if asked to.
pub(super) fn spawn(kubernetes: Kubernetes, joints: Joints, timings: &Timings) -> Running {
    let Kubernetes { client, api_server: _, namespaces, status, infra } = kubernetes;
    let Joints { changes, wanted, report, envoys, traffic, meter, infra: counts, authority } =
        joints;
    let (registrations, declared) = watch::channel(registry::Registrations::default());
    let (known, registered) = oneshot::channel();
    let sources = [
        registry::spawn(client.clone(), namespaces, registrations, changes.clone()),
        kube::spawn_members(
            client.clone(),
            declared.clone(),
            wanted.clone(),
            changes.clone(),
            traffic.clone(),
            timings.source,
            known,
        ),
        kube::spawn_fleet(
            client.clone(),
            wanted,
            changes,
            traffic.clone(),
            timings.source,
            registered,
        ),
    ];
    let (provisions, provisioned) = watch::channel(Arc::default());
    let inputs = status::Inputs {
        report: report.clone(),
        envoys,
        registrations: declared,
        traffic,
        provisions: provisioned,
    };
    let status =
        status.map(|options| status::spawn(client.clone(), inputs, meter, options, timings.status));
    let infra = infra.zip(status.as_ref()).map(|(options, status)| {
        let inputs = infra::Inputs { report, authority, tenure: status.tenure() };
        infra::spawn(client, inputs, provisions, counts, options, timings.infra)
    });
    Running { sources: sources.map(Task).into(), status, infra }
}

impl Running {
    /// Stops writing first, so that another replica can take over at once.
    pub(super) async fn stop(self) {
        let Running { sources, status, infra } = self;
        drop(infra);
        if let Some(status) = status {
            status.shutdown().await;
        }
        drop(sources);
    }
}

/// A task that ends when it is dropped.
#[derive(Debug)]
pub(super) struct Task(pub(super) JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
