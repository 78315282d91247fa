//! Certificates as Convoy makes them: ECDSA P-256, whole seconds, valid since a little before now.
//!
//! Owns their extensions and how those of an authority are read back. Must not know why one is made
//! nor where it is kept. Cost: a key and a signature are tenths of a millisecond.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::source::decode::write_pem;

/// From when on a certificate is due: at this share of its life, as cert-manager and ACME clients
/// do it. What is left is the time to notice that it does not work.
const DUE: (u32, u32) = (2, 3);

/// Both included, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

impl Validity {
    /// From `skew` before `now` until `life` after it, but no longer than `limit`.
    fn new(now: SystemTime, skew: Duration, life: Duration, limit: Option<SystemTime>) -> Validity {
        let now = whole(now);
        let not_after = now + life;
        let not_after = limit.map_or(not_after, |limit| not_after.min(limit));
        Validity { not_before: now - skew, not_after }
    }

    pub(super) fn has_ended(&self, now: SystemTime) -> bool {
        now > self.not_after
    }

    /// When it should be replaced.
    pub(super) fn due(&self) -> SystemTime {
        let life = self.not_after.duration_since(self.not_before).unwrap_or_default();
        self.not_before + life * DUE.0 / DUE.1
    }
}

/// Times of certificates have no fractions.
pub(super) fn whole(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

/// A certificate of an authority.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) der: CertificateDer<'static>,
    pub(super) validity: Validity,
    /// As encoded; no two authorities that Convoy makes have the same one.
    pub(super) subject: Vec<u8>,
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Root { der: _, validity, subject: _ } = self;
        f.debug_struct("Root").field("validity", validity).finish_non_exhaustive()
    }
}

impl Root {
    fn parse(der: CertificateDer<'static>) -> Result<(Root, Vec<u8>), String> {
        let Ok(([], certificate)) = X509Certificate::from_der(&der) else {
            return Err("holds a certificate that cannot be parsed".to_owned());
        };
        if !certificate.is_ca() {
            return Err("holds a certificate that is not an authority's".to_owned());
        }
        let validity = validity(&certificate);
        let subject = certificate.subject().as_raw().to_vec();
        let public_key = certificate.public_key().raw.to_vec();
        Ok((Root { der, validity, subject }, public_key))
    }

    /// Every certificate of a bundle.
    pub(super) fn all(pem: &[u8]) -> Result<Vec<Root>, String> {
        let ders = CertificateDer::pem_slice_iter(pem);
        ders.map(|der| Ok(Root::parse(der.map_err(|_| "is not legal PEM")?)?.0)).collect()
    }
}

/// An authority: a certificate and its key.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) root: Root,
    key: Arc<KeyPair>,
}

impl PartialEq for Pair {
    fn eq(&self, other: &Pair) -> bool {
        self.root == other.root && self.key.serialized_der() == other.key.serialized_der()
    }
}

impl Eq for Pair {}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pair { root, key: _ } = self;
        f.debug_struct("Pair").field("root", root).finish_non_exhaustive()
    }
}

impl Pair {
    /// A new authority.
    pub(super) fn new(
        now: SystemTime,
        skew: Duration,
        life: Duration,
    ) -> Result<Pair, rcgen::Error> {
        let key = KeyPair::generate()?;
        let validity = Validity::new(now, skew, life, None);
        let mut params = params(&validity);
        // Named after its key: verifiers look for an issuer by its name.
        let id: String =
            params.key_identifier(&key).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        params.distinguished_name.push(DnType::CommonName, format!("Convoy authority {id}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let der = params.self_signed(&key)?.der().clone();
        let (root, _) = Root::parse(der).map_err(|_| rcgen::Error::CouldNotParseCertificate)?;
        Ok(Pair { root, key: Arc::new(key) })
    }

    /// The authority that is kept as this PEM.
    pub(super) fn parse(certificate: &[u8], key: &[u8]) -> Result<Pair, String> {
        let mut ders = CertificateDer::pem_slice_iter(certificate);
        let (Some(Ok(der)), None) = (ders.next(), ders.next()) else {
            return Err("the certificate is not legal PEM of exactly one".to_owned());
        };
        let (root, public_key) =
            Root::parse(der).map_err(|why| format!("the certificate's PEM {why}"))?;
        let key = std::str::from_utf8(key).ok().and_then(|pem| KeyPair::from_pem(pem).ok());
        let key = key.ok_or("the key is not legal PEM of a PKCS#8 key")?;
        if key.subject_public_key_info() != public_key {
            return Err("the key does not belong to the certificate".to_owned());
        }
        Ok(Pair { root, key: Arc::new(key) })
    }

    pub(super) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// Signs a certificate for a new key. It ends with the authority at the latest.
    pub(super) fn sign(
        &self,
        purpose: Purpose,
        now: SystemTime,
        skew: Duration,
        life: Duration,
    ) -> Result<Leaf, rcgen::Error> {
        let key = KeyPair::generate()?;
        let validity = Validity::new(now, skew, life, Some(self.root.validity.not_after));
        let mut params = params(&validity);
        let (name, usage, names) = match purpose {
            Purpose::Server(names) => {
                let names =
                    names.iter().map(|name| Ok(SanType::DnsName(name.as_str().try_into()?)));
                ("Convoy", ExtendedKeyUsagePurpose::ServerAuth, names.collect::<Result<_, _>>()?)
            }
            Purpose::Client(uri) => {
                let names = vec![SanType::URI(uri.try_into()?)];
                ("Envoy of Convoy", ExtendedKeyUsagePurpose::ClientAuth, names)
            }
        };
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let issuer = Issuer::from_ca_cert_der(&self.root.der, &*self.key)?;
        let der = params.signed_by(&key, &issuer)?.der().clone();
        Ok(Leaf { der, key, validity })
    }
}

/// What a certificate is for.
pub(super) enum Purpose {
    /// Convoy, by these DNS names.
    Server(Vec<String>),
    /// Envoys, by this URI.
    Client(String),
}

/// A certificate that was just issued.
pub(super) struct Leaf {
    pub(super) der: CertificateDer<'static>,
    pub(super) key: KeyPair,
    pub(super) validity: Validity,
}

fn params(validity: &Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = OffsetDateTime::from(validity.not_before);
    params.not_after = OffsetDateTime::from(validity.not_after);
    params.distinguished_name = DistinguishedName::new();
    params
}

/// When a certificate is valid.
pub(super) fn validity(certificate: &X509Certificate<'_>) -> Validity {
    let time = |at: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(at).unwrap_or_default());
    let own = certificate.validity();
    Validity {
        not_before: time(own.not_before.timestamp()),
        not_after: time(own.not_after.timestamp()),
    }
}

/// Certificates as PEM, one after the other.
pub(super) fn pem<'a>(ders: impl IntoIterator<Item = &'a CertificateDer<'static>>) -> String {
    let mut out = String::new();
    ders.into_iter().for_each(|der| write_pem(&mut out, "CERTIFICATE", der));
    out
}
