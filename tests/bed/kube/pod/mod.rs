//! One pod, as a kubelet runs it.
//!
//! Owns the life of a pod: volumes and network, init containers, containers, an end with grace. Must not
//! know what its programs do, nor any test. Cost of a pod with a network of its own: a tenth of a second;
//! of a web-demo pod, which runs on an address of the common network: one process.

mod container;
mod env;
mod files;
mod image;
mod inside;
mod launch;
mod network;
mod payload;
mod probe;
mod root;
mod status;
mod user;
mod volumes;

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::api::core::v1::{self, Pod, PodSpec};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Preconditions},
};
use nix::sys::signal::Signal;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::{self, Instant},
};

use self::{
    container::{Container, Request, Role, Task},
    image::Image,
    inside::Inside,
    network::Sandbox,
    status::{Board, Reporter},
    volumes::Volumes,
};

/// Between attempts on an API that does not answer.
const PAUSE: Duration = Duration::from_millis(200);

/// What a kubelet gives a pod that says nothing.
const GRACE: u64 = 30;

/// What a test, or the API, wants of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// preStop, SIGTERM, SIGKILL after a grace period in seconds, and the pod is gone. Without one the
    /// pod's own is meant.
    Stop { grace: Option<u64> },
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

/// Orders with whom to tell that they were obeyed.
pub(super) type Orders = mpsc::Receiver<(Order, oneshot::Sender<()>)>;

/// Where a pod runs.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) cluster: &'static str,
    pub(crate) address: Ipv4Addr,
    /// The address of its node.
    pub(crate) host: Ipv4Addr,
    /// Where the ids of recorded requests go.
    pub(crate) record: PathBuf,
    /// Where files of pods go.
    pub(crate) dir: PathBuf,
    /// What pods have as `/etc/hosts`.
    pub(crate) hosts: PathBuf,
    /// Where pods reach the API.
    pub(crate) api: Ipv4Addr,
    /// Changes when every token is to be renewed before its time.
    pub(crate) renewals: watch::Receiver<u32>,
}

impl Place {
    /// Where the output of containers is.
    pub(crate) fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// The output of a container, of all its runs.
    pub(crate) fn log(&self, namespace: &str, pod: &str, container: &str) -> PathBuf {
        self.logs().join(format!("{namespace}_{pod}_{container}.log"))
    }
}

/// What the parts of a pod share.
pub(crate) struct Shared {
    client: Client,
    pod: Pod,
    place: Place,
    /// Processes by container, while they run: their ids, and ways in.
    running: Mutex<BTreeMap<String, (u32, Inside)>>,
    /// Ways to the containers that are not at their end.
    controls: Mutex<BTreeMap<String, mpsc::Sender<Request>>>,
    board: Board,
}

impl Shared {
    pub(crate) fn new(client: Client, pod: Pod, place: Place) -> Arc<Shared> {
        let board = Board::new(spec(&pod));
        let (running, controls) = Default::default();
        Arc::new(Shared { client, pod, place, running, controls, board })
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        self.place.address
    }

    /// Ids of processes by container.
    pub(crate) fn processes(&self) -> BTreeMap<String, u32> {
        let running = self.running.lock().unwrap();
        running.iter().map(|(name, (id, _))| (name.clone(), *id)).collect()
    }

