//! Bad objects: whatever anybody may write into one Ingress, or into a file beside it.

use serde_json::{Value, json};

use crate::manifests::{Fleet, certificate, ingress};

/// What the bad objects below meet: hosts with TLS and without, a canary, a default backend.
pub(crate) fn victims() -> Fleet {
    let (secret, _) = certificate("own", "tls.example.com");
    let mut tls = ingress("tls", &[], &[("tls.example.com", "Prefix /", "a")]);
    tls["spec"]["tls"] = json!([{ "hosts": ["tls.example.com"], "secretName": "own" }]);
    let mut default = ingress("default", &[], &[]);
    default["spec"]["defaultBackend"] = backend("b");
    let canary = [("canary", "true"), ("canary-weight", "30")];
    Fleet::shop()
        .fleet(&secret)
        .fleet(&tls)
        .fleet(&default)
        .fleet(&ingress("main", &[], &[("example.com", "Exact /a", "a")]))
        .fleet(&ingress("canary", &canary, &[("example.com", "Exact /a", "b")]))
}

fn backend(service: &str) -> Value {
    json!({ "service": { "name": service, "port": { "number": 80 } } })
}

/// The one host that a bad object may change.
pub(crate) const ITS_HOST: &str = "bad.example.com";

/// An Ingress called `bad`, younger than all others.
fn bad(annotations: &[(&str, &str)], rules: &[(&str, &str, &str)]) -> Value {
    let mut object = ingress("bad", annotations, rules);
    object["metadata"]["creationTimestamp"] = json!("2026-06-01T00:00:00Z");
    object
}

/// `bad` with one rule on its own host, after a change.
fn altered(alter: impl FnOnce(&mut Value)) -> Value {
    let mut object = bad(&[], &[(ITS_HOST, "Exact /a", "a")]);
    alter(&mut object);
    object
}

/// An Ingress with one bad host, path or backend.
pub(crate) fn rule(host: &str, path: &str, service: &str) -> Value {
    bad(&[], &[(host, path, service)])
}

/// A canary of what `victims` serves.
fn canary(pairs: &[(&str, &str)]) -> Value {
    let pairs = [&[("canary", "true")], pairs].concat();
    bad(&pairs, &[("example.com", "Exact /a", "a")])
}

/// What is legal and as large or as odd as it may be: served, and still no trouble to others.
pub(crate) fn extreme_objects() -> Vec<(&'static str, String)> {
    let long = "x".repeat(4096);
    let dots = ".".repeat(4096);
    let wide = "é".repeat(2048);
    let path = format!("Exact /{}", "a".repeat(4095));
    let of_header =
        |value: &str| canary(&[("canary-by-header", "x"), ("canary-by-header-value", value)]);
    let of_pattern =
        |pattern: &str| canary(&[("canary-by-header", "x"), ("canary-by-header-pattern", pattern)]);
    let of_query =
        |value: &str| canary(&[("canary-by-query", "x"), ("canary-by-query-value", value)]);
    let objects = [
        ("the longest path", rule(ITS_HOST, &path, "a")),
        ("the longest header value", of_header(&long)),
        ("a header value of special characters", of_header(&dots)),
        ("a header value that is not ASCII", of_header(&wide)),
        ("the longest query value", of_query(&long)),
        ("a query value of special characters", of_query(&dots)),
        ("a long pattern", of_pattern(&"x".repeat(900))),
        ("the longest name of a header", canary(&[("canary-by-header", &long)])),
        ("the longest name of a cookie", canary(&[("canary-by-cookie", &long)])),
        ("the longest cookie", {
            canary(&[("canary-by-cookie", "u"), ("canary-by-cookie-value", &dots)])
        }),
        ("the longest timeout", bad(&[("timeout", "4294967295")], &[(ITS_HOST, "Exact /a", "a")])),
        ("the largest weight", canary(&[("canary-weight", "4294967295")])),
        ("the smallest share", {
            canary(&[("canary-weight", "1"), ("canary-weight-total", "4294967295")])
        }),
    ];
    objects.map(|(what, object)| (what, object.to_string())).into()
}

