//! Pods behind their nodes: addresses of nodes at the port that leads to the Service.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::Arc,
};

use crate::{
    diag::{Diag, Reason},
    key::ObjectName,
    store::{EndpointSlice, Node, ServicePort, TrafficPolicy},
};

use super::{Found, Offering, behind};

/// The nodes that may stand for the Pods of a Service.
pub(super) struct Nodes<'a> {
    slices: Vec<&'a EndpointSlice>,
    /// By name; each has an address of the Service's family.
    eligible: BTreeMap<&'a str, IpAddr>,
}

impl<'a> Nodes<'a> {
    pub(super) fn new(
        offer: &Offering<'_>,
        slices: Vec<&'a EndpointSlice>,
        nodes: &'a BTreeMap<ObjectName, Arc<Node>>,
    ) -> Nodes<'a> {
        let family = offer.service.family();
        let eligible = nodes.values().filter(|node| node.is_eligible);
        let eligible = eligible.filter_map(|node| Some((&*node.name.name, node.address(family)?)));
        Nodes { slices, eligible: eligible.collect() }
    }

    pub(super) fn found(
        &self,
        offer: &Offering<'_>,
        port: &ServicePort,
        diags: &mut Vec<Diag>,
    ) -> Found {
        let ready = behind::ready(&self.slices, port);
        if ready.is_empty() {
            return Found::default();
        }
        let at = offer.at().key("spec.ports");
        let Some(node_port) = port.node_port else {
            let message = format!("port {} has no node port, and is not reached", port.number);
            diags.push(Diag::error(&at, Reason::UnsupportedServiceType, message));
            return Found::default();
        };
        // Every node leads to every Pod; or each to its own, and to nobody without any.
        let weights: BTreeMap<IpAddr, u32> = match offer.service.policy {
            TrafficPolicy::Cluster => self.eligible.values().map(|own| (*own, 1)).collect(),
            TrafficPolicy::Local => self.own_pods(ready.values().copied().flatten()),
        };
        if weights.is_empty() {
            let message = format!(
                "port {} has {} ready Pods, and no node leads to them: none that may is ready, not \
                 excluded from load balancers, and has an address of the Service's family",
                port.number,
                ready.len()
            );
            diags.push(Diag::error(&at, Reason::NoEligibleNode, message));
            return Found::default();
        }
        let addresses = weights.into_iter().filter_map(|(address, weight)| {
            Some((SocketAddr::new(address, node_port.get()), NonZeroU32::new(weight)?))
        });
        let endpoints = offer.permitted(addresses, "nodes", diags);
        let replicas = match offer.service.policy {
            TrafficPolicy::Cluster => ready.len(),
            TrafficPolicy::Local => endpoints.iter().map(|own| own.weight.get() as usize).sum(),
        };
        Found { replicas, endpoints }
    }

    /// How many of the Pods whose nodes these are each eligible node has.
    fn own_pods<'n>(&self, nodes: impl Iterator<Item = &'n str>) -> BTreeMap<IpAddr, u32> {
        let mut weights = BTreeMap::new();
        for address in nodes.filter_map(|node| self.eligible.get(node)) {
            *weights.entry(*address).or_default() += 1;
        }
        weights
    }
}
