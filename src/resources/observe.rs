//! What Envoys say of requests: a line of the access log, and spans (semantics.md 1.1, `monitor`).
//!
//! Owns which fields there are, and how the member and the Ingress of a request are found. Must not
//! know why a request went where it went. Cost: nothing a request where it is off. The member is
//! read from the locality that balancing has anyway, so no endpoint is a byte larger.

use envoy_types::pb::{
    envoy::{
        config::{
            accesslog::v3::{AccessLog, access_log},
            cluster::v3::{Cluster, cluster as parts},
            core::v3::{
                self as core, SubstitutionFormatString, data_source, grpc_service,
                substitution_format_string::Format,
            },
            endpoint::v3 as endpoint,
            trace::v3::{OpenTelemetryConfig, tracing as provider},
        },
        extensions::{
            access_loggers::stream::v3::{StdoutAccessLog, stdout_access_log::AccessLogFormat},
            filters::{
                common::set_filter_state::v3::{
                    FilterStateValue,
                    filter_state_value::{Key, Value as StateValue},
                },
                http::set_filter_state::v3::Config as SetFilterState,
                network::http_connection_manager::v3::{
                    HttpFilter, http_connection_manager as hcm,
                },
            },
        },
        r#type::{
            tracing::v3::{CustomTag, custom_tag},
            v3::Percent,
        },
    },
    google::protobuf::{Any, Struct, Value, value},
};
use prost::{Message, Name};

use crate::{
    model::{Gateway, Tracing, name},
    resources::{defaults, http, pack},
    settings::Collector,
    snapshot::{Kind, Resource},
};

/// Name of the filter that takes note of the Ingress of a canary's share.
pub(super) const ARM_FILTER: &str = "convoy.arm";

/// Where it notes it. A route knows its own Ingress; which share a request fell to is known only
/// to the share.
const ARM_STATE: &str = "convoy.ingress";

/// The member that answered, or was tried last: assignments have it as the locality's sub-zone.
const MEMBER: &str = "%CEL(upstream.locality.sub_zone)%";

/// The Ingress that the request was served for, as namespace and name: of the canary whose share
/// it fell to, or else of the route.
const INGRESS: &str = r#"%COALESCE({"operators":[{"command":"FILTER_STATE","param":"convoy.ingress:PLAIN"},"ROUTE_NAME"]})%"#;

