//! Fleets that are too small, too large or too many to be files: written as they are needed.

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
};

use convoy::{
    serve::{self, Translated},
    settings::GatewayDefaults,
};
use serde_json::{Value, json};

use crate::cases::entries;

/// Documents by the file they are in; the path is relative to the directory fleet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fleet(BTreeMap<String, Vec<String>>);

impl Fleet {
    /// A gateway `web` of class `mse` over `c1` and `c2`, where the namespace `shop` has the
    /// Services `a` and `b`, each with one endpoint a member.
    pub(crate) fn shop() -> Fleet {
        let gateway = json!({
            "apiVersion": "mse.alibabacloud.com/v1alpha1",
            "kind": "MseIngressConfig",
            "metadata": {
                "name": "web",
                "annotations": { "mse.alibabacloud.com/remote-clusters": "c1,c2" },
            },
            "spec": { "name": "web", "ingress": { "local": { "ingressClass": "mse" } } },
        });
        let mut fleet = Fleet::default().fleet(&gateway);
        for (service, network) in [("a", 1), ("b", 2)] {
            for member in [1, 2] {
                let address = format!("10.{member}.{network}.1");
                let objects = service_of("shop", service, &[&address]);
                fleet = fleet.member(&format!("c{member}"), &objects);
            }
        }
        fleet
    }

    /// What a directory holds.
    pub(crate) fn read(dir: &Path) -> Fleet {
        let mut fleet = Fleet::default();
        fleet.read_below(dir, "fleet");
        fleet.read_below(dir, "members");
        fleet
    }

    fn read_below(&mut self, dir: &Path, path: &str) {
        for name in entries(&dir.join(path)) {
            let path = format!("{path}/{name}");
            if dir.join(&path).is_dir() {
                self.read_below(dir, &path);
            } else {
                let text = fs::read_to_string(dir.join(&path)).unwrap();
                self.0.insert(path, text.split("\n---\n").map(str::to_owned).collect());
            }
        }
    }

    /// With an object of the fleet.
    pub(crate) fn fleet(self, object: &Value) -> Fleet {
        self.text("fleet/objects.yaml", object.to_string())
    }

    /// With objects of a member.
    pub(crate) fn member(mut self, member: &str, objects: &[Value]) -> Fleet {
        let path = format!("members/{member}/objects.yaml");
        for object in objects {
            self = self.text(&path, object.to_string());
        }
        self
    }

    /// With a document, whatever it is, in a file.
    pub(crate) fn text(mut self, path: &str, document: impl Into<String>) -> Fleet {
        self.0.entry(path.to_owned()).or_default().push(document.into());
        self
    }

    /// The same documents of each cluster in another order, in other files.
    pub(crate) fn shuffled(&self, seed: u64) -> Fleet {
        let mut shuffled = Fleet::default();
        for (cluster, mut documents) in self.by_cluster() {
            documents.sort_by_key(|document| hash(&(seed, document)));
            for document in documents {
                let file = hash(&(seed, "file", document)) % 4;
                let path = format!("{cluster}/{:x}.yaml", hash(&(seed, file)));
                shuffled = shuffled.text(&path, document);
            }
        }
        shuffled
    }

    fn by_cluster(&self) -> BTreeMap<String, Vec<&str>> {
        let mut clusters: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (path, documents) in &self.0 {
            let n_parts = if path.starts_with("members/") { 2 } else { 1 };
            let parts: Vec<_> = path.split('/').take(n_parts).collect();
            let cluster = clusters.entry(parts.join("/")).or_default();
            cluster.extend(documents.iter().map(String::as_str));
        }
        clusters
    }

    pub(crate) fn translate(&self) -> Translated {
        let dir = tempfile::tempdir().unwrap();
        for (path, documents) in &self.0 {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, documents.join("\n---\n")).unwrap();
        }
        serve::translate(dir.path(), &GatewayDefaults::default()).unwrap()
    }
}

fn hash(value: &impl Hash) -> u64 {
    // Its keys are constant, so a failure comes again.
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// An Ingress of the class `mse` in the namespace `shop`. Rules are host, kind and path, Service;
/// annotations without a prefix get one.
pub(crate) fn ingress(
    name: &str,
    annotations: &[(&str, &str)],
    rules: &[(&str, &str, &str)],
) -> Value {
    let annotations = annotations.iter().map(|(key, value)| {
        let prefix = if key.contains('/') { "" } else { "nginx.ingress.kubernetes.io/" };
        (format!("{prefix}{key}"), json!(value))
    });
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "creationTimestamp": "2026-01-02T00:00:00Z",
            "annotations": annotations.collect::<serde_json::Map<_, _>>(),
        },
        "spec": {
            "ingressClassName": "mse",
            "rules": rules.iter().map(rule).collect::<Vec<_>>(),
        },
    })
}

fn rule((host, path, service): &(&str, &str, &str)) -> Value {
    let (kind, path) = path.split_once(' ').unwrap();
    json!({
        "host": host,
        "http": { "paths": [{
            "path": path,
            "pathType": kind,
            "backend": { "service": { "name": service, "port": { "number": 80 } } },
        }] },
    })
}

/// A Service with port 80, and its EndpointSlice.
pub(crate) fn service_of(namespace: &str, name: &str, addresses: &[&str]) -> [Value; 2] {
    let endpoint = |address: &&str| json!({ "addresses": [address] });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name, "namespace": namespace },
        "spec": { "ports": [{ "port": 80, "targetPort": 8080 }] },
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": { "kubernetes.io/service-name": name },
        },
        "addressType": if addresses.iter().any(|a| a.contains(':')) { "IPv6" } else { "IPv4" },
        "ports": [{ "name": "", "port": 8080 }],
        "endpoints": addresses.iter().map(endpoint).collect::<Vec<_>>(),
    });
    [service, slice]
}

/// A TLS Secret in the namespace `shop`: its manifest, and the lines of its key.
pub(crate) fn certificate(name: &str, host: &str) -> (Value, Vec<String>) {
    let made = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    let key = made.signing_key.serialize_pem();
    let lines = key.lines().filter(|line| !line.starts_with("-----")).map(str::to_owned).collect();
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": { "name": name, "namespace": "shop" },
        "stringData": { "tls.crt": made.cert.pem(), "tls.key": key },
    });
    (secret, lines)
}
