//! Knobs of the whole program: what is on, and how long things take.
//!
//! Tests switch mechanisms off and scale timers down through these two values, never through
//! build features (architecture.md, Decisions).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU16,
    str::FromStr,
    sync::Arc,
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
    /// Of Kubernetes as a source.
    pub source: SourceTimings,
    /// Of what is written to the fleet.
    pub status: StatusTimings,
    /// Of managed gateways.
    pub infra: InfraTimings,
    /// Of certificates and tokens.
    pub identity: IdentityTimings,
}

/// How long things take between Convoy and an API server (faults.md, Principles).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceTimings {
    /// A connection, TLS included.
    pub connect: Duration,
    /// A request other than a watch.
    pub request: Duration,
    /// A watch without an event or a bookmark; also asked of the server as the watch's end.
    pub watch_idle: Duration,
    /// Between two probes of an API server that answers, give or take a fifth.
    pub probe: Duration,
    /// Between two probes of one that does not.
    pub probe_lost: Duration,
    /// Without contact for this long, a cluster is stale.
    pub stale_after: Duration,
    /// After this, nobody waits any more for a member that was never read (xds.md 3.15).
    pub sync_deadline: Duration,
    /// The first wait after a failure; it doubles.
    pub backoff_min: Duration,
    /// The longest wait after a failure.
    pub backoff_max: Duration,
}

/// How long things take between the status room and the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusTimings {
    /// How long other replicas wait after the holder's last renewal. Whole seconds.
    pub lease_duration: Duration,
    /// How long the holder writes after its last renewal; less than `lease_duration`.
    pub renew_deadline: Duration,
    /// Between two looks at the lease.
    pub lease_period: Duration,
    /// One request in this time, on average.
    pub write_interval: Duration,
    /// The limit of one request. No more than the lease outlives its holder, so that nothing of an
    /// old holder is under way when a new one begins.
    pub request_timeout: Duration,
    /// Delay after a first failure; it doubles.
    pub first_retry: Duration,
    /// The longest delay after a failure.
    pub last_retry: Duration,
    /// Events about one object with one reason are at least this far apart.
    pub event_window: Duration,
    /// Between two looks at the Envoys.
    pub envoy_poll: Duration,
    /// A gateway that no Envoy has ever come to has failed after this.
    pub lonely: Duration,
    /// The time of a member's last contact is written again when it is this much later.
    pub contact_step: Duration,
    /// The same while the counts of its objects differ too, which they do with every Pod.
    pub count_step: Duration,
    /// A member that has not answered for this long is not connected; as long as
    /// [`SourceTimings::stale_after`].
    pub contact_lost: Duration,
}

/// How long certificates last, and what is asked of the fleet to make and to check them. Lives and
/// waits of certificates are whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentityTimings {
    /// How long a certificate of the authority is valid.
    pub authority: Duration,
    /// How long a certificate is valid that it issues.
    pub leaf: Duration,
    /// Nobody goes on longer than this with what the authority was before: peers with the bundle
    /// that they hold, replicas with the Secret that they read.
    pub overlap: Duration,
    /// A certificate is valid so long before it is made: clocks differ.
    pub skew: Duration,
    /// Between two looks at the Secret of the authority.
    pub look: Duration,
    /// The limit of one request.
    pub request: Duration,
    /// Between two fetches of the keys that sign tokens.
    pub keys: Duration,
    /// The same while tokens come that an unknown key has signed, and while there are no keys.
    pub keys_wanted: Duration,
    /// How far the clocks may be apart of whoever signs tokens and of Convoy.
    pub leeway: Duration,
}

/// How long things take between managed gateways and the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InfraTimings {
    /// One request in this time, on average.
    pub write_interval: Duration,
    /// The limit of one request; see [`StatusTimings::request_timeout`].
    pub request_timeout: Duration,
    /// Delay after a first failure; it doubles.
    pub first_retry: Duration,
    /// The longest delay after a failure.
    pub last_retry: Duration,
    /// Between two looks at the age of certificates, which are due days before they end.
    pub renewal: Duration,
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
        source: SourceTimings::PRODUCTION,
        status: StatusTimings::PRODUCTION,
        infra: InfraTimings::PRODUCTION,
        identity: IdentityTimings::PRODUCTION,
    };
}

