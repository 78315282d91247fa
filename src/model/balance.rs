//! Balance: which endpoint of a group a request goes to, and the shares of members (semantics.md
//! 3.7, 5.5).

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

use crate::key::MemberId;

/// How an endpoint is chosen among those of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Balance {
    /// In turn.
    #[default]
    RoundRobin,
    /// Of two that are drawn, the one with fewer requests under way.
    LeastRequest,
    /// The same one for the same key, while it is there.
    Hash(HashKey),
}

/// What requests that belong together have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashKey {
    /// The value of a cookie.
    Cookie {
        /// Its name, an RFC 9110 token.
        name: Arc<str>,
        /// The gateway gives the cookie to who has none, for so long; zero is until the browser
        /// closes. `None`: it is only read.
        ttl: Option<Duration>,
    },
    /// The client's address.
    SourceAddress,
    /// The value of a query parameter.
    Query(Arc<str>),
}

/// The shares of members in the traffic of a target. Empty: every replica is equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterWeights(BTreeMap<MemberId, NonZeroU32>);

impl ClusterWeights {
    /// Every replica is equal.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the member is given. `None` is the last resort: zero, or not named.
    pub fn of(&self, member: &MemberId) -> Option<NonZeroU32> {
        self.0.get(member).copied()
    }

    /// The members that are given something, which a gateway need not have, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&MemberId, NonZeroU32)> {
        self.0.iter().map(|(member, weight)| (member, *weight))
    }
}

impl FromIterator<(MemberId, u32)> for ClusterWeights {
    /// A member of weight zero is as good as one that is not named.
    fn from_iter<T: IntoIterator<Item = (MemberId, u32)>>(weights: T) -> ClusterWeights {
        let positive = |(member, weight)| Some((member, NonZeroU32::new(weight)?));
        ClusterWeights(weights.into_iter().filter_map(positive).collect())
    }
}
