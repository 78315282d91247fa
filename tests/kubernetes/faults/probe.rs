//! How soon a change in a member is served: a Service whose one endpoint moves between two pods.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use k8s_openapi::api::{discovery::v1::EndpointSlice, networking::v1::Ingress};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    bed::{
        client::{Client, Connection, get},
        fleet::NAMESPACE,
        ingress::ingress,
        netns::GATEWAY,
    },
    scene::Scene,
};

/// The Service, its EndpointSlice, and the Ingress that leads there.
const NAME: &str = "probe";

/// Far above every pass line, so that it is these which fail.
const LONGEST: Duration = Duration::from_secs(20);

/// One write, and when it was served.
pub(super) struct Served {
    /// Of the object as it was written.
    pub(super) version: String,
    /// When the write began.
    pub(super) start: Instant,
    pub(super) took: Duration,
}

pub(super) struct Probe {
    pub(super) slices: Api<EndpointSlice>,
    pub(super) ingresses: Api<Ingress>,
    pods: [(String, Ipv4Addr); 2],
    path: String,
    writes: usize,
    connection: Connection,
}

impl Probe {
    /// Places it in a member that runs the workload, and waits until it is served.
    pub(super) async fn place(scene: &Scene, member: &str) -> Probe {
        let own = scene.world.member(member);
        let mut pods = own.kubelet.pods().into_iter();
        let mut pod = || pods.next().map(|(_, name, address)| (name, address)).unwrap();
        let pods = [pod(), pod()];
        own.cluster.apply(&manifests(pods[0].1), "");
        let path = format!("/{NAME}");
        let route = ingress(NAME).exact(&path, NAME).manifest();
        scene.world.fleet.apply(&route.to_string(), "");
        let mut probe = Probe {
            slices: Api::namespaced(own.cluster.client().await, NAMESPACE),
            ingresses: Api::namespaced(scene.world.fleet.client().await, NAMESPACE),
            connection: Client::plain((GATEWAY, 80).into()).connect().await.unwrap(),
            pods,
            path,
            writes: 0,
        };
        probe.is_served(0).await;
        probe
    }

    /// Moves the endpoint to the other pod.
    pub(super) async fn write_slice(&mut self) -> Served {
        self.writes += 1;
        let pod = self.writes % 2;
        let patch = Patch::Merge(json!({"endpoints": endpoints(self.pods[pod].1)}));
        let start = Instant::now();
        let written = self.slices.patch(NAME, &PatchParams::default(), &patch).await.unwrap();
        self.is_served(pod).await;
        Served { version: written.resource_version().unwrap(), start, took: start.elapsed() }
    }

    /// Moves the route to another path.
    pub(super) async fn write_ingress(&mut self) -> Served {
        let pod = self.writes % 2;
        self.path = if self.path == "/probe" { "/moved".to_owned() } else { "/probe".to_owned() };
        let manifest = ingress(NAME).exact(&self.path, NAME).manifest();
        let patch = Patch::Merge(json!({"spec": {"rules": manifest["spec"]["rules"]}}));
        let start = Instant::now();
        let written = self.ingresses.patch(NAME, &PatchParams::default(), &patch).await.unwrap();
        self.is_served(pod).await;
        Served { version: written.resource_version().unwrap(), start, took: start.elapsed() }
    }

    /// How long each of `n` writes of the EndpointSlice took to be served, in order of time.
    pub(super) async fn times(&mut self, n: usize) -> Vec<Duration> {
        let mut times = Vec::with_capacity(n);
        for _ in 0..n {
            times.push(self.write_slice().await.took);
        }
        times.sort_unstable();
        times
    }

    /// Returns when the path is answered by the pod.
    async fn is_served(&mut self, pod: usize) {
        let (request, name) = (get(&self.path), self.pods[pod].0.clone());
        let start = Instant::now();
        loop {
            // As often as Envoy answers: a pause would be part of what is measured.
            let reply = self.connection.send(&request).await.unwrap();
            let pod = reply.echo().map(|echo| echo.pod);
            if pod.as_ref() == Ok(&name) {
                return;
            }
            assert!(start.elapsed() < LONGEST, "{} is not served by {name}: {pod:?}", self.path);
        }
    }
}

/// A Service without a selector: its EndpointSlice is the test's own.
fn manifests(address: Ipv4Addr) -> String {
    let metadata = json!({"name": NAME, "namespace": NAMESPACE});
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"ports": [{"port": 80, "targetPort": 8080}]},
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": NAME},
        },
        "addressType": "IPv4",
        "ports": [{"port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints(address),
    });
    format!("{service}\n---\n{slice}")
}

fn endpoints(address: Ipv4Addr) -> Value {
    json!([{"addresses": [address], "conditions": {"ready": true}}])
}

/// The value that `percent` of the sorted times do not exceed.
pub(super) fn percentile(times: &[Duration], percent: usize) -> Duration {
    let rank = (times.len() * percent / 100).min(times.len() - 1);
    times[rank]
}
