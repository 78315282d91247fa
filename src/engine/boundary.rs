//! What members offer beyond what is theirs.
//!
//! Owns which addresses of Pods two members offer (faults.md A17): routing leads each to one of the
//! two clusters, so that what is meant for the other is answered by a stranger. And which Services
//! a member has in namespaces that it may offer nothing of (S18). Nothing is dropped for being
//! shared: a member must not be able to take an address from another by claiming it. What ends
//! that is `allowedEndpointCIDRs`. Must not know gateways. Cost: linear in the shard that changed;
//! 40 bytes an address that one member has alone.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    net::IpAddr,
};

use crate::{
    diag::{Diag, Field, Reason},
    engine::findings::Row,
    key::{MemberId, ObjectKind, ObjectName, ObjectRef},
    member::ServiceShards,
    store::Store,
};

/// Two members, in order.
type Pair = (MemberId, MemberId);

/// The addresses of all shards, and what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Boundary {
    /// Members by number, which is what an address keeps of them.
    ids: Vec<MemberId>,
    /// Addresses that one member has: which, and in how many shards.
    sole: HashMap<IpAddr, (u16, u32)>,
    /// Addresses that several have: in how many shards of each.
    contested: BTreeMap<IpAddr, BTreeMap<MemberId, u32>>,
    shared: BTreeMap<Pair, BTreeSet<IpAddr>>,
    foreign: BTreeMap<MemberId, BTreeSet<ObjectName>>,
    /// What may have to be said anew.
    dirty: BTreeSet<Row>,
}

impl Boundary {
    /// A shard of a member was replaced by another.
    pub(super) fn replace(
        &mut self,
        member: &MemberId,
        old: Option<&ServiceShards>,
        new: Option<&ServiceShards>,
    ) {
        let (old, new) = (pods(old), pods(new));
        old.difference(&new).for_each(|address| self.remove(*address, member));
        new.difference(&old).for_each(|address| self.add(*address, member));
    }

    /// Whether a member has a Service that it may not offer.
    pub(super) fn set_foreign(
        &mut self,
        member: &MemberId,
        service: &ObjectName,
        is_foreign: bool,
    ) {
        let differs = match is_foreign {
            true => self.foreign.entry(member.clone()).or_default().insert(service.clone()),
            false => self.foreign.get_mut(member).is_some_and(|own| own.remove(service)),
        };
        if differs {
            self.dirty.insert(Row::Foreign(member.clone()));
        }
    }

    /// The registrations of these members changed, and with them where something is said.
    pub(super) fn say_again(&mut self, members: &BTreeSet<MemberId>) {
        self.dirty.extend(members.iter().cloned().map(Row::Foreign));
        let concerned = self
            .shared
            .keys()
            .filter(|(one, other)| members.contains(one) || members.contains(other));
        self.dirty.extend(concerned.map(|(one, other)| Row::Overlap(one.clone(), other.clone())));
    }

    /// How many addresses each two members share.
    pub(super) fn shared(&self) -> impl Iterator<Item = (&MemberId, &MemberId, usize)> {
        self.shared.iter().map(|((one, other), own)| (one, other, own.len()))
    }

    /// What is to be said differently since it was asked last.
    pub(super) fn news(&mut self, store: &Store) -> Vec<(Row, Vec<Diag>)> {
        let dirty = std::mem::take(&mut self.dirty);
        self.shared.retain(|_, own| !own.is_empty());
        self.foreign.retain(|_, own| !own.is_empty());
        let said = dirty.into_iter().filter_map(|row| {
            let diags = self.diags(&row, store)?;
            Some((row, diags))
        });
        said.collect()
    }

    fn add(&mut self, address: IpAddr, member: &MemberId) {
        let number = self.number(member);
        if let Some(holders) = self.contested.get_mut(&address) {
            let rows = holders.entry(member.clone()).or_default();
            *rows += 1;
            if *rows == 1 {
                let others: Vec<_> = holders.keys().filter(|own| *own != member).cloned().collect();
                others.into_iter().for_each(|other| self.pair(address, member, &other, true));
            }
            return;
        }
        let (other, rows) = match self.sole.entry(address) {
            Entry::Vacant(free) => {
                free.insert((number, 1));
                return;
            }
            Entry::Occupied(mut known) if known.get().0 == number => {
                known.get_mut().1 += 1;
                return;
            }
            Entry::Occupied(known) => known.remove(),
        };
        let other = self.ids.get(usize::from(other)).cloned();
        let other = other.expect("invariant: an address is kept with a number that was given out");
        self.pair(address, member, &other, true);
        self.contested.insert(address, BTreeMap::from([(other, rows), (member.clone(), 1)]));
    }

