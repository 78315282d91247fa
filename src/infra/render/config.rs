//! The files that an Envoy of a managed gateway starts with.

use std::{collections::BTreeMap, net::Ipv4Addr, path::PathBuf};

use crate::{
    bootstrap::{self, AdminAddress, BootstrapOptions, METRICS_PORT, Variant, XdsAddress, XdsTls},
    gateway::Size,
    infra::{Certificates, Options, render::Managed},
};

/// Where the files are.
pub(super) const CONFIG_DIR: &str = "/etc/envoy";
/// Where the certificate for xDS is.
pub(super) const CERTIFICATES_DIR: &str = "/etc/envoy-xds";
/// Where Envoy makes the socket of its admin interface.
pub(super) const RUN_DIR: &str = "/run/envoy";
/// The socket.
pub(super) const ADMIN_SOCKET: &str = "/run/envoy/admin.sock";
/// The bootstrap among the files.
pub(super) const BOOTSTRAP: &str = "envoy.yaml";

/// All files by name.
pub(super) fn files(managed: &Managed, options: &Options) -> BTreeMap<&'static str, String> {
    let tls = tls(options);
    let secrets = tls.as_ref().map(bootstrap::secret_files);
    let bootstrap = bootstrap::render(&BootstrapOptions {
        gateway: managed.id.to_string(),
        // Of no Pod: each says its own on its command line.
        node_id: "envoy".to_owned(),
        xds: options.xds.clone(),
        tls,
        variant: Variant::Delta,
        admin: AdminAddress::Unix(PathBuf::from(ADMIN_SOCKET)),
        metrics: Some((Ipv4Addr::UNSPECIFIED, METRICS_PORT).into()),
        max_heap_bytes: max_heap_bytes(managed.instance.size),
        max_connections: bootstrap::DEFAULT_MAX_CONNECTIONS,
    });
    secrets.into_iter().flatten().chain([(BOOTSTRAP, bootstrap)]).collect()
}

/// How Envoy and Convoy prove who they are, if they do.
fn tls(options: &Options) -> Option<XdsTls> {
    let host = match (options.certificates, &options.xds) {
        (Certificates::Issued | Certificates::Brought, XdsAddress::Host { host, .. }) => host,
        (Certificates::None, _) | (_, XdsAddress::Unix(_)) => return None,
    };
    Some(XdsTls {
        certificates: CERTIFICATES_DIR.into(),
        config_dir: CONFIG_DIR.into(),
        server_name: host.clone(),
        token: None,
    })
}

/// Half of the memory, as the bootstrap's default has half of 4 GiB: what is not heap, and what a
/// burst takes before the overload manager looks again, has the other half.
fn max_heap_bytes(size: Size) -> u64 {
    u64::from(size.memory_gib()) << 29
}
