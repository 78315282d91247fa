//! Gateways: a named group of Envoys with its listeners, members and rule of attachment.

use std::{net::IpAddr, sync::Arc};

use crate::{key::GatewayId, model::MemberOrder};

/// A gateway that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Its id; Envoys name it in `node.cluster`.
    pub id: GatewayId,
    /// `remote-clusters`, in order, without duplicates.
    pub members: MemberOrder,
    /// Address that both listeners are bound to.
    pub listen_address: IpAddr,
    /// Port of the plaintext listener.
    pub http_port: u16,
    /// Port of the TLS listener.
    pub https_port: u16,
    /// Which classes it serves where no IngressClass is bound to it.
    pub class_rule: ClassRule,
    /// Serve only this namespace.
    pub watch_namespace: Option<Arc<str>>,
}

/// `spec.ingress.local.ingressClass` (semantics.md 1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClassRule {
    /// Unset: nothing by class string.
    None,
    /// `""`: every Ingress.
    Every,
    /// `"nginx"`: class nginx or no class.
    NginxOrNone,
    /// Exactly that class.
    Exactly(Arc<str>),
}

/// The listeners a gateway may have. Names of listeners and of their route tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListenerKey {
    /// Plaintext.
    Http,
    /// TLS; exists only while some host has a certificate.
    Https,
}

/// Certificates of the TLS listener: which Secret each server name is served with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsHosts {
    /// Host and the resource name of its Secret, ordered by host. `Host::Any` is the default.
    pub chains: Vec<(crate::model::Host, Arc<str>)>,
}
