//! Knobs of the whole program: what is on, and how long things take.
//!
//! Tests switch mechanisms off and scale timers down through these two values, never through
//! build features (architecture.md, Decisions).

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

/// What makes failover and changes free of loss. All on, except in a test that shows what each
/// one is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mechanisms {
    /// Targets that span members are composite, so that a retry leaves the member (M31).
    pub composite_targets: bool,
    /// Routes retry (M23).
    pub retries: bool,
    /// Safe methods are also retried after a reset (M33).
    pub retry_resets_of_safe_methods: bool,
    /// The kernel notices a silently dead peer on connections in use (M32).
    pub dead_peer_detection: bool,
    /// Hosts that fail are ejected (M21).
    pub outlier_detection: bool,
    /// Retries are limited to a share of the requests, not to three at a time (M24).
    pub retry_budget: bool,
    /// With nobody healthy, everybody is tried (M34).
    pub panic_threshold: bool,
    /// Routes wait for new clusters, removals wait for routes, and endpoints follow clusters
    /// (xds.md 3.5).
    pub gates: bool,
}

impl Mechanisms {
    /// Everything on: what production runs.
    pub const ALL: Mechanisms = Mechanisms {
        composite_targets: true,
        retries: true,
        retry_resets_of_safe_methods: true,
        dead_peer_detection: true,
        outlier_detection: true,
        retry_budget: true,
        panic_threshold: true,
        gates: true,
    };
}

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// At most one tick of the engine in this time; the first of a burst is immediate (xds.md 3.14).
    pub tick_interval: Duration,
    /// G1: how long routes wait for a new cluster to warm, counted from its acknowledgement.
    pub warm_timeout: Duration,
    /// G2: how long a removal waits for routes, once none of them is refused or unanswered.
    pub drain_timeout: Duration,
    /// G2: how long a removed cluster stays after the last route has left it; it costs memory.
    /// Requests under way may still retry on it. And Envoy 1.40 crashes when a worker uses a
    /// composite cluster that the main thread has destroyed meanwhile, so this must be longer than
    /// a worker may be busy with something else.
    pub linger: Duration,
    /// A response that is not answered for this long no longer blocks its type.
    pub ack_timeout: Duration,
    /// HTTP/2 keepalive of xDS connections: interval between pings.
    pub keepalive_interval: Duration,
    /// HTTP/2 keepalive of xDS connections: how long a ping may take.
    pub keepalive_timeout: Duration,
    /// Delay of every answer with endpoints. Zero, except in the test of the gates.
    pub endpoint_delay: Duration,
}

impl Timings {
    /// What production runs.
    pub const PRODUCTION: Timings = Timings {
        tick_interval: Duration::from_millis(10),
        warm_timeout: Duration::from_secs(2),
        drain_timeout: Duration::from_secs(30),
        linger: Duration::from_secs(30),
        ack_timeout: Duration::from_secs(30),
        keepalive_interval: Duration::from_secs(30),
        keepalive_timeout: Duration::from_secs(10),
        endpoint_delay: Duration::ZERO,
    };
}

/// What an operator may choose for every gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayDefaults {
    /// Plaintext port unless the gateway's annotation says otherwise.
    pub http_port: u16,
    /// TLS port unless the gateway's annotation says otherwise.
    pub https_port: u16,
    /// Where the listeners of every gateway are bound. Tests give each gateway an address.
    pub listen_address: IpAddr,
    /// Development only: endpoints may be loopback addresses (faults.md F20).
    pub allow_loopback_endpoints: bool,
    /// Backends in `kube-system` are served (semantics.md 1.2, Protection).
    pub allow_kube_system: bool,
}

impl Default for GatewayDefaults {
    fn default() -> Self {
        GatewayDefaults {
            http_port: 80,
            https_port: 443,
            listen_address: Ipv4Addr::UNSPECIFIED.into(),
            allow_loopback_endpoints: false,
            allow_kube_system: false,
        }
    }
}
