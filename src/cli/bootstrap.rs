//! `convoy bootstrap`: how to start one's own Envoy.

use std::{io::Write, process::ExitCode};

use anyhow::Result;

use crate::bootstrap::{self, BootstrapOptions};

/// Print the bootstrap configuration of an Envoy of a gateway
///
/// `convoy bootstrap --gateway NAME --xds HOST:PORT > envoy.yaml && envoy -c envoy.yaml`
///
/// It is hardened for the edge: bounded connections and memory, limits on regular expressions,
/// an admin interface that the network cannot reach, and only the statistics that are read.
/// Delta xDS over one ADS stream is the default; `--sotw` chooses state of the world.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of the gateway's object
    #[arg(long, env = "CONVOY_GATEWAY", value_name = "NAME")]
    gateway: String,
    /// Where `convoy serve --xds-listen` is reached from the Envoy
    #[arg(long, env = "CONVOY_XDS", value_name = "HOST:PORT")]
    xds: String,
    /// State of the world in place of delta
    #[arg(long, env = "CONVOY_SOTW")]
    sotw: bool,
    /// Address or unix socket path of the Envoy's own admin interface
    #[arg(
        long,
        env = "CONVOY_ADMIN_LISTEN",
        value_name = "ADDR|PATH",
        default_value = "127.0.0.1:9901"
    )]
    admin_listen: String,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<ExitCode> {
    let text = bootstrap::render(&BootstrapOptions {
        gateway: args.gateway.clone(),
        xds: args.xds.clone(),
        sotw: args.sotw,
        admin: args.admin_listen.clone(),
    });
    out.write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
