//! Stock Envoy as a judge of configuration.

use std::{env, fs, process::Command};

use serde_json::{Value, json};

/// The Envoy under test.
pub(crate) fn binary() -> String {
    env::var("ENVOY_BIN").unwrap_or_else(|_| "envoy".into())
}

/// What Envoy says about a configuration: nothing, or why it refuses it.
pub(crate) fn validate(config: &str) -> Result<(), String> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("envoy.yaml");
    fs::write(&path, config).expect("write the configuration");
    let binary = binary();
    let output = Command::new(&binary)
        .args(["--mode", "validate", "--log-level", "warning", "--use-dynamic-base-id"])
        .arg("--config-path")
        .arg(&path)
        .output()
        .unwrap_or_else(|err| panic!("run Envoy `{binary}` (set ENVOY_BIN): {err}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(said);
    }
    // A deprecated field is accepted today and refused tomorrow.
    if said.contains("eprecated") { Err(said) } else { Ok(()) }
}

/// A bootstrap around static resources, with our limit for expressions.
pub(crate) fn bootstrap(static_resources: Value, re2_limit: u32) -> Value {
    let ads = json!({ "ads": {}, "resource_api_version": "V3" });
    let mut resources = static_resources;
    let clusters = resources.as_object_mut().expect("an object").entry("clusters");
    let clusters = clusters.or_insert_with(|| json!([])).as_array_mut().expect("a list");
    clusters.push(json!({
        "name": "convoy",
        "type": "STATIC",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": {} },
            },
        },
    }));
    json!({
        "node": { "id": "oracle", "cluster": "oracle" },
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "convoy" } }],
            },
            "cds_config": ads,
            "lds_config": ads,
        },
        "static_resources": resources,
        "layered_runtime": { "layers": [{
            "name": "convoy",
            "static_layer": { "re2.max_program_size.error_level": re2_limit },
        }] },
    })
}

/// A static listener around one route table, so that Envoy checks every cluster it names.
pub(crate) fn listener(name: &str, route_config: Value) -> Value {
    let mut route_config = route_config;
    route_config["validate_clusters"] = json!(true);
    json!({
        "name": name,
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } },
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": name,
                "route_config": route_config,
                "http_filters": [{
                    "name": "envoy.filters.http.router",
                    "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
                }],
            },
        }] }],
    })
}

#[test]
fn the_judge_refuses_nonsense() {
    let said = validate("static_resources: { clusters: [{ name: a, type: NO_SUCH }] }");
    assert!(said.unwrap_err().contains("NO_SUCH"));
}
