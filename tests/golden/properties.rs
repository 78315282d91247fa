//! What holds for every fleet (faults.md 4.1): order does not matter, views are closed, one bad
//! object changes nothing for others, keys are in secrets alone.

use std::collections::BTreeSet;

use convoy::{
    diag::Diag,
    serve::Translated,
    snapshot::{GatewayView, Kind, Resource},
};
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use prost::Message;
use serde_json::json;

use crate::{
    cases, envoy,
    manifests::{Fleet, certificate, ingress, service_of},
    poison::{ITS_HOST, bad_objects, extreme_objects, rule, victims},
    sketch::{assert_sound, reasons},
    wrapped,
};

/// Orders tried of each fleet.
const SHUFFLES: u64 = 8;

/// Everything that is published, in bytes.
fn bytes(translated: &Translated) -> Vec<(String, Kind, String, Vec<u8>)> {
    let mut all = Vec::new();
    for (id, view) in &translated.views {
        for resource in resources(view) {
            let (name, entry) = (resource.name.to_string(), resource.delta_entry().to_vec());
            all.push((id.to_string(), resource.kind, name, entry));
        }
    }
    all
}

fn resources(view: &GatewayView) -> impl Iterator<Item = &Resource> {
    Kind::ALL.into_iter().flat_map(|kind| view.table(kind).iter().map(AsRef::as_ref))
}

/// Findings on objects; where a manifest stands is told by file and line, and these move.
fn on_objects(diags: &[Diag]) -> Vec<&Diag> {
    diags.iter().filter(|diag| !diag.object.to_string().starts_with("file ")).collect()
}

#[test]
fn i2_order_and_files_do_not_matter() {
    for case in cases::all() {
        let fleet = Fleet::read(&case.dir);
        let expected = fleet.translate();
        for seed in 0..SHUFFLES {
            let shuffled = fleet.shuffled(seed).translate();
            let what = format!("{}, seed {seed}", case.name);
            assert!(bytes(&shuffled) == bytes(&expected), "{what}: other bytes");
            assert_eq!(on_objects(&shuffled.diags), on_objects(&expected.diags), "{what}");
        }
    }
}

#[test]
fn i3_and_i11_views_are_closed_and_assignments_legal() {
    for case in cases::all() {
        assert_sound(&case.name, &Fleet::read(&case.dir).translate());
    }
}

#[test]
fn i12_keys_are_in_secrets_alone() {
    let (secret, key) = certificate("own", "a.example.com");
    let mut served = ingress("served", &[], &[("a.example.com", "Prefix /", "a")]);
    served["spec"]["tls"] = json!([{ "hosts": ["a.example.com"], "secretName": "own" }]);
    let translated = Fleet::shop().fleet(&secret).fleet(&served).translate();
    let holds_key = |resource: &Resource| {
        let bytes = resource.delta_entry();
        let text = String::from_utf8_lossy(&bytes);
        key.iter().any(|line| text.contains(line.as_str()))
    };
    let mut holders = translated.views.values().flat_map(|view| resources(view));
    let holders: Vec<_> = holders.by_ref().filter(|resource| holds_key(resource)).collect();
    let kinds: BTreeSet<_> = holders.iter().map(|resource| resource.kind).collect();
    assert_eq!((holders.len(), kinds), (1, [Kind::Secret].into()));
    let printed = convoy::resources::print::yaml(holders).unwrap();
    let said = format!("{printed}{translated:?}");
    let leaked = key.iter().find(|line| said.contains(line.as_str()));
    assert_eq!(leaked, None, "printing shows the key");
}

/// The view without what belongs to the bad object: its host, and what only its host uses.
fn without_its_own(view: &GatewayView, before: &GatewayView) -> Vec<(Kind, String, Vec<u8>)> {
    let known = |resource: &&Resource| {
        let is_its_own = resource.name.contains("bad-service");
        !is_its_own || before.get(resource.kind, &resource.name).is_some()
    };
    let kept = resources(view).filter(known);
    kept.map(|resource| {
        let message = match resource.kind {
            Kind::Route => without_host(resource),
            Kind::Secret | Kind::Cluster | Kind::Endpoint | Kind::Listener => {
                resource.message().to_vec()
            }
        };
        (resource.kind, resource.name.to_string(), message)
    })
    .collect()
}

fn without_host(resource: &Resource) -> Vec<u8> {
    let mut table = RouteConfiguration::decode(resource.message()).unwrap();
    table.virtual_hosts.retain(|host| host.name != ITS_HOST);
    table.encode_to_vec()
}

#[test]
fn i5_one_bad_object_changes_nothing_for_others() {
    let fleet = victims();
    let before = fleet.translate();
    assert_eq!(reasons(&before.diags), Vec::<String>::new());
    for (what, document) in bad_objects() {
        let after = fleet.clone().text("fleet/bad.yaml", document).translate();
        assert_sound(what, &after);
        assert!(after.views.keys().eq(before.views.keys()), "{what}");
        for (id, old) in &before.views {
            let new = without_its_own(&after.views[id], old);
            assert!(new == without_its_own(old, old), "{what}: something else differs");
        }
        let is_its_own = |diag: &&Diag| diag.object.to_string().contains("bad");
        let others: Vec<_> = after.diags.iter().filter(|diag| !is_its_own(diag)).collect();
        assert_eq!(others, Vec::<&Diag>::new(), "{what}");
        assert!(!after.diags.is_empty(), "{what}: nobody is told");
    }
}

#[test]
fn envoy_accepts_what_is_left_of_bad_objects() {
    let fleet = victims();
    for (what, document) in bad_objects().into_iter().chain(extreme_objects()) {
        let translated = fleet.clone().text("fleet/bad.yaml", document).translate();
        assert_sound(what, &translated);
        for view in translated.views.values() {
            let said = envoy::validate(&wrapped::static_config(view).to_string());
            said.unwrap_or_else(|why| panic!("{what}: {why}"));
        }
    }
}

#[test]
fn i6_a_new_host_changes_only_its_own() {
    let fleet = victims();
    let before = fleet.translate();
    let objects = service_of("shop", "bad-service", &["10.1.9.1"]);
    let good = rule(ITS_HOST, "Prefix /", "bad-service");
    let after = fleet.fleet(&good).member("c1", &objects).translate();
    assert_eq!(reasons(&after.diags), Vec::<String>::new());
    for (id, old) in &before.views {
        let view = &after.views[id];
        assert!(resources(view).count() > resources(old).count());
        assert!(without_its_own(view, old) == without_its_own(old, old), "something else differs");
    }
}
