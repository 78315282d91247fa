//! Hosts: assembled from their Ingresses, and the targets and Secrets they use.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;

use crate::{
    engine::{Stages, findings::Row},
    ingress::{CertState, DefaultCertificate, HostRow, assemble},
    key::ObjectName,
    model::{Host, ListenerKey, Transport},
};

use super::{Changed, GatewayState};

/// One host with what is cached of it.
#[derive(Debug)]
pub(super) struct HostState {
    pub(super) row: HostRow,
    /// The encoded virtual host of each listener that it is on.
    pub(super) encoded: BTreeMap<ListenerKey, Bytes>,
}

impl GatewayState {
    /// Assembles hosts, and keeps the indexes of the targets and Secrets they use.
    pub(super) fn assemble(
        &mut self,
        hosts: BTreeSet<Host>,
        stages: &mut Stages<'_>,
        changed: &mut Changed,
    ) {
        let listeners: Vec<_> = self.gateway.listeners.keys().copied().collect();
        for host in hosts {
            let contributors = self.contributors.get(&host).into_iter().flatten();
            let rows: Vec<_> = contributors
                .filter_map(|(_, ingress)| stages.ingresses.get(ingress, self.dialect()))
                .collect();
            let (next, diags) = if rows.is_empty() {
                (None, Vec::new())
            } else {
                stages.work.hosts += 1;
                let certs = |secret: &ObjectName| {
                    CertState::of(stages.store.secret(secret).map(Arc::as_ref))
                };
                let (row, diags) = assemble(&host, &rows, &listeners, &certs);
                (Some(row), diags)
            };
            stages.findings.set(Row::Host(self.gateway.id.clone(), host.clone()), diags);
            self.replace_host(host, next, stages, changed);
        }
    }

    fn replace_host(
        &mut self,
        host: Host,
        next: Option<HostRow>,
        stages: &mut Stages<'_>,
        changed: &mut Changed,
    ) {
        let old = self.hosts.get(&host).map(|state| &state.row);
        if old == next.as_ref() {
            return;
        }
        changed.listeners |= old.map(certificates) != next.as_ref().map(certificates);
        let (old_targets, old_secrets) =
            old.map(|row| (row.targets.clone(), row.secrets.clone())).unwrap_or_default();
        let (new_targets, new_secrets) =
            next.as_ref().map(|row| (row.targets.clone(), row.secrets.clone())).unwrap_or_default();
        let gateway = &self.gateway.id;
        for target in new_targets.difference(&old_targets) {
            self.targets.start_use(target, &host, gateway, stages);
        }
        for target in old_targets.difference(&new_targets) {
            self.targets.end_use(target, &host);
        }
        self.targets.report_again(old_targets.union(&new_targets));
        for secret in new_secrets.difference(&old_secrets) {
            self.secrets.entry(secret.clone()).or_default().insert(host.clone());
            self.secret_uses.insert(secret.clone());
        }
        for secret in old_secrets.difference(&new_secrets) {
            self.end_secret_use(secret, &host);
        }
        match next {
            // The cached bytes are stale, and replaced by the stage that encodes.
            Some(row) => {
                _ = self.hosts.insert(host.clone(), HostState { row, encoded: BTreeMap::new() })
            }
            None => _ = self.hosts.remove(&host),
        }
        changed.hosts.insert(host);
    }

    fn end_secret_use(&mut self, secret: &ObjectName, host: &Host) {
        let Some(users) = self.secrets.get_mut(secret) else { return };
        users.remove(host);
        if users.is_empty() {
            self.secrets.remove(secret);
            self.secret_uses.insert(secret.clone());
        }
    }
}

/// What of a host TLS listeners depend on: which of them it is on, and with what.
fn certificates(
    row: &HostRow,
) -> (Vec<ListenerKey>, Option<&ObjectName>, Option<&DefaultCertificate>) {
    let is_served =
        |key: &&ListenerKey| row.certificate.is_some() && key.transport == Transport::Tls;
    (
        row.on.keys().filter(is_served).copied().collect(),
        row.certificate.as_ref(),
        row.default_certificate.as_ref(),
    )
}
