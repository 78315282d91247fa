//! Shards: the endpoints that one member offers for one Service.
//!
//! Owns the rule which EndpointSlice entries are usable (semantics.md 5.1). Must not know other
//! members. Cost: linear in the slices of one Service, times its ports.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::Arc,
};

use crate::{
    diag::{Diag, Field, Reason},
    key::{MemberId, ObjectKind, ObjectName, ObjectRef, PortRef, Scope},
    member::address::forbidden,
    model::{Protocol, Shard, ShardEndpoint},
    store::{AddressFamily, Cidr, EndpointSlice, Labels, Service, ServicePort},
};

/// Endpoints of one port of one Service in one member (faults.md S19).
pub const MAX_ENDPOINTS: usize = 5_000;

/// What an operator allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules<'a> {
    /// Development only: endpoints may be loopback addresses.
    pub allow_loopback: bool,
    /// Where the member's endpoints may be; `None` for no limit (faults.md S17).
    pub allowed: Option<&'a [Cidr]>,
}

impl Rules<'_> {
    /// Why an endpoint must not have this address, in words that fit after "is".
    fn forbid(&self, address: IpAddr) -> Option<&'static str> {
        let is_outside = |ranges: &[Cidr]| !ranges.iter().any(|range| range.contains(address));
        let outside = || self.allowed.is_some_and(is_outside).then_some(OUTSIDE);
        forbidden(address, self.allow_loopback).or_else(outside)
    }
}

const OUTSIDE: &str = "outside of the member's `allowedEndpointCIDRs`";

/// The shards of one Service in one member, one a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceShards {
    /// Of type ExternalName: not served, and without ports.
    pub(super) is_external_name: bool,
    /// In the order of `spec.ports`.
    ports: Vec<PortShard>,
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
}

/// The shards of a Service from its slices; `None` if the member does not have the Service.
///
/// `pod_labels` is asked for the Pods of usable endpoints; a Pod that is not known has no labels.
pub fn shards<'a>(
    member: &MemberId,
    service: Option<&Service>,
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
    pod_labels: &dyn Fn(&ObjectName) -> Option<Arc<Labels>>,
    rules: Rules<'_>,
) -> (Option<ServiceShards>, Vec<Diag>) {
    let Some(service) = service else { return (None, Vec::new()) };
    let object = |kind, name: &ObjectName| {
        Field::of(&ObjectRef { scope: Scope::Member(member.clone()), kind, name: name.clone() })
    };
    let at = object(ObjectKind::Service, &service.name);
    if service.is_external_name {
        let message = "a Service of type ExternalName is never resolved and offers no endpoint";
        let diag = Diag::error(&at.key("spec.type"), Reason::UnsupportedBackend, message);
        let shards = ServiceShards { is_external_name: true, ports: Vec::new() };
        return (Some(shards), vec![diag]);
    }
    let family = if service.prefers_ipv6 { AddressFamily::V6 } else { AddressFamily::V4 };
    let mut diags = Vec::new();
    let mut usable = Vec::new();
    for slice in slices.into_iter().filter(|slice| slice.family == family) {
        let at = object(ObjectKind::EndpointSlice, &slice.name);
        usable.push(Usable::of(slice, &at, pod_labels, rules, &mut diags));
    }
    let ports = service.ports.iter().map(|port| {
        let endpoints = endpoints(port, &usable);
        let replicas = u32::try_from(endpoints.len()).unwrap_or(u32::MAX);
        let shard = Shard { protocol: protocol(port), replicas, endpoints };
        PortShard { name: port.name.clone(), number: port.number, shard }.capped(&at, &mut diags)
    });
    let ports = ports.collect();
    (Some(ServiceShards { is_external_name: false, ports }), diags)
}

