//! What a request must be like for a route to apply: path, host guard, headers, query, cookies.
//!
//! Owns the mapping of semantics.md 3.1, 4.6 and 4.8 to Envoy's matchers. Every expression that
//! is formed here is either a checked [`Regex`] or escaped text.

use envoy_types::pb::envoy::{
    config::route::v3::{
        self as pb, header_matcher::HeaderMatchSpecifier,
        query_parameter_matcher::QueryParameterMatchSpecifier, route_match::PathSpecifier,
    },
    r#type::matcher::v3::StringMatcher,
};
use regex_syntax::escape;

use crate::{
    model::{Condition, Host, Ipv4Range, PathMatch, Regex, ValueMatch},
    resources::pack,
};

/// Where the connection manager writes the client's address.
const TRUSTED_ADDRESS: &str = "x-envoy-external-address";

/// The match of one route of `host`.
pub(super) fn route_match(
    host: &Host,
    path: &PathMatch,
    conditions: &[Condition],
) -> pb::RouteMatch {
    let mut built =
        pb::RouteMatch { path_specifier: Some(path_specifier(path)), ..Default::default() };
    built.headers.extend(wildcard_guard(host));
    for condition in conditions {
        match condition {
            Condition::Header(name, value) => built.headers.push(header(name, string(value))),
            Condition::Query(name, value) => {
                built.query_parameters.push(query(name, string(value)))
            }
            Condition::Cookie(name, value) => built.headers.push(cookie(name, value)),
            Condition::Client(ranges) => built.headers.push(client(ranges)),
        }
    }
    built
}

fn path_specifier(path: &PathMatch) -> PathSpecifier {
    match path {
        PathMatch::Exact(path) => PathSpecifier::Path(path.to_string()),
        PathMatch::Prefix(path) => PathSpecifier::PathSeparatedPrefix(path.to_string()),
        // xds: the whole path, without its query.
        PathMatch::Regex(regex) => PathSpecifier::SafeRegex(pack::re2(regex.as_str().into())),
        PathMatch::Any => PathSpecifier::Prefix("/".into()),
    }
}

/// Envoy's `*.foo.com` takes any number of labels, an Ingress's exactly one (4.8).
fn wildcard_guard(host: &Host) -> Option<pb::HeaderMatcher> {
    match host {
        Host::Exact(_) | Host::Any => None,
        Host::Wildcard(suffix) => {
            let one_label = format!(r"(?i)[^.]+\.{}(:\d+)?", escape(suffix));
            Some(header(":authority", pack::full_match(one_label)))
        }
    }
}

/// Several headers of one name are compared as one, joined by commas, as HTTP defines them: a
/// value that is sent twice is not equal to itself sent once.
pub(super) fn header(name: &str, value: StringMatcher) -> pb::HeaderMatcher {
    pb::HeaderMatcher {
        name: name.into(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(value)),
        ..Default::default()
    }
}

fn query(name: &str, value: StringMatcher) -> pb::QueryParameterMatcher {
    pb::QueryParameterMatcher {
        name: name.into(),
        query_parameter_match_specifier: Some(QueryParameterMatchSpecifier::StringMatch(value)),
    }
}

/// One cookie among the others of its header (3.1).
fn cookie(name: &str, value: &str) -> pb::HeaderMatcher {
    let regex = format!(r"(.*?;\s*)?({}={})(;.*)?", escape(name), escape(value));
    header("cookie", pack::full_match(regex))
}

/// The connection manager writes the address that it trusts into this header, before a route is
/// chosen and over whatever the client sent; measured on Envoy 1.40.
fn client(ranges: &[Ipv4Range]) -> pb::HeaderMatcher {
    let ranges: Vec<_> = ranges.iter().map(range).collect();
    header(TRUSTED_ADDRESS, pack::full_match(format!("(?:{})", ranges.join("|"))))
}

/// An expression for the addresses of a range, in dotted decimals without leading zeros.
fn range(range: &Ipv4Range) -> String {
    let mut parts = Vec::new();
    let mut bits = range.bits.min(32);
    for octet in range.network.octets() {
        let own = bits.min(8);
        bits -= own;
        if own == 0 {
            // Whatever follows is free.
            parts.push("[0-9.]+".to_owned());
            break;
        }
        let free = u8::MAX.checked_shr(own.into()).unwrap_or(0);
        parts.push(octets(octet & !free, octet | free));
    }
    parts.join(r"\.")
}

/// The numbers from `first` to `last`, ten by ten.
fn octets(first: u8, last: u8) -> String {
    let tens = (first / 10..=last / 10).map(|ten| {
        let from = first.max(ten * 10) % 10;
        let to = last.min((ten * 10).saturating_add(9)) % 10;
        let ten = if ten == 0 { String::new() } else { ten.to_string() };
        if from == to { format!("{ten}{from}") } else { format!("{ten}[{from}-{to}]") }
    });
    let tens: Vec<_> = tens.collect();
    match tens.as_slice() {
        [one] => one.clone(),
        several => format!("(?:{})", several.join("|")),
    }
}

fn string(value: &ValueMatch) -> StringMatcher {
    match value {
        ValueMatch::Exact(value) => pack::exact(value),
        ValueMatch::OneOf(values) => {
            let values: Vec<_> = values.iter().map(|value| escape(value)).collect();
            pack::full_match(format!("(?:{})", values.join("|")))
        }
        ValueMatch::Contains(regex) => pack::full_match(search(regex)),
    }
}

/// Envoy matches whole values only. A header value has no line break, so `.` misses nothing.
fn search(regex: &Regex) -> String {
    format!(".*(?:{}).*", regex.as_str())
}

#[cfg(test)]
mod tests;
