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
    member::{Issue, Offer},
    model::{
        Arrangement, Assignment, Form, Link, LocalityShare, ShardEndpoint, Subset, Target,
        WeightedAddress,
    },
};

/// With one group, a member's share shrinks with its ejected endpoints: every replica stays equal.
pub const OVERPROVISIONING_SINGLE: u32 = 100;

/// With several groups, one healthy endpoint keeps its group at 100 %: 100,000 endpoints of which
/// one is healthy still make 100 %. A constant, so that the field never moves.
pub const OVERPROVISIONING_SEVERAL: u32 = 10_000_000;

/// The assignments of a target. `offers` in the order of `remote-clusters`.
pub fn arrange(target: &Target, offers: &[Offer<'_>], form: Form) -> (Arrangement, Vec<Issue>) {
    let mut issues = empty_subsets(target, offers);
    let mut taken = Taken::default();
    let groups: Vec<_> = target.chain.iter().map(|link| group(link, offers, &mut taken)).collect();
    issues.extend(taken.issues());
    let members = match form {
        Form::Plain => None,
        Form::Composite => Some(members(target, &groups, offers)),
    };
    let overprovisioning = match groups.len() {
        0 | 1 => OVERPROVISIONING_SINGLE,
        _more => OVERPROVISIONING_SEVERAL,
    };
    let levels = target.chain.iter().zip(groups);
    let priorities = levels.map(|(link, group)| level(group, || asked(link, offers))).collect();
    (Arrangement { groups: Assignment { priorities, overprovisioning }, members }, issues)
}

/// The endpoints of one link by member, in order of `remote-clusters`; members without any are
/// not in it.
fn group<'a>(link: &Link, offers: &[Offer<'a>], taken: &mut Taken<'a>) -> Vec<LocalityShare> {
    let share = |offer: &Offer<'a>| {
        let matching = offer.shard(link)?.endpoints.iter().filter(|e| matches(&link.subset, e));
        let endpoints: Vec<_> =
            matching.map(weighted).filter(|e| taken.take(e.address, offer, link)).collect();
        (!endpoints.is_empty()).then(|| locality_share(offer, endpoints))
    };
    offers.iter().filter_map(share).collect()
}

/// One priority a member with its best group, after as many empty ones as there are groups: a
/// retry that excludes a priority of the groups must not exclude a member by its number (M31b).
fn members(target: &Target, groups: &[Vec<LocalityShare>], offers: &[Offer<'_>]) -> Assignment {
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
                best.unwrap_or_else(|| (groups.len(), locality_share(offer, Vec::new())));
            (best_group == 0, best_group, share)
        })
        .collect();
    // The first attempts went to the first group, and there to the greatest share most likely.
    levels.sort_by_key(|(is_first, best_group, share)| (*is_first, *best_group, share.weight));
    let padding = target.chain.iter().map(|link| level(Vec::new(), || asked(link, offers)));
    let levels = levels.into_iter().map(|(_, _, share)| vec![share]);
    Assignment {
        priorities: padding.chain(levels).collect(),
        overprovisioning: OVERPROVISIONING_SEVERAL,
    }
}

/// A level keeps its number when it is empty: a locality without endpoints holds its place (M31).
fn level(
    group: Vec<LocalityShare>,
    placeholder: impl FnOnce() -> Option<LocalityShare>,
) -> Vec<LocalityShare> {
    if group.is_empty() { placeholder().into_iter().collect() } else { group }
}

/// An empty share of the first member that the link asks; of the first member, if it asks nobody.
fn asked(link: &Link, offers: &[Offer<'_>]) -> Option<LocalityShare> {
    let asked = offers.iter().find(|offer| offer.is_asked(link));
    asked.or(offers.first()).map(|offer| locality_share(offer, Vec::new()))
}

fn weighted(endpoint: &ShardEndpoint) -> WeightedAddress {
    WeightedAddress { address: endpoint.address, weight: endpoint.weight }
}

fn locality_share(offer: &Offer<'_>, endpoints: Vec<WeightedAddress>) -> LocalityShare {
    let weight = u32::try_from(endpoints.len()).unwrap_or(u32::MAX);
    LocalityShare {
        member: offer.member.clone(),
        region: offer.locality.region.clone(),
        zone: offer.locality.zone.clone(),
        weight,
        endpoints,
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
