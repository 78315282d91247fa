//! Small protos that every resource uses. Proto maps get at most one entry: they are hash maps,
//! and two entries would be encoded in random order (architecture.md, invariant 2).

use std::{collections::HashMap, time::Duration};

use envoy_types::pb::{
    envoy::config::core::v3 as core, envoy::r#type::matcher::v3 as matcher, google::protobuf as pb,
};
use prost::{Message, Name};

pub(super) use envoy_types::util::pack_any as any;

pub(super) fn duration(duration: Duration) -> Option<pb::Duration> {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Some(pb::Duration { seconds, nanos: duration.subsec_nanos().cast_signed() })
}

pub(super) fn uint(value: u32) -> Option<pb::UInt32Value> {
    Some(pb::UInt32Value { value })
}

pub(super) fn long(value: u64) -> Option<pb::UInt64Value> {
    Some(pb::UInt64Value { value })
}

pub(super) fn bool(value: bool) -> Option<pb::BoolValue> {
    Some(pb::BoolValue { value })
}

/// A typed extension: Envoy finds it by type, people by name.
pub(super) fn extension<T: Name + Message>(name: &str, config: T) -> core::TypedExtensionConfig {
    core::TypedExtensionConfig { name: name.into(), typed_config: Some(any(config)) }
}

/// A proto map of one entry.
pub(super) fn one<V>(key: &str, value: V) -> HashMap<String, V> {
    HashMap::from([(key.to_string(), value)])
}

/// The stream of the bootstrap. Timeouts of the first fetch are Envoy's 15 s on purpose: a
/// cluster without an answer to its EDS request falls back to the assignment it knows only after
/// it (xds.md 3.1, 3.5).
pub(super) fn ads() -> core::ConfigSource {
    core::ConfigSource {
        resource_api_version: core::ApiVersion::V3.into(),
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(
            core::AggregatedConfigSource {},
        )),
        ..Default::default()
    }
}

pub(super) fn socket_address(ip: std::net::IpAddr, port: u16) -> core::Address {
    let socket = core::SocketAddress {
        protocol: core::socket_address::Protocol::Tcp.into(),
        address: ip.to_string(),
        // `::` serves both families.
        ipv4_compat: ip.is_ipv6() && ip.is_unspecified(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port.into())),
        ..Default::default()
    };
    core::Address { address: Some(core::address::Address::SocketAddress(socket)) }
}

/// Equal, case-sensitive.
pub(super) fn exact(text: &str) -> matcher::StringMatcher {
    string_matcher(matcher::string_matcher::MatchPattern::Exact(text.into()))
}

/// The whole text matches.
pub(super) fn full_match(regex: String) -> matcher::StringMatcher {
    string_matcher(matcher::string_matcher::MatchPattern::SafeRegex(re2(regex)))
}

pub(super) fn re2(regex: String) -> matcher::RegexMatcher {
    matcher::RegexMatcher { regex, ..Default::default() }
}

fn string_matcher(pattern: matcher::string_matcher::MatchPattern) -> matcher::StringMatcher {
    matcher::StringMatcher { match_pattern: Some(pattern), ..Default::default() }
}
