//! `convoy drain` beside a real Envoy: connections that clients keep move to another Envoy, and no
//! request is lost on the way.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use convoy::bootstrap::{self, AdminAddress, BootstrapOptions};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::{net::TcpStream, task::JoinSet, time::interval};

use crate::{
    bed::{
        Bed, Variant,
        client::{Client, Connection, get},
        convoy::bootstrap_options,
        envoy::Envoy,
        guide::GATEWAY_NAME,
        ingress::ingress,
        netns::GATEWAY,
        poll::{SETTLE, eventually},
    },
    rows::{figure, rows},
};

rows! { &[Variant::Delta]; envoy_drains_connections_that_clients_keep }

/// Of each protocol.
const LANES: usize = 10;

/// Each lane sends fifty requests a second.
const BEAT: Duration = Duration::from_millis(20);

/// What the lanes share.
#[derive(Default)]
struct Shared {
    /// New connections go to the second Envoy, as with a Service whose Pod is ending.
    moved: AtomicBool,
    stop: AtomicBool,
    /// Lanes with a connection to the first Envoy.
    on_first: AtomicUsize,
    answers: AtomicUsize,
}

async fn envoy_drains_connections_that_clients_keep(bed: &mut Bed) {
    bed.deploy_each(&["web"]);
    bed.ingress(&ingress("web").prefix("/web", "web"));
    bed.start_guide().await;
    bed.envoy = None;
    let dir = TempDir::with_prefix("convoy-drain-").unwrap();
    let socket = dir.path().join("admin.sock");
    let options = BootstrapOptions {
        admin: AdminAddress::Unix(socket.clone()),
        ..bootstrap_options(GATEWAY_NAME, "first", Variant::Delta)
    };
    let mut first = Envoy::start(&bootstrap::render(&options), &dir.path().join("first"));
    let (_second, elsewhere) = bed.start_second_envoy(GATEWAY_NAME);
    for client in [bed.http(), elsewhere.clone()] {
        bed.check_over(&client, &[(get("/web"), "web")]).await;
    }

    let shared = Arc::new(Shared::default());
    let mut lanes = JoinSet::new();
    for _ in 0..LANES {
        lanes.spawn(http1(shared.clone(), bed.http(), elsewhere.clone()));
        lanes.spawn(http2(shared.clone()));
    }
    eventually(SETTLE, "all lanes are on the first Envoy", || async {
        let count = shared.on_first.load(Relaxed);
        if count == 2 * LANES { Ok(()) } else { Err(count.to_string()) }
    })
    .await;

    let mut drain = Drain::start(&socket);
    shared.moved.store(true, Relaxed);
    let began = std::time::Instant::now();
    drain.stop();
    eventually(SETTLE, "every lane was told to go", || async {
        let count = shared.on_first.load(Relaxed);
        if count == 0 { Ok(()) } else { Err(count.to_string()) }
    })
    .await;
    let took = began.elapsed();
    // New connections are still taken.
    bed.check_over(&bed.http(), &[(get("/web"), "web")]).await;
    first.kill();
    let at_kill = shared.answers.load(Relaxed);
    eventually(SETTLE, "the lanes go on", || async {
        let now = shared.answers.load(Relaxed);
        if now > at_kill + 10 * LANES { Ok(()) } else { Err(now.to_string()) }
    })
    .await;
    shared.stop.store(true, Relaxed);
    let failures: Vec<_> = lanes.join_all().await.into_iter().flatten().collect();
    let answers = shared.answers.load(Relaxed);
    figure(&format!("{answers} requests on kept connections, all moved after {took:?}"));
    assert_eq!(failures, Vec::<String>::new());
}

/// A lane of HTTP/1.1; what failed.
async fn http1(shared: Arc<Shared>, first: Client, elsewhere: Client) -> Vec<String> {
    let mut failures = Vec::new();
    let mut beat = interval(BEAT);
    let mut kept: Option<(Connection, bool)> = None;
    while !shared.stop.load(Relaxed) {
        beat.tick().await;
        if let Some((_, on_first)) = kept.take_if(|(own, _)| !own.is_open()) {
            shared.on_first.fetch_sub(on_first.into(), Relaxed);
        }
        if kept.is_none() {
            let on_first = !shared.moved.load(Relaxed);
            let client = if on_first { &first } else { &elsewhere };
            shared.on_first.fetch_add(on_first.into(), Relaxed);
            kept = Some((client.connect().await.unwrap(), on_first));
        }
        let (connection, _) = kept.as_mut().unwrap();
        match connection.send(&get("/web")).await {
            Ok(reply) if reply.status.is_success() => _ = shared.answers.fetch_add(1, Relaxed),
            Ok(reply) => failures.push(format!("HTTP/1.1: {}", reply.status)),
            Err(error) => failures.push(format!("HTTP/1.1: {error}")),
        }
    }
    failures
}

/// The same of HTTP/2.
async fn http2(shared: Arc<Shared>) -> Vec<String> {
    let mut failures = Vec::new();
    let mut beat = interval(BEAT);
    let mut kept: Option<(SendRequest<Full<Bytes>>, bool)> = None;
    while !shared.stop.load(Relaxed) {
        beat.tick().await;
        if let Some((sender, on_first)) = &mut kept
            && sender.ready().await.is_err()
        {
            shared.on_first.fetch_sub((*on_first).into(), Relaxed);
            kept = None;
        }
        if kept.is_none() {
            let on_first = !shared.moved.load(Relaxed);
            let address = if on_first { (GATEWAY, 80) } else { ([192, 168, 0, 2].into(), 80) };
            let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
            let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
            let (sender, connection) = handshake.await.unwrap();
            tokio::spawn(connection);
            shared.on_first.fetch_add(on_first.into(), Relaxed);
            kept = Some((sender, on_first));
        }
        let (sender, _) = kept.as_mut().unwrap();
        let request = http::Request::get("http://example.com/web").body(Full::default()).unwrap();
        match sender.send_request(request).await {
            Ok(reply) if reply.status().is_success() => match reply.into_body().collect().await {
                Ok(_) => _ = shared.answers.fetch_add(1, Relaxed),
                Err(error) => failures.push(format!("HTTP/2: body: {error}")),
            },
            Ok(reply) => failures.push(format!("HTTP/2: {}", reply.status())),
            // It was never sent, and the client knows: GOAWAY came in between.
            Err(error) if error.is_canceled() => {}
            Err(error) => failures.push(format!("HTTP/2: {error}")),
        }
    }
    failures
}

/// `convoy drain`, as a container runs it.
struct Drain(Child);

impl Drain {
    /// Returns when it listens for SIGTERM.
    fn start(socket: &Path) -> Drain {
        let admin = format!("unix:{}", socket.display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_convoy"));
        command.args(["drain", "--admin", &admin]).stderr(Stdio::piped());
        let mut drain = Drain(command.spawn().unwrap());
        let mut line = String::new();
        BufReader::new(drain.0.stderr.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "convoy: waiting for SIGTERM\n");
        drain
    }

    /// Ends it as a kubelet does; it ends well.
    fn stop(&mut self) {
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}
