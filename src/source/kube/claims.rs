//! Which member is which cluster, where two ids name the same one (faults.md A15).
//!
//! Owns the rule that the older declaration wins, whatever the order in which they are found.
//! Must not know how a cluster is read. Cost: linear in the members, at each change of one.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::watch;

use crate::{
    key::{MemberId, ObjectRef},
    source::{kube::probe::ClusterUid, registry::Registration},
};

/// What every member says it is. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims(Arc<watch::Sender<BTreeMap<MemberId, Claim>>>);

/// One member says which cluster it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) uid: ClusterUid,
    pub(super) rank: Rank,
    /// Its objects are in the store.
    pub(super) is_served: bool,
}

/// The least one wins: by age, then by name, so that it is the same one after a restart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(i64, ObjectRef, MemberId);

impl Rank {
    pub(super) fn of(registration: &Registration) -> Rank {
        let Registration { created, declared_by, id, .. } = registration;
        Rank(*created, declared_by.clone(), id.clone())
    }
}

/// A member with a better claim to the same cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rival {
    pub(super) id: MemberId,
    pub(super) is_served: bool,
}

impl Claims {
    /// What the member says from now on; `None` takes its word back.
    pub(super) fn set(&self, id: &MemberId, claim: Option<Claim>) {
        self.0.send_if_modified(|claims| {
            if claims.get(id) == claim.as_ref() {
                return false;
            }
            match claim {
                Some(claim) => claims.insert(id.clone(), claim),
                None => claims.remove(id),
            };
            true
        });
    }

    /// Changes with every claim.
    pub(super) fn subscribe(&self) -> watch::Receiver<BTreeMap<MemberId, Claim>> {
        self.0.subscribe()
    }

    /// The best of those whose claim to this cluster is better.
    pub(super) fn rival(&self, uid: &ClusterUid, rank: &Rank) -> Option<Rival> {
        let claims = self.0.borrow();
        let better = claims.iter().filter(|(_, own)| own.uid == *uid && own.rank < *rank);
        let best = better.min_by(|(_, a), (_, b)| a.rank.cmp(&b.rank));
        best.map(|(id, own)| Rival { id: id.clone(), is_served: own.is_served })
    }
}
