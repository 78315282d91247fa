//! `MseIngressConfig` (`mse.alibabacloud.com/v1alpha1`): one object, one gateway (semantics.md 1.1).

use serde::Deserialize;

/// `spec`. Every field is optional and unknown ones are ignored, so that a vendor's manifest is
/// accepted verbatim; the gateway room judges the values.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MseIngressConfig {
    /// Name of the gateway instance.
    pub name: Option<String>,
    /// Instance size and network.
    pub common: Option<Common>,
    /// Tracing; logging is read by presence.
    pub monitor: Option<Monitor>,
    /// Which Ingresses the gateway listens to.
    pub ingress: Option<IngressSection>,
}

/// `spec.common`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Common {
    /// Replicas and size.
    pub instance: Option<Instance>,
}

/// `spec.common.instance`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Instance {
    /// `2c4g`, `4c8g`, `8c16g` or `16c32g`.
    pub spec: Option<String>,
    /// 0 to 30.
    pub replicas: Option<i64>,
}

/// `spec.monitor`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Monitor {
    /// At most one tracer.
    pub tracing: Option<Tracing>,
}

/// `spec.monitor.tracing`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tracing {
    /// Excludes `openTelemetry`.
    pub x_trace: Option<Sampling>,
    /// Excludes `xTrace`.
    pub open_telemetry: Option<Sampling>,
}

/// Sampling of a tracer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sampling {
    /// Percent as text, `"0"` to `"100"`.
    pub sample_rate: Option<String>,
}

/// `spec.ingress`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressSection {
    /// The fleet's own Ingresses.
    pub local: Option<IngressLocal>,
}

/// `spec.ingress.local`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressLocal {
    /// Unset: none. `""`: all. `"nginx"`: nginx or no class. Else: exactly that class.
    pub ingress_class: Option<String>,
    /// Empty: all namespaces. Else exactly one.
    pub watch_namespace: Option<String>,
}
