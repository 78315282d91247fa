//! One pod: its process, and what its status says.

use std::{future, net::Ipv4Addr, ops::ControlFlow, path::PathBuf, process::Stdio, time::Duration};

use k8s_openapi::{
    api::core::v1::{Container, Pod},
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::{mpsc, oneshot},
    time,
};

/// Between attempts on an API that does not answer, and before a container that ended runs again.
const PAUSE: Duration = Duration::from_millis(200);

/// Where web-demo listens: the guide's manifest says nothing, its Service does.
const WEB_DEMO_PORT: u16 = 8080;

/// What a test, or the API, wants of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// SIGTERM, SIGKILL after the grace period, and the pod is gone.
    Stop,
    /// SIGKILL, and no machine is left that could say so: the status stays.
    Kill,
    /// Runs again after [`Order::Kill`].
    Revive,
    /// SIGSTOP: connections are accepted, by the kernel, and nothing answers.
    Pause,
    /// SIGCONT.
    Resume,
    /// The status says ready, whatever the process does.
    Ready,
    /// The status says not ready, whatever the process does.
    Unready,
}

/// Where a pod runs.
pub(crate) struct Place {
    pub(crate) cluster: &'static str,
    pub(crate) address: Ipv4Addr,
    /// The address of its node.
    pub(crate) host: Ipv4Addr,
    /// Where the ids of recorded requests go.
    pub(crate) record: PathBuf,
}

/// A pod that runs.
pub(crate) struct Running {
    client: Client,
    pod: Pod,
    place: Place,
    orders: mpsc::Receiver<(Order, oneshot::Sender<()>)>,
    process: Option<Child>,
    restarts: u32,
    started: Timestamp,
}

/// What a container is said to do.
enum State<'a> {
    Running { ready: bool },
    Waiting { reason: &'a str, message: String },
}

impl Running {
    pub(crate) fn new(
        client: Client,
        pod: Pod,
        place: Place,
        orders: mpsc::Receiver<(Order, oneshot::Sender<()>)>,
    ) -> Running {
        let started = Timestamp::now();
        Running { client, pod, place, orders, process: None, restarts: 0, started }
    }

    /// Runs the pod until it is deleted.
    pub(crate) async fn run(mut self) {
        self.start().await;
        loop {
            tokio::select! {
                () = ended(&mut self.process) => self.start_again().await,
                order = self.orders.recv() => {
                    let Some((order, done)) = order else { return };
                    if self.obey(order).await.is_break() {
                        return;
                    }
                    // Whoever gave the order may have given up on it.
                    let _ = done.send(());
                }
            }
        }
    }

    async fn start(&mut self) {
        match self.launch().await {
            Ok(()) => self.report(State::Running { ready: true }).await,
            Err((reason, message)) => self.report(State::Waiting { reason, message }).await,
        }
    }

    async fn start_again(&mut self) {
        self.process = None;
        self.restarts += 1;
        let message = "the container ended".to_owned();
        self.report(State::Waiting { reason: "CrashLoopBackOff", message }).await;
        time::sleep(PAUSE).await;
        self.start().await;
    }

    async fn obey(&mut self, order: Order) -> ControlFlow<()> {
        match order {
            Order::Stop => {
                self.end().await;
                delete(self.client.clone(), self.pod.clone()).await;
                return ControlFlow::Break(());
            }
            Order::Kill => {
                if let Some(mut process) = self.process.take() {
                    process.kill().await.unwrap();
                }
            }
            Order::Revive => {
                if self.process.is_none() {
                    self.launch().await.unwrap();
                }
            }
            Order::Pause => self.signal(Signal::SIGSTOP),
            Order::Resume => self.signal(Signal::SIGCONT),
            Order::Ready => self.report(State::Running { ready: true }).await,
            Order::Unready => self.report(State::Running { ready: false }).await,
        }
        ControlFlow::Continue(())
    }

    /// Starts the process and waits until it listens; else the reason as a kubelet gives it.
    async fn launch(&mut self) -> Result<(), (&'static str, String)> {
        let container = self.container();
        let mut command = match image_name(container) {
            "web-demo" => self.web_demo(container),
            other => return Err(("ErrImagePull", format!("the bed has no image {other}"))),
        };
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let failed = |e: std::io::Error| ("RunContainerError", e.to_string());
        let mut process = command.spawn().map_err(failed)?;
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        match lines.next_line().await.map_err(failed)? {
            Some(_) => self.process = Some(process),
            None => return Err(("RunContainerError", "it ended before it listened".to_owned())),
        }
        Ok(())
    }

