//! The connected Envoys, and counters of what was said to them.
//!
//! Owns what the admin room shows. Must not know how it is shown. Cost: a short lock of its own
//! for each stream, and relaxed counters; nothing here is held across an await.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use crate::{
    snapshot::Kind,
    xds::refused::{Refusals, Refused},
};

/// One connected Envoy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvoyStatus {
    /// `node.id`.
    pub node_id: String,
    /// Id of the gateway that it sees.
    pub gateway: String,
    /// Whether that gateway exists.
    pub gateway_found: bool,
    /// Whether it is served nothing yet, because a member of the gateway is waited for.
    pub is_waiting: bool,
    /// Delta or state of the world.
    pub delta: bool,
    /// Version of the Envoy; empty if it does not say.
    pub version: String,
    /// Where it connects from.
    pub address: Option<SocketAddr>,
    /// How it stands with each type that it asked for.
    pub types: BTreeMap<Kind, TypeStatus>,
}

/// How an Envoy stands with one type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeStatus {
    /// Resources sent, at their newest version.
    pub sent: usize,
    /// Resources acknowledged at the version that was sent.
    pub acknowledged: usize,
    /// Responses that were refused on this stream.
    pub refusals: u64,
    /// What Envoy said about the last refusal; empty after a later acknowledgement.
    pub last_error: String,
    /// Resources whose newest version was refused, alone or in a response with others.
    pub rejected: Vec<Arc<str>>,
    /// Resources that the Envoy came with and keeps, because a member was never read and they may
    /// hold something of it (xds.md 3.15).
    pub withheld: usize,
}

/// What was counted since the start, over all streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Streams that named their node.
    pub streams_opened: u64,
    /// Wakes of a stream by a new view.
    pub wakes: u64,
    /// Requests that answered a response no longer in flight.
    pub stale_nonces: u64,
    /// Responses that were not answered in time.
    pub expired_leases: u64,
    /// Requests for types that are not served.
    pub unknown_types: u64,
    /// Connections and streams that were refused.
    pub refused: BTreeMap<Refused, u64>,
    /// By type.
    pub kinds: BTreeMap<Kind, KindCounters>,
}

/// What was counted for one type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindCounters {
    /// Responses sent.
    pub responses: u64,
    /// Bytes of these responses.
    pub bytes: u64,
    /// Responses refused.
    pub refusals: u64,
}

/// The table. Shared by the server, which writes it, and the admin room.
#[derive(Debug, Default)]
pub struct EnvoyRegistry {
    streams: Mutex<Streams>,
    pub(crate) meter: Meter,
}

#[derive(Debug, Default)]
struct Streams {
    opened: u64,
    open: BTreeMap<u64, Arc<Mutex<EnvoyStatus>>>,
}

/// The counters as they are counted.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    pub wakes: AtomicU64,
    pub stale_nonces: AtomicU64,
    pub expired_leases: AtomicU64,
    pub unknown_types: AtomicU64,
    pub refusals: Refusals,
    kinds: [KindMeter; Kind::ALL.len()],
}

#[derive(Debug)]
struct KindMeter {
    responses: AtomicU64,
    bytes: AtomicU64,
    refusals: AtomicU64,
    propagation: Histogram,
}

impl Default for KindMeter {
    fn default() -> KindMeter {
        KindMeter {
            responses: AtomicU64::default(),
            bytes: AtomicU64::default(),
            refusals: AtomicU64::default(),
            // 1 ms to 33 s, doubling: an endpoint reaches an Envoy in the lowest, a route whose
            // new cluster does not warm in the highest (performance.md G5).
            propagation: Histogram::new(exponential_buckets(1e-3, 2.0, 16)),
        }
    }
}

impl Meter {
    fn kind(&self, kind: Kind) -> &KindMeter {
        let idx = Kind::ALL.iter().position(|k| *k == kind);
        idx.and_then(|idx| self.kinds.get(idx)).expect("invariant: a meter for every kind")
    }

    pub(crate) fn sent(&self, kind: Kind, bytes: usize) {
        self.kind(kind).responses.fetch_add(1, Relaxed);
        self.kind(kind).bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn propagated(&self, kind: Kind, time: Duration) {
        self.kind(kind).propagation.observe(time.as_secs_f64());
    }

    pub(crate) fn refused(&self, kind: Kind) {
        self.kind(kind).refusals.fetch_add(1, Relaxed);
    }
}

impl EnvoyRegistry {
    /// The Envoys that are connected, in the order in which they came.
    pub fn envoys(&self) -> Vec<EnvoyStatus> {
        let open: Vec<_> = self.streams().open.values().cloned().collect();
        open.iter().map(|status| lock(status).clone()).collect()
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        let kind = |kind| {
            let meter = self.meter.kind(kind);
            KindCounters {
                responses: meter.responses.load(Relaxed),
                bytes: meter.bytes.load(Relaxed),
                refusals: meter.refusals.load(Relaxed),
            }
        };
        Counters {
            streams_opened: self.streams().opened,
            wakes: self.meter.wakes.load(Relaxed),
            stale_nonces: self.meter.stale_nonces.load(Relaxed),
            expired_leases: self.meter.expired_leases.load(Relaxed),
            unknown_types: self.meter.unknown_types.load(Relaxed),
            refused: Refused::ALL.map(|own| (own, self.meter.refusals.count(own))).into(),
            kinds: Kind::ALL.into_iter().map(|k| (k, kind(k))).collect(),
        }
    }

    /// How long changes took from the engine to the acknowledgement of an Envoy, by type.
    pub fn propagation(&self) -> BTreeMap<Kind, Histogram> {
        let histogram = |kind| (kind, self.meter.kind(kind).propagation.clone());
        Kind::ALL.into_iter().map(histogram).collect()
    }

    /// Adds a stream; it is listed until the record is dropped.
    pub(crate) fn open(self: &Arc<Self>, status: EnvoyStatus) -> Record {
        let status = Arc::new(Mutex::new(status));
        let mut streams = self.streams();
        streams.opened += 1;
        let id = streams.opened;
        streams.open.insert(id, status.clone());
        Record { id, status, registry: self.clone() }
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        lock(&self.streams)
    }
}

/// A stream's own row.
#[derive(Debug)]
pub(crate) struct Record {
    id: u64,
    status: Arc<Mutex<EnvoyStatus>>,
    registry: Arc<EnvoyRegistry>,
}

impl Record {
    /// Changes the row.
    pub(crate) fn update(&self, change: impl FnOnce(&mut EnvoyStatus)) {
        change(&mut lock(&self.status));
    }

    /// The counters of all streams.
    pub(crate) fn meter(&self) -> &Meter {
        &self.registry.meter
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.registry.streams().open.remove(&self.id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
