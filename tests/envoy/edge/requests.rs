//! What gets past a rule, what hides in a request, and what a client may claim to be.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    HTTP, gateway_with,
    raw::{Answer, PREFACE, request, request_with, talk},
    verdicts,
};
use crate::{
    bed::{
        Bed, Variant,
        client::{Echo, get},
        ingress::ingress,
        netns,
        poll::{SETTLE, eventually},
    },
    rows::rows,
};

// What arrives does not depend on how Envoy was told.
rows! { &[Variant::Delta];
    fault_s12_paths_that_try_to_pass_a_rule,
    fault_s13_requests_that_hide_another,
    fault_s14_headers_that_clients_must_not_set,
}

/// Ways to say `/admin` (M26). The last three reach a backend as they are: it must not take them for
/// `/admin` itself.
const PATHS: [&str; 18] = [
    "/admin",
    "/admin/",
    "/%61dmin",
    "//admin",
    "/./admin",
    "/x/../admin",
    "/x/%2e%2e/admin",
    "/x/..;/admin",
    r"/\admin",
    r"\admin",
    "/%2fadmin",
    "/x%2f..%2fadmin",
    "/x/..%5cadmin",
    "/admin%00",
    "/admin#x",
    "/ADMIN",
    "/admin;x",
    "/%2561dmin",
];

/// `deny.com` refuses `/admin`, as a rule does that asks for what Convoy cannot honour; `own.com` has
/// an Ingress of its own for it.
async fn fault_s12_paths_that_try_to_pass_a_rule(bed: &mut Bed) {
    bed.deploy_each(&["web", "admin"]);
    let deny = ("nginx.ingress.kubernetes.io/whitelist-source-range", "192.0.2.0/24");
    bed.ingress(&ingress("deny").annotate(deny.0, deny.1).host("deny.com").prefix("/admin", "web"));
    bed.ingress(&ingress("own").host("own.com").prefix("/admin", "admin"));
    let web = ingress("web").host("deny.com").prefix("/", "web").host("own.com");
    bed.ingress(&web.prefix("/", "web"));
    bed.start_guide().await;
    bed.check(&[(get("/admin").host("own.com"), "admin"), (get("/").host("deny.com"), "web")])
        .await;
    let mut rows =
        vec![format!("{:18}{:36}{}", "path", "a rule that refuses", "a rule of its own")];
    for path in PATHS {
        let (deny, own) = (verdict("deny.com", path).await, verdict("own.com", path).await);
        rows.push(format!("{path:18}{deny:36}{own}"));
    }
    verdicts("paths", &rows);
}

/// The status and, of an answer, who gave it to which path. A redirect is followed.
async fn verdict(host: &str, path: &str) -> String {
    let ask = async |path: &str| {
        let text = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        talk(None, HTTP, text.as_bytes()).await
    };
    let mut answer = ask(path).await;
    let mut said = String::new();
    if let Some(to) = answer.text().lines().find_map(|line| line.strip_prefix("location: ")) {
        said = format!("{} to {to}, then ", answer.statuses());
        answer = ask(to).await;
    }
    let echo = echo(&answer);
    said + &echo.map_or(answer.statuses(), |echo| format!("{} sees {}", echo.env, echo.path))
}

/// What a pod says, if one does.
fn echo(answer: &Answer) -> Option<Echo> {
    serde_json::from_str(&answer.body()).ok()
}

/// A request in HTTP/1.1 with `headers` and a body; its deliveries are recorded.
fn post(headers: &str, body: &str) -> Vec<u8> {
    let head = "POST / HTTP/1.1\r\nHost: example.com\r\nx-delivery-id: outer";
    format!("{head}\r\n{headers}\r\n\r\n{body}").into()
}

/// The request that must not be seen.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: example.com\r\nx-delivery-id: hidden\r\n\r\n";

