//! What is known about certificates, for `/metrics`, `/readyz` and the log.

use std::time::SystemTime;

use crate::identity::authority::Phase;

/// What this process proves itself with, and what is wrong about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// When the certificate ends that xDS is served with; none is known without.
    pub server_end: Option<SystemTime>,
    /// When the authority ends that signs it, where it is Convoy's own.
    pub authority_end: Option<SystemTime>,
    /// How far its rotation is.
    pub phase: Option<Phase>,
    /// What is wrong at the moment, with the name of what it is wrong with.
    pub trouble: Option<String>,
}

/// What an API server said, without all the rest that the error holds.
pub(super) fn said(error: kube::Error) -> anyhow::Error {
    if let kube::Error::Api(status) = error {
        return anyhow::anyhow!("{}", status.message);
    }
    error.into()
}
