//! Who an Envoy is, and what Convoy proves itself with.
//!
//! Owns the name of an Envoy in a certificate, the certificates that xDS is served with (`files` that
//! somebody brings, or Convoy's own `authority`), and the tokens that stand in for a certificate.
//! Must not know what an Envoy is served, nor how it connects. Cost: one look at a Secret or at three
//! small files every ten seconds.

pub mod authority;
mod expiry;
pub mod files;
pub mod material;
mod report;
pub mod token;

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::key::GatewayId;

pub use material::{Material, Materials};
pub use report::Report;

/// What the URI of an Envoy begins with; the id of its gateway follows.
const TRUST_DOMAIN: &str = "spiffe://convoy/";

/// How much of what a certificate says is repeated.
const MAX_FOUND: usize = 200;

/// URI SAN of the Envoys of a gateway.
pub fn spiffe_id(gateway: &GatewayId) -> String {
    format!("{TRUST_DOMAIN}{gateway}")
}

/// Why a certificate names no gateway. Who signed it was checked before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not a certificate, or one with broken extensions.
    #[error("the certificate cannot be parsed")]
    Unreadable,
    /// The names it has instead.
    #[error("the certificate has no URI {TRUST_DOMAIN}KIND/NAME; its names are: {0}")]
    NoGateway(String),
    /// Those that it names.
    #[error("the certificate names more than one gateway: {0}")]
    Several(String),
}

/// The gateway whose Envoy a certificate is for: the one URI SAN in the trust domain of Convoy.
///
/// # Errors
/// There is none or more than one.
pub fn gateway_of(certificate: &CertificateDer<'_>) -> Result<GatewayId, IdentityError> {
    let Ok(([], certificate)) = X509Certificate::from_der(certificate) else {
        return Err(IdentityError::Unreadable);
    };
    let names = certificate.subject_alternative_name().map_err(|_| IdentityError::Unreadable)?;
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let ours: Vec<&str> = names
        .iter()
        .filter_map(|name| {
            if let GeneralName::URI(uri) = name { uri.strip_prefix(TRUST_DOMAIN) } else { None }
        })
        .collect();
    let none = || {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        IdentityError::NoGateway(cut(if names.is_empty() {
            "none".into()
        } else {
            names.join(", ")
        }))
    };
    match ours.as_slice() {
        [one] => GatewayId::parse(one).ok_or_else(none),
        [] => Err(none()),
        several => Err(IdentityError::Several(cut(several.join(", ")))),
    }
}

fn cut(text: String) -> String {
    text.chars().take(MAX_FOUND).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    /// What a certificate with these URIs and host names is taken for.
    #[track_caller]
    fn check(uris: &[&str], hosts: &[&str], expect: Result<&str, &str>) {
        let mut params = CertificateParams::default();
        let uri = |uri: &&str| SanType::URI((*uri).try_into().unwrap());
        let host = |host: &&str| SanType::DnsName((*host).try_into().unwrap());
        params.subject_alt_names = uris.iter().map(uri).chain(hosts.iter().map(host)).collect();
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let found = gateway_of(certificate.der()).map(|id| id.to_string());
        match (found, expect) {
            (Ok(found), Ok(expect)) => assert_eq!(found, expect),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, _) => panic!("{uris:?} {hosts:?}: {found:?}"),
        }
    }

    #[test]
    fn a_certificate_is_for_the_gateway_of_its_one_uri() {
        let web = spiffe_id(&GatewayId::mse("web"));
        assert_eq!(web, "spiffe://convoy/MseIngressConfig/web");
        check(&[&web], &[], Ok("MseIngressConfig/web"));
        check(&[&web], &["web.example.com"], Ok("MseIngressConfig/web"));
        check(&["spiffe://cluster.local/ns/a/sa/b", &web], &[], Ok("MseIngressConfig/web"));
    }

    #[test]
    fn fault_s01_other_certificates_are_for_no_gateway() {
        let web = spiffe_id(&GatewayId::mse("web"));
        let second = spiffe_id(&GatewayId::mse("second"));
        check(&[], &[], Err("its names are: none"));
        check(&[], &["web"], Err("web"));
        check(&["spiffe://cluster.local/ns/a/sa/web"], &[], Err("cluster.local"));
        check(&["spiffe://convoy/Ingress/a/b"], &[], Err("Ingress/a/b"));
        check(&["spiffe://convoy/web"], &[], Err("no URI"));
        check(&["spiffe://convoy/MseIngressConfig/"], &[], Err("no URI"));
        check(&["spiffe://convoy/MseIngressConfig/web/x"], &[], Err("no URI"));
        check(&["spiffe://convoy.evil/MseIngressConfig/web"], &[], Err("convoy.evil"));
        check(&[&web, &second], &[], Err("more than one"));
        let garbage = CertificateDer::from(vec![0x30, 0x03, 1, 2, 3]);
        assert_eq!(gateway_of(&garbage), Err(IdentityError::Unreadable));
    }
}
