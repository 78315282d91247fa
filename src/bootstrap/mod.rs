//! The bootstrap that an Envoy of a gateway starts with.
//!
//! Owns what is filled into `envoy/bootstrap.yaml`, and that nothing filled in can change its
//! structure. Must not know resources or streams. Cost: none worth naming.

mod secrets;

use std::{fmt, net::SocketAddr, num::NonZeroU16, path::PathBuf, str::FromStr};

use serde_json::{Value, json};

use crate::resources::defaults::RE2_PROGRAM_LIMIT;

pub use secrets::{AUTHORITIES_FILE, CREDENTIAL_FILE, XdsTls, secret_files};

/// The text with its `${…}`.
const TEMPLATE: &str = include_str!("../../envoy/bootstrap.yaml");

/// Heap at which Envoy stops accepting requests, unless chosen otherwise: a gateway of 10,000
/// targets needs a quarter of it (performance.md 3.5), and containers of 4 GiB have room for it.
pub const DEFAULT_MAX_HEAP_BYTES: u64 = 2 << 30;

/// Client connections of one Envoy, unless chosen otherwise; about 1 GiB if every one of them were
/// busy. Those to its readiness, metrics and admin interface do not count.
pub const DEFAULT_MAX_CONNECTIONS: u32 = 50_000;

/// Port on which the metrics of Envoys are usually scraped.
pub const METRICS_PORT: u16 = 19001;

/// Connections to the metrics, which the limit of the whole Envoy does not count: a few scrapers.
const METRICS_CONNECTIONS: u32 = 64;

/// Requests that one connection may begin in one turn of a worker (faults.md S15). Browsers send
/// fewer at once; all of [`crate::resources::defaults::H2_MAX_STREAMS`] take ten turns.
const MAX_REQUESTS_PER_IO_CYCLE: u32 = 10;

/// Streams of one connection after which it is closed if half of them ended prematurely. Envoy's
/// own, said here so that a new Envoy does not change it.
const PREMATURE_RESETS: u32 = 500;

/// What is chosen for one Envoy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapOptions {
    /// The gateway it belongs to; `node.cluster`.
    pub gateway: String,
    /// Who it is among the gateway's Envoys; `node.id`.
    pub node_id: String,
    /// Where Convoy serves xDS.
    pub xds: XdsAddress,
    /// How both sides prove who they are. Without it the connection is plaintext, which is for unix
    /// sockets and for development.
    pub tls: Option<XdsTls>,
    /// Which variant of the protocol it speaks.
    pub variant: Variant,
    /// Where its admin interface listens.
    pub admin: AdminAddress,
    /// Where anybody may read its statistics, and nothing else; usually port [`METRICS_PORT`].
    pub metrics: Option<SocketAddr>,
    /// Heap in bytes at which it stops accepting requests.
    pub max_heap_bytes: u64,
    /// Client connections above which it accepts none.
    pub max_connections: u32,
}

/// The variants of the protocol; both serve the same resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Only what changed is sent.
    Delta,
    /// State of the world: all clusters or listeners with every change of one.
    Sotw,
}

/// Where Convoy serves xDS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum XdsAddress {
    /// `HOST:PORT`.
    Host {
        /// Name or address, without the brackets of IPv6.
        host: String,
        /// Port.
        port: NonZeroU16,
    },
    /// `unix:PATH`, on the same machine.
    Unix(PathBuf),
}

/// Where the admin interface listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// A unix socket: who may use it is a matter of file permissions.
    Unix(PathBuf),
    /// An address; loopback, or everybody may stop this Envoy.
    Tcp(SocketAddr),
}

/// Text that is not an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError(String);

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AddressError {}

impl FromStr for XdsAddress {
    type Err = AddressError;

    /// `HOST:PORT`, where the host is a name or an address, IPv6 in brackets; or `unix:PATH`.
    fn from_str(text: &str) -> Result<XdsAddress, AddressError> {
        let refused = || AddressError(format!("`{text}` is neither HOST:PORT nor unix:PATH"));
        if let Some(path) = text.strip_prefix("unix:") {
            let path = (!path.is_empty()).then(|| XdsAddress::Unix(path.into()));
            return path.ok_or_else(refused);
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
        let port = port.parse().map_err(|_| refused())?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        // Without brackets the last group of an IPv6 address would pass for a port.
        if host.is_empty() || (bare.is_none() && host.contains(':')) {
            return Err(refused());
        }
        Ok(XdsAddress::Host { host: host.into(), port })
    }
}

impl FromStr for AdminAddress {
    type Err = AddressError;