impl PortShard {
    /// By address, so that the same endpoints stay whatever slice they are in.
    fn capped(mut self, service: &Field, diags: &mut Vec<Diag>) -> PortShard {
        let count = self.shard.endpoints.len();
        if count > MAX_ENDPOINTS {
            self.shard.endpoints.truncate(MAX_ENDPOINTS);
            let message = format!(
                "port {} has {count} endpoints; only the first {MAX_ENDPOINTS} are served",
                self.number
            );
            diags.push(Diag::error(&service.key("spec.ports"), Reason::LimitExceeded, message));
        }
        self
    }
}

/// The usable endpoints of one slice, before a port is chosen.
struct Usable<'a> {
    slice: &'a EndpointSlice,
    hosts: Vec<(IpAddr, Arc<Labels>)>,
}

impl<'a> Usable<'a> {
    fn of(
        slice: &'a EndpointSlice,
        at: &Field,
        pod_labels: &dyn Fn(&ObjectName) -> Option<Arc<Labels>>,
        rules: Rules<'_>,
        diags: &mut Vec<Diag>,
    ) -> Usable<'a> {
        let none = Arc::new(Labels::new());
        let mut refused = Refused::default();
        let mut hosts = Vec::new();
        for (idx, endpoint) in slice.endpoints.iter().enumerate().filter(|(_, e)| e.is_ready) {
            let Some(address) = endpoint.address.filter(|a| slice.family.holds(*a)) else {
                refused.unparsable.push(idx);
                continue;
            };
            if let Some(what) = rules.forbid(address) {
                refused.forbidden.push((idx, format!("`{address}` is {what}")));
                continue;
            }
            let labels = slice.pod_name(endpoint).and_then(|pod| pod_labels(&pod));
            hosts.push((address, labels.unwrap_or_else(|| none.clone())));
        }
        for port in slice.ports.iter().filter(|(_, number)| **number == 0) {
            let message = format!("port `{}` is 0; its endpoints are not served", port.0);
            diags.push(Diag::error(&at.key("ports"), Reason::ForbiddenAddress, message));
        }
        refused.report(at, diags);
        Usable { slice, hosts }
    }
}

/// One finding a slice and reason, because a slice may hold a thousand of them.
#[derive(Default)]
struct Refused {
    unparsable: Vec<usize>,
    forbidden: Vec<(usize, String)>,
}

impl Refused {
    fn report(&self, at: &Field, diags: &mut Vec<Diag>) {
        let place = |idx: usize| at.index("endpoints", idx).index("addresses", 0);
        let others = |count: usize| match count {
            0 | 1 => String::new(),
            more => format!("; so are {} other endpoints of the slice", more - 1),
        };
        if let Some(idx) = self.unparsable.first() {
            let others = others(self.unparsable.len());
            let message = format!("not an address of the slice's type, endpoint dropped{others}");
            diags.push(Diag::error(&place(*idx), Reason::InvalidField, message));
        }
        if let Some((idx, what)) = self.forbidden.first() {
            let message = format!("{what}, endpoint dropped{}", others(self.forbidden.len()));
            diags.push(Diag::error(&place(*idx), Reason::ForbiddenAddress, message));
        }
    }
}

/// The endpoints of one port, each address once. Slices name ports as the Service does, so the
/// number is the slice's own and `targetPort` is never looked at.
fn endpoints(port: &ServicePort, slices: &[Usable<'_>]) -> Vec<ShardEndpoint> {
    let mut endpoints = Vec::new();
    for Usable { slice, hosts } in slices {
        let Some(number) = slice.ports.get(&port.name).copied().filter(|number| *number != 0)
        else {
            continue;
        };
        endpoints.extend(hosts.iter().map(|(address, labels)| ShardEndpoint {
            address: SocketAddr::new(*address, number),
            weight: NonZeroU32::MIN,
            labels: labels.clone(),
        }));
    }
    // An address with two Pods has the greater labels: the order of slices must not decide.
    endpoints.sort_unstable_by(|a, b| b.cmp(a));
    endpoints.dedup_by_key(|endpoint| endpoint.address);
    endpoints.reverse();
    endpoints
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
