//! A task for every registered member, as long as it is registered.
//!
//! Owns that members do not know each other: a slow one stalls nobody (faults.md A4), and one
//! whose task fails begins anew. Must not know what a task does.

use std::collections::BTreeMap;

use kube::Client;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::timeout,
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
/// its kinds were listed. `fleet` reaches the members that are the fleet itself. `registered`
/// resolves when all members that were registered at first have been heard of.
pub fn spawn_members(
    fleet: Client,
    mut registrations: watch::Receiver<Registrations>,
    wanted: watch::Receiver<Wanted>,
    changes: mpsc::Sender<Vec<Change>>,
    meter: SourceMeter,
    timings: SourceTimings,
    registered: oneshot::Sender<()>,
) -> JoinHandle<()> {
    let claims = Claims::default();
    let common = Common { fleet, wanted, changes: changes.clone(), claims, meter, timings };
    let mut supervisor = Supervisor { common, members: BTreeMap::new() };
    tokio::spawn(async move {
        let mut registered = Some(registered);
        loop {
            // Before the first change, the value means nothing.
            tokio::select! {
                changed = registrations.changed() => if changed.is_err() {
                    // Nobody declares members any more; those that are known are read on.
                    changes.closed().await;
                    return;
                },
                () = changes.closed() => return,
            }
            let now = registrations.borrow_and_update().clone();
            supervisor.follow(&now).await;
            // Nobody may care.
            registered.take().map(|registered| registered.send(()).ok());
        }
    })
}

struct Supervisor {
    common: Common,
    members: BTreeMap<MemberId, Supervised>,
}

/// A member that is read.
struct Supervised {
    /// The task ends when this is dropped.
    registration: watch::Sender<Registration>,
    task: JoinSet<()>,
}

impl Supervisor {
    async fn follow(&mut self, registrations: &BTreeMap<MemberId, Registration>) {
        let gone = self.members.extract_if(.., |id, _| !registrations.contains_key(id));
        for (id, Supervised { registration, mut task }) in gone.collect::<Vec<_>>() {
            tracing::info!(member = %id, "no longer registered");
            drop(registration);
            // What it has begun to say comes before what is said here.
            task.join_next().await;
            self.common.claims.set(&id, None);
            // A closed channel ends the supervisor.
            self.common.changes.send(vec![Change::Unregister(id)]).await.ok();
        }
        let new = registrations.iter().filter(|(id, _)| !self.members.contains_key(*id));
        let new: Vec<_> =
            new.map(|(id, own)| Change::Register(id.clone(), own.registered())).collect();
        if !new.is_empty() {
            self.common.changes.send(new).await.ok();
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
        let common = self.common.clone();
        let read = {
            let (common, changed) = (common.clone(), changed.clone());
            move || member::run(common.clone(), changed.clone())
        };
        task.spawn(keep_reading(read, id.clone(), common, changed));
        self.members.insert(id.clone(), Supervised { registration, task });
    }
}

/// Begins anew whenever the member's task panics. What the store knows of the member stays.
async fn keep_reading<R>(
    read: impl Fn() -> R,
    id: MemberId,
    common: Common,
    mut registration: watch::Receiver<Registration>,
) where
    R: Future<Output = ()> + Send + 'static,
{
    for failures in 1.. {
        let mut task = JoinSet::new();
        task.spawn(read());
        let Some(Err(err)) = task.join_next().await else { return };
        let wait = backoff(failures, &common.timings);
        tracing::error!(member = %id, %err, ?wait, "the task of a member failed; it begins anew");
        let message = "reading it failed, and begins anew".to_owned();
        let health = Health::Stale { reason: "InternalError", message };
        let change = Change::Health(Scope::Member(id.clone()), health);
        if common.changes.send(vec![change]).await.is_err() {
            return;
        }
        if timeout(wait, gone(&mut registration)).await.is_ok() {
            return;
        }
    }
}

async fn gone(registration: &mut watch::Receiver<Registration>) {
    while registration.changed().await.is_ok() {}
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use super::*;

    #[tokio::test]
    async fn a_member_whose_task_panics_is_stale_and_begins_anew() {
        let nowhere = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
        let (_asking, wanted) = watch::channel(Wanted::default());
        let (changes, mut said) = mpsc::channel(8);
        let common = Common {
            fleet: Client::try_from(nowhere).unwrap(),
            wanted,
            changes,
            claims: Claims::default(),
            meter: SourceMeter::default(),
            timings: SourceTimings::PRODUCTION.faster(20),
        };
        let id = MemberId::new("c1").unwrap();
        let (_declaring, changed) = watch::channel(crate::source::kube::tests::unreachable("c1"));
        let count = Arc::new(AtomicU32::new(0));
        let runs = count.clone();
        let read = move || {
            let run = runs.fetch_add(1, Ordering::Relaxed);
            async move { assert!(run >= 2, "a bug") }
        };
        keep_reading(read, id.clone(), common, changed).await;
        assert_eq!(count.load(Ordering::Relaxed), 3);
        for _ in 0..2 {
            let batch = said.recv().await.unwrap();
            let is_stale = matches!(
                batch.as_slice(),
                [Change::Health(Scope::Member(own), Health::Stale { reason: "InternalError", .. })]
                    if *own == id
            );
            assert!(is_stale, "{batch:?}");
        }
    }
}
