//! From changed rows to changed resources: hosts, tables, listeners and certificates.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    engine::{Stages, Work},
    ingress::tls_hosts,
    key::ObjectName,
    model::{Certificates, Host, ListenerKey, TlsHosts, Transport, name},
    resources,
    snapshot::{Kind, Resource},
};

use super::{Changed, GatewayState};

/// One write to the view: a resource, or its removal.
pub(super) type WriteParts = (Kind, Arc<str>, Option<Resource>);

/// One write to the view.
#[derive(Debug)]
pub(super) struct Write(WriteParts);

impl Write {
    /// Puts a resource that was just encoded.
    pub(super) fn put(resource: Resource, work: &mut Work) -> Write {
        work.bytes_encoded += resource.message().len() as u64;
        Write::put_wrapped(resource, work)
    }

    /// Puts a resource made of cached bytes.
    fn put_wrapped(resource: Resource, work: &mut Work) -> Write {
        work.resources += 1;
        Write((resource.kind, resource.name.clone(), Some(resource)))
    }

    /// Removes a resource.
    pub(super) fn remove((kind, name): (Kind, Arc<str>)) -> Write {
        Write((kind, name, None))
    }
}

impl From<Write> for WriteParts {
    fn from(write: Write) -> WriteParts {
        write.0
    }
}

impl GatewayState {
    /// Encodes changed hosts and wraps the tables and listeners around them.
    pub(super) fn encode(
        &mut self,
        changed: Changed,
        stages: &mut Stages<'_>,
        writes: &mut Vec<Write>,
    ) {
        for host in &changed.hosts {
            self.encode_host(host, stages);
        }
        if changed.listeners {
            for key in self.gone.iter().copied() {
                remove_listener(key, writes);
            }
            self.gone.clear();
            let mut certificates = Certificates::default();
            for key in self.gateway.listeners.keys().copied() {
                let hosts = self.hosts.iter().map(|(host, state)| (host, &state.row));
                let tls = match key.transport {
                    Transport::Plaintext => TlsHosts::default(),
                    Transport::Tls => tls_hosts(key, hosts),
                };
                let mechanisms = &stages.settings.mechanisms;
                match resources::listener::build(key, &self.gateway, &tls, mechanisms) {
                    Some(listener) => {
                        self.open.insert(key);
                        let secrets: BTreeSet<_> =
                            tls.chains.iter().map(|(_, secret)| secret.clone()).collect();
                        if !secrets.is_empty() {
                            certificates.insert(key, secrets);
                        }
                        writes.push(Write::put(listener, stages.work));
                    }
                    None => {
                        self.open.remove(&key);
                        remove_listener(key, writes);
                    }
                }
            }
            self.certificates = Arc::new(certificates);
            writes.push(Write::put(resources::ready::listener(&self.gateway), stages.work));
            writes.push(match &self.gateway.tracing {
                Some(tracing) => {
                    Write::put(resources::observe::collector(&tracing.collector), stages.work)
                }
                None => Write::remove((Kind::Cluster, name::COLLECTOR.into())),
            });
        }
        if changed.listeners || !changed.hosts.is_empty() {
            self.wrap_tables(stages, writes);
        }
    }

    fn encode_host(&mut self, host: &Host, stages: &mut Stages<'_>) {
        let Some(state) = self.hosts.get_mut(host) else { return };
        let shape_of = |target: &_| self.targets.shape(target);
        let mechanisms = &stages.settings.mechanisms;
        let work = &mut *stages.work;
        let gateway = &self.gateway;
        let encode = |(key, virtual_host): (&ListenerKey, &_)| {
            let front = gateway.front(gateway.listeners.get(key)?);
            let bytes = resources::route::encode_host(virtual_host, &front, &shape_of, mechanisms);
            work.bytes_encoded += bytes.len() as u64;
            Some((*key, bytes))
        };
        state.encoded = state.row.on.iter().filter_map(encode).collect();
    }

    fn wrap_tables(&self, stages: &mut Stages<'_>, writes: &mut Vec<Write>) {
        let ready = self.gateway.ready_listener();
        for key in self.gateway.listeners.keys().copied() {
            // A TLS listener that is not there has no table, unless it answers for readiness.
            if key != ready && !self.open.contains(&key) {
                continue;
            }
            let hosts = self.hosts.values().filter_map(|state| state.encoded.get(&key));
            let table = resources::layout::table(key, key == ready, hosts);
            // An unchanged table is dropped by the commit, for its version is the same.
            stages.work.bytes_copied += table.message().len() as u64;
            writes.push(Write::put_wrapped(table, stages.work));
        }
    }

    /// Publishes the certificates that hosts use.
    pub(super) fn certify(
        &mut self,
        touched: &BTreeSet<ObjectName>,
        stages: &mut Stages<'_>,
        writes: &mut Vec<Write>,
    ) {
        let mut secrets = std::mem::take(&mut self.secret_uses);
        *stages.references_moved |= !secrets.is_empty();
        secrets.extend(touched.iter().filter(|secret| self.uses_secret(secret)).cloned());
        for secret in secrets {
            let name = name::certificate(&secret);
            let row = stages.store.secret(&secret).filter(|_| self.uses_secret(&secret));
            match row.and_then(|row| row.pair.as_ref()) {
                Some(pair) => {
                    writes.push(Write::put(resources::secret::build(&name, pair), stages.work));
                }
                None => writes.push(Write::remove((Kind::Secret, name))),
            }
        }
    }
}

fn remove_listener(key: ListenerKey, writes: &mut Vec<Write>) {
    let name = name::listener(key);
    writes.push(Write::remove((Kind::Listener, name.clone())));
    writes.push(Write::remove((Kind::Route, name)));
}
