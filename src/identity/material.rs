//! What a server proves itself with and whom it trusts.

use std::{fmt, sync::Arc};

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What a server proves itself with and whom it trusts.
pub struct Material {
    /// The server's certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Of that certificate.
    pub key: Arc<PrivateKeyDer<'static>>,
    /// Who may have signed what clients prove themselves with.
    pub authorities: Vec<CertificateDer<'static>>,
}

/// `None` until it is known: connections are refused, not served in the clear.
pub type Materials = watch::Receiver<Option<Arc<Material>>>;

impl fmt::Debug for Material {
    /// Serial numbers tell certificates apart, and nothing of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Material { chain, key: _, authorities } = self;
        let serials = |ders: &[CertificateDer<'_>]| ders.iter().map(serial).collect::<Vec<_>>();
        f.debug_struct("Material")
            .field("chain", &serials(chain))
            .field("authorities", &serials(authorities))
            .finish_non_exhaustive()
    }
}

/// The serial number, as `openssl x509 -serial` has it.
pub(crate) fn serial(der: &CertificateDer<'_>) -> String {
    match X509Certificate::from_der(der) {
        Ok((_, certificate)) => certificate.raw_serial_as_string(),
        Err(_) => "unreadable".to_owned(),
    }
}
