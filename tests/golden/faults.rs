//! Rows of the table of poison objects (faults.md 2, F), from manifests to resources.

use convoy::{
    resources::print,
    snapshot::{GatewayView, Kind},
};
use serde_json::{Value, json};

use crate::{
    envoy,
    manifests::{Fleet, certificate, ingress, service_of},
    sketch::{assert_sound, reasons, routes},
    wrapped,
};

/// Translates, and compares the routes of the plaintext listener and the findings. Envoy must
/// accept the result.
#[track_caller]
fn check(fleet: &Fleet, expected_routes: &[&str], expected_findings: &[&str]) {
    let translated = fleet.translate();
    assert_sound("fleet", &translated);
    let view = translated.views.values().next().unwrap();
    assert_eq!(routes(view, "http"), expected_routes);
    assert_eq!(reasons(&translated.diags), expected_findings);
    envoy::validate(&wrapped::static_config(view).to_string()).unwrap();
}

/// What reaches both members' endpoints of the Service `a`.
const A: &str = "shop/a:80/anywhere";

/// Several Ingresses in front of the Services `a` and `b`.
fn shop(objects: &[Value]) -> Fleet {
    objects.iter().fold(Fleet::shop(), |fleet, object| fleet.fleet(object))
}

fn created(mut object: Value, second: u32) -> Value {
    object["metadata"]["creationTimestamp"] = json!(format!("2026-01-01T00:00:{second:02}Z"));
    object
}

#[test]
fn fault_f01_a_bad_expression_costs_its_own_rule() {
    let annotations = [("use-regex", "true")];
    let path = |path| ("example.com", path, "a");
    let rules = [
        path("Exact /good/[a-z]+"),
        path("Exact *.foo"),
        path("Exact /(?!a)"),
        path("Exact /(a)\\1"),
        path("Exact /x{1001}"),
    ];
    let refused = "Ingress shop/web: InvalidRegex";
    check(
        &shop(&[ingress("web", &annotations, &rules)]),
        &[&format!("example.com ~(?:/good/[a-z]+).* -> {A}")],
        &[refused; 4],
    );
}

#[test]
fn fault_f04_the_oldest_has_the_rule_whatever_the_order() {
    let rule = |service| [("example.com", "Exact /a", service)];
    let fleet = shop(&[
        created(ingress("c-oldest", &[], &rule("a")), 1),
        created(ingress("b-younger", &[], &rule("b")), 2),
        created(ingress("a-youngest", &[], &rule("b")), 3),
    ]);
    for seed in 0..100 {
        let translated = fleet.shuffled(seed).translate();
        let view = translated.views.values().next().unwrap();
        assert_eq!(routes(view, "http"), [format!("example.com =/a -> {A}")]);
        let losers =
            ["Ingress shop/a-youngest: RuleConflict", "Ingress shop/b-younger: RuleConflict"];
        assert_eq!(reasons(&translated.diags), losers);
        let winner = "Ingress shop/c-oldest";
        assert!(translated.diags.iter().all(|diag| diag.message.contains(winner)));
    }
}

#[test]
fn fault_f05_hosts_are_canonical_or_refused() {
    let long = format!("{}.com", "a".repeat(250));
    let refused =
        ["a*.com", "*", "*a.com", "bücher.example", "a.com.", "10.0.0.1", "::1", "-a.com"];
    let refused = [&refused[..], &["a_b.com", "a..com", "a.com:80", &long]].concat();
    let served = ["A.Example.COM", "*.b.example.com", "xn--bcher-kva.example"];
    let hosts = refused.iter().chain(&served);
    let rules: Vec<_> = hosts.map(|host| (*host, "Prefix /", "a")).collect();
    check(
        &shop(&[ingress("web", &[], &rules)]),
        &[
            &format!("a.example.com / -> {A}"),
            &format!("xn--bcher-kva.example / -> {A}"),
            &format!("*.b.example.com / if :authority -> {A}"),
        ],
        &vec!["Ingress shop/web: InvalidHost"; refused.len()],
    );
}

