//! An ALB's Ingresses (semantics.md 2.3 to 2.6).

use super::*;
use crate::ingress::{
    Dialect,
    fixture::{certs, check_alb, host, rows_of},
};

/// Conditions of one kind, as the value of an annotation.
fn methods(method: &str) -> String {
    format!(r#"[{{"type":"Method","methodConfig":{{"values":["{method}"]}}}}]"#)
}

#[test]
fn row_179_the_number_comes_before_the_path() {
    check_alb(
        "ns/a @1
           order: 10
           rule h exact /svc1 a
         ns/b @2
           order: 1
           rule h prefix / b
         ns/c @3
           rule h prefix /svc1 c",
        "h",
        "any -> ns/b
         exact /svc1 -> ns/a
         prefix /svc1 -> ns/c",
    );
}

#[test]
fn names_decide_between_equal_numbers_and_ages_do_not() {
    check_alb(
        "ns/b @1
           rule h exact /a b
         ns/a @2
           rule h exact /a a",
        "h",
        "exact /a -> ns/a
         ns/b: spec.rules[0].http.paths[0]: RuleConflict: the same host and path are those of \
         Ingress ns/a (spec.rules[0].http.paths[0])",
    );
    check_alb(
        "ns/b @1
           order: 3
           rule h exact /b b
         ns/a @2
           order: 3
           rule h exact /a a",
        "h",
        "exact /a -> ns/a
         exact /b -> ns/b
         ns/b: : SameOrder: order 3 is also that of ns/a for h, whose rules come first by its name",
    );
}

#[test]
fn kinds_of_path() {
    check_alb(
        "ns/a @1
           rule h exact /e a
           rule h exact /e* a
           rule h prefix /p a
           rule h specific /s a
           rule h specific /s/*/x? a
           rule h specific /* a",
        "h",
        r#"exact /e -> ns/a
           exact /s -> ns/a
           prefix /p -> ns/a
           regex /s/.*/x. -> ns/a
           any -> ns/a
           ns/a: spec.rules[1].http.paths[0].path: InvalidPath: "/e*" contains `*`, and an exact path is no pattern"#,
    );
    check_alb(
        "ns/a @1
           use-regex: true
           rule h exact /e a
           rule h prefix /p/[0-9]+ a",
        "h",
        "exact /e -> ns/a
         regex (?i)(?:/p/[0-9]+).* -> ns/a",
    );
}

#[test]
fn rewrites_take_the_groups_of_their_path() {
    check_alb(
        r"ns/a @1
           rewrite-target: /x/${2}
           rule h prefix /p(/|$)(.*) a
           rule h prefix /q a",
        "h",
        r#"regex (?i)(?:/p(/|$)(.*)).* -> ns/a as /x/\2
           regex (?i)(?:/q).* -> ns/a
           ns/a: spec.rules[1].http.paths[0].path: InvalidAnnotation: the path has no group 2; the path is passed on as it is"#,
    );
}

#[test]
fn row_182_canaries_need_a_main_rule() {
    check_alb(
        "ns/main @1
           rule h exact /a main
         ns/vip @2
           canary: true
           canary-by-header: x
           canary-by-header-value: vip
           canary-weight: 50
           rule h exact /a vip
           rule h exact /b vip
         ns/share @3
           canary: true
           canary-weight: 20
           rule h exact /a share",
        "h",
        "exact /a [header x=vip|always] -> ns/vip > ns/main
         exact /a -> 80 ns/main | 20 ns/share > ns/main
         ns/vip: spec.rules[1].http.paths[0]: CanaryWithoutMain: no main Ingress has this path of h: it gets no traffic",
    );
}

#[test]
fn rules_with_conditions_come_before_the_one_without() {
    let script = format!(
        "ns/a @1
           rule h exact /a a
         ns/b @2
           conditions.b: {}
           rule h exact /a b
         ns/c @3
           conditions.c: {}
           rule h exact /a c",
        methods("PUT"),
        methods("PUT"),
    );
    check_alb(
        &script,
        "h",
        "exact /a [header :method=PUT] -> ns/b
         exact /a -> ns/a
         ns/c: spec.rules[0].http.paths[0]: RuleConflict: the same host and path are those of \
         Ingress ns/b (spec.rules[0].http.paths[0])",
    );
}

#[test]
fn conditions_add_hosts_and_paths() {
    let script = r#"ns/a @1
        conditions.a: [{"type":"Host","hostConfig":{"values":["other"]}},{"type":"Path","pathConfig":{"values":["/b/*"]}}]
        rule h exact /a a"#;
    for host in ["h", "other"] {
        check_alb(script, host, "exact /a -> ns/a\nregex /b/.* -> ns/a");
    }
    let script = r#"ns/a @1
        conditions.a: [{"type":"Host","hostConfig":{"values":["other"]}}]
        rule - exact /a a"#;
    check_alb(script, "other", "exact /a -> ns/a");
    check_alb(script, "-", "");
}

#[test]
fn row_180_actions_take_the_place_of_a_backend() {
    let tea = r#"[{"type":"FixedResponse","FixedResponseConfig":{"contentType":"text/plain","httpCode":"418","content":"tea"}}]"#;
    let split = r#"[{"type":"TrafficLimit","TrafficLimitConfig":{"QPS":"9"}},{"type":"ForwardGroup","forwardConfig":{"serverGroups":[
        {"serviceName":"x","servicePort":80,"weight":80},{"serviceName":"y","servicePort":80,"weight":20},{"serviceName":"z","servicePort":80,"weight":0}]}}]"#.replace('\n', "");
    let script = format!(
        "ns/a @1
           actions.tea: {tea}
           actions.split: {split}
           actions.nobody: {tea}
           rule h exact /tea tea!
           rule h exact /split split!
           rule h exact /both tea
           rule h exact /none none!"
    );
    check_alb(
        &script,
        "h",
        r#"exact /split -> 80 ns/x | 20 ns/y limit Some(9)/None
           exact /tea -> 418 tea
           ns/a: metadata.annotations[nginx.ingress.kubernetes.io/actions.split]: LimitPerEnvoy: every Envoy of the gateway counts by itself: of the requests of all clients each lets its share through if `convoy.dev/replicas` of the gateway says how many there are, and otherwise all of them
           ns/a: spec.rules[2].http.paths[0].backend: InvalidAnnotation: an action ends the request, and the backend would take it too; its port is to be called `use-annotation`
           ns/a: spec.rules[3].http.paths[0].backend: InvalidAnnotation: no action of the annotation ends the request
           ns/a: : InvalidAnnotation: no rule has the backend "nobody" that an annotation is about"#,
    );
}

