//! What every source emits, and all that it emits.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use crate::{
    diag::Diag,
    key::{MemberId, ObjectKind, ObjectName, ObjectRef, Scope},
    store::{Cidr, Object},
};

/// One change of the ground state. Watches, directories and tests all speak this.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The object exists and looks like this.
    Upsert(Scope, Object),
    /// The object was deleted: somebody said so, it is not merely out of sight.
    Delete(Scope, ObjectKind, ObjectName),
    /// These are all the objects of the kind. The store works out what came, changed and went.
    Replace(Scope, ObjectKind, Vec<Object>),
    /// The kinds that are always read there have all been listed once; what is read only because
    /// something names it may be missing. `Synced` follows.
    Listed(Scope),
    /// Everything that is read there has been listed once. The fleet's comes after every
    /// `Register` that was known by then: a member that is not registered is not waited for
    /// (xds.md 3.15).
    Synced(Scope),
    /// The member is registered; until then its id is unknown (`ClusterNotFound`).
    Register(MemberId, Registered),
    /// How the cluster is reached now.
    Health(Scope, Health),
    /// The member is no longer registered. Its endpoints go only with `remote-clusters`.
    Unregister(MemberId),
    /// What the source has to say about its inputs, replacing what it said before under `source`.
    /// `source` is a file or a watch; an empty list withdraws.
    Report {
        /// The file or watch that the findings are about.
        source: String,
        /// All findings about it.
        diags: Vec<Diag>,
    },
}

/// What is declared of a member, whatever its API says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registered {
    /// Where it is.
    pub locality: Locality,
    /// How Envoys reach its Pods.
    pub network: Network,
    /// Where its endpoints may be; `None` allows everything that faults.md F20 allows.
    pub allowed_endpoints: Option<Arc<[Cidr]>>,
    /// The namespaces whose Services it may offer; `None` for all (faults.md S18).
    pub allowed_namespaces: Option<Arc<BTreeSet<Arc<str>>>>,
    /// Where its API is, if credentials say so with a number: no endpoint is there (faults.md S17).
    pub api_server: Option<SocketAddr>,
    /// The object to mend; unknown for a directory that nothing declares.
    pub declared_by: Option<ObjectRef>,
}

/// How Envoys reach the Pods of a member (semantics.md 2.8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// Pod addresses are routable.
    #[default]
    Underlay,
    /// Through its nodes, or a load balancer in front of them.
    Overlay,
}

/// Where a member is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locality {
    /// Region of the cluster; empty if unknown.
    pub region: String,
    /// Zone of the cluster; empty if unknown.
    pub zone: String,
}

/// How a cluster is reached. What was read of it stays while it is not (semantics.md 5.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// No answer yet.
    #[default]
    Connecting,
    /// Its kinds are being listed for the first time.
    Syncing,
    /// Listed, and watched.
    Live,
    /// It was live and cannot be read, or never answered. Said of a member that was never
    /// `Synced`, it means that nobody waits for it any more (xds.md 3.15).
    Stale {
        /// Stable, UpperCamelCase: `Unreachable`, `Unauthorized`, `Forbidden`, `TlsVerify`,
        /// `SyncTimeout`, `InvalidKubeconfig`, `CredentialsMissing`, `ClusterIdentityMismatch`,
        /// `KindUnavailable`, `QuotaExceeded`.
        reason: &'static str,
        /// For people.
        message: String,
    },
}