#[test]
fn fault_f07_a_missing_service_does_not_fall_to_another_rule() {
    let rules = [("example.com", "Prefix /missing", "missing"), ("example.com", "Prefix /", "a")];
    let fleet = shop(&[ingress("web", &[], &rules)]);
    check(
        &fleet,
        &["example.com /missing -> shop/missing:80", &format!("example.com / -> {A}")],
        &["Ingress shop/web: ServiceNotFound"],
    );
    // One member is enough.
    let found = fleet.member("c2", &service_of("shop", "missing", &["10.2.9.1"]));
    check(
        &found,
        &["example.com /missing -> shop/missing:80", &format!("example.com / -> {A}")],
        &[],
    );
}

#[test]
fn fault_f08_a_missing_secret_is_its_own_hosts_loss() {
    let (secret, _) = certificate("own", "a.example.com");
    let tls = |name: &str, host: &str, secret: &str| {
        let mut object = ingress(name, &[], &[(host, "Prefix /", "a")]);
        object["spec"]["tls"] = json!([{ "hosts": [host], "secretName": secret }]);
        object
    };
    let good = shop(&[tls("good", "a.example.com", "own"), secret]);
    let before = good.translate();
    let both = good.fleet(&tls("bad", "b.example.com", "missing"));
    let after = both.translate();
    assert_sound("a missing secret", &after);
    let (id, view) = after.views.iter().next().unwrap();
    // The host is on the TLS listener without a route: 404, whatever wildcard is above it.
    let listener = |view: &GatewayView| view.get(Kind::Listener, "https").cloned();
    assert_eq!(listener(view), listener(&before.views[id]));
    assert_eq!(routes(view, "https"), routes(&before.views[id], "https"));
    let plaintext = [format!("a.example.com / -> {A}"), format!("b.example.com / -> {A}")];
    assert_eq!(routes(view, "http"), plaintext);
    assert_eq!(reasons(&after.diags), ["Ingress shop/bad: SecretNotFound"]);
}

#[test]
fn fault_f12_paths_are_those_that_requests_can_have() {
    let long = format!("/{}", "a".repeat(64 << 10));
    let refused = [
        "/%00",
        "/%2e%2e/a",
        "/../a",
        "/a/./b",
        "//a",
        "/a\r\nb",
        "/a\0b",
        "/é",
        "/a?b",
        "/a#b",
        "/a%2Fb",
        "/a%5cb",
        "/%zz",
        "/a b",
        "/a\\b",
        "a",
        &long,
    ];
    let served = ["/%C3%A9", "/a;b=c", "/~a/(b)", "/a+b,c@d"];
    let all: Vec<_> = refused.iter().chain(&served).map(|path| format!("Exact {path}")).collect();
    let rules: Vec<_> = all.iter().map(|path| ("example.com", path.as_str(), "a")).collect();
    let routes = ["/a;b=c", "/a+b,c@d", "/%C3%A9", "/~a/(b)"];
    let mut routes = routes.map(|path| format!("example.com ={path} -> {A}"));
    // Longest first.
    routes.sort_by_key(|route| std::cmp::Reverse(route.len()));
    check(
        &shop(&[ingress("web", &[], &rules)]),
        &routes.each_ref().map(String::as_str),
        &[&"Ingress shop/web: InvalidPath"; 17].map(|finding| *finding),
    );
}

#[test]
fn fault_f13_canaries_without_a_main_are_inactive() {
    let main = created(ingress("main", &[], &[("example.com", "Exact /a", "a")]), 1);
    let canary = |name: &str, pairs: &[(&str, &str)], host: &str, path: &str| {
        let pairs = [&[("canary", "true")], pairs].concat();
        ingress(name, &pairs, &[(host, path, "b")])
    };
    let header = [("canary-by-header", "x"), ("canary-by-header-value", "v")];
    let canary_target = "shop/b:80~";
    let fleet = shop(&[
        main,
        canary("another-host", &header, "other.example.com", "Exact /a"),
        canary("another-kind", &header, "example.com", "Prefix /a"),
        // The header decides; the weight is not looked at.
        created(
            canary(
                "both",
                &[&header[..], &[("canary-weight", "100")]].concat(),
                "example.com",
                "Exact /a",
            ),
            2,
        ),
        created(canary("same", &header, "example.com", "Exact /a"), 3),
        // An empty value is no value.
        created(
            canary(
                "empty",
                &[("canary-by-header", "y"), ("canary-by-header-value", "")],
                "example.com",
                "Exact /a",
            ),
            4,
        ),
    ]);
    let translated = fleet.translate();
    assert_sound("canaries", &translated);
    let view = translated.views.values().next().unwrap();
    let said = routes(view, "http");
    let conditions: Vec<_> = said.iter().map(|route| route.split(" -> ").next().unwrap()).collect();
    let expected =
        ["example.com =/a if x", "example.com =/a if y", "example.com =/a if y", "example.com =/a"];
    assert_eq!(conditions, expected);
    let goes_to: Vec<_> = said.iter().map(|route| route.contains(canary_target)).collect();
    assert_eq!(goes_to, [true, true, false, false], "{said:?}");
    let findings = [
        "Ingress shop/another-host: CanaryWithoutMain",
        "Ingress shop/another-kind: CanaryWithoutMain",
        "Ingress shop/same: RuleConflict",
    ];
    assert_eq!(reasons(&translated.diags), findings);
    // Without the main nobody is served, and that order of events does not matter.
    let alone = shop(&[canary("alone", &header, "example.com", "Exact /a")]);
    check(&alone, &[], &["Ingress shop/alone: CanaryWithoutMain"]);
}

