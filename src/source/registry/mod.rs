//! Which members there are, and how each one is reached.
//!
//! Owns the three ways to declare a member (kubeconfig Secrets, Argo CD cluster Secrets,
//! `MemberCluster`), who wins an id, and what credentials may contain. Must not know what is
//! watched with them. Cost: linear in the declarations, at each change of one.

mod argocd;
mod claims;
mod credentials;
mod declare;
mod declared;
#[cfg(test)]
pub(crate) mod fake_api;
#[cfg(test)]
mod fixture;
mod intake;
mod kubeconfig;
mod seen;
mod strict;
#[cfg(test)]
mod tests;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

pub use claims::{keep_gone, registrations};
pub use credentials::{Credentials, numeric_address};
pub use declare::registered;
pub use declared::{
    Declarations, DeclaredCluster, DeclaredSecret, SecretForm, Sensitive, declarations,
};
pub use watch::spawn;

use crate::{
    key::{MemberId, ObjectRef},
    store::{Cidr, Locality, Registered},
};

pub use crate::store::Network;

/// Where registrations are read unless flags say otherwise: Convoy's own namespace, and that of
/// Argo CD (faults.md S3).
pub const DEFAULT_NAMESPACES: [&str; 2] = ["convoy-system", "argocd"];

/// Label of a Secret whose every key is a member id and holds its kubeconfig.
pub const MEMBER_LABEL: &str = "convoy.dev/member";
/// Annotation that names the member, whatever the key of its kubeconfig.
pub const MEMBER_ID: &str = "convoy.dev/member-id";
/// Annotation with the UID of the `kube-system` of the cluster: credentials of another cluster are
/// refused (faults.md A9).
pub const CLUSTER_UID: &str = "convoy.dev/cluster-uid";
/// Annotation with the member's region.
pub const REGION: &str = "convoy.dev/region";
/// Annotation with the member's zone.
pub const ZONE: &str = "convoy.dev/zone";
/// Annotation with the member's network, `underlay` or `overlay`.
pub const NETWORK: &str = "convoy.dev/network";

/// Annotation with the ranges of addresses in which the member's endpoints may be, separated by
/// commas.
pub const ALLOWED_ENDPOINTS: &str = "convoy.dev/allowed-endpoint-cidrs";
/// Annotation with the namespaces whose Services the member may offer, separated by commas.
pub const ALLOWED_NAMESPACES: &str = "convoy.dev/allowed-namespaces";

/// Every declared member by id. An id is here as long as something declares it, and after its
/// declaration is gone it stays with [`AccessError::Undeclared`]: a deleted Secret never
/// removes a member (faults.md A8). Published through a `tokio::sync::watch` channel.
pub type Registrations = Arc<BTreeMap<MemberId, Registration>>;

/// One member as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// As `remote-clusters` names it.
    pub id: MemberId,
    /// The state of the object that declares it.
    pub revision: Revision,
    /// Where it is.
    pub locality: Locality,
    /// How Envoys reach its Pods.
    pub network: Network,
    /// Where its endpoints may be; `None` allows everything that faults.md F20 allows.
    pub allowed_endpoints: Option<Arc<[Cidr]>>,
    /// The namespaces whose Services it may offer; `None` for all.
    pub allowed_namespaces: Option<Arc<BTreeSet<Arc<str>>>>,
    /// How its API is reached, or why it cannot be. An error here is no removal: whoever has
    /// working credentials keeps what they gave it (faults.md A8, A9).
    pub access: Result<Access, AccessError>,
    /// Its API is left alone; what is known of it is kept.
    pub paused: bool,
    /// Which cluster it is: the UID of its `kube-system`, if that is declared.
    pub cluster_uid: Option<Arc<str>>,
    /// The object to mend.
    pub declared_by: ObjectRef,
    /// When that object was created, in seconds since 1970: of two members that are the same
    /// cluster, the one declared first counts (faults.md A15).
    pub created: i64,
}

/// One state of one object, as its status refers to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revision {
    /// `metadata.uid`.
    pub uid: Arc<str>,
    /// `metadata.generation`; 0 where the kind has none.
    pub generation: i64,
}

impl Registration {
    /// What of it concerns the store.
    pub fn registered(&self) -> Registered {
        let api_server = match &self.access {
            Ok(Access::Remote(credentials)) => credentials.address(),
            Ok(Access::Fleet) | Err(_) => None,
        };
        Registered {
            locality: self.locality.clone(),
            network: self.network,
            allowed_endpoints: self.allowed_endpoints.clone(),
            allowed_namespaces: self.allowed_namespaces.clone(),
            api_server,
            declared_by: Some(self.declared_by.clone()),
        }
    }
}

/// How a member's API is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// The member is the fleet: with the fleet's own client.
    Fleet,
    /// With credentials of its own.
    Remote(Credentials),
}

/// Why a member's API cannot be reached as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessError {
    /// There is no Secret, or no such key in it. Holds which.
    CredentialsMissing(String),
    /// Nothing declares the member any more. Holds what did.
    Undeclared(String),
    /// The credentials are refused. Holds the field and why, never a secret value.
    InvalidKubeconfig(String),
}

impl AccessError {
    /// Stable, UpperCamelCase; the same word as in `store::Health::Stale`.
    pub fn reason(&self) -> &'static str {
        match self {
            AccessError::CredentialsMissing(_) | AccessError::Undeclared(_) => "CredentialsMissing",
            AccessError::InvalidKubeconfig(_) => "InvalidKubeconfig",
        }
    }
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (AccessError::CredentialsMissing(message)
        | AccessError::Undeclared(message)
        | AccessError::InvalidKubeconfig(message)) = self;
        f.write_str(message)
    }
}

/// The credentials of a kubeconfig, as one in a Secret is read. The error names the field and
/// holds no secret value.
pub fn check_kubeconfig(document: &[u8]) -> anyhow::Result<Credentials> {
    kubeconfig::sanitise(document).map_err(|refusal| anyhow::anyhow!("{refusal}"))
}
