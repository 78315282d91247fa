use super::*;
use crate::ingress::{annotation::with, fixture::show_condition};

fn show(role: &Role) -> String {
    let all = |conditions: &[Condition], glue: &str| {
        conditions.iter().map(show_condition).collect::<Vec<_>>().join(glue)
    };
    let choice = |kind: &str, choice: &Choice| {
        let never = all(&choice.never, " or ");
        let or = if never.is_empty() { "" } else { "; main if " };
        format!("{kind} {}{or}{never}", all(&choice.when, " and "))
    };
    match role {
        Role::Main => "main".into(),
        Role::Canary(Canary::Requests(when)) => choice("request", when),
        Role::Canary(Canary::Cookies(when)) => choice("cookie", when),
        Role::Canary(Canary::Weighted(Share { weight, total })) => {
            let total = total.map_or("default".into(), |total| total.to_string());
            format!("weight {weight} of {total}")
        }
        Role::Canary(Canary::Inactive) => "inactive".into(),
    }
}

#[track_caller]
fn check(pairs: &[(&str, &str)], expect: &str) -> Vec<String> {
    let mut all = vec![("canary", "true")];
    all.extend(pairs);
    let (role, diags) = with(&all, parse);
    assert_eq!(show(&role), expect, "{pairs:?}: {diags:?}");
    diags
}

#[test]
fn whose_traffic_a_canary_takes() {
    for (pairs, expect) in [
        (&[][..], "weight 0 of default"),
        (&[("canary-weight", "20")], "weight 20 of default"),
        (&[("canary-weight", "5"), ("canary-weight-total", "1000")], "weight 5 of 1000"),
        (&[("canary-weight", "5"), ("canary-weight-total", "50")], "weight 5 of 50"),
        (
            &[("canary-by-header", "X-Canary")],
            "request header x-canary=always; main if header x-canary=never",
        ),
        (
            &[("canary-by-header", "x-c"), ("canary-by-header-value", "a.c")],
            "request header x-c=a.c|always",
        ),
        (
            &[("canary-by-header", "x-c"), ("canary-by-header-value", "always")],
            "request header x-c=always",
        ),
        (
            &[("canary-by-header", "x-c"), ("canary-by-header-pattern", "test.com")],
            "request header x-c~test.com",
        ),
        (
            &[
                ("canary-by-header", "x-c"),
                ("canary-by-header-value", "v"),
                ("canary-by-header-pattern", "p"),
            ],
            "request header x-c=v|always",
        ),
        (&[("canary-by-query", "v"), ("canary-by-query-value", "2")], "request query v=2|always"),
        (&[("canary-by-query", "v")], "request query v=always; main if query v=never"),
        (
            &[("canary-by-header", "h"), ("canary-by-query", "Q"), ("canary-by-query-value", "1")],
            "request header h=always and query Q=1|always; main if header h=never",
        ),
        (&[("canary-by-cookie", "u")], "cookie cookie u=always; main if cookie u=never"),
        (&[("canary-by-cookie", "u"), ("canary-by-cookie-value", "beta")], "cookie cookie u=beta"),
        (
            &[("canary-by-header", "h"), ("canary-by-cookie", "u"), ("canary-weight", "9")],
            "request header h=always; main if header h=never",
        ),
        (
            &[("canary-by-cookie", "u"), ("canary-weight", "100")],
            "cookie cookie u=always; main if cookie u=never",
        ),
        (&[("canary-by-header-value", "v"), ("canary-weight", "7")], "weight 7 of default"),
    ] {
        assert_eq!(check(pairs, expect), [""; 0], "{pairs:?}");
    }
}

#[test]
fn without_the_flag_it_is_a_main() {
    for flag in ["false", "0", "maybe", ""] {
        let (role, _) = with(&[("canary", flag), ("canary-weight", "20")], parse);
        assert_eq!(role, Role::Main, "{flag:?}");
    }
}

#[test]
fn a_condition_that_cannot_be_matched_takes_no_traffic() {
    for (pairs, key) in [
        (
            &[("canary-by-header", "x"), ("canary-by-header-pattern", "(")][..],
            "canary-by-header-pattern",
        ),
        (&[("canary-by-header", "a b"), ("canary-weight", "50")], "canary-by-header"),
        (&[("canary-by-header", ":path")], "canary-by-header"),
        (
            &[("canary-by-header", "x"), ("canary-by-header-value", "a\nb")],
            "canary-by-header-value",
        ),
        (&[("canary-by-query", "a=b")], "canary-by-query"),
        (&[("canary-by-query", "a"), ("canary-by-query-value", "b&c")], "canary-by-query-value"),
        (&[("canary-by-cookie", "a;b")], "canary-by-cookie"),
        (&[("canary-by-cookie", "a"), ("canary-by-cookie-value", "b;c")], "canary-by-cookie-value"),
    ] {
        let diags = check(pairs, "inactive");
        assert_eq!(diags.len(), 1, "{pairs:?}");
        assert!(diags[0].starts_with(&format!("{key}: InvalidAnnotation: ")), "{diags:?}");
        assert!(diags[0].ends_with("; the canary gets no traffic"), "{diags:?}");
    }
}

#[test]
fn an_invalid_weight_is_ignored() {
    for weight in ["-1", "NaN", "1.5", "4294967296", "20%"] {
        let diags = check(&[("canary-weight", weight)], "weight 0 of default");
        assert_eq!(diags.len(), 1, "{weight}");
    }
    for total in ["0", "-1", "x"] {
        let pairs = [("canary-weight", "10"), ("canary-weight-total", total)];
        assert_eq!(check(&pairs, "weight 10 of default").len(), 1, "{total}");
    }
}
