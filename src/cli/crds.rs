//! `convoy crds`: the kinds of ours, to be installed in the fleet.

use std::{io::Write, process::ExitCode};

use anyhow::Result;

use crate::{api, cli::yaml};

/// Print the CustomResourceDefinitions: `convoy crds | kubectl apply --server-side -f -`
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// Prints all of them as YAML documents.
pub(super) fn run(_: &Args, out: &mut impl Write) -> Result<ExitCode> {
    for crd in api::crds() {
        yaml::print(&crd, out)?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    /// `UPDATE_CRDS=1 cargo test committed_crds` writes the files anew.
    #[test]
    fn committed_crds_are_what_is_printed() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/crds");
        let mut expect = BTreeSet::new();
        for crd in api::crds() {
            let name = format!("{}.yaml", crd.metadata.name.clone().unwrap());
            let (path, text) = (dir.join(&name), yaml::text(&crd).unwrap());
            if std::env::var_os("UPDATE_CRDS").is_some() {
                fs::write(&path, &text).unwrap();
            }
            assert_eq!(fs::read_to_string(&path).unwrap_or_default(), text, "{name}");
            expect.insert(name);
        }
        let names = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name());
        let names: BTreeSet<_> = names.map(|name| name.into_string().unwrap()).collect();
        assert_eq!(names, expect, "orphans in deploy/crds");
    }

    /// The API server refuses a schema that is not structural.
    #[test]
    fn schemas_are_structural() {
        for crd in api::crds() {
            let text = yaml::text(&crd).unwrap();
            for word in ["$ref", "$schema", "oneOf", "anyOf", "additionalProperties: false"] {
                assert!(!text.contains(word), "{word} in {:?}", crd.metadata.name);
            }
        }
    }

    #[test]
    fn unknown_fields_of_a_gateway_are_kept_at_every_depth() {
        fn objects_that_prune(path: &str, schema: &serde_json::Value, found: &mut Vec<String>) {
            let keeps = schema.get("x-kubernetes-preserve-unknown-fields").is_some();
            if schema["type"] == "object" && !keeps {
                found.push(path.to_owned());
            }
            for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
                objects_that_prune(&format!("{path}.{name}"), inner, found);
            }
        }
        let gateways: Vec<_> =
            api::crds().into_iter().filter(|crd| crd.spec.group != "convoy.dev").collect();
        assert_eq!(gateways.len(), 2);
        for crd in gateways {
            let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
            let spec = &schema["openAPIV3Schema"]["properties"]["spec"];
            assert_eq!(spec["type"], "object");
            let mut found = Vec::new();
            objects_that_prune("spec", spec, &mut found);
            assert_eq!(found, Vec::<String>::new(), "{}", crd.spec.names.kind);
        }
    }
}
