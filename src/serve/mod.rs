//! The composition: sources, the engine's thread, the ADS server and the admin server.
//!
//! Owns which parts run and how they are joined and stopped; everything it starts, it stops.
//! Must not know what any part does.

mod engine_thread;
mod envoys;
mod kubernetes;
mod report;
mod xds;

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    admin::{self, Report, State},
    diag::Diag,
    engine::{Engine, Settings},
    identity,
    key::GatewayId,
    serve::{engine_thread::EngineThread, kubernetes::Joints},
    settings::{GatewayDefaults, Mechanisms, Timings},
    snapshot::{GatewayView, Publisher},
    source::{Wanted, directory, kube::SourceMeter},
    xds::{AdsServer, EnvoyRegistry, Listener, XdsListen},
};

pub use kubernetes::Kubernetes;
pub use xds::{XdsOptions, XdsSecurity};

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where objects come from.
    pub source: Source,
    /// Where Envoys connect, and what they must prove.
    pub xds: XdsOptions,
    /// Health, metrics and inspection; port 0 picks one.
    pub admin_listen: SocketAddr,
    /// What holds for every gateway.
    pub defaults: GatewayDefaults,
    /// What is switched on.
    pub mechanisms: Mechanisms,
    /// Timers.
    pub timings: Timings,
}

/// Where objects come from.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "a program has one")]
pub enum Source {
    /// The directory that holds `fleet/` and `members/<id>/`.
    Directory(PathBuf),
    /// A fleet on Kubernetes and the members that it declares.
    Kubernetes(Kubernetes),
}

impl Source {
    /// The API of the fleet, where it has one.
    fn fleet(&self) -> Option<&::kube::Client> {
        match self {
            Source::Directory(_) => None,
            Source::Kubernetes(kubernetes) => Some(&kubernetes.client),
        }
    }

    /// Where that is, if it is known by number.
    fn api_server(&self) -> Option<SocketAddr> {
        match self {
            Source::Directory(_) => None,
            Source::Kubernetes(kubernetes) => kubernetes.api_server,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Directory(dir) => write!(f, "{}", dir.display()),
            Source::Kubernetes(_) => f.write_str("Kubernetes"),
        }
    }
}

/// A running Convoy.
#[derive(Debug)]
pub struct Handle {
    /// Where Envoys connect.
    pub xds_address: XdsListen,
    /// Where health, metrics and inspection are served.
    pub admin_address: SocketAddr,
    publisher: Arc<Publisher>,
    envoys: Arc<EnvoyRegistry>,
    report: watch::Receiver<Report>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<Result<()>>>,
    source: Running,
    certificates: Option<watch::Receiver<identity::Report>>,
    /// What keeps certificates up to date.
    _identity: Vec<kubernetes::Task>,
}

/// What reads objects while it lives.
#[derive(Debug)]
enum Running {
    Directory(directory::Watch),
    Kubernetes(kubernetes::Running),
}

