//! The requests: an object that is read by name, or applied.
//!
//! Owns how the API is asked and what its answers mean. Must not decide what to write. Every request
//! looks at the lease first and has a time limit (faults.md C5, B7).

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::{sync::watch, time::timeout};

use crate::{
    admin::InfraMeter,
    infra::{Kind, observed::resource},
    status::Tenure,
};

/// Who owns the fields that we write.
pub(super) const FIELD_MANAGER: &str = "convoy";

/// Why an object is not as it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// This replica may not write any more.
    #[error("another replica writes")]
    NotHolder,
    /// Somebody else's object has the name.
    #[error("it exists and is not of this gateway, so it is left alone: rename or delete it")]
    NotOurs,
    /// What was applied is not there: an admission webhook, most likely, changes it.
    #[error("{0} does not stay as it is applied: something else changes it")]
    Changed(String),
    /// The API refuses, or does not answer.
    #[error("{message}")]
    Refused {
        /// What the API said, or what happened instead.
        message: String,
        /// How long the API asks to wait; zero if it does not say.
        after: Duration,
    },
}

/// Asks the fleet's API.
pub(super) struct Requests {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) tenure: watch::Receiver<Tenure>,
    pub(super) timeout: Duration,
    pub(super) meter: Arc<InfraMeter>,
}

impl Requests {
    /// An object by name; `None` if there is none.
    pub(super) async fn get(&self, kind: Kind, name: &str) -> Result<Option<Value>, Failure> {
        let object = self.ask(self.api(kind).get_opt(name)).await?;
        Ok(object.map(value))
    }

    /// Applies an object; as it is afterwards.
    pub(super) async fn apply(
        &self,
        kind: Kind,
        name: &str,
        document: &Value,
    ) -> Result<Value, Failure> {
        // Whoever else writes these fields is mistaken.
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let object = self.ask(self.api(kind).patch(name, &params, &Patch::Apply(document))).await?;
        self.meter.applied.fetch_add(1, Relaxed);
        Ok(value(object))
    }

    /// Writes a Service's ports over whatever is there. Server-side apply tells them apart by their
    /// number, so that one which somebody renumbered is theirs, and has a name that ours need.
    pub(super) async fn replace_ports(&self, name: &str, ports: &Value) -> Result<(), Failure> {
        let params =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(json!({"spec": {"ports": ports}}));
        self.ask(self.api(Kind::Service).patch(name, &params, &patch)).await.map(|_| ())
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource(kind))
    }

    async fn ask<T>(&self, request: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
        if !self.tenure.borrow().is_held(Instant::now()) {
            return Err(Failure::NotHolder);
        }
        match timeout(self.timeout, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(kube::Error::Api(status))) => {
                let after = status.details.as_ref().map_or(0, |own| own.retry_after_seconds);
                let after = Duration::from_secs(after.into());
                Err(Failure::Refused { message: status.message, after })
            }
            Ok(Err(err)) => Err(refused(err.to_string())),
            Err(_) => Err(refused("no answer in time".to_owned())),
        }
    }
}

fn refused(message: String) -> Failure {
    Failure::Refused { message, after: Duration::ZERO }
}

fn value(object: DynamicObject) -> Value {
    serde_json::to_value(object).expect("invariant: it came as JSON")
}
