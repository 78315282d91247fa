//! A gateway → the objects that run it. Pure and deterministic.
//!
//! Owns every field of them. What others may choose is not written at all, so that server-side apply
//! leaves it alone; what is written is written in the form in which an API server keeps it, so that it
//! can be compared. All of it passes the pod security standard `restricted` (faults.md S21).

mod config;
mod pod;

use std::{borrow::Cow, sync::Arc};

use k8s_openapi::ByteString;
use kube::Resource as _;
use serde_json::{Value, json};

use crate::{
    api::{AlbConfig, MseIngressConfig},
    gateway::Instance,
    identity::authority::Issued,
    infra::{
        Certificates, Options, ServiceType,
        name::{labels, object_name, selector},
    },
    key::{GatewayId, ObjectKind},
    model::{ListenerKey, Port, name},
};

/// Which text of ours an object was made from. Drift is found without it; with it, a field that a
/// version of Convoy does not write any more is found too.
const APPLIED: &str = "convoy.dev/applied";

/// The vendor's default (semantics.md 1.1).
pub(super) const DEFAULT_REPLICAS: u32 = 3;

/// A gateway whose Envoys are managed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Managed {
    /// The gateway.
    pub id: GatewayId,
    /// Of its object, which owns all others.
    pub uid: Arc<str>,
    /// What its Envoys are to be.
    pub instance: Instance,
}

/// The kinds of the objects, in the order in which they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Without rights, and without a token in the Pods.
    ServiceAccount,
    /// The certificate for xDS.
    Secret,
    /// The bootstrap.
    ConfigMap,
    /// The Envoys.
    Deployment,
    /// The way in.
    Service,
    /// How many may be evicted at once.
    PodDisruptionBudget,
}

impl Kind {
    /// All of them, in order.
    pub const ALL: [Kind; 6] = [
        Kind::ServiceAccount,
        Kind::Secret,
        Kind::ConfigMap,
        Kind::Deployment,
        Kind::Service,
        Kind::PodDisruptionBudget,
    ];

    /// `kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::ServiceAccount => "ServiceAccount",
            Kind::Secret => "Secret",
            Kind::ConfigMap => "ConfigMap",
            Kind::Deployment => "Deployment",
            Kind::Service => "Service",
            Kind::PodDisruptionBudget => "PodDisruptionBudget",
        }
    }

    /// Group and version.
    pub(super) fn group_version(self) -> (&'static str, &'static str) {
        match self {
            Kind::ServiceAccount | Kind::Secret | Kind::ConfigMap | Kind::Service => ("", "v1"),
            Kind::Deployment => ("apps", "v1"),
            Kind::PodDisruptionBudget => ("policy", "v1"),
        }
    }
}

/// An object as it is applied.
#[derive(Clone, PartialEq)]
pub struct Manifest {
    /// Its kind.
    pub kind: Kind,
    /// All of it. A Secret's holds a private key, so there is no `Debug`.
    pub document: Value,
}

/// All objects of a gateway, in the order in which they are made. Without a certificate there is no
/// Secret among them.
pub fn render(managed: &Managed, options: &Options, certificate: Option<&Issued>) -> Vec<Manifest> {
    let replicas = managed.instance.replicas.unwrap_or(DEFAULT_REPLICAS);
    let of = |kind| Some((kind, object(kind, managed, options, certificate, Some(replicas))?));
    let all = Kind::ALL.into_iter().filter_map(of);
    all.map(|(kind, document)| Manifest { kind, document }).collect()
}

/// One object; `None` if the gateway has none of the kind. Without `replicas` the Deployment's are
/// left to whoever owns them.
pub(super) fn object(
    kind: Kind,
    managed: &Managed,
    options: &Options,
    certificate: Option<&Issued>,
    replicas: Option<u32>,
) -> Option<Value> {
    let body = match kind {
        // Envoy asks no API server.
        Kind::ServiceAccount => json!({"automountServiceAccountToken": false}),
        Kind::Secret => match options.certificates {
            Certificates::Issued => secret(certificate?),
            Certificates::Brought | Certificates::None => return None,
        },
        Kind::ConfigMap => json!({"data": config::files(managed, options)}),
        Kind::Deployment => json!({"spec": deployment(managed, options, replicas)}),
        Kind::Service => json!({"spec": service(managed, options)}),
        Kind::PodDisruptionBudget => json!({"spec": budget(managed)}),
    };
    Some(complete(kind, managed, options, body))
}

