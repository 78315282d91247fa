//! TLS Secrets: is what they hold fit to be served? (faults.md F8–F11)
//!
//! Owns the verdict on a certificate and its key. Envoy would refuse some of what is refused
//! here and take the listener's certificate with it (M8, M10), and would accept the rest (M9).
//! No message holds content of the Secret (S6).

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1 as core;
use rustls::{crypto::ring::sign, sign::SigningKey};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{PemObject, SectionKind},
};
use serde_json::Value;
use x509_parser::{
    certificate::X509Certificate, prelude::FromDer, public_key::PublicKey,
    x509::SubjectPublicKeyInfo,
};

use crate::{
    key::ObjectName,
    source::decode::{Findings, Refusal, Trimmed, cut, typed},
    store::{KeyPair, Object, Secret},
};

const TLS_TYPE: &str = "kubernetes.io/tls";

/// Of the chain, and of the key: four certificates of the largest usual size (faults.md F9).
const MAX_PEM_BYTES: usize = 16 << 10;

/// BoringSSL refuses shorter RSA keys.
const MIN_RSA_BITS: usize = 2048;

pub(super) fn secret(name: ObjectName, manifest: Value, findings: &mut Findings) -> Trimmed {
    let manifest: core::Secret = typed(manifest).map_err(without_content)?;
    let verdict = match manifest.type_.as_deref() {
        Some(TLS_TYPE) => judge(&content(&manifest, "tls.crt"), &content(&manifest, "tls.key")),
        Some(other) => Err(format!("its type is `{}`, not `{TLS_TYPE}`", cut(other))),
        None => Err(format!("its type is not `{TLS_TYPE}`")),
    };
    let secret = match verdict {
        Ok(Judged { pair, validity }) => {
            let (problem, judge_again) = validity.at(findings.now);
            findings.judge_again = judge_again;
            Secret { name, pair: Some(pair.into()), problem }
        }
        Err(problem) => Secret { name, pair: None, problem: Some(problem) },
    };
    Ok(Some(Object::Secret(secret.into())))
}

/// The message of a type error quotes the value.
fn without_content(refusal: Refusal) -> Refusal {
    Refusal { message: "not of the type that a Secret has here".to_owned(), ..refusal }
}

fn content(manifest: &core::Secret, key: &str) -> Vec<u8> {
    let plain = manifest.string_data.as_ref().and_then(|data| data.get(key));
    let encoded = || manifest.data.as_ref()?.get(key).map(|bytes| bytes.0.clone());
    plain.map(|text| text.clone().into_bytes()).or_else(encoded).unwrap_or_default()
}

/// A pair that may be served at some time.
struct Judged {
    pair: KeyPair,
    validity: Validity,
}

/// Seconds since 1970, both included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Validity {
    not_before: i64,
    pub(crate) not_after: i64,
}

impl Validity {
    /// What is wrong at `now`, and when the answer changes.
    pub(crate) fn at(&self, now: i64) -> (Option<String>, Option<i64>) {
        if now < self.not_before {
            (Some("the certificate is not valid yet".to_owned()), Some(self.not_before))
        } else if now <= self.not_after {
            (None, self.not_after.checked_add(1))
        } else {
            (Some("the certificate has expired".to_owned()), None)
        }
    }
}

/// A chain, leaf first, and the key of its leaf.
pub(crate) struct Checked {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    /// Of the leaf.
    pub(crate) validity: Validity,
}

fn judge(chain: &[u8], key: &[u8]) -> Result<Judged, String> {
    let Checked { chain, key, validity } = check(chain, key)?;
    let mut pem = String::new();
    for der in &chain {
        write_pem(&mut pem, "CERTIFICATE", der);
    }
    let pair = KeyPair { chain: pem.into_bytes(), key: key_pem(&key)?.into_bytes() };
    Ok(Judged { pair, validity })
}

