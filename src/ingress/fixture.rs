//! What the tests of this room share: Ingresses as a script, and a host as text.
//!
//! A script is a list of objects. `namespace/name @created` begins one; the lines below it are
//! `rule HOST KIND PATH SERVICE` (a host of `-` is any, a Service with `!` has the port
//! `use-annotation`), `default SERVICE`, `tls HOST,… SECRET`
//! (`-` for no hosts), or an annotation `key: value`, in which `\n` is a line break.

use std::{num::NonZeroU16, sync::Arc};

use super::*;
use crate::{
    diag::Diag,
    key::{ObjectName, PortRef},
    model::{
        Action, Arm, Condition, Filters, Host, ListenerKey, PathMatch, Route, Target, Transport,
        ValueMatch, VirtualHost,
    },
    settings::GatewayDefaults,
    store::{Ingress, IngressBackend, IngressPath, IngressRule, IngressTls, PathType},
};

/// Those of a gateway that has one of each transport.
pub(super) const LISTENERS: [ListenerKey; 2] = [ListenerKey::HTTP, ListenerKey::HTTPS];

/// The objects of a script.
pub(super) fn ingresses(script: &str) -> Vec<Ingress> {
    let mut all: Vec<Ingress> = Vec::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [name, created] if created.starts_with('@') => {
                let (namespace, name) = name.split_once('/').unwrap();
                all.push(empty(ObjectName::new(namespace, name), created[1..].parse().unwrap()));
            }
            ["rule", host, kind, path, service] => {
                let path = IngressPath {
                    path: Some((*path).into()),
                    path_type: path_type(kind),
                    backend: backend(service),
                };
                let host = (*host != "-").then(|| Arc::from(*host));
                all.last_mut().unwrap().rules.push(IngressRule { host, paths: vec![path] });
            }
            ["default", service] => {
                all.last_mut().unwrap().default_backend = Some(backend(service));
            }
            ["tls", hosts, secret] => {
                let hosts = hosts.split(',').filter(|host| *host != "-").map(Arc::from).collect();
                let tls = IngressTls { hosts, secret: Some((*secret).into()) };
                all.last_mut().unwrap().tls.push(tls);
            }
            _annotation => {
                let (key, value) = line.split_once(": ").unwrap();
                let key = format!("{}{key}", Dialect::Mse.prefixes()[1]);
                let value = value.replace("\\n", "\n");
                all.last_mut().unwrap().annotations.insert(key.into(), value.into());
            }
        }
    }
    all
}

/// An Ingress that says nothing.
pub(super) fn empty(name: ObjectName, created: i64) -> Ingress {
    Ingress {
        name,
        uid: "".into(),
        created,
        annotations: Default::default(),
        class: None,
        default_backend: None,
        rules: Vec::new(),
        tls: Vec::new(),
    }
}

fn path_type(kind: &str) -> PathType {
    match kind {
        "exact" => PathType::Exact,
        "prefix" => PathType::Prefix,
        "specific" => PathType::ImplementationSpecific,
        "unset" => PathType::Unset,
        other => panic!("no kind of path: {other}"),
    }
}

/// A Service's port 80, or with `!` one that annotations stand for.
fn backend(service: &str) -> IngressBackend {
    if let Some(service) = service.strip_suffix('!') {
        let port = Some(PortRef::Name("use-annotation".into()));
        return IngressBackend::Service { name: service.into(), port };
    }
    let port = NonZeroU16::new(80).map(PortRef::Number);
    IngressBackend::Service { name: service.into(), port }
}

/// Rows of a script, and what is wrong with each object by itself.
pub(super) fn rows(script: &str) -> (Vec<Arc<IngressRow>>, Vec<Diag>) {
    rows_of(Dialect::Mse, script)
}

pub(super) fn rows_of(dialect: Dialect, script: &str) -> (Vec<Arc<IngressRow>>, Vec<Diag>) {
    let parsed = ingresses(script);
    let defaults = GatewayDefaults::default();
    let parsed = parsed.iter().map(|ingress| parse(ingress, dialect, &defaults));
    let (rows, diags): (Vec<_>, Vec<_>) = parsed.map(|(row, diags)| (Arc::new(row), diags)).unzip();
    (rows, diags.concat())
}

/// Secrets by their name: `missing…`, `broken…`, `stale…`, and good ones.
pub(super) fn certs(secret: &ObjectName) -> CertState {
    match &*secret.name {
        name if name.starts_with("missing") => CertState::Missing,
        name if name.starts_with("broken") => CertState::Unusable("the key is another's".into()),
        name if name.starts_with("stale") => {
            CertState::Usable { problem: Some("it has expired".into()) }
        }
        _good => CertState::Usable { problem: None },
    }
}

/// A host as a rule writes it; `-` is any.
pub(super) fn host(text: &str) -> Host {
    match text.strip_prefix("*.") {
        Some(suffix) => Host::Wildcard(suffix.into()),
        None if text == "-" => Host::Any,
        None => Host::Exact(text.into()),
    }
}

/// The host of a script as text: a line a route, then TLS, then what is wrong.
pub(super) fn show(script: &str, name: &str) -> String {
    show_on(LISTENERS, rows(script), name)
}

