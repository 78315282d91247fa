//! Flags that several subcommands share, and how the log is set up.

use std::{io, net::IpAddr};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::{
    key::{GatewayId, ObjectName},
    settings::{Collector, GatewayDefaults, READY_PORT},
    source::registry::Network,
};

/// What holds for every gateway unless its object says otherwise.
#[derive(Debug, Args)]
#[command(next_help_heading = "Gateways")]
pub(super) struct GatewayFlags {
    /// Port on which Envoys serve plaintext; a gateway's annotation `convoy.dev/http-port` wins
    #[arg(long, env = "CONVOY_HTTP_PORT", value_name = "PORT", default_value_t = 80)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    http_port: u16,
    /// Port on which Envoys serve TLS; a gateway's annotation `convoy.dev/https-port` wins
    #[arg(long, env = "CONVOY_HTTPS_PORT", value_name = "PORT", default_value_t = 443)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    https_port: u16,
    /// Port on which Envoys say whether they are ready; `convoy.dev/ready-port` wins
    #[arg(long, env = "CONVOY_READY_PORT", value_name = "PORT", default_value_t = READY_PORT)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    ready_port: u16,
    /// Envoys may not bind ports below 1024: they bind them 8000 higher, and a Service maps them
    #[arg(long, env = "CONVOY_UNPRIVILEGED_PORTS")]
    unprivileged_ports: bool,
    /// Address on which Envoys listen; `::` for both families
    #[arg(long, env = "CONVOY_LISTEN_ADDRESS", value_name = "IP", default_value = "0.0.0.0")]
    listen_address: IpAddr,
    /// Development only: accept endpoints on loopback addresses
    ///
    /// By default they are dropped, because a member could otherwise name ports of the machine
    /// that Envoy runs on.
    #[arg(long, env = "CONVOY_ALLOW_LOOPBACK_ENDPOINTS")]
    allow_loopback_endpoints: bool,
    /// Serve backends in the namespace `kube-system`, which are refused by default
    #[arg(long, env = "CONVOY_ALLOW_KUBE_SYSTEM")]
    allow_kube_system: bool,
    /// OTLP/gRPC collector of gateways with `monitor.tracing`; `convoy.dev/otlp-endpoint` wins
    #[arg(long, env = "CONVOY_OTLP_ENDPOINT", value_name = "HOST:PORT")]
    otlp_endpoint: Option<Collector>,
    /// Region of the Envoys, for gateways with `convoy.dev/prefer`; `convoy.dev/region` wins
    #[arg(long, env = "CONVOY_REGION", value_name = "REGION", default_value = "")]
    #[arg(hide_default_value = true)]
    region: String,
    /// Zone of the Envoys, in that region; `convoy.dev/zone` wins
    #[arg(long, env = "CONVOY_ZONE", value_name = "ZONE", default_value = "")]
    #[arg(hide_default_value = true)]
    zone: String,
}

impl GatewayFlags {
    pub(super) fn defaults(&self) -> GatewayDefaults {
        GatewayDefaults {
            http_port: self.http_port,
            https_port: self.https_port,
            ready_port: self.ready_port,
            unprivileged_ports: self.unprivileged_ports,
            listen_address: self.listen_address,
            allow_loopback_endpoints: self.allow_loopback_endpoints,
            allow_kube_system: self.allow_kube_system,
            otlp_endpoint: self.otlp_endpoint.clone(),
            region: self.region.trim().into(),
            zone: self.zone.trim().into(),
        }
    }
}

/// How Envoys reach the Pods of a member, as it is written on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum NetworkName {
    /// Pod addresses are routable
    Underlay,
    /// Through NodePorts
    Overlay,
}

impl From<NetworkName> for Network {
    fn from(name: NetworkName) -> Network {
        match name {
            NetworkName::Underlay => Network::Underlay,
            NetworkName::Overlay => Network::Overlay,
        }
    }
}

/// Parses the name of an `MseIngressConfig`, or `KIND/NAME`.
pub(super) fn gateway(text: &str) -> Result<GatewayId, String> {
    let kinds = GatewayId::KINDS.map(|kind| format!("{kind}/NAME")).join(" or ");
    GatewayId::named(text).ok_or_else(|| format!("it is written NAME, {kinds}"))
}

/// Parses `NAMESPACE/NAME`.
pub(super) fn namespaced(text: &str) -> Result<ObjectName, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok(ObjectName::new(namespace, name))
        }
        Some(_) | None => Err("it is written NAMESPACE/NAME".to_owned()),
    }
}

/// What is logged, and how. The log goes to stderr.
#[derive(Debug, Args)]
#[command(next_help_heading = "Log")]
pub(super) struct LogFlags {
    /// `error`, `warn`, `info`, `debug`, `trace`, or by module: `info,convoy::xds=debug`
    #[arg(long, env = "CONVOY_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    log_level: String,
    /// Lines for people, or JSON objects for machines
    #[arg(long, env = "CONVOY_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl LogFlags {
    /// Sets the log of this process up. Once.
    pub(super) fn init(&self) -> Result<()> {
        // What its errors mean, whoever made the request says; a level named for it wins.
        let filter = format!("kube_client=off,{}", self.log_level);
        let filter = EnvFilter::try_new(filter).context("parse --log-level")?;
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
        match self.log_format {
            LogFormat::Text => log.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).init(),
            LogFormat::Json => log.json().flatten_event(true).init(),
        }
        Ok(())
    }
}
