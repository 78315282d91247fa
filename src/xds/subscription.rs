//! Subscriptions: which names of one type a stream sees (xds.md 3.2).
//!
//! Owns the rules of wildcards and names for both protocol variants. Must not know views or what
//! was sent. Cost: logarithmic per name; a state-of-the-world request is linear in its names.

use std::{collections::BTreeSet, mem, sync::Arc};

use crate::snapshot::{Kind, Resource, Table};

/// The name that means every resource, where the type has a wildcard.
const WILDCARD: &str = "*";

/// What one type of one stream is subscribed to.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// Whether the type has a wildcard at all.
    has_wildcard: bool,
    opened: bool,
    /// Some request has named names: an empty list no longer means all.
    explicit: bool,
    wildcard: bool,
    names: BTreeSet<Arc<str>>,
}

/// What a request changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Effect {
    /// It was the first request of the type on the stream.
    pub first: bool,
    /// Names that must be answered, even if nothing about them changed.
    pub asked: Vec<Arc<str>>,
    /// Names that were subscribed and are not named any more.
    pub dropped: Vec<Arc<str>>,
    /// What became of the wildcard.
    pub wildcard: Option<WildcardChange>,
}

impl Effect {
    /// Whether names are seen that were not.
    pub(crate) fn widens(&self) -> bool {
        !self.asked.is_empty() || self.wildcard == Some(WildcardChange::Gained)
    }
}

/// The wildcard came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WildcardChange {
    Gained,
    Lost,
}

impl Subscription {
    /// Nothing subscribed: no request has come.
    pub(crate) fn new(kind: Kind) -> Subscription {
        Subscription {
            has_wildcard: kind.is_full_state(),
            opened: false,
            explicit: false,
            wildcard: false,
            names: BTreeSet::new(),
        }
    }

    /// Whether any request has come.
    pub(crate) fn is_open(&self) -> bool {
        self.opened
    }

    /// Whether every name is seen.
    pub(crate) fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    /// The names that are subscribed one by one.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.iter()
    }

    /// Whether this name is seen.
    pub(crate) fn sees(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// The resources that are seen, by name.
    pub(crate) fn visible<'a>(
        &'a self,
        table: &'a Table,
    ) -> impl Iterator<Item = &'a Arc<Resource>> {
        let all = self.wildcard.then(|| table.iter());
        let named = (!self.wildcard).then(|| self.names.iter().filter_map(|name| table.get(name)));
        all.into_iter().flatten().chain(named.into_iter().flatten())
    }

    /// State of the world: replaces the list.
    pub(crate) fn list(&mut self, names: Vec<Arc<str>>) -> Effect {
        let first = !mem::replace(&mut self.opened, true);
        self.explicit |= !names.is_empty();
        let mut next: BTreeSet<_> = names.into_iter().collect();
        let star = self.has_wildcard && next.remove(WILDCARD);
        let legacy = self.has_wildcard && !self.explicit;
        let wildcard = self.set_wildcard(star || legacy);
        let asked = next.difference(&self.names).cloned().collect();
        let dropped = self.names.difference(&next).filter(|_| !self.wildcard);
        let dropped = dropped.cloned().collect();
        self.names = next;
        Effect { first, asked, dropped, wildcard }
    }

    /// Incremental: adds and drops names.
    pub(crate) fn change(
        &mut self,
        subscribe: Vec<Arc<str>>,
        unsubscribe: Vec<Arc<str>>,
    ) -> Effect {
        let first = !mem::replace(&mut self.opened, true);
        let was = self.wildcard;
        self.wildcard |= first && subscribe.is_empty() && self.has_wildcard;
        let mut effect = Effect { first, ..Effect::default() };
        for name in subscribe {
            if self.is_star(&name) {
                self.wildcard = true;
            } else {
                self.names.insert(name.clone());
                effect.asked.push(name);
            }
        }
        for name in unsubscribe {
            if self.is_star(&name) {
                self.wildcard = false;
            } else if self.names.remove(&name) {
                // xds: a name in both lists is dropped; it must not be answered as well.
                effect.asked.retain(|asked| *asked != name);
                effect.dropped.push(name);
            }
        }
        effect.wildcard = changed(was, self.wildcard);
        effect
    }

    fn is_star(&self, name: &str) -> bool {
        self.has_wildcard && name == WILDCARD
    }

    fn set_wildcard(&mut self, wildcard: bool) -> Option<WildcardChange> {
        let change = changed(self.wildcard, wildcard);
        self.wildcard = wildcard;
        change
    }
}

fn changed(old: bool, new: bool) -> Option<WildcardChange> {
    match (old, new) {
        (false, true) => Some(WildcardChange::Gained),
        (true, false) => Some(WildcardChange::Lost),
        (true, true) | (false, false) => None,
    }
}
