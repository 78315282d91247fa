//! Gateway object → gateway.
//!
//! Owns what all kinds share: members, addresses, accounts, knobs; what differs is in a file a
//! kind. A spec that is invalid yields no gateway at all, so that what is served already stays
//! (semantics.md 9, row 14). An annotation that is invalid is ignored by itself.

mod alb;
mod mse;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    bootstrap::METRICS_PORT,
    diag::{Diag, Field, Reason},
    gateway::{
        Address, Size,
        knobs::{Annotations, Knobs, READY_PORT},
    },
    key::{MemberId, ObjectKind, ObjectName, ObjectRef},
    model::{ClassRule, Gateway, Listener, ListenerKey, MemberOrder, Port, Tracing},
    settings::GatewayDefaults,
    store::{self, GatewaySpec},
};

/// Where clients reach the gateway: addresses or names, with commas between.
const PUBLISH_ADDRESS: &str = "convoy.dev/publish-address";
/// The ServiceAccount that the gateway's Envoys run as, where they prove themselves with its tokens.
const ENVOY_ACCOUNT: &str = "convoy.dev/envoy-account";

/// What the spec of a kind decides.
struct Own {
    listeners: BTreeMap<ListenerKey, Listener>,
    access_log: bool,
    tracing: Option<Tracing>,
    class_rule: ClassRule,
    watch_namespace: Option<Arc<str>>,
    /// Why the spec is invalid (semantics.md 1.2, Failed).
    problems: Vec<Diag>,
}

/// The gateway that an object declares; `None` if its spec is invalid.
pub fn parse(object: &store::Gateway, defaults: &GatewayDefaults) -> (Option<Gateway>, Vec<Diag>) {
    let id = object.id();
    let root = Field::of(&ObjectRef::fleet(id.kind, id.name.clone()));
    let mut diags = Vec::new();
    let members = members(object, &root, &mut diags);
    addresses(&object.annotations, &root, &mut diags);
    account(&object.annotations, &root, &mut diags);
    let mut knobs = Knobs { annotations: &object.annotations, root: &root, diags: &mut diags };
    let mut own = match &object.spec {
        GatewaySpec::Mse(spec) => mse::read(spec, &mut knobs, defaults),
        GatewaySpec::Alb(spec) => alb::read(spec, &mut knobs, defaults),
    };
    // Who asks there asks the Envoy itself.
    let ready_port = place(knobs.port(READY_PORT, defaults.ready_port), &[], defaults).bound;
    let preference = knobs.preference(defaults);
    let bound = own.listeners.values().map(|listener| listener.port.bound);
    // Envoys that others run have none, or have it elsewhere.
    let metrics_port = defaults.unprivileged_ports.then_some(METRICS_PORT);
    if let Some(port) = twice(bound.chain([ready_port]).chain(metrics_port)) {
        own.problems.push(invalid(&root, format!("two listeners would use port {port}")));
    }
    let is_valid = own.problems.is_empty();
    diags.append(&mut own.problems);

    let gateway = Gateway {
        id,
        members,
        preference,
        listen_address: defaults.listen_address,
        listeners: own.listeners,
        ready_port,
        access_log: own.access_log,
        tracing: own.tracing,
        class_rule: own.class_rule,
        watch_namespace: own.watch_namespace,
    };
    (is_valid.then_some(gateway), diags)
}

/// Where an Envoy binds a port; `others` are those that clients name beside it.
fn place(public: u16, others: &[u16], defaults: &GatewayDefaults) -> Port {
    match defaults.unprivileged_ports {
        true => Port::unprivileged(public, others),
        false => Port::direct(public),
    }
}

/// The annotation with the members of a gateway of this kind, in order.
pub fn remote_clusters_key(kind: ObjectKind) -> &'static str {
    if kind == ObjectKind::AlbConfig {
        "alb.ingress.kubernetes.io/remote-clusters"
    } else {
        "mse.alibabacloud.com/remote-clusters"
    }
}

