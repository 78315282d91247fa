//! The election over the API: one round every few seconds, and at once when there is news.
//!
//! Owns the `Lease` object. Must not decide anything: [`Election`] does. Cost: a read each round,
//! and a write each round of the holder.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::api::{Api, PostParams};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::status::lease::{Election, Knowledge, Record};

/// Which gateways have Envoys, by id, with commas between.
const ACKNOWLEDGED: &str = "convoy.dev/acknowledged";

/// Whether this replica writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tenure {
    /// Which one it is; 0 before the first.
    pub term: u64,
    held_until: Option<Instant>,
    /// What the replicas have told each other.
    pub(super) acknowledged: BTreeSet<String>,
}

impl Tenure {
    /// Whether a request may be made now.
    pub fn is_held(&self, now: Instant) -> bool {
        self.held_until.is_some_and(|until| now < until)
    }
}

/// A replica in the election.
pub(super) struct Candidate {
    pub(super) leases: Api<Lease>,
    pub(super) name: String,
    pub(super) election: Election,
    pub(super) knowledge: watch::Receiver<Knowledge>,
    pub(super) tenure: watch::Sender<Tenure>,
    /// Between two rounds. A round that takes longer than this has failed.
    pub(super) retry_period: Duration,
}

impl Candidate {
    /// Takes part until `stop` is raised, then gives the lease back.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut is_well = true;
        loop {
            match timeout(self.retry_period, self.round()).await.context("no answer in time") {
                Ok(Ok(())) => is_well = true,
                Err(err) | Ok(Err(err)) => {
                    if std::mem::replace(&mut is_well, false) {
                        tracing::warn!(
                            lease = self.name,
                            error = format!("{err:#}"),
                            "cannot take part in the election"
                        );
                    }
                }
            }
            tokio::select! {
                () = sleep(self.retry_period) => {}
                Ok(()) = self.knowledge.changed() => {}
                _ = stop.wait_for(|raised| *raised) => break,
            }
        }
        // Best effort: without it the others wait for the lease to run out.
        _ = timeout(self.retry_period, self.give_back()).await;
    }

    async fn round(&mut self) -> Result<()> {
        let stored = self.leases.get_opt(&self.name).await.context("read the lease")?;
        let record = stored.as_ref().map(read);
        let own = self.knowledge.borrow_and_update().clone();
        let asked = Instant::now();
        let next = self.election.step(record.as_ref(), &own, asked, Timestamp::now());
        // Another's lease is news before anything is written.
        self.publish(record.as_ref());
        if let Some(next) = next {
            self.store(stored, &next).await?;
            self.election.stored(&next, asked);
            self.publish(Some(&next));
        }
        Ok(())
    }

    async fn store(&self, stored: Option<Lease>, next: &Record) -> Result<()> {
        let params = PostParams::default();
        // The version that was read goes with it: whoever wrote in between wins.
        let written = match stored {
            Some(stored) => self.leases.replace(&self.name, &params, &write(stored, next)).await,
            None => {
                let metadata =
                    ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
                let fresh = Lease { metadata, ..Lease::default() };
                self.leases.create(&params, &write(fresh, next)).await
            }
        };
        match written {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                bail!("another replica wrote the lease first")
            }
            Err(err) => Err(err).context("write the lease"),
        }
    }

    async fn give_back(&mut self) -> Result<()> {
        let Some(stored) = self.leases.get_opt(&self.name).await? else { return Ok(()) };
        if let Some(next) = self.election.release(&read(&stored)) {
            self.store(Some(stored), &next).await?;
        }
        self.publish(None);
        Ok(())
    }

    fn publish(&self, record: Option<&Record>) {
        let next = Tenure {
            term: self.election.term(),
            held_until: self.election.held_until(),
            acknowledged: record.map(|own| own.acknowledged.clone()).unwrap_or_default(),
        };
        self.tenure.send_if_modified(|own| {
            let is_news = *own != next;
            *own = next;
            is_news
        });
    }
}

fn read(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    let acknowledged = lease.metadata.annotations.as_ref().and_then(|all| all.get(ACKNOWLEDGED));
    let ids = acknowledged.map_or("", |ids| ids).split(',').filter(|id| !id.is_empty());
    let seconds = spec.lease_duration_seconds.and_then(|n| u64::try_from(n).ok());
    Record {
        holder: spec.holder_identity.unwrap_or_default(),
        duration: Duration::from_secs(seconds.unwrap_or_default()),
        renewed: spec.renew_time.map(|time| time.0),
        acquired: spec.acquire_time.map(|time| time.0),
        transitions: spec.lease_transitions.unwrap_or_default(),
        acknowledged: ids.map(str::to_owned).collect(),
    }
}

fn write(mut lease: Lease, record: &Record) -> Lease {
    let Record { holder, duration, renewed, acquired, transitions, acknowledged } = record;
    // The API wants whole seconds, and more than none.
    let seconds = i32::try_from(duration.as_secs()).unwrap_or(i32::MAX).max(1);
    let annotations = lease.metadata.annotations.get_or_insert_with(BTreeMap::new);
    let ids: Vec<_> = acknowledged.iter().map(String::as_str).collect();
    annotations.insert(ACKNOWLEDGED.to_owned(), ids.join(","));
    let spec = lease.spec.unwrap_or_default();
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(holder.clone()),
        lease_duration_seconds: Some(seconds),
        renew_time: renewed.map(MicroTime),
        acquire_time: acquired.map(MicroTime),
        lease_transitions: Some(*transitions),
        ..spec
    });
    lease
}
