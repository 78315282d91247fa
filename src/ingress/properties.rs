//! What holds for any Ingresses: no panic, no influence of order, no influence on others.

use std::sync::Arc;

use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::select,
};

use super::*;
use crate::{
    ingress::fixture::{LISTENERS, certs},
    key::{ObjectName, PortRef},
    model::{Host, ListenerKey},
    settings::GatewayDefaults,
    store::{Ingress, IngressBackend, IngressPath, IngressRule, IngressTls, PathType},
};

/// Words that mean something, so that random objects meet each other, and any text at all.
fn word(words: &'static [&'static str]) -> impl Strategy<Value = Arc<str>> {
    prop_oneof![9 => select(words).prop_map(Arc::from), 1 => ".*".prop_map(Arc::from)]
}

fn host_text() -> impl Strategy<Value = Arc<str>> {
    word(&["h", "H", "other", "*.h", "", "h.", "a_b"])
}

fn backend() -> impl Strategy<Value = IngressBackend> {
    let port =
        select(&["http", "grpc", "use-annotation"][..]).prop_map(|name| PortRef::Name(name.into()));
    prop_oneof![
        9 => (word(&["a", "b", "c"]), option::weighted(0.9, port))
            .prop_map(|(name, port)| IngressBackend::Service { name, port }),
        1 => Just(IngressBackend::Unsupported),
    ]
}

fn path() -> impl Strategy<Value = IngressPath> {
    let kinds =
        [PathType::Exact, PathType::Prefix, PathType::ImplementationSpecific, PathType::Unset];
    let text = word(&["/", "/p", "/p/", "/q", "/q/*", "/[a-z]+", "p", "/(", "/a|/b"]);
    (option::weighted(0.9, text), select(kinds.to_vec()), backend())
        .prop_map(|(path, path_type, backend)| IngressPath { path, path_type, backend })
}

fn annotations() -> impl Strategy<Value = std::collections::BTreeMap<Arc<str>, Arc<str>>> {
    let keys = &[
        "auth-type",
        "canary-by-cookie",
        "canary-by-header",
        "canary-by-header-pattern",
        "canary-by-header-value",
        "canary-by-query",
        "canary-weight",
        "canary-weight-total",
        "default-backend",
        "match-method",
        "service-subset",
        "ssl-redirect",
        "subset-labels",
        "timeout",
        "use-regex",
        "order",
        "conditions.a",
        "conditions.b",
        "actions.a",
        "actions.c",
        "rewrite-target",
        "enable-cors",
        "traffic-limit-qps",
        "listen-ports",
        "healthcheck-enabled",
        "sticky-session",
    ];
    let values = &[
        "true",
        "false",
        "0",
        "20",
        "100",
        "4294967295",
        "x",
        "(",
        "version gray",
        "/${1}",
        r#"[{"HTTP":80}]"#,
        r#"[{"type":"Method","methodConfig":{"values":["GET"]}}]"#,
        r#"[{"type":"Host","hostConfig":{"values":["other"]}}]"#,
        r#"[{"type":"Cookie","cookieConfig":{"values":[{"key":"a"},{"key":"b"}]}}]"#,
        r#"[{"type":"FixedResponse","fixedResponseConfig":{"httpCode":200,"contentType":"a/b"}}]"#,
        r#"[{"type":"RemoveHeader","removeHeaderConfig":{"key":"x"}}]"#,
    ];
    let prefixes = [Dialect::Mse.prefixes(), Dialect::Alb.prefixes()].concat();
    let key = (select(prefixes), word(keys)).prop_map(|(prefix, key)| format!("{prefix}{key}"));
    // Both dialects read it.
    let canary = option::of(Just(("nginx.ingress.kubernetes.io/canary".into(), "true".into())));
    (btree_map(key.prop_map(Arc::from), word(values), 0..4), canary).prop_map(
        |(mut map, canary)| {
            map.extend(canary);
            map
        },
    )
}

fn ingress() -> impl Strategy<Value = Ingress> {
    let name = (select(&["ns", "other"][..]), 0..4u8);
    let rule = (option::of(host_text()), vec(path(), 0..4))
        .prop_map(|(host, paths)| IngressRule { host, paths });
    let secret = option::weighted(0.9, word(&["cert", "missing", "broken", "stale"]));
    let tls =
        (vec(host_text(), 0..3), secret).prop_map(|(hosts, secret)| IngressTls { hosts, secret });
    let spec = (vec(rule, 0..4), option::of(backend()), vec(tls, 0..2));
    (name, 0..3i64, annotations(), spec).prop_map(
        |((namespace, idx), created, annotations, spec)| {
            let (rules, default_backend, tls) = spec;
            let name = ObjectName::new(namespace, &format!("i{idx}"));
            Ingress {
                name,
                uid: "".into(),
                created,
                annotations,
                class: None,
                default_backend,
                rules,
                tls,
            }
        },
    )
}

/// Ingresses with distinct names, as a cluster has them.
fn fleet() -> impl Strategy<Value = Vec<Ingress>> {
    vec(ingress(), 0..7).prop_map(|all| {
        let by_name: std::collections::BTreeMap<_, _> =
            all.into_iter().map(|ingress| (ingress.name.clone(), ingress)).collect();
        by_name.into_values().collect()
    })
}

fn dialect() -> impl Strategy<Value = Dialect> {
    select(&[Dialect::Mse, Dialect::Alb][..])
}

fn row(dialect: Dialect, ingress: &Ingress) -> Arc<IngressRow> {
    Arc::new(parse(ingress, dialect, &GatewayDefaults::default()).0)
}

fn rows(dialect: Dialect, fleet: &[Ingress]) -> Vec<Arc<IngressRow>> {
    fleet.iter().map(|ingress| row(dialect, ingress)).collect()
}

