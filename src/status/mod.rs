//! Status: what people see with kubectl, written by one replica.
//!
//! Owns the phases and members of gateways, the addresses of Ingresses, the conditions of members,
//! Events, and the lease that decides who writes. Must not know how anything is derived or served:
//! it reads the report of the engine, the list of Envoys, and how members are declared and reached. Nothing waits for it. Cost: proportional to what differs, and at
//! most ten requests a second.
//!
//! ```text
//! report, Envoys ▶ desired ▶ plan (queue, rate, patience) ▶ writer ▶ fleet API
//!                               lease ▶ elect ─┘ may it write?
//! ```

mod desired;
mod elect;
mod events;
mod lease;
mod members;
mod plan;
mod provision;
mod run;
mod service;
mod state;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    collections::BTreeSet,
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
};

use kube::{Api, Client};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    admin::{Envoys, Report, StatusMeter},
    gateway::Address,
    key::ObjectName,
    settings::StatusTimings,
    source::{kube::SourceMeter, registry::Registrations},
    status::{
        elect::Candidate,
        lease::{Election, Knowledge, Terms},
        plan::{Pace, Queue},
        run::Loop,
        state::Desired,
        writer::Writer,
    },
};

pub use elect::Tenure;
pub use provision::{Provision, Provisions};

/// What to write, and as whom.
#[derive(Clone, Debug)]
pub struct Options {
    /// This replica; no two may have the same one. See [`identity`].
    pub identity: String,
    /// The `Lease` that all replicas share.
    pub lease: ObjectName,
    /// Where clients reach every gateway that has no `convoy.dev/publish-address`.
    pub publish_addresses: Vec<Address>,
    /// A Service of type LoadBalancer in the fleet whose addresses are added to these.
    pub publish_service: Option<ObjectName>,
}

/// Everything that is read. Nothing of it waits for this room.
#[derive(Clone)]
pub struct Inputs {
    /// What the engine knows.
    pub report: watch::Receiver<Report>,
    /// Who is connected.
    pub envoys: Arc<dyn Envoys>,
    /// How members are declared.
    pub registrations: watch::Receiver<Registrations>,
    /// When members were last in contact.
    pub traffic: SourceMeter,
    /// What is known of managed Envoys.
    pub provisions: watch::Receiver<Arc<Provisions>>,
}

/// Writes that may be made at once after a pause: one change of a gateway with a few Ingresses is
/// not held up.
const BURST: u32 = 10;

/// Events that may wait: at ten a second, about seven minutes of them.
const MAX_EVENTS: usize = 4096;

/// The running room.
#[derive(Debug)]
pub struct Handle {
    stop: watch::Sender<bool>,
    tenure: watch::Receiver<Tenure>,
    tasks: Vec<JoinHandle<()>>,
}

impl Handle {
    /// Whether this replica may write, for whoever else writes to the fleet.
    pub fn tenure(&self) -> watch::Receiver<Tenure> {
        self.tenure.clone()
    }

    /// Stops writing and gives the lease back.
    pub async fn shutdown(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            // A task that panicked has nothing left to stop.
            _ = task.await;
        }
    }
}

/// Starts the room. It ends with [`Handle::shutdown`], or when the handle is dropped.
pub fn spawn(
    client: Client,
    inputs: Inputs,
    meter: Arc<StatusMeter>,
    options: Options,
    timings: StatusTimings,
) -> Handle {
    let Options { identity, lease, publish_addresses, publish_service } = options;
    let (stop, stopped) = watch::channel(false);
    let (knowledge, known) = watch::channel(Knowledge::default());
    let (tenure, held) = watch::channel(Tenure::default());
    let (addresses, published) = watch::channel(publish_addresses.clone());
    let terms = Terms { duration: timings.lease_duration, renew_deadline: timings.renew_deadline };
    let candidate = Candidate {
        leases: Api::namespaced(client.clone(), &lease.namespace),
        name: lease.name.to_string(),
        election: Election::new(identity.clone(), terms),
        knowledge: known,
        tenure,
        retry_period: timings.lease_period,
    };
    let writer = Writer {
        client: client.clone(),
        tenure: held.clone(),
        meter,
        request_timeout: timings.request_timeout,
        identity,
    };
    let own = Loop {
        inputs,
        tenure: held.clone(),
        addresses: published,
        knowledge,
        writer,
        queue: Queue::new(pace(&timings)),
        timings,
        desired: Desired::default(),
        observed: None,
        term: 0,
        office_after: None,
        served: BTreeSet::new(),
        envoys_due: None,
    };
    let mut tasks =
        vec![tokio::spawn(candidate.run(stopped.clone())), tokio::spawn(own.run(stopped.clone()))];
    if let Some(name) = publish_service {
        let follow = service::follow(client, name, publish_addresses, addresses);
        tasks.push(tokio::spawn(until_stopped(follow, stopped)));
    }
    Handle { stop, tenure: held, tasks }
}

/// The host's name, which in a Pod is the Pod's, and something that a second process on the same
/// host does not share.
pub fn identity() -> String {
    let host = std::env::var("HOSTNAME").ok().filter(|host| !host.is_empty());
    let host = host.or_else(|| {
        let name = std::fs::read_to_string("/etc/hostname").ok()?;
        Some(name.trim().to_owned()).filter(|name| !name.is_empty())
    });
    let random = RandomState::new().build_hasher().finish();
    format!("{}_{random:016x}", host.as_deref().unwrap_or("convoy"))
}

fn pace(timings: &StatusTimings) -> Pace {
    Pace {
        interval: timings.write_interval,
        burst: BURST,
        first_retry: timings.first_retry,
        last_retry: timings.last_retry,
        event_window: timings.event_window,
        max_events: MAX_EVENTS,
    }
}

async fn until_stopped(work: impl Future<Output = ()>, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        () = work => {}
        _ = stop.wait_for(|raised| *raised) => {}
    }
}
