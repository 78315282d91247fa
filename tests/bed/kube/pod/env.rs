//! The environment of a container, and where its values come from.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{ConfigMap, Container, EnvVar, EnvVarSource, ResourceFieldSelector, Secret},
    apimachinery::pkg::api::resource::Quantity,
};
use kube::{Api, ResourceExt};

use super::Shared;

/// Where a shell finds programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a node has, for containers without limits.
const NODE: [(&str, &str); 2] = [("cpu", "8"), ("memory", "16Gi")];

/// Names and values.
pub(super) type Environment = BTreeMap<String, String>;

impl Shared {
    /// # Errors
    /// Which variable cannot be had, and why.
    pub(super) async fn environment(&self, container: &Container) -> Result<Environment, String> {
        let api = self.place.api.to_string();
        let mut environment: Environment = [
            ("PATH", PATH),
            ("HOSTNAME", self.pod.name_any().as_str()),
            ("KUBERNETES_SERVICE_HOST", &api),
            ("KUBERNETES_SERVICE_PORT", "443"),
            ("KUBERNETES_SERVICE_PORT_HTTPS", "443"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        for variable in container.env.iter().flatten() {
            let value = self.value(variable, container, &environment).await;
            let value = value.map_err(|why| format!("env {}: {why}", variable.name))?;
            environment.extend(value.map(|value| (variable.name.clone(), value)));
        }
        Ok(environment)
    }

    async fn value(
        &self,
        variable: &EnvVar,
        container: &Container,
        known: &Environment,
    ) -> Result<Option<String>, String> {
        match &variable.value_from {
            None => Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), known))),
            Some(EnvVarSource { field_ref: Some(field), .. }) => {
                self.field(&field.field_path).map(Some)
            }
            Some(EnvVarSource { resource_field_ref: Some(field), .. }) => {
                self.resource(field, container).map(Some)
            }
            Some(EnvVarSource { config_map_key_ref: Some(from), .. }) => {
                let map = Api::<ConfigMap>::namespaced(self.client.clone(), &self.namespace())
                    .get_opt(&from.name)
                    .await
                    .map_err(|e| e.to_string())?;
                let value = map.and_then(|map| map.data?.remove(&from.key));
                required(value, from.optional, &from.name, &from.key)
            }
            Some(EnvVarSource { secret_key_ref: Some(from), .. }) => {
                let secret = Api::<Secret>::namespaced(self.client.clone(), &self.namespace())
                    .get_opt(&from.name)
                    .await
                    .map_err(|e| e.to_string())?;
                let value = secret.and_then(|secret| secret.data?.remove(&from.key));
                let value = value.map(|it| String::from_utf8_lossy(&it.0).into_owned());
                required(value, from.optional, &from.name, &from.key)
            }
            Some(other) => Err(format!("the bed does not know {other:?}")),
        }
    }

    /// A field of the pod, as the downward API names it.
    pub(super) fn field(&self, path: &str) -> Result<String, String> {
        let (pod, spec) = (&self.pod, self.spec());
        let keyed = |prefix: &str| Some(path.strip_prefix(prefix)?.strip_suffix("']")?.to_owned());
        if let Some(key) = keyed("metadata.labels['") {
            return Ok(pod.labels().get(&key).cloned().unwrap_or_default());
        }
        if let Some(key) = keyed("metadata.annotations['") {
            return Ok(pod.annotations().get(&key).cloned().unwrap_or_default());
        }
        match path {
            "metadata.name" => Ok(pod.name_any()),
            "metadata.namespace" => Ok(self.namespace()),
            "metadata.uid" => Ok(pod.uid().unwrap_or_default()),
            "spec.nodeName" => Ok(spec.node_name.clone().unwrap_or_default()),
            "spec.serviceAccountName" => Ok(self.account().to_owned()),
            "status.hostIP" => Ok(self.place.host.to_string()),
            "status.podIP" | "status.podIPs" => Ok(self.place.address.to_string()),
            other => Err(format!("the bed does not know the field {other}")),
        }
    }

    /// As whom the pod asks the API.
    pub(super) fn account(&self) -> &str {
        self.spec().service_account_name.as_deref().unwrap_or("default")
    }

    /// A request or limit, in units of the divisor, rounded up.
    fn resource(&self, field: &ResourceFieldSelector, own: &Container) -> Result<String, String> {
        let name = field.container_name.as_deref().unwrap_or(&own.name);
        let container = self.spec().containers.iter().find(|it| it.name == name).unwrap_or(own);
        let resources = container.resources.as_ref();
        let (kind, resource) = field.resource.split_once('.').ok_or("no resource")?;
        let declared = match kind {
            "limits" => resources.and_then(|it| it.limits.as_ref()),
            _ => resources.and_then(|it| it.requests.as_ref()),
        };
        let declared = declared.and_then(|it| it.get(resource)).map(|quantity| quantity.0.as_str());
        let of_node =
            NODE.iter().find(|(name, _)| *name == resource).map(|(_, quantity)| *quantity);
        let amount = amount(declared.or(of_node).ok_or("no such resource")?)?;
        let divisor =
            field.divisor.as_ref().map_or(Ok(1.0), |Quantity(text)| amount_or_one(text))?;
        Ok(format!("{}", (amount / divisor).ceil()))
    }
}

fn required(
    value: Option<String>,
    optional: Option<bool>,
    name: &str,
    key: &str,
) -> Result<Option<String>, String> {
    match value {
        None if optional != Some(true) => Err(format!("{name} has no key {key}")),
        value => Ok(value),
    }
}

/// The API server writes the default divisor as zero.
fn amount_or_one(text: &str) -> Result<f64, String> {
    amount(text).map(|it| if it == 0.0 { 1.0 } else { it })
}

fn amount(text: &str) -> Result<f64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        other => return Err(format!("the bed does not know the unit {other}")),
    };
    digits.parse::<f64>().map(|it| it * factor).map_err(|e| format!("{text}: {e}"))
}

/// Replaces `$(NAME)` by its value where there is one; `$$` is a dollar sign.
pub(super) fn expand(text: &str, environment: &Environment) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let named = after.strip_prefix('(').and_then(|it| it.split_once(')'));
        let value = named.and_then(|(name, then)| Some((environment.get(name)?, then)));
        match (value, after.strip_prefix('$')) {
            (Some((value, then)), _) => {
                expanded.push_str(value);
                rest = then;
            }
            (None, Some(then)) => {
                expanded.push('$');
                rest = then;
            }
            (None, None) => {
                expanded.push('$');
                rest = after;
            }
        }
    }
    expanded + rest
}
