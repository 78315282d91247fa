//! Which address leads where.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
};

use k8s_openapi::api::{
    core::v1::{Node, Service, ServicePort},
    discovery::v1::{Endpoint, EndpointSlice},
};
use kube::ResourceExt;

use super::Known;

/// Every address that somebody listens on, and the endpoints behind it: at least one.
pub(super) type Table = BTreeMap<SocketAddr, Vec<SocketAddr>>;

/// An endpoint of one port.
struct Target<'a> {
    address: SocketAddr,
    of: &'a Endpoint,
}

pub(super) fn of(known: &Known) -> Table {
    let mut table = Table::new();
    for service in &known.services {
        for port in tcp_ports(service) {
            let all = targets(service, port, &known.slices);
            let anywhere = chosen(all.iter());
            for address in [cluster_address(service), balancer(service)].into_iter().flatten() {
                table.insert((address, number(port.port)).into(), anywhere.clone());
            }
            let Some(node_port) = port.node_port.map(number).filter(|port| *port != 0) else {
                continue;
            };
            for node in &known.nodes {
                let here = |target: &&Target<'_>| target.of.node_name == node.metadata.name;
                let targets = if is_local(service) {
                    chosen(all.iter().filter(here))
                } else {
                    anywhere.clone()
                };
                table.extend(node_address(node).map(|it| ((it, node_port).into(), targets)));
            }
        }
    }
    table.retain(|_, targets| !targets.is_empty());
    table
}

/// Where new connections go: endpoints that are ready, and only where none is, those that still serve
/// while they end.
fn chosen<'a>(targets: impl Iterator<Item = &'a Target<'a>> + Clone) -> Vec<SocketAddr> {
    let pick = |wanted: fn(&Endpoint) -> bool| -> Vec<_> {
        targets.clone().filter(|target| wanted(target.of)).map(|target| target.address).collect()
    };
    let ready = pick(is_ready);
    if ready.is_empty() { pick(is_ending) } else { ready }
}

/// Unknown is ready.
pub(super) fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|it| it.ready).unwrap_or(true)
}

fn is_ending(endpoint: &Endpoint) -> bool {
    let conditions = endpoint.conditions.as_ref();
    conditions.is_some_and(|it| it.serving == Some(true) && it.terminating == Some(true))
}

fn tcp_ports(service: &Service) -> impl Iterator<Item = &ServicePort> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    ports.filter(|port| port.protocol.as_deref().is_none_or(|it| it == "TCP"))
}

fn targets<'a>(
    service: &Service,
    port: &ServicePort,
    slices: &'a [std::sync::Arc<EndpointSlice>],
) -> Vec<Target<'a>> {
    let name = port.name.as_deref().unwrap_or_default();
    let mut found = Vec::new();
    for slice in of_service(service, slices) {
        let mut ports = slice.ports.iter().flatten();
        let same = ports.find(|it| it.name.as_deref().unwrap_or_default() == name);
        let Some(port) = same.and_then(|port| port.port).map(number) else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            let address = endpoint.addresses.first().and_then(|it| it.parse::<Ipv4Addr>().ok());
            found.extend(address.map(|it| Target { address: (it, port).into(), of: endpoint }));
        }
    }
    found
}

/// The EndpointSlices of a Service.
pub(super) fn of_service<'a>(
    service: &Service,
    slices: &'a [std::sync::Arc<EndpointSlice>],
) -> impl Iterator<Item = &'a EndpointSlice> {
    let (namespace, name) = (service.namespace(), service.name_any());
    slices.iter().map(AsRef::as_ref).filter(move |slice: &&EndpointSlice| {
        slice.namespace() == namespace
            && slice.labels().get("kubernetes.io/service-name") == Some(&name)
    })
}

/// None of a headless one.
pub(super) fn cluster_address(service: &Service) -> Option<Ipv4Addr> {
    service.spec.as_ref()?.cluster_ip.as_ref()?.parse().ok()
}

pub(super) fn is_balanced(service: &Service) -> bool {
    service.spec.as_ref().is_some_and(|spec| spec.type_.as_deref() == Some("LoadBalancer"))
}

/// Where its load balancer is, once the status says so.
pub(super) fn balancer(service: &Service) -> Option<Ipv4Addr> {
    let status = service.status.as_ref().filter(|_| is_balanced(service))?;
    status.load_balancer.as_ref()?.ingress.as_ref()?.first()?.ip.as_ref()?.parse().ok()
}

/// Whether a node forwards to its own Pods only.
fn is_local(service: &Service) -> bool {
    let policy = service.spec.as_ref().and_then(|spec| spec.external_traffic_policy.as_deref());
    policy == Some("Local")
}

fn node_address(node: &Node) -> Option<Ipv4Addr> {
    let mut addresses = node.status.as_ref()?.addresses.as_ref()?.iter();
    addresses.find(|it| it.type_ == "InternalIP")?.address.parse().ok()
}

fn number(port: i32) -> u16 {
    port.try_into().expect("the API server takes no other port")
}
