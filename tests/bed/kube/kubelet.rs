//! The stand-in for a member's scheduler and kubelet: it binds each Pod to a node, runs it as a process
//! on an address of its own, and reports status. It learns of Pods by watch.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::Ipv4Addr,
    path::PathBuf,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    runtime::{
        WatchStreamExt,
        utils::Backoff,
        watcher::{self, Event, watcher},
    },
};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use tokio_stream::StreamExt;

use super::{
    cluster::Cluster,
    daemon::last_words,
    pod::{Order, Place, Running, Shared},
};

/// Enough to tell a pod's node from another.
const NODES: u8 = 2;

/// Whom a test may give orders to.
struct Handle {
    namespace: String,
    name: String,
    labels: BTreeMap<String, String>,
    orders: mpsc::Sender<(Order, oneshot::Sender<()>)>,
    pod: Arc<Shared>,
}

impl Handle {
    fn address(&self) -> Ipv4Addr {
        self.pod.address()
    }
}

/// Pods that run, by UID.
type Handles = Arc<Mutex<BTreeMap<String, Handle>>>;

/// All machines of one member.
pub(crate) struct Kubelet {
    handles: Handles,
    watch: JoinHandle<()>,
    common: Place,
    renewals: watch::Sender<u32>,
}

impl Kubelet {
    /// Makes the nodes and begins to run pods.
    pub(crate) async fn start(cluster: &Cluster) -> Kubelet {
        let client = cluster.client().await;
        for n in 1..=NODES {
            create_node(&client, cluster.number, n).await;
        }
        let handles = Handles::default();
        let renewals = watch::Sender::new(0);
        let common = Place {
            cluster: cluster.name,
            address: Ipv4Addr::UNSPECIFIED,
            host: Ipv4Addr::UNSPECIFIED,
            record: cluster.dir().join("deliveries"),
            dir: cluster.dir().join("kubelet"),
            hosts: cluster.hosts(),
            api: cluster.service_address(),
            renewals: renewals.subscribe(),
        };
        let machine = Machine {
            client,
            number: cluster.number,
            handles: handles.clone(),
            common: common.clone(),
            last_address: 0,
        };
        Kubelet { handles, watch: tokio::spawn(machine.run()), common, renewals }
    }

    /// Gives an order to every pod with the label `app=APP`; returns when all have obeyed, with their
    /// number.
    pub(crate) async fn order(&self, app: &str, order: Order) -> usize {
        let has_label = |handle: &&Handle| handle.labels.get("app").is_some_and(|it| it == app);
        let to: Vec<_> = {
            let handles = self.handles.lock().unwrap();
            handles.values().filter(has_label).map(|handle| handle.orders.clone()).collect()
        };
        for orders in &to {
            Self::give(orders, order).await;
        }
        to.len()
    }

    /// Gives an order to one pod.
    pub(crate) async fn order_pod(&self, namespace: &str, name: &str, order: Order) {
        let orders = {
            let handles = self.handles.lock().unwrap();
            let found = handles.values().find(|it| it.namespace == namespace && it.name == name);
            found.unwrap_or_else(|| panic!("no pod {namespace}/{name} runs")).orders.clone()
        };
        Self::give(&orders, order).await;
    }

    async fn give(orders: &mpsc::Sender<(Order, oneshot::Sender<()>)>, order: Order) {
        let (done, obeyed) = oneshot::channel();
        // A pod that ended meanwhile obeys no more; the test asks for what it sees.
        if orders.send((order, done)).await.is_ok() {
            let _ = obeyed.await;
        }
    }

    /// Pods that run: namespace, name, address.
    pub(crate) fn pods(&self) -> Vec<(String, String, Ipv4Addr)> {
        self.pods_where(|_| true)
    }

    /// Those of them that have a label.
    pub(crate) fn pods_with(&self, label: &str, value: &str) -> Vec<(String, String, Ipv4Addr)> {
        self.pods_where(|labels| labels.get(label).is_some_and(|it| it == value))
    }

    fn pods_where(
        &self,
        is_wanted: impl Fn(&BTreeMap<String, String>) -> bool,
    ) -> Vec<(String, String, Ipv4Addr)> {
        let handles = self.handles.lock().unwrap();
        let wanted = handles.values().filter(|it| is_wanted(&it.labels));
        let pod = |it: &Handle| (it.namespace.clone(), it.name.clone(), it.address());
        wanted.map(pod).collect()
    }

