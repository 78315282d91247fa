//! `AlbConfig` → what of a gateway its spec decides (semantics.md 2.2).
//!
//! What protects and cannot be honoured makes the spec invalid: a listener must not be open
//! because its list of addresses is in the vendor's store.

use std::{collections::BTreeMap, time::Duration};

use super::{Own, invalid};
use crate::{
    api::{AclConfig, AlbConfigSpec, AlbListener},
    cidr::Cidr,
    diag::{Diag, Field, Reason},
    gateway::knobs::Knobs,
    model::{Access, ClassRule, Edge, Listener, ListenerKey, Transport},
    settings::GatewayDefaults,
};

/// What the vendor's listeners do where the object says nothing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// A backend has a minute to begin its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const DEFAULT_PORT: i64 = 80;
/// As many as the vendor allows; every host is put together once for each.
const MAX_LISTENERS: usize = 50;

/// In seconds; a day is no limit in practice.
const TIMEOUTS: std::ops::RangeInclusive<i64> = 1..=24 * 3600;

/// A listener for each of the spec's; attached by class alone.
pub(super) fn read(spec: &AlbConfigSpec, knobs: &mut Knobs<'_>, defaults: &GatewayDefaults) -> Own {
    let at = knobs.root.key("spec");
    let base = Edge {
        idle_timeout: IDLE_TIMEOUT,
        request_timeout: Some(REQUEST_TIMEOUT),
        gzip: true,
        ..Edge::DEFAULT
    };
    let base = knobs.edge(base);
    // Whoever manages Envoys reads them again; here it is said what is wrong with them.
    _ = (knobs.size(), knobs.replicas());
    let declared = spec.listeners.as_deref().unwrap_or_default();
    let ports: Vec<u16> = declared.iter().filter_map(|own| port(own).ok()).collect();
    let mut problems = Vec::new();
    if spec.config.as_ref().and_then(|config| config.name.as_deref()) == Some("") {
        problems.push(invalid(&at.key("config").key("name"), "the name is empty".into()));
    }
    if declared.len() > MAX_LISTENERS {
        let message = format!("there are {} and may be {MAX_LISTENERS}", declared.len());
        problems.push(invalid(&at.key("listeners"), message));
    }
    let mut listeners = BTreeMap::new();
    for (idx, own) in declared.iter().enumerate() {
        let mut reader = Reader { at: at.index("listeners", idx), problems: &mut problems };
        knobs.diags.extend(ignored(own, &reader.at));
        let Some((key, edge)) = reader.listener(own, &base) else { continue };
        let public = key.port.unwrap_or_default();
        let port = super::place(public, &ports, defaults);
        if listeners.insert(key, Listener { port, edge }).is_some() {
            let at = &reader.at.key("port");
            problems.push(invalid(at, format!("there are two listeners on port {public}")));
        }
    }
    if listeners.is_empty() && problems.is_empty() {
        problems.push(invalid(&at.key("listeners"), "there is none that can be served".into()));
    }
    Own {
        listeners,
        access_log: spec.config.as_ref().is_some_and(|it| it.access_log_config.is_some()),
        tracing: None,
        class_rule: ClassRule::None,
        watch_namespace: None,
        problems,
    }
}

/// What is accepted and has no effect, said to whoever may expect one.
fn ignored(own: &AlbListener, at: &Field) -> Vec<Diag> {
    let mut found = Vec::new();
    let mut ignored = |key: &str, message: &str| {
        found.push(Diag::warning(&at.key(key), Reason::UnsupportedField, message));
    };
    if own.protocol.as_deref() == Some("QUIC") {
        ignored("protocol", "QUIC is not served; the listener is left out");
    }
    if own.certificates.as_ref().is_some_and(|list| !list.is_empty()) {
        ignored(
            "certificates",
            "certificates of the vendor's store are not used; name a Secret in `spec.tls` of an \
             Ingress",
        );
    }
    found
}

fn port(own: &AlbListener) -> Result<u16, i64> {
    let port = own.port.unwrap_or(DEFAULT_PORT);
    u16::try_from(port).ok().filter(|port| *port != 0).ok_or(port)
}

struct Reader<'a> {
    /// The listener.
    at: Field,
    problems: &'a mut Vec<Diag>,
}

impl Reader<'_> {
    /// `None` for one that is not served, or whose port is none.
    fn listener(&mut self, own: &AlbListener, base: &Edge) -> Option<(ListenerKey, Edge)> {
        let transport = match own.protocol.as_deref() {
            None | Some("HTTP") => Transport::Plaintext,
            Some("HTTPS") => Transport::Tls,
            Some("QUIC") => return None,
            Some(other) => {
                self.refuse("protocol", format!("{other:?} is none of HTTP, HTTPS and QUIC"));
                return None;
            }
        };
        if own.ca_enabled == Some(true) {
            let message = "certificates of clients are not verified, so the listener is not opened";
            self.refuse("caEnabled", message.into());
        }
        let edge = Edge {
            idle_timeout: self.seconds("idleTimeout", own.idle_timeout, base.idle_timeout),
            request_timeout: base
                .request_timeout
                .map(|default| self.seconds("requestTimeout", own.request_timeout, default)),
            http2: own.http2_enabled.unwrap_or(base.http2),
            gzip: own.gzip_enabled.unwrap_or(base.gzip),
            access: own.acl_config.as_ref().map(|acl| self.access(acl)).unwrap_or_default(),
            ..base.clone()
        };
        match port(own) {
            Ok(port) => Some((ListenerKey { transport, port: Some(port) }, edge)),
            Err(port) => {
                self.refuse("port", format!("{port} is not from 1 to 65535"));
                None
            }
        }
    }

    fn seconds(&mut self, key: &str, own: Option<i64>, default: Duration) -> Duration {
        let Some(seconds) = own else { return default };
        match u64::try_from(seconds) {
            Ok(whole) if TIMEOUTS.contains(&seconds) => Duration::from_secs(whole),
            Ok(_) | Err(_) => {
                let message = format!("{seconds} is not from 1 to {}", TIMEOUTS.end());
                self.refuse(key, message);
                default
            }
        }
    }

    fn access(&mut self, acl: &AclConfig) -> Access {
        if acl.acl_ids.as_ref().is_some_and(|ids| !ids.is_empty()) {
            let message = "lists of the vendor's store cannot be read; use aclEntries";
            self.refuse("aclConfig.aclIds", message.into());
        }
        let mut ranges = Vec::new();
        for text in acl.acl_entries.iter().flatten() {
            match Cidr::parse(text.trim()) {
                Some(range) => ranges.push(range),
                None => {
                    self.refuse("aclConfig.aclEntries", format!("{text:?} is not a range"));
                }
            }
        }
        match acl.acl_type.as_deref() {
            Some("White") if ranges.is_empty() => {
                self.refuse("aclConfig.aclEntries", "a white list needs entries".into());
                Access::Open
            }
            Some("White") => Access::Only(ranges),
            Some("Black") if ranges.is_empty() => Access::Open,
            Some("Black") => Access::Except(ranges),
            None if ranges.is_empty() => Access::Open,
            other => {
                let other = other.unwrap_or_default();
                self.refuse("aclConfig.aclType", format!("{other:?} is neither White nor Black"));
                Access::Open
            }
        }
    }

    fn refuse(&mut self, key: &str, message: String) {
        self.problems.push(invalid(&self.at.key(key), message));
    }
}
