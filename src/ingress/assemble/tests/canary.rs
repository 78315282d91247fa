//! Canaries: semantics.md 4.2–4.5 and the table of 9.4, as routes.

use crate::ingress::fixture::{check, show};

/// A main rule for `/svc1` of `h`, and canaries of it after it.
#[track_caller]
fn check_canaries(canaries: &str, expect: &str) {
    check(&format!("ns/main @1\nrule h exact /svc1 main\n{canaries}"), "h", expect);
}

#[test]
fn by_header_value() {
    check_canaries(
        "ns/c @2
           canary: true
           canary-by-header: canary-dest
           canary-by-header-value: cluster1
           rule h exact /svc1 canary",
        "exact /svc1 [header canary-dest=cluster1|always] -> ns/canary > ns/main
         exact /svc1 -> ns/main",
    );
}

#[test]
fn never_goes_past_cookies_and_weights() {
    check_canaries(
        "ns/h @2
           canary: true
           canary-by-header: x-c
           rule h exact /svc1 by-header
         ns/c @3
           canary: true
           canary-by-cookie: u
           rule h exact /svc1 by-cookie
         ns/w @4
           canary: true
           canary-weight: 100
           rule h exact /svc1 by-weight",
        "exact /svc1 [header x-c=always] -> ns/by-header > ns/main
         exact /svc1 [header x-c=never] -> ns/main
         exact /svc1 [cookie u=always] -> ns/by-cookie > ns/main
         exact /svc1 [cookie u=never] -> ns/main
         exact /svc1 -> ns/by-weight > ns/main",
    );
}

#[test]
fn kind_goes_before_age() {
    check_canaries(
        "ns/w @2
           canary: true
           canary-weight: 30
           rule h exact /svc1 w
         ns/c @3
           canary: true
           canary-by-cookie: u
           canary-by-cookie-value: beta
           rule h exact /svc1 c
         ns/q @5
           canary: true
           canary-by-query: v
           canary-by-query-value: 2
           rule h exact /svc1 q
         ns/p @4
           canary: true
           canary-by-header: x
           canary-by-header-pattern: test.com
           rule h exact /svc1 p",
        "exact /svc1 [header x~test.com] -> ns/p > ns/main
         exact /svc1 [query v=2|always] -> ns/q > ns/main
         exact /svc1 [cookie u=beta] -> ns/c > ns/main
         exact /svc1 -> 70 ns/main | 30 ns/w > ns/main",
    );
}

#[test]
fn header_and_query_must_both_hold() {
    check_canaries(
        "ns/c @2
           canary: true
           canary-by-header: x
           canary-by-header-value: 1
           canary-by-query: v
           canary-by-query-value: 2
           rule h exact /svc1 c",
        "exact /svc1 [header x=1|always and query v=2|always] -> ns/c > ns/main
         exact /svc1 -> ns/main",
    );
}

#[test]
fn weights_are_exact() {
    for (weights, total, expect) in [
        (&["20"][..], None, "80 ns/main | 20 ns/c0 > ns/main"),
        (&["30", "20"], None, "50 ns/main | 30 ns/c0 > ns/main | 20 ns/c1 > ns/main"),
        (&["0"], None, "ns/main"),
        (&["0", "0"], None, "ns/main"),
        (&["100"], None, "ns/c0 > ns/main"),
        (&["5"], Some("1000"), "995 ns/main | 5 ns/c0 > ns/main"),
        (&["80", "60"], None, "80 ns/c0 > ns/main | 60 ns/c1 > ns/main"),
        (&["4294967295"], None, "ns/c0 > ns/main"),
        (&["1"], Some("4294967295"), "4294967294 ns/main | 1 ns/c0 > ns/main"),
        (&["30", "0"], Some("60"), "30 ns/main | 30 ns/c0 > ns/main"),
    ] {
        let canary = |(idx, weight): (usize, &&str)| {
            // Only the total of the oldest counts.
            let total = match (idx, total) {
                (0, Some(total)) => format!("canary-weight-total: {total}\n"),
                (0, None) => String::new(),
                (_, _) => "canary-weight-total: 7\n".into(),
            };
            format!(
                "ns/c{idx} @{}\ncanary: true\ncanary-weight: {weight}\n{total}\
                 rule h exact /svc1 c{idx}\n",
                idx + 2
            )
        };
        let canaries: String = weights.iter().enumerate().map(canary).collect();
        check_canaries(&canaries, &format!("exact /svc1 -> {expect}"));
    }
}

