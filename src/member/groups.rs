//! Groups: the links of a chain, split by how near members are (semantics.md 5.3, 5.5).
//!
//! Owns which member stands in which priority. It follows from the target and from the members
//! that are registered, never from endpoints, so that a group keeps its number while it is empty.
//! Cost: members times links.

use std::{collections::BTreeMap, num::NonZeroU32};

use crate::{
    diag::{Reason, Severity},
    member::{Issue, Offer},
    model::{ClusterWeights, Link, Target},
};

/// One priority: the members of one rank that a link asks.
pub(super) struct Group<'o, 'a> {
    pub(super) link: &'o Link,
    /// In the order of `remote-clusters`. Empty only if the link asks nobody.
    pub(super) offers: Vec<&'o Offer<'a>>,
}

/// The groups of a target, best first; never none. `offers` in the order of `remote-clusters`.
pub(super) fn groups<'o, 'a>(target: &'o Target, offers: &'o [Offer<'a>]) -> Vec<Group<'o, 'a>> {
    let shares = Shares::of(target, offers);
    let groups = target.chain.iter().flat_map(|link| {
        let mut by_rank: BTreeMap<u32, Vec<_>> = BTreeMap::new();
        for offer in offers.iter().filter(|offer| offer.is_asked(link)) {
            by_rank.entry(shares.rank(offer)).or_default().push(offer);
        }
        if by_rank.is_empty() {
            by_rank.insert(0, Vec::new());
        }
        by_rank.into_values().map(move |offers| Group { link, offers })
    });
    groups.collect()
}

/// How members share the traffic of a target.
pub(super) struct Shares<'o> {
    /// `None`: every replica is equal.
    weights: Option<&'o ClusterWeights>,
}

impl<'o> Shares<'o> {
    /// Weights that are given to none of these members say nothing about them.
    pub(super) fn of(target: &'o Target, offers: &[Offer<'_>]) -> Shares<'o> {
        let is_given = |offer: &Offer<'_>| target.weights.of(offer.member).is_some();
        Shares { weights: offers.iter().any(is_given).then_some(&target.weights) }
    }

    /// Whether shares are given, and do not follow replicas.
    pub(super) fn are_given(&self) -> bool {
        self.weights.is_some()
    }

    /// The share that the member is given. The last resort is given none, and shares by replica.
    pub(super) fn given(&self, offer: &Offer<'_>) -> Option<NonZeroU32> {
        self.weights.and_then(|weights| weights.of(offer.member))
    }

    /// Weights decide alone: who is given a share, near or not, and behind them the last resort.
    fn rank(&self, offer: &Offer<'_>) -> u32 {
        match self.weights {
            Some(weights) => u32::from(weights.of(offer.member).is_none()),
            None => offer.rank,
        }
    }
}

/// Weights of members that the gateway does not have.
pub(super) fn strangers(target: &Target, offers: &[Offer<'_>]) -> Option<Issue> {
    let is_member = |id| offers.iter().any(|offer| offer.member == id);
    let unknown: Vec<_> =
        target.weights.iter().map(|(id, _)| id).filter(|id| !is_member(*id)).collect();
    let (first, more) = (unknown.first()?, unknown.len() - 1);
    let others = if more == 0 { String::new() } else { format!(" and {more} more") };
    let effect = match Shares::of(target, offers).are_given() {
        true => "ignored",
        false => "no member of it has a weight, and every replica is equal",
    };
    let message = format!("the weight of `{first}`{others}, no member of the gateway: {effect}");
    Some(Issue::on_routes(Severity::Warning, Reason::ClusterNotFound, message))
}