/// Probes in HTTP/1.1 (M27).
fn http1() -> Vec<(&'static str, Vec<u8>)> {
    let chunked = format!("0\r\n\r\n{HIDDEN}");
    let both = format!("Content-Length: {}\r\nTransfer-Encoding: chunked", chunked.len());
    let inside = format!("Content-Length: {}", HIDDEN.len());
    let shorter = format!("5c\r\n{HIDDEN}\r\n0\r\n\r\n");
    let get = |rest: &str| {
        let head = "GET / HTTP/1.1\r\nHost: example.com\r\nx-delivery-id: outer\r\n";
        format!("{head}{rest}").into()
    };
    let te = |text: &str| post(text, &chunked);
    vec![
        ("CL.TE", post(&both, &chunked)),
        ("TE.CL", post("Transfer-Encoding: chunked\r\nContent-Length: 4", &shorter)),
        ("two lengths", post("Content-Length: 0\r\nContent-Length: 90", HIDDEN)),
        ("two lengths in one", post("Content-Length: 0, 90", HIDDEN)),
        ("a signed length", post("Content-Length: +0", HIDDEN)),
        ("a length with a space before", post("Content-Length : 0", HIDDEN)),
        ("TE xchunked", te("Transfer-Encoding: xchunked")),
        ("TE twice", te("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity")),
        ("TE in a list", te("Transfer-Encoding: chunked, identity")),
        ("TE quoted", te("Transfer-Encoding: \"chunked\"")),
        ("TE after a vertical tab", te("Transfer-Encoding: \u{b}chunked")),
        ("TE with a space before", te("Transfer-Encoding : chunked")),
        ("TE folded", te("Transfer-Encoding:\r\n chunked")),
        ("TE after a line feed", te("x: a\nTransfer-Encoding: chunked")),
        ("a chunk of a negative size", post("Transfer-Encoding: chunked", "-1\r\n\r\n")),
        ("a chunk size with a sign", post("Transfer-Encoding: chunked", "+0\r\n\r\n")),
        ("hidden in a body", post(&inside, HIDDEN)),
        ("hidden in the body of a GET", get(&format!("{inside}\r\n\r\n{HIDDEN}"))),
        ("no host", "GET / HTTP/1.1\r\nx-delivery-id: outer\r\n\r\n".into()),
        ("a host with a space before", get("\r\n").replace_host("Host : example.com")),
        ("HTTP/1.0", b"GET / HTTP/1.0\r\nHost: example.com\r\nx-delivery-id: outer\r\n\r\n".into()),
        ("an underscore", get("x_a: 1\r\n\r\n")),
        ("a NUL in a value", get("x: a\0b\r\n\r\n")),
        ("a CR in a value", get("x: a\rb\r\n\r\n")),
        // Accepted: one request, whoever reads it. Watched, so that a change is seen.
        ("bare line feeds", "GET / HTTP/1.1\nHost: example.com\nx-delivery-id: outer\n\n".into()),
        ("a folded header", get("x: a\r\n b\r\n\r\n")),
        ("two hosts", get("Host: b.com\r\n\r\n")),
    ]
}

/// Replaces the line that names the host.
trait ReplaceHost {
    fn replace_host(self, line: &str) -> Vec<u8>;
}

impl ReplaceHost for Vec<u8> {
    fn replace_host(self, line: &str) -> Vec<u8> {
        String::from_utf8(self).unwrap().replacen("Host: example.com", line, 1).into()
    }
}

