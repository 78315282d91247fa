//! What the admin address is told: the only things it can say.
//!
//! Owns the read model. Whoever composes the program fills it; nothing here can reach back.
//! Cost: a report is a handful of `Arc`s, replaced once a tick.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use tokio::sync::watch;

use crate::{
    admin::proto,
    diag::DiagSet,
    gateway::{Attachments, Declared},
    identity,
    key::{GatewayId, MemberId, Scope},
    model::Certificates,
    snapshot::{Kind, Publisher},
    source::kube::SourceMeter,
};

/// Everything the admin address can be asked about.
#[derive(Clone)]
pub struct State {
    /// What Envoys see.
    pub publisher: Arc<Publisher>,
    /// What the engine said after its last tick.
    pub report: watch::Receiver<Report>,
    /// Who is connected.
    pub envoys: Arc<dyn Envoys>,
    /// How long ticks took; observed by the engine's driver, which owns the clock.
    pub tick_seconds: Histogram,
    /// What went to and fro with API servers; nothing where there are none.
    pub traffic: SourceMeter,
    /// What was written to the fleet; all zero where nothing is.
    pub status: Arc<StatusMeter>,
    /// What was made for managed gateways; all zero where there are none.
    pub infra: Arc<InfraMeter>,
    /// What xDS is served with; `None` where it is served without certificates.
    pub identity: Option<watch::Receiver<identity::Report>>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("report", &self.report).finish_non_exhaustive()
    }
}

/// A histogram for `State::tick_seconds`: 50 µs to 1.6 s, doubling. A tick for one change is in
/// the lowest buckets, the first tick of a large fleet in the highest (performance.md G5, G12).
pub fn tick_histogram() -> Histogram {
    Histogram::new(exponential_buckets(50e-6, 2.0, 16))
}

/// What the engine knows after a tick.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Whether views are published: not before the fleet has been read to the end.
    pub published: bool,
    /// Whether everything had been read, or was given up waiting for, once. It stays so, whatever
    /// cannot be read later (faults.md P10).
    pub was_ready: bool,
    /// Sources that have not been read to the end yet; nobody waits for these any more once
    /// their deadline has passed (xds.md 3.15), so then they are not listed.
    pub unsynced: Vec<Scope>,
    /// The fleet.
    pub fleet: FleetReport,
    /// Every gateway with its members, in the order of `remote-clusters`.
    pub gateways: Arc<BTreeMap<GatewayId, Vec<MemberId>>>,
    /// Every gateway object, also one that is invalid.
    pub declared: Arc<BTreeMap<GatewayId, Declared>>,
    /// What the TLS listeners of every gateway prove themselves with.
    pub certificates: Arc<BTreeMap<GatewayId, Arc<Certificates>>>,
    /// Which Ingresses are served.
    pub attachments: Attachments,
    /// Every registered member.
    pub members: Arc<BTreeMap<MemberId, MemberReport>>,
    /// Every finding about an object, in order. Until everything was read, only what the sources
    /// say: what else is missing may just not have been read.
    pub diags: DiagSet,
    /// Work done since the start.
    pub engine: EngineCounters,
}

/// The fleet, as last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetReport {
    /// Why it is not read at the moment, if that is known.
    pub trouble: Option<Trouble>,
    /// Since when there has been trouble.
    pub trouble_since: Option<Instant>,
}

/// One member, as last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberReport {
    /// How it is read.
    pub state: MemberState,
    /// Whether it has been read to the end once.
    pub synced: bool,
    /// Services.
    pub services: u64,
    /// Ready endpoints.
    pub endpoints: u64,
    /// Nodes, where its Pods are reached through them.
    pub nodes: u64,
    /// Addresses of Pods that another member offers too, by that member.
    pub shared_addresses: BTreeMap<MemberId, u64>,
    /// Region of the cluster; empty if unknown.
    pub region: String,
    /// Zone of the cluster; empty if unknown.
    pub zone: String,
}

impl MemberReport {
    /// Why it is not read at the moment, if that is known.
    pub fn trouble(&self) -> Option<&Trouble> {
        match &self.state {
            MemberState::Connecting | MemberState::Syncing | MemberState::Live => None,
            MemberState::Stale(trouble) => Some(trouble),
        }
    }
}

/// How a member is read (faults.md, Principles).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MemberState {
    /// No answer yet.
    #[default]
    Connecting,
    /// Being read for the first time.
    Syncing,
    /// Read, and watched.
    Live,
    /// It cannot be read. What was read before is still served.
    Stale(Trouble),
}

/// Why a cluster is not read. What was read before is still served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Stable, UpperCamelCase.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// Work of the engine since the start. Proportional to changes, never to the size of the fleet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineCounters {
    /// Ticks that had something to do.
    pub ticks: u64,
    /// Derived rows computed again.
    pub rows_recomputed: u64,
    /// Bytes of resources encoded.
    pub bytes_encoded: u64,
}

/// The connected Envoys, and what their streams have carried since the start.
pub trait Envoys: Send + Sync {
    /// Every connected Envoy, ordered by node id.
    fn connected(&self) -> Vec<proto::Envoy>;

    /// By type, how long changes took from the engine to an Envoy's acknowledgement.
    fn propagation(&self) -> BTreeMap<Kind, Histogram>;

    /// Totals by type, of closed streams too.
    fn totals(&self) -> BTreeMap<Kind, StreamTotals>;

    /// Connections and streams that were refused since the start, by reason.
    fn refused(&self) -> BTreeMap<&'static str, u64>;
}

/// What streams have carried for one type since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamTotals {
    /// Responses sent.
    pub responses: u64,
    /// Responses that an Envoy refused.
    pub refusals: u64,
}

/// What the status room has done since the start, and what it has to do. Counted where it is
/// done, read by a scrape.
#[derive(Debug, Default)]
pub struct StatusMeter {
    /// Requests that wrote a status or an Event.
    pub writes: AtomicU64,
    /// Requests that failed.
    pub errors: AtomicU64,
    /// Events that found no room in the queue.
    pub dropped_events: AtomicU64,
    /// Keys that wait for a write.
    pub queue: AtomicU64,
    /// 1 while this replica is the one that writes.
    pub is_holder: AtomicU64,
}

/// What the room of managed gateways has done since the start, and what it has to do.
#[derive(Debug, Default)]
pub struct InfraMeter {
    /// Looks at an object that found it in order, so that no request was made.
    pub in_order: AtomicU64,
    /// Objects that were applied.
    pub applied: AtomicU64,
    /// Requests that failed, and objects that are somebody else's.
    pub errors: AtomicU64,
    /// Gateways some of whose objects are not as they should be.
    pub unsettled: AtomicU64,
}
