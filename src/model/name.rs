//! Names of Envoy resources, formed from identity and never from position.
//!
//! The only place that forms names. Distinct identities have distinct names (faults.md F21).

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    key::ObjectName,
    model::{
        Balance, Form, HashKey, HealthCheck, Link, ListenerKey, Probe, ProbeMethod, Target,
        Transport,
    },
};

/// Name of the listener and of its route table.
pub fn listener(key: ListenerKey) -> Arc<str> {
    let transport = match key.transport {
        Transport::Plaintext => "http",
        Transport::Tls => "https",
    };
    match key.port {
        None => transport.into(),
        Some(port) => format!("{transport}-{port}").into(),
    }
}

/// Name of the readiness listener, which has no route table of its own.
pub const READY: &str = "ready";

/// Name of the cluster that takes spans. Names of targets have a slash.
pub const COLLECTOR: &str = "convoy-otlp-collector";

/// Name of a target's assignment, in both forms: `namespace/service:port`, `…@subset` for a
/// subset with its own rest, `…~hash` for any other target (semantics.md 5.4, Targets).
pub fn target(target: &Target) -> Arc<str> {
    let first = target.chain.first().expect("invariant: a chain is never empty");
    let own = Target::of(first.backend.clone(), first.subset.clone());
    if *target == own {
        return link(first).into();
    }
    // 40 bits: with the readable part in front, a clash needs the same backend and subset twice.
    let hash = xxh3_64(canonical(target).as_bytes()) >> 24;
    format!("{}~{hash:010x}", link(first)).into()
}

/// Name of the second assignment of a composite target.
pub fn members(target: &str) -> Arc<str> {
    format!("{target}/members").into()
}

/// Name of the cluster that routes use.
pub fn routed(target: &str, form: Form) -> Arc<str> {
    match form {
        Form::Plain => target.into(),
        Form::Composite => format!("{target}/anywhere").into(),
    }
}

/// Name of a certificate's resource: the Secret's namespace and name.
pub fn certificate(secret: &ObjectName) -> Arc<str> {
    secret.to_string().into()
}

/// The Service of the cluster or assignment of this name; `None` for the [`COLLECTOR`].
pub fn service(name: &str) -> Option<ObjectName> {
    let (namespace, rest) = name.split_once('/')?;
    let (service, _) = rest.split_once(':')?;
    Some(ObjectName::new(namespace, service))
}

/// All of a target as text, which no other target has: no name in a chain has a `;`, and whatever
/// a user may write freely stands behind its length.
fn canonical(target: &Target) -> String {
    let Target { chain, weights, health_check, balance } = target;
    let mut text = chain.iter().map(link).collect::<Vec<_>>().join(">");
    if !weights.is_empty() {
        let weights = weights.iter().map(|(member, weight)| format!("{member}:{weight}"));
        text += &format!(";weights={}", weights.collect::<Vec<_>>().join(","));
    }
    if let Some(check) = health_check {
        text += &format!(";check={}", checked(check));
    }
    text += &match balance {
        Balance::RoundRobin => String::new(),
        Balance::LeastRequest => ";least".to_owned(),
        Balance::Hash(HashKey::SourceAddress) => ";hash=source".to_owned(),
        Balance::Hash(HashKey::Query(name)) => format!(";hash=query {}", free(name)),
        Balance::Hash(HashKey::Cookie { name, ttl }) => {
            let ttl = ttl.map(|ttl| format!(" {}", ttl.as_nanos())).unwrap_or_default();
            format!(";hash=cookie {}{ttl}", free(name))
        }
    };
    text
}

fn checked(check: &HealthCheck) -> String {
    let HealthCheck { probe, timeout, interval, healthy, unhealthy, port } = check;
    let (timeout, interval) = (timeout.as_nanos(), interval.as_nanos());
    let port = port.map_or(0, u16::from);
    let probe = match probe {
        Probe::Tcp => "tcp".to_owned(),
        Probe::Http { path, method, statuses } => {
            let method = match method {
                ProbeMethod::Get => "get",
                ProbeMethod::Head => "head",
            };
            let statuses: Vec<_> = statuses.iter().map(ToString::to_string).collect();
            format!("{method} {} {}", free(path), statuses.join(","))
        }
    };
    format!("{probe} {timeout} {interval} {healthy} {unhealthy} {port}")
}

fn free(text: &str) -> String {
    format!("{}:{text}", text.len())
}

fn link(link: &Link) -> String {
    let at = if link.subset.is_all() { "" } else { "@" };
    format!("{}{at}{}", link.backend, link.subset)
}

#[cfg(test)]
mod tests;
