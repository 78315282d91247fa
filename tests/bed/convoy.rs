//! The control plane under test, in this process: the only file that knows how it is started.

use convoy::{
    bootstrap::{
        self, AdminAddress, BootstrapOptions, DEFAULT_MAX_CONNECTIONS, DEFAULT_MAX_HEAP_BYTES,
        XdsAddress,
    },
    diag::Diag,
    serve::{self, Handle, Options, Source, XdsOptions, XdsSecurity},
    settings::{GatewayDefaults, Mechanisms, Timings},
    xds::XdsListen,
};

use super::{Variant, envoy::ADMIN, netns::CONTROL_PLANE};

/// Convoy, serving a fleet.
pub(crate) struct Convoy(Handle);

impl Convoy {
    pub(crate) async fn start(
        source: Source,
        security: XdsSecurity,
        mechanisms: Mechanisms,
        timings: Timings,
    ) -> Convoy {
        let options = Options {
            source,
            xds: XdsOptions { listen: XdsListen::Tcp(CONTROL_PLANE), security, tokens: false },
            admin_listen: (CONTROL_PLANE.ip(), 0).into(),
            defaults: GatewayDefaults::default(),
            mechanisms,
            timings,
        };
        Convoy(serve::start(options).await.unwrap())
    }

    /// Ends it; Envoys keep what they have.
    pub(crate) async fn stop(self) {
        self.0.shutdown().await.unwrap();
    }

    /// What it serves and to whom.
    pub(crate) fn handle(&self) -> &Handle {
        &self.0
    }

    /// What is wrong with the objects, now.
    pub(crate) fn diags(&self) -> Vec<Diag> {
        self.0.diagnostics().to_vec()
    }

    /// The sum of the published revisions of all gateways: it grows with every change of any.
    pub(crate) fn revision(&self) -> u64 {
        self.0.views().values().map(|view| view.revision).sum()
    }
}

/// How an Envoy of `gateway` is started.
pub(crate) fn bootstrap(gateway: &str, node: &str, variant: Variant) -> String {
    bootstrap::render(&bootstrap_options(gateway, node, variant))
}

/// The same before it is text.
pub(crate) fn bootstrap_options(gateway: &str, node: &str, variant: Variant) -> BootstrapOptions {
    let host = CONTROL_PLANE.ip().to_string();
    BootstrapOptions {
        gateway: gateway.to_owned(),
        node_id: node.to_owned(),
        xds: XdsAddress::Host { host, port: CONTROL_PLANE.port().try_into().unwrap() },
        tls: None,
        variant: match variant {
            Variant::Delta => bootstrap::Variant::Delta,
            Variant::Sotw => bootstrap::Variant::Sotw,
        },
        admin: AdminAddress::Tcp(ADMIN),
        metrics: None,
        max_heap_bytes: DEFAULT_MAX_HEAP_BYTES,
        max_connections: DEFAULT_MAX_CONNECTIONS,
    }
}