#[test]
fn fault_f15_unknown_annotations_are_reported_and_protection_fails_closed() {
    let fails_closed = ["auth-url", "auth-type", "auth-tls-secret", "whitelist-source-range"];
    let fails_closed = [&fails_closed[..], &["denylist-source-range", "server-snippet"]].concat();
    let open = ["proxy-body-size", "limit-rps", "enable-cors", "no-such-annotation"];
    for (keys, expected) in [(&fails_closed[..], "403"), (&open[..], A)] {
        for key in keys {
            let object = ingress("web", &[(key, "x")], &[("example.com", "Exact /a", "a")]);
            let route = format!("example.com =/a -> {expected}");
            check(&shop(&[object]), &[&route], &["Ingress shop/web: UnsupportedAnnotation"]);
        }
    }
}

#[test]
fn fault_f18_header_values_are_literal_or_refused() {
    let canary = |value: &str| {
        let pairs =
            [("canary", "true"), ("canary-by-header", "x"), ("canary-by-header-value", value)];
        let main = created(ingress("main", &[], &[("example.com", "Exact /a", "a")]), 1);
        shop(&[main, ingress("canary", &pairs, &[("example.com", "Exact /a", "b")])])
    };
    for value in ["a\r\nx-evil: 1", "a\nb", "a\0b"] {
        let refused = ["Ingress shop/canary: InvalidAnnotation"];
        check(&canary(value), &[&format!("example.com =/a -> {A}")], &refused);
    }
    // A matcher substitutes nothing: what is written is what a request must carry.
    for (value, literal) in [
        ("%ENVIRONMENT(PATH)%", r"(?:%ENVIRONMENT\(PATH\)%|always)"),
        ("%FILTER_STATE(a)%", r"(?:%FILTER_STATE\(a\)%|always)"),
        ("100%", "(?:100%|always)"),
        ("a.*", r"(?:a\.\*|always)"),
    ] {
        let translated = canary(value).translate();
        assert_eq!(reasons(&translated.diags), Vec::<String>::new());
        let view = translated.views.values().next().unwrap();
        let table = print::json(view.get(Kind::Route, "http").unwrap()).unwrap();
        let matcher = &table["virtual_hosts"][1]["routes"][0]["match"]["headers"][0];
        assert_eq!(matcher["string_match"]["safe_regex"]["regex"], literal);
        envoy::validate(&wrapped::static_config(view).to_string()).unwrap();
    }
}

