//! What the hybrid scenario relies on: a member in a network of its own, and the line to it, without
//! Convoy.

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    bed::{
        client::{Client, Request, get},
        fleet::NAMESPACE,
        poll::eventually,
    },
    clusters::line::{Routes, State},
    harness::{figure, scenario},
    pods::{answer, ready_addresses},
    scene::Scene,
    workload,
};

scenario! { "line", &["c2"], fleet: Divided;
    line_leads_to_a_whole_cluster,
    line_leads_to_nodes_of_an_overlay,
    line_is_cut_without_a_word,
    line_is_slow,
    line_loses_packets,
}

const PORT: u16 = 30100;

/// Far above what a watch takes, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a packet on a whole line never takes.
const SILENCE: Duration = Duration::from_millis(500);

/// One way: whoever asks and hears waits for twice this.
const LATE: Duration = Duration::from_millis(100);

const REQUESTS: usize = 20;

fn node(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 2, 2, n)
}

/// Which pods answer at the NodePort of a node.
async fn answers(n: u8) -> Result<BTreeSet<String>, String> {
    let request: Request = get("/").patience(SILENCE);
    let mut pods = BTreeSet::new();
    for _ in 0..8 {
        let reply = Client::plain((node(n), PORT).into()).send(&request).await?;
        pods.insert(reply.echo()?.pod);
    }
    Ok(pods)
}

/// The API server as Convoy sees it is reached.
fn api_is_reached(scene: &Scene) -> bool {
    let cluster = &scene.world.member("c2").cluster;
    let words = format!("--server={} --request-timeout=2s get --raw /readyz", cluster.server());
    cluster.try_kubectl(&words, "").is_ok()
}

async fn line_leads_to_a_whole_cluster(scene: &mut Scene) {
    let cluster = &scene.world.member("c2").cluster;
    assert!(api_is_reached(scene));
    cluster.apply(&workload::web_demo("c2", 4), "");
    for address in ready_addresses(cluster, "service1", 4).await {
        assert_eq!(answer(address).await.unwrap(), "cluster-demo-2");
    }
}

async fn line_leads_to_nodes_of_an_overlay(scene: &mut Scene) {
    let cluster = &scene.world.member("c2").cluster;
    scene.world.remote("c2").route(Routes::Overlay).await;
    for address in ready_addresses(cluster, "service1", 4).await {
        let refusal = answer(address).await.unwrap_err();
        assert!(refusal.starts_with("connect: "), "{refusal}");
    }
    assert!(api_is_reached(scene));
    let patch = |spec: &str| {
        cluster.kubectl(&format!("patch service service1 -n {NAMESPACE} -p {{\"spec\":{spec}}}"));
    };
    patch(&format!(r#"{{"type":"NodePort","ports":[{{"port":80,"nodePort":{PORT}}}]}}"#));
    let settles = async |expect: &[BTreeSet<String>; 2]| {
        eventually(PATIENCE, "the nodes forward", || async {
            let now = [answers(1).await?, answers(2).await?];
            if now == *expect { Ok(()) } else { Err(format!("{now:?}, not {expect:?}")) }
        })
        .await;
    };
    let words = format!("get pods -n {NAMESPACE} -o");
    let words = words + r#"jsonpath={range.items[*]}{.spec.nodeName}/{.metadata.name}{"\n"}{end}"#;
    let said = cluster.kubectl(&words);
    let of_node = |n: u8| -> BTreeSet<String> {
        let own = said.lines().filter_map(|pod| pod.strip_prefix(&format!("c2-node-{n}/")));
        own.map(str::to_owned).collect()
    };
    let all = &of_node(1) | &of_node(2);
    assert_eq!(all.len(), 4, "{said}");
    settles(&[all.clone(), all]).await;
    // A node without pods would refuse.
    if !of_node(1).is_empty() && !of_node(2).is_empty() {
        patch(r#"{"externalTrafficPolicy":"Local"}"#);
        settles(&[of_node(1), of_node(2)]).await;
        patch(r#"{"externalTrafficPolicy":"Cluster"}"#);
    }
}

/// Asks over a connection that is open, and may have to wait for the answer.
async fn ask(open: &mut TcpStream) -> usize {
    open.write_all(b"GET / HTTP/1.1\r\nhost: example.com\r\n\r\n").await.unwrap();
    open.read(&mut [0; 4096]).await.unwrap()
}

async fn line_is_cut_without_a_word(scene: &mut Scene) {
    let (cluster, remote) = (&scene.world.member("c2").cluster, scene.world.remote("c2"));
    let mut open = TcpStream::connect((node(1), PORT)).await.unwrap();
    assert!(ask(&mut open).await > 0);
    remote.impair(State::Cut).await;
    assert!(timeout(SILENCE, ask(&mut open)).await.is_err());
    assert!(timeout(SILENCE, TcpStream::connect((node(1), PORT))).await.is_err());
    assert!(!api_is_reached(scene));
    // The cluster itself goes on, and so does the bed's way to it.
    cluster.kubectl(&format!("scale deployment web-demo -n {NAMESPACE} --replicas=5"));
    ready_addresses(cluster, "service1", 5).await;
    remote.mend().await;
    // What was asked in vain is sent again.
    assert!(open.read(&mut [0; 4096]).await.unwrap() > 0);
    assert!(api_is_reached(scene));
}

/// Requests one after the other, each on a connection of its own: all are answered. How long the fastest
/// took, and all.
async fn requests() -> (Duration, Duration) {
    let (start, mut fastest) = (Instant::now(), Duration::MAX);
    for _ in 0..REQUESTS {
        let at = Instant::now();
        Client::plain((node(1), PORT).into()).send(&get("/")).await.unwrap();
        fastest = fastest.min(at.elapsed());
    }
    (fastest, start.elapsed())
}

async fn line_is_slow(scene: &mut Scene) {
    let remote = scene.world.remote("c2");
    remote.impair(State::Slow(LATE)).await;
    let (fastest, _) = requests().await;
    // A connection, then a request: there and back twice.
    assert!(fastest >= 4 * LATE, "{fastest:?}");
    remote.mend().await;
    let (fastest, _) = requests().await;
    assert!(fastest < LATE, "{fastest:?}");
}

async fn line_loses_packets(scene: &mut Scene) {
    let remote = scene.world.remote("c2");
    let (_, whole) = requests().await;
    remote.impair(State::Lossy { percent: 5 }).await;
    let (_, lossy) = requests().await;
    figure(&format!("{} requests: {whole:?}, losing 5 %: {lossy:?}", REQUESTS));
    // The kernels send again what is lost.
    assert!(lossy > whole);
    remote.mend().await;
}
