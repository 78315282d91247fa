//! The authority of one moment: what it issues, and what is due to be issued anew.
//!
//! Owns what the certificate of an Envoy says and when it is due. Must not know how the authority
//! came about, nor where certificates are kept.

use std::{fmt, sync::Arc, time::SystemTime};

use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
};

use crate::{
    identity::{
        authority::{
            certificate::{Purpose, pem, validity},
            content::Content,
        },
        material::Material,
        spiffe_id,
    },
    key::GatewayId,
    settings::IdentityTimings,
};

/// Why nothing was issued: no key could be made, or a name is not legal in a certificate.
#[derive(Debug, thiserror::Error)]
#[error("issue a certificate: {0}")]
pub struct IssueError(#[from] rcgen::Error);

/// An authority as it is at a moment, with the bundle that is to be trusted.
#[derive(Debug, PartialEq, Eq)]
pub struct Authority {
    content: Content,
    bundle: String,
    timings: IdentityTimings,
}

/// A certificate of the Envoys of a gateway, as a Secret of type `kubernetes.io/tls` holds it.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// PEM; `tls.crt`.
    pub certificate: String,
    /// PEM; `tls.key`.
    pub key: String,
    /// PEM of every authority that is to be trusted; `ca.crt`.
    pub authorities: String,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Issued { certificate, key: _, authorities: _ } = self;
        f.debug_struct("Issued").field("certificate", certificate).finish_non_exhaustive()
    }
}

impl Authority {
    pub(super) fn new(content: Content, timings: IdentityTimings) -> Authority {
        Authority { bundle: content.bundle(), content, timings }
    }

    pub(super) fn content(&self) -> &Content {
        &self.content
    }

    /// A new key and certificate for the Envoys of a gateway.
    ///
    /// # Errors
    /// No key can be made, or the gateway's name is not ASCII.
    pub fn issue(&self, gateway: &GatewayId, now: SystemTime) -> Result<Issued, IssueError> {
        let purpose = Purpose::Client(spiffe_id(gateway));
        let IdentityTimings { skew, leaf, .. } = self.timings;
        let leaf = self.content.signer.sign(purpose, now, skew, leaf)?;
        Ok(Issued {
            certificate: pem([&leaf.der]),
            key: leaf.key.serialize_pem(),
            authorities: self.bundle.clone(),
        })
    }

    /// Whether the Envoys of a gateway should get another certificate than the one that they have:
    /// it is past two thirds of its life, another authority signs now, others are to be trusted, or
    /// it is not a certificate of that gateway with its key at all.
    pub fn is_due(&self, have: Option<&Issued>, gateway: &GatewayId, now: SystemTime) -> bool {
        let Some(Issued { certificate, key, authorities }) = have else { return true };
        let is_good = || {
            let der = CertificateDer::from_pem_slice(certificate.as_bytes()).ok()?;
            let (_, leaf) = X509Certificate::from_der(&der).ok()?;
            let key = KeyPair::from_pem(key).ok()?;
            let good = leaf.public_key().raw == key.subject_public_key_info()
                && leaf.issuer().as_raw() == self.content.signer.root.subject
                && is_named(&leaf, &spiffe_id(gateway))
                && now < validity(&leaf).due();
            Some(good)
        };
        *authorities != self.bundle || is_good() != Some(true)
    }

    /// What Convoy itself serves with, and when it should be replaced.
    pub(super) fn server(&self, names: &[String], now: SystemTime) -> Result<Server, IssueError> {
        let purpose = Purpose::Server(names.to_vec());
        let IdentityTimings { skew, leaf, .. } = self.timings;
        let leaf = self.content.signer.sign(purpose, now, skew, leaf)?;
        let key = PrivateKeyDer::Pkcs8(leaf.key.serialize_der().into());
        let material = Material {
            chain: vec![leaf.der],
            key: Arc::new(key),
            authorities: self.content.trusted().map(|root| root.der.clone()).collect(),
        };
        let (due, end) = (leaf.validity.due(), leaf.validity.not_after);
        Ok(Server { material: Arc::new(material), due, end })
    }
}

/// A certificate of Convoy.
pub(super) struct Server {
    pub(super) material: Arc<Material>,
    pub(super) due: SystemTime,
    pub(super) end: SystemTime,
}

fn is_named(leaf: &X509Certificate<'_>, uri: &str) -> bool {
    let Ok(Some(names)) = leaf.subject_alternative_name() else { return false };
    matches!(names.value.general_names.as_slice(), [GeneralName::URI(own)] if *own == uri)
}
