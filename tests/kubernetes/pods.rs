//! What the other scenarios rely on: the clusters themselves, without Convoy.

use std::{
    fs,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    bed::{
        client::{Client, get},
        fleet::NAMESPACE,
        poll::eventually,
    },
    clusters::{cluster::Cluster, pod::Order},
    harness::{figure, scenario},
    scene::Scene,
    workload,
};

scenario! { "bed", &["c1", "c2"];
    bed_serves_kubernetes,
    bed_runs_nine_pods,
    bed_scales_to_zero,
    bed_takes_orders_for_pods,
    bed_refuses_an_unknown_image,
    bed_survives_an_outage_of_the_api,
    bed_lets_others_in,
    bed_writes_an_audit_log,
}

/// On a busy machine nine processes take longer than the table's five seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until so many addresses of a Service are ready, and returns them.
pub(crate) async fn ready_addresses(cluster: &Cluster, service: &str, n: usize) -> Vec<Ipv4Addr> {
    let words =
        format!("get endpointslices -n {NAMESPACE} -l kubernetes.io/service-name={service} -ojson");
    eventually(PATIENCE, "the EndpointSlice has the ready addresses", || async {
        let slices: Value = serde_json::from_str(&cluster.try_kubectl(&words, "")?).unwrap();
        let endpoints = array(&slices["items"]).flat_map(|slice| array(&slice["endpoints"]));
        let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
        let address = |it: &Value| it["addresses"][0].as_str().unwrap().parse().unwrap();
        let addresses: Vec<_> = ready.map(address).collect();
        if addresses.len() == n { Ok(addresses) } else { Err(slices.to_string()) }
    })
    .await
}

/// The elements; none of what is absent.
fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

pub(crate) async fn answer(address: Ipv4Addr) -> Result<String, String> {
    let request = get("/").patience(Duration::from_millis(500));
    Ok(Client::plain((address, 8080).into()).send(&request).await?.echo()?.env)
}

async fn bed_serves_kubernetes(Scene { world, .. }: &mut Scene) {
    for cluster in world.clusters() {
        let version = cluster.kubectl("version");
        assert!(version.contains("Server Version: v1."), "{version}");
        assert!(!version.contains("Server Version: v0"), "{version}");
        assert!(cluster.kubectl("get namespaces").contains(NAMESPACE));
    }
    let nodes = world.member("c1").cluster.kubectl("get nodes --no-headers");
    assert_eq!(nodes.matches(" Ready ").count(), 2, "{nodes}");
}

async fn bed_runs_nine_pods(Scene { world, .. }: &mut Scene) {
    let start = Instant::now();
    for (name, replicas) in [("c1", 9), ("c2", 1)] {
        let member = world.member(name);
        let manifest = workload::web_demo(name, replicas);
        member.cluster.apply(&manifest, "");
    }
    let addresses = ready_addresses(&world.member("c1").cluster, "service1", 9).await;
    figure(&format!("9 ready addresses {:?} after kubectl apply", start.elapsed()));
    for address in addresses {
        assert_eq!(answer(address).await.unwrap(), "cluster-demo-1");
    }
    let other = ready_addresses(&world.member("c2").cluster, "service1", 1).await;
    assert_eq!(answer(other[0]).await.unwrap(), "cluster-demo-2");
}

async fn bed_scales_to_zero(Scene { world, .. }: &mut Scene) {
    let cluster = &world.member("c1").cluster;
    cluster.kubectl(&format!("scale deployment web-demo --replicas=0 -n {NAMESPACE}"));
    let start = Instant::now();
    ready_addresses(cluster, "service1", 0).await;
    figure(&format!("no ready address {:?} after kubectl scale", start.elapsed()));
    eventually(PATIENCE, "no pod is left", || async {
        let pods = cluster.kubectl(&format!("get pods -n {NAMESPACE} -oname"));
        if pods.is_empty() { Ok(()) } else { Err(pods) }
    })
    .await;
    assert_eq!(world.member("c1").kubelet.pods(), []);
}

