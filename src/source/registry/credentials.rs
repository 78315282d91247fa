//! What is needed to reach a member's API, and nothing else.
//!
//! Owns that no secret is printed and that nothing here can name a file, a process or a proxy
//! (faults.md S5, S6). Must not know where the credentials came from.

use std::{fmt, net::SocketAddr};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Uri;

/// Credentials of one API server: an `https` address, the CA it is verified with, and who we are.
///
/// Values are made by the sanitiser only ([`kubeconfig`](super::kubeconfig) and
/// [`argocd`](super::argocd)), so every one of them is complete.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub(super) server: Uri,
    /// Name in the server's certificate, where it is not the host of `server`.
    pub(super) server_name: Option<String>,
    /// Certificates as DER.
    pub(super) authorities: Vec<Vec<u8>>,
    pub(super) identity: Identity,
}

/// Who Convoy is to an API server.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Identity {
    Token(String),
    /// Certificate chain and key, PEM.
    Certificate {
        chain: String,
        key: String,
    },
}

impl Credentials {
    /// Address of the API server; its scheme is `https`.
    pub fn server(&self) -> &Uri {
        &self.server
    }

    /// The same where it is a number; names are not looked up.
    pub fn address(&self) -> Option<SocketAddr> {
        numeric_address(&self.server)
    }

    /// The same as `kube` wants it. Timeouts are the caller's to set; there are no redirects,
    /// because `kube` follows none.
    pub fn client_config(&self) -> kube::Config {
        let Credentials { server, server_name, authorities, identity } = self;
        let mut config = kube::Config::new(server.clone());
        config.root_cert = Some(authorities.clone());
        config.tls_server_name.clone_from(server_name);
        match identity {
            Identity::Token(token) => config.auth_info.token = Some(token.clone().into()),
            Identity::Certificate { chain, key } => {
                config.auth_info.client_certificate_data = Some(STANDARD.encode(chain));
                config.auth_info.client_key_data = Some(STANDARD.encode(key).into());
            }
        }
        config
    }
}

/// Where an `https` server is, if its URL has a number for a host: names are not looked up.
pub fn numeric_address(server: &Uri) -> Option<SocketAddr> {
    let host = server.host()?.trim_matches(['[', ']']);
    // RFC 9110, 4.2.2.
    Some(SocketAddr::new(host.parse().ok()?, server.port_u16().unwrap_or(443)))
}

#[cfg(test)]
impl Credentials {
    /// Of a server in a test, which the sanitiser would refuse.
    pub(crate) fn of_test(server: &str) -> Credentials {
        Credentials {
            server: server.parse().unwrap(),
            server_name: None,
            authorities: Vec::new(),
            identity: Identity::Token("token".to_owned()),
        }
    }
}

impl fmt::Debug for Credentials {
    /// Never prints a token or a key (faults.md S6).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let identity = match self.identity {
            Identity::Token(_) => "token",
            Identity::Certificate { .. } => "client certificate",
        };
        write!(f, "Credentials({}, {identity}, redacted)", self.server)
    }
}
