//! HTTP filters that gateways and routes ask for: who may use a listener, compression, rate limits,
//! CORS.
//!
//! What a route may ask for is in the chain of every listener of its gateway from the start, and
//! off: a route switches it on for itself by its configuration, so a route never changes a listener,
//! which would drain connections. Must not know why a route asks. Cost: a filter that is off is not
//! created for a request.

mod limit;

use envoy_types::pb::{
    envoy::{
        config::{
            core::v3 as core,
            rbac::v3::{self as rbac, permission, principal},
        },
        extensions::{
            compression::gzip::compressor::v3::Gzip,
            filters::{
                http::{
                    compressor::v3::{Compressor, compressor},
                    cors::v3::{Cors as CorsFilter, CorsPolicy},
                    local_ratelimit::v3::LocalRateLimit,
                    rbac::v3::Rbac,
                },
                network::http_connection_manager::v3::HttpFilter,
            },
        },
        r#type::matcher::v3::StringMatcher,
    },
    google::protobuf::Any,
};
use regex_syntax::escape;

use crate::{
    cidr::Cidr,
    key::ObjectKind,
    model::{Access, Cors, Edge, Filters, Gateway, Origin},
    resources::{defaults, http, pack},
};

/// Names by which routes configure what is in the chain.
const CORS: &str = "envoy.filters.http.cors";
const LIMIT: &str = "envoy.filters.http.local_ratelimit";

/// The name of the only policy of an access list.
const POLICY: &str = "clients";

/// Those of a listener, in the order in which they see a request: who may not come in costs
/// nothing else, and a limit counts whatever is asked (semantics.md 2.6).
pub(super) fn of_listener(gateway: &Gateway, edge: &Edge) -> Vec<HttpFilter> {
    let mut filters = Vec::from_iter(access(&edge.access));
    // Routes of the other kind have no annotation that asks for one.
    if gateway.id.kind == ObjectKind::AlbConfig {
        filters.push(on_demand(http::http_filter(LIMIT, limit::in_chain())));
        filters.push(on_demand(http::http_filter(CORS, CorsFilter::default())));
    }
    filters.extend(edge.gzip.then(compression));
    filters
}

/// What a route is configured with, by the name of the filter.
pub(super) fn of_route(filters: &Filters) -> Vec<(&'static str, Any)> {
    let limit = filters.limit.map(|own| (LIMIT, pack::any::<LocalRateLimit>(limit::of_route(own))));
    let cors = filters.cors.as_ref().map(|own| (CORS, pack::any(cors(own))));
    limit.into_iter().chain(cors).collect()
}

fn on_demand(filter: HttpFilter) -> HttpFilter {
    // xds: a route that configures a disabled filter enables it.
    HttpFilter { disabled: true, ..filter }
}

/// By the client's address as the gateway trusts it; who is refused gets 403.
fn access(access: &Access) -> Option<HttpFilter> {
    let (action, ranges) = match access {
        Access::Open => return None,
        Access::Only(ranges) => (rbac::rbac::Action::Allow, ranges),
        Access::Except(ranges) => (rbac::rbac::Action::Deny, ranges),
    };
    let clients = rbac::Policy {
        permissions: vec![rbac::Permission { rule: Some(permission::Rule::Any(true)) }],
        principals: ranges.iter().map(client).collect(),
        ..Default::default()
    };
    let rules = rbac::Rbac {
        action: action.into(),
        policies: pack::one(POLICY, clients),
        ..Default::default()
    };
    let filter = Rbac { rules: Some(rules), ..Default::default() };
    Some(http::http_filter("envoy.filters.http.rbac", filter))
}

fn client(range: &Cidr) -> rbac::Principal {
    let range = core::CidrRange {
        address_prefix: range.address().to_string(),
        prefix_len: pack::uint(range.bits().into()),
    };
    rbac::Principal { identifier: Some(principal::Identifier::RemoteIp(range)) }
}

/// Of what Envoy knows to compress well; streams of events and gRPC are none of it.
fn compression() -> HttpFilter {
    let common = compressor::CommonDirectionConfig {
        min_content_length: pack::uint(defaults::COMPRESS_FROM),
        ..Default::default()
    };
    let filter = Compressor {
        compressor_library: Some(pack::extension("gzip", Gzip::default())),
        response_direction_config: Some(compressor::ResponseDirectionConfig {
            common_config: Some(common),
            ..Default::default()
        }),
        ..Default::default()
    };
    http::http_filter("envoy.filters.http.compressor", filter)
}

fn cors(cors: &Cors) -> CorsPolicy {
    CorsPolicy {
        allow_origin_string_match: cors.origins.iter().map(origin).collect(),
        allow_methods: cors.methods.to_string(),
        allow_headers: cors.headers.to_string(),
        expose_headers: cors.exposed.to_string(),
        max_age: cors.max_age.to_string(),
        allow_credentials: pack::bool(cors.credentials),
        ..Default::default()
    }
}

fn origin(origin: &Origin) -> StringMatcher {
    match origin {
        Origin::Any => pack::full_match(".*".into()),
        Origin::Exact(origin) => pack::exact(origin),
        Origin::Below { scheme, domain } => {
            pack::full_match(format!(r"{}[^/]+\.{}", escape(scheme), escape(domain)))
        }
    }
}

#[cfg(test)]
mod tests;
