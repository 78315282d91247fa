//! Pods behind a load balancer of their cluster: its addresses at the Service's own port.

use std::{net::SocketAddr, num::NonZeroU32};

use crate::{
    diag::Diag,
    store::{EndpointSlice, ServicePort},
};

use super::{Found, Offering, behind};

/// The slices of a Service that has an address of its own.
pub(super) struct Balancer<'a> {
    pub(super) slices: Vec<&'a EndpointSlice>,
}

impl Balancer<'_> {
    /// Without a ready Pod there is nothing behind it.
    pub(super) fn found(
        &self,
        offer: &Offering<'_>,
        port: &ServicePort,
        diags: &mut Vec<Diag>,
    ) -> Found {
        let replicas = behind::ready(&self.slices, port).len();
        if replicas == 0 {
            return Found::default();
        }
        let addresses = offer.service.balancers.iter();
        let addresses = addresses.map(|own| (SocketAddr::new(*own, port.number), NonZeroU32::MIN));
        Found {
            replicas,
            endpoints: offer.permitted(addresses, "addresses of the load balancer", diags),
        }
    }
}
