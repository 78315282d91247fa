//! One host of one gateway, from all Ingresses that contribute to it.
//!
//! Owns conflicts, the order of routes, canaries' mains and default backends (semantics.md
//! 4.2–4.9). The result depends on the rows alone, not on the order in which they come.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    diag::{Diag, Field, Reason},
    ingress::{
        block::{Block, place},
        row::{IngressRow, Order, PathRule, Role},
        tls::{self, CertState, DefaultCertificate},
    },
    key::{ObjectKind, ObjectName, ObjectRef},
    model::{Condition, Host, ListenerKey, PathMatch, Target, Transport, VirtualHost},
};

/// One host of one gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRow {
    /// By listener, where it has routes. Without a certificate it is closed on TLS listeners, or a
    /// wildcard's routes would answer for it (semantics.md 10, A48).
    pub on: BTreeMap<ListenerKey, VirtualHost>,
    /// The Secret that the host is served with; `Some` only if it is on a TLS listener.
    pub certificate: Option<ObjectName>,
    /// What its Ingresses ask to be the default of its TLS listeners; `Some` only if it is on one.
    pub default_certificate: Option<DefaultCertificate>,
    /// Secrets that this row depends on, also those that do not exist.
    pub secrets: BTreeSet<ObjectName>,
    /// Targets of all routes.
    pub targets: BTreeSet<Arc<Target>>,
}

/// Puts a host together from the rows of all attached Ingresses that contribute to it, in any
/// order. The diagnostics are in order and without repetitions.
pub fn assemble(
    host: &Host,
    rows: &[Arc<IngressRow>],
    listeners: &[ListenerKey],
    certs: &dyn Fn(&ObjectName) -> CertState,
) -> (HostRow, Vec<Diag>) {
    let mut rows: Vec<_> = rows.iter().map(Arc::as_ref).filter(|row| row.has_host(host)).collect();
    rows.sort_by_key(|row| row.precedence());
    let mut diags = Vec::new();
    let certificates = tls::choose(host, &rows, certs, &mut diags);
    diags.extend(rows.iter().flat_map(|row| row.unheard(host, listeners)));
    diags.extend(same_orders(host, &rows));

    let mut on = BTreeMap::new();
    let groups = by_rows(host, &rows, listeners);
    let n_groups = groups.len();
    // A canary without a main on one listener may have it on another.
    let mut homeless: BTreeMap<Diag, usize> = BTreeMap::new();
    for (rows, keys) in groups {
        let mut found = Vec::new();
        let blocks = blocks(host, &rows, &mut found);
        for diag in found {
            match diag.reason == Reason::CanaryWithoutMain {
                true => *homeless.entry(diag).or_default() += 1,
                false => diags.push(diag),
            }
        }
        for key in keys {
            let is_closed = key.transport == Transport::Tls && certificates.own.is_none();
            let routes = virtual_host(host, &blocks, key.transport);
            let own = routes.map(|own| if is_closed { VirtualHost::closed(own.host) } else { own });
            on.extend(own.map(|own| (key, own)));
        }
    }
    diags.extend(homeless.into_iter().filter(|(_, n)| *n == n_groups).map(|(diag, _)| diag));
    if certificates.own.is_none() && !on.is_empty() {
        let tls = listeners.iter().filter(|key| key.transport == Transport::Tls);
        for key in tls {
            on.entry(*key).or_insert_with(|| VirtualHost::closed(host.clone()));
        }
    }
    let is_tls = certificates.own.is_some() && on.keys().any(|key| key.transport == Transport::Tls);
    let targets = on.values().flat_map(targets).cloned().collect();
    diags.sort();
    diags.dedup();
    let row = HostRow {
        on,
        certificate: certificates.own.filter(|_| is_tls),
        default_certificate: certificates.default.filter(|_| is_tls),
        secrets: certificates.secrets,
        targets,
    };
    (row, diags)
}

/// Ingresses of the host that chose the same number: what decides between them is their names,
/// which the author may not have meant.
fn same_orders(host: &Host, rows: &[&IngressRow]) -> Vec<Diag> {
    let mut first: BTreeMap<u16, &IngressRow> = BTreeMap::new();
    let mut diags = Vec::new();
    for row in rows {
        let Order::Number { number, is_written: true } = row.order else { continue };
        let known = first.entry(number).or_insert(row);
        if known.name != row.name {
            let ingress = ObjectRef::fleet(ObjectKind::Ingress, row.name.clone());
            let message = format!(
                "order {number} is also that of {} for {host}, whose rules come first by its name",
                known.name
            );
            diags.push(Diag::error(&Field::of(&ingress), Reason::SameOrder, message));
        }
    }
    diags
}