#[test]
fn fault_f19_weights_neither_overflow_nor_vanish() {
    let main = || created(ingress("main", &[], &[("example.com", "Exact /a", "a")]), 1);
    let weighted = |name: &str, second, pairs: &[(&str, &str)]| {
        let pairs = [&[("canary", "true")], pairs].concat();
        created(ingress(name, &pairs, &[("example.com", "Exact /a", "b")]), second)
    };
    let only_main = format!("example.com =/a -> {A}");
    for (weight, findings) in [
        ("0", &[][..]),
        ("-1", &["Ingress shop/canary: InvalidAnnotation"]),
        ("NaN", &["Ingress shop/canary: InvalidAnnotation"]),
        ("1e3", &["Ingress shop/canary: InvalidAnnotation"]),
        ("4294967296", &["Ingress shop/canary: InvalidAnnotation"]),
    ] {
        check(
            &shop(&[main(), weighted("canary", 2, &[("canary-weight", weight)])]),
            &[&only_main],
            findings,
        );
    }
    // All of it is the canary's, and one more does not fit into 32 bits.
    let largest = u32::MAX.to_string();
    let fleet = shop(&[
        main(),
        weighted("first", 2, &[("canary-weight", &largest)]),
        weighted("second", 3, &[("canary-weight", "1")]),
    ]);
    let translated = fleet.translate();
    let view = translated.views.values().next().unwrap();
    let said = routes(view, "http");
    assert!(said.len() == 1 && said[0].starts_with("example.com =/a -> shop/b:80~"), "{said:?}");
    assert_eq!(reasons(&translated.diags), ["Ingress shop/second: LimitExceeded"]);
    envoy::validate(&wrapped::static_config(view).to_string()).unwrap();
    // A share below one in a hundred is not rounded away.
    let small = [("canary-weight", "1"), ("canary-weight-total", &largest)];
    let translated = shop(&[main(), weighted("canary", 2, &small)]).translate();
    let view = translated.views.values().next().unwrap();
    let said = routes(view, "http");
    assert!(said[0].contains(&format!("{A} 4294967294, shop/b:80~")), "{said:?}");
    assert!(said[0].ends_with(" 1"), "{said:?}");
    envoy::validate(&wrapped::static_config(view).to_string()).unwrap();
}

#[test]
fn fault_f20_forbidden_addresses_reach_no_assignment() {
    let forbidden = [
        "127.0.0.1",
        "127.8.9.10",
        "169.254.169.254",
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "100.100.100.200",
        "192.0.0.192",
    ];
    let forbidden_v6 = ["::1", "::", "fe80::1", "ff02::1", "::ffff:10.0.0.1", "fd00:ec2::254"];
    for (good, bad) in [("10.1.9.1", &forbidden[..]), ("fd00::1", &forbidden_v6[..])] {
        let addresses = [&[good], bad].concat();
        let mut objects = service_of("shop", "victim", &addresses);
        if good.contains(':') {
            objects[0]["spec"]["ipFamilies"] = json!(["IPv6"]);
        }
        let fleet = shop(&[ingress("web", &[], &[("example.com", "Exact /a", "victim")])]);
        let translated = fleet.member("c1", &objects).translate();
        let view = translated.views.values().next().unwrap();
        let assignment = view.get(Kind::Endpoint, "shop/victim:80").unwrap();
        let printed = print::json(assignment).unwrap();
        let endpoints = &printed["endpoints"][0]["lb_endpoints"];
        let address = &endpoints[0]["endpoint"]["address"]["socket_address"]["address"];
        assert_eq!((endpoints.as_array().unwrap().len(), address), (1, &json!(good)));
        let flagged = ["EndpointSlice shop/victim of member c1: ForbiddenAddress"];
        assert_eq!(reasons(&translated.diags), flagged);
    }
}

#[test]
fn fault_f21_distinct_backends_have_distinct_names() {
    let long = |last: &str| format!("{}{last}", "a".repeat(62));
    let (long_1, long_2) = (long("1"), long("2"));
    // Namespace and Service that would be one when joined, long ones that differ at their end.
    let services =
        [("a", "b-c"), ("a-b", "c"), ("a", "b"), ("a-b", "b"), ("a", &long_1), ("a", &long_2)];
    let mut fleet = Fleet::shop();
    for (idx, (namespace, service)) in services.iter().enumerate() {
        let host = format!("h{idx}.example.com");
        let mut object = ingress(&format!("i{idx}"), &[], &[(&host, "Prefix /", service)]);
        object["metadata"]["namespace"] = json!(namespace);
        let address = format!("10.1.9.{}", idx + 1);
        fleet = fleet.fleet(&object);
        fleet = fleet.member("c1", &service_of(namespace, service, &[&address]));
    }
    let translated = fleet.translate();
    assert_sound("names", &translated);
    assert_eq!(reasons(&translated.diags), Vec::<String>::new());
    let view = translated.views.values().next().unwrap();
    assert_eq!(view.table(Kind::Cluster).len(), services.len());
    let expected = services.iter().enumerate();
    let expected =
        expected.map(|(idx, (ns, name))| format!("h{idx}.example.com / -> {ns}/{name}:80"));
    assert_eq!(routes(view, "http"), expected.collect::<Vec<_>>());
}
