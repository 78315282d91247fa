//! What an Envoy says about itself.
//!
//! Owns the reading of `node`.

use envoy_types::pb::envoy::config::core::v3::{Node, node::UserAgentVersionType};

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
