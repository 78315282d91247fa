//! What is measured and printed, never asserted: how soon changes are served, and memory.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    fs,
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice, networking::v1::Ingress};
use kube::{
    Api, Resource, ResourceExt,
    api::{ListParams, PostParams, WatchEvent, WatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{sync::Mutex, task::JoinSet};
use tokio_stream::StreamExt;

use super::{
    all_serve, metric,
    probe::{Probe, Served, percentile},
    set_up,
};
use crate::{
    bed::{client::get, fleet::NAMESPACE, ingress::ingress, poll::eventually},
    harness::scenario,
    pods::ready_addresses,
    replica::Replica,
    rows::figure,
    scene::Scene,
};

scenario! { "figures", MEMBERS;
    two_members_are_served,
    figure_an_endpointslice_is_served,
    figure_an_ingress_is_served,
    figure_memory_of_a_thousand_ingresses,
}

const MEMBERS: &[&str] = &["c1", "c2"];

/// Writes of each kind.
const WRITES: usize = 50;

/// Ingresses, each with a Service of its own.
const INGRESSES: usize = 1_000;

/// Endpoints of each Service.
const ENDPOINTS: usize = 3;

/// Objects that are created at the same time.
const PARALLEL: usize = 16;

/// For all of them to be created and served.
const LONGEST: Duration = Duration::from_secs(60);

async fn two_members_are_served(scene: &mut Scene) {
    set_up(scene, MEMBERS).await;
    scene.start_envoy().await;
    all_serve(scene, MEMBERS).await;
}

/// When a bare watch saw each version of the objects.
struct Watch {
    seen: Arc<Mutex<BTreeMap<String, Instant>>>,
    /// Ends with this.
    _task: JoinSet<()>,
}

impl Watch {
    /// Watches from now on.
    async fn begin<K>(api: Api<K>) -> Watch
    where
        K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let seen: Arc<Mutex<BTreeMap<String, Instant>>> = Arc::default();
        let list = api.list(&ListParams::default()).await.unwrap();
        let from = list.metadata.resource_version.unwrap();
        let mut events = Box::pin(api.watch(&WatchParams::default(), &from).await.unwrap());
        let (mut task, own) = (JoinSet::new(), seen.clone());
        task.spawn(async move {
            while let Some(event) = events.next().await {
                if let WatchEvent::Added(object) | WatchEvent::Modified(object) = event.unwrap() {
                    let version = object.resource_version().unwrap();
                    own.lock().await.insert(version, Instant::now());
                }
            }
        });
        Watch { seen, _task: task }
    }

    /// Prints how soon writes were served, beside how soon the watch saw them.
    async fn compare(self, what: &str, writes: &[Served]) {
        let seen = self.seen.lock().await;
        let sorted = |mut times: Vec<Duration>| {
            times.sort_unstable();
            times
        };
        let served = sorted(writes.iter().map(|write| write.took).collect());
        let watched = writes.iter().map(|write| seen[&write.version] - write.start);
        let watched = sorted(watched.collect());
        for (name, percent) in [("median", 50), ("p95", 95)] {
            let (served, watched) = (percentile(&served, percent), percentile(&watched, percent));
            let ratio = served.as_secs_f64() / watched.as_secs_f64();
            figure(&format!(
                "{what} ({WRITES} writes), {name}: served after {served:.1?}, seen by a bare watch \
                 after {watched:.1?}, ratio {ratio:.1}"
            ));
        }
    }
}

async fn figure_an_endpointslice_is_served(scene: &mut Scene) {
    let mut probe = Probe::place(scene, "c2").await;
    let watch = Watch::begin(probe.slices.clone()).await;
    let mut writes = Vec::new();
    for _ in 0..WRITES {
        writes.push(probe.write_slice().await);
    }
    watch.compare("write of an EndpointSlice", &writes).await;
}

async fn figure_an_ingress_is_served(scene: &mut Scene) {
    let mut probe = Probe::place(scene, "c2").await;
    let watch = Watch::begin(probe.ingresses.clone()).await;
    let mut writes = Vec::new();
    for _ in 0..WRITES {
        writes.push(probe.write_ingress().await);
    }
    watch.compare("write of an Ingress", &writes).await;
}

async fn figure_memory_of_a_thousand_ingresses(scene: &mut Scene) {
    let own = &scene.world.member("c1").cluster;
    own.kubectl(&format!("scale deployment web-demo --replicas={ENDPOINTS} -n {NAMESPACE}"));
    let addresses = ready_addresses(own, "service1", ENDPOINTS).await;
    let convoy = &scene.replicas[0];
    let before = memory(scene, convoy);
    let (member, fleet) = (own.client().await, scene.world.fleet.client().await);
    let start = Instant::now();
    create(Api::<Service>::namespaced(member.clone(), NAMESPACE), service).await;
    create(Api::<EndpointSlice>::namespaced(member, NAMESPACE), |n| slice(n, &addresses)).await;
    create(Api::<Ingress>::namespaced(fleet, NAMESPACE), route).await;
    figure(&format!("{} objects created in {:.1?}", 3 * INGRESSES, start.elapsed()));
    eventually(LONGEST, "all Ingresses are served", || async {
        let mut connection = scene.bed.http().connect().await?;
        for n in 0..INGRESSES {
            let reply = connection.send(&get("/").host(&host(n))).await?;
            if !reply.status.is_success() {
                return Err(format!("{}: {}", host(n), reply.status));
            }
        }
        Ok(())
    })
    .await;
    figure(&format!("all served {:.1?} after the first was created", start.elapsed()));
    let endpoints = metric(convoy, "convoy_member_endpoints", "\"c1\"").await.unwrap();
    figure(&format!(
        "memory of a Convoy (built without optimisation): {before} MiB at first, {} MiB with \
         {INGRESSES} Ingresses more and {endpoints} endpoints",
        memory(scene, convoy)
    ));
    assert!(usize::try_from(endpoints).unwrap() >= INGRESSES * ENDPOINTS, "{endpoints}");
}

/// The first so many, each made by `manifest`.
async fn create<K>(api: Api<K>, manifest: impl Fn(usize) -> Value)
where
    K: Clone + Debug + DeserializeOwned + Serialize + Send + Sync + 'static,
{
    let mut under_way = JoinSet::new();
    for n in 0..INGRESSES {
        if under_way.len() == PARALLEL {
            under_way.join_next().await.unwrap().unwrap();
        }
        let (api, object) = (api.clone(), serde_json::from_value(manifest(n)).unwrap());
        under_way
            .spawn(async move { drop(api.create(&PostParams::default(), &object).await.unwrap()) });
    }
    under_way.join_all().await;
}

fn name(n: usize) -> String {
    format!("shop-{n}")
}

fn host(n: usize) -> String {
    format!("{}.example.com", name(n))
}

fn service(n: usize) -> Value {
    json!({
        "metadata": {"name": name(n), "namespace": NAMESPACE},
        "spec": {"clusterIP": "None", "ports": [{"port": 80, "targetPort": 8080}]},
    })
}

fn slice(n: usize, addresses: &[Ipv4Addr]) -> Value {
    let ready = json!({"ready": true});
    let endpoint = |address| json!({"addresses": [address], "conditions": ready});
    json!({
        "metadata": {
            "name": name(n),
            "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": name(n)},
        },
        "addressType": "IPv4",
        "ports": [{"port": 8080, "protocol": "TCP"}],
        "endpoints": addresses.iter().map(endpoint).collect::<Vec<_>>(),
    })
}

fn route(n: usize) -> Value {
    ingress(&name(n)).host(&host(n)).prefix("/", &name(n)).manifest()
}

/// What a Convoy has in memory, in MiB. The processes that can be seen are those outside, under their
/// names there, so it is found by its arguments.
fn memory(scene: &Scene, replica: &Replica) -> u64 {
    let files = scene.world.dir().to_str().unwrap();
    let admin = replica.admin.to_string();
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let own = processes.filter(|dir| {
        let words = fs::read_to_string(dir.join("cmdline")).unwrap_or_default();
        words.contains(files) && words.contains(&admin)
    });
    let status = own.map(|dir| fs::read_to_string(dir.join("status")).unwrap_or_default());
    let resident = status.filter_map(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim();
        line.trim_end_matches(" kB").parse::<u64>().ok()
    });
    resident.max().unwrap() / 1024
}
