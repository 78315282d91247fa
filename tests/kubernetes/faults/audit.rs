//! Audit logs against the table of what Convoy may do (rows S3 and S4).

use std::collections::BTreeSet;

use convoy::rbac::{FLEET_ACCOUNT, FleetAccess, MEMBER_ACCOUNT, Role, fleet_roles, member_roles};
use convoy::source::registry::{DEFAULT_NAMESPACES, Network};
use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::Value;

use crate::{clusters::cluster::Cluster, rows::figure, scene::Scene};

/// One request of an account, as an audit log has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Request {
    pub(super) verb: String,
    pub(super) group: String,
    /// With its subresource; a path, where it is no resource.
    pub(super) resource: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uri: String,
}
