//! `MemberCluster` (`convoy.dev/v1alpha1`): one object, one member.

#![expect(clippy::duplicated_attributes, reason = "two printer columns may be of the same type")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::condition::conditions;

/// `spec`.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "convoy.dev",
    version = "v1alpha1",
    kind = "MemberCluster",
    plural = "memberclusters",
    shortname = "mcl",
    category = "convoy",
    status = "MemberClusterStatus",
    derive = "PartialEq",
    doc = "A cluster whose Services the gateways of the fleet may use.",
    printcolumn(name = "ID", type_ = "string", json_path = ".spec.id"),
    printcolumn(
        name = "CONNECTED",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Connected")].status"#
    ),
    printcolumn(
        name = "SYNCED",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Synced")].status"#
    ),
    printcolumn(name = "SERVICES", type_ = "integer", json_path = ".status.services"),
    printcolumn(name = "ENDPOINTS", type_ = "integer", json_path = ".status.endpoints"),
    printcolumn(name = "LAST CONTACT", type_ = "date", json_path = ".status.lastContact"),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct MemberClusterSpec {
    /// The member, as `remote-clusters` names it. It cannot change: another id is another member.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[A-Za-z0-9._-]+$"))]
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": "self == oldSelf", "message": "the id of a member cannot change"},
    ]))]
    pub id: String,
    /// The Secret with the kubeconfig; without it, the member is the fleet itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// Region of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub region: Option<String>,
    /// Zone of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub zone: Option<String>,
    /// How Envoys reach the Pods of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<MemberNetwork>,
    /// Where its endpoints may be; others are dropped. Without it, anywhere.
    #[serde(rename = "allowedEndpointCIDRs", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(regex(pattern = "^[0-9A-Fa-f.:]+/[0-9]{1,3}$")))]
    pub allowed_endpoint_cidrs: Option<Vec<String>>,
    /// The namespaces whose Services it may offer; others offer nothing. Without it, all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 63)))]
    pub allowed_namespaces: Option<Vec<String>>,
    /// Leave the API of the cluster alone and keep what is known of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

/// `spec.secretRef`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SecretRef {
    /// One of the namespaces in which Convoy reads registrations.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key of the kubeconfig in the Secret; without it, `kubeconfig`, or the only key there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}

/// `spec.network`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MemberNetwork {
    /// Pod addresses are routable. The default.
    Underlay,
    /// Through NodePorts.
    Overlay,
}

/// `status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberClusterStatus {
    /// `Connected`, `Synced` and `AddressConflict`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// How many Services it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<i64>,
    /// How many ready endpoints it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<i64>,
    /// When its API last answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub last_contact: Option<Time>,
    /// The generation that the rest speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

fn time(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "description": "When its API last answered.",
        "type": "string",
        "format": "date-time",
        "nullable": true,
    })
}
