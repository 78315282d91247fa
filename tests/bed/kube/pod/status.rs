//! What is known of a pod's containers, and the status that says so.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::core::v1::{
        Container, ContainerState, ContainerStateTerminated, ContainerStateWaiting,
        ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodSpec, PodStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::{sync::watch, time};

use super::{PAUSE, Shared};

/// What is known of containers.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    is_initialized: bool,
    init: Vec<ContainerStatus>,
    main: Vec<ContainerStatus>,
}

/// Where containers note what becomes of them.
pub(super) struct Board(watch::Sender<Known>);

impl Board {
    pub(super) fn new(spec: &PodSpec) -> Board {
        let init: Vec<_> = spec.init_containers.iter().flatten().map(created).collect();
        let main = spec.containers.iter().map(created).collect();
        Board(watch::Sender::new(Known { is_initialized: false, init, main }))
    }

    pub(super) fn changes(&self) -> watch::Receiver<impl Sized + use<>> {
        self.0.subscribe()
    }

    /// Notes something of one container.
    pub(super) fn note(&self, container: &str, change: impl FnOnce(&mut ContainerStatus)) {
        self.modify(|known| {
            let mut statuses = known.init.iter_mut().chain(&mut known.main);
            let status = statuses.find(|status| status.name == container);
            change(status.expect("a container of this pod"));
        });
    }

    /// The main containers may start.
    pub(super) fn initialized(&self) {
        self.modify(|known| known.is_initialized = true);
    }

    /// None can start yet.
    pub(super) fn all_wait(&self, reason: &str, message: &str) {
        self.modify(|known| {
            for status in known.init.iter_mut().chain(&mut known.main) {
                status.state = Some(waiting(reason, message));
            }
        });
    }

    /// Returns when a container has started.
    pub(super) async fn started(&self, container: &str) {
        let is_it = |it: &ContainerStatus| it.name == container && it.started == Some(true);
        let mut changes = self.0.subscribe();
        let _ = changes.wait_for(|known| known.init.iter().any(is_it)).await;
    }

    fn modify(&self, change: impl FnOnce(&mut Known)) {
        self.0.send_if_modified(|known| {
            let before = known.clone();
            change(known);
            *known != before
        });
    }
}

fn created(container: &Container) -> ContainerStatus {
    let image = container.image.clone().unwrap_or_default();
    ContainerStatus {
        name: container.name.clone(),
        image_id: image.clone(),
        image,
        started: Some(false),
        state: Some(waiting("PodInitializing", "")),
        ..ContainerStatus::default()
    }
}

