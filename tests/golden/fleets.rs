//! Whole fleets: manifests in, everything `convoy translate` prints out.

use std::{env, fs, path::Path, process::Command};

use convoy::{serve, settings::GatewayDefaults};

use crate::{
    cases::{Case, all, entries},
    envoy, wrapped,
};

const EXPECT: &str = "expect.yaml";
const DIAGS: &str = "diags.txt";

/// The command itself, so that what is kept is what a user sees.
fn translate(case: &Case) -> (String, String, bool) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_convoy"));
    let output = command.arg("translate").arg(&case.dir).env_clear().output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.success())
}

/// What differs from the file, if anything. Rewrites it if asked to.
fn compare(path: &Path, said: &str) -> Option<String> {
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, said).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if expected == said {
        return None;
    }
    let (mut old, mut new) = (expected.lines(), said.lines());
    let mut line = 0;
    loop {
        line += 1;
        let (old, new) = (old.next(), new.next());
        if old != new || old.is_none() {
            let at = path.display();
            return Some(format!("{at}:{line}:\n  expected {old:?}\n  printed  {new:?}"));
        }
    }
}

/// Fails with every finding, not only the first.
#[track_caller]
fn none(findings: Vec<String>) {
    assert!(findings.is_empty(), "{}\n(UPDATE_GOLDEN=1 rewrites goldens)", findings.join("\n"));
}

#[test]
fn every_fleet_is_translated_as_written() {
    let mut findings = Vec::new();
    for case in all() {
        let (resources, diags, succeeded) = translate(&case);
        findings.extend(compare(&case.dir.join(EXPECT), &resources));
        findings.extend(compare(&case.dir.join(DIAGS), &diags));
        let failed = diags.lines().any(|line| line.starts_with("error: "));
        if succeeded == failed {
            findings.push(format!("{}: the exit code is not that of its diagnostics", case.name));
        }
    }
    none(findings);
}

#[test]
fn no_golden_is_an_orphan() {
    let known = [DIAGS, EXPECT, "fleet", "members"];
    let mut findings = Vec::new();
    for Case { name, dir } in all() {
        let found = entries(&dir);
        let unknown = found.iter().filter(|entry| !known.contains(&entry.as_str()));
        findings.extend(unknown.map(|entry| format!("{name}/{entry} belongs to no test")));
        let is_missing = |entry: &&&str| !found.iter().any(|other| other == **entry);
        findings
            .extend(known.iter().filter(is_missing).map(|entry| format!("{name} lacks {entry}")));
    }
    none(findings);
}

#[test]
fn envoy_accepts_every_fleet() {
    let mut findings = Vec::new();
    for case in all() {
        let translated = serve::translate(&case.dir, &GatewayDefaults::default()).unwrap();
        for (id, view) in &translated.views {
            let said = envoy::validate(&wrapped::static_config(view).to_string());
            findings.extend(said.err().map(|why| format!("{}, {id}: {why}", case.name)));
        }
    }
    none(findings);
}

#[test]
fn envoy_misses_a_cluster_that_a_route_names() {
    let case = all().into_iter().find(|case| case.name == "plain").unwrap();
    let translated = serve::translate(&case.dir, &GatewayDefaults::default()).unwrap();
    let mut config = wrapped::static_config(translated.views.values().next().unwrap());
    let clusters = config["static_resources"]["clusters"].as_array_mut().unwrap();
    clusters.retain(|cluster| cluster["name"] != "shop/web:80/anywhere");
    let said = envoy::validate(&config.to_string()).unwrap_err();
    assert!(said.contains("unknown cluster 'shop/web:80/anywhere'"), "{said}");
}
