//! Node. Of what a kubelet reports every few seconds nothing is kept, so that it is no change.

use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    key::ObjectName,
    source::decode::{Trimmed, typed},
    store::{Node, Object},
};

/// Whatever its value; a node of the control plane often has it.
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// Only what is read: a status names every image on the node.
#[derive(Deserialize)]
struct Manifest {
    metadata: ObjectMeta,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    addresses: Option<Vec<Address>>,
    conditions: Option<Vec<Condition>>,
}

#[derive(Deserialize)]
struct Address {
    r#type: String,
    address: String,
}

#[derive(Deserialize)]
struct Condition {
    r#type: String,
    status: String,
}

pub(super) fn node(name: ObjectName, manifest: Value) -> Trimmed {
    let Manifest { metadata, status } = typed(manifest)?;
    let addresses = status.addresses.unwrap_or_default();
    let internal = addresses.iter().filter(|own| own.r#type == "InternalIP");
    let internal: Vec<IpAddr> = internal.filter_map(|own| own.address.parse().ok()).collect();
    let conditions = status.conditions.unwrap_or_default();
    let is_ready = conditions.iter().any(|own| own.r#type == "Ready" && own.status == "True");
    let is_excluded = metadata.labels.is_some_and(|labels| labels.contains_key(EXCLUDED));
    let node = Node {
        name,
        v4: internal.iter().find_map(|own| match own {
            IpAddr::V4(own) => Some(*own),
            IpAddr::V6(_) => None,
        }),
        v6: internal.iter().find_map(|own| match own {
            IpAddr::V4(_) => None,
            IpAddr::V6(own) => Some(*own),
        }),
        is_eligible: is_ready && !is_excluded && metadata.deletion_timestamp.is_none(),
    };
    Ok(Some(Object::Node(node.into())))
}
