//! `MseIngressConfig` (`mse.alibabacloud.com/v1alpha1`): one object, one gateway (semantics.md 1.1).
//!
//! The schema refuses what is of another type, and keeps fields that it does not know. It judges
//! no value: an invalid gateway is an object with phase `Failed` (semantics.md 9, row 14).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::condition::conditions;

/// `spec`. Every field is optional and unknown ones are kept, so that a vendor's manifest is
/// accepted verbatim; what is wrong with the values is said in `status`.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "mse.alibabacloud.com",
    version = "v1alpha1",
    kind = "MseIngressConfig",
    plural = "mseingressconfigs",
    status = "MseIngressConfigStatus",
    derive = "PartialEq",
    doc = "A gateway: a named group of Envoys and the Ingresses that they serve.",
    printcolumn(name = "STATUS", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct MseIngressConfigSpec {
    /// Name of the gateway instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Instance size and network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub common: Option<Common>,
    /// Access log and tracing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor: Option<Monitor>,
    /// Which Ingresses the gateway listens to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<IngressSection>,
}

/// `spec.common`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct Common {
    /// Replicas and size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<Instance>,
}

/// `spec.common.instance`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct Instance {
    /// `2c4g`, `4c8g`, `8c16g` or `16c32g`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec: Option<String>,
    /// 0 to 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i64>,
}

/// `spec.monitor`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct Monitor {
    /// The access log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logging: Option<Logging>,
    /// At most one tracer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,
}

/// `spec.monitor.logging`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct Logging {
    /// Its presence, also empty, switches the access log on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sls: Option<Sls>,
}

/// `spec.monitor.logging.sls`. The vendor's project is not used: Envoys write to stdout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct Sls {}

/// `spec.monitor.tracing`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct Tracing {
    /// Excludes `openTelemetry`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x_trace: Option<Sampling>,
    /// Excludes `xTrace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_telemetry: Option<Sampling>,
}

/// Sampling of a tracer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct Sampling {
    /// Percent as text, `"0"` to `"100"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_rate: Option<String>,
}

/// `spec.ingress`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct IngressSection {
    /// The fleet's own Ingresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<IngressLocal>,
}

/// `spec.ingress.local`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct IngressLocal {
    /// Unset: none. `""`: all. `"nginx"`: nginx or no class. Else: exactly that class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress_class: Option<String>,
    /// Empty: all namespaces. Else exactly one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch_namespace: Option<String>,
}

/// `status` (semantics.md 1.2).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct MseIngressConfigStatus {
    /// How far the gateway is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Why it is there; empty if all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The members that `remote-clusters` names, in its order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_clusters: Option<Vec<RemoteCluster>>,
    /// The generation that the rest speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What holds and what does not, by type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// The gateway, as `convoy status` and node ids name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_id: Option<String>,
    /// Where clients reach the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancer>,
}

/// `status.phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Accepted; no Envoy has acknowledged its first configuration.
    Pending,
    /// An Envoy has its configuration; no Ingress is listened to yet.
    Running,
    /// Running, and listening to Ingresses.
    Listening,
    /// The spec is invalid, or no Envoy is left; `message` says which.
    Failed,
}

/// One entry of `status.remoteClusters`. A healthy one has its id only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct RemoteCluster {
    /// The member's id.
    pub cluster_id: String,
    /// `Failed`, or absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// `reason: detail`, or absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// `status.loadBalancer`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoadBalancer {
    /// Addresses of the gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<LoadBalancerIngress>,
}

/// One address of a gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoadBalancerIngress {
    /// An IP address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// A DNS name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
}