impl SourceTimings {
    /// What production runs.
    pub const PRODUCTION: SourceTimings = SourceTimings {
        connect: Duration::from_secs(5),
        request: Duration::from_secs(15),
        watch_idle: Duration::from_secs(60),
        probe: Duration::from_secs(15),
        probe_lost: Duration::from_secs(5),
        stale_after: Duration::from_secs(75),
        sync_deadline: Duration::from_secs(30),
        backoff_min: Duration::from_millis(500),
        backoff_max: Duration::from_secs(30),
    };

    /// Everything this many times faster, for tests.
    pub fn faster(self, times: u32) -> SourceTimings {
        SourceTimings {
            connect: self.connect / times,
            request: self.request / times,
            watch_idle: self.watch_idle / times,
            probe: self.probe / times,
            probe_lost: self.probe_lost / times,
            stale_after: self.stale_after / times,
            sync_deadline: self.sync_deadline / times,
            backoff_min: self.backoff_min / times,
            backoff_max: self.backoff_max / times,
        }
    }
}

impl StatusTimings {
    /// What production runs. The lease's are those of Kubernetes' own components.
    pub const PRODUCTION: StatusTimings = StatusTimings {
        lease_duration: Duration::from_secs(15),
        renew_deadline: Duration::from_secs(10),
        lease_period: Duration::from_secs(2),
        write_interval: Duration::from_millis(100),
        request_timeout: Duration::from_secs(5),
        first_retry: Duration::from_secs(1),
        last_retry: Duration::from_secs(60),
        event_window: Duration::from_secs(300),
        envoy_poll: Duration::from_secs(1),
        lonely: Duration::from_secs(600),
        contact_step: Duration::from_secs(30),
        count_step: Duration::from_secs(5),
        contact_lost: SourceTimings::PRODUCTION.stale_after,
    };

    /// Everything this many times faster, for tests; a lease lasts whole seconds.
    pub fn faster(self, times: u32) -> StatusTimings {
        let lease_duration = self.lease_duration / times;
        StatusTimings {
            lease_duration: Duration::from_secs(lease_duration.as_secs_f64().ceil() as u64),
            renew_deadline: self.renew_deadline / times,
            lease_period: self.lease_period / times,
            write_interval: self.write_interval / times,
            request_timeout: self.request_timeout / times,
            first_retry: self.first_retry / times,
            last_retry: self.last_retry / times,
            event_window: self.event_window / times,
            envoy_poll: self.envoy_poll / times,
            lonely: self.lonely / times,
            contact_step: self.contact_step / times,
            count_step: self.count_step / times,
            contact_lost: self.contact_lost / times,
        }
    }
}

impl InfraTimings {
    /// What production runs: as the status room, which asks the same API server.
    pub const PRODUCTION: InfraTimings = InfraTimings {
        write_interval: StatusTimings::PRODUCTION.write_interval,
        request_timeout: StatusTimings::PRODUCTION.request_timeout,
        first_retry: StatusTimings::PRODUCTION.first_retry,
        last_retry: StatusTimings::PRODUCTION.last_retry,
        renewal: Duration::from_secs(60),
    };

