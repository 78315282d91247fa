//! The path table of semantics.md 6: which rule a request's path gets.

use super::*;
use crate::{
    ingress::fixture::host,
    model::{Action, Forward, Route},
};

/// The Service that a path of `h` is sent to, by the meaning of the model; `404` for none.
fn serve(script: &str, path: &str) -> String {
    let (rows, _) = rows(script);
    let (row, _) = assemble(&host("h"), &rows, &LISTENERS, &certs);
    let routes = row.on.into_values().next().map_or(Vec::new(), |http| http.routes);
    match routes.iter().find(|route| matches(route, path)).map(|route| &route.action) {
        None => "404".into(),
        Some(Action::Forward(Forward { arms, .. })) => {
            arms[0].target.backend().service.name.to_string()
        }
        Some(Action::RedirectToHttps) => "redirect".into(),
        Some(Action::Redirect(_)) => "elsewhere".into(),
        Some(Action::Answer(answer)) => answer.status.to_string(),
        Some(Action::Deny) => "403".into(),
    }
}

fn matches(route: &Route, path: &str) -> bool {
    match &route.path {
        PathMatch::Exact(exact) => path == &**exact,
        PathMatch::Prefix(prefix) => path
            .strip_prefix(&**prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        PathMatch::Regex(regex) => {
            let whole = format!("^(?:{})$", regex.as_str());
            regex_automata::meta::Regex::new(&whole).unwrap().is_match(path)
        }
        PathMatch::Any => true,
    }
}

/// A script with one rule a Service, and what each path is served by.
#[track_caller]
fn check_paths(rules: &[&str], expect: &[(&str, &str)]) {
    let rules: Vec<_> = rules.iter().map(|rule| format!("rule h {rule}")).collect();
    let script = format!("ns/a @1\n{}", rules.join("\n"));
    for (path, service) in expect {
        assert_eq!(serve(&script, path), *service, "{path} of {script}");
    }
}

#[test]
fn the_path_table() {
    check_paths(&["prefix / a"], &[("/", "a"), ("/x", "a"), ("/x/y/", "a")]);
    check_paths(
        &["exact /foo a"],
        &[("/foo", "a"), ("/bar", "404"), ("/foo/", "404"), ("/foo/x", "404"), ("/Foo", "404")],
    );
    check_paths(&["exact /foo/ a"], &[("/foo/", "a"), ("/foo", "404")]);
    for rule in ["prefix /foo a", "prefix /foo/ a", "specific /foo a", "unset /foo/* a"] {
        check_paths(
            &[rule],
            &[("/foo", "a"), ("/foo/", "a"), ("/foo/x", "a"), ("/foobar", "404"), ("/", "404")],
        );
    }
    check_paths(&["prefix /aaa/bb a"], &[("/aaa/bbb", "404")]);
    check_paths(
        &["prefix /aaa/bbb a"],
        &[("/aaa/bbb", "a"), ("/aaa/bbb/", "a"), ("/aaa/bbb/ccc", "a"), ("/aaa/bbbxyz", "404")],
    );
    check_paths(
        &["prefix / a", "prefix /aaa b", "prefix /aaa/bbb c"],
        &[("/aaa/bbb", "c"), ("/aaa/ccc", "b"), ("/ccc", "a")],
    );
    check_paths(&["prefix /aaa a"], &[("/ccc", "404")]);
    check_paths(
        &["prefix /foo prefix", "exact /foo exact"],
        &[("/foo", "exact"), ("/foo/", "prefix")],
    );
}

#[test]
fn unmatched_paths_go_to_the_default_backend() {
    let script = "ns/a @1\ndefault spare\nrule h prefix /aaa a";
    for (path, expect) in [("/aaa", "a"), ("/ccc", "spare"), ("/", "spare")] {
        assert_eq!(serve(script, path), expect, "{path}");
    }
}

#[test]
fn expressions_speak_of_the_beginning_or_of_the_whole() {
    let beginning = "ns/a @1\nuse-regex: true\nrule h specific /foo/[A-Z0-9]{3} a\n\
                     rule h specific /x|/y b";
    for (path, expect) in
        [("/foo/1234", "a"), ("/foo/123", "a"), ("/foo/ab", "404"), ("/x1", "b"), ("/y1", "b")]
    {
        assert_eq!(serve(beginning, path), expect, "{path}");
    }
    let whole = "ns/a @1\nfull-path-regex: true\nrule h specific /bar/[A-Z0-9]{3} a";
    for (path, expect) in [("/bar/123", "a"), ("/bar/1234", "404")] {
        assert_eq!(serve(whole, path), expect, "{path}");
    }
}
