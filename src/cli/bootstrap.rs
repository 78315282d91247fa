//! `convoy bootstrap`: how to start one's own Envoy.

use std::{io::Write, net::SocketAddr, process::ExitCode};

use anyhow::{Context, Result};

use crate::bootstrap::{self, AdminAddress, BootstrapOptions, Variant, XdsAddress};

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
    xds: XdsAddress,
    /// State of the world in place of delta
    #[arg(long, env = "CONVOY_SOTW")]
    sotw: bool,
    /// Address or unix socket path of the Envoy's own admin interface; a socket is what no network
    /// reaches, whatever is routed where
    #[arg(
        long,
        env = "CONVOY_ADMIN_LISTEN",
        value_name = "ADDR|PATH",
        default_value = "127.0.0.1:9901"
    )]
    admin_listen: AdminAddress,
    /// Address on which the Envoy answers `GET /stats/prometheus`, and nothing else, to anybody;
    /// usually port 19001. Without it only the admin interface has its statistics
    #[arg(long, env = "CONVOY_METRICS_LISTEN", value_name = "ADDR")]
    metrics_listen: Option<SocketAddr>,
    /// Memory at which the Envoy refuses requests, in MiB; the container needs a third more
    #[arg(long, env = "CONVOY_MAX_HEAP_MIB", value_name = "MIB")]
    #[arg(default_value_t = bootstrap::DEFAULT_MAX_HEAP_BYTES >> 20)]
    #[arg(value_parser = clap::value_parser!(u64).range(128..1 << 20))]
    max_heap_mib: u64,
    /// Client connections above which the Envoy accepts none
    #[arg(long, env = "CONVOY_MAX_CONNECTIONS", value_name = "N")]
    #[arg(default_value_t = bootstrap::DEFAULT_MAX_CONNECTIONS)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: u32,
    /// Who the Envoy is among those of its gateway; the machine's host name unless given
    #[arg(long, env = "CONVOY_NODE_ID", value_name = "ID")]
    node_id: Option<String>,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<ExitCode> {
    let text = bootstrap::render(&BootstrapOptions {
        gateway: args.gateway.clone(),
        node_id: args.node_id.clone().map_or_else(host_name, Ok)?,
        xds: args.xds.clone(),
        variant: if args.sotw { Variant::Sotw } else { Variant::Delta },
        admin: args.admin_listen.clone(),
        metrics: args.metrics_listen,
        max_heap_bytes: args.max_heap_mib << 20,
        max_connections: args.max_connections,
    });
    out.write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// As the kernel has it: no environment variable holds it everywhere.
fn host_name() -> Result<String> {
    let path = "/proc/sys/kernel/hostname";
    let name =
        std::fs::read_to_string(path).with_context(|| format!("read {path}; or give --node-id"))?;
    Ok(name.trim().to_owned())
}