/// Whether `tls.crt` and `tls.key` belong together and can be served, whatever the time.
pub(crate) fn check(chain: &[u8], key: &[u8]) -> Result<Checked, String> {
    for (name, pem) in [("tls.crt", chain), ("tls.key", key)] {
        if pem.is_empty() {
            return Err(format!("`{name}` is missing"));
        }
        if pem.len() > MAX_PEM_BYTES {
            return Err(format!("`{name}` has {} bytes, more than {MAX_PEM_BYTES}", pem.len()));
        }
    }
    let ders = certificates(chain)?;
    let certificates: Vec<_> = ders.iter().map(certificate).collect::<Result<_, _>>()?;
    let Some(leaf) = certificates.first() else {
        return Err("`tls.crt` holds no certificate".to_owned());
    };
    check_public_key(leaf.public_key())?;
    let key = private_key(key)?;
    check_match(&certificates, &*signing_key(&key)?)?;
    check_order(&certificates)?;
    let validity = Validity {
        not_before: leaf.validity().not_before.timestamp(),
        not_after: leaf.validity().not_after.timestamp(),
    };
    Ok(Checked { chain: ders, key, validity })
}

/// Envoy would also take sections of other names for certificates; what is served is therefore
/// written anew from what was checked.
fn certificates(chain: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(chain);
    let sections: Vec<_> =
        sections.collect::<Result<_, _>>().map_err(|_| "`tls.crt` is not legal PEM".to_owned())?;
    let certificates = sections.into_iter().map(|(kind, der)| {
        let is_certificate = kind == SectionKind::Certificate;
        let foreign = || "`tls.crt` holds something that is not a certificate".to_owned();
        is_certificate.then(|| CertificateDer::from(der)).ok_or_else(foreign)
    });
    certificates.collect()
}

fn certificate<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, String> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err("`tls.crt` holds a certificate that cannot be parsed".to_owned()),
    }
}

fn check_public_key(key: &SubjectPublicKeyInfo<'_>) -> Result<(), String> {
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) if rsa.key_size() < MIN_RSA_BITS => {
            Err(format!("an RSA key of {} bits; {MIN_RSA_BITS} are the least", rsa.key_size()))
        }
        Ok(PublicKey::RSA(_) | PublicKey::EC(_)) => Ok(()),
        Ok(_) | Err(_) => Err("the certificate's key is neither RSA nor ECDSA".to_owned()),
    }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    if pem.windows(9).any(|window| window == b"ENCRYPTED") {
        return Err("`tls.key` is encrypted".to_owned());
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| "`tls.key` holds no private key".to_owned())
}

fn signing_key(key: &PrivateKeyDer<'_>) -> Result<std::sync::Arc<dyn SigningKey>, String> {
    sign::any_supported_type(key)
        .map_err(|_| "the kind of key in `tls.key` is not usable".to_owned())
}

fn check_match(chain: &[X509Certificate<'_>], key: &dyn SigningKey) -> Result<(), String> {
    let own = key.public_key().ok_or("the kind of key in `tls.key` is not usable")?;
    let owner = chain.iter().position(|certificate| certificate.public_key().raw == own.as_ref());
    match owner {
        Some(0) => Ok(()),
        Some(idx) => Err(format!(
            "`tls.key` belongs to certificate {} of `tls.crt`; it must be the first",
            idx + 1
        )),
        None => Err("`tls.key` does not belong to the certificate in `tls.crt`".to_owned()),
    }
}

fn check_order(chain: &[X509Certificate<'_>]) -> Result<(), String> {
    for (idx, (certificate, issuer)) in chain.iter().zip(chain.iter().skip(1)).enumerate() {
        if certificate.issuer().as_raw() != issuer.subject().as_raw() {
            let (own, next) = (idx + 1, idx + 2);
            return Err(format!("certificate {next} of `tls.crt` is not the issuer of {own}"));
        }
    }
    Ok(())
}

fn key_pem(key: &PrivateKeyDer<'_>) -> Result<String, String> {
    let label = match key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        PrivateKeyDer::Pkcs8(_) => "PRIVATE KEY",
        _newer => return Err("the kind of key in `tls.key` is not usable".to_owned()),
    };
    let mut pem = String::new();
    write_pem(&mut pem, label, key.secret_der());
    Ok(pem)
}

/// Appends one section.
pub(crate) fn write_pem(out: &mut String, label: &str, der: &[u8]) {
    // 48 bytes are a line of 64 characters.
    let lines = der.chunks(48).map(|line| STANDARD.encode(line));
    let body = lines.fold(String::new(), |body, line| body + &line + "\n");
    write!(out, "-----BEGIN {label}-----\n{body}-----END {label}-----\n")
        .expect("invariant: writing to a String never fails");
}
