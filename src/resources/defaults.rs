//! Every figure that goes into an Envoy resource, with its reason (semantics.md 3.4, 3.10, 5.7).
//!
//! They work together: retries leave the member at once, outlier detection keeps later requests
//! away, the kernel finds a peer that is silent, and the budget lets all requests retry at once.

use std::time::Duration;

/// TCP and TLS together. Three round trips to the farthest member must fit (5.7).
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long sent bytes may stay unacknowledged on an upstream socket before the kernel closes it.
/// A silent partition ends here; a slow backend acknowledges and is never cut (M32).
pub const TCP_USER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long an upstream connection may be silent before the kernel asks whether its peer lives,
/// and how often it asks. A request that was acknowledged before a partition leaves nothing
/// unacknowledged, so only this notices that its answer will not come: once [`TCP_USER_TIMEOUT`]
/// has passed in silence and a probe is unanswered, the connection is closed. Measured without:
/// of the requests in flight at the cut three to five a run waited for ever. Whole seconds.
pub const TCP_KEEPALIVE: Duration = Duration::from_secs(1);

/// Unanswered probes that close a connection where [`TCP_USER_TIMEOUT`] is not supported.
pub const TCP_KEEPALIVE_PROBES: u32 = 2;

/// Answers 502, 503 or 504, or failures to get one, in a row that eject a host. Fewer would eject
/// on a blip, more would cost a dead host's requests one retry each for longer (M21, M30).
pub const CONSECUTIVE_GATEWAY_FAILURES: u32 = 5;

/// How often ejections are reviewed; together with the base it bounds how late a host returns.
pub const OUTLIER_INTERVAL: Duration = Duration::from_secs(1);

/// The first ejection; the n-th in a row lasts n times as long.
pub const BASE_EJECTION: Duration = Duration::from_secs(5);

/// No ejection is longer, so a member that was away for an hour is back within a minute.
pub const MAX_EJECTION: Duration = Duration::from_secs(60);

/// A whole member must be ejectable; Envoy's own 10 % would never fail over (M21).
pub const MAX_EJECTION_PERCENT: u32 = 100;

/// In percent. With the overprovisioning of our assignments one healthy host keeps its group, so
/// this acts only when nobody is healthy: then ejections are ignored (M34).
pub const PANIC_THRESHOLD: f64 = 1.0;

/// Share of the requests under way that may be retries, in percent. All Envoy allows: when a
/// member dies, every request in flight to it has to be sent again (M24, M25).
pub const RETRY_BUDGET_PERCENT: f64 = 100.0;

/// Retries that are always allowed. A share is not enough: while a member is partitioned every
/// request is a retry for seconds, and then 100 % of the others is one too few; with 128 as the
/// floor, 300 requests under way lost 193 of 1,933. As many as a gateway has client connections;
/// what bounds the amplification is [`NUM_RETRIES`].
pub const MIN_RETRY_CONCURRENCY: u32 = 50_000;

/// Connections, pending and active requests a target may have. Envoy's 1,024 would answer 503
/// for a backend that is merely slow; the gateway as a whole is bounded by the overload manager
/// of its bootstrap, long before this figure.
pub const UPSTREAM_LIMIT: u32 = 1_000_000;

/// Retries of one request: with the first attempt as many as a composite cluster has entries.
pub const NUM_RETRIES: u32 = 3;

/// How often a retry that drew an already tried host draws again.
pub const HOST_SELECTION_ATTEMPTS: i64 = 5;

/// Back-off between attempts. A retry goes elsewhere, so there is nothing to wait for.
pub const RETRY_BACK_OFF: Duration = Duration::from_millis(1);

/// Longest back-off between attempts.
pub const MAX_RETRY_BACK_OFF: Duration = Duration::from_millis(10);

/// Failures in which the request was never sent: safe to retry whatever its method (3.4).
pub const RETRY_ON: &str = "connect-failure,refused-stream";

/// What safe methods retry besides: the connection broke before an answer began (M33).
pub const RETRY_SAFE_METHODS_ON: &str = "reset";

/// How much longer than its interval an Envoy may wait between two checks of an endpoint, in
/// percent: all Envoys hear of an endpoint at the same time and would ask it at the same time.
pub const HEALTH_CHECK_JITTER_PERCENT: u32 = 10;

/// For how long after a change of endpoints what checks find is gathered before it is acted on.
/// Envoy's own second would be added to how long each new endpoint waits for its first request;
/// none would have thousands of endpoints that fail together be sorted out one by one.
pub const HEALTH_MERGE_WINDOW: Duration = Duration::from_millis(100);

/// Routes wait no longer than this for the first round of checks of a cluster that is new to them,
/// whatever its interval is: with it they wait for everything else that changed.
pub const MAX_FIRST_ROUND: Duration = Duration::from_secs(5);

/// How much later than computed Envoy may use the cluster: a connection that is slow to come, and
/// a busy machine.
pub const FIRST_ROUND_MARGIN: Duration = Duration::from_millis(200);

/// Path of the cookie that keeps a client at its endpoint: the whole host. Without one, browsers
/// send it back only below the path that they got it on.
pub const AFFINITY_COOKIE_PATH: &str = "/";

/// How long a collector may take to accept spans before they are dropped.
pub const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Headers of one request, whatever their size: each costs more to handle than its bytes say.
/// Envoy's own, said here so that a new Envoy does not change it.
pub const MAX_HEADERS: u32 = 100;

/// What Envoy buffers of one connection in one direction, in bytes. A request that does not fit
/// cannot be retried; the overload manager bounds the sum of all buffers.
pub const CONNECTION_BUFFER: u32 = 1 << 20;

/// A TLS handshake: no header timeout runs before it has ended.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a probe of readiness may take, and how long its connection may be idle. Kubernetes gives
/// a probe one second.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections to the readiness listener, which the limit of the whole Envoy does not count.
pub const PROBE_CONNECTIONS: u64 = 64;

/// Streams of one HTTP/2 connection (faults.md S15).
pub const H2_MAX_STREAMS: u32 = 100;

/// Flow-control window of a stream, in bytes: what a client may make the gateway hold.
pub const H2_STREAM_WINDOW: u32 = 64 << 10;

/// Flow-control window of a connection, in bytes.
pub const H2_CONNECTION_WINDOW: u32 = 1 << 20;

/// Status of a request beyond a rate limit; the vendor's (semantics.md 2.7).
pub const RATE_LIMITED: u16 = 503;

/// Clients whose requests are counted one by one on a route that limits each; who was seen least
/// lately is forgotten, and begins anew. A few hundred bytes each, on the routes that ask for it.
pub const RATE_LIMIT_CLIENTS: u32 = 10_000;

/// Answers that are shorter are not worth compressing, in bytes: the header and its frame cost
/// more than a packet that is not full.
pub const COMPRESS_FROM: u32 = 1 << 10;

/// The largest RE2 program our bootstrap lets Envoy load. A user's expression is refused far
/// below it (`model::Regex`); an expression that escapes text has an instruction a byte, and two
/// annotation values of 4 KiB with their frame stay below this (faults.md M14, M15).
pub const RE2_PROGRAM_LIMIT: u32 = 10_000;
