//! Ingresses in one line: `ingress("a").exact("/foo", "svc")`.

use serde_json::{Map, Value, json};

use super::fleet::NAMESPACE;

/// An Ingress to be. Hosts and ports hold for the paths after them.
#[derive(Clone, Debug)]
pub(crate) struct Ingress {
    pub(crate) name: String,
    pub(crate) namespace: String,
    class: Option<String>,
    annotations: Map<String, Value>,
    created: u32,
    host: Option<String>,
    port: Value,
    rules: Vec<Value>,
    tls: Vec<Value>,
    default_backend: Option<Value>,
}

/// An Ingress of class `mse` in the usual namespace, for `example.com` and port 80.
pub(crate) fn ingress(name: &str) -> Ingress {
    Ingress {
        name: name.to_owned(),
        namespace: NAMESPACE.to_owned(),
        class: Some("mse".to_owned()),
        annotations: Map::new(),
        created: 0,
        host: Some("example.com".to_owned()),
        port: json!({"number": 80}),
        rules: Vec::new(),
        tls: Vec::new(),
        default_backend: None,
    }
}

/// A canary: `canary-<key>` for each of `settings`.
pub(crate) fn canary(name: &str, settings: &[(&str, &str)]) -> Ingress {
    settings.iter().fold(
        ingress(name).annotate("nginx.ingress.kubernetes.io/canary", "true"),
        |canary, (key, value)| {
            canary.annotate(&format!("nginx.ingress.kubernetes.io/canary-{key}"), value)
        },
    )
}

impl Ingress {
    pub(crate) fn namespace(mut self, namespace: &str) -> Ingress {
        self.namespace = namespace.to_owned();
        self
    }

    pub(crate) fn class(mut self, class: &str) -> Ingress {
        self.class = Some(class.to_owned());
        self
    }

    pub(crate) fn without_class(mut self) -> Ingress {
        self.class = None;
        self
    }

    /// Seconds after an arbitrary moment: only the order counts.
    pub(crate) fn created(mut self, second: u32) -> Ingress {
        self.created = second;
        self
    }

    pub(crate) fn annotate(mut self, key: &str, value: &str) -> Ingress {
        self.annotations.insert(key.to_owned(), value.into());
        self
    }

    /// Only pods with `labels`, one `key value` a line.
    pub(crate) fn subset(self, name: &str, labels: &str) -> Ingress {
        self.annotate("mse.ingress.kubernetes.io/service-subset", name)
            .annotate("mse.ingress.kubernetes.io/subset-labels", labels)
    }

    pub(crate) fn host(mut self, host: &str) -> Ingress {
        self.host = Some(host.to_owned());
        self
    }

    pub(crate) fn any_host(mut self) -> Ingress {
        self.host = None;
        self
    }

    pub(crate) fn port_name(mut self, name: &str) -> Ingress {
        self.port = json!({"name": name});
        self
    }

    pub(crate) fn exact(self, path: &str, service: &str) -> Ingress {
        self.path("Exact", path, service)
    }

    pub(crate) fn prefix(self, path: &str, service: &str) -> Ingress {
        self.path("Prefix", path, service)
    }

    pub(crate) fn path(mut self, path_type: &str, path: &str, service: &str) -> Ingress {
        let backend = self.backend(service);
        let paths = json!([{"path": path, "pathType": path_type, "backend": backend}]);
        let mut rule = json!({"http": {"paths": paths}});
        if let Some(host) = &self.host {
            rule["host"] = host.as_str().into();
        }
        self.rules.push(rule);
        self
    }

    pub(crate) fn default_backend(mut self, service: &str) -> Ingress {
        self.default_backend = Some(self.backend(service));
        self
    }

    /// TLS for `hosts`; none means every rule host, and the default certificate.
    pub(crate) fn tls(mut self, hosts: &[&str], secret: &str) -> Ingress {
        self.tls.push(json!({"hosts": hosts, "secretName": secret}));
        self
    }

    fn backend(&self, service: &str) -> Value {
        json!({"service": {"name": service, "port": self.port}})
    }

    /// The name of its file.
    pub(crate) fn file(&self) -> String {
        format!("ingress-{}-{}", self.namespace, self.name)
    }

    pub(crate) fn manifest(&self) -> Value {
        let mut spec = json!({"rules": self.rules, "tls": self.tls});
        if let Some(class) = &self.class {
            spec["ingressClassName"] = class.as_str().into();
        }
        if let Some(backend) = &self.default_backend {
            spec["defaultBackend"] = backend.clone();
        }
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "creationTimestamp": format!("2026-01-01T00:00:{:02}Z", self.created),
                "annotations": self.annotations,
            },
            "spec": spec,
        })
    }
}
