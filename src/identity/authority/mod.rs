//! Convoy's own certificate authority, kept in one Secret of the fleet.
//!
//! Owns the Secret, the rotation of the authority, and what it issues: the certificate that Convoy
//! serves xDS with, made in memory by each replica, and on request those of the Envoys of a gateway.
//! Must not know who connects, nor where certificates of Envoys are kept. Cost: one read every few
//! seconds.
//!
//! All replicas do the same: what is to be written is a function of what the Secret says and of the
//! time, so whoever writes first wins and the others agree with it. What was read once is used until
//! something better is read: while the API is away, and while the Secret is gone or broken.

mod certificate;
mod content;
mod follow;
mod issue;
mod rotation;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use kube::{Api, Client};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    identity::{
        Materials, Report,
        authority::{follow::Follower, rotation::Found},
        report::said,
    },
    key::ObjectName,
    settings::IdentityTimings,
};

pub use content::Phase;
pub use issue::{Authority, IssueError, Issued};

/// An operator who changes this annotation of the Secret asks for a rotation; its value says nothing
/// but that it is another one.
pub const ROTATE: &str = "convoy.dev/rotate";

/// Whose authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The Secret that holds it.
    pub secret: ObjectName,
    /// DNS names of Convoy's own certificate: what Envoys expect of it. No other name is added.
    pub names: Vec<String>,
}

/// The running authority. All of it is unknown until the Secret was read, or written first.
#[derive(Debug)]
pub struct Running {
    /// What Convoy serves xDS with.
    pub materials: Materials,
    /// What issues certificates for Envoys.
    pub authority: watch::Receiver<Option<Arc<Authority>>>,
    /// What is known and what is wrong.
    pub report: watch::Receiver<Report>,
    /// Ends when it is aborted.
    pub task: JoinHandle<()>,
}

/// The authority as its Secret says it now, for who may read that.
///
/// # Errors
/// It cannot be read, or there is none in it.
pub async fn read(
    client: Client,
    secret: &ObjectName,
    timings: IdentityTimings,
) -> Result<Authority> {
    let stored = Api::namespaced(client, &secret.namespace).get_opt(&secret.name).await;
    let stored = stored.map_err(said).with_context(|| format!("get Secret {secret}"))?;
    match follow::found(stored.as_ref()) {
        Found::Content(content) => Ok(Authority::new(*content, timings)),
        Found::Nothing => bail!("there is no Secret {secret}: Convoy makes it when it starts"),
        Found::Broken(why) => bail!("Secret {secret}: {why}"),
    }
}

/// Starts to follow the Secret.
pub fn spawn(client: Client, options: Options, timings: IdentityTimings) -> Running {
    let (material, materials) = watch::channel(None);
    let (issuer, authority) = watch::channel(None);
    let (said, report) = watch::channel(Report::default());
    let secrets = Api::namespaced(client, &options.secret.namespace);
    let follower = Follower::new(secrets, options, timings, material, issuer, said);
    Running { materials, authority, report, task: tokio::spawn(follower.run()) }
}