/// The listeners that Ingresses of the dialect are on, unless they ask for others.
fn listeners(dialect: Dialect) -> [ListenerKey; 2] {
    let [http, https] = LISTENERS;
    match dialect {
        Dialect::Mse => LISTENERS,
        Dialect::Alb => {
            [ListenerKey { port: Some(80), ..http }, ListenerKey { port: Some(443), ..https }]
        }
    }
}

fn hosts() -> [Host; 4] {
    [Host::Exact("h".into()), Host::Exact("other".into()), Host::Wildcard("h".into()), Host::Any]
}

/// What the model promises of every host.
fn assert_total(row: &HostRow) {
    use crate::model::Action;
    let is_whole = |route: &crate::model::Route| match &route.action {
        Action::Forward(forward) => !forward.arms.is_empty(),
        Action::RedirectToHttps | Action::Redirect(_) | Action::Answer(_) | Action::Deny => true,
    };
    for (key, host) in &row.on {
        let is_closed = key.transport == crate::model::Transport::Tls && row.certificate.is_none();
        assert_eq!(host.routes.is_empty(), is_closed);
        assert!(host.routes.iter().all(is_whole));
    }
    assert!(row.certificate.iter().all(|secret| row.secrets.contains(secret)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn fault_f04_order_of_arrival_means_nothing(
        (fleet, shuffled) in fleet().prop_flat_map(|fleet| (Just(fleet.clone()), Just(fleet).prop_shuffle())),
        dialect in dialect(),
    ) {
        let (fleet, shuffled) = (rows(dialect, &fleet), rows(dialect, &shuffled));
        let listeners = listeners(dialect);
        for host in hosts() {
            let result = assemble(&host, &fleet, &listeners, &certs);
            assert_total(&result.0);
            prop_assert_eq!(&result, &assemble(&host, &shuffled, &listeners, &certs));
        }
    }

    #[test]
    fn an_ingress_changes_its_own_hosts_only(
        fleet in fleet(), more in ingress(), dialect in dialect(),
    ) {
        let more = row(dialect, &Ingress { name: ObjectName::new("ns", "more"), ..more });
        let fleet = rows(dialect, &fleet);
        let with: Vec<_> = fleet.iter().cloned().chain([more.clone()]).collect();
        let listeners = listeners(dialect);
        for host in hosts() {
            if !more.hosts().contains(&host) {
                prop_assert_eq!(
                    assemble(&host, &fleet, &listeners, &certs),
                    assemble(&host, &with, &listeners, &certs)
                );
            }
        }
    }

    /// The youngest Ingress has only paths that are taken: whatever else it says, what the others
    /// serve stays, and nothing is said about them.
    #[test]
    fn a_loser_changes_nothing_of_the_winner(fleet in fleet(), more in ingress()) {
        let more = Ingress { name: ObjectName::new("ns", "more"), created: 99, ..more };
        let fleet = rows(Dialect::Mse, &fleet);
        let mut more = parse(&more, Dialect::Mse, &GatewayDefaults::default()).0;
        more.role = Role::Main;
        more.default_backend = None;
        more.tls.clear();
        for host in hosts() {
            let taken = |rule: &PathRule| fleet.iter().any(|row| {
                row.role == Role::Main
                    && row.rules.get(&host).is_some_and(|rules| rules.iter().any(|r| r.path == rule.path))
            });
            let mut loser = more.clone();
            if let Some(rules) = loser.rules.get_mut(&host) {
                rules.retain(taken);
            }
            let with: Vec<_> = fleet.iter().cloned().chain([Arc::new(loser.clone())]).collect();
            let (alone, before) = assemble(&host, &fleet, &LISTENERS, &certs);
            let (row, mut after) = assemble(&host, &with, &LISTENERS, &certs);
            prop_assert_eq!(alone, row);
            after.retain(|diag| diag.object.name != loser.name);
            prop_assert_eq!(before, after);
        }
    }

    #[test]
    fn parsing_is_a_function(ingress in ingress(), dialect in dialect()) {
        let defaults = GatewayDefaults::default();
        prop_assert_eq!(parse(&ingress, dialect, &defaults), parse(&ingress, dialect, &defaults));
    }

    #[test]
    fn any_text_in_any_place_is_survived(
        text in any::<String>(), key in ".*", dialect in dialect(),
    ) {
        let backend = IngressBackend::Service {
            name: text.as_str().into(),
            port: Some(PortRef::Name(text.as_str().into())),
        };
        for path_type in [PathType::Exact, PathType::Prefix, PathType::Unset] {
            let path = Some(text.as_str().into());
            let path = IngressPath { path, path_type, backend: backend.clone() };
            let keys = [
                "canary", "canary-by-header", "canary-weight", "subset-labels", "rewrite-target",
                "conditions.a", "actions.a", "cors-allow-origin", &key,
            ];
            let ingress = Ingress {
                name: ObjectName::new(&text, &text),
                uid: "".into(),
                created: i64::MIN,
                annotations: keys.iter().map(|key| {
                    (format!("{}{key}", dialect.prefixes()[1]).into(), text.as_str().into())
                }).collect(),
                class: None,
                default_backend: Some(backend.clone()),
                rules: vec![IngressRule { host: Some(text.as_str().into()), paths: vec![path] }],
                tls: vec![IngressTls {
                    hosts: vec![text.as_str().into()],
                    secret: Some(text.as_str().into()),
                }],
            };
            let row = row(dialect, &ingress);
            for host in row.hosts() {
                assert_total(&assemble(&host, std::slice::from_ref(&row), &listeners(dialect), &certs).0);
            }
        }
    }
}
