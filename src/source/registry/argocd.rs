//! Cluster Secrets of Argo CD (users.md, Conventions 2; faults.md S5).
//!
//! Owns which fields of their `config` are legal. Data `name`, `server` and `config`; the last
//! is JSON.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::source::registry::{
    Access,
    declared::Sensitive,
    intake::{self, MAX_BYTES, Parts},
    strict::{Fields, Node, Refusal},
};

/// How Argo CD calls the cluster that it runs in.
const IN_CLUSTER: &str = "https://kubernetes.default.svc";

const CONFIG: Fields = Fields {
    allowed: &["bearerToken", "tlsClientConfig", "disableCompression"],
    refused: &[
        ("execProviderConfig", "would run a program; give bearerToken or a client certificate"),
        ("awsAuthConfig", "would run a program; give bearerToken or a client certificate"),
        ("username", "passwords are not used; give bearerToken or a client certificate"),
        ("password", "passwords are not used; give bearerToken or a client certificate"),
        ("proxyUrl", "proxies are not used"),
    ],
};

const TLS: Fields = Fields {
    allowed: &["caData", "certData", "keyData", "serverName"],
    refused: &[("insecure", "the server must be verified")],
};

/// How the cluster is reached. Argo CD's own cluster without credentials is the fleet.
pub(super) fn sanitise(data: &BTreeMap<String, Sensitive>) -> Result<Access, Refusal> {
    let server = text(data, "server")?;
    let config = text(data, "config")?;
    let at = Node::named("config", None);
    let config: Value = match config.as_str() {
        Some(json) => serde_json::from_str(json).map_err(|_| at.refuse("is not JSON"))?,
        None => Value::Object(serde_json::Map::new()),
    };
    let config = Node::named("config", Some(&config));
    config.check(&CONFIG)?;
    let tls = config.get("tlsClientConfig");
    if tls.is_set() {
        tls.check(&TLS)?;
    }
    let parts = Parts {
        server: Node::named("server", Some(&server)),
        server_name: tls.get("serverName"),
        authorities: tls.get("caData"),
        token: config.get("bearerToken"),
        chain: tls.get("certData"),
        key: tls.get("keyData"),
    };
    let has_identity = parts.token.is_set() || parts.chain.is_set() || parts.key.is_set();
    if !has_identity && parts.server.text()? == Some(IN_CLUSTER) {
        return Ok(Access::Fleet);
    }
    intake::credentials(&parts).map(Access::Remote)
}

/// `name` of the Secret, as Argo CD shows the cluster.
pub(super) fn name(data: &BTreeMap<String, Sensitive>) -> Option<&str> {
    std::str::from_utf8(data.get("name")?.expose()).ok()
}

fn text(data: &BTreeMap<String, Sensitive>, key: &str) -> Result<Value, Refusal> {
    let at = Node::named(key, None);
    let Some(bytes) = data.get(key).map(Sensitive::expose) else { return Ok(Value::Null) };
    if bytes.len() > MAX_BYTES {
        return Err(at.refuse(format!("has {} bytes, more than {MAX_BYTES}", bytes.len())));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| at.refuse("is not UTF-8"))?;
    Ok(Value::from(text))
}