/// Whatever anybody may write into one object.
pub(crate) fn bad_objects() -> Vec<(&'static str, String)> {
    let its = |path: &str| rule(ITS_HOST, path, "a");
    let regex = |path: &str| {
        let path = format!("ImplementationSpecific {path}");
        bad(&[("use-regex", "true")], &[(ITS_HOST, &path, "a")])
    };
    let at = |alter: fn(&mut Value)| altered(alter);
    let path = |alter: fn(&mut Value)| {
        altered(|object| alter(&mut object["spec"]["rules"][0]["http"]["paths"][0]))
    };
    let long_host = format!("{}.example.com", "a.".repeat(121));
    let huge = "9".repeat(4097);
    let objects = vec![
        ("a wildcard inside a label", rule("a*.example.com", "Prefix /", "a")),
        ("two wildcards", rule("*.*.example.com", "Prefix /", "a")),
        ("an address as host", rule("10.0.0.1", "Prefix /", "a")),
        ("a host with a port", rule("example.com:80", "Prefix /", "a")),
        ("a host with a dot at its end", rule("example.com.", "Prefix /", "a")),
        ("a host that is too long", rule(&long_host, "Prefix /", "a")),
        ("a host with spaces", rule("example.com example.org", "Prefix /", "a")),
        ("a path that is relative", its("Prefix a")),
        ("a path with two slashes", its("Exact //a")),
        ("a path with dot segments", its("Prefix /a/../../b")),
        ("a path with a query", its("Exact /a?b=c")),
        ("a path with a line break", its("Exact /a\r\nx-evil: 1")),
        ("a path with a zero byte", its("Exact /a\0b")),
        ("a path with an escaped slash", its("Exact /a%2fb")),
        ("a path that is too long", its(&format!("Prefix /{}", "a".repeat(70_000)))),
        ("an expression that is not closed", regex("/(")),
        ("an expression that looks ahead", regex("/(?=a)")),
        ("an expression that refers back", regex("/(a)\\1")),
        ("an expression that is too large", regex("/((a{100}){100}){100}")),
        ("an expression that begins with `*`", regex("*.foo")),
        ("the rule of another", rule("example.com", "Exact /a", "b")),
        ("the rule of another, in capitals", rule("EXAMPLE.COM", "Exact /a", "b")),
        ("a Service that no member has", rule(ITS_HOST, "Exact /a", "bad-service")),
        ("a Service with no legal name", rule(ITS_HOST, "Exact /a", "Not_A_Name")),
        ("a port of zero", path(|path| path["backend"]["service"]["port"]["number"] = json!(0))),
        ("a port too large", path(|p| p["backend"]["service"]["port"]["number"] = json!(70_000))),
        ("a port that is text", path(|p| p["backend"]["service"]["port"]["number"] = json!("x"))),
        ("no port", path(|path| path["backend"]["service"]["port"] = json!({}))),
        ("a backend that is no Service", path(|p| p["backend"] = json!({ "resource": {} }))),
        ("an unknown path type", path(|path| path["pathType"] = json!("Nope"))),
        ("neither rules nor backend", at(|object| object["spec"]["rules"] = json!([]))),
        ("rules that are text", at(|object| object["spec"]["rules"] = json!("all"))),
        ("no name", at(|object| object["metadata"]["name"] = Value::Null)),
        ("an illegal namespace", at(|object| object["metadata"]["namespace"] = json!("A/B"))),
        ("a reserved namespace", at(|o| o["metadata"]["namespace"] = json!("kube-system"))),
        ("labels of another type", at(|object| object["metadata"]["annotations"] = json!([1]))),
        ("a second default backend", at(|o| o["spec"]["defaultBackend"] = backend("bad-service"))),
        (
            "a Secret that is missing",
            at(|object| {
                object["spec"]["tls"] = json!([{ "hosts": [ITS_HOST], "secretName": "missing" }]);
            }),
        ),
        (
            "the Secret of another host",
            at(|object| {
                object["spec"]["tls"] =
                    json!([{ "hosts": ["tls.example.com"], "secretName": "x" }]);
            }),
        ),
        ("another Secret for a host", {
            let mut object = bad(&[], &[]);
            object["spec"]["rules"] = json!([{ "host": "tls.example.com" }]);
            object["spec"]["tls"] = json!([{ "hosts": ["tls.example.com"], "secretName": "x" }]);
            object
        }),
        (
            "a default certificate that is missing",
            at(|object| {
                object["spec"]["tls"] = json!([{ "secretName": "missing" }]);
            }),
        ),
        ("a canary of nobody", bad(&[("canary", "true")], &[(ITS_HOST, "Exact /a", "a")])),
        ("a canary with no weight", canary(&[("canary-weight", "many")])),
        ("a canary with a negative weight", canary(&[("canary-weight", "-1")])),
        ("a canary with too large a weight", canary(&[("canary-weight", "4294967295")])),
        (
            "a canary with a bad pattern",
            canary(&[("canary-by-header", "x"), ("canary-by-header-pattern", "(")]),
        ),
        ("a canary with a bad header", canary(&[("canary-by-header", "x y")])),
        (
            "a canary with a line break",
            canary(&[("canary-by-header", "x"), ("canary-by-header-value", "a\r\nx-evil: 1")]),
        ),
        ("a canary with a bad cookie", canary(&[("canary-by-cookie", "a;b")])),
        (
            "an annotation that is too long",
            bad(&[("timeout", &huge)], &[(ITS_HOST, "Exact /a", "a")]),
        ),
        ("an annotation that protects", bad(&[("auth-url", "x")], &[(ITS_HOST, "Exact /a", "a")])),
        (
            "an annotation that narrows",
            bad(&[("match-method", "GET")], &[(ITS_HOST, "Exact /a", "a")]),
        ),
        (
            "a fallback elsewhere",
            bad(&[("default-backend", "x/y")], &[(ITS_HOST, "Exact /a", "a")]),
        ),
        (
            "too many paths",
            at(|object| {
                let paths = &mut object["spec"]["rules"][0]["http"]["paths"];
                let path = |n| {
                    let mut path = paths[0].clone();
                    path["path"] = json!(format!("/{n}"));
                    path
                };
                *paths = (0..=1000).map(path).collect();
            }),
        ),
    ];
    let mut documents: Vec<_> =
        objects.into_iter().map(|(what, object)| (what, object.to_string())).collect();
    documents.push(("no YAML", "kind: [Ingress".to_owned()));
    documents.push(("no object", "just text".to_owned()));
    documents
}
