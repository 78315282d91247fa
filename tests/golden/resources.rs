//! Every kind of resource: as text, and before a real Envoy.

use std::{env, fs, path::PathBuf, sync::Arc, time::Duration};

use convoy::{
    model::{Arrangement, Front, Host, ListenerKey, Target, TlsHosts},
    resources::{cluster, endpoint, layout, listener, print, ready, route, secret},
    settings::Mechanisms,
    snapshot::Resource,
    store::KeyPair,
};
use serde_json::{Value, json};

use crate::{
    envoy,
    fixture::{
        assignment, gateway, hosts, in_member, least_busy, service, shape_of, share, sticky,
    },
};

const ALL: Mechanisms = Mechanisms::ALL;

/// Compares with `tests/golden/resources/<case>.yaml`.
#[track_caller]
fn check(case: &str, resources: &[Resource]) {
    let printed = print::yaml(resources).unwrap();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/resources");
    let path = root.join(case).with_extension("yaml");
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(&root).unwrap();
        fs::write(&path, &printed).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(printed == expected, "{case} differs (UPDATE_GOLDEN=1 rewrites it):\n{printed}");
}

fn clusters(mechanisms: &Mechanisms) -> Vec<Resource> {
    let targets = [
        service("web"),
        in_member("web", "c1"),
        service("grpc"),
        service("local"),
        sticky("web"),
        sticky("grpc"),
        least_busy("local"),
    ];
    let build = |target: Target| cluster::build(&target, &shape_of(&target), mechanisms);
    targets.into_iter().flat_map(build).collect()
}

fn assignments() -> Vec<Resource> {
    let both = vec![
        vec![],
        vec![share("c1", &["10.1.1.1:8080", "10.1.1.2:8080"]), share("c2", &["[fd00::1]:80"])],
    ];
    let members =
        vec![vec![], vec![], vec![share("c2", &["[fd00::1]:80"])], vec![share("c1", &[])]];
    let web = Arrangement { groups: assignment(both), members: Some(assignment(members)) };
    let none = Arrangement { groups: assignment(vec![]), members: None };
    let few = vec![vec![share("c1", &["10.1.1.1:8080"])]];
    let few = Arrangement { groups: assignment(few), members: None };
    [
        endpoint::build(&service("web"), &web),
        endpoint::build(&service("none"), &none),
        endpoint::build(&sticky("web"), &few),
    ]
    .concat()
}

fn table(mechanisms: &Mechanisms) -> Resource {
    let front = Front { https_port: Some(8443), answer_timeout: Some(Duration::from_secs(30)) };
    let encode = |host: &_| route::encode_host(host, &front, &shape_of, mechanisms);
    let hosts: Vec<_> = hosts().iter().map(encode).collect();
    layout::table(ListenerKey::HTTP, true, hosts.iter())
}

fn certificates() -> TlsHosts {
    let chains = [
        (Host::Any, "shop/default"),
        (Host::Exact("a.com".into()), "shop/a"),
        (Host::Exact("b.com".into()), "shop/default"),
        (Host::Wildcard("a.com".into()), "shop/a"),
    ];
    TlsHosts { chains: chains.map(|(host, secret)| (host, Arc::from(secret))).into() }
}

fn listeners(mechanisms: &Mechanisms) -> Vec<Resource> {
    let keys = [ListenerKey::HTTP, ListenerKey::HTTPS].into_iter();
    let ready = ready::listener(&gateway());
    let listener = |key| listener::build(key, &gateway(), &certificates(), mechanisms);
    keys.filter_map(listener).chain([ready]).collect()
}

/// Everything switched off, one by one and together.
fn switched_off() -> Vec<Mechanisms> {
    vec![
        Mechanisms { composite_targets: false, ..ALL },
        Mechanisms { retries: false, ..ALL },
        Mechanisms { retry_resets_of_safe_methods: false, ..ALL },
        Mechanisms { dead_peer_detection: false, ..ALL },
        Mechanisms { outlier_detection: false, ..ALL },
        Mechanisms { retry_budget: false, ..ALL },
        Mechanisms { panic_threshold: false, ..ALL },
        Mechanisms {
            composite_targets: false,
            retries: false,
            retry_resets_of_safe_methods: false,
            dead_peer_detection: false,
            outlier_detection: false,
            retry_budget: false,
            panic_threshold: false,
            gates: false,
        },
    ]
}

fn json(resource: &Resource) -> Value {
    print::json(resource).unwrap()
}

#[test]
fn clusters_are_as_written() {
    check("clusters", &clusters(&ALL));
}

#[test]
fn assignments_are_as_written() {
    check("endpoints", &assignments());
}

#[test]
fn routes_are_as_written() {
    check("routes", &[table(&ALL)]);
}

#[test]
fn listeners_are_as_written() {
    check("listeners", &listeners(&ALL));
}

#[test]
fn envoy_accepts_clusters_routes_and_listeners() {
    for mechanisms in [vec![ALL], switched_off()].concat() {
        let clusters: Vec<_> = clusters(&mechanisms).iter().map(json).collect();
        let mut all: Vec<_> = listeners(&mechanisms).iter().map(json).collect();
        all.push(envoy::listener("oracle", json(&table(&mechanisms))));
        let resources = json!({ "clusters": clusters, "listeners": all });
        let config = envoy::bootstrap(resources, 10_000).to_string();
        envoy::validate(&config).unwrap_or_else(|why| panic!("{mechanisms:?}: {why}"));
    }
}

#[test]
fn envoy_accepts_assignments() {
    let assignments = assignments();
    let clusters = assignments.iter().map(|assignment| {
        json!({
            "name": assignment.name,
            "type": "STATIC",
            "load_assignment": json(assignment),
            "common_lb_config": { "locality_weighted_lb_config": {} },
        })
    });
    let config = envoy::bootstrap(json!({ "clusters": clusters.collect::<Vec<_>>() }), 100);
    envoy::validate(&config.to_string()).unwrap();
}

#[test]
fn envoy_accepts_a_certificate_that_is_printed_without_its_key() {
    let made = rcgen::generate_simple_self_signed(["a.com".to_string()]).unwrap();
    let key = made.signing_key.serialize_pem();
    let pair = KeyPair { chain: made.cert.pem().into_bytes(), key: key.clone().into_bytes() };
    let mut printed = json(&secret::build(&"shop/a".into(), &pair));
    assert_eq!(printed["tls_certificate"]["private_key"], "[redacted]");
    let refused = json!({ "secrets": [printed.clone()] });
    assert!(envoy::validate(&envoy::bootstrap(refused, 100).to_string()).is_err());
    printed["tls_certificate"]["private_key"] = json!({ "inline_string": key });
    let listener = listener::build(ListenerKey::HTTPS, &gateway(), &certificates(), &ALL).unwrap();
    let resources = json!({ "secrets": [printed], "listeners": [json(&listener)] });
    envoy::validate(&envoy::bootstrap(resources, 100).to_string()).unwrap();
}

#[test]
fn a_tls_listener_exists_while_it_has_a_certificate() {
    let none = TlsHosts::default();
    assert_eq!(listener::build(ListenerKey::HTTPS, &gateway(), &none, &ALL), None);
    assert!(listener::build(ListenerKey::HTTP, &gateway(), &none, &ALL).is_some());
}

#[test]
fn equal_models_have_equal_bytes() {
    let build = || [clusters(&ALL), assignments(), vec![table(&ALL)], listeners(&ALL)].concat();
    assert_eq!(build(), build());
}
