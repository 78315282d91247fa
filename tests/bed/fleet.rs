//! The directory that Convoy reads: `fleet/` and `members/<id>/`, written as `kubectl apply` would.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

/// Where everything lives unless a row says otherwise.
pub(crate) const NAMESPACE: &str = "gateway-demo";

/// A directory fleet. Files appear and change atomically.
pub(crate) struct Fleet {
    root: PathBuf,
    staging: PathBuf,
}

impl Fleet {
    /// An empty fleet with members, below `base`.
    pub(crate) fn create(base: &Path) -> Fleet {
        let fleet = Fleet { root: base.join("dir"), staging: base.join("staging") };
        fs::create_dir_all(fleet.root.join("fleet")).unwrap();
        fs::create_dir_all(&fleet.staging).unwrap();
        fleet
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// `kubectl apply -n gateway-demo -f -` on the fleet; `file` names it for [`Fleet::delete`].
    pub(crate) fn apply(&self, file: &str, manifest: &str) {
        self.write(&self.fleet_file(file), &in_namespace(manifest));
    }

    /// An object of the fleet, in the namespace it names.
    pub(crate) fn object(&self, file: &str, object: &Value) {
        self.write(&self.fleet_file(file), &object.to_string());
    }

    /// Deletes what was applied under `file`.
    pub(crate) fn delete(&self, file: &str) {
        fs::remove_file(self.fleet_file(file)).unwrap();
    }

    /// An object of a member.
    pub(crate) fn member_object(&self, member: &str, file: &str, object: &Value) {
        self.write(&self.member_file(member, file), &object.to_string());
    }

    /// Deletes an object of a member.
    pub(crate) fn delete_member_object(&self, member: &str, file: &str) {
        fs::remove_file(self.member_file(member, file)).unwrap();
    }

    fn fleet_file(&self, file: &str) -> PathBuf {
        self.root.join("fleet").join(format!("{file}.yaml"))
    }

    fn member_file(&self, member: &str, file: &str) -> PathBuf {
        self.root.join("members").join(member).join(format!("{file}.yaml"))
    }

    fn write(&self, to: &Path, text: &str) {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let draft = self.staging.join(to.file_name().unwrap());
        fs::write(&draft, text).unwrap();
        fs::rename(&draft, to).unwrap();
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
