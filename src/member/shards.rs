//! Shards: the endpoints that one member offers for one Service.
//!
//! Owns which way leads to its Pods (semantics.md 5.1, 2.8), one file a way. Must not know other
//! members. Cost: linear in the slices of one Service, times its ports; behind nodes, in the nodes
//! too.

mod balancer;
mod behind;
mod nodes;
mod pods;

use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroU32, sync::Arc};

use crate::{
    diag::{Diag, Field, Reason},
    key::{MemberId, ObjectKind, ObjectName, ObjectRef, PortRef, Scope},
    member::Rules,
    model::{Protocol, Shard, ShardEndpoint},
    store::{EndpointSlice, Labels, Node, Service, ServiceKind, ServicePort},
};

/// Endpoints of one port of one Service in one member (faults.md S19).
pub const MAX_ENDPOINTS: usize = 5_000;

/// How a member's Pods are reached.
#[derive(Clone, Copy)]
pub enum Reach<'a> {
    /// At their own addresses. Holds the labels of a Pod; one that is not known has none.
    Pods(&'a dyn Fn(&ObjectName) -> Option<Arc<Labels>>),
    /// Through the member's nodes, or a load balancer in front of them.
    Nodes(&'a BTreeMap<ObjectName, Arc<Node>>),
}

/// The shards of one Service in one member, one a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceShards {
    /// Why it has no endpoints, whatever its slices say.
    pub(super) unsupported: Option<Unsupported>,
    /// An endpoint leads to any Pod, so that labels of Pods tell none of them apart.
    pub(super) hides_pods: bool,
    /// In the order of `spec.ports`; an ExternalName has none.
    ports: Vec<PortShard>,
}

/// A type of Service that offers nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsupported {
    /// Never resolved (faults.md S17).
    ExternalName,
    /// Its Pods cannot be reached, and no node leads to them.
    ClusterIp,
}

impl Unsupported {
    /// In words that come after the Service.
    pub(super) fn what(self) -> &'static str {
        match self {
            Unsupported::ExternalName => "is an ExternalName",
            Unsupported::ClusterIp => {
                "is a ClusterIP, and the member's Pods cannot be reached (network: overlay)"
            }
        }
    }

    pub(super) fn reason(self) -> Reason {
        match self {
            Unsupported::ExternalName => Reason::UnsupportedBackend,
            Unsupported::ClusterIp => Reason::UnsupportedServiceType,
        }
    }

    /// To the Service's author.
    fn advice(self) -> &'static str {
        match self {
            Unsupported::ExternalName => {
                "a Service of type ExternalName is never resolved and offers no endpoint"
            }
            Unsupported::ClusterIp => {
                "the Pods of a member with network overlay cannot be reached, so that a Service of \
                 type ClusterIP offers no endpoint; make it NodePort or LoadBalancer"
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct PortShard {
    name: Arc<str>,
    number: u16,
    shard: Shard,
}

impl ServiceShards {
    /// The shard of a port; `None` if the Service does not have the port.
    pub fn shard(&self, port: &PortRef) -> Option<&Shard> {
        let own = self.ports.iter().find(|own| match port {
            PortRef::Number(number) => own.number == number.get(),
            PortRef::Name(name) => own.name == *name,
            PortRef::First => true,
        });
        own.map(|own| &own.shard)
    }

    /// Every address that is offered, of all ports.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.ports.iter().flat_map(|own| &own.shard.endpoints).map(|own| own.address)
    }

    /// Whether the addresses are those of Pods.
    pub fn shows_pods(&self) -> bool {
        !self.hides_pods
    }
}

/// The shards of a Service from its slices.
pub fn shards<'a>(
    member: &MemberId,
    service: &Service,
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
    reach: Reach<'_>,
    rules: Rules<'_>,
) -> (ServiceShards, Vec<Diag>) {
    let offer = Offering { member, service, rules };
    let mut diags = Vec::new();
    let slices = slices.into_iter().filter(|slice| slice.family == service.family()).collect();
    let way = Way::choose(&offer, slices, reach, &mut diags);
    let unsupported = way.unsupported();
    if let Some(own) = unsupported {
        let at = offer.at().key("spec.type");
        diags.push(Diag::error(&at, own.reason(), own.advice()));
    }
    let ports = service.ports.iter().filter(|_| unsupported != Some(Unsupported::ExternalName));
    let ports = ports.map(|port| offer.shard(port, &way, &mut diags)).collect();
    (ServiceShards { unsupported, hides_pods: way.hides_pods(), ports }, diags)
}

/// A member's Service, and what it may offer.
struct Offering<'a> {
    member: &'a MemberId,
    service: &'a Service,
    rules: Rules<'a>,
}

/// What a way leads to for one port.
#[derive(Default)]
struct Found {
    /// Ready Pods.
    replicas: usize,
    /// Ordered by address, each once.
    endpoints: Vec<ShardEndpoint>,
}

