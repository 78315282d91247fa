//! Certificates: one authority a test, leaves for any names.

use std::{net::IpAddr, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ClientConfig, RootCertStore, crypto::ring};

/// A certificate authority that the bed's clients trust.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: rcgen::Certificate,
}

/// A certificate and its key, as a Secret holds them.
pub(crate) struct Leaf {
    pub(crate) chain: String,
    pub(crate) key: String,
    /// To compare with what a server presents.
    pub(crate) der: Vec<u8>,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        Authority { issuer: Issuer::new(params, key), root }
    }

    /// A leaf for host names and addresses.
    pub(crate) fn leaf(&self, names: &[&str]) -> Leaf {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        Leaf { chain: leaf.pem(), key: key.serialize_pem(), der: leaf.der().to_vec() }
    }

    /// The root, as a kubeconfig carries it.
    #[allow(dead_code, reason = "the Envoy tests have no kubeconfig")]
    pub(crate) fn pem(&self) -> String {
        self.root.pem()
    }

    /// What a client needs to trust this authority and nobody else.
    pub(crate) fn trust(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

/// The name a client asks for: none if it is an address.
pub(crate) fn server_name(host: &str) -> rustls::pki_types::ServerName<'static> {
    host.parse::<IpAddr>().map_or_else(|_| host.to_owned().try_into().unwrap(), |ip| ip.into())
}
