//! `conditions.<service>`: which requests of a path the rules are for.

use std::collections::{BTreeMap, BTreeSet};

use super::json::{self, Element, Fields};
use crate::{
    cidr::Cidr,
    ingress::{
        annotation::value,
        host,
        path::{self, Path, PathMode},
    },
    model::{Condition, Host, Ipv4Range, ValueMatch},
    store::PathType,
};

/// Alternatives that the conditions of one rule may come to; each is a route.
const MAX_ALTERNATIVES: usize = 32;

/// Bytes of the values of one condition: they become one expression, whose size Envoy bounds.
const MAX_VALUES: usize = 4096;

/// What stands before a path that is an expression.
const EXPRESSION: &str = "~*";

const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// What a rule is for besides what its Ingress says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ingress) struct Conditions {
    /// Further hosts.
    pub(in crate::ingress) hosts: BTreeSet<Host>,
    /// Further paths.
    pub(in crate::ingress) paths: Vec<Path>,
    /// One of these must hold, with all that is in it. Never empty.
    pub(in crate::ingress) when: Vec<Vec<Condition>>,
}

impl Default for Conditions {
    /// Every request.
    fn default() -> Conditions {
        Conditions { hosts: BTreeSet::new(), paths: Vec::new(), when: vec![Vec::new()] }
    }
}

/// # Errors
/// Says which element cannot be served.
pub(super) fn parse(text: &str) -> Result<Conditions, String> {
    let mut conditions = Conditions::default();
    for element in json::elements(text)? {
        conditions.add(element)?;
    }
    Ok(conditions)
}

impl Conditions {
    fn add(&mut self, Element { kind, mut fields }: Element) -> Result<(), String> {
        let either = match kind.as_str() {
            "Host" => {
                self.hosts.extend(values(&mut fields, host)?);
                Vec::new()
            }
            "Path" => {
                self.paths.extend(values(&mut fields, path)?);
                Vec::new()
            }
            "Header" => vec![header(&mut fields)?],
            "Method" => {
                let methods = values(&mut fields, method)?;
                vec![Condition::Header(":method".into(), one_of(methods))]
            }
            "SourceIp" => vec![Condition::Client(values(&mut fields, range)?)],
            "QueryString" => query(&mut fields)?,
            "Cookie" => cookies(&mut fields)?,
            other => return Err(format!("conditions on {} are not served", value::quote(other))),
        };
        fields.end()?;
        if either.is_empty() {
            return Ok(());
        }
        if self.when.len() * either.len() > MAX_ALTERNATIVES {
            return Err(format!("these conditions have more than {MAX_ALTERNATIVES} alternatives"));
        }
        let before = std::mem::take(&mut self.when);
        for one in &either {
            self.when
                .extend(before.iter().map(|all| [&all[..], std::slice::from_ref(one)].concat()));
        }
        Ok(())
    }
}

/// `values`, of which there must be some; what comes twice counts once.
fn values<T>(
    fields: &mut Fields,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let at = fields.at("values");
    let texts: BTreeSet<_> = fields.texts("values")?.into_iter().collect();
    check_size(&at, texts.iter().map(String::len))?;
    texts.iter().map(|text| parse(text).map_err(|problem| format!("{at}: {problem}"))).collect()
}

fn check_size(at: &str, lengths: impl Iterator<Item = usize>) -> Result<(), String> {
    match lengths.reduce(|sum, length| sum + length) {
        None => Err(format!("{at} is empty")),
        Some(length) if length > MAX_VALUES => {
            Err(format!("{at} has {length} bytes and may have {MAX_VALUES}"))
        }
        Some(_) => Ok(()),
    }
}

fn host(text: &str) -> Result<Host, String> {
    host::parse(text)
}

/// Patterns as `pathType: ImplementationSpecific` has them.
fn path(text: &str) -> Result<Path, String> {
    let parsed = match text.strip_prefix(EXPRESSION) {
        Some(text) => path::parse(Some(text), PathType::Prefix, PathMode::Folded),
        None => path::parse(Some(text), PathType::ImplementationSpecific, PathMode::Pattern),
    };
    parsed.map_err(|(_, problem)| problem)
}

fn header(fields: &mut Fields) -> Result<Condition, String> {
    let name = fields.needed("key")?;
    // The host is a condition of its own, and Envoy keeps it elsewhere.
    if !value::is_token(&name) || name.eq_ignore_ascii_case("host") {
        return Err(format!("{} is not the name of a header", value::quote(&name)));
    }
    let is_legal = |text: &str| value::is_header_value(text);
    let values = values(fields, |text| literal(text, is_legal, "a header"))?;
    Ok(Condition::Header(name.to_ascii_lowercase().into(), one_of(values)))
}

fn method(text: &str) -> Result<String, String> {
    match METHODS.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(format!("{} is none of {}", value::quote(text), METHODS.join(", "))),
    }
}

fn range(text: &str) -> Result<Ipv4Range, String> {
    let refused = || format!("{} is not a range of IPv4 addresses", value::quote(text));
    let range = Cidr::parse(text).ok_or_else(refused)?;
    match range.address() {
        std::net::IpAddr::V4(network) => Ok(Ipv4Range { network, bits: range.bits() }),
        std::net::IpAddr::V6(_) => Err(refused()),
    }
}

/// A parameter a condition: that one has one of its values is one alternative.
fn query(fields: &mut Fields) -> Result<Vec<Condition>, String> {
    let pairs = pairs(fields, value::is_query_name, value::is_query_text, "a query parameter")?;
    let mut by_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value) in pairs {
        by_key.entry(key).or_default().push(value);
    }
    Ok(by_key.into_iter().map(|(key, all)| Condition::Query(key.into(), one_of(all))).collect())
}

fn cookies(fields: &mut Fields) -> Result<Vec<Condition>, String> {
    let pairs = pairs(fields, value::is_token, value::is_cookie_value, "a cookie")?;
    Ok(pairs.into_iter().map(|(key, v)| Condition::Cookie(key.into(), v.into())).collect())
}

/// `values`, each a key and a value.
fn pairs(
    fields: &mut Fields,
    is_name: impl Fn(&str) -> bool,
    is_value: impl Fn(&str) -> bool,
    what: &str,
) -> Result<BTreeSet<(String, String)>, String> {
    let at = fields.at("values");
    let mut pairs = BTreeSet::new();
    for mut pair in fields.objects("values")? {
        let key = pair.needed("key")?;
        let text = pair.text("value")?.unwrap_or_default();
        pair.end()?;
        if !is_name(&key) {
            return Err(format!("{at}: {} is not the name of {what}", value::quote(&key)));
        }
        pairs.insert((key, literal(&text, &is_value, what)?));
    }
    check_size(&at, pairs.iter().map(|(key, value)| key.len() + value.len()))?;
    Ok(pairs)
}

/// A value that is compared as it is. The vendor knows patterns here too.
fn literal(text: &str, is_value: impl Fn(&str) -> bool, what: &str) -> Result<String, String> {
    if text.contains(['*', '?']) {
        return Err(format!("{}: patterns are not served", value::quote(text)));
    }
    match is_value(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("{} is not the value of {what}", value::quote(text))),
    }
}

fn one_of(values: Vec<String>) -> ValueMatch {
    match values.as_slice() {
        [one] => ValueMatch::Exact(one.as_str().into()),
        several => ValueMatch::OneOf(several.iter().map(|value| value.as_str().into()).collect()),
    }
}
