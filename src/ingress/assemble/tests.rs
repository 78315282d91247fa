use std::sync::Arc;

use super::*;
use crate::ingress::fixture::{LISTENERS, certs, check, rows, show};

mod alb;
mod canary;
mod guides;
mod requests;

#[test]
fn exact_then_longest_prefix_then_regex_then_everything() {
    check(
        "ns/a @1
           default fallback
           rule h prefix / root
           rule h prefix /aaa a
           rule h exact /aaa exact
           rule h prefix /aaa/bbb/ b
           rule h exact /zzzz long
           rule h exact /aaa/ slash
         ns/b @0
           use-regex: true
           rule h prefix /aaa/.* short-regex
           rule h prefix /aaa/bbb/[0-9]+ long-regex",
        "h",
        "exact /zzzz -> ns/long
         exact /aaa/ -> ns/slash
         exact /aaa -> ns/exact
         prefix /aaa/bbb -> ns/b
         prefix /aaa -> ns/a
         regex (?:/aaa/bbb/[0-9]+).* -> ns/long-regex
         regex (?:/aaa/.*).* -> ns/short-regex
         any -> ns/root",
    );
}

#[test]
fn an_expression_goes_before_everything_and_after_prefixes() {
    check(
        "ns/plain @1
           rule h prefix / root
           rule h prefix /svc svc
         ns/regex @2
           use-regex: true
           rule h specific /svc/.* r1
         ns/whole @3
           full-path-regex: true
           rule h specific /bar/[A-Z0-9]{3} r2",
        "h",
        "prefix /svc -> ns/svc
         regex /bar/[A-Z0-9]{3} -> ns/r2
         regex (?:/svc/.*).* -> ns/r1
         any -> ns/root",
    );
}

#[test]
fn equal_lengths_keep_the_order_of_age() {
    check(
        "ns/young @2
           use-regex: true
           rule h prefix /a+ young
         ns/old @1
           use-regex: true
           rule h prefix /z. first
           rule h prefix /a. second",
        "h",
        "regex (?:/z.).* -> ns/first
         regex (?:/a.).* -> ns/second
         regex (?:/a+).* -> ns/young",
    );
}

#[test]
fn the_oldest_has_the_rule_and_the_loser_is_told() {
    let young = "b/young @2
           rule h exact /p young
           rule h prefix /p young";
    let old = "a/old @1
           rule h exact /p old";
    check(
        &format!("{young}\n{old}"),
        "h",
        "exact /p -> a/old
         prefix /p -> b/young
         b/young: spec.rules[0].http.paths[0]: RuleConflict: the same host and path are those of \
         Ingress a/old (spec.rules[0].http.paths[0])",
    );
    check(young, "h", "exact /p -> b/young\nprefix /p -> b/young");
}

#[test]
fn at_the_same_age_namespace_and_name_decide() {
    for (first, second) in [("a/z", "b/a"), ("a/a", "a/b")] {
        let script =
            format!("{second} @5\nrule h prefix /p second\n{first} @5\nrule h prefix /p/ first");
        let shown = show(&script, "h");
        let namespace = first.split('/').next().unwrap();
        let expect = format!(
            "prefix /p -> {namespace}/first\n{second}: spec.rules[0].http.paths[0]: RuleConflict: "
        );
        assert!(shown.starts_with(&expect), "{shown}");
    }
}

#[test]
fn inside_one_object_the_first_path_wins() {
    check(
        "ns/a @1
           rule h prefix /p first
           rule h specific /p/ second",
        "h",
        "prefix /p -> ns/first
         ns/a: spec.rules[1].http.paths[0]: RuleConflict: the same host and path are those of \
         Ingress ns/a (spec.rules[0].http.paths[0])",
    );
}

#[test]
fn a_default_backend_takes_what_its_own_hosts_leave() {
    let script = "ns/a @1
           default fallback
           rule h exact /p a
         ns/b @2
           rule h exact /q b
           rule other exact /q b
         ns/c @3
           default late
           rule whole prefix / c";
    check(
        script,
        "h",
        "exact /p -> ns/a
         exact /q -> ns/b
         any -> ns/fallback",
    );
    check(script, "other", "exact /q -> ns/b");
    check(script, "whole", "any -> ns/c");
    check(
        script,
        "-",
        "any -> ns/fallback
         ns/c: spec.defaultBackend: RuleConflict: unmatched requests of * go to the backend of \
         Ingress ns/a (spec.defaultBackend)",
    );
}

#[test]
fn a_rule_for_every_path_beats_a_default_backend() {
    check(
        "ns/a @1
           default fallback
         ns/b @2
           rule - prefix / b",
        "-",
        "any -> ns/b",
    );
}