    /// Everything this many times faster, for tests.
    pub fn faster(self, times: u32) -> InfraTimings {
        InfraTimings {
            write_interval: self.write_interval / times,
            request_timeout: self.request_timeout / times,
            first_retry: self.first_retry / times,
            last_retry: self.last_retry / times,
            renewal: self.renewal / times,
        }
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl IdentityTimings {
    /// What production runs.
    pub const PRODUCTION: IdentityTimings = IdentityTimings {
        // A rotation begins at two thirds of it and lasts two overlaps and a leaf, which are 90 of
        // the 122 days that are left; and one a year is often enough that it is nothing special.
        authority: Duration::from_secs(365 * DAY.as_secs()),
        // There is no revocation: a stolen key is of use for this long. Renewed at two thirds, it
        // outlasts ten days without an API server.
        leaf: Duration::from_secs(30 * DAY.as_secs()),
        // As long as a leaf: a certificate comes with a bundle, so whoever has a valid one, also if
        // it was installed by hand, trusts an authority before it signs.
        overlap: Duration::from_secs(30 * DAY.as_secs()),
        // Nodes without time synchronisation drift by minutes.
        skew: Duration::from_secs(60 * 60),
        look: Duration::from_secs(10),
        request: Duration::from_secs(5),
        // API servers let these answers be cached for an hour.
        keys: Duration::from_secs(10 * 60),
        keys_wanted: Duration::from_secs(10),
        leeway: Duration::from_secs(10),
    };

    /// Everything this many times faster, for tests, except the leeway and the limit of a request;
    /// an API server is asked ten times a second at most.
    pub fn faster(self, times: u32) -> IdentityTimings {
        let whole = |own: Duration| Duration::from_secs((own / times).as_secs_f64().ceil() as u64);
        let ask = |own: Duration| (own / times).max(Duration::from_millis(100));
        IdentityTimings {
            authority: whole(self.authority),
            leaf: whole(self.leaf),
            overlap: whole(self.overlap),
            skew: whole(self.skew),
            look: ask(self.look),
            request: self.request,
            keys: ask(self.keys),
            keys_wanted: ask(self.keys_wanted),
            leeway: self.leeway,
        }
    }
}

/// Where an Envoy says whether it serves its gateway: `GET` [`READY_PATH`] with `Host:`
/// [`READY_HOST`]. Beside the metrics' 19001, and above the ports that need privileges.
pub const READY_PORT: u16 = 19003;

/// The only path that the readiness listener answers.
pub const READY_PATH: &str = "/ready";

/// The only host that the readiness listener answers. The underscore makes it a name that no
/// Ingress can have, so nobody's rules can answer for it.
pub const READY_HOST: &str = "_ready.convoy";

/// Who takes spans, as `host:port`; an IPv6 address is in brackets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Collector {
    host: Arc<str>,
    port: NonZeroU16,
}

impl Collector {
    /// Its DNS name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port.get()
    }
}

impl FromStr for Collector {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Collector, &'static str> {
        const FORM: &str = "not HOST:PORT";
        let (host, port) = text.rsplit_once(':').ok_or(FORM)?;
        let port = port.parse().map_err(|_| FORM)?;
        let is_v6 = |text: &str| text.parse::<Ipv6Addr>().is_ok();
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        // A URL, a path and an address without brackets have something that names have not.
        let is_name = |host: &str| {
            (1..=253).contains(&host.len())
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        };
        let host = bracketed.filter(|host| is_v6(host)).or(Some(host).filter(|h| is_name(h)));
        Ok(Collector { host: host.ok_or(FORM)?.into(), port })
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// What an operator may choose for every gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayDefaults {
    /// Plaintext port unless the gateway's annotation says otherwise.
    pub http_port: u16,
    /// TLS port unless the gateway's annotation says otherwise.
    pub https_port: u16,
    /// Port of the readiness listener unless the gateway's annotation says otherwise.
    pub ready_port: u16,
    /// Envoys may not bind ports below 1024: these are bound 8000 higher, and a Service maps them.
    pub unprivileged_ports: bool,
    /// Where the listeners of every gateway are bound. Tests give each gateway an address.
    pub listen_address: IpAddr,
    /// Development only: endpoints may be loopback addresses (faults.md F20).
    pub allow_loopback_endpoints: bool,
    /// Backends in `kube-system` are served (semantics.md 1.2, Protection).
    pub allow_kube_system: bool,
    /// Who takes the spans of gateways that ask for tracing, unless an annotation says otherwise.
    pub otlp_endpoint: Option<Collector>,
    /// Region of the Envoys of gateways that do not say where theirs are; empty if unknown.
    pub region: Arc<str>,
    /// Their zone, in that region; empty if unknown.
    pub zone: Arc<str>,
}

impl Default for GatewayDefaults {
    fn default() -> Self {
        GatewayDefaults {
            http_port: 80,
            https_port: 443,
            ready_port: READY_PORT,
            unprivileged_ports: false,
            listen_address: Ipv4Addr::UNSPECIFIED.into(),
            allow_loopback_endpoints: false,
            allow_kube_system: false,
            otlp_endpoint: None,
            region: "".into(),
            zone: "".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_a_host_and_a_port() {
        for text in ["otel.observability.svc:4317", "10.0.0.7:4317", "[2001:db8::1]:4317"] {
            let collector: Collector = text.parse().unwrap();
            assert_eq!(collector.to_string(), text);
        }
        for text in [
            "",
            "otel",
            ":4317",
            "otel:0",
            "otel:65536",
            "otel:x",
            "http://otel:4317",
            "otel:4317/v1",
            "a b:1",
            "2001:db8::1:4317",
            "[otel]:4317",
            "[::1]",
            "user@otel:4317",
        ] {
            assert!(text.parse::<Collector>().is_err(), "{text:?}");
        }
    }
}