    /// The ids of the processes of a pod, by container; none of what does not run.
    pub(crate) fn processes(&self, namespace: &str, name: &str) -> BTreeMap<String, u32> {
        self.find(namespace, name).map(|pod| pod.processes()).unwrap_or_default()
    }

    /// Runs a command in a container, and returns what it prints.
    ///
    /// # Errors
    /// What it says when it fails.
    pub(crate) async fn exec(
        &self,
        (namespace, pod, container): (&str, &str, &str),
        words: &[&str],
    ) -> Result<String, String> {
        let pod = self.find(namespace, pod).ok_or_else(|| format!("no pod {pod} runs"))?;
        pod.exec(container, words).await
    }

    /// Where a pod is.
    pub(crate) fn address(&self, namespace: &str, name: &str) -> Option<Ipv4Addr> {
        self.find(namespace, name).map(|pod| pod.address())
    }

    fn find(&self, namespace: &str, name: &str) -> Option<Arc<Shared>> {
        let handles = self.handles.lock().unwrap();
        let found = handles.values().find(|it| it.namespace == namespace && it.name == name);
        found.map(|it| it.pod.clone())
    }

    /// Where the output of a container is, of all its runs, also when its pod is gone.
    pub(crate) fn log(&self, namespace: &str, pod: &str, container: &str) -> PathBuf {
        self.common.log(namespace, pod, container)
    }

    /// The same as text.
    pub(crate) fn output(&self, namespace: &str, pod: &str, container: &str) -> String {
        fs::read_to_string(self.log(namespace, pod, container)).unwrap_or_default()
    }

    /// How the output of every container ends, for the report of a failed test.
    pub(crate) fn autopsy(&self) -> String {
        let logs = fs::read_dir(self.common.logs()).into_iter().flatten().flatten();
        let mut logs: Vec<_> = logs.map(|entry| entry.path()).collect();
        logs.sort();
        logs.iter().map(|log| last_words(log)).collect::<Vec<_>>().join("\n")
    }

    /// Renews all tokens in pods now: the shortest that an API server gives is ten minutes old at its end.
    pub(crate) fn renew_tokens(&self) {
        self.renewals.send_modify(|count| *count += 1);
    }

    /// The ids of the requests that reached pods of this member, as often as they did.
    pub(crate) fn deliveries(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.common.record).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

async fn create_node(client: &Client, cluster: u8, n: u8) {
    let nodes: Api<Node> = Api::all(client.clone());
    let name = node_name(cluster, n);
    let zone = format!("zone-{cluster}");
    let labels = json!({
        "kubernetes.io/hostname": name,
        "topology.kubernetes.io/region": "region-1",
        "topology.kubernetes.io/zone": zone,
    });
    let node = from(json!({"metadata": {"name": name, "labels": labels}}));
    nodes.create(&PostParams::default(), &node).await.unwrap();
    // Admission taints a new node until somebody says that it is ready.
    let untainted = json!({"spec": {"taints": null}});
    nodes.patch(&name, &PatchParams::default(), &Patch::Merge(untainted)).await.unwrap();
    let room = json!({"cpu": "8", "memory": "16Gi", "pods": "250"});
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": node_address(cluster, n)}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        "capacity": room,
        "allocatable": room,
    }});
    nodes.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

fn node_name(cluster: u8, n: u8) -> String {
    format!("c{cluster}-node-{n}")
}

fn node_address(cluster: u8, n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, cluster, 2, n)
}

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// What runs pods.
struct Machine {
    client: Client,
    number: u8,
    handles: Handles,
    /// What places of pods have in common.
    common: Place,
    last_address: u8,
}

