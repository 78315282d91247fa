//! On which listeners of its gateway an Ingress is (semantics.md 2.3).

use std::collections::BTreeSet;

use crate::{
    diag::{Diag, Field, Reason},
    ingress::{
        row::{IngressRow, Role},
        tls,
    },
    model::{Host, ListenerKey, Transport},
};

/// On which listeners the rules of an Ingress are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listens {
    /// On all that the gateway has.
    Everywhere,
    /// On those that it names.
    On {
        /// Where it names them.
        at: Field,
        /// Empty where they cannot be read.
        listeners: BTreeSet<ListenerKey>,
    },
    /// Hosts with a certificate on 443, the others on 80; on 80 too what is redirected.
    ByCertificate {
        /// The object.
        at: Field,
    },
}

impl IngressRow {
    /// Whether its rules of the host are on the listener.
    pub(super) fn is_on(&self, host: &Host, listener: ListenerKey) -> bool {
        self.follows() || self.asked(host).is_none_or(|asked| asked.contains(&listener))
    }

    /// A canary that names no listeners is where its main is.
    fn follows(&self) -> bool {
        let is_free = matches!(self.listens, Listens::Everywhere | Listens::ByCertificate { .. });
        is_free && self.role != Role::Main
    }

    /// What is said of rules for listeners that the gateway does not have.
    pub(super) fn unheard(&self, host: &Host, listeners: &[ListenerKey]) -> Vec<Diag> {
        let at = match &self.listens {
            Listens::Everywhere => return Vec::new(),
            Listens::ByCertificate { .. } if self.follows() => return Vec::new(),
            Listens::On { at, .. } | Listens::ByCertificate { at } => at,
        };
        let asked = self.asked(host).unwrap_or_default();
        let missing = asked.iter().filter(|asked| !listeners.contains(asked));
        let diag = |key: &ListenerKey| {
            let port = key.port.unwrap_or_default();
            let protocol = match key.transport {
                Transport::Plaintext => "HTTP",
                Transport::Tls => "HTTPS",
            };
            // The first words are the vendor's.
            let message = format!(
                "listener is not exist in alb, port: {port}: the gateway has no {protocol} \
                 listener on it, so these rules are not served there"
            );
            Diag::error(at, Reason::ListenerNotFound, message)
        };
        missing.map(diag).collect()
    }

    /// The listeners that it asks for; `None` for all.
    fn asked(&self, host: &Host) -> Option<BTreeSet<ListenerKey>> {
        let key = |transport, port| ListenerKey { transport, port: Some(port) };
        match &self.listens {
            Listens::Everywhere => None,
            Listens::On { listeners, .. } => Some(listeners.clone()),
            Listens::ByCertificate { .. } => {
                let has_certificate = tls::entry_for(host, self).is_some();
                let secure = has_certificate.then(|| key(Transport::Tls, 443));
                let is_plain = !has_certificate || self.policy.redirects_to_https;
                let plain = is_plain.then(|| key(Transport::Plaintext, 80));
                Some(secure.into_iter().chain(plain).collect())
            }
        }
    }
}
