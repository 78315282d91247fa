//! LDS: the listeners of a gateway.
//!
//! Owns addresses and filter chains; what a chain does with HTTP is [`super::http`]. Nothing of a
//! host is in a listener but its name in a TLS chain, so routes change without draining
//! connections. Cost: linear in the certificates.

use std::{collections::BTreeMap, sync::Arc};

use envoy_types::pb::envoy::{
    config::{
        core::v3::{TransportSocket, transport_socket},
        listener::v3::{self as pb, listener_filter},
    },
    extensions::{
        filters::listener::tls_inspector::v3::TlsInspector,
        transport_sockets::tls::v3::{CommonTlsContext, DownstreamTlsContext, SdsSecretConfig},
    },
};
use prost::Message;

use crate::{
    model::{Edge, Gateway, Host, ListenerKey, TlsHosts, Transport, name},
    resources::{defaults, http, pack},
    settings::Mechanisms,
    snapshot::{Kind, Resource},
};

/// Name of the chain for clients that name no host, or none that has a certificate. No Secret can
/// be called so: their names have a slash.
const DEFAULT_CHAIN: &str = "default";

/// The listener `key` of a gateway; `None` if it has none such, and while there is no filter
/// chain, because Envoy refuses a listener without.
pub fn build(
    key: ListenerKey,
    gateway: &Gateway,
    tls: &TlsHosts,
    mechanisms: &Mechanisms,
) -> Option<Resource> {
    let name = name::listener(key);
    let own = gateway.listeners.get(&key)?;
    let http = http::connection_manager(&name, gateway, &own.edge, mechanisms);
    let (filter_chains, listener_filters) = match key.transport {
        Transport::Plaintext => (vec![plain_chain(&name, http)], Vec::new()),
        Transport::Tls => (tls_chains(tls, &own.edge, &http), vec![tls_inspector()]),
    };
    if filter_chains.is_empty() {
        return None;
    }
    let listener = pb::Listener {
        name: name.to_string(),
        address: Some(pack::socket_address(gateway.listen_address, own.port.bound)),
        filter_chains,
        listener_filters,
        per_connection_buffer_limit_bytes: pack::uint(defaults::CONNECTION_BUFFER),
        ..Default::default()
    };
    Some(Resource::new(Kind::Listener, name, &listener.encode_to_vec(), Vec::new()))
}

/// A chain of one filter, whatever connects.
fn plain_chain(name: &str, http: pb::Filter) -> pb::FilterChain {
    pb::FilterChain { name: name.into(), filters: vec![http], ..Default::default() }
}

/// One chain a certificate, so that a certificate's hosts come and go without touching others.
fn tls_chains(tls: &TlsHosts, edge: &Edge, http: &pb::Filter) -> Vec<pb::FilterChain> {
    let mut server_names: BTreeMap<&Arc<str>, Vec<String>> = BTreeMap::new();
    let mut chains = Vec::new();
    for (host, secret) in &tls.chains {
        match host {
            Host::Exact(_) | Host::Wildcard(_) => {
                server_names.entry(secret).or_default().push(host.to_string());
            }
            Host::Any => chains.push(tls_chain(DEFAULT_CHAIN, Vec::new(), secret, edge, http)),
        }
    }
    let named = server_names.into_iter();
    chains.extend(named.map(|(secret, hosts)| tls_chain(secret, hosts, secret, edge, http)));
    chains
}

fn tls_chain(
    name: &str,
    server_names: Vec<String>,
    secret: &str,
    edge: &Edge,
    http: &pb::Filter,
) -> pb::FilterChain {
    let spoken: &[&str] = if edge.http2 { &["h2", "http/1.1"] } else { &["http/1.1"] };
    let alpn = spoken.iter().map(|own| (*own).to_owned()).collect();
    let context = DownstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            alpn_protocols: alpn,
            tls_certificate_sds_secret_configs: vec![SdsSecretConfig {
                name: secret.into(),
                sds_config: Some(pack::ads()),
            }],
            ..Default::default()
        }),
        ..Default::default()
    };
    pb::FilterChain {
        // xds: an empty match is the chain of last resort.
        filter_chain_match: Some(pb::FilterChainMatch { server_names, ..Default::default() }),
        transport_socket: Some(TransportSocket {
            name: "envoy.transport_sockets.tls".into(),
            config_type: Some(transport_socket::ConfigType::TypedConfig(pack::any(context))),
        }),
        transport_socket_connect_timeout: pack::duration(defaults::HANDSHAKE_TIMEOUT),
        ..plain_chain(name, http.clone())
    }
}

/// Reads the server name, which chains are chosen by.
fn tls_inspector() -> pb::ListenerFilter {
    pb::ListenerFilter {
        name: "envoy.filters.listener.tls_inspector".into(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(pack::any(
            TlsInspector::default(),
        ))),
        ..Default::default()
    }
}
