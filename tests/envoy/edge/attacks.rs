//! Floods beside ordinary clients: what they cost these, at the gateway and at the xDS port.
//!
//! An attack uses its connections as fast as it can, from a machine it shares with its victim.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use super::{
    HTTP, gateway_with,
    raw::{PREFACE, continuation, endless, request, reset},
};
use crate::{
    bed::{
        Bed, Variant,
        client::get,
        ingress::ingress,
        load::{Plan, Report},
        netns::CONTROL_PLANE,
        poll::{SETTLE, eventually},
    },
    rows::{figure, rows},
};

rows! { &[Variant::Delta];
    fault_s15_floods_against_the_gateway,
    fault_s15_floods_against_the_xds_port,
}

#[derive(Clone, Copy, Debug)]
enum Attack {
    /// Streams that are reset as soon as they are opened, on a few connections.
    RapidReset,
    /// Headers that never end.
    Continuation,
    /// Many connections that send a byte now and then.
    Slowloris,
}

const ATTACKS: [Attack; 3] = [Attack::RapidReset, Attack::Continuation, Attack::Slowloris];

/// Between two bytes of a slow client.
const DRIP: Duration = Duration::from_millis(100);

impl Attack {
    fn connections(self) -> usize {
        match self {
            Attack::RapidReset | Attack::Continuation => 2,
            Attack::Slowloris => 200,
        }
    }

    /// What a connection begins with.
    fn opening(self) -> Vec<u8> {
        match self {
            Attack::RapidReset => PREFACE.to_vec(),
            Attack::Continuation => [PREFACE, &endless(1, &HEAD)].concat(),
            Attack::Slowloris => b"GET / HTTP/1.1\r\nHost: example.com\r\nx: ".to_vec(),
        }
    }

    /// What follows for the `n`-th time.
    fn next(self, n: u32) -> Vec<u8> {
        match self {
            Attack::RapidReset => {
                let streams = (n * BURST..(n + 1) * BURST).map(|idx| 2 * idx + 1);
                streams.flat_map(|id| [request(id, &HEAD), reset(id)].concat()).collect()
            }
            Attack::Continuation => continuation(1),
            Attack::Slowloris => b"a".to_vec(),
        }
    }
}

/// Streams that are opened and reset in one write.
const BURST: u32 = 50;

const HEAD: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "example.com")];

/// An attack that runs until it is stopped, on a thread of its own: what it costs is to be the
/// victim's trouble, not that of the clients beside it.
struct Flood {
    stop: Arc<AtomicBool>,
    ended: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Flood {
    fn start(attack: Attack, to: SocketAddr) -> Flood {
        let (stop, ended) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let lane = {
            let (stop, ended) = (stop.clone(), ended.clone());
            move || {
                let (stop, ended) = (stop.clone(), ended.clone());
                async move {
                    while !stop.load(Relaxed) {
                        if run(attack, to, &stop).await.is_err() {
                            ended.fetch_add(1, Relaxed);
                        }
                    }
                }
            }
        };
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let lanes: JoinSet<()> = (0..attack.connections()).map(|_| lane()).collect();
                lanes.join_all().await;
            });
        });
        Flood { stop, ended, thread }
    }

    /// How many connections the server has ended by now.
    fn ended(&self) -> usize {
        self.ended.load(Relaxed)
    }

    /// How many it ended in all.
    async fn stop(self) -> usize {
        self.stop.store(true, Relaxed);
        tokio::task::spawn_blocking(|| self.thread.join().unwrap()).await.unwrap();
        self.ended.load(Relaxed)
    }
}