fn show_on(
    listeners: [ListenerKey; 2],
    (rows, mut diags): (Vec<Arc<IngressRow>>, Vec<Diag>),
    name: &str,
) -> String {
    let (row, more) = assemble(&host(name), &rows, &listeners, &certs);
    diags.extend(more);
    let [http, https] = listeners.map(|key| row.on.get(&key));
    let mut lines = http.map_or(vec![], routes);
    if let (Some(https), Some(secret)) = (https, &row.certificate) {
        if http == Some(https) {
            lines.push(format!("tls {secret}: the same"));
        } else {
            lines.push(format!("tls {secret}:"));
            lines.extend(routes(https));
        }
    }
    lines.extend(row.default_certificate.map(|it| format!("default tls {}", it.secret)));
    lines.extend(diags.iter().map(|diag| {
        format!("{}: {}: {}: {}", diag.object.name, diag.field, diag.reason, diag.message)
    }));
    lines.join("\n")
}

/// Compares with what is expected, line by line, whatever the indentation.
#[track_caller]
pub(super) fn check(script: &str, host: &str, expect: &str) {
    let trimmed = expect.lines().map(str::trim).filter(|line| !line.is_empty());
    assert_eq!(show(script, host), trimmed.collect::<Vec<_>>().join("\n"), "{script}");
}

/// The same of an ALB that listens on 80 and 443. Routes show their filters.
#[track_caller]
pub(super) fn check_alb(script: &str, host: &str, expect: &str) {
    let key = |transport, port| ListenerKey { transport, port: Some(port) };
    let listeners = [key(Transport::Plaintext, 80), key(Transport::Tls, 443)];
    let trimmed = expect.lines().map(str::trim).filter(|line| !line.is_empty());
    let shown = show_on(listeners, rows_of(Dialect::Alb, script), host);
    assert_eq!(shown, trimmed.collect::<Vec<_>>().join("\n"), "{script}");
}

fn routes(host: &VirtualHost) -> Vec<String> {
    host.routes.iter().map(route).collect()
}

fn route(route: &Route) -> String {
    let path = match &route.path {
        PathMatch::Exact(path) => format!("exact {path}"),
        PathMatch::Prefix(path) => format!("prefix {path}"),
        PathMatch::Regex(regex) => format!("regex {}", regex.as_str()),
        PathMatch::Any => "any".into(),
    };
    let conditions: Vec<_> = route.conditions.iter().map(show_condition).collect();
    let (open, close) = if conditions.is_empty() { ("", "") } else { (" [", "]") };
    let action = match &route.action {
        Action::RedirectToHttps => "redirect".into(),
        Action::Deny => "deny".into(),
        Action::Forward(forward) => {
            let limit = |name: &str, limit: Option<std::time::Duration>| {
                limit.map_or(String::new(), |limit| format!(" {name} {}s", limit.as_secs()))
            };
            let limits = limit("timeout", forward.timeout) + &limit("try", forward.per_try_timeout);
            let rewrite = forward.rewrite.as_ref();
            let rewrite = rewrite.map(|it| format!(" as {}", it.substitution));
            format!("{}{limits}{}", arms(&forward.arms), rewrite.unwrap_or_default())
        }
        Action::Redirect(redirect) => format!("{:?}", redirect.code),
        Action::Answer(answer) => format!("{} {}", answer.status, answer.body),
    };
    let Filters { limit, cors, headers } = &route.filters;
    let filters = [
        limit.map(|limit| format!(" limit {:?}/{:?}", limit.total, limit.each)),
        cors.as_ref().map(|cors| format!(" cors {}", cors.methods)),
        (!headers.is_empty()).then(|| format!(" headers {}", headers.len())),
    ];
    let filters: String = filters.into_iter().flatten().collect();
    format!("{path}{open}{}{close} -> {action}{filters}", conditions.join(" and "))
}

fn arms(arms: &[Arm]) -> String {
    let show = |arm: &Arm| format!("{} {}", arm.weight, show_target(&arm.target));
    match arms {
        [all] => show_target(&all.target),
        several => several.iter().map(show).collect::<Vec<_>>().join(" | "),
    }
}

/// A chain, best first, without the port that all backends of scripts have.
fn show_target(target: &Target) -> String {
    let link = |link: &crate::model::Link| {
        let at = if link.subset.is_all() { "" } else { "@" };
        format!("{}{at}{}", link.backend.to_string().replace(":80", ""), link.subset)
    };
    target.chain.iter().map(link).collect::<Vec<_>>().join(" > ")
}

/// A condition, as `header x=a|b` or `header x~pattern`.
pub(super) fn show_condition(condition: &Condition) -> String {
    let (kind, name, value) = match condition {
        Condition::Header(name, value) => ("header", name, value),
        Condition::Query(name, value) => ("query", name, value),
        Condition::Cookie(name, value) => return format!("cookie {name}={value}"),
        Condition::Client(ranges) => {
            let show =
                |range: &crate::model::Ipv4Range| format!("{}/{}", range.network, range.bits);
            return format!("client {}", ranges.iter().map(show).collect::<Vec<_>>().join("|"));
        }
    };
    match value {
        ValueMatch::Exact(value) => format!("{kind} {name}={value}"),
        ValueMatch::OneOf(values) => format!("{kind} {name}={}", values.join("|")),
        ValueMatch::Contains(regex) => format!("{kind} {name}~{}", regex.as_str()),
    }
}
