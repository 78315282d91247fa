//! Ready Pods that something else stands for.
//!
//! Owns how they are counted. Their addresses are not served, so that no rule applies to them.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::IpAddr,
};

use crate::store::{EndpointSlice, ServicePort};

/// The ready endpoints of a port, each address once, with the name of its node.
pub(super) fn ready<'a>(
    slices: &[&'a EndpointSlice],
    port: &ServicePort,
) -> BTreeMap<IpAddr, Option<&'a str>> {
    let mut ready = BTreeMap::new();
    let having = slices.iter().filter(|slice| slice.ports.contains_key(&port.name));
    for endpoint in having.flat_map(|slice| &slice.endpoints).filter(|own| own.is_ready) {
        let (Some(address), node) = (endpoint.address, endpoint.node.as_deref()) else { continue };
        match ready.entry(address) {
            Entry::Vacant(free) => _ = free.insert(node),
            // Which slice comes first must not decide.
            Entry::Occupied(mut known) => _ = known.insert(node.max(*known.get())),
        }
    }
    ready
}
