//! Certificates: one authority a test, leaves for any names.

use std::{net::IpAddr, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, SanType,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{PrivateKeyDer, pem::PemObject},
    sign::{CertifiedKey, SingleCertAndKey},
};

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
        // A verifier finds an issuer by its name: no two have the same one.
        let id = params.key_identifier(&key);
        let id: String = id.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        params.distinguished_name = named(&format!("authority {id}"));
        let root = params.self_signed(&key).unwrap();
        Authority { issuer: Issuer::new(params, key), root }
    }

    /// A leaf for host names and addresses.
    pub(crate) fn leaf(&self, names: &[&str]) -> Leaf {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        self.sign(CertificateParams::new(names).unwrap())
    }

    /// A leaf whose names are URIs, as those of Envoys are.
    #[allow(dead_code, reason = "not every test program has Envoys that prove who they are")]
    pub(crate) fn leaf_of(&self, uris: &[&str]) -> Leaf {
        self.sign(uris_of(uris))
    }

    /// A leaf of any kind.
    pub(crate) fn sign(&self, mut params: CertificateParams) -> Leaf {
        // Its issuer's name would make it one that has signed itself.
        params.distinguished_name = named("leaf");
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        Leaf { chain: leaf.pem(), key: key.serialize_pem(), der: leaf.der().to_vec() }
    }

    /// The root, as a kubeconfig carries it.
    #[allow(dead_code, reason = "not every test program writes it to a file")]
    pub(crate) fn pem(&self) -> String {
        self.root.pem()
    }

    /// The root, as TLS libraries take it.
    #[allow(dead_code, reason = "not every test program is a server itself")]
    pub(crate) fn der(&self) -> rustls::pki_types::CertificateDer<'static> {
        self.root.der().clone()
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

    /// The same for a client that has a certificate of its own.
    #[allow(dead_code, reason = "only the protocol's tests are Envoys themselves")]
    pub(crate) fn trust_as(&self, own: &Leaf) -> Arc<ClientConfig> {
        let mut config = (*self.trust()).clone();
        let resolver = CertifiedKey::from_der(
            vec![own.der.clone().into()],
            PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap(),
            &ring::default_provider(),
        );
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(resolver.unwrap()));
        Arc::new(config)
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

/// What a leaf with these URIs is made of.
#[allow(dead_code, reason = "not every test program has Envoys that prove who they are")]
pub(crate) fn uris_of(uris: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names =
        uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    params
}

/// The name a client asks for: none if it is an address.
pub(crate) fn server_name(host: &str) -> rustls::pki_types::ServerName<'static> {
    host.parse::<IpAddr>().map_or_else(|_| host.to_owned().try_into().unwrap(), |ip| ip.into())
}
