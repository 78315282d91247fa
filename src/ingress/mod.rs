//! Ingresses and their annotations → the routes of one host (semantics.md 3, 4, 6).
//!
//! Two steps, so that a change of one object costs no more than its hosts. [`parse`] says all
//! that one Ingress says by itself; [`assemble`] puts together one host of one gateway from the
//! rows that contribute to it: conflicts, canaries, order, certificates.
//!
//! Owns the rules of hosts, paths, backends and canaries; one annotation concern a file. Must not
//! know resources, xDS, tokio or the kube client. Cost: linear in one Ingress; linear in the
//! rules of one host, but for a sort.

mod annotation;
mod assemble;
mod backend;
mod block;
mod dialect;
mod dns;
mod host;
mod listens;
mod parse;
mod path;
mod row;
mod split;
mod tls;

pub use annotation::{Canary, Choice, Policy, Share};
pub use assemble::{HostRow, assemble};
pub use dialect::Dialect;
pub use listens::Listens;
pub use parse::{MAX_ROUTES, parse};
pub use row::{Does, IngressRow, Order, PathRule, Role, TlsEntry, TlsScope};
pub use tls::{CertState, DefaultCertificate, tls_hosts};

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod properties;
