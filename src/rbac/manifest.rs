//! An account and its roles as manifests. Pure.

use serde_json::{Value, json};

use crate::rbac::Role;

const RBAC: &str = "rbac.authorization.k8s.io/v1";

/// An account and what it may do.
#[derive(Clone, Debug)]
pub struct Account<'a> {
    /// Of the account, and of its roles and bindings.
    pub name: &'a str,
    /// Where the account is.
    pub namespace: &'a str,
    /// Label `app.kubernetes.io/component`.
    pub component: &'a str,
    /// What it may do.
    pub roles: &'a [Role],
}

/// An object to be applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Plural of its kind.
    pub plural: &'static str,
    /// The object.
    pub object: Value,
}

/// Everything that makes the account, in the order in which it is applied.
pub fn manifests(account: &Account<'_>) -> Vec<Manifest> {
    let Account { name, namespace, component, roles } = account;
    let labels = json!({
        "app.kubernetes.io/name": "convoy",
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/managed-by": "convoy",
    });
    let mut all = vec![
        // Without labels: the namespace may be somebody else's.
        Manifest {
            plural: "namespaces",
            object: json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
        },
        Manifest {
            plural: "serviceaccounts",
            object: json!({
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": name, "namespace": namespace, "labels": labels},
            }),
        },
    ];
    all.extend(roles.iter().flat_map(|role| bound(account, role, &labels)));
    all
}

/// A role and its binding.
fn bound(account: &Account<'_>, role: &Role, labels: &Value) -> [Manifest; 2] {
    let Account { name, namespace, .. } = account;
    let (kind, binding, plural, bindings) = match &role.namespace {
        None => ("ClusterRole", "ClusterRoleBinding", "clusterroles", "clusterrolebindings"),
        Some(_) => ("Role", "RoleBinding", "roles", "rolebindings"),
    };
    let metadata = match &role.namespace {
        None => json!({"name": name, "labels": labels}),
        Some(own) => json!({"name": name, "namespace": own, "labels": labels}),
    };
    let role = json!({
        "apiVersion": RBAC, "kind": kind, "metadata": metadata, "rules": role.rules,
    });
    let binding = json!({
        "apiVersion": RBAC,
        "kind": binding,
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
        "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": name}],
    });
    [Manifest { plural, object: role }, Manifest { plural: bindings, object: binding }]
}
