//! From texts to credentials: what a server, a CA, a token and a certificate may be.
//!
//! Owns the rules that kubeconfigs and Argo CD Secrets share (faults.md S5): `https` only, a CA
//! of its own, exactly one identity, everything inline. What is kept was parsed and written
//! anew. No message holds a value (S6).

use std::{net::IpAddr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Uri;
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, ServerName,
    pem::{PemObject as _, SectionKind},
};

use crate::source::{
    decode::write_pem,
    registry::{
        credentials::{Credentials, Identity},
        strict::{Node, Refusal},
    },
};

/// Longest document that is looked at: a CA bundle, a chain and a token fit many times.
pub(super) const MAX_BYTES: usize = 256 << 10;

/// Where each part of the credentials is.
pub(super) struct Parts<'a> {
    pub(super) server: Node<'a>,
    pub(super) server_name: Node<'a>,
    /// Base64 of PEM, as are `chain` and `key`.
    pub(super) authorities: Node<'a>,
    pub(super) token: Node<'a>,
    pub(super) chain: Node<'a>,
    pub(super) key: Node<'a>,
}

/// The credentials, if every part of them is legal and they are complete.
pub(super) fn credentials(parts: &Parts<'_>) -> Result<Credentials, Refusal> {
    let authorities = certificates(&parts.authorities)?;
    let roots = roots(&parts.authorities, &authorities)?;
    Ok(Credentials {
        server: server(&parts.server)?,
        server_name: server_name(&parts.server_name)?,
        authorities: authorities.iter().map(|der| der.to_vec()).collect(),
        identity: identity(parts, roots)?,
    })
}

fn server(at: &Node<'_>) -> Result<Uri, Refusal> {
    let text = at.required()?;
    let uri: Uri = text.parse().map_err(|_| at.refuse("is not a URL"))?;
    if uri.scheme_str() != Some("https") {
        return Err(at.refuse("must be an https URL"));
    }
    if text.contains(['@', '?', '#']) {
        return Err(at.refuse("must have no user, query or fragment"));
    }
    if !has_legal_port(&uri) {
        return Err(at.refuse("has no legal port"));
    }
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    match ServerName::try_from(host) {
        Ok(ServerName::IpAddress(ip)) if !may_be_api_server(IpAddr::from(ip)) => {
            Err(at.refuse("has an address that no API server has"))
        }
        Ok(_) => Ok(uri),
        Err(_) => Err(at.refuse("has no legal host")),
    }
}

/// None, or one from 1 to 65535. `Uri` calls any other one absent.
fn has_legal_port(uri: &Uri) -> bool {
    let Some(authority) = uri.authority() else { return false };
    match authority.as_str().strip_prefix(authority.host()) {
        None => false,
        Some("") => true,
        Some(_) => authority.port_u16().is_some_and(|port| port != 0),
    }
}

/// Link-local addresses are those of metadata services.
fn may_be_api_server(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(ip) => {
            !(ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast() || ip.is_link_local())
        }
        IpAddr::V6(ip) => !(ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local()),
    }
}

fn server_name(at: &Node<'_>) -> Result<Option<String>, Refusal> {
    let Some(name) = at.text()? else { return Ok(None) };
    match ServerName::try_from(name) {
        Ok(_) => Ok(Some(name.to_owned())),
        Err(_) => Err(at.refuse("is no legal name of a server")),
    }
}

/// Without a CA of its own, a client would trust whatever CAs it finds in files.
fn roots(at: &Node<'_>, authorities: &[CertificateDer<'static>]) -> Result<RootCertStore, Refusal> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        let added = roots.add(authority.clone());
        added.map_err(|_| at.refuse("holds a certificate that cannot be a CA"))?;
    }
    Ok(roots)
}

fn identity(parts: &Parts<'_>, roots: RootCertStore) -> Result<Identity, Refusal> {
    let Parts { token, chain, key, .. } = parts;
    match (token.text()?, chain.is_set() || key.is_set()) {
        (Some(_), true) => Err(token.refuse("is given beside a client certificate; which is it?")),
        (None, false) => Err(token.refuse("is missing, and so is a client certificate")),
        (Some(text), false) => bearer(token, text),
        (None, true) => certificate(chain, key, roots),
    }
}

/// A token is part of a header.
fn bearer(at: &Node<'_>, text: &str) -> Result<Identity, Refusal> {
    let text = text.trim_ascii();
    let is_legal = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    is_legal
        .then(|| Identity::Token(text.to_owned()))
        .ok_or_else(|| at.refuse("is no bearer token"))
}

/// A pair from which a client can be built: that is tried here, so that it cannot fail later.
fn certificate(
    chain_at: &Node<'_>,
    key_at: &Node<'_>,
    roots: RootCertStore,
) -> Result<Identity, Refusal> {
    let chain = certificates(chain_at)?;
    let unusable = || key_at.refuse("is no private key that can be used");
    let key = PrivateKeyDer::from_pem_slice(&decoded(key_at)?).map_err(|_| unusable())?;
    let label = match &key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        PrivateKeyDer::Pkcs8(_) => "PRIVATE KEY",
        _newer => return Err(unusable()),
    };
    let (mut chain_pem, mut key_pem) = (String::new(), String::new());
    chain.iter().for_each(|der| write_pem(&mut chain_pem, "CERTIFICATE", der));
    write_pem(&mut key_pem, label, key.secret_der());
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("invariant: ring speaks the default versions")
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key);
    client.map_err(|_| key_at.refuse("does not belong to the client certificate"))?;
    Ok(Identity::Certificate { chain: chain_pem, key: key_pem })
}

/// At least one certificate, and nothing else.
fn certificates(at: &Node<'_>) -> Result<Vec<CertificateDer<'static>>, Refusal> {
    let pem = decoded(at)?;
    let sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(&pem);
    let sections: Vec<_> =
        sections.collect::<Result<_, _>>().map_err(|_| at.refuse("is not legal PEM"))?;
    if sections.is_empty() {
        return Err(at.refuse("holds no certificate"));
    }
    let certificate = |(kind, der)| {
        let foreign = || at.refuse("holds something that is not a certificate");
        (kind == SectionKind::Certificate).then(|| CertificateDer::from(der)).ok_or_else(foreign)
    };
    sections.into_iter().map(certificate).collect()
}

/// Base64 may be folded into lines.
fn decoded(at: &Node<'_>) -> Result<Vec<u8>, Refusal> {
    let text: String = at.required()?.split_ascii_whitespace().collect();
    STANDARD.decode(text).map_err(|_| at.refuse("is not base64"))
}
