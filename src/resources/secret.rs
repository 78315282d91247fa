//! SDS: a certificate chain and its key.
//!
//! Owns the message only; whether the pair may be served was decided where it was read
//! (faults.md F8–F11). Nothing here formats or logs the key (S6).

use std::sync::Arc;

use envoy_types::pb::envoy::{
    config::core::v3::{DataSource, data_source::Specifier},
    extensions::transport_sockets::tls::v3 as pb,
};
use prost::Message;

use crate::{
    snapshot::{Kind, Resource},
    store::KeyPair,
};

/// The secret that filter chains ask for by `name` ([`crate::model::name::certificate`]).
pub fn build(name: &Arc<str>, pair: &KeyPair) -> Resource {
    let message = pb::Secret {
        name: name.to_string(),
        r#type: Some(pb::secret::Type::TlsCertificate(pb::TlsCertificate {
            certificate_chain: Some(inline(&pair.chain)),
            private_key: Some(inline(&pair.key)),
            ..Default::default()
        })),
    };
    Resource::new(Kind::Secret, name.clone(), &message.encode_to_vec(), Vec::new())
}

fn inline(pem: &[u8]) -> DataSource {
    DataSource { specifier: Some(Specifier::InlineBytes(pem.to_vec())), ..Default::default() }
}
