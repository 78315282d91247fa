//! `convoy bootstrap`: how to start one's own Envoy.

use std::{
    fs,
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf, absolute},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};

use crate::{
    bootstrap::{self, AdminAddress, BootstrapOptions, Variant, XdsAddress, XdsTls},
    cli::flags,
    key::GatewayId,
};

/// Write the bootstrap configuration of an Envoy of a gateway
///
/// `convoy certificate --gateway NAME --out certs`
///
/// `convoy bootstrap --gateway NAME --xds HOST:PORT --xds-tls-dir certs --out . && envoy -c envoy.yaml`
///
/// Envoy watches the certificates: renewed ones are used without a restart. Without them, which is for
/// unix sockets and for development, the configuration is one file, and is printed.
///
/// It is hardened for the edge: bounded connections and memory, limits on regular expressions,
/// an admin interface that the network cannot reach, and only the statistics that are read.
/// Delta xDS over one ADS stream is the default; `--sotw` chooses state of the world.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The gateway: the name of an MseIngressConfig, or KIND/NAME, as in AlbConfig/NAME
    #[arg(long, env = "CONVOY_GATEWAY", value_name = "NAME", value_parser = flags::gateway)]
    gateway: GatewayId,
    /// Where `convoy serve --xds-listen` is reached from the Envoy
    #[arg(long, env = "CONVOY_XDS", value_name = "HOST:PORT|unix:PATH")]
    xds: XdsAddress,
    /// Directory of tls.crt, tls.key and ca.crt, as the Envoy sees it: what it proves itself with, and
    /// who signs the certificate of Convoy
    #[arg(long, env = "CONVOY_XDS_TLS_DIR", value_name = "DIR", requires = "out")]
    xds_tls_dir: Option<PathBuf>,
    /// The name that the certificate of Convoy must have; the host of --xds unless given
    #[arg(long, env = "CONVOY_XDS_SERVER_NAME", value_name = "NAME", requires = "xds_tls_dir")]
    xds_server_name: Option<String>,
    /// File with a token of a ServiceAccount, in place of tls.crt and tls.key; its audience is
    /// `convoy`, and the gateway's annotation `convoy.dev/envoy-account` names the account
    #[arg(long, env = "CONVOY_XDS_TOKEN_FILE", value_name = "FILE", requires = "xds_tls_dir")]
    xds_token_file: Option<PathBuf>,
    /// Write envoy.yaml there, and beside it the files that say where certificates are
    #[arg(long, env = "CONVOY_OUT", value_name = "DIR")]
    out: Option<PathBuf>,
    /// Where the Envoy sees the files of --out, if that is elsewhere: in a container
    #[arg(long, env = "CONVOY_CONFIG_DIR", value_name = "DIR", requires = "out")]
    config_dir: Option<PathBuf>,
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
    let tls = args.tls()?;
    let files = tls.as_ref().map(bootstrap::secret_files);
    let text = bootstrap::render(&BootstrapOptions {
        gateway: args.gateway.to_string(),
        node_id: args.node_id.clone().map_or_else(host_name, Ok)?,
        xds: args.xds.clone(),
        tls,
        variant: if args.sotw { Variant::Sotw } else { Variant::Delta },
        admin: args.admin_listen.clone(),
        metrics: args.metrics_listen,
        max_heap_bytes: args.max_heap_mib << 20,
        max_connections: args.max_connections,
    });
    match &args.out {
        Some(dir) => {
            fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
            write(dir, "envoy.yaml", &text)?;
            files.into_iter().flatten().try_for_each(|(name, text)| write(dir, name, &text))?;
        }
        None => out.write_all(text.as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn tls(&self) -> Result<Option<XdsTls>> {
        let (Some(certificates), Some(out)) = (&self.xds_tls_dir, &self.out) else {
            return Ok(None);
        };
        let host = match &self.xds {
            XdsAddress::Host { host, .. } => host,
            XdsAddress::Unix(_) => bail!("--xds-tls-dir: a unix socket has no TLS"),
        };
        Ok(Some(XdsTls {
            // Envoy may be started anywhere.
            certificates: absolute(certificates)?,
            config_dir: absolute(self.config_dir.as_ref().unwrap_or(out))?,
            server_name: self.xds_server_name.as_ref().unwrap_or(host).clone(),
            token: self.xds_token_file.as_deref().map(absolute).transpose()?,
        }))
    }
}

fn write(dir: &Path, name: &str, text: &str) -> Result<()> {
    let path = dir.join(name);
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

/// As the kernel has it: no environment variable holds it everywhere.
fn host_name() -> Result<String> {
    let path = "/proc/sys/kernel/hostname";
    let name =
        std::fs::read_to_string(path).with_context(|| format!("read {path}; or give --node-id"))?;
    Ok(name.trim().to_owned())
}
