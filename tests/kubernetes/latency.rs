//! Row 188: how long a change of an EndpointSlice takes to reach an Envoy.

use std::time::{Duration, Instant};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api,
    api::{WatchEvent, WatchParams},
};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;

use crate::{
    bed::{client::get, fleet::NAMESPACE},
    harness::{figure, steps},
    rows::balance::{C2, start_web_demo},
    scene::Scene,
};

steps! { row_188_propagation_of_endpoints }

/// Changes that are measured: enough for a median, and the 99th percentile is the slowest.
const CHANGES: usize = 40;

/// Past this a row that prints figures fails.
const LIMIT: Duration = Duration::from_secs(5);

/// When a bare watch of the first member's slices saw each change.
async fn bare_watch(scene: &Scene) -> mpsc::Receiver<Instant> {
    let client = scene.world.member("c1").cluster.client().await;
    let slices: Api<EndpointSlice> = Api::namespaced(client, NAMESPACE);
    let list = slices.list(&Default::default()).await.unwrap();
    let version = list.metadata.resource_version.unwrap();
    let (seen, changes) = mpsc::channel(CHANGES);
    tokio::spawn(async move {
        let params = WatchParams::default().labels("kubernetes.io/service-name=service1");
        let mut events = std::pin::pin!(slices.watch(&params, &version).await.unwrap());
        while let Some(event) = events.next().await {
            if let Ok(WatchEvent::Modified(_)) = event
                && seen.send(Instant::now()).await.is_err()
            {
                return;
            }
        }
    });
    changes
}

/// Returns when the Envoy has so many endpoints in the assignment of the row's only backend.
async fn has_members(scene: &Scene, n: u64) {
    let start = Instant::now();
    let gauge = "cluster.gateway-demo/service1_80.membership_total";
    while scene.bed.envoy().stat(gauge).await != n {
        assert!(start.elapsed() < LIMIT, "not within {LIMIT:?}");
    }
}

async fn row_188_propagation_of_endpoints(scene: &mut Scene) {
    start_web_demo(&mut scene.bed, &[("c1", 1), ("c2", 1)]).await;
    has_members(scene, 2).await;
    let mut bare = bare_watch(scene).await;
    let (mut by_watch, mut by_envoy) = (Vec::new(), Vec::new());
    for n in [0, 1].into_iter().cycle().take(CHANGES) {
        let written = Instant::now();
        scene.bed.scale("c1", "service1", n);
        has_members(scene, 1 + n as u64).await;
        by_envoy.push(written.elapsed());
        by_watch.push(bare.recv().await.unwrap() - written);
    }
    scene.bed.scale("c1", "service1", 0);
    scene.bed.all(20, &get("/svc1"), C2).await;
    for (who, times) in [("a bare watch", &mut by_watch), ("Envoy", &mut by_envoy)] {
        times.sort_unstable();
        let (median, slowest) = (times[CHANGES / 2], times[CHANGES - 1]);
        figure(&format!("from the write of a slice to {who}: p50 {median:?}, max {slowest:?}"));
        assert!(slowest < LIMIT);
    }
}
