//! Convoy's account in a member: manifests, pure.

use serde_json::{Value, json};

use crate::source::{
    rbac::{MEMBER_ACCOUNT, Reach, member_rules},
    registry::Network,
};

/// The manifests in the order in which they are applied, each with the plural of its kind.
pub(super) fn manifests(namespace: &str, network: Network) -> Vec<(&'static str, Value)> {
    const RBAC: &str = "rbac.authorization.k8s.io/v1";
    let labels = json!({
        "app.kubernetes.io/name": "convoy",
        "app.kubernetes.io/component": "member",
        "app.kubernetes.io/managed-by": "convoy",
    });
    let everywhere = json!({"name": MEMBER_ACCOUNT, "labels": labels});
    let here = json!({"name": MEMBER_ACCOUNT, "namespace": namespace, "labels": labels});
    let role = |kind: &str, metadata: &Value, reach: Reach| {
        let rules = member_rules(network, reach);
        json!({"apiVersion": RBAC, "kind": kind, "metadata": metadata, "rules": rules})
    };
    let binding = |kind: &str, metadata: &Value, role: &str| {
        json!({
            "apiVersion": RBAC,
            "kind": kind,
            "metadata": metadata,
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": MEMBER_ACCOUNT,
            },
            "subjects": [
                {"kind": "ServiceAccount", "namespace": namespace, "name": MEMBER_ACCOUNT},
            ],
        })
    };
    vec![
        // Without labels: the namespace may be somebody else's.
        (
            "namespaces",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
        ),
        (
            "serviceaccounts",
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": here}),
        ),
        ("clusterroles", role("ClusterRole", &everywhere, Reach::Cluster)),
        ("clusterrolebindings", binding("ClusterRoleBinding", &everywhere, "ClusterRole")),
        ("roles", role("Role", &here, Reach::OwnNamespace)),
        ("rolebindings", binding("RoleBinding", &here, "Role")),
    ]
}
