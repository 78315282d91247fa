//! Names of Envoy resources, formed from identity and never from position.
//!
//! The only place that forms names. Distinct identities have distinct names (faults.md F21).

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    key::ObjectName,
    model::{Form, Link, ListenerKey, Target, Transport},
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
/// subset with its own rest, `…~hash` for any other chain (semantics.md 5.4, Targets).
pub fn target(target: &Target) -> Arc<str> {
    let first = target.chain.first().expect("invariant: a chain is never empty");
    let own = Target::of(first.backend.clone(), first.subset.clone());
    if *target == own {
        return link(first).into();
    }
    let canonical: Vec<_> = target.chain.iter().map(link).collect();
    // 40 bits: with the readable part in front, a clash needs the same backend and subset twice.
    let hash = xxh3_64(canonical.join(">").as_bytes()) >> 24;
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

fn link(link: &Link) -> String {
    let at = if link.subset.is_all() { "" } else { "@" };
    format!("{}{at}{}", link.backend, link.subset)
}
