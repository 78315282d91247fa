//! Gateways: a named group of Envoys with its listeners, members and rule of attachment.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use crate::{cidr::Cidr, key::GatewayId, model::MemberOrder, settings::Collector};

/// A gateway that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Its id; Envoys name it in `node.cluster`.
    pub id: GatewayId,
    /// `remote-clusters`, in order, without duplicates.
    pub members: MemberOrder,
    /// Where its Envoys are, and which members they use first for that.
    pub preference: Preference,
    /// Address that all listeners are bound to.
    pub listen_address: IpAddr,
    /// What it listens on; never empty.
    pub listeners: BTreeMap<ListenerKey, Listener>,
    /// How many Envoys it has, where its object says so and routes may ask.
    pub envoys: Option<NonZeroU32>,
    /// Port on which an Envoy says whether it serves the gateway.
    pub ready_port: u16,
    /// Whether its Envoys write a line of JSON for each request.
    pub access_log: bool,
    /// How requests are traced, if at all.
    pub tracing: Option<Tracing>,
    /// Which classes it serves where no IngressClass is bound to it.
    pub class_rule: ClassRule,
    /// Serve only this namespace.
    pub watch_namespace: Option<Arc<str>>,
}

impl Gateway {
    /// The listener whose route table answers for readiness: the first, and plaintext ones come
    /// first.
    pub fn ready_listener(&self) -> ListenerKey {
        let first = self.listeners.keys().next().copied();
        first.expect("invariant: a gateway has a listener")
    }

    /// What the routes of a listener take from it.
    pub fn front(&self, listener: &Listener) -> Front {
        let secure = self.https_port();
        let is_usual = listener.port.public == Front::HTTP && secure == Front::HTTPS;
        Front {
            https_port: (!is_usual).then_some(secure),
            answer_timeout: listener.edge.request_timeout,
            envoys: self.envoys,
        }
    }

    /// Where https is served: the usual port, if it is, or else the first that is.
    fn https_port(&self) -> u16 {
        let is_secure = |(key, _): &(&ListenerKey, _)| key.transport == Transport::Tls;
        let ports = self.listeners.iter().filter(is_secure).map(|(_, own)| own.port.public);
        let ports: Vec<_> = ports.collect();
        match ports.first() {
            Some(first) if !ports.contains(&Front::HTTPS) => *first,
            Some(_) | None => Front::HTTPS,
        }
    }
}

/// What the routes of a listener take from it, so that they are encoded anew when it changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Front {
    /// The port that redirects to https name; `None` where both ports are the usual ones, which
    /// no URL names.
    pub https_port: Option<u16>,
    /// How long a backend may take to begin its answer, unless the route says otherwise.
    pub answer_timeout: Option<Duration>,
    /// How many Envoys share what a route takes, if that is known.
    pub envoys: Option<NonZeroU32>,
}

impl Front {
    /// The port that a URL of http need not name.
    pub const HTTP: u16 = 80;
    /// The port that a URL of https need not name.
    pub const HTTPS: u16 = 443;
}

/// One listener of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where.
    pub port: Port,
    /// What it takes from clients.
    pub edge: Edge,
}

/// Members in order of their distance, for gateways that ask for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preference {
    /// What counts as near.
    pub prefer: Prefer,
    /// Region of its Envoys; empty if unknown.
    pub region: Arc<str>,
    /// Zone of its Envoys, in that region; empty if unknown.
    pub zone: Arc<str>,
}

/// Which members of a gateway are used first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prefer {
    /// None: every replica is equal, wherever it is.
    #[default]
    Nothing,
    /// Those of its own region, then the others.
    Region,
    /// Those of its own zone, then those of its own region, then the others.
    Zone,
}

/// A port as clients name it, and as an Envoy binds it: a Service may be between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// What clients connect to.
    pub public: u16,
    /// What the Envoy listens on.
    pub bound: u16,
}

impl Port {
    /// How much higher a port that needs privileges is bound: 80 becomes 8080, 443 becomes 8443.
    const RAISE: u16 = 8000;
    /// The first port that needs none.
    const UNPRIVILEGED: u16 = 1024;

    /// Nothing is between client and Envoy.
    pub fn direct(port: u16) -> Port {
        Port { public: port, bound: port }
    }

