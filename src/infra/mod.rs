//! Managed gateways: for each gateway object a group of Envoys in Convoy's own namespace.
//!
//! Owns what these are made of, and that what is there is what should be: made with the gateway,
//! mended when somebody changes it, renewed before a certificate ends. Must not know routes,
//! members, streams or how a gateway is derived: it reads what gateways declare. Nothing waits for
//! it. Cost: six watches of one namespace, a comparison for each of their events, a request for each
//! difference, and at most ten requests a second.
//!
//! ```text
//! report, authority ▶ render ─┐
//!        watches ▶ observed ──┴▶ drift ▶ queue (rate, patience) ▶ api ▶ fleet API
//! ```
//!
//! **Removal** is the cluster's own: every object is owned by its gateway, so that the garbage
//! collector removes it also while Convoy is away, and Convoy needs no right to delete.
//!
//! **What belongs to others stays.** Objects are applied with one field manager, so a field that is
//! not written here is nobody's business here: annotations, containers that are injected, and the
//! replicas of a gateway that does not say how many.

mod api;
mod drift;
mod name;
mod observed;
mod queue;
mod render;
mod run;

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use kube::Client;
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    admin::{InfraMeter, Report},
    bootstrap::XdsAddress,
    identity::authority::Authority,
    infra::{api::Requests, run::Loop},
    settings::InfraTimings,
    status::{Provisions, Tenure},
};

pub use name::{gateway_label, object_name};
pub use render::{Kind, Managed, Manifest, render};

/// The Envoy that Convoy is tested with.
pub const DEFAULT_IMAGE: &str = "envoyproxy/envoy:distroless-v1.40.0";

/// How long connections of an Envoy that stops are drained. Load balancers take some ten seconds to
/// send nothing new, and most clients ask again within the rest.
pub const DEFAULT_DRAIN: Duration = Duration::from_secs(30);

/// What holds for every managed gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where the objects are: Convoy's own namespace.
    pub namespace: String,
    /// Of Envoy.
    pub image: String,
    /// Convoy's own, for `convoy drain`. It is the only thing of the Pods that comes with a version
    /// of Convoy: who wants Envoys to outlive one names an older image here.
    pub drain_image: String,
    /// Where Envoys reach Convoy.
    pub xds: XdsAddress,
    /// What Envoys prove themselves with.
    pub certificates: Certificates,
    /// How long connections of an Envoy that stops are drained; whole seconds.
    pub drain: Duration,
    /// Of the Services.
    pub service_type: ServiceType,
}

/// Where the certificates of Envoys come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificates {
    /// Convoy's own authority: a Secret of the gateway's.
    Issued,
    /// Somebody else keeps a Secret of that name.
    Brought,
    /// There are none (development only).
    None,
}

/// `spec.type` of the Services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceType {
    /// Only from inside the fleet.
    ClusterIp,
    /// A port of every node.
    NodePort,
    /// An address that others reach.
    #[default]
    LoadBalancer,
}

impl ServiceType {
    const ALL: [ServiceType; 3] =
        [ServiceType::ClusterIp, ServiceType::NodePort, ServiceType::LoadBalancer];
}

impl fmt::Display for ServiceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ServiceType::ClusterIp => "ClusterIP",
            ServiceType::NodePort => "NodePort",
            ServiceType::LoadBalancer => "LoadBalancer",
        })
    }
}

impl FromStr for ServiceType {
    type Err = String;

    fn from_str(text: &str) -> Result<ServiceType, String> {
        let found = ServiceType::ALL.into_iter().find(|own| own.to_string() == text);
        found.ok_or_else(|| {
            format!("it is one of {}", ServiceType::ALL.map(|own| own.to_string()).join(", "))
        })
    }
}

/// Everything that is read. Nothing of it waits for this room.
#[derive(Clone)]
pub struct Inputs {
    /// What the engine knows.
    pub report: watch::Receiver<Report>,
    /// What issues certificates; unused unless these are [`Certificates::Issued`].
    pub authority: watch::Receiver<Option<Arc<Authority>>>,
    /// Whether this replica may write.
    pub tenure: watch::Receiver<Tenure>,
}

/// The running room. Dropping it ends it.
#[derive(Debug)]
pub struct Handle(JoinHandle<()>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts the room; what it finds is published to `provisions`.
pub fn spawn(
    client: Client,
    inputs: Inputs,
    provisions: watch::Sender<Arc<Provisions>>,
    meter: Arc<InfraMeter>,
    options: Options,
    timings: InfraTimings,
) -> Handle {
    let requests = Requests {
        client,
        namespace: options.namespace.clone(),
        tenure: inputs.tenure.clone(),
        timeout: timings.request_timeout,
        meter: meter.clone(),
    };
    let own = Loop::new(requests, inputs, provisions, meter, options, timings);
    Handle(tokio::spawn(own.run()))
}
