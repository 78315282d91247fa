use super::*;
use crate::{
    ingress::fixture::{check, empty, ingresses},
    store::{IngressRule, PathType},
};

/// What is wrong with the only object of a script.
#[track_caller]
fn check_diags(script: &str, expect: &[&str]) -> IngressRow {
    let ingress = ingresses(script).pop().unwrap();
    let (row, diags) = parse(&ingress, Dialect::Mse, &GatewayDefaults::default());
    let shown: Vec<_> = diags
        .iter()
        .map(|diag| format!("{}: {}: {}", diag.field, diag.reason, diag.message))
        .collect();
    assert_eq!(shown, expect, "{script}");
    row
}

#[test]
fn hosts_that_a_row_contributes_to() {
    for (script, expect) in [
        ("ns/a @1\nrule b exact /p a\nrule A exact /p a\nrule b exact /q a", "a b"),
        ("ns/a @1\nrule - exact /p a\nrule *.b exact /p a", "*.b *"),
        ("ns/a @1\ndefault a\nrule b exact /p a", "b *"),
        ("ns/a @1\ndefault a", "*"),
        ("ns/a @1\ncanary: true\ndefault a\nrule b exact /p a", "b"),
        ("ns/a @1\ntls c cert\nrule b exact /p a", "b"),
        ("ns/a @1\nmatch-method: GET\ndefault a\nrule b exact /p a", ""),
        ("ns/a @1\nauth-type: basic\ndefault a\nrule b exact /p a", "b *"),
    ] {
        let (row, _) = parse(&ingresses(script)[0], Dialect::Mse, &GatewayDefaults::default());
        let hosts: Vec<_> = row.hosts().iter().map(ToString::to_string).collect();
        assert_eq!(hosts.join(" "), expect, "{script}");
    }
}

#[test]
fn each_problem_is_said_on_its_field_and_the_rest_is_served() {
    let script = "ns/a @1
           timeout: abc
           tls h.,h,other cert
           rule h. exact /p a
           rule h exact p a
           rule h exact /p a";
    let expect = [
        "metadata.annotations[nginx.ingress.kubernetes.io/timeout]: InvalidAnnotation: \
         \"abc\" is not a whole number of seconds; the annotation is ignored",
        "spec.rules[0].host: InvalidHost: \"h.\" is not a host: it ends with a dot",
        "spec.rules[1].http.paths[0].path: InvalidPath: \"p\" does not begin with `/`",
        "spec.tls[0].hosts[0]: InvalidHost: \"h.\" is not a host: it ends with a dot",
        "spec.tls[0].hosts[2]: InvalidHost: other is the host of no rule, so this has no effect",
    ];
    check_diags(script, &expect);
    let all: Vec<_> = expect.iter().map(|line| format!("ns/a: {line}")).collect();
    check(script, "h", &format!("exact /p -> ns/a\ntls ns/cert: the same\n{}", all.join("\n")));
}

#[test]
fn an_ingress_that_asks_for_nothing() {
    check_diags("ns/a @1", &["spec: InvalidField: there are neither rules nor a default backend"]);
    check_diags("ns/a @1\ndefault a", &[]);
}

#[test]
fn refused_tls_hosts_are_not_the_default() {
    let row = check_diags(
        "ns/a @1\ntls h. cert\nrule h exact /p a",
        &["spec.tls[0].hosts[0]: InvalidHost: \"h.\" is not a host: it ends with a dot"],
    );
    assert_eq!(row.tls[0].scope, TlsScope::Hosts(BTreeSet::new()));
}

/// An Ingress with one path and these backends, as the path's and as the default.
fn with_backend(namespace: &str, backend: IngressBackend) -> Ingress {
    let path = Some("/p".into());
    let path = IngressPath { path, path_type: PathType::Exact, backend: backend.clone() };
    Ingress {
        rules: vec![IngressRule { host: None, paths: vec![path] }],
        default_backend: Some(backend),
        ..empty(ObjectName::new(namespace, "a"), 0)
    }
}