#[test]
fn hosts_are_lower_case_and_equal_as_strings() {
    let script = "ns/a @1
           rule Example.COM exact /p a
           rule *.Example.com exact /p wildcard";
    check(script, "example.com", "exact /p -> ns/a");
    check(script, "*.example.com", "exact /p -> ns/wildcard");
    check(script, "a.example.com", "");
    check(script, "-", "");
}

#[test]
fn policies_are_those_of_the_ingress() {
    check(
        "ns/a @1
           timeout: 5
           proxy-next-upstream-timeout: 2
           default-backend: spare
           default fallback
           rule h exact /p a
         ns/b @2
           rule h exact /q b",
        "h",
        "exact /p -> ns/a > ns/spare:* timeout 5s try 2s
         exact /q -> ns/b
         any -> ns/fallback > ns/spare:* timeout 5s try 2s",
    );
}

#[test]
fn redirects_are_on_the_plaintext_listener_only() {
    check(
        "ns/a @1
           ssl-redirect: true
           tls h cert
           rule h exact /p a
         ns/b @2
           rule h exact /q b",
        "h",
        "exact /p -> redirect
         exact /q -> ns/b
         tls ns/cert:
         exact /p -> ns/a
         exact /q -> ns/b",
    );
}

#[test]
fn fault_f15_what_protects_denies_and_nothing_takes_its_place() {
    check(
        "ns/open @2
           rule h prefix / open
           rule h prefix /admin open
         ns/closed @1
           auth-type: basic
           ssl-redirect: true
           tls h cert
           default closed
           rule h prefix /admin closed",
        "h",
        "prefix /admin -> deny
         any -> ns/open
         tls ns/cert: the same
         ns/closed: metadata.annotations[nginx.ingress.kubernetes.io/auth-type]: \
         UnsupportedAnnotation: \"auth-type\" is not supported: it protects, so the paths of the \
         Ingress answer 403
         ns/open: spec.rules[1].http.paths[0]: RuleConflict: the same host and path are those of \
         Ingress ns/closed (spec.rules[0].http.paths[0])",
    );
}

#[test]
fn what_narrows_is_left_out() {
    let script = "ns/posts @1
           match-method: POST
           rule h prefix /p posts
         ns/all @2
           rule h prefix /p all";
    let shown = show(script, "h");
    assert!(shown.starts_with("prefix /p -> ns/all\nns/posts: metadata.annotations["), "{shown}");
    assert_eq!(shown.lines().count(), 2, "{shown}");
}

#[test]
fn targets_are_those_of_all_routes() {
    let (rows, _) = rows(
        "ns/a @1
           rule h exact /a a
           rule h exact /b a
           rule h exact /c c
           rule other exact /d d
         ns/canary @2
           canary: true
           canary-weight: 10
           rule h exact /a canary",
    );
    let (row, _) = assemble(&Host::Exact("h".into()), &rows, &LISTENERS, &certs);
    let names: Vec<_> =
        row.targets.iter().map(|target| target.backend().service.name.to_string()).collect();
    assert_eq!(names, ["a", "c", "canary"]);
}

#[test]
fn routes_and_arms_speak_of_the_users_object() {
    let (rows, _) = rows(
        "ns/a @1
           rule other exact /x a
           rule h exact /a a
         ns/canary @2
           canary: true
           canary-weight: 10
           rule h exact /a canary
         ns/vip @3
           canary: true
           canary-by-header: x
           rule h exact /a vip",
    );
    let (row, _) = assemble(&Host::Exact("h".into()), &rows, &LISTENERS, &certs);
    let mut origins = Vec::new();
    for route in row.on[&ListenerKey::HTTP].routes.clone() {
        let arms = route.action.arms().iter().map(|arm| arm.origin.object.name.to_string());
        origins.push(format!(
            "{} {}: {}",
            route.origin.object.name,
            route.origin.path,
            arms.collect::<Vec<_>>().join(" ")
        ));
    }
    assert_eq!(
        origins,
        [
            "ns/vip spec.rules[0].http.paths[0]: ns/vip",
            "ns/vip spec.rules[0].http.paths[0]: ns/a",
            "ns/a spec.rules[1].http.paths[0]: ns/a ns/canary",
        ]
    );
}

#[test]
fn rows_of_other_hosts_add_nothing() {
    let (all, _) = rows("ns/a @1\nrule h exact /a a\nns/b @2\nrule other exact /a b");
    let host = Host::Exact("h".into());
    let own: Vec<Arc<IngressRow>> = vec![all[0].clone()];
    assert_eq!(
        assemble(&host, &all, &LISTENERS, &certs),
        assemble(&host, &own, &LISTENERS, &certs)
    );
}
