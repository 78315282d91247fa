//! The task that follows the Secret: reads it, writes it when something is due, and says what is.
//!
//! Owns the requests and their order. Must not decide what is written: [`plan`] does.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use anyhow::{Context, Result, anyhow};
use k8s_openapi::{
    ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, api::PostParams};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    identity::{
        Report,
        authority::{
            Authority, Options, ROTATE,
            content::{Content, Data, Phase},
            issue::Server,
            rotation::{Found, Plan, plan},
        },
        expiry::Countdown,
        material::Material,
        report::said,
    },
    settings::IdentityTimings,
};

/// Times that a look begins anew because another replica wrote first.
const RACES: usize = 3;

/// Of a Secret that Convoy creates. No Ingress can name one of this type, so the key of the authority
/// cannot end in a gateway by mistake.
const TYPE: &str = "Opaque";

/// Follows one Secret.
pub(super) struct Follower {
    secrets: Api<Secret>,
    options: Options,
    timings: IdentityTimings,
    material: watch::Sender<Option<Arc<Material>>>,
    authority: watch::Sender<Option<Arc<Authority>>>,
    report: watch::Sender<Report>,
    server: Option<Server>,
    countdown: Countdown,
}

/// How a write ended.
enum Written {
    Done,
    /// Another replica was first.
    Lost,
}

impl Follower {
    pub(super) fn new(
        secrets: Api<Secret>,
        options: Options,
        timings: IdentityTimings,
        material: watch::Sender<Option<Arc<Material>>>,
        authority: watch::Sender<Option<Arc<Authority>>>,
        report: watch::Sender<Report>,
    ) -> Follower {
        Follower {
            secrets,
            options,
            timings,
            material,
            authority,
            report,
            server: None,
            countdown: Countdown::default(),
        }
    }

    /// Looks again and again, until the task is aborted.
    pub(super) async fn run(mut self) {
        loop {
            let looked = timeout(self.timings.request, self.look()).await;
            let looked = looked.context("no answer in time").flatten();
            let now = SystemTime::now();
            let served = self.serve(now);
            self.say(looked.and(served));
            self.warn_of_the_end(now);
            sleep(self.timings.look).await;
        }
    }

    /// Reads the Secret, and takes the step that is due.
    async fn look(&mut self) -> Result<()> {
        for _ in 0..RACES {
            let stored = self.secrets.get_opt(&self.options.secret.name).await;
            let stored = stored.map_err(said).context("read it")?;
            let asked = stored.as_ref().and_then(asked);
            let found = found(stored.as_ref());
            if let Found::Content(content) = &found {
                self.adopt(content);
            }
            let known = self.authority.borrow().clone();
            let known = known.as_ref().map(|known| known.content());
            let now = SystemTime::now();
            match plan(known, found, asked.as_deref(), now, &self.timings)? {
                // It is in use since it was found.
                Plan::Adopt(_) => return Ok(()),
                Plan::Keep(why) => return Err(anyhow!("{why}; it is left as it is")),
                Plan::Write(next) => match self.write(stored, &next).await? {
                    Written::Lost => {}
                    Written::Done => {
                        self.adopt(&next);
                        return Ok(());
                    }
                },
            }
        }
        Err(anyhow!("others write it all the time"))
    }

    /// Writes over what was read, or nothing if it has changed since.
    async fn write(&self, stored: Option<Secret>, next: &Content) -> Result<Written> {
        let params = PostParams::default();
        let name = &self.options.secret.name;
        let written = match stored {
            Some(stored) => self.secrets.replace(name, &params, &filled(stored, next)).await,
            None => self.secrets.create(&params, &filled(empty(name), next)).await,
        };
        match written {
            Ok(_) => {
                tracing::info!(
                    secret = %self.options.secret,
                    phase = next.phase().as_str(),
                    "wrote the certificate authority"
                );
                Ok(Written::Done)
            }
            // 404: it was deleted since it was read.
            Err(kube::Error::Api(status)) if [409, 404].contains(&status.code) => Ok(Written::Lost),
            Err(error) => Err(said(error)).context("write it"),
        }
    }

