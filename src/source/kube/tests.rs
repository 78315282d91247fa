//! Members as a fleet sees them, on API servers that misbehave.

mod fake;
mod hostile;
mod lists;
mod members;
mod overlay;
mod rotation;
mod watches;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kube::Client;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout, timeout_at},
};

use super::{SourceMeter, spawn_members};
use crate::{
    key::{MemberId, ObjectKind, ObjectName, ObjectRef},
    settings::SourceTimings,
    source::{
        Wanted,
        registry::{
            Access, AccessError, Credentials, Network, Registration, Registrations, Revision,
        },
    },
    store::{Change, Health, Store},
};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Stale after 3.75 s.
const TIMINGS: fn() -> SourceTimings = || SourceTimings::PRODUCTION.faster(20);

/// A fleet that reads its members.
struct World {
    store: Store,
    members: BTreeMap<MemberId, Registration>,
    registrations: watch::Sender<Registrations>,
    wanted: watch::Sender<Wanted>,
    changes: mpsc::Receiver<Vec<Change>>,
    meter: SourceMeter,
    /// Whatever of a member was ever said, in order.
    said: Vec<String>,
}

impl World {
    fn new() -> World {
        World::with(TIMINGS())
    }

    fn with(timings: SourceTimings) -> World {
        let (registrations, declared) = watch::channel(Registrations::default());
        let (wanted, asked) = watch::channel(Wanted { is_known: true, ..Wanted::default() });
        let (sender, changes) = mpsc::channel(8);
        let meter = SourceMeter::default();
        let nowhere = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
        let fleet = Client::try_from(nowhere).unwrap();
        let (known, _) = oneshot::channel();
        spawn_members(fleet, declared, asked, sender, meter.clone(), timings, known);
        World {
            store: Store::default(),
            members: BTreeMap::new(),
            registrations,
            wanted,
            changes,
            meter,
            said: Vec::new(),
        }
    }

    fn register(&mut self, registration: Registration) {
        self.members.insert(registration.id.clone(), registration);
        self.registrations.send_replace(Arc::new(self.members.clone()));
    }

    fn edit(&mut self, id: &str, edit: impl FnOnce(&mut Registration)) {
        edit(self.members.get_mut(&member(id)).unwrap());
        self.registrations.send_replace(Arc::new(self.members.clone()));
    }

    fn take(&mut self, batch: Vec<Change>) {
        for change in batch {
            // A registration is said by the supervisor and by the member.
            if let Some(line) = line(&change).filter(|line| self.said.last() != Some(line)) {
                self.said.push(line);
            }
            self.store.apply(change);
        }
    }

    /// Takes in what comes until the store is as expected.
    #[track_caller]
    fn until(&mut self, what: &str, is_so: impl Fn(&World) -> bool) -> impl Future<Output = ()> {
        self.until_and(what, is_so, |_| {})
    }

    /// The same, and checks something after each batch.
    async fn until_and(
        &mut self,
        what: &str,
        is_so: impl Fn(&World) -> bool,
        check: impl Fn(&World),
    ) {
        while !is_so(self) {
            let batch = timeout(PATIENCE, self.changes.recv()).await;
            let batch = batch.unwrap_or_else(|_| panic!("never {what}: {:#?}", self.said));
            self.take(batch.expect("the source goes on"));
            check(self);
        }
    }

    /// Takes in what comes for a while, and checks something after each batch.
    async fn throughout(&mut self, time: Duration, check: impl Fn(&World)) {
        let end = Instant::now() + time;
        while let Ok(batch) = timeout_at(end, self.changes.recv()).await {
            self.take(batch.expect("the source goes on"));
            check(self);
        }
    }

    fn health(&self, id: &str) -> &Health {
        self.store.member(&member(id)).map_or(&Health::Connecting, |own| own.health())
    }

    fn is_live(&self, id: &str) -> bool {
        *self.health(id) == Health::Live
    }

    fn is_stale(&self, id: &str, expect: &str) -> bool {
        matches!(self.health(id), Health::Stale { reason, .. } if *reason == expect)
    }

    /// Names of Services, and the addresses behind them.
    fn served(&self, id: &str) -> String {
        let Some(own) = self.store.member(&member(id)) else { return String::new() };
        let services = own.services().map(|service| {
            let endpoints = own.slices(&service.name).flat_map(|slice| &slice.endpoints);
            let addresses = endpoints.filter_map(|own| own.address).map(|own| format!(" {own}"));
            format!("{}{}", service.name.name, addresses.collect::<String>())
        });
        services.collect::<Vec<_>>().join(", ")
    }
}

fn member(id: &str) -> MemberId {
    MemberId::new(id).unwrap()
}

fn at(server: &str) -> Result<Access, AccessError> {
    Ok(Access::Remote(Credentials::of_test(server)))
}

/// Declared by an object of the same name, as long ago as it says.
fn registration(id: &str, access: Result<Access, AccessError>, created: i64) -> Registration {
    Registration {
        id: member(id),
        revision: Revision::default(),
        locality: crate::store::Locality::default(),
        network: Network::Underlay,
        allowed_endpoints: None,
        allowed_namespaces: None,
        access,
        paused: false,
        cluster_uid: None,
        declared_by: ObjectRef::fleet(ObjectKind::Secret, ObjectName::new("convoy-system", id)),
        created,
    }
}

/// A member that never answers.
pub(super) fn unreachable(id: &str) -> Registration {
    registration(id, at("http://127.0.0.1:9"), 1)
}

fn line(change: &Change) -> Option<String> {
    Some(match change {
        Change::Replace(scope, kind, objects) => format!("{scope}: {} {kind}", objects.len()),
        Change::Synced(scope) => format!("{scope}: synced"),
        Change::Register(id, _) => format!("member {id}: registered"),
        Change::Unregister(id) => format!("member {id}: unregistered"),
        Change::Health(scope, Health::Stale { reason, message }) => {
            format!("{scope}: {reason}, {message}")
        }
        Change::Health(scope, health) => format!("{scope}: {health:?}"),
        Change::Upsert(..) | Change::Delete(..) => return None,
        Change::Listed(_) | Change::Report { .. } => return None,
    })
}
