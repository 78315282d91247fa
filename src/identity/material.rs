//! What a server proves itself with and whom it trusts.

use std::{fmt, sync::Arc};

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;

/// What a server proves itself with and whom it trusts.
pub struct Material {
    /// The server's certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Of that certificate.
    pub key: Arc<PrivateKeyDer<'static>>,
    /// Who may have signed what clients prove themselves with.
    pub authorities: Vec<CertificateDer<'static>>,
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material").finish_non_exhaustive()
    }
}

/// `None` until it is known: connections are refused, not served in the clear.
pub type Materials = watch::Receiver<Option<Arc<Material>>>;