    /// Uses what the Secret says from now on.
    fn adopt(&mut self, content: &Content) {
        let is_known =
            |own: &Option<Arc<Authority>>| own.as_ref().is_some_and(|own| own.content() == content);
        if is_known(&self.authority.borrow()) {
            return;
        }
        if let Some(known) = &*self.authority.borrow()
            && !known.content().trusted().any(|own| *own == content.signer.root)
        {
            tracing::warn!(
                secret = %self.options.secret,
                "another authority is there, which nobody trusted before: Envoys need new certificates"
            );
        }
        let next = Authority::new(content.clone(), self.timings);
        self.authority.send_replace(Some(Arc::new(next)));
        // Another authority signs, or others are trusted.
        self.server = None;
    }

    /// Makes what is served with, when it is due.
    fn serve(&mut self, now: SystemTime) -> Result<()> {
        let Some(authority) = self.authority.borrow().clone() else { return Ok(()) };
        if self.server.as_ref().is_some_and(|server| now < server.due) {
            return Ok(());
        }
        let server = authority.server(&self.options.names, now)?;
        self.material.send_replace(Some(server.material.clone()));
        self.server = Some(server);
        Ok(())
    }

    /// Of an authority that should have been replaced by now. What it issues ends with it.
    fn warn_of_the_end(&mut self, now: SystemTime) {
        let Some(authority) = self.authority.borrow().clone() else { return };
        let validity = authority.content().signer.root.validity;
        let is_late = now >= validity.due() && authority.content().phase() == Phase::Settled;
        let end = validity.not_after;
        if let Some(days) = is_late.then(|| self.countdown.news(end, now)).flatten() {
            tracing::error!(
                secret = %self.options.secret,
                days,
                "the certificate authority ends in so many days and cannot be replaced"
            );
        }
    }

    /// Says what is known, and in the log what is news.
    fn say(&self, looked: Result<()>) {
        let secret = &self.options.secret;
        let content = self.authority.borrow().clone();
        let content = content.as_ref().map(|own| own.content());
        let trouble = looked.err().map(|error| format!("Secret {secret}: {error:#}"));
        let next = Report {
            server_end: self.server.as_ref().map(|server| server.end),
            authority_end: content.map(|own| own.signer.root.validity.not_after),
            phase: content.map(Content::phase),
            trouble,
        };
        let before = self.report.borrow().clone();
        if before != next {
            self.report.send_replace(next.clone());
        }
        match (before.trouble, next.trouble) {
            (before, Some(trouble)) if before.as_ref() != Some(&trouble) => match content {
                Some(_) => tracing::warn!(
                    trouble,
                    "the certificate authority cannot be kept; the one known stays in use"
                ),
                None => tracing::error!(
                    trouble,
                    "there is no certificate authority: Envoys cannot connect"
                ),
            },
            (Some(_), None) => tracing::info!(%secret, "the certificate authority is kept again"),
            (_, Some(_)) | (None, None) => {}
        }
    }
}

fn asked(secret: &Secret) -> Option<String> {
    secret.metadata.annotations.as_ref()?.get(ROTATE).cloned()
}

pub(super) fn found(secret: Option<&Secret>) -> Found {
    let data = secret.and_then(|secret| secret.data.clone()).unwrap_or_default();
    let data: Data = data.into_iter().map(|(key, value)| (key, value.0)).collect();
    match Content::parse(&data) {
        Ok(None) => Found::Nothing,
        Ok(Some(content)) => Found::Content(Box::new(content)),
        Err(why) => Found::Broken(why),
    }
}

fn empty(name: &str) -> Secret {
    let labels = [
        ("app.kubernetes.io/name", "convoy"),
        ("app.kubernetes.io/component", "control-plane"),
        ("app.kubernetes.io/managed-by", "convoy"),
    ];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some(BTreeMap::from(labels)),
        ..ObjectMeta::default()
    };
    Secret { metadata, type_: Some(TYPE.to_owned()), ..Secret::default() }
}

/// The version that was read goes with it: whoever wrote in between wins.
fn filled(mut secret: Secret, content: &Content) -> Secret {
    let data = secret.data.take().unwrap_or_default();
    let mut data: Data = data.into_iter().map(|(key, value)| (key, value.0)).collect();
    content.write(&mut data);
    secret.data = Some(data.into_iter().map(|(key, value)| (key, ByteString(value))).collect());
    secret
}
