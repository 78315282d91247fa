//! Identities that cross rooms: members, gateways, Services, objects.
//!
//! Owns the types and how they print. Must not know what any of them refers to.
//! Every key is cheap to clone, totally ordered, and printed the way a user would write it.

use std::{fmt, num::NonZeroU16, sync::Arc};

/// A member cluster, as `remote-clusters` and `DIR/members/<id>` name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(Arc<str>);

impl MemberId {
    /// An id is one to 253 of `[A-Za-z0-9._-]`, so that names formed with it stay unambiguous.
    pub fn new(id: &str) -> Option<MemberId> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let ok = (1..=253).contains(&id.len()) && id.bytes().all(legal);
        ok.then(|| MemberId(id.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where an object was read: from the fleet, or from one member.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// The API that holds gateways, Ingresses, IngressClasses and TLS Secrets.
    Fleet,
    /// A cluster that holds Services, EndpointSlices and Pods.
    Member(MemberId),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Fleet => f.write_str("fleet"),
            Scope::Member(id) => write!(f, "member {id}"),
        }
    }
}

/// The kinds of object Convoy reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// `mse.alibabacloud.com/v1alpha1`, cluster-scoped: declares a gateway.
    MseIngressConfig,
    /// `alibabacloud.com/v1`, cluster-scoped: declares a gateway.
    AlbConfig,
    /// `networking.k8s.io/v1`, cluster-scoped.
    IngressClass,
    /// `networking.k8s.io/v1`.
    Ingress,
    /// `v1`, type `kubernetes.io/tls`.
    Secret,
    /// `v1`.
    Service,
    /// `discovery.k8s.io/v1`.
    EndpointSlice,
    /// `v1`; only its labels are used.
    Pod,
    /// `v1`, cluster-scoped.
    Node,
    /// `convoy.dev/v1alpha1`, cluster-scoped: declares a member. Read by the registry, never stored.
    MemberCluster,
    /// Declares a kind; named where one is missing, never read.
    CustomResourceDefinition,
    /// A file of a directory, where no object in it can be named: not an object of Kubernetes.
    File,
}

impl ObjectKind {
    /// Every kind that a store holds, in the order in which the engine looks at them.
    pub const ALL: [ObjectKind; 9] = [
        ObjectKind::MseIngressConfig,
        ObjectKind::AlbConfig,
        ObjectKind::IngressClass,
        ObjectKind::Ingress,
        ObjectKind::Secret,
        ObjectKind::Service,
        ObjectKind::EndpointSlice,
        ObjectKind::Pod,
        ObjectKind::Node,
    ];

    /// The kind as manifests spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            ObjectKind::MseIngressConfig => "MseIngressConfig",
            ObjectKind::AlbConfig => "AlbConfig",
            ObjectKind::IngressClass => "IngressClass",
            ObjectKind::Ingress => "Ingress",
            ObjectKind::Secret => "Secret",
            ObjectKind::Service => "Service",
            ObjectKind::EndpointSlice => "EndpointSlice",
            ObjectKind::Pod => "Pod",
            ObjectKind::Node => "Node",
            ObjectKind::MemberCluster => "MemberCluster",
            ObjectKind::CustomResourceDefinition => "CustomResourceDefinition",
            ObjectKind::File => "file",
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Namespace and name of an object; the namespace of a cluster-scoped one is empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// Empty for cluster-scoped kinds.
    pub namespace: Arc<str>,
    /// `metadata.name`.
    pub name: Arc<str>,
}

impl ObjectName {
    /// The name of a namespaced object.
    pub fn new(namespace: &str, name: &str) -> ObjectName {
        ObjectName { namespace: namespace.into(), name: name.into() }
    }

    /// The name of a cluster-scoped object.
    pub fn cluster_scoped(name: &str) -> ObjectName {
        ObjectName { namespace: "".into(), name: name.into() }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// One object in one cluster: what a diagnostic is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// The cluster it was read from.
    pub scope: Scope,
    /// Its kind.
    pub kind: ObjectKind,
    /// Its namespace and name.
    pub name: ObjectName,
}

impl ObjectRef {
    /// An object of the fleet.
    pub fn fleet(kind: ObjectKind, name: ObjectName) -> ObjectRef {
        ObjectRef { scope: Scope::Fleet, kind, name }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scope {
            Scope::Fleet => write!(f, "{} {}", self.kind, self.name),
            Scope::Member(id) => write!(f, "{} {} of member {id}", self.kind, self.name),
        }
    }
}

/// A port as an Ingress names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortRef {
    /// `port.number`: the Service port, never the target port.
    Number(NonZeroU16),
    /// `port.name`.
    Name(Arc<str>),
    /// The first port of the Service: `default-backend` names none (semantics.md 3.6).
    First,
}

