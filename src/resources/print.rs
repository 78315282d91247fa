//! Resources as JSON and YAML, for people and for goldens.
//!
//! Owns the printed form: keys in order, private keys never (faults.md S6). Must not know what a
//! message means. Cost: decodes and copies; not for the hot path.

use std::{fmt, sync::LazyLock};

use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::Value;

use crate::snapshot::Resource;

/// What is printed in place of a private key.
const REDACTED: &str = "[redacted]";

/// The field that holds one, in certificates of both directions.
const PRIVATE: &str = "private_key";

/// Descriptors of every Envoy message (3 MiB), decoded at the first use.
static DESCRIPTORS: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let bytes: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/envoy_descriptors.bin"));
    DescriptorPool::decode(bytes).expect("invariant: build.rs copied a descriptor set")
});

/// Bytes that are not the message they claim to be.
#[derive(Debug)]
pub struct PrintError(String);

impl fmt::Display for PrintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PrintError {}

/// A resource as JSON, in the shape that Envoy's own configuration files have.
pub fn json(resource: &Resource) -> Result<Value, PrintError> {
    let type_name = resource.kind.type_url().trim_start_matches("type.googleapis.com/");
    message(type_name, &resource.message())
}

/// Several resources as one YAML document: a list, in the given order.
pub fn yaml<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> Result<String, PrintError> {
    let list = resources.into_iter().map(json).collect::<Result<Vec<_>, _>>()?;
    to_yaml(&Value::Array(list))
}

fn message(type_name: &str, bytes: &[u8]) -> Result<Value, PrintError> {
    let failed = |why: &dyn fmt::Display| PrintError(format!("print {type_name}: {why}"));
    let descriptor =
        DESCRIPTORS.get_message_by_name(type_name).ok_or_else(|| failed(&"unknown type"))?;
    let message = DynamicMessage::decode(descriptor, bytes).map_err(|err| failed(&err))?;
    // As Envoy's own documentation and configuration dumps spell and write them.
    let options =
        SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false);
    let mut value = message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map_err(|err| failed(&err))?;
    redact(&mut value);
    Ok(value)
}

fn to_yaml(value: &Value) -> Result<String, PrintError> {
    serde_saphyr::to_string(value).map_err(|err| PrintError(format!("print YAML: {err}")))
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if name == PRIVATE {
                    *field = Value::String(REDACTED.into());
                } else {
                    redact(field);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests;