/// Listeners by the rows that are on them: where these are the same, so is what is made of them.
fn by_rows<'a>(
    host: &Host,
    rows: &[&'a IngressRow],
    listeners: &[ListenerKey],
) -> Vec<(Vec<&'a IngressRow>, Vec<ListenerKey>)> {
    let mut groups: Vec<(Vec<&IngressRow>, Vec<ListenerKey>)> = Vec::new();
    for key in listeners {
        let own: Vec<_> = rows.iter().copied().filter(|row| row.is_on(host, *key)).collect();
        let is_same =
            |rows: &[&IngressRow]| rows.iter().map(|r| &r.name).eq(own.iter().map(|r| &r.name));
        match groups.iter_mut().find(|(rows, _)| is_same(rows)) {
            Some((_, keys)) => keys.push(*key),
            None => groups.push((own, vec![*key])),
        }
    }
    groups
}

/// The rules of the host in match order.
fn blocks<'a>(host: &Host, rows: &[&'a IngressRow], diags: &mut Vec<Diag>) -> Vec<Block<'a>> {
    let mut rules = Rules::default();
    for row in rows {
        for rule in row.rules.get(host).into_iter().flatten() {
            match &row.role {
                Role::Main => diags.extend(rules.own(row, rule)),
                Role::Canary(_) => {}
            }
        }
    }
    for row in rows {
        let Role::Canary(canary) = &row.role else { continue };
        let mut seen = BTreeSet::new();
        for rule in row.rules.get(host).into_iter().flatten() {
            if !seen.insert(&rule.path) {
                let message = "an earlier path of this object is the same";
                diags.push(Diag::error(&rule.at, Reason::RuleConflict, message));
            } else if let Some(block) = rules.get(&rule.key()) {
                diags.extend(block.attach(canary, rule).err());
            } else {
                let message =
                    format!("no main Ingress has this path of {host}: it gets no traffic");
                diags.push(Diag::warning(&rule.at, Reason::CanaryWithoutMain, message));
            }
        }
    }
    let default = default_backend(host, rows, diags);
    rules.ordered(default)
}

/// What two rules of a host conflict by.
type Key<'a> = (&'a PathMatch, &'a [Vec<Condition>]);

impl PathRule {
    fn key(&self) -> Key<'_> {
        (&self.path, &self.when)
    }
}

/// The rules of a host by their keys, in the order of their Ingresses.
#[derive(Default)]
struct Rules<'a> {
    blocks: Vec<Block<'a>>,
    by_key: BTreeMap<Key<'a>, usize>,
}

impl<'a> Rules<'a> {
    /// Gives the rule to the row, unless an older one has it.
    fn own(&mut self, row: &'a IngressRow, rule: &'a PathRule) -> Option<Diag> {
        match self.get(&rule.key()) {
            Some(older) => {
                let message = format!("the same host and path are those of {}", place(older.at()));
                Some(Diag::error(&rule.at, Reason::RuleConflict, message))
            }
            None => {
                self.by_key.insert(rule.key(), self.blocks.len());
                self.blocks.push(Block::new(row, rule));
                None
            }
        }
    }

    fn get(&mut self, key: &Key<'_>) -> Option<&mut Block<'a>> {
        self.by_key.get(key).and_then(|idx| self.blocks.get_mut(*idx))
    }

    /// All blocks in match order; the default only where no rule takes every path.
    fn ordered(self, default: Option<Block<'a>>) -> Vec<Block<'a>> {
        let is_open = !self.blocks.iter().any(Block::takes_everything);
        let mut blocks = self.blocks;
        blocks.sort_by_key(Block::order);
        blocks.extend(default.filter(|_| is_open));
        blocks
    }
}

/// Where requests go that no rule matches: to the default backend of the oldest Ingress of the
/// host that has one (semantics.md 4.9).
fn default_backend<'a>(
    host: &Host,
    rows: &[&'a IngressRow],
    diags: &mut Vec<Diag>,
) -> Option<Block<'a>> {
    let mut all = rows.iter().filter_map(|row| Some((*row, row.default_backend.as_ref()?)));
    let (row, winner) = all.next()?;
    for (_, loser) in all {
        let message =
            format!("unmatched requests of {host} go to the backend of {}", place(&winner.at));
        diags.push(Diag::error(&loser.at, Reason::RuleConflict, message));
    }
    Some(Block::new(row, winner))
}

fn virtual_host(host: &Host, blocks: &[Block<'_>], transport: Transport) -> Option<VirtualHost> {
    let routes: Vec<_> = blocks.iter().flat_map(|block| block.routes(transport)).collect();
    (!routes.is_empty()).then(|| VirtualHost { host: host.clone(), routes })
}

fn targets(host: &VirtualHost) -> impl Iterator<Item = &Arc<Target>> {
    host.routes.iter().flat_map(|route| route.action.arms()).map(|arm| &arm.target)
}

#[cfg(test)]
mod tests;