async fn bed_takes_orders_for_pods(Scene { world, .. }: &mut Scene) {
    let member = world.member("c1");
    member.cluster.kubectl(&format!("scale deployment web-demo --replicas=2 -n {NAMESPACE}"));
    let addresses = ready_addresses(&member.cluster, "service1", 2).await;
    // What happens to a process shows in no status.
    assert_eq!(member.kubelet.order("web-demo", Order::Pause).await, 2);
    assert_eq!(answer(addresses[0]).await.unwrap_err(), "timeout");
    member.kubelet.order("web-demo", Order::Resume).await;
    answer(addresses[0]).await.unwrap();
    member.kubelet.order("web-demo", Order::Kill).await;
    assert!(answer(addresses[0]).await.unwrap_err().starts_with("connect: "));
    member.kubelet.order("web-demo", Order::Revive).await;
    answer(addresses[0]).await.unwrap();
    ready_addresses(&member.cluster, "service1", 2).await;
    // What the status says is none of the process.
    let (namespace, pod, address) = member.kubelet.pods().remove(0);
    member.kubelet.order_pod(&namespace, &pod, Order::Unready).await;
    assert!(!ready_addresses(&member.cluster, "service1", 1).await.contains(&address));
    let request = get("/").delivery("seen");
    Client::plain((address, 8080).into()).send(&request).await.unwrap();
    assert_eq!(member.kubelet.deliveries(), ["seen"]);
    member.kubelet.order_pod(&namespace, &pod, Order::Ready).await;
    ready_addresses(&member.cluster, "service1", 2).await;
}

async fn bed_refuses_an_unknown_image(Scene { world, .. }: &mut Scene) {
    let cluster = &world.member("c2").cluster;
    cluster.kubectl(&format!("run unknown --image=example.com/unknown:1 -n {NAMESPACE}"));
    eventually(PATIENCE, "the pod says why it does not run", || async {
        let pods = cluster.kubectl(&format!("get pod unknown -n {NAMESPACE} --no-headers"));
        if pods.contains("ErrImagePull") { Ok(()) } else { Err(pods) }
    })
    .await;
}

async fn bed_survives_an_outage_of_the_api(Scene { world, .. }: &mut Scene) {
    let member = world.member_mut("c1");
    let scale = |n| format!("scale deployment web-demo --replicas={n} -n {NAMESPACE}");
    member.cluster.api.pause();
    let quickly = format!("{} --request-timeout=300ms", scale(1));
    member.cluster.try_kubectl(&quickly, "").unwrap_err();
    member.cluster.api.resume();
    member.cluster.kubectl(&scale(3));
    ready_addresses(&member.cluster, "service1", 3).await;
    member.cluster.api.kill();
    member.cluster.try_kubectl(&quickly, "").unwrap_err();
    let start = Instant::now();
    member.cluster.restart_api().await;
    figure(&format!("a killed API server ready again in {:?}", start.elapsed()));
    member.cluster.kubectl(&scale(4));
    ready_addresses(&member.cluster, "service1", 4).await;
    figure(&format!("a Deployment scaled {:?} after the restart began", start.elapsed()));
}

async fn bed_lets_others_in(Scene { world, .. }: &mut Scene) {
    let config = world.dir().join("visitor");
    let cluster = &world.member("c2").cluster;
    cluster.kubectl("create serviceaccount visitor -n default");
    cluster.kubectl("create clusterrole visitor --verb=list --resource=services");
    cluster.kubectl(
        "create clusterrolebinding visitor --clusterrole=visitor --serviceaccount=default:visitor",
    );
    let token = cluster.kubectl("create token visitor -n default");
    fs::write(&config, cluster.kubeconfig_with(token.trim())).unwrap();
    let as_visitor = |words: &str| {
        cluster.try_kubectl(&format!("{words} --kubeconfig={}", config.display()), "")
    };
    assert!(as_visitor("get services -A").unwrap().contains("service1"));
    assert!(as_visitor("get secrets -A").unwrap_err().contains("forbidden"));
}

async fn bed_writes_an_audit_log(Scene { world, .. }: &mut Scene) {
    let log = world.member("c2").cluster.audit_log();
    let is_ours = |entry: &&Value| {
        entry["user"]["username"] == "bed"
            && entry["verb"] == "create"
            && entry["objectRef"]["resource"] == "namespaces"
            && entry["objectRef"]["name"] == NAMESPACE
    };
    assert_eq!(log.iter().filter(is_ours).count(), 1, "{} entries", log.len());
}