#[test]
fn a_refused_annotation_takes_its_rules_and_no_others() {
    check_alb(
        r#"ns/a @1
           conditions.a: [{"type":"Teapot","teapotConfig":{}}]
           rule h exact /a a
           rule h exact /b b"#,
        "h",
        r#"exact /b -> ns/b
           ns/a: metadata.annotations[nginx.ingress.kubernetes.io/conditions.a]: InvalidAnnotation: conditions on "Teapot" are not served; the rules with this backend are not served"#,
    );
}

#[test]
fn a_canary_has_no_conditions_and_joins_no_split() {
    let script = format!(
        "ns/main @1
           rule h exact /a main
         ns/vip @2
           canary: true
           canary-weight: 20
           conditions.vip: {}
           rule h exact /a vip",
        methods("PUT"),
    );
    check_alb(
        &script,
        "h",
        "exact /a -> ns/main
         ns/vip: metadata.annotations[nginx.ingress.kubernetes.io/conditions.vip]: InvalidAnnotation: a canary has none of its own; the rules with this backend are not served",
    );
}

#[test]
fn what_protects_denies_with_the_conditions_of_each_rule() {
    let script = format!(
        "ns/a @1
           auth-type: basic
           conditions.a: {}
           rule h exact /a a
         ns/b @2
           rule h exact /a b",
        methods("PUT"),
    );
    check_alb(
        &script,
        "h",
        r#"exact /a [header :method=PUT] -> deny
           exact /a -> ns/b
           ns/a: metadata.annotations[nginx.ingress.kubernetes.io/auth-type]: UnsupportedAnnotation: "auth-type" is not supported: it protects, so the paths of the Ingress answer 403"#,
    );
}

#[test]
fn row_181_listeners_by_certificate() {
    check_alb(
        "ns/a @1
           ssl-redirect: true
           tls h cert
           rule h exact /a a",
        "h",
        "exact /a -> redirect
         tls ns/cert:
         exact /a -> ns/a",
    );
    check_alb(
        "ns/a @1
           listen-ports: [{\"HTTP\":8001}]
           rule h exact /a a",
        "h",
        "ns/a: metadata.annotations[nginx.ingress.kubernetes.io/listen-ports]: ListenerNotFound: listener is not exist in alb, port: 8001: the gateway has no HTTP listener on it, so these rules are not served there",
    );
}

#[test]
fn a_canary_is_on_the_listeners_of_its_main() {
    for tls in ["", "tls h cert"] {
        check_alb(
            &format!(
                "ns/main @1
                   tls h cert
                   rule h exact /a main
                 ns/new @2
                   canary: true
                   canary-weight: 20
                   {tls}
                   rule h exact /a new"
            ),
            "h",
            "tls ns/cert:
             exact /a -> 80 ns/main | 20 ns/new > ns/main",
        );
    }
}

#[test]
fn a_host_without_a_certificate_is_closed_where_a_wildcard_would_answer() {
    let script = "ns/a @1
                    rule admin.h exact /a a
                  ns/w @1
                    tls *.h cert
                    rule *.h prefix / w";
    let (rows, _) = rows_of(Dialect::Alb, script);
    let listeners = [80, 443].map(|port| ListenerKey {
        transport: if port == 80 { Transport::Plaintext } else { Transport::Tls },
        port: Some(port),
    });
    let host = host("admin.h");
    let (row, _) = assemble(&host, &rows, &listeners, &certs);
    let routes: Vec<_> = row.on.iter().map(|(key, own)| (key.port, own.routes.len())).collect();
    assert_eq!(routes, [(Some(80), 1), (Some(443), 0)]);
}
