//! Service, EndpointSlice and Pod.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU16,
    sync::Arc,
};

use k8s_openapi::{
    api::{core::v1 as core, discovery::v1 as discovery},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    key::ObjectName,
    source::decode::{Findings, Trimmed, names, typed},
    store::{
        AddressFamily, Endpoint, EndpointSlice, Object, Pod, Service, ServiceKind, ServicePort,
        TrafficPolicy,
    },
};

const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Only the member itself says which cluster it is (semantics.md row 57).
const CLUSTER: &str = "topology.istio.io/cluster";

pub(super) fn service(name: ObjectName, manifest: Value, findings: &mut Findings) -> Trimmed {
    let manifest: core::Service = typed(manifest)?;
    let spec = manifest.spec.unwrap_or_default();
    let prefers_ipv6 = match spec.ip_families.unwrap_or_default().first() {
        Some(family) => family == "IPv6",
        // The API server always fills it in; a manifest by hand may still have an address.
        None => spec.cluster_ip.is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok()),
    };
    let ports = spec.ports.into_iter().flatten().enumerate();
    let ports =
        ports.filter(|(_, port)| is_tcp(port.protocol.as_deref())).filter_map(|(idx, port)| {
            match u16::try_from(port.port) {
                Ok(number) if number != 0 => Some(ServicePort {
                    name: port.name.unwrap_or_default().into(),
                    number,
                    app_protocol: port.app_protocol.map(Arc::from),
                    // The API server hands out none that is no port.
                    node_port: port
                        .node_port
                        .and_then(|number| u16::try_from(number).ok())
                        .and_then(NonZeroU16::new),
                }),
                Ok(_) | Err(_) => {
                    let message = format!("{} is not a port", port.port);
                    findings.invalid(&format!("spec.ports[{idx}].port"), message);
                    None
                }
            }
        });
    let kind = match spec.type_.as_deref() {
        Some("NodePort") => ServiceKind::NodePort,
        Some("LoadBalancer") => ServiceKind::LoadBalancer,
        Some("ExternalName") => ServiceKind::ExternalName,
        Some(_) | None => ServiceKind::ClusterIp,
    };
    let policy = match spec.external_traffic_policy.as_deref() {
        Some("Local") => TrafficPolicy::Local,
        Some(_) | None => TrafficPolicy::Cluster,
    };
    let balancer = manifest.status.and_then(|status| status.load_balancer);
    let service = Service {
        name,
        ports: ports.collect(),
        kind,
        policy,
        balancers: balancers(kind, balancer, prefers_ipv6),
        prefers_ipv6,
    };
    Ok(Some(Object::Service(service.into())))
}

/// In order, each once. What is left of one by a Service that is none any more counts for nothing.
fn balancers(
    kind: ServiceKind,
    status: Option<core::LoadBalancerStatus>,
    prefers_ipv6: bool,
) -> Vec<IpAddr> {
    let points = status.and_then(|status| status.ingress).unwrap_or_default();
    let addresses = points.iter().filter_map(|point| point.ip.as_deref()?.parse::<IpAddr>().ok());
    let own =
        addresses.filter(|own| kind == ServiceKind::LoadBalancer && own.is_ipv6() == prefers_ipv6);
    own.collect::<BTreeSet<_>>().into_iter().collect()
}

/// A slice that belongs to no Service is none of our business.
pub(super) fn slice(name: ObjectName, manifest: Value, findings: &mut Findings) -> Trimmed {
    let manifest: discovery::EndpointSlice = typed(manifest)?;
    let service = manifest.metadata.labels.and_then(|mut labels| labels.remove(SERVICE_NAME));
    let Some(service) = service.filter(|service| names::is_subdomain(service)) else {
        return Ok(None);
    };
    let family = match manifest.address_type.as_str() {
        "IPv4" => AddressFamily::V4,
        "IPv6" => AddressFamily::V6,
        _fqdn_or_newer => AddressFamily::Other,
    };
    let mut nodes = BTreeSet::new();
    let slice = EndpointSlice {
        name,
        service: service.into(),
        family,
        ports: slice_ports(manifest.ports.unwrap_or_default(), findings),
        endpoints: manifest
            .endpoints
            .into_iter()
            .flatten()
            .map(|own| endpoint(own, &mut nodes))
            .collect(),
    };
    Ok(Some(Object::EndpointSlice(slice.into())))
}

/// A port without a number means all ports, which is no port of a Service.
fn slice_ports(
    own: Vec<discovery::EndpointPort>,
    findings: &mut Findings,
) -> BTreeMap<Arc<str>, u16> {
    let ports = own.into_iter().enumerate();
    let ports = ports.filter(|(_, port)| is_tcp(port.protocol.as_deref()));
    let ports = ports.filter_map(|(idx, port)| {
        let number = port.port?;
        let Ok(number) = u16::try_from(number) else {
            findings.invalid(&format!("ports[{idx}].port"), format!("{number} is not a port"));
            return None;
        };
        Some((port.name.unwrap_or_default().into(), number))
    });
    ports.collect()
}

/// `nodes` are the names of nodes so far: a slice has a hundred endpoints on fewer of them.
fn endpoint(own: discovery::Endpoint, nodes: &mut BTreeSet<Arc<str>>) -> Endpoint {
    let node = own.node_name.map(|name| match nodes.get(name.as_str()) {
        Some(known) => known.clone(),
        None => {
            let name = Arc::from(name);
            nodes.insert(Arc::clone(&name));
            name
        }
    });
    let conditions = own.conditions.unwrap_or_default();
    let is_terminating = conditions.terminating.unwrap_or(false);
    let target = own.target_ref.filter(|target| target.kind.as_deref() == Some("Pod"));
    Endpoint {
        address: own.addresses.first().and_then(|first| first.parse::<IpAddr>().ok()),
        is_ready: conditions.ready.unwrap_or(true) && !is_terminating,
        pod: target.and_then(|target| target.name).map(Arc::from),
        node,
    }
}

#[derive(Deserialize)]
struct PodManifest {
    metadata: ObjectMeta,
}

pub(super) fn pod(name: ObjectName, manifest: Value) -> Trimmed {
    let PodManifest { metadata } = typed(manifest)?;
    let labels = metadata.labels.into_iter().flatten().filter(|(key, _)| key != CLUSTER);
    let labels = labels.map(|(key, value)| (key.into(), value.into())).collect();
    Ok(Some(Object::Pod(Pod { name, labels: Arc::new(labels) }.into())))
}

fn is_tcp(protocol: Option<&str>) -> bool {
    protocol.is_none_or(|protocol| protocol == "TCP")
}
