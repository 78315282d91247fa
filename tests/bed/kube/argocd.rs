//! A stand-in for Argo CD, for as much of it as the ApplicationSets of `examples/hybrid` use: generators
//! over its cluster Secrets with selectors and values, Go templates that are paths to fields (what is
//! missing is an error), and Applications that are charts with parameters.
//!
//! Owns what Applications there are and what is applied where. Must not know what they hold. It applies
//! once, when it is told to: it neither watches nor prunes, and of the clusters that it manages it knows
//! only those that have a Secret, as Argo CD does where a generator has a selector.

use std::{path::Path, process::Command};

use serde_json::{Value, json};

use super::cluster::Cluster;

/// What Argo CD adds to the data of a cluster's Secret for templates.
type Parameters = Value;

/// What an ApplicationSet makes for one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Application {
    pub(crate) name: String,
    /// The `name` in the Secret of its cluster.
    pub(crate) destination: String,
    pub(crate) namespace: String,
    /// As for `helm template --set`.
    pub(crate) parameters: Vec<(String, String)>,
    path: String,
    value_files: Vec<String>,
    creates_namespace: bool,
}

/// The Applications of an ApplicationSet for these cluster Secrets, in the order of its generators.
///
/// # Errors
/// What a template names that is not there.
pub(crate) fn applications(set: &Value, secrets: &[Value]) -> Result<Vec<Application>, String> {
    let spec = &set["spec"];
    assert_eq!(spec["goTemplate"], true, "the stand-in knows no other templates");
    assert_eq!(spec["goTemplateOptions"], json!(["missingkey=error"]));
    let mut applications = Vec::new();
    for generator in list(&spec["generators"]) {
        let clusters = &generator["clusters"];
        for secret in secrets.iter().filter(|secret| is_selected(&clusters["selector"], secret)) {
            let parameters = parameters(secret, &clusters["values"]);
            applications.push(Application::of(&render(&spec["template"], &parameters)?));
        }
    }
    Ok(applications)
}

impl Application {
    fn of(application: &Value) -> Application {
        let (source, destination) =
            (&application["spec"]["source"], &application["spec"]["destination"]);
        let helm = &source["helm"];
        let pair = |it: &Value| (text(&it["name"]), text(&it["value"]));
        let options = list(&application["spec"]["syncPolicy"]["syncOptions"]);
        Application {
            name: text(&application["metadata"]["name"]),
            destination: text(&destination["name"]),
            namespace: text(&destination["namespace"]),
            parameters: list(&helm["parameters"]).iter().map(pair).collect(),
            path: text(&source["path"]),
            value_files: list(&helm["valueFiles"]).iter().map(text).collect(),
            creates_namespace: options.contains(&json!("CreateNamespace=true")),
        }
    }

    /// Applies what its chart makes to its cluster; `repository` is what its source has checked out.
    ///
    /// # Panics
    /// If Helm or the cluster refuses.
    pub(crate) fn sync(&self, repository: &Path, cluster: &Cluster) {
        let namespace = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": self.namespace},
        });
        if self.creates_namespace {
            cluster.apply(&namespace.to_string(), "--server-side");
        }
        cluster.apply(&self.manifests(repository), &format!("-n {} --server-side", self.namespace));
    }

    fn manifests(&self, repository: &Path) -> String {
        let (chart, root) = (repository.join(&self.path), Path::new(env!("CARGO_MANIFEST_DIR")));
        let mut helm = Command::new(root.join("target/bed/helm"));
        helm.args(["template", &self.name]).arg(&chart).args(["--namespace", &self.namespace]);
        for file in &self.value_files {
            helm.arg("--values").arg(chart.join(file));
        }
        for (name, value) in &self.parameters {
            helm.arg("--set").arg(format!("{name}={value}"));
        }
        let output = helm.env("HOME", env!("CARGO_TARGET_TMPDIR")).output();
        let output = output.unwrap_or_else(|e| panic!("helm: {e}; `make bed-programs` builds it"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "helm template {}: {said}", self.name);
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Whether the labels of the Secret are as the selector of a generator asks.
fn is_selected(selector: &Value, secret: &Value) -> bool {
    let labels = &secret["metadata"]["labels"];
    let labelled = selector["matchLabels"].as_object().into_iter().flatten();
    let mut expressions = list(&selector["matchExpressions"]).iter();
    labelled.into_iter().all(|(key, value)| labels[key] == *value)
        && expressions.all(|expression| {
            let own = &labels[text(&expression["key"])];
            let is_among = list(&expression["values"]).contains(own);
            match text(&expression["operator"]).as_str() {
                "In" => is_among,
                "NotIn" => !is_among,
                other => panic!("the stand-in knows no operator {other}"),
            }
        })
}

fn parameters(secret: &Value, values: &Value) -> Parameters {
    json!({
        "name": decoded(&secret["data"]["name"]),
        "server": decoded(&secret["data"]["server"]),
        "metadata": {
            "labels": secret["metadata"]["labels"],
            "annotations": secret["metadata"]["annotations"],
        },
        "values": values,
    })
}

/// Renders every text in `template`.
fn render(template: &Value, parameters: &Parameters) -> Result<Value, String> {
    Ok(match template {
        Value::String(text) => Value::String(render_text(text, parameters)?),
        Value::Array(items) => {
            items.iter().map(|item| render(item, parameters)).collect::<Result<_, _>>()?
        }
        Value::Object(fields) => {
            let field =
                |(key, value): (&String, &Value)| Ok((key.clone(), render(value, parameters)?));
            Value::Object(fields.iter().map(field).collect::<Result<_, String>>()?)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => template.clone(),
    })
}

/// `{{.metadata.name}}-web-demo`.
fn render_text(template: &str, parameters: &Parameters) -> Result<String, String> {
    let mut pieces = template.split("{{");
    let mut rendered = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (path, rest) =
            piece.split_once("}}").ok_or_else(|| format!("{template} has no end"))?;
        let path = path.trim();
        let pointer = path.replace('.', "/");
        let value = parameters.pointer(&pointer).and_then(Value::as_str);
        rendered += value.ok_or_else(|| format!("{template}: there is no {path}"))?;
        rendered += rest;
    }
    Ok(rendered)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn decoded(data: &Value) -> String {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text(data)).unwrap();
    String::from_utf8(bytes).unwrap()
}
