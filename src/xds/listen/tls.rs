//! TLS of the server: always with the newest certificates.

use std::sync::Arc;

use rustls::{
    RootCertStore, ServerConfig, ServerConnection, crypto::ring, server::WebPkiClientVerifier,
    version::TLS13,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    identity::{Material, Materials, gateway_of},
    xds::{access::Proof, listen::Access},
};

/// Makes what accepts connections, and keeps it until there are other certificates.
pub(super) struct Acceptor {
    access: Option<Tls>,
}

struct Tls {
    materials: Materials,
    is_certificate_optional: bool,
    made: Option<Made>,
}

struct Made {
    of: Arc<Material>,
    acceptor: TlsAcceptor,
}

impl Acceptor {
    pub(super) fn new(access: Access) -> Acceptor {
        let access = match access {
            Access::Open => None,
            Access::Tls { materials, tokens } => {
                Some(Tls { materials, is_certificate_optional: tokens.is_some(), made: None })
            }
        };
        Acceptor { access }
    }

    /// For the next connection; `None` if there is no TLS. Errors while there is nothing to prove
    /// oneself with.
    pub(super) fn current(&mut self) -> Result<Option<TlsAcceptor>, String> {
        self.access.as_mut().map(Tls::current).transpose()
    }
}

impl Tls {
    fn current(&mut self) -> Result<TlsAcceptor, String> {
        let newest = self.materials.borrow().clone();
        let newest = newest.ok_or("Convoy has no certificate yet")?;
        if let Some(made) = self.made.as_ref().filter(|made| Arc::ptr_eq(&made.of, &newest)) {
            return Ok(made.acceptor.clone());
        }
        let config = config(&newest, self.is_certificate_optional)
            .map_err(|error| format!("Convoy's certificate cannot be used: {error}"))?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        self.made = Some(Made { of: newest, acceptor: acceptor.clone() });
        Ok(acceptor)
    }
}

fn config(material: &Material, is_optional: bool) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    for authority in &material.authorities {
        roots.add(authority.clone())?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let verifier = if is_optional { verifier.allow_unauthenticated() } else { verifier };
    let verifier = verifier.build().map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(material.chain.clone(), material.key.clone_key())?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session is not verified anew: it would outlive its certificate and its authority. An
    // Envoy has one connection for days, so nothing is saved by it.
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// What the handshake has shown.
pub(super) fn proof(connection: &ServerConnection) -> Proof {
    let leaf = connection.peer_certificates().and_then(|chain| chain.first());
    leaf.map_or(Proof::Nothing, |leaf| Proof::Certificate(gateway_of(leaf)))
}
