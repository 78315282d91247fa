//! One host of one gateway, from all Ingresses that contribute to it.
//!
//! Owns conflicts, the order of routes, canaries' mains and default backends (semantics.md
//! 4.2–4.9). The result depends on the rows alone, not on the order in which they come.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    diag::{Diag, Reason},
    ingress::{
        block::{Block, place},
        row::{IngressRow, PathRule, Role},
        tls::{self, CertState, DefaultCertificate},
    },
    key::ObjectName,
    model::{Action, Host, ListenerKey, PathMatch, Target, VirtualHost},
};

/// One host of one gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRow {
    /// On the plaintext listener; `None` if the host has no route.
    pub http: Option<VirtualHost>,
    /// On the TLS listener; `None` without a certificate or a route.
    pub https: Option<VirtualHost>,
    /// The Secret that the host is served with; `Some` only with `https`.
    pub certificate: Option<ObjectName>,
    /// What its Ingresses ask to be the listener's default; `Some` only with `https`.
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
    certs: &dyn Fn(&ObjectName) -> CertState,
) -> (HostRow, Vec<Diag>) {
    let mut rows: Vec<_> = rows.iter().map(Arc::as_ref).filter(|row| row.has_host(host)).collect();
    rows.sort_by_key(|row| row.age());
    let mut diags = Vec::new();
    let blocks = blocks(host, &rows, &mut diags);
    let certificates = tls::choose(host, &rows, certs, &mut diags);

    let http = virtual_host(host, &blocks, ListenerKey::Http);
    let https = certificates.own.as_ref().and(virtual_host(host, &blocks, ListenerKey::Https));
    let is_https = https.is_some();
    let targets = [&http, &https].into_iter().flatten().flat_map(targets).cloned().collect();
    diags.sort();
    diags.dedup();
    let row = HostRow {
        http,
        https,
        certificate: certificates.own.filter(|_| is_https),
        default_certificate: certificates.default.filter(|_| is_https),
        secrets: certificates.secrets,
        targets,
    };
    (row, diags)
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
            } else if let Some(block) = rules.get(&rule.path) {
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

/// The rules of a host by path, oldest first.
#[derive(Default)]
struct Rules<'a> {
    blocks: Vec<Block<'a>>,
    by_path: BTreeMap<&'a PathMatch, usize>,
}

impl<'a> Rules<'a> {
    /// Gives the rule to the row, unless an older one has it.
    fn own(&mut self, row: &'a IngressRow, rule: &'a PathRule) -> Option<Diag> {
        match self.get(&rule.path) {
            Some(older) => {
                let message = format!("the same host and path are those of {}", place(older.at()));
                Some(Diag::error(&rule.at, Reason::RuleConflict, message))
            }
            None => {
                self.by_path.insert(&rule.path, self.blocks.len());
                self.blocks.push(Block::new(row, rule));
                None
            }
        }
    }

    fn get(&mut self, path: &PathMatch) -> Option<&mut Block<'a>> {
        self.by_path.get(path).and_then(|idx| self.blocks.get_mut(*idx))
    }

    /// All blocks in match order; the default only where no rule takes every path.
    fn ordered(self, default: Option<Block<'a>>) -> Vec<Block<'a>> {
        let is_open = !self.by_path.contains_key(&PathMatch::Any);
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

fn virtual_host(host: &Host, blocks: &[Block<'_>], listener: ListenerKey) -> Option<VirtualHost> {
    let routes: Vec<_> = blocks.iter().flat_map(|block| block.routes(listener)).collect();
    (!routes.is_empty()).then(|| VirtualHost { host: host.clone(), routes })
}

fn targets(host: &VirtualHost) -> impl Iterator<Item = &Arc<Target>> {
    host.routes
        .iter()
        .flat_map(|route| match &route.action {
            Action::Forward(forward) => forward.arms.as_slice(),
            Action::RedirectToHttps | Action::Deny => &[],
        })
        .map(|arm| &arm.target)
}

#[cfg(test)]
mod tests;
