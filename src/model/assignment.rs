//! Assignments: the shards of a target arranged in priorities and localities (semantics.md 5.3–5.5).

use std::{net::SocketAddr, num::NonZeroU32};

use crate::key::MemberId;

/// What becomes one `ClusterLoadAssignment`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Contiguous from 0; a level may be without endpoints, so levels are never renumbered.
    pub priorities: Vec<Vec<LocalityShare>>,
    /// `policy.overprovisioning_factor`, in percent.
    pub overprovisioning: u32,
}

impl Assignment {
    /// Endpoints in all priorities.
    pub fn endpoint_count(&self) -> usize {
        self.priorities.iter().flatten().map(|share| share.endpoints.len()).sum()
    }
}

/// One member's endpoints in one priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalityShare {
    /// The member; its id is the locality's `sub_zone`.
    pub member: MemberId,
    /// Region of the member; empty if unknown.
    pub region: String,
    /// Zone of the member; empty if unknown.
    pub zone: String,
    /// Share of the priority's traffic: its ready replicas, or an explicit weight. Zero only without
    /// endpoints.
    pub weight: u32,
    /// Ordered by address.
    pub endpoints: Vec<WeightedAddress>,
}

/// One endpoint of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WeightedAddress {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its share of the locality's traffic, relative to the other endpoints; of Pods, one.
    pub weight: NonZeroU32,
}

impl WeightedAddress {
    /// An endpoint that is as good as any other.
    pub fn equal(address: SocketAddr) -> WeightedAddress {
        WeightedAddress { address, weight: NonZeroU32::MIN }
    }
}

/// Both assignments of a target; they come from one change and are published together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrangement {
    /// The groups of the chain, one a priority.
    pub groups: Assignment,
    /// One priority a member, after as many empty ones as `groups` has; composite targets only.
    pub members: Option<Assignment>,
}