impl Machine {
    async fn run(mut self) {
        let pods: Api<Pod> = Api::all(self.client.clone());
        let mut events = pin!(watcher(pods, watcher::Config::default()).backoff(Steady));
        let mut listed = BTreeSet::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(pod)) => {
                    listed.extend(pod.uid());
                    self.see(&pod).await;
                }
                Ok(Event::InitDone) => self.keep_only(&listed).await,
                Ok(Event::Apply(pod)) => self.see(&pod).await,
                Ok(Event::Delete(pod)) => self.stop(&pod.uid().unwrap_or_default(), Some(0)).await,
                // An API server that a test killed; the stream tries again.
                Err(_) => {}
            }
        }
    }

    async fn see(&mut self, pod: &Pod) {
        let uid = pod.uid().unwrap();
        let runs = self.handles.lock().unwrap().contains_key(&uid);
        let spec = pod.spec.as_ref().unwrap();
        match (&pod.metadata.deletion_timestamp, &spec.node_name, runs) {
            (Some(_), _, true) => {
                let grace = pod.metadata.deletion_grace_period_seconds;
                self.stop(&uid, grace.and_then(|seconds| seconds.try_into().ok())).await;
            }
            // It was bound by an earlier watch, or never.
            (Some(_), _, false) => {
                tokio::spawn(super::pod::delete(self.client.clone(), pod.clone()));
            }
            (None, None, _) => {
                tokio::spawn(bind(self.client.clone(), pod.clone(), self.number));
            }
            (None, Some(node), false) => {
                // A pod of another node is run by whoever made that node up.
                if let Some(n) = (1..=NODES).find(|n| node_name(self.number, *n) == *node) {
                    self.start(uid, pod, n);
                }
            }
            (None, Some(_), true) => {}
        }
    }

    fn start(&mut self, uid: String, pod: &Pod, node: u8) {
        let (orders, inbox) = mpsc::channel(8);
        let place = Place {
            address: self.free_address(),
            host: node_address(self.number, node),
            ..self.common.clone()
        };
        let shared = Shared::new(self.client.clone(), pod.clone(), place);
        let handle = Handle {
            namespace: pod.namespace().unwrap(),
            name: pod.name_any(),
            labels: pod.labels().clone(),
            orders,
            pod: shared.clone(),
        };
        self.handles.lock().unwrap().insert(uid.clone(), handle);
        let running = Running::new(shared, inbox);
        let handles = self.handles.clone();
        tokio::spawn(async move {
            running.run().await;
            handles.lock().unwrap().remove(&uid);
        });
    }

    /// With a grace period in seconds; without one with the pod's own.
    async fn stop(&self, uid: &str, grace: Option<u64>) {
        let orders = self.handles.lock().unwrap().get(uid).map(|handle| handle.orders.clone());
        if let Some(orders) = orders {
            // It may be ending already.
            let _ = orders.send((Order::Stop { grace }, oneshot::channel().0)).await;
        }
    }

    /// Stops pods that were deleted while nobody watched.
    async fn keep_only(&self, listed: &BTreeSet<String>) {
        let known: Vec<_> = self.handles.lock().unwrap().keys().cloned().collect();
        for uid in known.iter().filter(|uid| !listed.contains(*uid)) {
            self.stop(uid, Some(0)).await;
        }
    }

    /// Not the one that a pod has just left: who still sends there must not meet another.
    fn free_address(&mut self) -> Ipv4Addr {
        let used: BTreeSet<_> =
            self.handles.lock().unwrap().values().map(Handle::address).collect();
        loop {
            self.last_address = self.last_address % 254 + 1;
            let address = Ipv4Addr::new(10, self.number, 1, self.last_address);
            if !used.contains(&address) {
                return address;
            }
        }
    }
}

/// Between attempts to watch an API server that does not answer: one that is back must not wait for a
/// machine that has lost patience.
pub(super) struct Steady;

impl Iterator for Steady {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::from_millis(200))
    }
}

impl Backoff for Steady {
    fn reset(&mut self) {}
}

/// Binds a pod to the node that its UID chooses, as a scheduler would.
async fn bind(client: Client, pod: Pod, cluster: u8) {
    let pods: Api<Pod> = Api::namespaced(client, &pod.namespace().unwrap());
    let spread = pod.uid().unwrap().bytes().fold(0, u8::wrapping_add);
    let node = node_name(cluster, 1 + spread % NODES);
    let binding = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": pod.name_any(), "uid": pod.uid()},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    });
    let name = pod.name_any();
    // Bound or gone already: the watch tells what became of it.
    let _: Result<Value, _> =
        pods.create_subresource("binding", &name, &PostParams::default(), &binding).await;
}
