//! Readiness: a listener that answers from the route table that clients are served from.
//!
//! Envoy's own `/ready` says 200 although every route was refused, or none arrived (faults.md M4,
//! D1). Here one route of the table `http` is the answer, so 200 means that the table is there.
//! Owns that route and its listener. Must not know other hosts. Cost: none worth naming.

use bytes::Bytes;
use envoy_types::pb::envoy::{
    config::{
        core::v3::HttpProtocolOptions,
        listener::v3::{FilterChain, Listener},
        rbac::v3::{self as rbac, permission, principal},
        route::v3 as route,
    },
    extensions::filters::{
        http::{health_check::v3::HealthCheck, rbac::v3::Rbac, router::v3::Router},
        network::{
            connection_limit::v3::ConnectionLimit,
            http_connection_manager::v3::HttpConnectionManager,
        },
    },
};
use prost::Message;

use crate::{
    model::{Gateway, name},
    resources::{conditions, defaults, http, pack},
    settings::{READY_HOST, READY_PATH},
    snapshot::{Kind, Resource},
};

/// Added by this listener and removed by all others, before routing: on the ports of clients
/// [`READY_HOST`] answers 404, whatever they send.
pub(super) const HEADER: &str = "x-convoy-ready";

/// What the table of plaintext has for readiness.
pub(super) fn virtual_host() -> Bytes {
    let only_here = route::header_matcher::HeaderMatchSpecifier::PresentMatch(true);
    let matches = route::RouteMatch {
        path_specifier: Some(route::route_match::PathSpecifier::Path(READY_PATH.into())),
        headers: vec![route::HeaderMatcher {
            name: HEADER.into(),
            header_match_specifier: Some(only_here),
            ..Default::default()
        }],
        ..Default::default()
    };
    let ready = route::DirectResponseAction { status: 200, ..Default::default() };
    let host = route::VirtualHost {
        name: READY_HOST.into(),
        domains: vec![READY_HOST.into()],
        routes: vec![route::Route {
            r#match: Some(matches),
            action: Some(route::route::Action::DirectResponse(ready)),
            ..Default::default()
        }],
        ..Default::default()
    };
    host.encode_to_vec().into()
}

/// The readiness listener of a gateway.
pub fn listener(gateway: &Gateway) -> Resource {
    let limit = ConnectionLimit {
        stat_prefix: name::READY.into(),
        max_connections: pack::long(defaults::PROBE_CONNECTIONS),
        ..Default::default()
    };
    let filters = vec![
        http::network_filter("envoy.filters.network.connection_limit", limit),
        http::network_filter("envoy.filters.network.http_connection_manager", manager(gateway)),
    ];
    let listener = Listener {
        name: name::READY.into(),
        address: Some(pack::socket_address(gateway.listen_address, gateway.ready_port)),
        filter_chains: vec![FilterChain {
            name: name::READY.into(),
            filters,
            ..Default::default()
        }],
        // An overloaded Envoy that fell out of its Service would leave its load to the others.
        ignore_global_conn_limit: true,
        bypass_overload_manager: true,
        ..Default::default()
    };
    Resource::new(Kind::Listener, name::READY.into(), &listener.encode_to_vec(), Vec::new())
}

/// First nothing but the question for readiness is let in, then an Envoy that drains says 503, and
/// then the table answers.
fn manager(gateway: &Gateway) -> HttpConnectionManager {
    let drain = HealthCheck {
        // xds: 503 after `/healthcheck/fail`; passed on otherwise.
        pass_through_mode: pack::bool(true),
        headers: vec![conditions::header(":path", pack::exact(READY_PATH))],
        ..Default::default()
    };
    HttpConnectionManager {
        stat_prefix: name::READY.into(),
        route_specifier: Some(http::routes(&name::listener(gateway.ready_listener()))),
        http_filters: vec![
            http::http_filter("envoy.filters.http.rbac", only_the_probe()),
            http::http_filter("envoy.filters.http.health_check", drain),
            http::http_filter("envoy.filters.http.router", Router::default()),
        ],
        early_header_mutation_extensions: vec![http::early_mutation(vec![http::overwrite(
            HEADER, "1",
        )])],
        common_http_protocol_options: Some(HttpProtocolOptions {
            idle_timeout: pack::duration(defaults::PROBE_TIMEOUT),
            ..Default::default()
        }),
        request_headers_timeout: pack::duration(defaults::PROBE_TIMEOUT),
        stream_idle_timeout: pack::duration(defaults::PROBE_TIMEOUT),
        ..Default::default()
    }
}

/// Other hosts of the table are not served here.
fn only_the_probe() -> Rbac {
    // `:path` is the path with its query, if there is one.
    let asked = [(":authority", READY_HOST), (":method", "GET"), (":path", READY_PATH)];
    let rules = asked.map(|(name, value)| rbac::Permission {
        rule: Some(permission::Rule::Header(conditions::header(name, pack::exact(value)))),
    });
    let all = permission::Rule::AndRules(permission::Set { rules: rules.into() });
    let probe = rbac::Policy {
        permissions: vec![rbac::Permission { rule: Some(all) }],
        principals: vec![rbac::Principal { identifier: Some(principal::Identifier::Any(true)) }],
        ..Default::default()
    };
    let rules = rbac::Rbac { policies: pack::one(name::READY, probe), ..Default::default() };
    Rbac { rules: Some(rules), ..Default::default() }
}
