//! Credentials for tests: a CA, and a client certificate of it.

use std::sync::OnceLock;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// Base64 of PEM, as kubeconfigs have it.
pub(super) struct Pki {
    pub(super) ca: String,
    pub(super) chain: String,
    pub(super) key: String,
    /// Of nobody.
    pub(super) other_key: String,
}

pub(super) fn pki() -> &'static Pki {
    static PKI: OnceLock<Pki> = OnceLock::new();
    PKI.get_or_init(|| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["convoy".to_owned()]).unwrap();
        let leaf = params.signed_by(&key, &ca).unwrap();
        Pki {
            ca: STANDARD.encode(ca.pem()),
            chain: STANDARD.encode(leaf.pem()),
            key: STANDARD.encode(key.serialize_pem()),
            other_key: STANDARD.encode(KeyPair::generate().unwrap().serialize_pem()),
        }
    })
}

/// A legal kubeconfig with a token.
pub(super) fn kubeconfig(server: &str, token: &str) -> String {
    let ca = &pki().ca;
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: member
  cluster:
    server: {server}
    certificate-authority-data: {ca}
users:
- name: convoy
  user:
    token: {token}
contexts:
- name: only
  context:
    cluster: member
    user: convoy
current-context: only
"
    )
}
