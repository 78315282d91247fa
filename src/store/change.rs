//! What every source emits, and all that it emits.

use crate::{
    diag::Diag,
    key::{MemberId, ObjectKind, ObjectName, Scope},
    store::Object,
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
    Register(MemberId, Locality),
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
        /// `KindUnavailable`.
        reason: &'static str,
        /// For people.
        message: String,
    },
}
