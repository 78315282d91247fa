//! The objects as Convoy keeps them: only fields that some stage reads.
//!
//! Owns the trimmed types. A change of a field that is not here is no change at all.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU16,
    sync::Arc,
};

use crate::{
    api::{AlbConfigSpec, MseIngressConfigSpec},
    key::{GatewayId, MemberId, ObjectKind, ObjectName, PortRef},
    store::Registered,
};

/// A trimmed object of any kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// A gateway.
    Gateway(Arc<Gateway>),
    /// An IngressClass.
    IngressClass(Arc<IngressClass>),
    /// An Ingress.
    Ingress(Arc<Ingress>),
    /// A TLS Secret.
    Secret(Arc<Secret>),
    /// A Service.
    Service(Arc<Service>),
    /// An EndpointSlice.
    EndpointSlice(Arc<EndpointSlice>),
    /// A Pod.
    Pod(Arc<Pod>),
    /// A Node.
    Node(Arc<Node>),
    /// A declaration of a member. A source makes a registration of it; the store keeps none.
    MemberCluster(Arc<MemberCluster>),
}

impl Object {
    /// The object's kind.
    pub fn kind(&self) -> ObjectKind {
        match self {
            Object::Gateway(gateway) => gateway.spec.kind(),
            Object::IngressClass(_) => ObjectKind::IngressClass,
            Object::Ingress(_) => ObjectKind::Ingress,
            Object::Secret(_) => ObjectKind::Secret,
            Object::Service(_) => ObjectKind::Service,
            Object::EndpointSlice(_) => ObjectKind::EndpointSlice,
            Object::Pod(_) => ObjectKind::Pod,
            Object::Node(_) => ObjectKind::Node,
            Object::MemberCluster(_) => ObjectKind::MemberCluster,
        }
    }

    /// The object's namespace and name.
    pub fn name(&self) -> &ObjectName {
        match self {
            Object::Gateway(o) => &o.name,
            Object::IngressClass(o) => &o.name,
            Object::Ingress(o) => &o.name,
            Object::Secret(o) => &o.name,
            Object::Service(o) => &o.name,
            Object::EndpointSlice(o) => &o.name,
            Object::Pod(o) => &o.name,
            Object::Node(o) => &o.name,
            Object::MemberCluster(o) => &o.name,
        }
    }
}

/// A gateway object: its annotations that we read, and its spec.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    /// Cluster-scoped.
    pub name: ObjectName,
    /// `metadata.uid`; empty where a manifest has none. An object made again has another.
    pub uid: Arc<str>,
    /// `metadata.generation`; 0 where a manifest has none.
    pub generation: i64,
    /// Only keys under `convoy.dev/` and under the prefix of the vendor of the kind.
    pub annotations: BTreeMap<Arc<str>, Arc<str>>,
    /// The spec as declared.
    pub spec: GatewaySpec,
}

impl Gateway {
    /// The gateway that the object declares.
    pub fn id(&self) -> GatewayId {
        GatewayId { kind: self.spec.kind(), name: self.name.clone() }
    }
}

/// The spec of a gateway object, of either kind.
#[derive(Clone, Debug, PartialEq)]
pub enum GatewaySpec {
    /// An `MseIngressConfig`'s.
    Mse(MseIngressConfigSpec),
    /// An `AlbConfig`'s.
    Alb(AlbConfigSpec),
}

impl GatewaySpec {
    /// The kind of the object.
    pub fn kind(&self) -> ObjectKind {
        match self {
            GatewaySpec::Mse(_) => ObjectKind::MseIngressConfig,
            GatewaySpec::Alb(_) => ObjectKind::AlbConfig,
        }
    }
}

/// An IngressClass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressClass {
    /// Cluster-scoped.
    pub name: ObjectName,
    /// `spec.controller`.
    pub controller: Arc<str>,
    /// `spec.parameters`: API group, kind and name.
    pub parameters: Option<ClassParameters>,
    /// `ingressclass.kubernetes.io/is-default-class: "true"`.
    pub is_default: bool,
}

/// What an IngressClass is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassParameters {
    /// `apiGroup`; empty for the core group.
    pub api_group: Arc<str>,
    /// `kind`.
    pub kind: Arc<str>,
    /// `name`.
    pub name: Arc<str>,
}

