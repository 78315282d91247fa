//! Flags of a fleet on Kubernetes.
//!
//! Owns how they become what `serve` runs. Nothing is asked of the API here.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::{
    cli::{flags, member::NamespaceFlags},
    gateway::Address,
    key::ObjectName,
    rbac::LEASE,
    serve::Kubernetes,
    source::kube::connect,
    status::{self, identity},
};

/// Which cluster is the fleet, and what is written to it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Fleet on Kubernetes")]
pub(super) struct KubernetesFlags {
    /// Kubeconfig of the fleet; without it, $KUBECONFIG, ~/.kube/config, or the Pod's account
    #[arg(long, env = "CONVOY_KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig; without it, the current one
    #[arg(long, env = "CONVOY_CONTEXT", value_name = "NAME")]
    context: Option<String>,
    #[command(flatten)]
    namespaces: NamespaceFlags,
    /// Where clients reach the gateways, for `status.loadBalancer` of their Ingresses; a gateway's
    /// annotation `convoy.dev/publish-address` wins
    #[arg(
        long = "publish-address",
        env = "CONVOY_PUBLISH_ADDRESS",
        value_name = "IP|NAME",
        value_delimiter = ','
    )]
    publish_addresses: Vec<Address>,
    /// A Service of type LoadBalancer in the fleet whose addresses are published too
    #[arg(long, env = "CONVOY_PUBLISH_SERVICE", value_name = "NAMESPACE/NAME")]
    #[arg(value_parser = flags::namespaced)]
    publish_service: Option<ObjectName>,
    /// Namespace of the Lease that decides which replica writes status; without it, that of the
    /// Pod or of the kubeconfig's context
    #[arg(long, env = "CONVOY_LEASE_NAMESPACE", value_name = "NAMESPACE")]
    lease_namespace: Option<String>,
}

impl KubernetesFlags {
    /// The fleet that the flags mean. Errors if no credentials can be found.
    pub(super) async fn source(self) -> Result<Kubernetes> {
        let client = connect(self.kubeconfig.as_deref(), self.context.as_deref()).await;
        let client = client.context("find the fleet (or serve a directory with --fleet-dir)")?;
        let namespace = self.lease_namespace.unwrap_or(client.default_namespace().to_owned());
        let status = status::Options {
            identity: identity(),
            lease: ObjectName::new(&namespace, LEASE),
            publish_addresses: self.publish_addresses,
            publish_service: self.publish_service,
        };
        let namespaces = self.namespaces.namespaces();
        Ok(Kubernetes { client, namespaces, status: Some(status) })
    }
}