impl fmt::Display for PortRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PortRef::Number(n) => write!(f, "{n}"),
            PortRef::Name(name) => f.write_str(name),
            // No port can be named so; `first` could.
            PortRef::First => f.write_str("*"),
        }
    }
}

/// Namespace, Service name and port: the same in every member (semantics.md 5.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendKey {
    /// The Service.
    pub service: ObjectName,
    /// The port, resolved in each member by itself.
    pub port: PortRef,
}

impl fmt::Display for BackendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.service, self.port)
    }
}

/// A named group of Envoys: `kind/[namespace/]name` (architecture.md, Decisions).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayId {
    /// The kind of the object that declares it.
    pub kind: ObjectKind,
    /// The name of that object.
    pub name: ObjectName,
}

impl GatewayId {
    /// The gateway that an `MseIngressConfig` declares.
    pub fn mse(name: &str) -> GatewayId {
        GatewayId { kind: ObjectKind::MseIngressConfig, name: ObjectName::cluster_scoped(name) }
    }

    /// The gateway that an `AlbConfig` declares.
    pub fn alb(name: &str) -> GatewayId {
        GatewayId { kind: ObjectKind::AlbConfig, name: ObjectName::cluster_scoped(name) }
    }

    /// The gateway of this id, as `Display` writes it; it need not exist. `None` if no gateway can
    /// have it.
    pub fn parse(text: &str) -> Option<GatewayId> {
        let (kind, name) = text.split_once('/')?;
        let kind = GatewayId::KINDS.into_iter().find(|known| known.as_str() == kind)?;
        let is_name = !name.is_empty() && !name.contains('/');
        is_name.then(|| GatewayId { kind, name: ObjectName::cluster_scoped(name) })
    }

    /// The gateway that an Envoy or a flag names: by its id, or an `MseIngressConfig` by its bare
    /// name. Which gateways exist decides nothing, so that what is meant never changes.
    pub fn named(text: &str) -> Option<GatewayId> {
        match text {
            "" => None,
            bare if !bare.contains('/') => Some(GatewayId::mse(bare)),
            id => GatewayId::parse(id),
        }
    }

    /// The kinds of object that declare gateways.
    pub const KINDS: [ObjectKind; 2] = [ObjectKind::MseIngressConfig, ObjectKind::AlbConfig];

    /// The one gateway that a flag or a request means: by its id, or by its bare name where that
    /// is unambiguous.
    pub fn find<'a>(
        ids: impl Iterator<Item = &'a GatewayId> + Clone,
        text: &str,
    ) -> Option<&'a GatewayId> {
        let mut named = ids.clone().filter(|id| *id.name.name == *text);
        match (ids.clone().find(|id| id.to_string() == text), named.next(), named.next()) {
            (Some(exact), _, _) => Some(exact),
            (None, only, None) => only,
            (None, _, Some(_)) => None,
        }
    }
}

impl fmt::Display for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_found_by_id_or_by_unambiguous_name() {
        let other = |namespace| GatewayId {
            kind: ObjectKind::Ingress,
            name: ObjectName::new(namespace, "twice"),
        };
        let ids = [GatewayId::mse("hongkong"), other("a"), other("b")];
        let check = |text: &str, expect: Option<&GatewayId>| {
            assert_eq!(GatewayId::find(ids.iter(), text), expect, "{text}");
        };
        check("hongkong", Some(&ids[0]));
        check("MseIngressConfig/hongkong", Some(&ids[0]));
        check("Ingress/b/twice", Some(&ids[2]));
        check("twice", None);
        check("hong", None);
    }

    #[test]
    fn what_a_name_means_does_not_depend_on_what_exists() {
        let check = |text: &str, expect: Option<&str>| {
            let id = GatewayId::named(text).map(|id| id.to_string());
            assert_eq!(id.as_deref(), expect, "{text}");
        };
        check("edge", Some("MseIngressConfig/edge"));
        check("MseIngressConfig/edge", Some("MseIngressConfig/edge"));
        check("AlbConfig/edge", Some("AlbConfig/edge"));
        for none in ["", "Gateway/edge", "Ingress/edge", "AlbConfig/", "AlbConfig/a/b", "/edge"] {
            check(none, None);
        }
    }
}
