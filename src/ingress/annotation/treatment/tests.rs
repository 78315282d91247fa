use super::*;
use crate::ingress::annotation::{Canary, Share, with, with_alb};

fn run(pairs: &[(&str, &str)], role: &Role) -> (Treatment, Vec<String>) {
    with(pairs, |annotations, diags| parse(annotations, role, diags))
}

#[test]
fn honoured_keys_are_silent() {
    for key in SHARED.iter().chain(&MSE) {
        assert_eq!(run(&[(key, "x")], &Role::Main), (Treatment::Served, vec![]), "{key}");
    }
    for key in SHARED.iter().chain(&ALB).chain(&["conditions.a", "actions.a", "rule-direction.a"]) {
        assert_eq!(run_alb(&[(key, "x")], &Role::Main), (Treatment::Served, vec![]), "{key}");
    }
    for tables in [[&SHARED[..], &MSE], [&SHARED[..], &ALB]] {
        let keys: std::collections::BTreeSet<_> = tables.concat().into_iter().collect();
        assert_eq!(keys.len(), tables.concat().len(), "no key is in two tables");
    }
}

fn run_alb(pairs: &[(&str, &str)], role: &Role) -> (Treatment, Vec<String>) {
    with_alb(pairs, |annotations, diags| parse(annotations, role, diags))
}

#[test]
fn what_an_alb_does_not_honour() {
    use Treatment::{Denied, Served, Withheld};
    for (key, value, expect, n_diags) in [
        ("backend-protocol", "http", Served, 0),
        ("backend-protocol", "grpc", Served, 1),
        ("backend-protocol", "https", Denied, 1),
        ("backend-protocol", "HTTPS", Denied, 1),
        ("backend-keepalive", "true", Served, 1),
        ("canary-by-cookie-value", "x", Withheld, 1),
        ("canary-by-query", "x", Withheld, 1),
        ("server-group-id", "sgp-1", Withheld, 1),
        ("timeout", "5", Served, 1),
        ("auth-type", "basic", Denied, 1),
        ("nginx.ingress.kubernetes.io/auth-url", "https://a", Denied, 1),
        ("nginx.ingress.kubernetes.io/whitelist-source-range", "10.0.0.0/8", Denied, 1),
        ("nginx.ingress.kubernetes.io/server-snippet", "deny all;", Denied, 1),
        // Another kind's: it is not read, so nothing is said.
        ("mse.ingress.kubernetes.io/whitelist-source-range", "10.0.0.0/8", Served, 0),
    ] {
        let (treatment, diags) = run_alb(&[(key, value)], &Role::Main);
        assert_eq!((treatment, diags.len()), (expect, n_diags), "{key}: {value}: {diags:?}");
    }
}

#[test]
fn fault_f15_what_is_not_honoured() {
    use Treatment::{Denied, Served, Withheld};
    for (key, value, expect) in [
        ("auth-type", "basic", Denied),
        ("auth-secret", "users", Denied),
        ("auth-url", "https://auth.example.com", Denied),
        ("auth-signin", "https://auth.example.com", Denied),
        ("auth-realm", "x", Denied),
        ("auth-snippet", "deny all;", Denied),
        ("auth-tls-secret", "ns/ca", Denied),
        ("auth-tls-verify-client", "on", Denied),
        ("whitelist-source-range", "10.0.0.0/8", Denied),
        ("whitelist-source-range", "0", Denied),
        ("allowlist-source-range", "10.0.0.0/8", Denied),
        ("denylist-source-range", "10.0.0.0/8", Denied),
        ("blacklist-source-range", "10.0.0.0/8", Denied),
        ("domain-whitelist-source-range", "10.0.0.0/8", Denied),
        ("domain-blacklist-source-range", "10.0.0.0/8", Denied),
        ("configuration-snippet", "deny all;", Denied),
        ("server-snippet", "deny all;", Denied),
        ("modsecurity-snippet", "SecRuleEngine On", Denied),
        ("enable-modsecurity", "true", Denied),
        ("enable-modsecurity", "false", Served),
        ("enable-owasp-core-rules", "true", Denied),
        ("match-method", "POST", Withheld),
        ("exact-match-header-user", "higress", Withheld),
        ("prefix-match-query-v", "1", Withheld),
        ("regex-match-pseudo-header-:scheme", "https", Withheld),
        ("affinity", "cookie", Served),
        ("app-root", "/x", Served),
        ("backend-protocol", "HTTPS", Served),
        ("cors-allow-origin", "*", Served),
        ("custom-http-errors", "503", Served),
        ("destination", "100% a", Served),
        ("enable-cors", "true", Served),
        ("enable-global-auth", "false", Served),
        ("ignore-path-case", "true", Served),
        ("limit-rps", "5", Served),
        ("limit-whitelist", "10.0.0.0/8", Served),
        ("load-balance", "round_robin", Served),
        ("mirror-target-service", "a", Served),
        ("permanent-redirect", "http://a", Served),
        ("proxy-body-size", "8m", Served),
        ("proxy-next-upstream", "http_502", Served),
        ("request-header-control-add", "a b", Served),
        ("rewrite-target", "/$1", Served),
        ("route-limit-rps", "5", Served),
        ("server-alias", "a.com", Served),
        ("ssl-passthrough", "true", Served),
        ("tls-min-protocol-version", "TLSv1.2", Served),
        ("upstream-vhost", "a", Served),
        ("cannary", "true", Served),
    ] {
        let (treatment, diags) = run(&[(key, value)], &Role::Main);
        assert_eq!(treatment, expect, "{key}");
        assert_eq!(diags.len(), 1, "{key}");
        assert!(diags[0].starts_with(&format!("{key}: UnsupportedAnnotation: ")), "{diags:?}");
    }
}

#[test]
fn the_worst_decides_and_each_is_named() {
    let pairs = [("match-method", "GET"), ("app-root", "/"), ("auth-type", "basic")];
    let (treatment, diags) = run(&pairs, &Role::Main);
    assert_eq!(treatment, Treatment::Withheld);
    assert_eq!(
        diags,
        [
            "app-root: UnsupportedAnnotation: \"app-root\" is not supported: \
             the Ingress is served without it",
            "auth-type: UnsupportedAnnotation: \"auth-type\" is not supported: \
             it protects, so the paths of the Ingress answer 403",
            "match-method: UnsupportedAnnotation: \"match-method\" is not supported: \
             the rules of the Ingress are not served without it",
        ]
    );
}

#[test]
fn a_protected_canary_is_left_out() {
    let canary = Role::Canary(Canary::Weighted(Share { weight: 5, total: None }));
    let (treatment, _) = run(&[("auth-type", "basic")], &canary);
    assert_eq!(treatment, Treatment::Withheld);
}

#[test]
fn an_empty_value_asks_for_nothing() {
    assert_eq!(run(&[("auth-type", " ")], &Role::Main), (Treatment::Served, vec![]));
}
