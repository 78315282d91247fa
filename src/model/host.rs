//! Hosts of rules: exact, one leading wildcard label, or any (semantics.md 4.8).

use std::{fmt, sync::Arc};

/// A host as a rule names it, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// `example.com`.
    Exact(Arc<str>),
    /// `*.foo.com`, kept as `foo.com`; the star is exactly one label.
    Wildcard(Arc<str>),
    /// Any host that no other rule names.
    Any,
}

impl fmt::Display for Host {
    /// As an Envoy domain and as an Ingress writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Exact(host) => f.write_str(host),
            Host::Wildcard(suffix) => write!(f, "*.{suffix}"),
            Host::Any => f.write_str("*"),
        }
    }
}