    /// An absolute path, with or without `unix:` before it, or `ADDRESS:PORT`.
    fn from_str(text: &str) -> Result<AdminAddress, AddressError> {
        let path = text.strip_prefix("unix:").unwrap_or(text);
        if path.starts_with('/') {
            return Ok(AdminAddress::Unix(path.into()));
        }
        let refused = |_| AddressError(format!("`{text}` is neither a path nor ADDRESS:PORT"));
        text.parse().map(AdminAddress::Tcp).map_err(refused)
    }
}

/// The bootstrap as YAML, comments included.
pub fn render(options: &BootstrapOptions) -> String {
    let mut text = String::with_capacity(TEMPLATE.len() + 512);
    // The comment before the first paragraph is about the template.
    let mut rest = TEMPLATE.split_once("\n\n").map_or(TEMPLATE, |(_, body)| body);
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) =
            after.split_once('}').expect("invariant: `${` is closed in our template");
        text.push_str(before);
        rest = after;
        if let Some(part) = name.strip_suffix('?') {
            if !has(part, options) {
                let end = format!("${{{part}!}}");
                let skipped = rest.split_once(&end).map(|(_, rest)| rest);
                rest = skipped.expect("invariant: a part of our template has an end");
            }
        } else if !name.ends_with('!') {
            // JSON is YAML: whatever the value, it stays one value.
            text.push_str(&value(name, options).to_string());
        }
    }
    text.push_str(rest);
    text
}

/// Whether a part of the template is kept.
fn has(part: &str, options: &BootstrapOptions) -> bool {
    match part {
        "metrics" => options.metrics.is_some(),
        "tls" => options.tls.is_some(),
        "certificate" => options.tls.as_ref().is_some_and(|tls| tls.token.is_none()),
        "token" => options.tls.as_ref().is_some_and(|tls| tls.token.is_some()),
        unknown => unreachable!("invariant: our template has no part `{unknown}`"),
    }
}

fn socket_address(at: SocketAddr) -> Value {
    json!({ "socket_address": { "address": at.ip(), "port_value": at.port() } })
}

fn value(name: &str, options: &BootstrapOptions) -> Value {
    match name {
        "node_id" => json!(options.node_id),
        "gateway" => json!(options.gateway),
        "admin_address" => match &options.admin {
            AdminAddress::Unix(path) => json!({ "pipe": { "path": path } }),
            AdminAddress::Tcp(at) => socket_address(*at),
        },
        "metrics_address" => json!(options.metrics.map(socket_address)),
        "metrics_connections" => json!(METRICS_CONNECTIONS),
        "api_type" => match options.variant {
            Variant::Delta => json!("DELTA_GRPC"),
            Variant::Sotw => json!("GRPC"),
        },
        "xds_type" => match &options.xds {
            XdsAddress::Host { .. } => json!("STRICT_DNS"),
            XdsAddress::Unix(_) => json!("STATIC"),
        },
        "xds_address" => match &options.xds {
            XdsAddress::Host { host, port } => {
                json!({ "socket_address": { "address": host, "port_value": port } })
            }
            XdsAddress::Unix(path) => json!({ "pipe": { "path": path } }),
        },
        "sni" => json!(options.tls.as_ref().and_then(XdsTls::sni)),
        "credential_secret" => json!(options.tls.as_ref().map(secrets::credential_config)),
        "authorities_secret" => json!(options.tls.as_ref().map(secrets::authorities_config)),
        "max_heap_bytes" => json!(options.max_heap_bytes),
        "max_connections" => json!(options.max_connections),
        "max_requests_per_io_cycle" => json!(MAX_REQUESTS_PER_IO_CYCLE),
        "premature_resets" => json!(PREMATURE_RESETS),
        "re2_program_limit" => json!(RE2_PROGRAM_LIMIT),
        unknown => unreachable!("invariant: our template knows no `{unknown}`"),
    }
}

#[cfg(test)]
mod tests;
