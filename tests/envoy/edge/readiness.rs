//! Row D1 of faults.md: an Envoy is ready when it serves, and not before (M4).
//!
//! What an Envoy is told, and when, is decided by the test: the control plane is the ADS server
//! around a view of the test's own.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use convoy::{
    key::GatewayId,
    serve::{self, Source},
    settings::{GatewayDefaults, Mechanisms, READY_HOST, READY_PATH, READY_PORT, Timings},
    snapshot::{GatewayView, Kind, Publisher, Resource},
    xds::{Access, AdsServer, EnvoyRegistry, Listener, XdsListen},
};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::{
    bed::{
        Bed, Variant,
        cert::Authority,
        client::{Client, Request, get},
        convoy::bootstrap,
        envoy::Envoy,
        fleet::tls_secret,
        guide,
        ingress::ingress,
        netns::{CONTROL_PLANE, GATEWAY},
        poll::{SETTLE, eventually},
    },
    rows::{BOTH, figure, rows},
};

rows! { BOTH;
    fault_d01_ready_means_served,
    fault_d01_a_draining_envoy_is_not_ready,
    fault_d01_only_readiness_is_answered_on_its_port,
}

/// For so long nothing may change.
const WATCHED: Duration = Duration::from_millis(1500);

/// Long against a start of Envoy.
const START: Duration = Duration::from_secs(20);

/// Convoy's server, with a view of the test's own.
struct Server {
    gateway: GatewayId,
    publisher: Arc<Publisher>,
    envoys: Arc<EnvoyRegistry>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start() -> Server {
        let (publisher, envoys) = <(Arc<Publisher>, Arc<EnvoyRegistry>)>::default();
        let (mechanisms, timings) = (Mechanisms::ALL, Timings::PRODUCTION);
        let ads = AdsServer::new(publisher.clone(), envoys.clone(), &mechanisms, &timings);
        let listener = Listener::bind(&XdsListen::Tcp(CONTROL_PLANE)).await.unwrap();
        let serve = async move {
            ads.serve(listener, Access::Open, std::future::pending()).await.unwrap();
        };
        let gateway = GatewayId::mse(guide::GATEWAY_NAME);
        Server { gateway, publisher, envoys, task: tokio::spawn(serve) }
    }

    fn publish(&self, view: GatewayView) {
        self.publisher.publish(&self.gateway, Arc::new(view));
    }