#[test]
fn fault_f19_a_weight_that_does_not_fit_is_reported() {
    check_canaries(
        "ns/a @2
           canary: true
           canary-weight: 4294967295
           rule h exact /svc1 a
         ns/b @3
           canary: true
           canary-weight: 1
           rule h exact /svc1 b",
        "exact /svc1 -> ns/a > ns/main
         ns/b: spec.rules[0].http.paths[0]: LimitExceeded: \
         the weights of the canaries of this path exceed 32 bits",
    );
}

#[test]
fn equal_targets_are_one_arm() {
    check_canaries(
        "ns/a @2
           canary: true
           canary-weight: 10
           rule h exact /svc1 c
         ns/b @3
           canary: true
           canary-weight: 20
           rule h exact /svc1 c
         ns/c @4
           canary: true
           canary-weight: 5
           rule h exact /svc1 main",
        "exact /svc1 -> 70 ns/main | 30 ns/c > ns/main",
    );
}

#[test]
fn a_canary_needs_a_main_of_the_same_host_kind_and_path() {
    let canary = "ns/c @2
           canary: true
           canary-by-header: x
           canary-by-header-value: v
           rule h prefix /svc1 c";
    let no_main = "ns/c: spec.rules[0].http.paths[0]: CanaryWithoutMain: \
                   no main Ingress has this path of h: it gets no traffic";
    check(canary, "h", no_main);
    check_canaries(canary, &format!("exact /svc1 -> ns/main\n{no_main}"));
    check(
        &format!("ns/wide @1\nrule *.h prefix /svc1 main\nns/any @1\ndefault main\n{canary}"),
        "h",
        no_main,
    );
    check(
        &format!("ns/main @9\nrule h specific /svc1/ main\n{canary}"),
        "h",
        "prefix /svc1 [header x=v|always] -> ns/c > ns/main
         prefix /svc1 -> ns/main",
    );
}

#[test]
fn a_default_backend_is_no_main() {
    check(
        "ns/main @1
           default main
           rule h exact /p main
         ns/c @2
           canary: true
           canary-weight: 50
           rule h prefix / c",
        "h",
        "exact /p -> ns/main
         any -> ns/main
         ns/c: spec.rules[0].http.paths[0]: CanaryWithoutMain: \
         no main Ingress has this path of h: it gets no traffic",
    );
}

#[test]
fn each_path_of_a_canary_is_by_itself() {
    check(
        "ns/main @1
           rule h exact /foo v3
           rule h prefix /foo v3
         ns/exact @2
           canary: true
           canary-by-header: x
           canary-by-header-value: 1
           rule h exact /foo v2
         ns/prefix @3
           canary: true
           canary-by-header: x
           canary-by-header-value: 1
           rule h prefix /foo v1
           rule h prefix /other v1",
        "h",
        "exact /foo [header x=1|always] -> ns/v2 > ns/v3
         exact /foo -> ns/v3
         prefix /foo [header x=1|always] -> ns/v1 > ns/v3
         prefix /foo -> ns/v3
         ns/prefix: spec.rules[1].http.paths[0]: CanaryWithoutMain: \
         no main Ingress has this path of h: it gets no traffic",
    );
}

#[test]
fn a_canary_of_everything_stays_behind_more_specific_paths() {
    check(
        "ns/main @1
           rule h prefix / main
           rule h prefix /p p
         ns/c @2
           canary: true
           canary-by-header: x
           canary-by-header-value: 1
           rule h prefix / c",
        "h",
        "prefix /p -> ns/p
         any [header x=1|always] -> ns/c > ns/main
         any -> ns/main",
    );
}

