//! What is derived from other files of the repository: `make install-yaml` writes it anew.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use crate::program::{CHART, CRDS, rendered_install_yaml, root};

#[track_caller]
fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|err| panic!("read {}: {err}", path.display()))
}

fn names(dir: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(root().join(dir)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

pub(crate) fn copies_are_up_to_date() {
    let check = |original: &str, copy: &str| {
        assert_eq!(read(original), read(copy), "{copy}: `make install-yaml` copies it");
    };
    let copies = format!("{CRDS}/files");
    assert_eq!(names("deploy/crds"), names(&copies));
    for name in names(&copies) {
        check(&format!("deploy/crds/{name}"), &format!("{copies}/{name}"));
    }
}

pub(crate) fn install_yaml_is_up_to_date() {
    let rendered = rendered_install_yaml().unwrap();
    assert_eq!(read("deploy/install.yaml"), rendered, "`make install-yaml` writes it");
}

/// One version and one toolchain, wherever they are said.
pub(crate) fn versions_agree() {
    let check = |file: &str, expect: &str| {
        assert!(read(file).lines().any(|line| line == expect), "{file}: no line {expect:?}");
    };
    let version = env!("CARGO_PKG_VERSION");
    for chart in [CHART, CRDS] {
        check(&format!("{chart}/Chart.yaml"), &format!("version: {version}"));
        check(&format!("{chart}/Chart.yaml"), &format!("appVersion: {version}"));
    }
    check("Dockerfile", &format!("FROM rust:{}-bookworm AS build", env!("CARGO_PKG_RUST_VERSION")));
    let build = format!("docker build --push -t REGISTRY/convoy:{version} .");
    check("README.md", &format!("    {build}"));
}

pub(crate) fn the_readme_lists_the_values() {
    let values: Value = serde_saphyr::from_str(&read(format!("{CHART}/values.yaml"))).unwrap();
    let mut paths = BTreeSet::new();
    leaves(&values, "", &mut paths);
    let readme = read(format!("{CHART}/README.md"));
    let (_, table) = readme.split_once("| value | default | does |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let first_cells = rows.filter_map(|row| row.split('|').nth(1));
    let listed: BTreeSet<String> = first_cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect();
    assert_eq!(listed, paths);
    let schema: Value = serde_json::from_str(&read(format!("{CHART}/values.schema.json"))).unwrap();
    let keys = |object: &Value| -> BTreeSet<String> {
        object.as_object().unwrap().keys().cloned().collect()
    };
    let mut known = keys(&schema["properties"]);
    // What a chart that has this one as a part hands down.
    known.remove("global");
    assert_eq!(known, keys(&values));
}

/// Paths of what can be chosen. `resources` is Kubernetes' own.
fn leaves(node: &Value, at: &str, paths: &mut BTreeSet<String>) {
    let object = node.as_object().filter(|object| !object.is_empty());
    match object.filter(|_| !at.ends_with("resources")) {
        Some(object) => {
            for (key, child) in object {
                let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                leaves(child, &path, paths);
            }
        }
        None => _ = paths.insert(at.to_owned()),
    }
}
