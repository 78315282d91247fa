//! Flags of a fleet on Kubernetes.
//!
//! Owns how they become what `serve` runs. Nothing is asked of the API here.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use clap::Args;
use kube::Client;

use crate::{
    bootstrap::XdsAddress,
    cli::{flags, member::NamespaceFlags},
    gateway::Address,
    infra::{self, Certificates, ServiceType},
    key::ObjectName,
    rbac::LEASE,
    serve::{Kubernetes, XdsSecurity},
    source::{kube::config, registry::numeric_address},
    status::{self, identity},
};

/// Where Convoy's own Service is reached, as the chart makes it.
const XDS_PORT: u16 = 18000;

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
    #[command(flatten)]
    managed: ManagedFlags,
}

/// How the Envoys of gateways are kept.
#[derive(Debug, Args)]
#[command(next_help_heading = "Managed gateways")]
struct ManagedFlags {
    /// Keep for each gateway a Deployment of Envoys with everything around it, in the namespace of
    /// the Lease
    ///
    /// Ports below 1024 are bound 8000 higher, and the gateway's Service maps them. The account
    /// needs the rights that `convoy account --manage-gateways` prints.
    #[arg(long, env = "CONVOY_MANAGE_GATEWAYS")]
    manage_gateways: bool,
    /// Image of Envoy
    #[arg(long, env = "CONVOY_GATEWAY_IMAGE", value_name = "IMAGE")]
    #[arg(default_value = infra::DEFAULT_IMAGE)]
    gateway_image: String,
    /// Image of Convoy, which drains an Envoy that stops. Gateways are rolled when it changes; an older
    /// one does as well
    #[arg(long, env = "CONVOY_GATEWAY_DRAIN_IMAGE", value_name = "IMAGE")]
    #[arg(required_if_eq("manage_gateways", "true"))]
    gateway_drain_image: Option<String>,
    /// Where managed Envoys reach --xds-listen; without it, port 18000 of the Service `convoy` in the
    /// namespace of the Lease
    #[arg(long, env = "CONVOY_GATEWAY_XDS", value_name = "HOST:PORT")]
    gateway_xds: Option<XdsAddress>,
    /// How long the connections of an Envoy that stops are drained
    #[arg(long, env = "CONVOY_GATEWAY_DRAIN_SECONDS", value_name = "SECONDS")]
    #[arg(default_value_t = infra::DEFAULT_DRAIN.as_secs())]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    gateway_drain_seconds: u64,
    /// `LoadBalancer`, `NodePort` or `ClusterIP`
    #[arg(long, env = "CONVOY_GATEWAY_SERVICE_TYPE", value_name = "TYPE")]
    #[arg(default_value_t = ServiceType::LoadBalancer)]
    gateway_service_type: ServiceType,
}

/// What managed Envoys prove themselves with, where Convoy serves them so.
pub(super) fn certificates(security: &XdsSecurity) -> Certificates {
    match security {
        XdsSecurity::Plaintext => Certificates::None,
        XdsSecurity::Files(_) => Certificates::Brought,
        XdsSecurity::Authority(_) => Certificates::Issued,
    }
}

impl ManagedFlags {
    /// What is kept in a namespace, if anything is.
    fn options(self, namespace: &str) -> Result<Option<infra::Options>> {
        let Some(drain_image) = self.gateway_drain_image.filter(|_| self.manage_gateways) else {
            return Ok(None);
        };
        let usual = || format!("convoy.{namespace}.svc:{XDS_PORT}").parse();
        Ok(Some(infra::Options {
            namespace: namespace.to_owned(),
            image: self.gateway_image,
            drain_image,
            xds: self.gateway_xds.map_or_else(usual, Ok)?,
            certificates: Certificates::Issued,
            drain: Duration::from_secs(self.gateway_drain_seconds),
            service_type: self.gateway_service_type,
        }))
    }
}

impl KubernetesFlags {
    /// Whether the Envoys of gateways are kept too.
    pub(super) fn manages_gateways(&self) -> bool {
        self.managed.manage_gateways
    }

    /// The fleet that the flags mean. Errors if no credentials can be found.
    pub(super) async fn source(self) -> Result<Kubernetes> {
        let config = config(self.kubeconfig.as_deref(), self.context.as_deref()).await;
        let config = config.context("find the fleet (or serve a directory with --fleet-dir)")?;
        let api_server = numeric_address(&config.cluster_url);
        let client = Client::try_from(config).context("set up a client of the fleet")?;
        let namespace = self.lease_namespace.unwrap_or(client.default_namespace().to_owned());
        let status = status::Options {
            identity: identity(),
            lease: ObjectName::new(&namespace, LEASE),
            publish_addresses: self.publish_addresses,
            publish_service: self.publish_service,
        };
        let namespaces = self.namespaces.namespaces();
        let infra = self.managed.options(&namespace)?;
        Ok(Kubernetes { client, api_server, namespaces, status: Some(status), infra })
    }
}
