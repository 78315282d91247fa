//! Assignments: the endpoints of a target by priority and member (semantics.md 5.3–5.5).
//!
//! Owns the rule that an address appears once: Envoy keeps one host an address, so a second one
//! would silently serve under the first one's member (faults.md M11). Cost: linear in endpoints.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
};

use crate::{
    diag::{Field, Reason, Severity},
    key::{MemberId, ObjectRef},
    member::{
        Issue, Offer,
        groups::{Group, Shares, groups},
    },
    model::{
        Arrangement, Assignment, Form, Link, LocalityShare, Shard, ShardEndpoint, Subset, Target,
        WeightedAddress,
    },
};

/// With one group, a member's share shrinks with its ejected endpoints: every replica stays equal.
pub const OVERPROVISIONING_SINGLE: u32 = 100;

/// With several groups, one healthy endpoint keeps its group at 100 %, and with weights its
/// member's share: 100,000 endpoints of which one is healthy still make 100 %. A constant, so that
/// the field never moves.
pub const OVERPROVISIONING_SEVERAL: u32 = 10_000_000;

/// The assignments of a target. `offers` in the order of `remote-clusters`.
pub fn arrange(target: &Target, offers: &[Offer<'_>], form: Form) -> (Arrangement, Vec<Issue>) {
    let mut issues = empty_subsets(target, offers);
    let mut taken = Taken::default();
    let shares = Shares::of(target, offers);
    let groups = groups(target, offers);
    let filled: Vec<_> = groups.iter().map(|group| fill(group, &shares, &mut taken)).collect();
    issues.extend(taken.issues());
    let padding: Vec<_> = groups.iter().map(|group| placeholder(group, offers)).collect();
    let members = match form {
        Form::Plain => None,
        Form::Composite => Some(members(target, &filled, &padding, offers)),
    };
    let overprovisioning = match filled.len() {
        0 | 1 if !shares.are_given() => OVERPROVISIONING_SINGLE,
        _given_or_several => OVERPROVISIONING_SEVERAL,
    };
    // A level keeps its number when it is empty: a locality without endpoints holds its place (M31).
    let levels = filled.into_iter().zip(padding);
    let level = |(own, padding): (Vec<_>, _)| if own.is_empty() { padding } else { own };
    let priorities = levels.map(level).collect();
    (Arrangement { groups: Assignment { priorities, overprovisioning }, members }, issues)
}

/// The endpoints of one group by member, in order of `remote-clusters`; members without any are
/// not in it.
fn fill<'a>(
    Group { link, offers }: &Group<'_, 'a>,
    shares: &Shares<'_>,
    taken: &mut Taken<'a>,
) -> Vec<LocalityShare> {
    let share = |offer: &&Offer<'a>| {
        let shard = offer.shard(link)?;
        let matching = shard.endpoints.iter().filter(|e| matches(&link.subset, e));
        let endpoints: Vec<_> =
            matching.map(weighted).filter(|e| taken.take(e.address, offer, link)).collect();
        if endpoints.is_empty() {
            return None;
        }
        let weight = shares.given(offer).map_or_else(|| replicas(shard, &endpoints), u32::from);
        Some(LocalityShare { weight, endpoints, ..without_endpoints(offer) })
    };
    offers.iter().filter_map(share).collect()
}

