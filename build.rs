//! Compiles `proto/` without protoc, and finds the descriptor set of Envoy's protos that the
//! `envoy-types` package ships.

use std::{env, fs, path::PathBuf, process::Command};

use anyhow::{Context, Result};

fn main() -> Result<()> {
    inspection_service()?;
    envoy_descriptors()
}

/// `proto/convoy/inspect/v1`, compiled by protox.
fn inspection_service() -> Result<()> {
    let root = "proto";
    let file = "proto/convoy/inspect/v1/inspect.proto";
    println!("cargo:rerun-if-changed={root}");
    let descriptors = protox::compile([file], [root]).context("compile proto/")?;
    tonic_prost_build::configure()
        .build_transport(false)
        // What is printed must not depend on a hash map's order.
        .btree_map(".")
        // `convoy status -o json` prints the answers as they are.
        .type_attribute(".", "#[derive(serde::Serialize)]")
        .field_attribute(
            "Member.state",
            "#[serde(serialize_with = \"crate::admin::proto::state_as_text\")]",
        )
        .compile_fds(descriptors)
        .context("generate code for proto/")
}

/// Copies the descriptor set to `OUT_DIR`. The package does not export its path, so cargo is asked.
fn envoy_descriptors() -> Result<()> {
    let cargo = env::var("CARGO").context("CARGO is set by cargo")?;
    // Without the filter cargo wants packages of platforms that were never downloaded.
    let platform = env::var("TARGET").context("TARGET is set by cargo")?;
    let metadata = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", &platform])
        .output()
        .context("run cargo metadata")?;
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout)
        .context("cargo metadata failed: run `cargo fetch --locked` once, then build again")?;
    let packages = metadata.get("packages").and_then(|list| list.as_array());
    let text = |package: &serde_json::Value, key| Some(package.get(key)?.as_str()?.to_owned());
    let manifest = packages
        .into_iter()
        .flatten()
        .find(|package| text(package, "name").is_some_and(|name| name == "envoy-types"))
        .and_then(|package| text(package, "manifest_path"))
        .context("envoy-types is not in Cargo.lock: run `cargo fetch --locked`")?;
    let from = PathBuf::from(manifest).with_file_name("src/generated/types.bin");
    let to = PathBuf::from(env::var("OUT_DIR")?).join("envoy_descriptors.bin");
    fs::copy(&from, &to).with_context(|| {
        format!("{} is missing: use the pinned envoy-types version", from.display())
    })?;
    println!("cargo:rerun-if-changed={}", from.display());
    Ok(())
}