/// Every field of a line and where Envoy takes it from; `null` where there is nothing. What a
/// client makes up is cut, so that no request is a long line.
const FIELDS: [(&str, &str); 22] = [
    ("attempt", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
    ("authority", "%REQ(:AUTHORITY):256%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("client", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
    ("duration_ms", "%DURATION%"),
    ("ingress", INGRESS),
    ("member", MEMBER),
    ("method", "%REQ(:METHOD):32%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH):2048%"),
    ("protocol", "%PROTOCOL%"),
    ("request_id", "%REQ(X-REQUEST-ID):64%"),
    ("response_details", "%RESPONSE_CODE_DETAILS%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("route", "%METADATA(ROUTE:convoy:origin)%"),
    ("server_name", "%REQUESTED_SERVER_NAME%"),
    ("status", "%RESPONSE_CODE%"),
    ("time", "%START_TIME%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_failure", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("user_agent", "%REQ(USER-AGENT):512%"),
];

/// A line of JSON on stdout for each request, if the gateway asks for it.
pub(super) fn access_log(gateway: &Gateway) -> Vec<AccessLog> {
    let log = || AccessLog {
        name: "envoy.access_loggers.stdout".into(),
        config_type: Some(access_log::ConfigType::TypedConfig(json_lines(&FIELDS))),
        ..Default::default()
    };
    gateway.access_log.then(log).into_iter().collect()
}

/// The fields are a proto map, which would be encoded in random order. A message that is written
/// twice is merged, so each field is a message of its own, in order.
fn json_lines(fields: &[(&str, &str)]) -> Any {
    let one = |(field, format): &(&str, &str)| {
        let format = Value { kind: Some(value::Kind::StringValue((*format).into())) };
        let log = StdoutAccessLog {
            access_log_format: Some(AccessLogFormat::LogFormat(SubstitutionFormatString {
                format: Some(Format::JsonFormat(Struct { fields: pack::one(field, format) })),
                ..Default::default()
            })),
        };
        log.encode_to_vec()
    };
    Any { type_url: StdoutAccessLog::type_url(), value: fields.iter().flat_map(one).collect() }
}

/// What takes note of a canary's share, where somebody reads it. First of the filters, so that a
/// request which another filter answers has it too.
pub(super) fn arm_filter(gateway: &Gateway) -> Option<HttpFilter> {
    let is_read = gateway.access_log || gateway.tracing.is_some();
    is_read.then(|| http::http_filter(ARM_FILTER, SetFilterState::default()))
}

/// For a share of a route: its requests are served for this Ingress.
pub(super) fn arm(ingress: &str) -> Any {
    let text = core::SubstitutionFormatString {
        format: Some(Format::TextFormatSource(core::DataSource {
            // A `%` would begin a command; names of objects have none.
            specifier: Some(data_source::Specifier::InlineString(ingress.into())),
            ..Default::default()
        })),
        ..Default::default()
    };
    pack::any(SetFilterState {
        on_request_headers: vec![FilterStateValue {
            key: Some(Key::ObjectKey(ARM_STATE.into())),
            factory_key: "envoy.string".into(),
            value: Some(StateValue::FormatString(text)),
            ..Default::default()
        }],
        ..Default::default()
    })
}

/// Spans of requests, if the gateway asks for them.
pub(super) fn tracing(gateway: &Gateway) -> Option<hcm::Tracing> {
    let Tracing { collector, per_million } = gateway.tracing.as_ref()?;
    let tracer = OpenTelemetryConfig {
        grpc_service: Some(core::GrpcService {
            target_specifier: Some(grpc_service::TargetSpecifier::EnvoyGrpc(
                grpc_service::EnvoyGrpc {
                    cluster_name: name::COLLECTOR.into(),
                    authority: collector.to_string(),
                    ..Default::default()
                },
            )),
            timeout: pack::duration(defaults::EXPORT_TIMEOUT),
            ..Default::default()
        }),
        service_name: gateway.id.name.name.to_string(),
        ..Default::default()
    };
    Some(hcm::Tracing {
        // The peer is a client: it may not have its own requests traced.
        client_sampling: percent(0.0),
        random_sampling: percent(f64::from(*per_million) / 10_000.0),
        overall_sampling: percent(100.0),
        custom_tags: vec![tag("convoy.ingress", INGRESS), tag("convoy.member", MEMBER)],
        provider: Some(provider::Http {
            name: "envoy.tracers.opentelemetry".into(),
            config_type: Some(provider::http::ConfigType::TypedConfig(pack::any(tracer))),
        }),
        ..Default::default()
    })
}

fn percent(value: f64) -> Option<Percent> {
    Some(Percent { value })
}

fn tag(tag: &str, format: &str) -> CustomTag {
    CustomTag { tag: tag.into(), r#type: Some(custom_tag::Type::Value(format.into())) }
}

/// The cluster that takes spans. It is on no request's way: when it is down, spans are lost.
pub fn collector(collector: &Collector) -> Resource {
    let address = core::SocketAddress {
        address: collector.host().into(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(
            collector.port().into(),
        )),
        ..Default::default()
    };
    let address = core::Address { address: Some(core::address::Address::SocketAddress(address)) };
    let endpoint = endpoint::LbEndpoint {
        host_identifier: Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(
            endpoint::Endpoint { address: Some(address), ..Default::default() },
        )),
        ..Default::default()
    };
    let cluster = Cluster {
        // An address needs no lookup and is taken as it is.
        cluster_discovery_type: Some(parts::ClusterDiscoveryType::Type(
            parts::DiscoveryType::StrictDns.into(),
        )),
        load_assignment: Some(endpoint::ClusterLoadAssignment {
            cluster_name: name::COLLECTOR.into(),
            endpoints: vec![endpoint::LocalityLbEndpoints {
                lb_endpoints: vec![endpoint],
                ..Default::default()
            }],
            ..Default::default()
        }),
        ..super::cluster::grpc(name::COLLECTOR)
    };
    Resource::new(Kind::Cluster, name::COLLECTOR.into(), &cluster.encode_to_vec(), Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_merged_in_order() {
        let any = json_lines(&FIELDS);
        assert_eq!(any.value, json_lines(&FIELDS).value, "the same bytes");
        let log = StdoutAccessLog::decode(&*any.value).unwrap();
        let Some(AccessLogFormat::LogFormat(format)) = log.access_log_format else { panic!() };
        let Some(Format::JsonFormat(fields)) = format.format else { panic!() };
        assert_eq!(fields.fields.len(), FIELDS.len());
        assert!(FIELDS.is_sorted(), "as Envoy writes them");
        assert!(INGRESS.contains(ARM_STATE));
    }
}
