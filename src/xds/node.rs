//! Which gateway an Envoy belongs to, and what it says about itself.
//!
//! Owns the reading of `node`. Must not know which gateways exist.

use envoy_types::pb::envoy::config::core::v3::{Node, node::UserAgentVersionType};

use crate::key::GatewayId;

/// The gateway that `node.cluster` names: `kind/name`, or the bare name. It need not exist; `None` if
/// no gateway can be meant.
pub(crate) fn by_cluster(cluster: &str) -> Option<GatewayId> {
    match cluster {
        "" => None,
        bare if !bare.contains('/') => Some(GatewayId::mse(bare)),
        id => GatewayId::parse(id),
    }
}

/// The version of the Envoy, as `1.40.0` where it says so.
pub(crate) fn agent_version(node: &Node) -> String {
    match &node.user_agent_version_type {
        Some(UserAgentVersionType::UserAgentVersion(text)) => text.clone(),
        Some(UserAgentVersionType::UserAgentBuildVersion(build)) => match &build.version {
            Some(v) => format!("{}.{}.{}", v.major_number, v.minor_number, v.patch),
            None => String::new(),
        },
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::by_cluster;

    #[track_caller]
    fn check(cluster: &str, expect: Option<&str>) {
        let id = by_cluster(cluster).map(|id| id.to_string());
        assert_eq!(id.as_deref(), expect, "{cluster}");
    }

    #[test]
    fn a_cluster_names_a_gateway_by_name_or_by_kind_and_name() {
        check("edge", Some("MseIngressConfig/edge"));
        check("MseIngressConfig/edge", Some("MseIngressConfig/edge"));
    }

    #[test]
    fn other_clusters_name_no_gateway() {
        for cluster in ["", "Gateway/edge", "MseIngressConfig/", "MseIngressConfig/a/b", "/edge"] {
            check(cluster, None);
        }
    }
}