/// Where a Service's Pods are reached.
enum Way<'a> {
    Pods(pods::Pods<'a>),
    Nodes(nodes::Nodes<'a>),
    Balancer(balancer::Balancer<'a>),
    Nowhere(Unsupported),
}

impl<'a> Way<'a> {
    fn choose(
        offer: &Offering<'_>,
        slices: Vec<&'a EndpointSlice>,
        reach: Reach<'a>,
        diags: &mut Vec<Diag>,
    ) -> Way<'a> {
        let kind = offer.service.kind;
        match (kind, reach) {
            (ServiceKind::ExternalName, _) => Way::Nowhere(Unsupported::ExternalName),
            (_, Reach::Pods(labels)) => Way::Pods(pods::Pods::new(offer, slices, labels, diags)),
            (ServiceKind::ClusterIp, Reach::Nodes(_)) => Way::Nowhere(Unsupported::ClusterIp),
            (ServiceKind::NodePort | ServiceKind::LoadBalancer, Reach::Nodes(nodes)) => {
                match offer.service.is_on_nodes() {
                    true => Way::Nodes(nodes::Nodes::new(offer, slices, nodes)),
                    false => Way::Balancer(balancer::Balancer { slices }),
                }
            }
        }
    }

    fn unsupported(&self) -> Option<Unsupported> {
        match self {
            Way::Pods(_) | Way::Nodes(_) | Way::Balancer(_) => None,
            Way::Nowhere(own) => Some(*own),
        }
    }

    fn hides_pods(&self) -> bool {
        match self {
            Way::Pods(_) | Way::Nowhere(_) => false,
            Way::Nodes(_) | Way::Balancer(_) => true,
        }
    }
}

impl Offering<'_> {
    fn at(&self) -> Field {
        self.field(ObjectKind::Service, &self.service.name)
    }

    fn field(&self, kind: ObjectKind, name: &ObjectName) -> Field {
        let scope = Scope::Member(self.member.clone());
        Field::of(&ObjectRef { scope, kind, name: name.clone() })
    }

    fn shard(&self, port: &ServicePort, way: &Way<'_>, diags: &mut Vec<Diag>) -> PortShard {
        let found = match way {
            Way::Pods(pods) => pods.found(self, port, diags),
            Way::Nodes(nodes) => nodes.found(self, port, diags),
            Way::Balancer(balancer) => balancer.found(self, port, diags),
            Way::Nowhere(_) => Found::default(),
        };
        let Found { replicas, endpoints } = self.capped(port, found, diags);
        // Whom nothing leads to has no share. At most MAX_ENDPOINTS.
        let replicas = if endpoints.is_empty() { 0 } else { replicas };
        let replicas = u32::try_from(replicas).unwrap_or(u32::MAX);
        let shard = Shard { protocol: protocol(port), replicas, endpoints };
        PortShard { name: port.name.clone(), number: port.number, shard }
    }

    /// By address, so that the same endpoints stay whatever slice they are in. Nor may a member have
    /// a greater share than so many Pods have.
    fn capped(&self, port: &ServicePort, mut found: Found, diags: &mut Vec<Diag>) -> Found {
        let count = found.endpoints.len().max(found.replicas);
        if count > MAX_ENDPOINTS {
            found.endpoints.truncate(MAX_ENDPOINTS);
            found.replicas = MAX_ENDPOINTS;
            let number = port.number;
            let message = format!(
                "port {number} has {count} endpoints; only the first {MAX_ENDPOINTS} are served"
            );
            diags.push(Diag::error(&self.at().key("spec.ports"), Reason::LimitExceeded, message));
        }
        found
    }

    /// Those of the addresses that may be served; one finding for all others.
    fn permitted(
        &self,
        addresses: impl IntoIterator<Item = (SocketAddr, NonZeroU32)>,
        what: &str,
        diags: &mut Vec<Diag>,
    ) -> Vec<ShardEndpoint> {
        let none = Arc::new(Labels::new());
        let mut refused = Vec::new();
        let mut endpoints = Vec::new();
        for (address, weight) in addresses {
            match self.rules.forbid(address.ip()).or_else(|| self.rules.guard(address)) {
                Some(why) => refused.push(format!("`{address}` is {why}")),
                None => endpoints.push(ShardEndpoint { address, weight, labels: none.clone() }),
            }
        }
        if let Some(first) = refused.first() {
            let message = format!("{first}, not used{}", others(refused.len(), what));
            let at = self.at().key("spec.ports");
            diags.push(Diag::error(&at, Reason::ForbiddenAddress, message));
        }
        endpoints
    }
}

/// What to add where the first of `count` stands for all.
fn others(count: usize, what: &str) -> String {
    match count {
        0 | 1 => String::new(),
        more => format!("; so are {} other {what}", more - 1),
    }
}

/// `appProtocol` decides; without it, the prefix of the port's name (semantics.md 3.8).
fn protocol(port: &ServicePort) -> Protocol {
    let named = |name: &str| match name {
        "kubernetes.io/h2c" | "h2c" | "http2" | "grpc" => Protocol::Http2,
        _other => Protocol::Http1,
    };
    match &port.app_protocol {
        Some(declared) => named(&declared.to_ascii_lowercase()),
        None => named(port.name.split('-').next().unwrap_or_default()),
    }
}
