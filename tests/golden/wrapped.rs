//! A view as static configuration, so that Envoy judges all of it without a control plane.
//!
//! Every reference to another resource is replaced by that resource, or by its name where both
//! are static. What remains untried so is what only a stream can show: `tests/envoy`.

use convoy::{
    resources::print,
    snapshot::{GatewayView, Kind, Resource},
};
use envoy_types::pb::envoy::{
    config::core::v3::{DataSource, data_source::Specifier},
    extensions::transport_sockets::tls::v3::{Secret, secret},
};
use prost::Message;
use serde_json::{Value, json};

use crate::envoy;

/// Our own limit, as every bootstrap of ours has it.
const RE2_LIMIT: u32 = convoy::resources::defaults::RE2_PROGRAM_LIMIT;

/// The configuration of an Envoy that has the view and nothing else.
pub(crate) fn static_config(view: &GatewayView) -> Value {
    let all = |kind| view.table(kind).iter().map(move |resource| (kind, resource));
    let of = |kind| all(kind).map(|(_, r)| inline(print::json(r).unwrap(), view));
    let secrets = view.table(Kind::Secret).iter().map(|resource| with_key(resource));
    let resources = json!({
        "clusters": of(Kind::Cluster).collect::<Vec<_>>(),
        "listeners": of(Kind::Listener).collect::<Vec<_>>(),
        "secrets": secrets.collect::<Vec<_>>(),
    });
    envoy::bootstrap(resources, RE2_LIMIT)
}

/// Replaces every reference, however deep.
fn inline(value: Value, view: &GatewayView) -> Value {
    match value {
        Value::Object(mut fields) => {
            if let Some(rds) = fields.remove("rds") {
                let mut table = referenced(view, Kind::Route, &rds["route_config_name"]);
                table["validate_clusters"] = json!(true);
                fields.insert("route_config".into(), table);
            }
            if fields.remove("eds_cluster_config").is_some() {
                let assignment = referenced(view, Kind::Endpoint, &fields["name"]);
                fields.insert("load_assignment".into(), assignment);
                fields.insert("type".into(), json!("STATIC"));
            }
            // Without a source, the name is that of a static secret.
            fields.remove("sds_config");
            fields.into_iter().map(|(name, field)| (name, inline(field, view))).collect()
        }
        Value::Array(items) => items.into_iter().map(|item| inline(item, view)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

fn referenced(view: &GatewayView, kind: Kind, name: &Value) -> Value {
    let name = name.as_str().unwrap();
    let resource = view.get(kind, name).unwrap_or_else(|| panic!("there is no {kind} `{name}`"));
    print::json(resource).unwrap()
}

/// Printed, a secret lacks its key.
fn with_key(resource: &Resource) -> Value {
    let mut printed = print::json(resource).unwrap();
    let message = Secret::decode(resource.message()).unwrap();
    let Some(secret::Type::TlsCertificate(pair)) = message.r#type else { panic!("{printed}") };
    let Some(DataSource { specifier: Some(Specifier::InlineBytes(key)), .. }) = pair.private_key
    else {
        panic!("{printed}")
    };
    let key = String::from_utf8(key).unwrap();
    printed["tls_certificate"]["private_key"] = json!({ "inline_string": key });
    printed
}