/// Probes in HTTP/2, which becomes HTTP/1.1 on its way.
fn http2() -> Vec<(&'static str, Vec<u8>)> {
    let with = |headers: &[(&str, &str)], body: Option<&str>| {
        let usual = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "example.com"),
            ("x-delivery-id", "outer"),
        ];
        // What a probe says itself takes the place of the usual.
        let kept = usual.iter().filter(|(name, _)| headers.iter().all(|(own, _)| own != name));
        let (pseudo, others): (Vec<_>, Vec<_>) =
            kept.chain(headers).copied().partition(|(name, _)| name.starts_with(':'));
        let all = [pseudo, others].concat();
        match body {
            Some(body) => [PREFACE, &request_with(1, &all, body.as_bytes())].concat(),
            None => [PREFACE, &request(1, &all)].concat(),
        }
    };
    let hidden = |value: &str| format!("{value}\r\n\r\n{HIDDEN}");
    vec![
        ("h2: nothing wrong", with(&[], None)),
        ("h2: a line break in a value", with(&[("x", "a\r\nx-delivery-id: hidden")], None)),
        ("h2: a line feed in a value", with(&[("x", "a\nx-delivery-id: hidden")], None)),
        ("h2: a line break in a name", with(&[("x: a\r\ny", "b")], None)),
        ("h2: a line break in the path", with(&[(":path", "/ HTTP/1.1\r\nx: y")], None)),
        ("h2: a space in the path", with(&[(":path", "/ HTTP/1.1")], None)),
        ("h2: a line break in the method", with(&[(":method", "GET / HTTP/1.1\r\nx: y")], None)),
        ("h2: a line break in the host", with(&[(":authority", "example.com\r\nx: y")], None)),
        ("h2: upper case in a name", with(&[("X-A", "b")], None)),
        ("h2: a colon in a name", with(&[("a:b", "c")], None)),
        ("h2: connection", with(&[("connection", "keep-alive")], None)),
        ("h2: TE", with(&[("transfer-encoding", "chunked")], Some(&hidden("0")))),
        ("h2: a length that is too short", with(&[("content-length", "0")], Some(HIDDEN))),
        ("h2: a length that is too long", with(&[("content-length", "99")], Some("a"))),
        ("h2: two paths", with(&[(":path", "/"), (":path", "/hidden")], None)),
        ("h2: two hosts", with(&[("host", "b.com")], None)),
        ("h2: an underscore", with(&[("x_a", "b")], None)),
    ]
}

/// Refused for their bodies: by then a backend may have seen their headers, or not.
const LATE: [&str; 4] = [
    "a chunk of a negative size",
    "a chunk size with a sign",
    "h2: a length that is too short",
    "h2: a length that is too long",
];

async fn fault_s13_requests_that_hide_another(bed: &mut Bed) {
    bed.deploy_each(&["web"]);
    bed.ingress(&ingress("web").any_host().prefix("/", "web"));
    bed.start_guide().await;
    bed.check(&[(get("/"), "web")]).await;
    let mut rows = vec![format!("{:34}{:18}{:9}hidden", "probe", "verdict", "reached")];
    for (probe, bytes) in http1().into_iter().chain(http2()) {
        let before = bed.deliveries();
        let answer = talk(None, HTTP, &bytes).await;
        let verdict = if probe.starts_with("h2") { answer.frames() } else { answer.statuses() };
        let after = bed.deliveries();
        let new = |id: &str| {
            let count = |all: &BTreeMap<String, usize>| all.get(id).copied().unwrap_or_default();
            count(&after) - count(&before)
        };
        let (outer, hidden) = (new("outer"), new("hidden"));
        // What Envoy itself takes for two requests, and answers twice, was hidden from nobody.
        let answers = verdict.split(' ').filter(|code| *code == "200").count();
        assert!(hidden < answers.max(1), "{probe}: a backend saw what Envoy did not");
        let reached = if LATE.contains(&probe) { "-".to_owned() } else { outer.to_string() };
        rows.push(format!("{probe:34}{verdict:18}{reached:9}{hidden}"));
    }
    verdicts("smuggling", &rows);
}