    fn web_demo(&self, container: &Container) -> Command {
        let named = |name: &str| {
            let found = container.env.iter().flatten().find(|variable| variable.name == name);
            found.and_then(|variable| variable.value.as_deref()).unwrap_or_default()
        };
        let declared = container.ports.iter().flatten().next().map(|port| port.container_port);
        let port = declared.map_or(WEB_DEMO_PORT, |port| port.try_into().unwrap());
        let app = self.pod.labels().get("app").map_or("", String::as_str);
        let mut command = Command::new(env!("CARGO_BIN_EXE_convoy"));
        command
            .arg("echo")
            .arg(format!("--env={}", named("ENV_NAME")))
            .arg(format!("--cluster={}", self.place.cluster))
            .arg(format!("--svc={app}"))
            .arg(format!("--pod={}={}:{port}", self.pod.name_any(), self.place.address))
            .arg(format!("--record={}", self.place.record.display()));
        command
    }

    /// SIGTERM, and SIGKILL after the pod's grace period.
    async fn end(&mut self) {
        let grace = self.pod.spec.as_ref().and_then(|it| it.termination_grace_period_seconds);
        let grace = Duration::from_secs(grace.unwrap_or(30).try_into().unwrap());
        self.signal(Signal::SIGTERM);
        // A paused process hears of it only when it goes on.
        self.signal(Signal::SIGCONT);
        if let Some(mut process) = self.process.take()
            && time::timeout(grace, process.wait()).await.is_err()
        {
            process.kill().await.unwrap();
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.process.as_ref().and_then(Child::id) {
            kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
        }
    }

    fn container(&self) -> &Container {
        let spec = self.pod.spec.as_ref().unwrap();
        spec.containers.first().expect("the API server refuses a pod without containers")
    }

    async fn report(&self, state: State<'_>) {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.pod.namespace().unwrap());
        let (name, params) = (self.pod.name_any(), PatchParams::default());
        let patch = Patch::Merge(json!({"status": self.status(state)}));
        persist(|| pods.patch_status(&name, &params, &patch)).await;
    }

    fn status(&self, state: State<'_>) -> Value {
        let since = self.started.to_string();
        let (phase, ready, state) = match state {
            State::Running { ready } => {
                ("Running", ready, json!({"running": {"startedAt": since}}))
            }
            State::Waiting { reason, message } => {
                ("Pending", false, json!({"waiting": {"reason": reason, "message": message}}))
            }
        };
        let condition = |kind: &str, holds: bool| {
            let status = if holds { "True" } else { "False" };
            json!({"type": kind, "status": status, "lastTransitionTime": Timestamp::now().to_string()})
        };
        let container = self.container();
        json!({
            "phase": phase,
            "hostIP": self.place.host,
            "hostIPs": [{"ip": self.place.host}],
            "podIP": self.place.address,
            "podIPs": [{"ip": self.place.address}],
            "startTime": since,
            "conditions": [
                condition("PodScheduled", true),
                condition("Initialized", true),
                condition("ContainersReady", ready),
                condition("Ready", ready),
            ],
            "containerStatuses": [{
                "name": container.name,
                "image": container.image,
                "imageID": container.image,
                "ready": ready,
                "started": ready,
                "restartCount": self.restarts,
                "state": state,
            }],
        })
    }
}

/// Removes a pod whose process has ended.
pub(crate) async fn delete(client: Client, pod: Pod) {
    let pods: Api<Pod> = Api::namespaced(client, &pod.namespace().unwrap());
    let preconditions = Preconditions { uid: pod.uid(), resource_version: None };
    let at_once = DeleteParams::default().grace_period(0).preconditions(preconditions);
    let name = pod.name_any();
    persist(|| pods.delete(&name, &at_once)).await;
}

/// Asks again while the API does not answer or is too busy; a refusal ends it: the pod is gone, or
/// another has its name.
async fn persist<T, F>(mut request: impl FnMut() -> F)
where
    F: Future<Output = Result<T, kube::Error>>,
{
    loop {
        match request().await {
            Ok(_) => return,
            Err(kube::Error::Api(refusal)) if refusal.code < 429 => return,
            Err(_) => time::sleep(PAUSE).await,
        }
    }
}

/// Returns when the process has ended; never without one.
async fn ended(process: &mut Option<Child>) {
    match process {
        Some(process) => {
            process.wait().await.unwrap();
        }
        None => future::pending().await,
    }
}

/// `web-demo` of `registry/acs/web-demo:0.5.0`.
fn image_name(container: &Container) -> &str {
    let image = container.image.as_deref().unwrap_or_default();
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split([':', '@']).next().unwrap_or(last)
}