/// One priority a member with its best group, after as many empty ones as there are groups: a
/// retry that excludes a priority of the groups must not exclude a member by its number (M31b).
fn members(
    target: &Target,
    groups: &[Vec<LocalityShare>],
    padding: &[Vec<LocalityShare>],
    offers: &[Offer<'_>],
) -> Assignment {
    let having = |offer: &&Offer<'_>| target.chain.iter().any(|link| offer.shard(link).is_some());
    let mut levels: Vec<_> = offers
        .iter()
        .filter(having)
        .map(|offer| {
            let own = |group: &Vec<LocalityShare>| {
                group.iter().find(|share| share.member == *offer.member).cloned()
            };
            let best = groups.iter().enumerate().find_map(|(idx, group)| Some((idx, own(group)?)));
            let (best_group, share) =
                best.unwrap_or_else(|| (groups.len(), without_endpoints(offer)));
            (best_group == 0, best_group, share)
        })
        .collect();
    // The first attempts went to the first group, and there to the greatest share most likely.
    levels.sort_by_key(|(is_first, best_group, share)| (*is_first, *best_group, share.weight));
    let levels = levels.into_iter().map(|(_, _, share)| vec![share]);
    Assignment {
        priorities: padding.iter().cloned().chain(levels).collect(),
        overprovisioning: OVERPROVISIONING_SEVERAL,
    }
}

/// What stands for a group without endpoints: an empty share of its first member; of the first
/// member, if its link asks nobody.
fn placeholder(group: &Group<'_, '_>, offers: &[Offer<'_>]) -> Vec<LocalityShare> {
    let first = group.offers.first().copied().or(offers.first());
    first.map(without_endpoints).into_iter().collect()
}

fn weighted(endpoint: &ShardEndpoint) -> WeightedAddress {
    WeightedAddress { address: endpoint.address, weight: endpoint.weight }
}

/// The replicas behind some of a shard's endpoints: in proportion to their weight, at least one.
pub(super) fn replicas(shard: &Shard, kept: &[WeightedAddress]) -> u32 {
    let whole: u128 = shard.endpoints.iter().map(|own| u128::from(own.weight.get())).sum();
    let kept: u128 = kept.iter().map(|own| u128::from(own.weight.get())).sum();
    let rounded = (u128::from(shard.replicas) * kept + whole / 2) / whole.max(1);
    u32::try_from(rounded).unwrap_or(u32::MAX).max(1)
}

fn without_endpoints(offer: &Offer<'_>) -> LocalityShare {
    LocalityShare {
        member: offer.member.clone(),
        region: offer.locality.region.clone(),
        zone: offer.locality.zone.clone(),
        weight: 0,
        endpoints: Vec::new(),
    }
}

fn matches(subset: &Subset, endpoint: &ShardEndpoint) -> bool {
    subset.labels.iter().all(|(key, value)| endpoint.labels.get(key) == Some(value))
}

/// Links whose subset matches nothing although the backend has endpoints.
fn empty_subsets(target: &Target, offers: &[Offer<'_>]) -> Vec<Issue> {
    let has_match = |link: &Link, subset: &Subset| {
        let link = Link { backend: link.backend.clone(), subset: subset.clone() };
        let shards = offers.iter().filter_map(|offer| offer.shard(&link));
        shards.flat_map(|shard| &shard.endpoints).any(|e| matches(subset, e))
    };
    let is_known = |link: &Link| !offers.iter().any(|o| o.is_unread && o.is_asked(link));
    let links = target.chain.iter().filter(|link| !link.subset.is_all() && is_known(link));
    let empty =
        links.filter(|link| !has_match(link, &link.subset) && has_match(link, &Subset::default()));
    let hides = |offer: &&Offer<'_>, link: &Link| offer.service(link).is_some_and(|s| s.hides_pods);
    let issue = |link: &Link| {
        let hidden = offers.iter().find(|offer| hides(offer, link)).map(|offer| {
            let member = offer.member;
            format!("; the Pods of member {member} are behind its nodes, which labels cannot tell")
        });
        let hidden = hidden.unwrap_or_default();
        let message = format!("no ready endpoint of {} is `{}`{hidden}", link.backend, link.subset);
        Issue::on_routes(Severity::Warning, Reason::SubsetEmpty, message)
    };
    empty.map(issue).collect()
}

/// Which member has an address. First come, first served: groups come in order of the chain,
/// members in order of `remote-clusters`.
#[derive(Default)]
struct Taken<'a> {
    owners: HashMap<SocketAddr, &'a MemberId>,
    /// By the Service that loses.
    conflicts: BTreeMap<ObjectRef, Conflict>,
}

struct Conflict {
    /// The owner of the first of them that was met.
    owner: MemberId,
    addresses: BTreeSet<SocketAddr>,
}

impl<'a> Taken<'a> {
    /// Whether the address is still free. That a member's own later group has it too is normal.
    fn take(&mut self, address: SocketAddr, offer: &Offer<'a>, link: &Link) -> bool {
        let Some(owner) = self.owners.get(&address) else {
            self.owners.insert(address, offer.member);
            return true;
        };
        if *owner != offer.member {
            let conflict = self.conflicts.entry(offer.service_ref(link));
            let owner = (*owner).clone();
            let conflict = conflict.or_insert(Conflict { owner, addresses: BTreeSet::new() });
            conflict.addresses.insert(address);
        }
        false
    }

    fn issues(self) -> impl Iterator<Item = Issue> {
        self.conflicts.into_iter().filter_map(|(service, Conflict { owner, addresses })| {
            let first = addresses.first()?;
            let others = match addresses.len() {
                1 => String::new(),
                more => format!(" (and {} more)", more - 1),
            };
            let message = format!(
                "{first}{others} is also an endpoint of member {owner}, which is preferred; \
                 Pod networks of members must not overlap"
            );
            Some(Issue::on_service(Field::of(&service), Reason::AddressConflict, message))
        })
    }
}
