//! `convoy serve`: the control plane.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    cli::{
        flags::{GatewayFlags, LogFlags},
        kubernetes::{self, KubernetesFlags},
        xds::XdsFlags,
    },
    serve::{self, Kubernetes, Options, Source},
    settings::{Mechanisms, Timings},
};

/// Serve Envoys from a fleet, until SIGTERM or Ctrl-C
///
/// The fleet is a Kubernetes cluster with gateways (MseIngressConfig, AlbConfig), Ingresses,
/// IngressClasses and TLS Secrets: that of the Pod this runs in, or of a kubeconfig. The members that it declares (see
/// `convoy member`) hold the Services and EndpointSlices. Install the CRDs with
/// `convoy crds | kubectl apply -f -`.
///
/// With --fleet-dir all of them are directories of plain manifests, which are watched for changes:
/// DIR/fleet/**.yaml, and DIR/members/ID/**.yaml for member cluster ID.
///
/// A broken object or file keeps its last good version; `convoy status` says what is wrong with it.
/// Start an Envoy with `convoy bootstrap`. Envoys keep serving while Convoy is away.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The fleet as a directory, in place of Kubernetes
    #[arg(long, env = "CONVOY_FLEET_DIR", value_name = "DIR")]
    fleet_dir: Option<PathBuf>,
    /// Where /healthz, /readyz, /metrics and `convoy status` are answered. Plaintext and
    /// unauthenticated: keep it on a network you trust
    #[arg(
        long,
        env = "CONVOY_ADMIN_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:18001"
    )]
    admin_listen: SocketAddr,
    #[command(flatten)]
    xds: XdsFlags,
    #[command(flatten)]
    kubernetes: KubernetesFlags,
    #[command(flatten)]
    gateways: GatewayFlags,
    #[command(flatten)]
    log: LogFlags,
}

/// A core dump would hold every private key that is served (faults.md S6).
fn leave_no_core() {
    use nix::sys::{
        prctl,
        resource::{Resource, setrlimit},
    };
    // The second also keeps other processes of the same user from reading the memory.
    let limited = setrlimit(Resource::RLIMIT_CORE, 0, 0).and(prctl::set_dumpable(false));
    if let Err(error) = limited {
        tracing::warn!(%error, "core dumps could not be switched off");
    }
}

/// Serves until a signal asks to stop; a second signal does not wait for the streams to end.
pub(super) async fn run(args: Args) -> Result<ExitCode> {
    args.log.init()?;
    leave_no_core();
    let mut stop = StopSignals::new()?;
    let mut defaults = args.gateways.defaults();
    // Managed Envoys have no privileges.
    defaults.unprivileged_ports |= args.fleet_dir.is_none() && args.kubernetes.manages_gateways();
    let mut source = match args.fleet_dir {
        Some(dir) => Source::Directory(dir),
        None => Source::Kubernetes(args.kubernetes.source().await?),
    };
    let namespace = match &source {
        Source::Directory(_) => None,
        Source::Kubernetes(kubernetes) => Some(kubernetes.own_namespace().to_owned()),
    };
    let xds = args.xds.options(namespace.as_deref())?;
    if let Source::Kubernetes(Kubernetes { infra: Some(infra), .. }) = &mut source {
        infra.certificates = kubernetes::certificates(&xds.security);
    }
    let handle = serve::start(Options {
        source,
        xds,
        admin_listen: args.admin_listen,
        defaults,
        mechanisms: Mechanisms::ALL,
        timings: Timings::PRODUCTION,
    })
    .await?;
    stop.received().await;
    tracing::info!("stopping; Envoys keep what they have");
    tokio::select! {
        ended = handle.shutdown() => ended?,
        () = stop.received() => tracing::warn!("stopped before all streams had ended"),
    }
    Ok(ExitCode::SUCCESS)
}

/// SIGTERM, Ctrl-C, and the end of the terminal.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl StopSignals {
    pub(super) fn new() -> Result<StopSignals> {
        let listen = |kind| signal(kind).context("listen for signals");
        let terminate = listen(SignalKind::terminate())?;
        let interrupt = listen(SignalKind::interrupt())?;
        let hangup = listen(SignalKind::hangup())?;
        Ok(StopSignals { terminate, interrupt, hangup })
    }

    /// Resolves at the next signal.
    pub(super) async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