/// One connection: an error when the server ends it.
async fn run(attack: Attack, to: SocketAddr, stop: &AtomicBool) -> std::io::Result<()> {
    let (mut read, mut write) = TcpStream::connect(to).await?.into_split();
    // What it says must be read, or it could not say more; its end is ours.
    let mut answers = tokio::spawn(async move {
        let mut chunk = [0; 16 << 10];
        while let Ok(1..) = read.read(&mut chunk).await {}
    });
    let writes = async {
        write.write_all(&attack.opening()).await?;
        for n in 0.. {
            if stop.load(Relaxed) {
                break;
            }
            write.write_all(&attack.next(n)).await?;
            match attack {
                Attack::RapidReset | Attack::Continuation => tokio::task::yield_now().await,
                Attack::Slowloris => tokio::time::sleep(DRIP).await,
            }
        }
        Ok(())
    };
    let outcome = tokio::select! {
        outcome = writes => outcome,
        _ = &mut answers => Err(std::io::ErrorKind::ConnectionReset.into()),
    };
    answers.abort();
    outcome
}

/// Requests of the legitimate load from one change to the next.
const REQUESTS: usize = 400;

async fn fault_s15_floods_against_the_gateway(bed: &mut Bed) {
    bed.deploy_service1(&[("c1", 2)]);
    bed.ingress(&ingress("web").prefix("/", "service1"));
    bed.fleet.apply("gateway", &gateway_with(&[("convoy.dev/request-headers-timeout", "1s")]));
    bed.start().await;
    bed.all(4, &get("/"), "cluster-demo-1").await;
    let calm = under(bed, None).await.percentile(99);
    figure(&format!("calm: p99 {calm:?}"));
    for attack in ATTACKS {
        let flood = Flood::start(attack, HTTP);
        let report = under(bed, Some(&flood)).await;
        let ended = flood.stop().await;
        let p99 = report.percentile(99);
        let ratio = p99.as_secs_f64() / calm.as_secs_f64();
        let lost = report.lost();
        figure(&format!("{attack:?}: lost {lost}, p99 {p99:?} ({ratio:.1}x), {ended} ended"));
        assert_eq!(lost, 0, "{attack:?}: {:?}", report.failures());
    }
    let resets = bed.envoy().stat("http.http.downstream_rq_too_many_premature_resets").await;
    assert!(resets > 0, "no connection was closed for its resets");
}

/// Load for so many requests, and until the server has ended a connection of the flood.
async fn under(bed: &Bed, flood: Option<&Flood>) -> Report {
    let load = bed.load(&Plan {
        name: "clients",
        request: get("/"),
        gets_per_second: 100,
        posts_per_second: 0,
    });
    load.reaches(REQUESTS).await;
    if let Some(flood) = flood {
        eventually(SETTLE, "the server ends a connection of the flood", || async {
            if flood.ended() > 0 { Ok(()) } else { Err("none".to_owned()) }
        })
        .await;
    }
    load.stop().await
}

/// Changes that are made during an attack.
const CHANGES: usize = 8;

async fn fault_s15_floods_against_the_xds_port(bed: &mut Bed) {
    bed.deploy_each(&["web"]);
    bed.ingress(&ingress("web").exact("/", "web"));
    bed.start_guide().await;
    bed.check(&[(get("/"), "web")]).await;
    let connections = bed.envoy().stat("cluster.convoy.upstream_cx_total").await;
    let calm = changes(bed, "calm").await;
    figure(&format!("calm: slowest change {calm:?}"));
    for attack in ATTACKS {
        let flood = Flood::start(attack, CONTROL_PLANE);
        let slowest = changes(bed, &format!("{attack:?}").to_lowercase()).await;
        let ended = flood.stop().await;
        figure(&format!("{attack:?}: slowest change {slowest:?}, {ended} ended"));
    }
    // The stream that was there before has lived through all of it.
    assert_eq!(bed.envoy().stat("cluster.convoy.upstream_cx_total").await, connections);
    assert_eq!(bed.envoy().stat("control_plane.connected_state").await, 1);
}

/// New paths, one by one: the longest time until one was served.
async fn changes(bed: &Bed, name: &str) -> Duration {
    let mut slowest = Duration::ZERO;
    for n in 0..CHANGES {
        let path = format!("/{name}/{n}");
        let start = Instant::now();
        bed.ingress(&ingress(name).exact(&path, "web"));
        bed.all(1, &get(&path), "web").await;
        slowest = slowest.max(start.elapsed());
    }
    slowest
}
