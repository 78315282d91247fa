//! The fleet and its members as a test writes to them, wherever their objects are kept.

use convoy::serve::Source;
use serde_json::{Value, json};

/// Where everything lives unless a row says otherwise.
pub(crate) const NAMESPACE: &str = "gateway-demo";

/// One of the clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cluster<'a> {
    Fleet,
    Member(&'a str),
}

/// Where objects are kept.
pub(crate) trait Keeper {
    /// `kubectl apply -f -`; `file` names the objects for [`Keeper::delete`].
    fn apply(&self, to: Cluster<'_>, file: &str, manifests: &str);

    /// Deletes what was applied under `file`.
    fn delete(&self, from: Cluster<'_>, file: &str);

    /// The same for Convoy.
    fn source(&self) -> Source;

    /// Reasons of the Events on an object of the fleet, as in `Ingress gateway-demo/web-demo`; `None`
    /// where there are no Events.
    fn events(&self, object: &str) -> Option<Vec<String>>;
}

/// A fleet and its members.
pub(crate) struct Fleet(Box<dyn Keeper>);

impl Fleet {
    pub(crate) fn new(keeper: impl Keeper + 'static) -> Fleet {
        Fleet(Box::new(keeper))
    }

    /// What Convoy reads.
    pub(crate) fn source(&self) -> Source {
        self.0.source()
    }

    /// Reasons of the Events on an object of the fleet; `None` where there are no Events.
    pub(crate) fn events(&self, object: &str) -> Option<Vec<String>> {
        self.0.events(object)
    }

    /// `kubectl apply -n gateway-demo -f -` on the fleet; `file` names it for [`Fleet::delete`].
    pub(crate) fn apply(&self, file: &str, manifest: &str) {
        self.0.apply(Cluster::Fleet, file, &in_namespace(manifest));
    }

    /// An object of the fleet, in the namespace it names.
    pub(crate) fn object(&self, file: &str, object: &Value) {
        self.0.apply(Cluster::Fleet, file, &object.to_string());
    }

    /// Deletes what was applied under `file`.
    pub(crate) fn delete(&self, file: &str) {
        self.0.delete(Cluster::Fleet, file);
    }

    /// An object of a member.
    pub(crate) fn member_object(&self, member: &str, file: &str, object: &Value) {
        self.0.apply(Cluster::Member(member), file, &object.to_string());
    }

    /// Deletes an object of a member.
    pub(crate) fn delete_member_object(&self, member: &str, file: &str) {
        self.0.delete(Cluster::Member(member), file);
    }
}

/// What `-n gateway-demo` does to a manifest without a namespace.
fn in_namespace(manifest: &str) -> String {
    let documents = manifest.split("\n---\n").map(|document| {
        let is_cluster_scoped = ["kind: MseIngressConfig", "kind: IngressClass"]
            .iter()
            .any(|kind| document.contains(kind));
        if is_cluster_scoped || document.contains("\n  namespace:") {
            return document.to_owned();
        }
        document.replacen("metadata:\n", &format!("metadata:\n  namespace: {NAMESPACE}\n"), 1)
    });
    documents.collect::<Vec<_>>().join("\n---\n")
}

/// A gateway with members in order; `local` is `spec.ingress.local`.
pub(crate) fn gateway(name: &str, members: &str, local: Value) -> Value {
    json!({
        "apiVersion": "mse.alibabacloud.com/v1alpha1",
        "kind": "MseIngressConfig",
        "metadata": {
            "name": name,
            "annotations": {"mse.alibabacloud.com/remote-clusters": members},
        },
        "spec": {"name": "mse-ingress", "ingress": {"local": local}},
    })
}

/// An IngressClass bound to a gateway.
pub(crate) fn ingress_class(name: &str, gateway: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": name},
        "spec": {
            "controller": "mse.alibabacloud.com/ingress",
            "parameters": {
                "apiGroup": "mse.alibabacloud.com",
                "kind": "MseIngressConfig",
                "name": gateway,
            },
        },
    })
}

/// A TLS Secret.
pub(crate) fn tls_secret(name: &str, leaf: &super::cert::Leaf) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "stringData": {"tls.crt": leaf.chain, "tls.key": leaf.key},
    })
}
