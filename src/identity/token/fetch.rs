//! The keys of the fleet that sign tokens, as its API server tells them.
//!
//! Owns when it is asked. The built-in ClusterRole `system:service-account-issuer-discovery`, which
//! is bound to every ServiceAccount, lets Convoy ask; its own roles need no rule for it.
//! What was read once is kept for as long as nothing newer is read.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use http::Request;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use kube::Client;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    identity::{
        report::said,
        token::{Keys, Tokens},
    },
    settings::IdentityTimings,
};

const DISCOVERY: &str = "/.well-known/openid-configuration";
/// Where every API server has them, whatever address it publishes for others.
const KEYS: &str = "/openid/v1/jwks";

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
}

#[derive(Deserialize)]
struct Published {
    keys: Vec<Value>,
}

/// Starts to fetch keys. The task ends when it is aborted.
pub fn spawn(client: Client, timings: IdentityTimings) -> (Tokens, JoinHandle<()>) {
    let (found, keys) = watch::channel(None);
    let wanted = watch::Sender::new(0);
    let tokens = Tokens { keys, wanted: wanted.clone(), leeway: timings.leeway };
    let fetcher = Fetcher { client, timings, found, wanted: wanted.subscribe(), is_well: true };
    (tokens, tokio::spawn(fetcher.run()))
}

struct Fetcher {
    client: Client,
    timings: IdentityTimings,
    found: watch::Sender<Option<Arc<Keys>>>,
    wanted: watch::Receiver<u64>,
    is_well: bool,
}

impl Fetcher {
    async fn run(mut self) {
        loop {
            let began = Instant::now();
            // What was asked for until now, this fetch answers.
            self.wanted.mark_unchanged();
            let fetched = timeout(self.timings.request, self.fetch()).await;
            self.note(fetched.context("no answer in time").flatten());
            let IdentityTimings { keys, keys_wanted, .. } = self.timings;
            let next = if self.is_well { keys } else { keys_wanted };
            tokio::select! {
                () = sleep_until(began + next) => {}
                Ok(()) = self.wanted.changed() => sleep_until(began + keys_wanted).await,
            }
        }
    }

    async fn fetch(&self) -> Result<Keys> {
        let Discovery { issuer } = self.get(DISCOVERY).await?;
        let Published { keys } = self.get(KEYS).await?;
        // One of a kind that is not known here does not spoil the others.
        let known = keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        let keys = Keys::new(issuer, &JwkSet { keys: known.collect() });
        if keys.by_id.is_empty() {
            bail!("{KEYS} has no key for ES256 or RS256");
        }
        Ok(keys)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let request = Request::get(path).body(Vec::new()).context("form a request")?;
        self.client.request(request).await.map_err(said).with_context(|| format!("get {path}"))
    }

    fn note(&mut self, fetched: Result<Keys>) {
        let was_well = std::mem::replace(&mut self.is_well, fetched.is_ok());
        match fetched {
            Ok(keys) => {
                self.found.send_replace(Some(Arc::new(keys)));
            }
            Err(error) if was_well => tracing::warn!(
                error = format!("{error:#}"),
                "cannot fetch the keys that sign ServiceAccount tokens; those known stay in use"
            ),
            Err(_) => {}
        }
    }
}