    /// Waits until an Envoy has refused a table.
    async fn is_refused(&self) {
        eventually(START, "the table is refused", || async {
            let envoys = self.envoys.envoys();
            let routes = envoys.iter().filter_map(|envoy| envoy.types.get(&Kind::Route));
            let refusals: u64 = routes.map(|routes| routes.refusals).sum();
            if refusals > 0 { Ok(()) } else { Err(format!("{envoys:?}")) }
        })
        .await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Everything that the fleet asks for.
fn view(bed: &Bed) -> GatewayView {
    let Source::Directory(root) = bed.fleet.source() else { panic!("these rows have a directory") };
    let translated = serve::translate(&root, &GatewayDefaults::default()).unwrap();
    translated.views[&GatewayId::mse(guide::GATEWAY_NAME)].as_ref().clone()
}

/// The view with a resource in place of another, or without it.
fn with(view: &GatewayView, kind: Kind, name: &str, message: Option<&[u8]>) -> GatewayView {
    let resource = message.map(|message| Resource::new(kind, name.into(), message, Vec::new()));
    view.commit([(kind, name.into(), resource)]).unwrap()
}

/// What is asked the moment an Envoy says that it is ready.
struct Corpus {
    requests: Vec<(Client, Request, &'static str)>,
}

impl Corpus {
    /// Applies the objects; every request names who must answer it.
    fn deploy(bed: &mut Bed) -> Corpus {
        let authority = Authority::new();
        bed.deploy_each(&["a", "b", "secure"]);
        bed.fleet.object("cert", &tls_secret("cert", &authority.leaf(&["secure.com"])));
        let hosts = ingress("web").host("a.com").prefix("/", "a").host("*.b.com").exact("/b", "b");
        bed.ingress(&hosts.any_host().exact("/any", "a"));
        let secure = ingress("secure").host("secure.com").prefix("/", "secure");
        bed.ingress(&secure.tls(&["secure.com"], "cert"));
        bed.fleet.apply("gateway", guide::GATEWAY);
        let tls = bed.https(&authority, "secure.com");
        let http = bed.http();
        let plain = |request, answer| (http.clone(), request, answer);
        Corpus {
            requests: vec![
                plain(get("/x").host("a.com"), "a"),
                plain(get("/b").host("x.b.com"), "b"),
                plain(get("/any").host("elsewhere.org"), "a"),
                plain(get("/").host("secure.com"), "secure"),
                plain(get("/none").host("elsewhere.org"), "404"),
                (tls.clone(), get("/").host("secure.com"), "secure"),
                (tls, get("/x").host("a.com"), "404"),
            ],
        }
    }

    /// Every request at once, each on a connection of its own.
    async fn is_answered(&self) {
        let mut under_way = tokio::task::JoinSet::new();
        for (client, request, expect) in self.requests.iter().cloned() {
            under_way.spawn(async move {
                let replies = client.hit(1, &request).await;
                (request, expect, replies.envs())
            });
        }
        for (request, expect, split) in under_way.join_all().await {
            assert!(split.only(expect), "{request:?}: expected {expect}, saw {:?}", split.0);
        }
    }
}

/// What the readiness listener says: a code, or why there is none.
async fn readiness() -> String {
    let client = Client::plain((GATEWAY, READY_PORT).into());
    let asked = get(READY_PATH).host(READY_HOST);
    match client.send(&asked).await {
        Ok(reply) => reply.status.as_u16().to_string(),
        Err(reason) => reason,
    }
}

/// Asks as fast as it can; what was said, at last and all the while not `200`.
async fn stays_unready() -> String {
    let start = Instant::now();
    loop {
        let said = readiness().await;
        assert_ne!(said, "200");
        if start.elapsed() > WATCHED {
            return said;
        }
    }
}

/// Asks as fast as it can until the first `200`.
async fn becomes_ready() -> Duration {
    let start = Instant::now();
    while readiness().await != "200" {
        assert!(start.elapsed() < START, "not ready");
    }
    start.elapsed()
}

/// Whether Envoy itself says that it is ready.
async fn live(envoy: &Envoy) -> bool {
    envoy.try_admin("/ready").await.is_ok_and(|text| text.contains("LIVE"))
}

async fn fault_d01_ready_means_served(bed: &mut Bed) {
    let corpus = Corpus::deploy(bed);
    let whole = view(bed);
    let files = TempDir::with_prefix("convoy-ready-").unwrap();
    let cold = || Envoy::start(&bootstrap(guide::GATEWAY_NAME, "cold", bed.variant), files.path());

    // Convoy is away.
    let envoy = cold();
    figure(&format!("Convoy away: {}", stays_unready().await));
    let server = Server::start().await;

    // It is there, and Envoy refuses its table: two hosts with one name.
    let table = whole.get(Kind::Route, "http").unwrap().message();
    let twice = [table.clone(), table].concat();
    server.publish(with(&whole, Kind::Route, "http", Some(&twice)));
    server.is_refused().await;
    eventually(START, "Envoy takes itself for ready", || async {
        if live(&envoy).await { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    figure(&format!("table refused, Envoy's own /ready LIVE: {}", stays_unready().await));

    // The table is mended.
    server.publish(whole.clone());
    becomes_ready().await;
    corpus.is_answered().await;
    drop(envoy);

    // Another Envoy starts, and a certificate is not there yet. Delta has a word for what does not
    // exist, and Envoy waits no longer; no view of Convoy's names what is not in it (I3, tests/golden).
    if bed.variant == Variant::Sotw {
        server.publish(with(&whole, Kind::Secret, "gateway-demo/cert", None));
        let envoy = cold();
        figure(&format!("certificate pending: {}", stays_unready().await));
        assert!(!live(&envoy).await);
        server.publish(whole.clone());
        becomes_ready().await;
        corpus.is_answered().await;
    }

    // Nothing is wrong.
    let mut slowest = Duration::ZERO;
    for _ in 0..5 {
        let envoy = cold();
        slowest = slowest.max(becomes_ready().await);
        corpus.is_answered().await;
        drop(envoy);
    }
    figure(&format!("all there: ready at last after {slowest:?}, and the corpus answered at once"));
}

async fn fault_d01_a_draining_envoy_is_not_ready(bed: &mut Bed) {
    let corpus = Corpus::deploy(bed);
    bed.start().await;
    becomes_ready().await;
    corpus.is_answered().await;
    let admin = Client::plain(crate::bed::envoy::ADMIN);
    for (path, expect) in [("/healthcheck/fail", "503"), ("/healthcheck/ok", "200")] {
        admin.send(&get(path).post(path)).await.unwrap();
        eventually(SETTLE, "readiness follows", || async {
            let said = readiness().await;
            if said == expect { Ok(()) } else { Err(said) }
        })
        .await;
        // Whoever still comes is served.
        corpus.is_answered().await;
    }
}

async fn fault_d01_only_readiness_is_answered_on_its_port(bed: &mut Bed) {
    let corpus = Corpus::deploy(bed);
    bed.start().await;
    becomes_ready().await;
    let ready = |path: &str| get(path).host(READY_HOST);
    let at = Client::plain((GATEWAY, READY_PORT).into());
    bed.check_over(
        &at,
        &[
            (ready("/ready").post("x"), "403"),
            (ready("/ready?x"), "403"),
            (ready("/ready/"), "403"),
            (ready("//ready"), "403"),
            (ready("/"), "403"),
            (get("/ready").host("a.com"), "403"),
            (get("/x").host("a.com"), "403"),
            (get("/any").host("elsewhere.org"), "403"),
        ],
    )
    .await;
    // On the ports of clients the host is nobody's, whatever they claim, and although any other
    // host is served.
    for (path, value) in [("/ready", "1"), ("/any", "1"), ("/", "1")] {
        let forged = ready(path).header("x-convoy-ready", value);
        bed.check(&[(ready(path), "404"), (forged, "404")]).await;
    }
    corpus.is_answered().await;
}