/// What a client sends, and what of it a backend is asked about (M28).
const CLAIMS: [(&str, &str, &str); 24] = [
    ("x-forwarded-for", "198.51.100.7", "x-forwarded-for"),
    ("x-forwarded-for", "198.51.100.7", "x-envoy-external-address"),
    ("x-forwarded-proto", "https", "x-forwarded-proto"),
    ("x-envoy-external-address", "198.51.100.7", "x-envoy-external-address"),
    ("x-request-id", "forged", "x-request-id"),
    ("x-forwarded-host", "evil.com", "x-forwarded-host"),
    ("x-forwarded-port", "1", "x-forwarded-port"),
    ("x-forwarded-prefix", "/evil", "x-forwarded-prefix"),
    ("x-forwarded-scheme", "https", "x-forwarded-scheme"),
    ("forwarded", "for=198.51.100.7", "forwarded"),
    ("x-real-ip", "198.51.100.7", "x-real-ip"),
    ("x-original-url", "/admin", "x-original-url"),
    ("x-original-uri", "/admin", "x-original-uri"),
    ("x-rewrite-url", "/admin", "x-rewrite-url"),
    ("x-forwarded-client-cert", "Subject=admin", "x-forwarded-client-cert"),
    ("x-envoy-internal", "true", "x-envoy-internal"),
    ("x-envoy-retry-on", "5xx", "x-envoy-retry-on"),
    ("x-envoy-max-retries", "99", "x-envoy-max-retries"),
    ("x-envoy-upstream-rq-timeout-ms", "1", "x-envoy-upstream-rq-timeout-ms"),
    ("x-envoy-original-path", "/admin", "x-envoy-original-path"),
    ("x-envoy-force-trace", "1", "x-envoy-force-trace"),
    ("x-convoy-ready", "1", "x-convoy-ready"),
    ("connection", "x-forwarded-for", "x-forwarded-for"),
    ("x_under", "1", "x_under"),
];

/// From an address that Envoy once took for internal, and from one that it never did.
const PEERS: [[u8; 4]; 2] = [[10, 0, 0, 5], [203, 0, 113, 5]];

async fn fault_s14_headers_that_clients_must_not_set(bed: &mut Bed) {
    netns::run("ip", &["address", "add", "203.0.113.5/32", "dev", "lo"]);
    bed.deploy_each(&["web"]);
    bed.ingress(&ingress("web").prefix("/", "web"));
    bed.start_guide().await;
    bed.check(&[(get("/"), "web")]).await;
    let mut rows: Vec<_> = CLAIMS
        .iter()
        .map(|(name, value, seen)| format!("{:40}{seen:32}", format!("{name}: {value}")))
        .collect();
    let mut head = format!("{:40}{:32}", "sent", "seen by a backend");
    for hops in ["0", "1"] {
        bed.fleet.apply("gateway", &gateway_with(&[("convoy.dev/trusted-hops", hops)]));
        believes(hops).await;
        for peer in PEERS {
            let peer = IpAddr::from(peer);
            head.push_str(&format!("{:26}", format!("{hops} hops, {peer}")));
            for (row, (name, value, seen)) in rows.iter_mut().zip(CLAIMS) {
                row.push_str(&format!("{:26}", claim(peer, (name, value), seen).await));
            }
        }
    }
    rows.insert(0, head);
    verdicts("headers", &rows);
}

/// The listener counts so many proxies.
async fn believes(hops: &str) {
    let client = if hops == "0" { "peer" } else { "kept" };
    eventually(SETTLE, "the listener counts its proxies", || async {
        let sent = ("x-forwarded-for", "198.51.100.7");
        let seen = claim(IpAddr::from(PEERS[0]), sent, "x-envoy-external-address").await;
        if seen == client { Ok(()) } else { Err(seen) }
    })
    .await;
}

/// What becomes of a header on its way to a backend.
async fn claim(peer: IpAddr, (name, value): (&str, &str), seen: &str) -> String {
    let text = format!(
        "GET / HTTP/1.1\r\nHost: example.com\r\n{name}: {value}\r\n{}\r\n",
        if name == "connection" { "" } else { "Connection: close\r\n" }
    );
    let answer = talk(Some(peer), HTTP, text.as_bytes()).await;
    let Some(echo) = echo(&answer) else { return answer.statuses() };
    match echo.headers.get(seen) {
        None => "-".to_owned(),
        Some(text) if text == value => "kept".to_owned(),
        Some(_) if seen == "x-request-id" => "its own".to_owned(),
        Some(text) => text.replace(&peer.to_string(), "peer"),
    }
}