/// An Ingress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// Namespace and name.
    pub name: ObjectName,
    /// `metadata.uid`; empty where a manifest has none. An object made again has another.
    pub uid: Arc<str>,
    /// `metadata.creationTimestamp` in seconds since 1970; 0 where a manifest has none.
    pub created: i64,
    /// Only keys under the prefixes of semantics.md 3.0, and `kubernetes.io/ingress.class`.
    pub annotations: BTreeMap<Arc<str>, Arc<str>>,
    /// `spec.ingressClassName`.
    pub class: Option<Arc<str>>,
    /// `spec.defaultBackend`.
    pub default_backend: Option<IngressBackend>,
    /// `spec.rules`.
    pub rules: Vec<IngressRule>,
    /// `spec.tls`.
    pub tls: Vec<IngressTls>,
}

/// One host with its paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressRule {
    /// Empty or absent means any host.
    pub host: Option<Arc<str>>,
    /// `http.paths`; empty where `http` is absent.
    pub paths: Vec<IngressPath>,
}

/// One path with its backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressPath {
    /// Absent means `/`.
    pub path: Option<Arc<str>>,
    /// `pathType`.
    pub path_type: PathType,
    /// `backend`.
    pub backend: IngressBackend,
}

/// `pathType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathType {
    /// `Exact`.
    Exact,
    /// `Prefix`.
    Prefix,
    /// `ImplementationSpecific`.
    ImplementationSpecific,
    /// Absent: the API refuses it, a directory may hold it (semantics.md 4.6).
    Unset,
}

/// Where an Ingress path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IngressBackend {
    /// `service`; the port may be missing in a hostile manifest.
    Service {
        /// `service.name`.
        name: Arc<str>,
        /// `service.port`.
        port: Option<PortRef>,
    },
    /// `resource`, or neither: not served.
    Unsupported,
}

/// One entry of `spec.tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressTls {
    /// Empty means every rule host without an entry of its own, and the default certificate.
    pub hosts: Vec<Arc<str>>,
    /// `secretName`.
    pub secret: Option<Arc<str>>,
}

/// A TLS Secret: the certificate to serve, and what is wrong with the newest content.
///
/// Judged at the edge, because it needs a clock (faults.md F8–F11). A source says one of three
/// things: a pair without a problem (good); no pair and a problem (unusable); both (usable, but
/// out of its period of validity). The store keeps the last good pair over the latter two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Namespace and name.
    pub name: ObjectName,
    /// The pair to serve, if there is one.
    pub pair: Option<Arc<KeyPair>>,
    /// What is wrong with the newest content, or `deleted`; `None` if it is served and valid.
    pub problem: Option<String>,
}

/// A certificate chain and its key, both PEM, checked to belong together.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// Certificate chain, leaf first.
    pub chain: Vec<u8>,
    /// Private key.
    pub key: Vec<u8>,
}

impl fmt::Debug for KeyPair {
    /// Never prints the key (faults.md S6).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPair(redacted)")
    }
}

/// A member's Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Namespace and name.
    pub name: ObjectName,
    /// `spec.ports`.
    pub ports: Vec<ServicePort>,
    /// `spec.type`.
    pub kind: ServiceKind,
    /// `spec.externalTrafficPolicy`.
    pub policy: TrafficPolicy,
    /// The addresses of `status.loadBalancer.ingress` that are of the Service's first family.
    /// `ipMode` only tells its own nodes how to get there; a name is never resolved (faults.md S17).
    pub balancers: Vec<IpAddr>,
    /// The first of `spec.ipFamilies` is IPv6.
    pub prefers_ipv6: bool,
}

impl Service {
    /// Which of its addresses count: those of its first family (semantics.md 5.1).
    pub fn family(&self) -> AddressFamily {
        if self.prefers_ipv6 { AddressFamily::V6 } else { AddressFamily::V4 }
    }

    /// Whether who cannot reach its Pods goes to a node.
    pub fn is_on_nodes(&self) -> bool {
        match self.kind {
            ServiceKind::NodePort => true,
            // Until it has an address of its own.
            ServiceKind::LoadBalancer => self.balancers.is_empty(),
            ServiceKind::ClusterIp | ServiceKind::ExternalName => false,
        }
    }
}

