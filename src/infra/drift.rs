//! Whether what is there is what should be, and whose it is.
//!
//! Owns what counts as a difference. What should be is a part of what is there: others may add fields,
//! entries and containers.

use serde_json::{Map, Value};

use crate::{
    infra::name::{self, GATEWAY_NAME},
    key::GatewayId,
};

/// The path of the first field that is not as it should be.
pub(super) fn difference(wanted: &Value, there: &Value) -> Option<String> {
    match (wanted, there) {
        (Value::Object(wanted), Value::Object(there)) => wanted.iter().find_map(|(key, value)| {
            let rest = match there.get(key) {
                Some(own) => difference(value, own)?,
                None => String::new(),
            };
            Some(join(key, &rest))
        }),
        // Entries are told apart by their content: their order and others among them are not ours.
        (Value::Array(wanted), Value::Array(there)) if wanted.iter().all(Value::is_object) => {
            wanted.iter().enumerate().find_map(|(idx, value)| entry(idx, value, there))
        }
        _ => (wanted != there).then(String::new),
    }
}

/// The difference of an entry to the one that it is most likely meant to be.
fn entry(idx: usize, wanted: &Value, there: &[Value]) -> Option<String> {
    if there.iter().any(|own| difference(wanted, own).is_none()) {
        return None;
    }
    let name = wanted.get("name");
    let same = there.iter().find(|own| name.is_some() && own.get("name") == name);
    let rest = same.and_then(|own| difference(wanted, own)).unwrap_or_default();
    let place = name.and_then(Value::as_str).map_or_else(|| idx.to_string(), str::to_owned);
    Some(join(&format!("[{place}]"), &rest))
}

fn join(key: &str, rest: &str) -> String {
    match rest {
        "" => key.to_owned(),
        _ if rest.starts_with('[') => format!("{key}{rest}"),
        _ => format!("{key}.{rest}"),
    }
}

/// Whether an object is one that was made for the gateway: it is controlled by it, or by nobody and
/// labelled so. One of the two may have been taken away by mistake.
pub(super) fn is_ours(object: &Value, gateway: &GatewayId) -> bool {
    let metadata = object.get("metadata").and_then(Value::as_object);
    let owners = metadata.and_then(|own| own.get("ownerReferences")).and_then(Value::as_array);
    let is_controller = |own: &&Value| own.get("controller") == Some(&Value::Bool(true));
    match owners.into_iter().flatten().find(is_controller) {
        Some(owner) => {
            text(owner, "kind") == Some(gateway.kind.as_str())
                && text(owner, "name") == Some(&*gateway.name.name)
        }
        None => {
            let labels = metadata.and_then(|own| own.get("labels")).and_then(Value::as_object);
            let has = |key: &str, value: &str| {
                labels.and_then(|own: &Map<_, _>| own.get(key)?.as_str()) == Some(value)
            };
            has("app.kubernetes.io/managed-by", "convoy")
                && has(GATEWAY_NAME, &name::gateway_label(gateway))
        }
    }
}

/// Whether somebody else decides how many replicas a Deployment has, as an autoscaler does.
pub(super) fn is_scaled_by_others(deployment: &Value, manager: &str) -> bool {
    let entries = deployment.pointer("/metadata/managedFields").and_then(Value::as_array);
    entries.into_iter().flatten().any(|entry| {
        let has_replicas = entry.pointer("/fieldsV1/f:spec/f:replicas").is_some();
        has_replicas && text(entry, "manager") != Some(manager)
    })
}

/// What keeps the Pods of a Deployment from being made or replaced, as its controller says it. That it
/// says so may be late news: nothing is wrong once there are as many new Pods as there should be.
pub(super) fn trouble(deployment: &Value) -> Option<String> {
    let count = |path: &str| deployment.pointer(path).and_then(Value::as_u64).unwrap_or_default();
    let is_short = count("/status/updatedReplicas") < count("/spec/replicas");
    let conditions = deployment.pointer("/status/conditions").and_then(Value::as_array);
    let is_bad = |own: &&Value| match (text(own, "type"), text(own, "status")) {
        (Some("ReplicaFailure"), Some("True")) => is_short,
        (Some("Progressing"), Some("False")) => true,
        _ => false,
    };
    let bad = conditions.into_iter().flatten().find(is_bad)?;
    Some(format!("{}: {}", text(bad, "reason")?, text(bad, "message")?))
}

