//! Convoy with timers of a test's choice, as a process of its own: this program again.
//!
//! Production has no flag for its timers, and needs none: the options come as JSON, and the whole
//! program from `serve::start`.

use std::{env, net::SocketAddr, path::PathBuf, process::ExitCode};

use convoy::{
    gateway::Address,
    key::ObjectName,
    serve::{self, Kubernetes, Source, XdsOptions, XdsSecurity},
    settings::{GatewayDefaults, Mechanisms, SourceTimings, StatusTimings, Timings},
    source::{kube::connect, registry::DEFAULT_NAMESPACES},
    status,
    xds::XdsListen,
};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::bed::netns::GATEWAY;

/// First argument of a process that is a Convoy.
pub(crate) const CONVOY: &str = "convoy";

/// Set by `make soak`: production's timers, and faults as long as the table says.
const SOAK: &str = "CONVOY_SOAK";

/// What a test may choose.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Options {
    pub(crate) kubeconfig: PathBuf,
    pub(crate) xds: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) identity: String,
}

/// Whether faults last as long as the table says.
pub(crate) fn is_soak() -> bool {
    env::var_os(SOAK).is_some()
}

/// How many times faster than in production everything is that waits.
pub(crate) fn pace() -> u32 {
    if is_soak() { 1 } else { 20 }
}

/// The options, if this process is to be a Convoy.
pub(crate) fn asked() -> Option<Options> {
    let mut words = env::args().skip(1);
    (words.next()? == CONVOY).then(|| serde_json::from_str(&words.next().unwrap()).unwrap())
}

/// Serves until SIGTERM.
pub(crate) fn run(options: Options) -> ExitCode {
    let filter = EnvFilter::new("info");
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut stop = signal(SignalKind::terminate()).unwrap();
        let handle = serve::start(complete(options).await).await.unwrap();
        stop.recv().await;
        handle.shutdown().await.unwrap();
    });
    ExitCode::SUCCESS
}

async fn complete(options: Options) -> serve::Options {
    let Options { kubeconfig, xds, admin, identity } = options;
    let status = status::Options {
        identity,
        lease: ObjectName::new(DEFAULT_NAMESPACES[0], "convoy"),
        publish_addresses: vec![Address::Ip(GATEWAY.into())],
        publish_service: None,
    };
    serve::Options {
        source: Source::Kubernetes(Kubernetes {
            api_server: None,
            client: connect(Some(&kubeconfig), None).await.unwrap(),
            namespaces: DEFAULT_NAMESPACES.map(str::to_owned).into(),
            status: Some(status),
            infra: None,
        }),
        xds: XdsOptions {
            listen: XdsListen::Tcp(xds),
            security: XdsSecurity::Plaintext,
            tokens: false,
        },
        admin_listen: admin,
        defaults: GatewayDefaults::default(),
        mechanisms: Mechanisms::ALL,
        timings: timings(pace()),
    }
}

/// What waits for an API server, or for other replicas. What Envoys need stays: it is short already.
fn timings(times: u32) -> Timings {
    Timings {
        drain_timeout: Timings::PRODUCTION.drain_timeout / times,
        source: SourceTimings::PRODUCTION.faster(times),
        status: StatusTimings::PRODUCTION.faster(times),
        ..Timings::PRODUCTION
    }
}