/// What is wrong with the gateway while some of its members are not registered. They contribute
/// nothing, and the others are served.
pub fn unregistered(gateway: &Gateway, is_registered: &dyn Fn(&MemberId) -> bool) -> Vec<Diag> {
    let root = Field::of(&ObjectRef::fleet(gateway.id.kind, gateway.id.name.clone()));
    let key = remote_clusters_key(gateway.id.kind);
    let missing = gateway.members.iter().filter(|id| !is_registered(id));
    let finding = |id| {
        let message = format!("no cluster `{id}` is registered: it contributes no endpoint");
        Diag::error(&root.annotation(key), Reason::ClusterNotFound, message)
    };
    missing.map(finding).collect()
}

/// The members that the object names, in order.
pub fn remote_clusters(object: &store::Gateway) -> MemberOrder {
    members(object, &nowhere(), &mut Vec::new())
}

/// Where clients reach the gateway, if its annotations say so.
pub fn publish_addresses(annotations: &Annotations) -> Vec<Address> {
    addresses(annotations, &nowhere(), &mut Vec::new())
}

/// The ServiceAccount whose tokens open the gateway, if its annotations name one.
pub fn envoy_account(annotations: &Annotations) -> Option<ObjectName> {
    account(annotations, &nowhere(), &mut Vec::new())
}

/// How large the Envoys of an `AlbConfig` are and how many; `None` leaves the number to others.
pub(super) fn scale(annotations: &Annotations) -> (Size, Option<u32>) {
    let (root, mut diags) = (nowhere(), Vec::new());
    let mut knobs = Knobs { annotations, root: &root, diags: &mut diags };
    (knobs.size(), knobs.replicas())
}

/// For callers that leave the findings to [`parse`].
fn nowhere() -> Field {
    let name = ObjectName::cluster_scoped("");
    Field::of(&ObjectRef::fleet(ObjectKind::MseIngressConfig, name))
}

/// `192.0.2.7, lb.example.com`: trimmed, without empties, ordered.
fn addresses(annotations: &Annotations, root: &Field, diags: &mut Vec<Diag>) -> Vec<Address> {
    let text = annotations.get(PUBLISH_ADDRESS).map_or("", |text| text);
    let mut addresses = Vec::new();
    for text in text.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        match text.parse() {
            Ok(address) => addresses.push(address),
            Err(problem) => diags.push(Diag::error(
                &root.annotation(PUBLISH_ADDRESS),
                Reason::InvalidAnnotation,
                format!("{text:?} is {problem}"),
            )),
        }
    }
    addresses.sort();
    addresses.dedup();
    addresses
}

/// `NAMESPACE/NAME`.
fn account(annotations: &Annotations, root: &Field, diags: &mut Vec<Diag>) -> Option<ObjectName> {
    let text = annotations.get(ENVOY_ACCOUNT)?.trim();
    match text.split_once('/') {
        Some((namespace, name))
            if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
        {
            Some(ObjectName::new(namespace, name))
        }
        Some(_) | None => {
            let message = format!("{text:?} is not NAMESPACE/NAME; no token opens this gateway");
            let at = root.annotation(ENVOY_ACCOUNT);
            diags.push(Diag::error(&at, Reason::InvalidAnnotation, message));
            None
        }
    }
}

/// `id1, id2`: trimmed, without empties and duplicates, in order.
fn members(object: &store::Gateway, root: &Field, diags: &mut Vec<Diag>) -> MemberOrder {
    let key = remote_clusters_key(object.spec.kind());
    let text = object.annotations.get(key).map_or("", |text| text);
    let mut members: Vec<MemberId> = Vec::new();
    for id in text.split(',').map(str::trim).filter(|id| !id.is_empty()) {
        match MemberId::new(id) {
            Some(id) if members.contains(&id) => {}
            Some(id) => members.push(id),
            None => diags.push(Diag::error(
                &root.annotation(key),
                Reason::InvalidAnnotation,
                format!("{id:?} cannot be the id of a cluster"),
            )),
        }
    }
    members.into()
}

/// A port that is there more than once.
fn twice(ports: impl Iterator<Item = u16>) -> Option<u16> {
    let mut seen = BTreeSet::new();
    ports.into_iter().find(|port| !seen.insert(*port))
}

fn invalid(at: &Field, message: String) -> Diag {
    Diag::error(at, Reason::InvalidGateway, message)
}

#[cfg(test)]
mod tests;
