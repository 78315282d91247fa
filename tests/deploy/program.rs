//! The programs that render and judge, and Convoy itself.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

pub(crate) const CHART: &str = "deploy/helm/convoy";
pub(crate) const CRDS: &str = "deploy/helm/convoy-crds";

/// Namespace of the release.
pub(crate) const NAMESPACE: &str = "convoy-system";

/// The chart's own values, and those in `tests/deploy/values/`.
pub(crate) const VALUES: [Option<&str>; 6] =
    [None, Some("bare"), Some("brought"), Some("development"), Some("everything"), Some("narrow")];

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn made(name: &str) -> PathBuf {
    root().join("target/bed").join(name)
}

/// What is missing, and what mends it.
pub(crate) fn missing() -> Option<String> {
    let name = ["helm", "promcheck"].into_iter().find(|name| !made(name).is_file())?;
    Some(format!("there is no {name}: `tests/bed/programs.sh {name}` builds it, with Go"))
}

/// Runs a program in the repository: what it prints, or all that it says when it fails.
pub(crate) fn run(program: &Path, args: &[&str]) -> Result<String, String> {
    let scratch = env!("CARGO_TARGET_TMPDIR");
    let output = Command::new(program)
        .args(args)
        .current_dir(root())
        // Nothing of whoever runs this, and no cluster of theirs.
        .env("HELM_CACHE_HOME", scratch)
        .env("HELM_CONFIG_HOME", scratch)
        .env("HELM_DATA_HOME", scratch)
        .env("KUBECONFIG", "/dev/null")
        .output()
        .unwrap_or_else(|err| panic!("run {}: {err}", program.display()));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    if output.status.success() { Ok(out) } else { Err(out + &err) }
}

pub(crate) fn helm(args: &[&str]) -> Result<String, String> {
    run(&made("helm"), args)
}

pub(crate) fn promcheck(files: &[&str]) -> Result<String, String> {
    run(&made("promcheck"), files)
}

pub(crate) fn convoy(args: &[&str]) -> Result<String, String> {
    run(Path::new(env!("CARGO_BIN_EXE_convoy")), args)
}

pub(crate) fn rendered_install_yaml() -> Result<String, String> {
    run(&root().join("deploy/render.sh"), &[made("helm").to_str().unwrap()])
}

/// The objects of YAML documents, none of which holds the separator in a text.
pub(crate) fn objects(documents: &str) -> Vec<Value> {
    let documents = format!("\n{documents}");
    let is_content = |line: &str| !line.trim().is_empty() && !line.starts_with('#');
    let documents = documents.split("\n---\n").filter(|text| text.lines().any(is_content));
    let parse = |text: &str| -> Value {
        serde_saphyr::from_str(text).unwrap_or_else(|err| panic!("{err}: {text}"))
    };
    documents.map(parse).collect()
}

/// `--values FILE`, or nothing.
pub(crate) fn values_flag(values: Option<&str>) -> Option<String> {
    values.map(|name| format!("--values=tests/deploy/values/{name}.yaml"))
}

/// What the chart makes of these values.
#[track_caller]
pub(crate) fn rendered(values: Option<&str>) -> Vec<Value> {
    let values = values_flag(values);
    let args = ["template", "convoy", CHART, "--namespace", NAMESPACE];
    let args: Vec<&str> = args.into_iter().chain(values.as_deref()).collect();
    objects(&helm(&args).unwrap())
}

/// The objects of this kind.
pub(crate) fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The only object of this kind, if there is one.
#[track_caller]
pub(crate) fn only<'a>(objects: &'a [Value], kind: &str) -> Option<&'a Value> {
    let found = of_kind(objects, kind);
    assert!(found.len() < 2, "{found:?}");
    found.first().copied()
}

/// The Pod of Convoy: there is no other Deployment.
#[track_caller]
pub(crate) fn pod(objects: &[Value]) -> &Value {
    &only(objects, "Deployment").unwrap()["spec"]["template"]
}

/// The only container of a Pod.
#[track_caller]
pub(crate) fn container(pod: &Value) -> &Value {
    let [container] = &pod["spec"]["containers"].as_array().unwrap()[..] else { panic!("{pod}") };
    container
}

/// The elements of a list of texts.
pub(crate) fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}
