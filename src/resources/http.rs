//! The HTTP connection manager of every listener: the edge profile and the HTTP filters.
//!
//! Owns what is done to a request before it is routed (semantics.md 3.10, faults.md S12–S15).
//! Must not know hosts or routes: they come over RDS.

use envoy_types::pb::{
    envoy::{
        config::{
            common::mutation_rules::v3::{HeaderMutation, header_mutation::Action as Mutation},
            core::v3 as core,
            listener::v3::{Filter, filter},
        },
        extensions::{
            filters::{
                http::{
                    composite::v3::{Composite, ExecuteFilterAction},
                    header_mutation::v3 as header_mutation,
                    router::v3::Router,
                },
                network::http_connection_manager::v3::{
                    self as pb, http_connection_manager as hcm, http_filter::ConfigType,
                },
            },
            http::early_header_mutation::header_mutation::v3 as early,
        },
        r#type::matcher::v3::HttpRequestHeaderMatchInput,
    },
    xds::{
        core::v3::TypedExtensionConfig as XdsExtension,
        r#type::matcher::v3::{
            Matcher, RegexMatcher, StringMatcher,
            matcher::{self, matcher_list as list, matcher_list::predicate},
            regex_matcher, string_matcher,
        },
    },
};
use prost::{Message, Name};

use crate::{
    model::{Edge, Gateway},
    resources::{defaults, filters, observe, pack, ready},
    settings::Mechanisms,
};

/// Headers that backends believe, because proxies of other makes set them, and that Envoy passes
/// from any client (faults.md M28, S14). Removed before routing, so that no rule can be met by
/// forging one. A proxy before the gateway is no exception: it may pass a client's own.
const FORGEABLE: [&str; 17] = [
    "forwarded",
    "x-forwarded-by",
    "x-forwarded-host",
    "x-forwarded-method",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-forwarded-uri",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
    "x-scheme",
    ready::HEADER,
];

/// Methods that change nothing, so that a request may be sent again after it was sent once.
const SAFE_METHODS: &str = "GET|HEAD|OPTIONS";

/// The filter that a chain ends in. `route_table` is the name that it asks RDS for.
pub(super) fn connection_manager(
    route_table: &str,
    gateway: &Gateway,
    policy: &Edge,
    mechanisms: &Mechanisms,
) -> Filter {
    let retry_resets = mechanisms.retries && mechanisms.retry_resets_of_safe_methods;
    let mut http_filters = Vec::from_iter(observe::arm_filter(gateway));
    http_filters.extend(filters::of_listener(gateway, policy));
    http_filters.extend(retry_resets.then(retry_resets_of_safe_methods));
    http_filters.push(http_filter("envoy.filters.http.router", Router::default()));
    network_filter(
        "envoy.filters.network.http_connection_manager",
        pb::HttpConnectionManager {
            stat_prefix: route_table.into(),
            codec_type: codec(policy).into(),
            route_specifier: Some(routes(route_table)),
            http_filters,
            access_log: observe::access_log(gateway),
            tracing: observe::tracing(gateway),
            upgrade_configs: vec![hcm::UpgradeConfig {
                upgrade_type: "websocket".into(),
                ..Default::default()
            }],
            ..edge(policy)
        },
    )
}

/// Left to itself, Envoy takes HTTP/2 from whoever begins with it, also in plaintext.
fn codec(policy: &Edge) -> hcm::CodecType {
    if policy.http2 { hcm::CodecType::Auto } else { hcm::CodecType::Http1 }
}

/// Routes from the table of that name.
pub(super) fn routes(route_table: &str) -> hcm::RouteSpecifier {
    hcm::RouteSpecifier::Rds(pb::Rds {
        config_source: Some(pack::ads()),
        route_config_name: route_table.into(),
    })
}

/// What makes Envoy safe at the edge; the verdicts it gives are faults.md M26–M28.
///
/// Left as Envoy has it, on purpose: `max_connection_duration` and `request_timeout` are absent,
/// because they would cut WebSockets, watches and uploads that do what they should; a silent stream
/// is cut all the same. `allow_chunked_length` and `accept_http_10` stay off, and an invalid HTTP/2
/// message ends its connection: leniency there is what smuggling is made of.
fn edge(policy: &Edge) -> pb::HttpConnectionManager {
    pb::HttpConnectionManager {
        normalize_path: pack::bool(true),
        merge_slashes: true,
        path_with_escaped_slashes_action: hcm::PathWithEscapedSlashesAction::UnescapeAndRedirect
            .into(),
        use_remote_address: pack::bool(true),
        xff_num_trusted_hops: policy.trusted_hops,
        internal_address_config: Some(nobody_is_internal()),
        early_header_mutation_extensions: vec![early_mutation(FORGEABLE.map(remove).into())],
        common_http_protocol_options: Some(core::HttpProtocolOptions {
            // `x_a` and `x-a` are one header to many backends.
            headers_with_underscores_action:
                core::http_protocol_options::HeadersWithUnderscoresAction::RejectRequest.into(),
            max_headers_count: pack::uint(defaults::MAX_HEADERS),
            idle_timeout: pack::duration(policy.idle_timeout),
            ..Default::default()
        }),
        http2_protocol_options: Some(core::Http2ProtocolOptions {
            max_concurrent_streams: pack::uint(defaults::H2_MAX_STREAMS),
            initial_stream_window_size: pack::uint(defaults::H2_STREAM_WINDOW),
            initial_connection_window_size: pack::uint(defaults::H2_CONNECTION_WINDOW),
            ..Default::default()
        }),
        max_request_headers_kb: pack::uint(policy.max_request_headers_kib),
        stream_idle_timeout: pack::duration(policy.stream_idle_timeout),
        request_headers_timeout: pack::duration(policy.request_headers_timeout),
        ..Default::default()
    }
}