/// `spec.type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceKind {
    /// Reached within its cluster only; also what a type that is not known is taken for.
    #[default]
    ClusterIp,
    /// A port of every node leads to it.
    NodePort,
    /// Somebody makes an address for it.
    LoadBalancer,
    /// Another name for something else: never resolved (faults.md S17).
    ExternalName,
}

/// `spec.externalTrafficPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrafficPolicy {
    /// A node passes on to any Pod.
    #[default]
    Cluster,
    /// A node passes on to its own Pods, and refuses without any.
    Local,
}

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Absent only where it is the single port: then empty, as in EndpointSlices.
    pub name: Arc<str>,
    /// `port`.
    pub number: u16,
    /// `appProtocol`.
    pub app_protocol: Option<Arc<str>>,
    /// `nodePort`.
    pub node_port: Option<NonZeroU16>,
}

/// A member's EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Namespace and name.
    pub name: ObjectName,
    /// Label `kubernetes.io/service-name`.
    pub service: Arc<str>,
    /// `addressType`.
    pub family: AddressFamily,
    /// Port numbers by port name; the name of an unnamed port is empty.
    pub ports: BTreeMap<Arc<str>, u16>,
    /// `endpoints`, in the order of the slice.
    pub endpoints: Vec<Endpoint>,
}

impl EndpointSlice {
    /// The Service that the slice belongs to.
    pub fn service_name(&self) -> ObjectName {
        ObjectName { namespace: self.name.namespace.clone(), name: self.service.clone() }
    }

    /// The Pod behind an endpoint of this slice.
    pub fn pod_name(&self, endpoint: &Endpoint) -> Option<ObjectName> {
        let name = endpoint.pod.clone()?;
        Some(ObjectName { namespace: self.name.namespace.clone(), name })
    }
}

/// `addressType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressFamily {
    /// `IPv4`.
    V4,
    /// `IPv6`.
    V6,
    /// `FQDN` and whatever comes later: ignored (semantics.md 5.1).
    Other,
}

impl AddressFamily {
    /// Whether the address is of this family.
    pub fn holds(self, address: IpAddr) -> bool {
        match self {
            AddressFamily::V4 => address.is_ipv4(),
            AddressFamily::V6 => address.is_ipv6(),
            AddressFamily::Other => false,
        }
    }
}

/// One endpoint of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The first address, which is the only one that counts; `None` if it does not parse.
    pub address: Option<IpAddr>,
    /// `conditions.ready` is true or absent, and `terminating` is not true.
    pub is_ready: bool,
    /// Name of the Pod in the slice's namespace, if `targetRef` is one.
    pub pod: Option<Arc<str>>,
    /// `nodeName`, shared within the slice.
    pub node: Option<Arc<str>>,
}

/// Labels of an object.
pub type Labels = BTreeMap<Arc<str>, Arc<str>>;

/// A member's Pod, for subsets that name labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Namespace and name.
    pub name: ObjectName,
    /// `metadata.labels`, without the label that names the cluster: the member decides that
    /// (semantics.md row 57). Shared with the shards.
    pub labels: Arc<Labels>,
}

/// A member's Node, for members whose Pods are reached through their nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Cluster-scoped.
    pub name: ObjectName,
    /// The first `InternalIP` over IPv4.
    pub v4: Option<Ipv4Addr>,
    /// The first `InternalIP` over IPv6.
    pub v6: Option<Ipv6Addr>,
    /// Ready, not excluded from load balancers and not being deleted (semantics.md 2.8). One that
    /// takes no new Pods is.
    pub is_eligible: bool,
}

impl Node {
    /// Its address of this family.
    pub fn address(&self, family: AddressFamily) -> Option<IpAddr> {
        match family {
            AddressFamily::V4 => self.v4.map(IpAddr::V4),
            AddressFamily::V6 => self.v6.map(IpAddr::V6),
            AddressFamily::Other => None,
        }
    }
}

/// What a `MemberCluster` among manifests declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberCluster {
    /// Cluster-scoped.
    pub name: ObjectName,
    /// The member.
    pub member: MemberId,
    /// What is declared of it.
    pub registered: Registered,
}