fn text<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get(key)?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_wanted_is_compared() {
        let check = |wanted: Value, there: Value, expect: Option<&str>| {
            assert_eq!(difference(&wanted, &there).as_deref(), expect, "{wanted} {there}");
        };
        check(json!({"a": 1}), json!({"a": 1, "b": 2}), None);
        check(json!({"a": 1}), json!({"a": 2}), Some("a"));
        check(json!({"a": {"b": 1}}), json!({"a": {}}), Some("a.b"));
        check(json!({"args": ["x"]}), json!({"args": ["x", "y"]}), Some("args"));
        let injected = json!({"c": [{"name": "other"}, {"name": "envoy", "image": "e", "x": 1}]});
        check(json!({"c": [{"name": "envoy", "image": "e"}]}), injected.clone(), None);
        check(json!({"c": [{"name": "envoy", "image": "f"}]}), injected, Some("c[envoy].image"));
        check(json!({"c": [{"uid": "1"}]}), json!({"c": []}), Some("c[0]"));
        check(json!({"c": [{"uid": "1"}]}), json!({"c": null}), Some("c"));
    }

    #[test]
    fn an_object_is_ours_by_its_controller_or_by_its_labels() {
        let labels = json!({"app.kubernetes.io/managed-by": "convoy", GATEWAY_NAME: "gw"});
        let owner =
            |kind: &str, name: &str| json!([{"kind": kind, "name": name, "controller": true}]);
        for (metadata, expect) in [
            (json!({}), false),
            (json!({"labels": labels}), true),
            (
                json!({"labels": {"app.kubernetes.io/managed-by": "Helm", GATEWAY_NAME: "gw"}}),
                false,
            ),
            (json!({"labels": {"app.kubernetes.io/managed-by": "convoy"}}), false),
            (json!({"ownerReferences": owner("MseIngressConfig", "gw")}), true),
            (json!({"ownerReferences": owner("MseIngressConfig", "g2"), "labels": labels}), false),
            (json!({"ownerReferences": owner("Rollout", "gw"), "labels": labels}), false),
        ] {
            let object = json!({"metadata": metadata});
            assert_eq!(is_ours(&object, &GatewayId::mse("gw")), expect, "{object}");
            assert!(!is_ours(&object, &GatewayId::alb("gw")), "{object}");
        }
        let owned = json!({"metadata": {"ownerReferences": owner("AlbConfig", "gw")}});
        let labels =
            json!({"app.kubernetes.io/managed-by": "convoy", GATEWAY_NAME: "AlbConfig.gw"});
        for object in [owned, json!({"metadata": {"labels": labels}})] {
            assert!(is_ours(&object, &GatewayId::alb("gw")), "{object}");
            assert!(!is_ours(&object, &GatewayId::mse("gw")), "{object}");
        }
    }

    #[test]
    fn replicas_belong_to_whoever_wrote_them_last() {
        let entry = |manager: &str, field: &str| json!({"manager": manager, "fieldsV1": {"f:spec": {field: {}}}});
        for (entries, expect) in [
            (json!([entry("convoy", "f:replicas")]), false),
            (json!([entry("convoy", "f:strategy"), entry("kubectl", "f:paused")]), false),
            (json!([entry("convoy", "f:strategy"), entry("hpa", "f:replicas")]), true),
        ] {
            let deployment = json!({"metadata": {"managedFields": entries}});
            assert_eq!(is_scaled_by_others(&deployment, "convoy"), expect, "{deployment}");
        }
    }

    #[test]
    fn a_deployment_says_what_keeps_it() {
        let check = |kind: &str, status: &str, updated: u32, expect: Option<&str>| {
            let condition =
                json!({"type": kind, "status": status, "reason": "Quota", "message": "no more"});
            let deployment = json!({
                "spec": {"replicas": 3},
                "status": {"updatedReplicas": updated, "conditions": [condition]},
            });
            assert_eq!(trouble(&deployment).as_deref(), expect, "{kind}={status} {updated}");
        };
        check("ReplicaFailure", "True", 2, Some("Quota: no more"));
        check("ReplicaFailure", "True", 3, None);
        check("Progressing", "False", 3, Some("Quota: no more"));
        check("Progressing", "True", 0, None);
        // It takes a while, which readiness tells.
        check("Available", "False", 0, None);
    }
}
