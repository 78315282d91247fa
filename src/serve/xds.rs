//! How the xDS server proves who it is, and how Envoys do.
//!
//! Owns what of the identity room runs, and what a token of a ServiceAccount means for gateways.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use anyhow::{Context, Result};
use kube::Client;
use tokio::sync::watch;

use crate::{
    admin,
    identity::{
        Materials, Report,
        authority::{self, Authority},
        files, token,
    },
    key::ObjectName,
    serve::kubernetes::Task,
    settings::IdentityTimings,
    xds::{Access, Bearer, Tokens, XdsListen},
};

/// Where Envoys connect, and what they must prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XdsOptions {
    /// Where Envoys connect.
    pub listen: XdsListen,
    /// What protects an address; a unix socket is protected by its file mode and has no need of it.
    pub security: XdsSecurity,
    /// Whether an Envoy may send a token of a ServiceAccount of the fleet in place of a certificate.
    pub tokens: bool,
}

/// What protects an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum XdsSecurity {
    /// Nothing: whoever reaches it reads every key. For development, and for unix sockets.
    Plaintext,
    /// Certificates that somebody brings into a directory: `tls.crt`, `tls.key`, `ca.crt`.
    Files(PathBuf),
    /// Certificates of Convoy's own authority, which is kept in the fleet.
    Authority(authority::Options),
}

/// What runs of the identity room; it ends when this is dropped.
pub(super) struct Identity {
    pub(super) access: Access,
    /// What is known about certificates; none without.
    pub(super) report: Option<watch::Receiver<Report>>,
    /// What issues certificates for Envoys; never known without an authority of our own.
    pub(super) authority: watch::Receiver<Option<Arc<Authority>>>,
    pub(super) tasks: Vec<Task>,
}

/// Starts what the options ask for.
///
/// # Errors
/// The directory of certificates cannot be watched, or the fleet is no Kubernetes where it must be.
pub(super) fn start(
    options: &XdsOptions,
    fleet: Option<&Client>,
    engine: &watch::Receiver<admin::Report>,
    timings: IdentityTimings,
) -> Result<Identity> {
    let fleet = |what: &str| {
        let client = fleet.cloned();
        client.with_context(|| format!("{what} needs a fleet on Kubernetes"))
    };
    let mut tasks = Vec::new();
    let mut issuer = watch::channel(None).1;
    let certificates: Option<(Materials, watch::Receiver<Report>)> = match &options.security {
        XdsSecurity::Plaintext => None,
        XdsSecurity::Files(dir) => {
            let files::Running { materials, report, task } = files::follow(dir)?;
            tasks.push(Task(task));
            Some((materials, report))
        }
        XdsSecurity::Authority(own) => {
            let client = fleet("Convoy's own certificate authority")?;
            let authority::Running { materials, report, task, authority } =
                authority::spawn(client, own.clone(), timings);
            issuer = authority;
            tasks.push(Task(task));
            Some((materials, report))
        }
    };
    let report = certificates.as_ref().map(|(_, report)| report.clone());
    let access = match (&options.listen, certificates) {
        (XdsListen::Unix(_), _) | (XdsListen::Tcp(_), None) => Access::Open,
        (XdsListen::Tcp(_), Some((materials, _))) => {
            let mut accounts = None;
            if options.tokens {
                let (tokens, task) = token::spawn(fleet("verifying tokens")?, timings);
                tasks.push(Task(task));
                accounts = Some(verify(tokens, engine.clone()));
            }
            Access::Tls { materials, tokens: accounts }
        }
    };
    Ok(Identity { access, report, authority: issuer, tasks })
}

/// A token is for the gateways that name its ServiceAccount.
fn verify(tokens: token::Tokens, engine: watch::Receiver<admin::Report>) -> Tokens {
    Arc::new(move |token| {
        let account = tokens.verify(token, SystemTime::now()).map_err(|why| why.to_string())?;
        let report = engine.borrow().clone();
        if !report.published {
            return Err("the gateways have not been read yet".to_owned());
        }
        let token::Account { namespace, name, pod } = account;
        let account = ObjectName::new(&namespace, &name);
        let own =
            report.declared.iter().filter(|(_, own)| own.envoy_account.as_ref() == Some(&account));
        let gateways = own.map(|(gateway, _)| gateway.clone()).collect();
        Ok(Bearer { name: format!("ServiceAccount {account}"), gateways, pod })
    })
}