    /// Runs a command in a container, and returns what it prints.
    ///
    /// # Errors
    /// What it says when it fails.
    pub(crate) async fn exec(&self, container: &str, words: &[&str]) -> Result<String, String> {
        let inside = self.running.lock().unwrap().get(container).map(|(_, inside)| inside.clone());
        let inside = inside.ok_or_else(|| format!("no container {container} runs"))?;
        let mut command = inside.command(words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = command.output().await.map_err(|e| e.to_string())?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    fn spec(&self) -> &PodSpec {
        spec(&self.pod)
    }

    fn namespace(&self) -> String {
        self.pod.namespace().expect("a pod has a namespace")
    }

    /// Where the files of this pod are.
    fn dir(&self) -> PathBuf {
        self.place.dir.join("pods").join(self.pod.uid().expect("an object of an API has a UID"))
    }

    fn log(&self, container: &str) -> PathBuf {
        self.place.log(&self.namespace(), &self.pod.name_any(), container)
    }

    /// Has every container do it; returns when all have.
    async fn command(&self, task: Task) {
        let controls: Vec<_> = self.controls.lock().unwrap().values().cloned().collect();
        for control in controls {
            let (done, obeyed) = oneshot::channel();
            // A container that ended meanwhile obeys no more.
            if control.send((task, done)).await.is_ok() {
                let _ = obeyed.await;
            }
        }
    }
}

fn spec(pod: &Pod) -> &PodSpec {
    pod.spec.as_ref().expect("the API server refuses a pod without a spec")
}

/// When a pod has to be gone.
type End = watch::Receiver<Option<Instant>>;

/// A pod that runs.
pub(crate) struct Running {
    shared: Arc<Shared>,
    orders: Orders,
    end: watch::Sender<Option<Instant>>,
    reporter: Reporter,
    life: JoinHandle<()>,
}

impl Running {
    pub(super) fn new(shared: Arc<Shared>, orders: Orders) -> Running {
        let (end, ending) = watch::channel(None);
        let reporter = Reporter::start(&shared);
        let life = tokio::spawn(live(shared.clone(), ending));
        Running { shared, orders, end, reporter, life }
    }

    /// Runs the pod until it is deleted.
    pub(crate) async fn run(mut self) {
        let mut changes = self.shared.board.changes();
        let mut is_over = false;
        while !(is_over && self.end.borrow().is_some()) {
            tokio::select! {
                _ = &mut self.life, if !is_over => is_over = true,
                Ok(()) = changes.changed() => self.reporter.report(),
                order = self.orders.recv() => {
                    let Some((order, done)) = order else { return };
                    self.obey(order).await;
                    // Whoever gave the order may have given up on it.
                    let _ = done.send(());
                }
            }
        }
        delete(self.shared.client.clone(), self.shared.pod.clone()).await;
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Stop { grace } => {
                let own = self.shared.spec().termination_grace_period_seconds;
                let own = own.and_then(|seconds| seconds.try_into().ok()).unwrap_or(GRACE);
                let end = Instant::now() + Duration::from_secs(grace.unwrap_or(own));
                // It is told again with every change of the pod; only an earlier end is news.
                self.end.send_if_modified(|known| {
                    let is_news = known.is_none_or(|known| end < known);
                    *known = if is_news { Some(end) } else { *known };
                    is_news
                });
            }
            Order::Kill => self.shared.command(Task::Kill).await,
            Order::Revive => self.shared.command(Task::Revive).await,
            Order::Pause => self.shared.command(Task::Signal(Signal::SIGSTOP)).await,
            Order::Resume => self.shared.command(Task::Signal(Signal::SIGCONT)).await,
            Order::Ready => self.reporter.force(true).await,
            Order::Unready => self.reporter.force(false).await,
        }
    }
}

/// What happens in a pod from its start to the end of its containers.
async fn live(shared: Arc<Shared>, mut end: End) {
    let place = tokio::select! {
        place = prepare(&shared) => Arc::new(place),
        _ = end.wait_for(Option::is_some) => return,
    };
    let container = |spec: &v1::Container, role, end: &End| {
        Container::new(shared.clone(), place.clone(), spec.clone(), role, end.clone()).run()
    };
    // Those beside the main containers end after them.
    let (end_beside, ending_beside) = watch::channel(None);
    let mut beside = JoinSet::new();
    for spec in shared.spec().init_containers.iter().flatten() {
        if spec.restart_policy.as_deref() == Some("Always") {
            beside.spawn(container(spec, Role::Sidecar, &ending_beside));
            let mut over = end.clone();
            tokio::select! {
                () = shared.board.started(&spec.name) => {}
                _ = over.wait_for(Option::is_some) => {}
            }
        } else {
            container(spec, Role::Init, &end).await;
        }
        if end.borrow().is_some() {
            break;
        }
    }
    if end.borrow().is_none() {
        shared.board.initialized();
        let specs = shared.spec().containers.iter();
        let main: JoinSet<()> = specs.map(|spec| container(spec, Role::Main, &end)).collect();
        main.join_all().await;
    }
    end_beside.send_replace(Some((*end.borrow()).unwrap_or_else(Instant::now)));
    beside.join_all().await;
}

/// What containers run in.
struct Surroundings {
    volumes: Volumes,
    /// None for programs that have an address of the common network.
    sandbox: Option<Sandbox>,
}

/// Tries until it has everything, as a kubelet does: a ConfigMap may come later.
async fn prepare(shared: &Arc<Shared>) -> Surroundings {
    let spec = shared.spec();
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let mut images = containers.filter_map(|container| Image::of(container).ok());
    let is_alone = images.any(Image::is_isolated);
    if !is_alone {
        return Surroundings { volumes: Volumes::none(), sandbox: None };
    }
    let volumes = loop {
        match Volumes::set_up(shared).await {
            Ok(volumes) => break volumes,
            Err(why) => shared.board.all_wait("ContainerCreating", &why),
        }
        time::sleep(PAUSE).await;
    };
    let sandbox = Some(Sandbox::make(shared.place.address, shared.place.host).await);
    Surroundings { volumes, sandbox }
}

/// Removes a pod whose processes have ended.
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
