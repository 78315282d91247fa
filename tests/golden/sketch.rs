//! A view in few lines, and what must hold of every view.

use std::collections::BTreeSet;

use convoy::{
    diag::Diag,
    resources::print,
    serve::Translated,
    settings::READY_HOST,
    snapshot::{GatewayView, Kind},
};
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, lb_endpoint::HostIdentifier,
};
use prost::Message;
use serde_json::Value;

/// The routes of a listener in match order: `host kind path conditions -> cluster weight`. Without
/// the one that says ready, which every table of plaintext has.
pub(crate) fn routes(view: &GatewayView, listener: &str) -> Vec<String> {
    let Some(table) = view.get(Kind::Route, listener) else { return Vec::new() };
    let table = print::json(table).unwrap();
    let hosts = items(&table["virtual_hosts"]).filter(|host| host["name"] != READY_HOST);
    hosts.flat_map(|host| items(&host["routes"]).map(|r| route(&host["name"], r))).collect()
}

fn route(host: &Value, route: &Value) -> String {
    let host = host.as_str().unwrap();
    let path = path(&route["match"]);
    let conditions: String = ["headers", "query_parameters"]
        .into_iter()
        .flat_map(|kind| items(&route["match"][kind]))
        .map(|condition| format!(" if {}", condition["name"].as_str().unwrap()))
        .collect();
    format!("{host} {path}{conditions} -> {}", action(route))
}

fn path(matched: &Value) -> String {
    let kinds = ["path", "path_separated_prefix", "prefix"];
    let literal = kinds.iter().find_map(|kind| Some((*kind, matched[*kind].as_str()?)));
    match literal {
        Some(("path", path)) => format!("={path}"),
        Some((_, path)) => path.to_owned(),
        None => format!("~{}", matched["safe_regex"]["regex"].as_str().unwrap()),
    }
}

fn action(route: &Value) -> String {
    let forward = &route["route"];
    if let Some(cluster) = forward["cluster"].as_str() {
        return cluster.to_owned();
    }
    if let Some(arms) = forward["weighted_clusters"]["clusters"].as_array() {
        let arm = |arm: &Value| format!("{} {}", arm["name"].as_str().unwrap(), arm["weight"]);
        return arms.iter().map(arm).collect::<Vec<_>>().join(", ");
    }
    let status = &route["direct_response"]["status"];
    if status.is_null() { "redirect".to_owned() } else { status.to_string() }
}

/// Findings as `object: reason`.
pub(crate) fn reasons(diags: &[Diag]) -> Vec<String> {
    diags.iter().map(|diag| format!("{}: {}", diag.object, diag.reason)).collect()
}

/// What must hold of every translation, whatever the input (faults.md 4.1).
#[track_caller]
pub(crate) fn assert_sound(what: &str, translated: &Translated) {
    for view in translated.views.values() {
        assert_closed(what, view);
        assert_assignments_are_legal(what, view);
    }
}

/// I3: what is referenced exists, and what exists is referenced.
#[track_caller]
fn assert_closed(what: &str, view: &GatewayView) {
    let mut used = BTreeSet::new();
    for kind in [Kind::Cluster, Kind::Listener, Kind::Route] {
        for resource in view.table(kind).iter() {
            references(&print::json(resource).unwrap(), &mut used);
        }
    }
    // Envoy asks for these of its own accord.
    let defined = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Listener);
    let defined: BTreeSet<_> = defined
        .flat_map(|kind| view.table(kind).iter().map(move |r| (kind, r.name.to_string())))
        .collect();
    assert_eq!(used, defined, "{what}: what is used, and what there is");
}

/// Adds what a resource refers to: by routes and composite clusters, for endpoints, tables and
/// certificates.
fn references(value: &Value, used: &mut BTreeSet<(Kind, String)>) {
    let mut add = |kind, name: &Value| {
        used.insert((kind, name.as_str().unwrap().to_owned()));
    };
    match value {
        Value::Object(fields) => {
            for (field, inner) in fields {
                match field.as_str() {
                    "cluster" => add(Kind::Cluster, inner),
                    "clusters" => items(inner).for_each(|arm| add(Kind::Cluster, &arm["name"])),
                    "eds_cluster_config" => add(Kind::Endpoint, &fields["name"]),
                    "route_config_name" => add(Kind::Route, inner),
                    "tls_certificate_sds_secret_configs" => {
                        items(inner).for_each(|secret| add(Kind::Secret, &secret["name"]));
                    }
                    _ => {}
                }
            }
            fields.values().for_each(|inner| references(inner, used));
        }
        Value::Array(inner) => inner.iter().for_each(|inner| references(inner, used)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// I11: priorities are contiguous from 0, weights are positive and their sums have 32 bits; and
/// an address appears once (faults.md M11).
#[track_caller]
fn assert_assignments_are_legal(what: &str, view: &GatewayView) {
    for resource in view.table(Kind::Endpoint).iter() {
        let what = format!("{what}: {}", resource.name);
        let assignment = ClusterLoadAssignment::decode(resource.message()).unwrap();
        let priorities: BTreeSet<_> = assignment.endpoints.iter().map(|l| l.priority).collect();
        assert!(priorities.iter().copied().eq(0..priorities.len() as u32), "{what}");
        let mut addresses = BTreeSet::new();
        for priority in priorities {
            let localities = assignment.endpoints.iter().filter(|l| l.priority == priority);
            let mut sum = 0;
            for locality in localities {
                let weight = locality.load_balancing_weight.map_or(0, |weight| weight.value);
                assert_eq!(weight > 0, !locality.lb_endpoints.is_empty(), "{what}");
                sum += u64::from(weight);
                for endpoint in &locality.lb_endpoints {
                    assert!(addresses.insert(address(endpoint)), "{what}: {endpoint:?} twice");
                }
            }
            assert!(sum <= u32::MAX.into(), "{what}");
        }
    }
}

fn address(endpoint: &LbEndpoint) -> String {
    match &endpoint.host_identifier {
        Some(HostIdentifier::Endpoint(Endpoint { address, .. })) => format!("{address:?}"),
        other => panic!("{other:?}"),
    }
}

/// The items of a list; none where it is absent.
fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
