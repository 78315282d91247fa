mod assignments;
mod groups;
mod slices;
mod ways;

use std::sync::{Arc, LazyLock};

use super::*;
use crate::{
    diag::{Diag, Field, Reason},
    key::{BackendKey, MemberId, ObjectKind, ObjectName, ObjectRef, PortRef},
    model::{Arrangement, Form, Link, LocalityShare, Protocol, Shard, Subset, Target},
    store::{
        AddressFamily, Cidr, Endpoint, EndpointSlice, Labels, Locality, Service, ServiceKind,
        ServicePort, TrafficPolicy,
    },
};

fn id(id: &str) -> MemberId {
    MemberId::new(id).unwrap()
}

fn name(name: &str) -> ObjectName {
    ObjectName::new("web", name)
}

/// A Service with ports written `name:number[:appProtocol]`.
fn service(own: &str, ports: &[&str]) -> Service {
    let port = |text: &&str| {
        let mut parts = text.split(':');
        let (name, number) = (parts.next().unwrap(), parts.next().unwrap());
        ServicePort {
            name: name.into(),
            number: number.parse().unwrap(),
            app_protocol: parts.next().map(Arc::from),
            node_port: None,
        }
    };
    Service {
        name: name(own),
        ports: ports.iter().map(port).collect(),
        kind: ServiceKind::ClusterIp,
        policy: TrafficPolicy::Cluster,
        balancers: Vec::new(),
        prefers_ipv6: false,
    }
}

/// A slice; an address may have a mark in front: `-` not ready, and a Pod behind: `10.0.0.1=pod`.
fn slice(own: &str, ports: &[(&str, u16)], endpoints: &[&str]) -> EndpointSlice {
    let endpoint = |text: &&str| {
        let (is_ready, text) = match text.strip_prefix('-') {
            Some(text) => (false, text),
            None => (true, *text),
        };
        let (address, pod) = match text.split_once('=') {
            Some((address, pod)) => (address, Some(pod.into())),
            None => (text, None),
        };
        Endpoint { address: address.parse().ok(), is_ready, pod, node: None }
    };
    EndpointSlice {
        name: name(own),
        service: "svc".into(),
        family: AddressFamily::V4,
        ports: ports.iter().map(|(name, number)| ((*name).into(), *number)).collect(),
        endpoints: endpoints.iter().map(endpoint).collect(),
    }
}

/// Every Pod has one label, `pod`, with its own name.
fn pod_labels(pod: &ObjectName) -> Option<Arc<Labels>> {
    Some(Arc::new(Labels::from([("pod".into(), pod.name.clone())])))
}

static NOTHING_GUARDED: LazyLock<Guarded> = LazyLock::new(Guarded::default);

fn strict() -> Rules<'static> {
    Rules { allow_loopback: false, allowed: None, guarded: &NOTHING_GUARDED }
}

fn shards_of(service: &Service, slices: &[EndpointSlice]) -> (ServiceShards, Vec<Diag>) {
    shards_under(strict(), service, slices)
}

fn shards_under(
    rules: Rules<'_>,
    service: &Service,
    slices: &[EndpointSlice],
) -> (ServiceShards, Vec<Diag>) {
    shards(&id("c1"), service, slices, Reach::Pods(&pod_labels), rules)
}

fn port(text: &str) -> PortRef {
    match text.parse() {
        Ok(number) => PortRef::Number(number),
        Err(_) => PortRef::Name(text.into()),
    }
}
