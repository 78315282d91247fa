//! The Secret that declares a member in the fleet: a manifest, pure.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    key::MemberId,
    rbac::Manifest,
    source::registry::{CLUSTER_UID, MEMBER_LABEL, NETWORK, Network, REGION, ZONE},
};

/// Value of `app.kubernetes.io/managed-by`: what `convoy member remove` may delete.
pub(super) const MANAGED_BY: &str = "convoy";

/// What a Secret says beside the credentials.
pub(super) struct Description<'a> {
    pub(super) namespace: &'a str,
    pub(super) id: &'a MemberId,
    /// Which cluster it is, if that is known.
    pub(super) uid: Option<&'a str>,
    pub(super) region: Option<&'a str>,
    pub(super) zone: Option<&'a str>,
    pub(super) network: Network,
}

/// The namespace of Secrets. Without labels: it may be somebody else's too.
pub(super) fn namespace(name: &str) -> Manifest {
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    Manifest { plural: "namespaces", object }
}

/// The Secret with its kubeconfig.
pub(super) fn manifest(description: &Description<'_>, kubeconfig: &str) -> Manifest {
    let Description { namespace, id, uid, region, zone, network } = description;
    let network = match network {
        Network::Underlay => None,
        Network::Overlay => Some("overlay"),
    };
    let annotations = [(CLUSTER_UID, *uid), (REGION, *region), (ZONE, *zone), (NETWORK, network)];
    let annotations = annotations.into_iter().filter_map(|(key, value)| Some((key, value?)));
    let annotations: Map<_, _> =
        annotations.map(|(key, value)| (key.to_owned(), value.into())).collect();
    let object = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name(id),
            "namespace": namespace,
            "labels": {MEMBER_LABEL: "true", "app.kubernetes.io/managed-by": MANAGED_BY},
            "annotations": annotations,
        },
        "type": "Opaque",
        "data": {id.as_str(): STANDARD.encode(kubeconfig)},
    });
    Manifest { plural: "secrets", object }
}

/// One Secret an id: an id that cannot be part of a name is told apart by its hash.
pub(super) fn name(id: &MemberId) -> String {
    let id = id.as_str();
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let ends_well = id.bytes().next_back().is_some_and(|b| b != b'-');
    // 253 bytes are the longest name.
    if id.bytes().all(legal) && ends_well && id.len() <= 200 {
        return format!("convoy-member-{id}");
    }
    format!("convoy-member-x{:016x}", xxh3_64(id.as_bytes()))
}

/// A kubeconfig with nothing in it but a server, its CA (PEM) and a token.
pub(super) fn kubeconfig(server: &str, server_name: Option<&str>, ca: &str, token: &str) -> Value {
    // An absent name is `null`, which is no value in a kubeconfig.
    let cluster = json!({
        "server": server,
        "tls-server-name": server_name,
        "certificate-authority-data": STANDARD.encode(ca),
    });
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "member", "cluster": cluster}],
        "users": [{"name": "convoy", "user": {"token": token}}],
        "contexts": [{"name": "member", "context": {"cluster": "member", "user": "convoy"}}],
        "current-context": "member",
    })
}
