//! `AlbConfig` (`alibabacloud.com/v1`): one object, one gateway (semantics.md 2.2).
//!
//! The schema refuses what is of another type, and keeps fields that it does not know. It judges
//! no value: what is wrong with one is said in `status`.

#![expect(clippy::duplicated_attributes, reason = "two printer columns may be of the same type")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    condition::conditions,
    mse_ingress_config::{LoadBalancerIngress, Phase, RemoteCluster},
};

/// `spec`. Every field is optional and unknown ones are kept, so that a vendor's manifest is
/// accepted verbatim.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "alibabacloud.com",
    version = "v1",
    kind = "AlbConfig",
    plural = "albconfigs",
    status = "AlbConfigStatus",
    derive = "PartialEq",
    doc = "A gateway: a named group of Envoys, its listeners, and the Ingresses that they serve.",
    printcolumn(name = "ALBID", type_ = "string", json_path = ".status.loadBalancer.id"),
    printcolumn(name = "DNSNAME", type_ = "string", json_path = ".status.loadBalancer.dnsname"),
    printcolumn(
        name = "PORT&PROTOCOL",
        type_ = "string",
        json_path = ".status.loadBalancer.listeners[*].portAndProtocol"
    ),
    printcolumn(
        name = "CERTID",
        type_ = "string",
        json_path = ".status.loadBalancer.listeners[*].certificates[*].certificateId"
    ),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct AlbConfigSpec {
    /// The instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<AlbInstance>,
    /// What the gateway listens on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listeners: Option<Vec<AlbListener>>,
}

/// `spec.config`. Other fields speak of the vendor's cloud.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct AlbInstance {
    /// Name of the instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `Internet` or `Intranet`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address_type: Option<String>,
    /// The access log; its presence switches it on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_log_config: Option<AccessLogConfig>,
}

/// `spec.config.accessLogConfig`. The vendor's project is not used: Envoys write to stdout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct AccessLogConfig {}

/// One of `spec.listeners`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct AlbListener {
    /// 1 to 65535; 80 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i64>,
    /// `HTTP`, `HTTPS` or `QUIC`; `HTTP` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Seconds that a connection may be idle; 15 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<i64>,
    /// Seconds that a backend may take to begin its answer; 60 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_timeout: Option<i64>,
    /// Whether answers are compressed; true if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gzip_enabled: Option<bool>,
    /// Whether clients may speak HTTP/2; true if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http2_enabled: Option<bool>,
    /// Whether clients must have a certificate of `caCertificates`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_enabled: Option<bool>,
    /// Certificates of the vendor's store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificates: Option<Vec<AlbCertificate>>,
    /// Who may connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acl_config: Option<AclConfig>,
}

/// One of `certificates` of a listener.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct AlbCertificate {
    /// Its id in the vendor's store.
    #[serde(rename = "CertificateId", skip_serializing_if = "Option::is_none")]
    pub certificate_id: Option<String>,
}

/// `aclConfig` of a listener.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct AclConfig {
    /// `White` or `Black`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acl_type: Option<String>,
    /// Ranges of addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acl_entries: Option<Vec<String>>,
    /// Lists of the vendor's store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acl_ids: Option<Vec<String>>,
}

/// `status`: what the vendor's has, and what every gateway of ours says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct AlbConfigStatus {
    /// How far the gateway is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Where clients reach the gateway, and on which ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<AlbLoadBalancer>,
    /// The members that `remote-clusters` names, in its order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_clusters: Option<Vec<RemoteCluster>>,
    /// Why the gateway is no better; empty if all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The generation that the rest speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What holds and what does not, by type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// `status.loadBalancer`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlbLoadBalancer {
    /// The gateway, as `convoy status` and node ids name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its first address or DNS name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dnsname: Option<String>,
    /// What it listens on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<AlbListenerStatus>,
    /// All its addresses, as an `MseIngressConfig` has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<LoadBalancerIngress>,
}

/// One of `status.loadBalancer.listeners`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlbListenerStatus {
    /// `8001/HTTP`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_and_protocol: Option<String>,
    /// What it proves itself with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<AlbCertificateStatus>,
}

/// One of `certificates` of a listener's status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlbCertificateStatus {
    /// The Secret, as `namespace/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_id: Option<String>,
}
