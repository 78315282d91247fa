//! A task for every registered member, as long as it is registered.
//!
//! Owns that members do not know each other: a slow one stalls nobody (faults.md A4), and one
//! whose task fails begins anew. Must not know what a task does.

use std::collections::BTreeMap;

use kube::Client;
use tokio::{
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use crate::{
    key::{MemberId, Scope},
    settings::SourceTimings,
    source::{
        Wanted,
        kube::{
            backoff::backoff,
            claims::Claims,
            member::{self, Common},
            meter::SourceMeter,
        },
        registry::{Registration, Registrations},
    },
    store::{Change, Health},
};

/// Reads every registered member until `changes` or `registrations` is closed.
///
/// A member is first heard of as [`Change::Register`]. Its objects come in one batch, when all of
/// its kinds were listed. `fleet` reaches the members that are the fleet itself.
pub fn spawn_members(
    fleet: Client,
    mut registrations: watch::Receiver<Registrations>,
    wanted: watch::Receiver<Wanted>,
    changes: mpsc::Sender<Vec<Change>>,
    meter: SourceMeter,
    timings: SourceTimings,
) -> JoinHandle<()> {
    let claims = Claims::default();
    let common = Common { fleet, wanted, changes: changes.clone(), claims, meter, timings };
    let mut supervisor = Supervisor { common, members: BTreeMap::new() };
    tokio::spawn(async move {
        loop {
            let now = registrations.borrow_and_update().clone();
            supervisor.follow(&now).await;
            tokio::select! {
                changed = registrations.changed() => if changed.is_err() { return },
                () = changes.closed() => return,
            }
        }
    })
}

struct Supervisor {
    common: Common,
    members: BTreeMap<MemberId, Supervised>,
}

/// A member that is read.
struct Supervised {
    registration: watch::Sender<Registration>,
    /// Ends with this.
    _task: JoinSet<()>,
}

impl Supervisor {
    async fn follow(&mut self, registrations: &BTreeMap<MemberId, Registration>) {
        let gone = self.members.extract_if(.., |id, _| !registrations.contains_key(id));
        let gone: Vec<_> = gone.map(|(id, _)| id).collect();
        for id in &gone {
            tracing::info!(member = %id, "no longer registered");
            self.common.claims.set(id, None);
        }
        if !gone.is_empty() {
            let changes = gone.into_iter().map(Change::Unregister).collect();
            // A closed channel ends the supervisor.
            self.common.changes.send(changes).await.ok();
        }
        for (id, registration) in registrations {
            match self.members.get(id) {
                Some(member) => {
                    member.registration.send_if_modified(|own| {
                        let is_news = own != registration;
                        own.clone_from(registration);
                        is_news
                    });
                }
                None => self.begin(id, registration),
            }
        }
    }

    fn begin(&mut self, id: &MemberId, registration: &Registration) {
        let (registration, changed) = watch::channel(registration.clone());
        let mut task = JoinSet::new();
        task.spawn(keep_reading(self.common.clone(), id.clone(), changed));
        self.members.insert(id.clone(), Supervised { registration, _task: task });
    }
}

/// Begins anew whenever the member's task panics. What the store knows of the member stays.
async fn keep_reading(common: Common, id: MemberId, registration: watch::Receiver<Registration>) {
    for failures in 1.. {
        let mut task = JoinSet::new();
        task.spawn(member::run(common.clone(), registration.clone()));
        let Some(Err(err)) = task.join_next().await else { return };
        let wait = backoff(failures, &common.timings);
        tracing::error!(member = %id, %err, ?wait, "the task of a member failed; it begins anew");
        let message = "reading it failed, and begins anew".to_owned();
        let health = Health::Stale { reason: "InternalError", message };
        let change = Change::Health(Scope::Member(id.clone()), health);
        if common.changes.send(vec![change]).await.is_err() {
            return;
        }
        sleep(wait).await;
    }
}
