//! The composition: sources, the engine's thread, the ADS server and the admin server.
//!
//! Owns which parts run and how they are joined and stopped; everything it starts, it stops.
//! Must not know what any part does.

mod engine_thread;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::{
    admin::{self, State},
    diag::Diag,
    engine::{Engine, Settings, Work},
    key::GatewayId,
    settings::Timings,
    snapshot::{GatewayView, Publisher},
    source::directory,
    xds::{AdsServer, EnvoyRegistry},
};

pub use engine_thread::Status;

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory that holds `fleet/` and `members/<id>/`.
    pub fleet_dir: PathBuf,
    /// Where Envoys connect; port 0 picks one.
    pub xds_listen: SocketAddr,
    /// Health, metrics and inspection; port 0 picks one.
    pub admin_listen: SocketAddr,
    /// What the engine derives with.
    pub settings: Settings,
    /// Timers.
    pub timings: Timings,
}

/// A running Convoy.
#[derive(Debug)]
pub struct Handle {
    xds_addr: SocketAddr,
    admin_addr: SocketAddr,
    publisher: Arc<Publisher>,
    envoys: Arc<EnvoyRegistry>,
    status: watch::Receiver<Status>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<Result<()>>>,
    source: directory::Watch,
}

/// Starts everything and returns when the ports are bound.
///
/// # Errors
/// A port cannot be bound, or the directory cannot be watched.
pub async fn start(options: Options) -> Result<Handle> {
    let Options { fleet_dir, xds_listen, admin_listen, settings, timings } = options;
    let xds = bind(xds_listen, "xDS").await?;
    let admin = bind(admin_listen, "admin").await?;
    let (xds_addr, admin_addr) = (xds.local_addr()?, admin.local_addr()?);
    let publisher = Arc::new(Publisher::default());
    let envoys = Arc::new(EnvoyRegistry::default());
    let (changes, inbox) = engine_thread::channel();
    let mechanisms = settings.mechanisms;
    let status = engine_thread::spawn(
        Engine::new(settings),
        inbox,
        publisher.clone(),
        timings.tick_interval,
    )?;
    let source = directory::spawn(&fleet_dir, changes)
        .with_context(|| format!("watch {}", fleet_dir.display()))?;
    let (stop, stopped) = watch::channel(false);
    let ads = AdsServer::new(publisher.clone(), envoys.clone(), mechanisms, timings);
    let state = State::new(publisher.clone(), envoys.clone(), status.clone());
    let tasks = vec![
        tokio::spawn(ads.serve(xds, raised(stopped.clone()))),
        tokio::spawn(admin::serve(admin, state, raised(stopped))),
    ];
    tracing::info!(xds = %xds_addr, admin = %admin_addr, fleet = %fleet_dir.display(), "serving");
    Ok(Handle { xds_addr, admin_addr, publisher, envoys, status, stop, tasks, source })
}

async fn bind(addr: SocketAddr, what: &str) -> Result<TcpListener> {
    TcpListener::bind(addr).await.with_context(|| format!("listen for {what} on {addr}"))
}

async fn raised(mut flag: watch::Receiver<bool>) {
    // An error means that the handle is gone, which also ends the server.
    _ = flag.wait_for(|raised| *raised).await;
}

impl Handle {
    /// Where Envoys connect.
    pub fn xds_addr(&self) -> SocketAddr {
        self.xds_addr
    }

    /// Where health, metrics and inspection are served.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// What is wrong at the moment.
    pub fn diagnostics(&self) -> Vec<Diag> {
        self.status.borrow().findings.list()
    }

    /// What the engine has done so far.
    pub fn work(&self) -> Work {
        self.status.borrow().work
    }

    /// What is published at the moment.
    pub fn views(&self) -> BTreeMap<GatewayId, Arc<GatewayView>> {
        self.publisher.current()
    }

    /// The connected Envoys.
    pub fn envoys(&self) -> &EnvoyRegistry {
        &self.envoys
    }

    /// Stops the source, tells the Envoys to go elsewhere, and waits for every part to end.
    ///
    /// # Errors
    /// The first error of a part, had it failed before.
    pub async fn shutdown(self) -> Result<()> {
        let Handle { stop, tasks, source, .. } = self;
        drop(source);
        stop.send_replace(true);
        for task in tasks {
            task.await.context("join a server")??;
        }
        Ok(())
    }

    /// Waits until a part fails, which none does while all is well.
    ///
    /// # Errors
    /// The part's own error.
    pub async fn failed(&mut self) -> Result<()> {
        let Some(task) = self.tasks.first_mut() else { return Ok(()) };
        task.await.context("join a server")?
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
pub fn translate(dir: &Path, settings: Settings) -> Result<Translated> {
    let changes = directory::load(dir).with_context(|| format!("read {}", dir.display()))?;
    let mut engine = Engine::new(settings);
    engine.tick(changes);
    Ok(Translated { views: engine.views(), diags: engine.findings().list() })
}