#[test]
fn backends_that_are_refused() {
    use crate::key::PortRef;

    let http = || Some(PortRef::Name("http".into()));
    let service =
        |name: &str, port: Option<PortRef>| IngressBackend::Service { name: name.into(), port };
    for (namespace, backend, expect) in [
        ("ns", service("a", http()), None),
        ("ns", IngressBackend::Unsupported, Some(": UnsupportedBackend: only backends of kind")),
        ("ns", service("a", None), Some(".service.port: InvalidField: the port is missing")),
        (
            "ns",
            service("a", Some(PortRef::Name("a:b".into()))),
            Some(".service.port: InvalidField: \"a:b\" is not the name of a port"),
        ),
        (
            "ns",
            service("a", Some(PortRef::First)),
            Some(".service.port: InvalidField: \"*\" is not the name of a port"),
        ),
        (
            "ns",
            service("a/b", http()),
            Some(".service.name: InvalidField: \"ns/a/b\" is not the name of a Service"),
        ),
        (
            "n/s",
            service("a", http()),
            Some(".service.name: InvalidField: \"n/s/a\" is not the name of a Service"),
        ),
        (
            "kube-system",
            service("a", http()),
            Some(".service.name: InvalidField: Services of kube-system are not served"),
        ),
    ] {
        let ingress = with_backend(namespace, backend);
        let (row, diags) = parse(&ingress, Dialect::Mse, &GatewayDefaults::default());
        let is_served = expect.is_none();
        assert_eq!(row.rules[&Host::Any].len(), usize::from(is_served), "{ingress:?}");
        assert_eq!(row.default_backend.is_some(), is_served, "{ingress:?}");
        let shown: Vec<_> = diags
            .iter()
            .map(|diag| format!("{}: {}: {}", diag.field, diag.reason, diag.message))
            .collect();
        let fields = ["spec.rules[0].http.paths[0].backend", "spec.defaultBackend"];
        assert_eq!(shown.len(), if is_served { 0 } else { 2 }, "{shown:?}");
        for (field, shown) in fields.iter().zip(&shown) {
            let expect = format!("{field}{}", expect.unwrap_or_default());
            assert!(shown.starts_with(&expect), "{shown} is not {expect}");
        }
    }
}

#[test]
fn the_operator_may_open_the_system_namespace() {
    let backend = IngressBackend::Service {
        name: "a".into(),
        port: Some(crate::key::PortRef::Name("http".into())),
    };
    let defaults = GatewayDefaults { allow_kube_system: true, ..GatewayDefaults::default() };
    let (row, diags) = parse(&with_backend("kube-system", backend), Dialect::Mse, &defaults);
    assert_eq!((row.rules[&Host::Any].len(), diags), (1, vec![]));
}

#[test]
fn fault_f14_the_first_routes_of_a_huge_object_are_served() {
    let rules = |n_rules: usize, n_paths: usize| {
        let mut ingress = ingresses("ns/a @1\nrule h exact /p a").remove(0);
        let path = ingress.rules[0].paths[0].clone();
        ingress.rules = (0..n_rules)
            .map(|rule| IngressRule {
                host: Some(format!("h{rule}").into()),
                paths: (0..n_paths)
                    .map(|idx| IngressPath { path: Some(format!("/{idx}").into()), ..path.clone() })
                    .collect(),
            })
            .collect();
        ingress
    };
    for (n_rules, n_paths, n_hosts, n_routes, field) in [
        (1, MAX_ROUTES, 1, MAX_ROUTES, None),
        (MAX_ROUTES, 1, MAX_ROUTES, MAX_ROUTES, None),
        (MAX_ROUTES, 0, MAX_ROUTES, 0, None),
        (1, MAX_ROUTES + 1, 1, MAX_ROUTES, Some("spec.rules[0]")),
        (3, MAX_ROUTES / 2 + 1, 2, MAX_ROUTES, Some("spec.rules[1]")),
        (5, 400, 3, MAX_ROUTES, Some("spec.rules[2]")),
    ] {
        let (row, diags) =
            parse(&rules(n_rules, n_paths), Dialect::Mse, &GatewayDefaults::default());
        let at = format!("{n_rules} rules of {n_paths} paths");
        assert_eq!(row.rules.len(), n_hosts, "{at}");
        assert_eq!(row.rules.values().map(Vec::len).sum::<usize>(), n_routes, "{at}");
        let found: Vec<_> = diags.iter().map(|diag| (diag.reason, diag.field.as_str())).collect();
        let expect: Vec<_> =
            field.map(|field| (Reason::LimitExceeded, field)).into_iter().collect();
        assert_eq!(found, expect, "{at}");
    }
}
