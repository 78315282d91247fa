//! What an operator allows a member's endpoints to be (faults.md F20, S17, S18).

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use crate::{member::address::forbidden, store::Cidr};

/// What an operator allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules<'a> {
    /// Development only: endpoints may be loopback addresses.
    pub allow_loopback: bool,
    /// Where the member's endpoints may be; `None` for no limit.
    pub allowed: Option<&'a [Cidr]>,
    /// What is on Convoy's own side.
    pub guarded: &'a Guarded,
}

/// Addresses on the side of Convoy: an Envoy that was sent there would speak to API servers, or to
/// a gateway, from the inside. Pairs of address and port, because the nodes of a small cluster also
/// have endpoints at the address of its API server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guarded(BTreeMap<SocketAddr, &'static str>);

impl Guarded {
    /// Of addresses, each with what it is, in words that fit after "is".
    pub fn new(addresses: impl IntoIterator<Item = (SocketAddr, &'static str)>) -> Guarded {
        Guarded(addresses.into_iter().collect())
    }
}

const OUTSIDE: &str = "outside of the member's `allowedEndpointCIDRs`";

impl Rules<'_> {
    /// Why no endpoint may be at this address, in words that fit after "is".
    pub(super) fn forbid(&self, address: IpAddr) -> Option<&'static str> {
        let is_outside = |ranges: &[Cidr]| !ranges.iter().any(|range| range.contains(address));
        let outside = || self.allowed.is_some_and(is_outside).then_some(OUTSIDE);
        forbidden(address, self.allow_loopback).or_else(outside)
    }

    /// Why no endpoint may be at this port of an address that others may be at.
    pub(super) fn guard(&self, address: SocketAddr) -> Option<&'static str> {
        self.guarded.0.get(&address).copied()
    }
}
