//! Targets: where a route sends its traffic (semantics.md 5.4).

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    key::{BackendKey, MemberId},
    model::{Balance, ClusterWeights, HealthCheck},
};

/// Backend, subset, fallback chain, and how its endpoints are used. Equal targets share one Envoy
/// cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The chain, best first; never empty. An address belongs to the first link that has it.
    pub chain: Vec<Link>,
    /// The shares of members, in every link of the chain.
    pub weights: ClusterWeights,
    /// How endpoints are checked, if they are.
    pub health_check: Option<Arc<HealthCheck>>,
    /// How one of them is chosen.
    pub balance: Balance,
}

/// One element of a chain: the endpoints of a backend, or those of a subset of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link {
    /// The backend.
    pub backend: BackendKey,
    /// Which of its endpoints.
    pub subset: Subset,
}

/// Which endpoints of a backend: all conditions must hold; none means all endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subset {
    /// `topology.istio.io/cluster`: only this member's. It may be an id nobody has.
    pub member: Option<Arc<str>>,
    /// Labels of the Pod.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
}

impl Subset {
    /// No condition.
    pub fn is_all(&self) -> bool {
        self.member.is_none() && self.labels.is_empty()
    }
}

impl fmt::Display for Subset {
    /// Canonical and injective: `c1`, `version=gray`, `c1,version=gray`; empty for all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = self.labels.iter().map(|(k, v)| format!("{k}={v}"));
        let parts: Vec<_> = self.member.iter().map(|m| m.to_string()).chain(labels).collect();
        f.write_str(&parts.join(","))
    }
}

impl Target {
    /// A target of a backend's endpoints, subset first and the rest after it, where every replica
    /// is equal and nothing is checked.
    pub fn of(backend: BackendKey, subset: Subset) -> Target {
        let all = Link { backend: backend.clone(), subset: Subset::default() };
        let chain = if subset.is_all() { vec![all] } else { vec![Link { backend, subset }, all] };
        Target {
            chain,
            weights: ClusterWeights::default(),
            health_check: None,
            balance: Balance::default(),
        }
    }

    /// This target, and when it has no endpoint, `other`'s chain. Repeated links vanish. How
    /// endpoints are used stays as this target says.
    pub fn or(mut self, other: &Target) -> Target {
        for link in &other.chain {
            if !self.chain.contains(link) {
                self.chain.push(link.clone());
            }
        }
        self
    }

    /// The backend that the route names.
    pub fn backend(&self) -> &BackendKey {
        &self.chain.first().expect("invariant: a chain is never empty").backend
    }
}

/// How a target is built in Envoy. It depends on which members there are and *have the Services*,
/// never on their endpoints, so scaling a member to zero changes no cluster (semantics.md 5.4).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape {
    /// Plain or composite.
    pub form: Form,
    /// Spoken to the endpoints.
    pub protocol: Protocol,
    /// Priorities of the assignment: one for each link of the chain and rank of members.
    pub groups: u32,
}

/// Whether a retry can leave the member inside one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// Every group lies inside one member: one cluster with priorities.
    Plain,
    /// Some group spans members: `envoy.clusters.composite` over the assignment and `…/members`.
    Composite,
}

/// What the endpoints speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS (gRPC).
    Http2,
}

/// The members of a gateway in the order of `remote-clusters`.
pub type MemberOrder = Arc<[MemberId]>;