#[test]
fn an_equal_condition_belongs_to_the_oldest() {
    check_canaries(
        "ns/young @3
           canary: true
           canary-by-header: X
           canary-by-header-value: v
           rule h exact /svc1 young
         ns/old @2
           canary: true
           canary-by-header: x
           canary-by-header-value: v
           rule h exact /svc1 old
         ns/twice @4
           canary: true
           canary-by-cookie: u
           rule h exact /svc1 first
           rule h exact /svc1 second",
        "exact /svc1 [header x=v|always] -> ns/old > ns/main
         exact /svc1 [cookie u=always] -> ns/first > ns/main
         exact /svc1 [cookie u=never] -> ns/main
         exact /svc1 -> ns/main
         ns/twice: spec.rules[1].http.paths[0]: RuleConflict: \
         an earlier path of this object is the same
         ns/young: spec.rules[0].http.paths[0]: RuleConflict: \
         the same condition is that of Ingress ns/old (spec.rules[0].http.paths[0])",
    );
}

#[test]
fn the_backend_is_in_the_canarys_namespace() {
    check_canaries(
        "other/c @2
           canary: true
           canary-weight: 10
           rule h exact /svc1 main",
        "exact /svc1 -> 90 ns/main | 10 other/main > ns/main",
    );
}

#[test]
fn a_canary_has_the_policy_and_the_chain_of_its_main_and_its_own_subset() {
    check(
        "ns/main @1
           timeout: 5
           default-backend: spare
           subset-labels: topology.istio.io/cluster c1
           rule h exact /p main
         ns/c @2
           canary: true
           canary-by-header: x
           canary-by-header-value: 1
           timeout: 9
           default-backend: own
           ssl-redirect: true
           subset-labels: version gray
           rule h exact /p canary
         ns/w @3
           canary: true
           canary-weight: 1
           rule h exact /p main",
        "h",
        "exact /p [header x=1|always] -> ns/canary@version=gray > ns/canary > ns/main@c1 > \
         ns/main > ns/spare:* timeout 5s
         exact /p -> 99 ns/main@c1 > ns/main > ns/spare:* | \
         1 ns/main > ns/main@c1 > ns/spare:* timeout 5s",
    );
}

#[test]
fn fault_f13_an_inactive_canary_changes_nothing() {
    let shown = show(
        "ns/main @1
           rule h exact /svc1 main
         ns/c @2
           canary: true
           canary-by-header: x
           canary-by-header-pattern: (
           canary-weight: 50
           default nothing
           tls h cert
           rule h exact /svc1 c",
        "h",
    );
    let expect = "exact /svc1 -> ns/main\n\
                  ns/c: metadata.annotations[nginx.ingress.kubernetes.io/canary-by-header-pattern]: \
                  InvalidAnnotation: \"(\" is refused: ";
    assert!(shown.starts_with(expect), "{shown}");
    assert!(!shown.contains("tls") && !shown.contains("nothing"), "{shown}");
}

#[test]
fn a_flag_that_is_false_is_no_canary() {
    check_canaries(
        "ns/c @2
           canary: false
           canary-weight: 50
           rule h exact /svc1 c",
        "exact /svc1 -> ns/main
         ns/c: spec.rules[0].http.paths[0]: RuleConflict: the same host and path are those of \
         Ingress ns/main (spec.rules[0].http.paths[0])",
    );
}

#[test]
fn canaries_of_what_is_denied_or_redirected_are_too() {
    let canary = "ns/c @2
           canary: true
           canary-by-header: x
           rule h exact /p c";
    check(
        &format!("ns/main @1\nssl-redirect: true\ntls h cert\nrule h exact /p main\n{canary}"),
        "h",
        "exact /p -> redirect
         tls ns/cert:
         exact /p [header x=always] -> ns/c > ns/main
         exact /p [header x=never] -> ns/main
         exact /p -> ns/main",
    );
    check(
        &format!("ns/main @1\nauth-type: basic\nrule h exact /p main\n{canary}"),
        "h",
        "exact /p -> deny
         ns/main: metadata.annotations[nginx.ingress.kubernetes.io/auth-type]: \
         UnsupportedAnnotation: \"auth-type\" is not supported: it protects, so the paths of the \
         Ingress answer 403",
    );
}
