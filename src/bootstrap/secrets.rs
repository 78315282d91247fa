//! What an Envoy proves itself to Convoy with, and how it recognises Convoy.
//!
//! Owns the two files that Envoy reads its secrets from. They only name other files, and Envoy watches
//! both, so that a certificate, an authority or a token that is renewed needs no restart.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

/// Name of the file that says what the Envoy proves itself with.
pub const CREDENTIAL_FILE: &str = "credential.json";
/// Name of the file that says whom it trusts.
pub const AUTHORITIES_FILE: &str = "authorities.json";

const CREDENTIAL: &str = "credential";
const AUTHORITIES: &str = "authorities";

/// How an Envoy and Convoy prove who they are. Paths are those that the Envoy sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XdsTls {
    /// Directory of `tls.crt`, `tls.key` and `ca.crt`; with a token only of `ca.crt`.
    pub certificates: PathBuf,
    /// Directory of the files of [`secret_files`].
    pub config_dir: PathBuf,
    /// The name that Convoy's certificate must have: a DNS name, or an address.
    pub server_name: String,
    /// File with a token of a ServiceAccount, in place of a certificate.
    pub token: Option<PathBuf>,
}

impl XdsTls {
    /// Server names are names; an address is never sent (RFC 6066, section 3).
    pub(super) fn sni(&self) -> Option<&str> {
        self.address().is_none().then_some(&self.server_name)
    }

    fn address(&self) -> Option<IpAddr> {
        self.server_name.parse().ok()
    }
}

/// The names and the contents of the files that belong into `config_dir`.
pub fn secret_files(tls: &XdsTls) -> [(&'static str, String); 2] {
    let credential = match &tls.token {
        Some(token) => json!({ "generic_secret": { "secret": watched(token) } }),
        None => json!({ "tls_certificate": {
            "certificate_chain": { "filename": tls.certificates.join("tls.crt") },
            "private_key": { "filename": tls.certificates.join("tls.key") },
            "watched_directory": { "path": tls.certificates },
        } }),
    };
    let kind = if tls.address().is_some() { "IP_ADDRESS" } else { "DNS" };
    let authorities = json!({ "validation_context": {
        "trusted_ca": { "filename": tls.certificates.join("ca.crt") },
        "watched_directory": { "path": tls.certificates },
        "match_typed_subject_alt_names": [
            { "san_type": kind, "matcher": { "exact": tls.server_name } },
        ],
    } });
    [
        (CREDENTIAL_FILE, file(CREDENTIAL, credential)),
        (AUTHORITIES_FILE, file(AUTHORITIES, authorities)),
    ]
}

/// The content of a file, and the directory whose changes say that it may be another.
fn watched(file: &Path) -> Value {
    json!({ "filename": file, "watched_directory": { "path": file.parent() } })
}

/// A response of SDS with one secret.
fn file(name: &str, mut secret: Value) -> String {
    if let Value::Object(fields) = &mut secret {
        let kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
        fields.insert("@type".to_owned(), json!(kind));
        fields.insert("name".to_owned(), json!(name));
    }
    let response = json!({ "resources": [secret] });
    serde_json::to_string_pretty(&response).expect("invariant: a Value has a text") + "\n"
}

pub(super) fn credential_config(tls: &XdsTls) -> Value {
    config(tls, CREDENTIAL, CREDENTIAL_FILE)
}

pub(super) fn authorities_config(tls: &XdsTls) -> Value {
    config(tls, AUTHORITIES, AUTHORITIES_FILE)
}

/// Where Envoy finds a secret.
fn config(tls: &XdsTls, name: &str, file: &str) -> Value {
    json!({ "name": name, "sds_config": {
        "resource_api_version": "V3",
        "path_config_source": {
            "path": tls.config_dir.join(file),
            "watched_directory": { "path": tls.config_dir },
        },
    } })
}
