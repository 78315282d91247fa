//! How the operator's own cluster is found: a flag, the environment, or the account of a Pod.
//!
//! Owns the order in which these are tried. Only what the operator wrote is read here, which may
//! name files and programs; what others wrote goes through the registry's sanitiser.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::settings::SourceTimings;

/// A client with the credentials of [`config`].
///
/// # Errors
/// There are no credentials, or they cannot be read. Whether anything answers is not tried.
pub async fn connect(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Client> {
    Client::try_from(config(kubeconfig, context).await?).context("set up a client of the fleet")
}

/// Credentials from this file, or, without one, from `$KUBECONFIG` or `~/.kube/config`; without a
/// context that has to be in one of these, those of the Pod this runs in. `kube` follows no
/// redirects.
///
/// # Errors
/// There are no credentials, or they cannot be read.
pub async fn config(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Config> {
    let options =
        KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let mut config = match (kubeconfig, context) {
        (Some(file), _) => {
            let reading = || format!("read {}", file.display());
            let kubeconfig = Kubeconfig::read_from(file).with_context(reading)?;
            Config::from_custom_kubeconfig(kubeconfig, &options).await.with_context(reading)?
        }
        (None, Some(_)) => {
            Config::from_kubeconfig(&options).await.context("read $KUBECONFIG or ~/.kube/config")?
        }
        (None, None) => infer(&options).await?,
    };
    config.connect_timeout = Some(SourceTimings::PRODUCTION.connect);
    Ok(config)
}

async fn infer(options: &KubeConfigOptions) -> Result<Config> {
    let no_kubeconfig = match Config::from_kubeconfig(options).await {
        Ok(config) => return Ok(config),
        Err(error) => error,
    };
    Config::incluster().map_err(|no_pod| {
        anyhow!("there is no kubeconfig ({no_kubeconfig}), and this is no Pod ({no_pod})")
    })
}