/// With its type and metadata.
fn complete(kind: Kind, managed: &Managed, options: &Options, body: Value) -> Value {
    let Managed { id, uid, instance: _ } = managed;
    let api_version = match kind.group_version() {
        ("", version) => version.to_owned(),
        (group, version) => format!("{group}/{version}"),
    };
    let metadata = json!({
        "name": object_name(id),
        "namespace": options.namespace,
        "labels": labels(id),
        // Without `blockOwnerDeletion`, which would take a right on finalizers of gateways.
        "ownerReferences": [{
            "apiVersion": owner_version(id.kind),
            "kind": id.kind.as_str(),
            "name": id.name.name,
            "uid": uid,
            "controller": true,
        }],
    });
    // Not even a hash of a private key is shown.
    let shown = if kind == Kind::Secret { &Value::Null } else { &body };
    let applied = json!({APPLIED: fingerprint(&[&metadata, shown])});
    let metadata = with(metadata, "annotations", applied);
    let named = [("apiVersion", json!(api_version)), ("kind", json!(kind.as_str()))];
    let named = named.into_iter().chain([("metadata", metadata)]);
    named.fold(body, |object, (key, value)| with(object, key, value))
}

/// `apiVersion` of the objects that declare gateways of a kind.
fn owner_version(kind: ObjectKind) -> Cow<'static, str> {
    match kind == ObjectKind::AlbConfig {
        true => AlbConfig::api_version(&()),
        false => MseIngressConfig::api_version(&()),
    }
}

/// The object with one more field.
fn with(mut object: Value, key: &str, value: Value) -> Value {
    if let Value::Object(fields) = &mut object {
        fields.insert(key.to_owned(), value);
    }
    object
}

/// Of JSON whose maps are ordered.
fn fingerprint(values: &[&Value]) -> String {
    let text: String = values.iter().map(ToString::to_string).collect();
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
}

fn secret(Issued { certificate, key, authorities }: &Issued) -> Value {
    let data = |text: &str| ByteString(text.as_bytes().to_vec());
    json!({
        "type": "kubernetes.io/tls",
        "data": {"tls.crt": data(certificate), "tls.key": data(key), "ca.crt": data(authorities)},
    })
}

fn deployment(managed: &Managed, options: &Options, replicas: Option<u32>) -> Value {
    let spec = json!({
        "selector": {"matchLabels": selector(&managed.id)},
        // Never below capacity.
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
        },
        "template": pod::template(managed, options),
    });
    match replicas {
        Some(replicas) => with(spec, "replicas", json!(replicas)),
        None => spec,
    }
}

fn service(managed: &Managed, options: &Options) -> Value {
    let port = |(key, port): (&ListenerKey, &Port)| {
        let name = name::listener(*key);
        json!({"name": name, "port": port.public, "targetPort": name, "protocol": "TCP"})
    };
    let spec = json!({
        "type": options.service_type.to_string(),
        "selector": selector(&managed.id),
        "ports": managed.instance.ports.iter().map(port).collect::<Vec<_>>(),
    });
    match options.service_type {
        ServiceType::ClusterIp => spec,
        // The client's address stays, and the balancer asks only nodes that have an Envoy.
        ServiceType::NodePort | ServiceType::LoadBalancer => {
            with(spec, "externalTrafficPolicy", json!("Local"))
        }
    }
}

fn budget(managed: &Managed) -> Value {
    json!({
        "maxUnavailable": 1,
        // One that is not ready anyway never keeps a node from being emptied.
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": selector(&managed.id)},
    })
}

#[cfg(test)]
mod tests;