/// Starts everything and returns when the ports are bound.
///
/// # Errors
/// A port cannot be bound, or a directory cannot be watched.
pub async fn start(options: Options) -> Result<Handle> {
    let Options { source, xds, admin_listen, defaults, mechanisms, timings } = options;
    let listener = Listener::bind(&xds.listen).await;
    let listener = listener.with_context(|| format!("listen for xDS on {}", xds.listen))?;
    let admin = TcpListener::bind(admin_listen).await;
    let admin = admin.with_context(|| format!("listen for admin on {admin_listen}"))?;
    let (xds_address, admin_address) = (listener.address()?, admin.local_addr()?);
    let publisher = Arc::new(Publisher::default());
    let envoys = Arc::new(EnvoyRegistry::default());
    let tick_seconds = admin::tick_histogram();
    let (changes, inbox) = mpsc::channel(engine_thread::INBOX);
    let (wanted, asked) = watch::channel(Wanted::default());
    let api_server = source.api_server();
    let report = EngineThread {
        engine: Engine::new(Settings { mechanisms, defaults, api_server }),
        publisher: publisher.clone(),
        wanted,
        tick_interval: timings.tick_interval,
        tick_seconds: tick_seconds.clone(),
    }
    .spawn(inbox)?;
    let traffic = SourceMeter::default();
    let (meter, infra) = (Arc::default(), Arc::default());
    let proofs = xds::start(&xds, source.fleet(), &report, timings.identity)?;
    let from = source.to_string();
    let source = match source {
        Source::Directory(dir) => Running::Directory(
            directory::spawn(&dir, changes).with_context(|| format!("watch {from}"))?,
        ),
        Source::Kubernetes(kubernetes) => {
            let joints = Joints {
                changes,
                wanted: asked,
                report: report.clone(),
                envoys: envoys.clone(),
                traffic: traffic.clone(),
                meter: Arc::clone(&meter),
                infra: Arc::clone(&infra),
                authority: proofs.authority.clone(),
            };
            Running::Kubernetes(kubernetes::spawn(kubernetes, joints, &timings))
        }
    };
    let (stop, stopped) = watch::channel(false);
    let ads = AdsServer::new(publisher.clone(), envoys.clone(), &mechanisms, &timings);
    let state = State {
        publisher: publisher.clone(),
        report: report.clone(),
        envoys: envoys.clone(),
        tick_seconds,
        traffic,
        status: meter,
        infra,
        identity: proofs.report.clone(),
    };
    let (shutdown, access) = (raised(stopped.clone()), proofs.access);
    let tasks = vec![
        tokio::spawn(async move { Ok(ads.serve(listener, access, shutdown).await?) }),
        tokio::spawn(async move { Ok(admin::serve(admin, state, raised(stopped)).await?) }),
    ];
    tracing::info!(xds = %xds_address, admin = %admin_address, fleet = from, "serving");
    Ok(Handle {
        xds_address,
        admin_address,
        publisher,
        envoys,
        report,
        stop,
        tasks,
        source,
        certificates: proofs.report,
        _identity: proofs.tasks,
    })
}

async fn raised(mut flag: watch::Receiver<bool>) {
    // An error means that the handle is gone, which also ends the server.
    _ = flag.wait_for(|raised| *raised).await;
}

impl Handle {
    /// What is wrong at the moment.
    pub fn diagnostics(&self) -> Vec<Diag> {
        self.report.borrow().diags.iter().cloned().collect()
    }

    /// What the engine knows and has done so far.
    pub fn report(&self) -> Report {
        self.report.borrow().clone()
    }

    /// What is published at the moment.
    pub fn views(&self) -> BTreeMap<GatewayId, Arc<GatewayView>> {
        self.publisher.current()
    }

    /// What is known about the certificates that xDS is served with; `None` without any.
    pub fn certificates(&self) -> Option<identity::Report> {
        self.certificates.as_ref().map(|own| own.borrow().clone())
    }

    /// The connected Envoys.
    pub fn envoys(&self) -> &EnvoyRegistry {
        &self.envoys
    }

    /// Tells the Envoys to go elsewhere, gives the lease back, and waits for every part to end.
    ///
    /// # Errors
    /// The first error of a part, had it failed before.
    pub async fn shutdown(self) -> Result<()> {
        let Handle { stop, tasks, source, .. } = self;
        stop.send_replace(true);
        // The engine's thread ends with the last sender of changes.
        match source {
            Running::Directory(watch) => drop(watch),
            Running::Kubernetes(running) => running.stop().await,
        }
        for task in tasks {
            task.await.context("join a server")??;
        }
        Ok(())
    }
}

/// What a directory translates to.
#[derive(Debug)]
pub struct Translated {
    /// The resources of every gateway.
    pub views: BTreeMap<GatewayId, Arc<GatewayView>>,
    /// All findings, in order.
    pub diags: Vec<Diag>,
}

/// Translates a directory once, without serving it.
///
/// # Errors
/// The directory cannot be read at all.
pub fn translate(dir: &Path, defaults: &GatewayDefaults) -> Result<Translated> {
    let changes = directory::load(dir).with_context(|| format!("read {}", dir.display()))?;
    let defaults = defaults.clone();
    let settings = Settings { mechanisms: Mechanisms::ALL, defaults, api_server: None };
    let mut engine = Engine::new(settings);
    engine.tick(changes);
    Ok(Translated {
        views: engine.views(),
        diags: engine.findings().all().iter().cloned().collect(),
    })
}