    /// Bound where no privilege is needed, and at none of the ports that clients name beside it.
    pub fn unprivileged(public: u16, others: &[u16]) -> Port {
        let mut bound = public;
        while bound < Port::UNPRIVILEGED || (bound != public && others.contains(&bound)) {
            // What is left then is another listener's, which is refused.
            let Some(next) = bound.checked_add(Port::RAISE) else { break };
            bound = next;
        }
        Port { public, bound }
    }
}

/// Spans of a gateway's requests, sent over OTLP/gRPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracing {
    /// Who takes the spans.
    pub collector: Collector,
    /// Of a million requests, how many are traced.
    pub per_million: u32,
}

/// What the listeners of a gateway take from clients, where gateways differ. What holds for all of
/// them is `resources::defaults`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Proxies before the gateway that append to `x-forwarded-for`. The client is believed to be
    /// who the last of them says, so more than there are lets clients forge it (faults.md M28).
    pub trusted_hops: u32,
    /// A stream without a byte in either direction is cut.
    pub stream_idle_timeout: Duration,
    /// A connection without a stream is closed.
    pub idle_timeout: Duration,
    /// Request headers must be complete within this time of their first byte (slowloris).
    pub request_headers_timeout: Duration,
    /// Size of the headers of one request.
    pub max_request_headers_kib: u32,
    /// A backend that has not begun its answer after this is given up, unless the route says
    /// otherwise; `None` waits.
    pub request_timeout: Option<Duration>,
    /// Whether clients may speak HTTP/2.
    pub http2: bool,
    /// Whether answers are compressed for clients that accept it.
    pub gzip: bool,
    /// Who may use it.
    pub access: Access,
}

impl Edge {
    /// What holds unless a gateway's annotations say otherwise.
    pub const DEFAULT: Edge = Edge {
        // The peer is the client: nothing it says about addresses is believed.
        trusted_hops: 0,
        // Server-sent events, gRPC watches and WebSockets live longer than Envoy's five minutes
        // (semantics.md 3.10).
        stream_idle_timeout: Duration::from_secs(3600),
        // Longer than load balancers keep idle connections (600 s at most), so that none is closed
        // that a balancer is about to use; Envoy's own hour lets idle clients use up the limit of
        // connections.
        idle_timeout: Duration::from_secs(900),
        request_headers_timeout: Duration::from_secs(10),
        // Envoy's own, said here so that a new Envoy does not change it: a few large cookies.
        max_request_headers_kib: 60,
        request_timeout: None,
        http2: true,
        gzip: false,
        access: Access::Open,
    };
}

/// `spec.ingress.local.ingressClass` (semantics.md 1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClassRule {
    /// Unset: nothing by class string.
    None,
    /// `""`: every Ingress.
    Every,
    /// `"nginx"`: class nginx or no class.
    NginxOrNone,
    /// Exactly that class.
    Exactly(Arc<str>),
}

/// A listener of a gateway; it names the listener and its route table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerKey {
    /// What clients speak below HTTP.
    pub transport: Transport,
    /// As clients name it; `None` for the only listener of its transport, whose port may change
    /// and leaves it the same.
    pub port: Option<u16>,
}

impl ListenerKey {
    /// The only plaintext listener of a gateway.
    pub const HTTP: ListenerKey = ListenerKey { transport: Transport::Plaintext, port: None };
    /// The only TLS listener of a gateway.
    pub const HTTPS: ListenerKey = ListenerKey { transport: Transport::Tls, port: None };
}

/// What is below HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Nothing.
    Plaintext,
    /// TLS; such a listener exists only while some host of it has a certificate.
    Tls,
}

/// Who may use a listener, by the client's address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    #[default]
    Open,
    /// Who is in one of these ranges.
    Only(Vec<Cidr>),
    /// Who is in none of these ranges.
    Except(Vec<Cidr>),
}

/// The resource names of the Secrets that TLS listeners serve; of those that have any.
pub type Certificates = BTreeMap<ListenerKey, BTreeSet<Arc<str>>>;

/// Certificates of a TLS listener: which Secret each server name is served with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsHosts {
    /// Host and the resource name of its Secret, ordered by host. `Host::Any` is the default.
    pub chains: Vec<(crate::model::Host, Arc<str>)>,
}