    fn remove(&mut self, address: IpAddr, member: &MemberId) {
        let Some(holders) = self.contested.get_mut(&address) else {
            if let Entry::Occupied(mut known) = self.sole.entry(address) {
                known.get_mut().1 -= 1;
                if known.get().1 == 0 {
                    known.remove();
                }
            }
            return;
        };
        let Some(rows) = holders.get_mut(member) else { return };
        *rows -= 1;
        if *rows > 0 {
            return;
        }
        holders.remove(member);
        let others = holders.clone();
        others.keys().for_each(|other| self.pair(address, member, other, false));
        if let (1, Some((last, rows))) = (others.len(), others.first_key_value()) {
            self.contested.remove(&address);
            let number = self.number(last);
            self.sole.insert(address, (number, *rows));
        }
    }

    fn pair(&mut self, address: IpAddr, one: &MemberId, other: &MemberId, is_shared: bool) {
        let pair = if one < other { (one, other) } else { (other, one) };
        let pair = (pair.0.clone(), pair.1.clone());
        self.dirty.insert(Row::Overlap(pair.0.clone(), pair.1.clone()));
        let shared = self.shared.entry(pair).or_default();
        if is_shared {
            shared.insert(address);
        } else {
            shared.remove(&address);
        }
    }

    /// There are as many as there are members, ever.
    fn number(&mut self, member: &MemberId) -> u16 {
        let known = self.ids.iter().position(|own| own == member);
        let number = known.unwrap_or_else(|| {
            self.ids.push(member.clone());
            self.ids.len() - 1
        });
        u16::try_from(number).expect("invariant: there are fewer than 65,536 members")
    }

    fn diags(&self, row: &Row, store: &Store) -> Option<Vec<Diag>> {
        match row {
            Row::Overlap(one, other) => {
                let shared = self.shared.get(&(one.clone(), other.clone()));
                let say = |on: &MemberId, other: &MemberId| {
                    Some(overlap(&declared_by(store, on), other, shared?))
                };
                Some(say(one, other).into_iter().chain(say(other, one)).collect())
            }
            Row::Foreign(member) => {
                let services = self.foreign.get(member);
                let say = |own| not_allowed(&declared_by(store, member), own);
                Some(services.map(say).into_iter().collect())
            }
            Row::Reports
            | Row::Gateway(_)
            | Row::Members(_)
            | Row::Ingress(..)
            | Row::Host(..)
            | Row::Shards(..)
            | Row::Target(..) => None,
        }
    }
}

/// The addresses of Pods: one that leads through a node may lead to others at other ports. On
/// loopback, which only development serves, all members are one machine.
fn pods(shards: Option<&ServiceShards>) -> BTreeSet<IpAddr> {
    let shards = shards.filter(|own| own.shows_pods()).into_iter();
    let addresses = shards.flat_map(ServiceShards::addresses).map(|own| own.ip());
    addresses.filter(|own| !own.is_loopback()).collect()
}

/// The object that declares the member; or that could, had it been declared by one.
fn declared_by(store: &Store, member: &MemberId) -> ObjectRef {
    let known = store.member(member).and_then(|own| own.declared().declared_by.clone());
    let could =
        || ObjectRef::fleet(ObjectKind::MemberCluster, ObjectName::cluster_scoped(member.as_str()));
    known.unwrap_or_else(could)
}

fn overlap(on: &ObjectRef, other: &MemberId, shared: &BTreeSet<IpAddr>) -> Diag {
    let example = shared.first().map(ToString::to_string).unwrap_or_default();
    let message = format!(
        "{} also offered by member {other}, and routing leads to one of the two; networks of Pods \
         must not overlap, and `allowedEndpointCIDRs` keeps each member to its own",
        match shared.len() {
            1 => format!("{example} is"),
            more => format!("{example} and {} others are", about(more - 1)),
        },
    );
    Diag::error(&Field::of(on), Reason::AddressConflict, message)
}

fn not_allowed(on: &ObjectRef, services: &BTreeSet<ObjectName>) -> Diag {
    let example = services.first().map(ToString::to_string).unwrap_or_default();
    let what = match services.len() {
        1 => format!("Service {example}"),
        more => format!("Service {example} and {} others", about(more - 1)),
    };
    let message = format!("{what} of namespaces that are not allowed; nothing of that is served");
    Diag::warning(&Field::of(on), Reason::NamespaceNotAllowed, message)
}

/// A number that does not change with every Pod, so that nothing is said anew for each.
fn about(count: usize) -> String {
    match count {
        0..10 => count.to_string(),
        more => format!("at least {}", 10_usize.pow(more.ilog10())),
    }
}
