//! Pods at their own addresses: which EndpointSlice entries are usable (semantics.md 5.1).

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::Arc,
};

use crate::{
    diag::{Diag, Field, Reason},
    key::{ObjectKind, ObjectName},
    member::Rules,
    model::ShardEndpoint,
    store::{EndpointSlice, Labels, ServicePort},
};

use super::{Found, Offering, others};

/// The usable endpoints of a Service, before a port is chosen.
pub(super) struct Pods<'a>(Vec<Usable<'a>>);

impl<'a> Pods<'a> {
    pub(super) fn new(
        offer: &Offering<'_>,
        slices: Vec<&'a EndpointSlice>,
        labels: &dyn Fn(&ObjectName) -> Option<Arc<Labels>>,
        diags: &mut Vec<Diag>,
    ) -> Pods<'a> {
        let usable = |slice: &'a EndpointSlice| {
            let at = offer.field(ObjectKind::EndpointSlice, &slice.name);
            Usable::of(slice, &at, labels, offer.rules, diags)
        };
        Pods(slices.into_iter().map(usable).collect())
    }

    /// The endpoints of one port, each address once. Slices name ports as the Service does, so the
    /// number is the slice's own and `targetPort` is never looked at.
    pub(super) fn found(
        &self,
        offer: &Offering<'_>,
        port: &ServicePort,
        diags: &mut Vec<Diag>,
    ) -> Found {
        let mut endpoints = Vec::new();
        let mut guarded = Vec::new();
        for Usable { slice, hosts } in &self.0 {
            let Some(number) = slice.ports.get(&port.name).copied().filter(|number| *number != 0)
            else {
                continue;
            };
            for (address, labels) in hosts {
                let address = SocketAddr::new(*address, number);
                match offer.rules.guard(address) {
                    Some(what) => guarded.push(format!("`{address}` is {what}")),
                    None => endpoints.push(ShardEndpoint {
                        address,
                        weight: NonZeroU32::MIN,
                        labels: labels.clone(),
                    }),
                }
            }
        }
        if let Some(first) = guarded.iter().min() {
            let message = format!(
                "{first}, endpoint dropped{}",
                others(guarded.len(), "endpoints of the Service")
            );
            let at = offer.at().key("spec.ports");
            diags.push(Diag::error(&at, Reason::ForbiddenAddress, message));
        }
        // An address with two Pods has the greater labels: the order of slices must not decide.
        endpoints.sort_unstable_by(|a, b| b.cmp(a));
        endpoints.dedup_by_key(|endpoint| endpoint.address);
        endpoints.reverse();
        Found { replicas: endpoints.len(), endpoints }
    }
}

/// The usable endpoints of one slice.
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
        if let Some(idx) = self.unparsable.first() {
            let others = others(self.unparsable.len(), "endpoints of the slice");
            let message = format!("not an address of the slice's type, endpoint dropped{others}");
            diags.push(Diag::error(&place(*idx), Reason::InvalidField, message));
        }
        if let Some((idx, what)) = self.forbidden.first() {
            let message = format!(
                "{what}, endpoint dropped{}",
                others(self.forbidden.len(), "endpoints of the slice")
            );
            diags.push(Diag::error(&place(*idx), Reason::ForbiddenAddress, message));
        }
    }
}
