//! Which hosts are served over TLS, and with which Secret (semantics.md 4.10).

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    diag::{Diag, Reason},
    ingress::{
        assemble::HostRow,
        block::place,
        row::{IngressRow, TlsEntry, TlsScope},
    },
    key::ObjectName,
    model::{self, Host, ListenerKey, TlsHosts},
    store,
};

/// What the store says of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertState {
    /// There is none of this name.
    Missing,
    /// It never held a pair that can be served.
    Unusable(String),
    /// A pair is served.
    Usable {
        /// Why it is not the newest content of the Secret.
        problem: Option<String>,
    },
}

impl CertState {
    /// The state of a Secret that the store may have.
    pub fn of(secret: Option<&store::Secret>) -> CertState {
        let Some(secret) = secret else { return CertState::Missing };
        match &secret.pair {
            Some(_) => CertState::Usable { problem: secret.problem.clone() },
            None => {
                let problem = secret.problem.as_deref();
                CertState::Unusable(problem.unwrap_or("it holds no certificate").into())
            }
        }
    }
}

/// A certificate for clients that name no host. The least is the one that is served.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DefaultCertificate {
    /// Age of the Ingress that asks for it.
    pub created: i64,
    /// The Ingress.
    pub ingress: ObjectName,
    /// Its Secret.
    pub secret: ObjectName,
}

/// Certificates of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Certificates {
    /// The host's own, if it can be served.
    pub(super) own: Option<ObjectName>,
    /// What the host's Ingresses ask to be the default, if it can be served.
    pub(super) default: Option<DefaultCertificate>,
    /// Every Secret that this depends on.
    pub(super) secrets: BTreeSet<ObjectName>,
}

/// Chooses for one host. The oldest Ingress with TLS for the host decides, even if its Secret
/// cannot be served: a certificate that comes back must not have been taken over meanwhile.
pub(super) fn choose(
    host: &Host,
    rows: &[&IngressRow],
    certs: &dyn Fn(&ObjectName) -> CertState,
    diags: &mut Vec<Diag>,
) -> Certificates {
    let mut chosen = Certificates::default();
    let mut is_usable = |entry: &TlsEntry, diags: &mut Vec<Diag>| {
        chosen.secrets.insert(entry.secret.clone());
        let (is_usable, diag) = judge(entry, &certs(&entry.secret));
        diags.extend(diag);
        is_usable
    };
    let mut winner: Option<&TlsEntry> = None;
    for row in rows {
        let Some(entry) = entry_for(host, row) else { continue };
        match winner {
            None => {
                winner = Some(entry);
                chosen.own = is_usable(entry, diags).then(|| entry.secret.clone());
            }
            Some(older) if older.secret == entry.secret => {}
            Some(older) => {
                let message = format!("{host} is served with the Secret of {}", place(&older.at));
                diags.push(Diag::error(&entry.at, Reason::RuleConflict, message));
            }
        }
    }
    let defaults = rows.iter().filter_map(|row| Some((row, default_entry(row)?)));
    chosen.default = defaults
        .filter(|(_, entry)| is_usable(entry, diags))
        .map(|(row, entry)| DefaultCertificate {
            created: row.created,
            ingress: row.name.clone(),
            secret: entry.secret.clone(),
        })
        .min();
    chosen
}

/// The certificates of a TLS listener, from all hosts of its gateway.
///
/// Clients that name no host get the default of the oldest Ingress that has one; their requests
/// are then routed by `Host` like all others (semantics.md 9, row 124).
pub fn tls_hosts<'a>(
    listener: ListenerKey,
    hosts: impl IntoIterator<Item = (&'a Host, &'a HostRow)>,
) -> TlsHosts {
    let mut chains: Vec<(Host, Arc<str>)> = Vec::new();
    let mut default: Option<&DefaultCertificate> = None;
    for (host, row) in hosts.into_iter().filter(|(_, row)| row.on.contains_key(&listener)) {
        match (host, &row.certificate) {
            (Host::Exact(_) | Host::Wildcard(_), Some(secret)) => {
                chains.push((host.clone(), model::name::certificate(secret)));
            }
            (Host::Exact(_) | Host::Wildcard(_), None) | (Host::Any, _) => {}
        }
        default = default.into_iter().chain(&row.default_certificate).min();
    }
    chains.extend(default.map(|it| (Host::Any, model::name::certificate(&it.secret))));
    chains.sort();
    TlsHosts { chains }
}

/// The entry that names the host, else the first that names none.
pub(super) fn entry_for<'a>(host: &Host, row: &'a IngressRow) -> Option<&'a TlsEntry> {
    let names = |entry: &&TlsEntry| match &entry.scope {
        TlsScope::Hosts(hosts) => hosts.contains(host),
        TlsScope::Default => false,
    };
    row.tls.iter().find(names).or_else(|| default_entry(row))
}

fn default_entry(row: &IngressRow) -> Option<&TlsEntry> {
    row.tls.iter().find(|entry| entry.scope == TlsScope::Default)
}

/// Whether the Secret of an entry can be served, and what is wrong with it.
fn judge(entry: &TlsEntry, state: &CertState) -> (bool, Option<Diag>) {
    let at = entry.at.key("secretName");
    let secret = &entry.secret;
    match state {
        CertState::Missing => {
            let message = format!("Secret {secret} does not exist: not served over TLS");
            (false, Some(Diag::error(&at, Reason::SecretNotFound, message)))
        }
        CertState::Unusable(problem) => {
            let message = format!("Secret {secret}: {problem}: not served over TLS");
            (false, Some(Diag::error(&at, Reason::InvalidSecret, message)))
        }
        CertState::Usable { problem: None } => (true, None),
        CertState::Usable { problem: Some(problem) } => {
            let message = format!("Secret {secret}: {problem}: its last good pair is served");
            (true, Some(Diag::warning(&at, Reason::InvalidSecret, message)))
        }
    }
}

#[cfg(test)]
mod tests;
