//! CRD types, one kind a file. Must not know anything else.

mod alb_config;
mod condition;
mod member_cluster;
mod mse_ingress_config;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

pub use alb_config::*;
pub use member_cluster::*;
pub use mse_ingress_config::*;

/// Every kind of ours, as it is installed, by name.
pub fn crds() -> [CustomResourceDefinition; 3] {
    [AlbConfig::crd(), MemberCluster::crd(), MseIngressConfig::crd()]
}
