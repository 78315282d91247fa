//! Objects as YAML documents, for `kubectl apply -f -`.

use std::io::Write;

use anyhow::{Context, Result};
use serde::Serialize;

/// The object, with its fields in the order of their names.
pub(super) fn text(object: &impl Serialize) -> Result<String> {
    // Through a value, whose maps are ordered.
    let value = serde_json::to_value(object).context("print an object")?;
    serde_saphyr::to_string(&value).context("print an object as YAML")
}

/// Prints one document of several.
pub(super) fn print(object: &impl Serialize, out: &mut impl Write) -> Result<()> {
    write!(out, "---\n{}", text(object)?)?;
    Ok(())
}