/// Who is internal may send `x-envoy-*` headers that change retries and timeouts. An empty
/// configuration means every private address, measured on Envoy 1.40, so an address is named
/// that no peer can have.
fn nobody_is_internal() -> hcm::InternalAddressConfig {
    let nobody = core::CidrRange { address_prefix: "0.0.0.0".into(), prefix_len: pack::uint(32) };
    hcm::InternalAddressConfig { cidr_ranges: vec![nobody], ..Default::default() }
}

/// Adds to the retry policy of every route, for safe methods only: a filter that runs another
/// one where the method matches, instead of every route twice (M33).
fn retry_resets_of_safe_methods() -> pb::HttpFilter {
    let mutation = header_mutation::HeaderMutation {
        mutations: Some(header_mutation::Mutations {
            request_mutations: vec![overwrite("x-envoy-retry-on", defaults::RETRY_SAFE_METHODS_ON)],
            ..Default::default()
        }),
        ..Default::default()
    };
    let run = ExecuteFilterAction {
        typed_config: Some(pack::extension("envoy.filters.http.header_mutation", mutation)),
        ..Default::default()
    };
    let composite =
        Composite { matcher: Some(method_matcher(SAFE_METHODS, run)), ..Default::default() };
    http_filter("envoy.filters.http.composite", composite)
}

/// Runs `action` if the whole method matches. A list, not a map: maps are encoded in random order.
fn method_matcher(methods: &str, action: ExecuteFilterAction) -> Matcher {
    let method = HttpRequestHeaderMatchInput { header_name: ":method".into() };
    let regex = RegexMatcher {
        regex: methods.into(),
        engine_type: Some(regex_matcher::EngineType::GoogleRe2(regex_matcher::GoogleRe2 {})),
    };
    let value = StringMatcher {
        match_pattern: Some(string_matcher::MatchPattern::SafeRegex(regex)),
        ..Default::default()
    };
    let predicate = predicate::SinglePredicate {
        input: Some(xds_extension("method", method)),
        matcher: Some(predicate::single_predicate::Matcher::ValueMatch(value)),
    };
    let field = list::FieldMatcher {
        predicate: Some(list::Predicate {
            match_type: Some(predicate::MatchType::SinglePredicate(predicate)),
        }),
        on_match: Some(matcher::OnMatch {
            on_match: Some(matcher::on_match::OnMatch::Action(xds_extension("retry", action))),
            ..Default::default()
        }),
    };
    Matcher {
        matcher_type: Some(matcher::MatcherType::MatcherList(matcher::MatcherList {
            matchers: vec![field],
        })),
        ..Default::default()
    }
}

/// Done to a request before anything else sees it.
pub(super) fn early_mutation(mutations: Vec<HeaderMutation>) -> core::TypedExtensionConfig {
    pack::extension(
        "envoy.http.early_header_mutation.header_mutation",
        early::HeaderMutation { mutations },
    )
}

/// Whatever a request has under this name is replaced.
pub(super) fn overwrite(header: &str, value: &str) -> HeaderMutation {
    let header = core::HeaderValueOption {
        header: Some(core::HeaderValue {
            key: header.into(),
            value: value.into(),
            ..Default::default()
        }),
        append_action: core::header_value_option::HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..Default::default()
    };
    HeaderMutation { action: Some(Mutation::Append(header)) }
}

fn remove(header: &str) -> HeaderMutation {
    HeaderMutation { action: Some(Mutation::Remove(header.into())) }
}

pub(super) fn http_filter<T: Name + Message>(name: &str, config: T) -> pb::HttpFilter {
    pb::HttpFilter {
        name: name.into(),
        config_type: Some(ConfigType::TypedConfig(pack::any(config))),
        ..Default::default()
    }
}

pub(super) fn network_filter<T: Name + Message>(name: &str, config: T) -> Filter {
    Filter {
        name: name.into(),
        config_type: Some(filter::ConfigType::TypedConfig(pack::any(config))),
    }
}

fn xds_extension<T: Name + Message>(name: &str, config: T) -> XdsExtension {
    XdsExtension { name: name.into(), typed_config: Some(pack::any(config)) }
}
