//! What a gateway object declares about itself, whether it is valid or not: status needs both.

use std::sync::Arc;

use crate::{
    diag::Reason,
    gateway::{
        Address, Classes, Instance, envoy_account, parse, publish_addresses, remote_clusters,
    },
    key::{GatewayId, ObjectName},
    model::{ClassRule, MemberOrder},
    settings::GatewayDefaults,
    store,
};

/// One gateway object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// `metadata.uid`.
    pub uid: Arc<str>,
    /// `metadata.generation`.
    pub generation: i64,
    /// Why the object is refused as a whole; `None` if it is valid.
    pub problem: Option<String>,
    /// `remote-clusters`, in order.
    pub members: MemberOrder,
    /// Whether it asks for any Ingress, by its class rule or by an IngressClass that is bound.
    pub listens: bool,
    /// `convoy.dev/publish-address`.
    pub addresses: Vec<Address>,
    /// `convoy.dev/envoy-account`.
    pub envoy_account: Option<ObjectName>,
    /// What its Envoys are to be; `None` if the object is refused.
    pub instance: Option<Instance>,
}

impl Declared {
    /// Reads one object.
    pub fn new(
        object: &store::Gateway,
        defaults: &GatewayDefaults,
        classes: &Classes,
    ) -> (GatewayId, Declared) {
        let id = object.id();
        let (gateway, diags) = parse(object, defaults);
        let problems = diags.iter().filter(|diag| diag.reason == Reason::InvalidGateway);
        let problems = problems.map(|diag| match diag.field.is_empty() {
            true => diag.message.clone(),
            false => format!("{}: {}", diag.field, diag.message),
        });
        let problems: Vec<_> = problems.collect();
        let has_rule = gateway.as_ref().is_some_and(|own| own.class_rule != ClassRule::None);
        let declared = Declared {
            uid: object.uid.clone(),
            generation: object.generation,
            problem: gateway.is_none().then(|| problems.join("; ")),
            members: remote_clusters(object),
            listens: has_rule || classes.is_bound_to(&id),
            addresses: publish_addresses(&object.annotations),
            envoy_account: envoy_account(&object.annotations),
            instance: gateway.map(|own| Instance::new(object, &own)),
        };
        (id, declared)
    }
}