pub(super) fn waiting(reason: &str, message: &str) -> ContainerState {
    let message = (!message.is_empty()).then(|| message.to_owned());
    let waiting = ContainerStateWaiting { message, reason: Some(reason.to_owned()) };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

pub(super) fn now() -> Time {
    Time(Timestamp::now())
}

/// Tells the API, and asks again while it does not answer; what is told is what is known then.
pub(super) struct Reporter {
    forced: watch::Sender<Option<bool>>,
    /// Counts what there is to tell.
    wanted: watch::Sender<u64>,
    told: watch::Receiver<u64>,
}

impl Reporter {
    /// It ends with the value that is returned.
    pub(super) fn start(shared: &Arc<Shared>) -> Reporter {
        let (forced, wanted, (telling, told)) =
            (watch::Sender::new(None), watch::Sender::new(0), watch::channel(0));
        let teller = Teller {
            shared: shared.clone(),
            board: shared.board.0.subscribe(),
            forced: forced.subscribe(),
            started: now(),
            conditions: BTreeMap::new(),
        };
        tokio::spawn(teller.run(wanted.subscribe(), telling));
        let reporter = Reporter { forced, wanted, told };
        reporter.report();
        reporter
    }

    /// There is news.
    pub(super) fn report(&self) {
        self.wanted.send_modify(|count| *count += 1);
    }

    /// Has the status say whether the pod is ready, and returns when the API knows.
    pub(super) async fn force(&mut self, is_ready: bool) {
        self.forced.send_replace(Some(is_ready));
        self.report();
        let count = *self.wanted.borrow();
        let _ = self.told.wait_for(|told| *told >= count).await;
    }
}

struct Teller {
    shared: Arc<Shared>,
    board: watch::Receiver<Known>,
    forced: watch::Receiver<Option<bool>>,
    started: Time,
    conditions: BTreeMap<&'static str, PodCondition>,
}

impl Teller {
    async fn run(mut self, mut wanted: watch::Receiver<u64>, telling: watch::Sender<u64>) {
        let pods: Api<Pod> = Api::namespaced(self.shared.client.clone(), &self.shared.namespace());
        let (name, params) = (self.shared.pod.name_any(), PatchParams::default());
        while wanted.changed().await.is_ok() {
            loop {
                let count = *wanted.borrow_and_update();
                let patch = Patch::Merge(json!({"status": self.status()}));
                match pods.patch_status(&name, &params, &patch).await {
                    Err(kube::Error::Api(refusal)) if refusal.code >= 429 => {}
                    // A refusal: the pod is gone, or another has its name.
                    Ok(_) | Err(kube::Error::Api(_)) => {
                        telling.send_replace(count);
                        break;
                    }
                    Err(_) => {}
                }
                time::sleep(PAUSE).await;
            }
        }
    }

    fn status(&mut self) -> PodStatus {
        let known = self.board.borrow().clone();
        let is_ready = known.main.iter().all(|it| it.ready);
        let forced = *self.forced.borrow();
        let is_ready = forced.unwrap_or(is_ready);
        let as_said = |it: &ContainerStatus| ContainerStatus {
            ready: forced.unwrap_or(it.ready),
            ..it.clone()
        };
        let main = known.main.iter().map(as_said).collect();
        let place = &self.shared.place;
        let (host, address) = (place.host.to_string(), place.address.to_string());
        PodStatus {
            phase: Some(phase(&known, self.shared.spec()).to_owned()),
            host_ips: Some(vec![HostIP { ip: host.clone() }]),
            host_ip: Some(host),
            pod_ips: Some(vec![PodIP { ip: address.clone() }]),
            pod_ip: Some(address),
            start_time: Some(self.started.clone()),
            conditions: Some(self.conditions([
                ("PodScheduled", true),
                ("Initialized", known.is_initialized),
                ("ContainersReady", is_ready),
                ("Ready", is_ready),
            ])),
            init_container_statuses: (!known.init.is_empty()).then_some(known.init),
            container_statuses: Some(main),
            ..PodStatus::default()
        }
    }

    /// A condition is as old as its last change.
    fn conditions(&mut self, holds: [(&'static str, bool); 4]) -> Vec<PodCondition> {
        for (kind, holds) in holds {
            let status = if holds { "True" } else { "False" };
            let known = self.conditions.get(kind).is_some_and(|known| known.status == status);
            if !known {
                let condition = PodCondition {
                    type_: kind.to_owned(),
                    status: status.to_owned(),
                    last_transition_time: Some(now()),
                    ..PodCondition::default()
                };
                self.conditions.insert(kind, condition);
            }
        }
        self.conditions.values().cloned().collect()
    }
}

/// Pending until every container has run once; then Running until all have ended for good.
fn phase(known: &Known, spec: &PodSpec) -> &'static str {
    let state = |status: &ContainerStatus| status.state.clone().unwrap_or_default();
    let has_run =
        |status: &ContainerStatus| state(status).waiting.is_none() || status.last_state.is_some();
    if !known.is_initialized || !known.main.iter().all(has_run) {
        return "Pending";
    }
    let ends: Option<Vec<ContainerStateTerminated>> =
        known.main.iter().map(|status| state(status).terminated).collect();
    match ends.filter(|_| spec.restart_policy.as_deref() != Some("Always")) {
        None => "Running",
        Some(ends) if ends.iter().all(|end| end.exit_code == 0) => "Succeeded",
        Some(_) => "Failed",
    }
}
