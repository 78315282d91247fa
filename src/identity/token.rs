//! Tokens of ServiceAccounts, verified without asking the API server.
//!
//! Owns the keys of the fleet that sign tokens, which are fetched now and then and kept, and what a
//! token must say. So an API server that is away locks nobody out (faults.md S1). Must not know what
//! an account may do. Cost: a signature is checked a connection.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    errors::ErrorKind,
    jwk::{AlgorithmParameters, EllipticCurve, JwkSet, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use tokio::sync::watch;

mod fetch;
#[cfg(test)]
pub(super) mod tests;

pub use fetch::spawn;

/// The audience that a token must have been made for.
pub const AUDIENCE: &str = "convoy";

/// Longest token: those of API servers are a twentieth of it.
const MAX_TOKEN_BYTES: usize = 16 << 10;

/// Who a token was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Of the ServiceAccount.
    pub namespace: String,
    /// Of the ServiceAccount.
    pub name: String,
    /// The name of the Pod, where the token is bound to one.
    pub pod: Option<String>,
}

/// Why a token proves nothing. Never says what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The fleet's keys were never read, so that no token can be verified.
    #[error("the keys that sign tokens are not known yet")]
    NoKeys,
    /// The fleet may have a new key: it is asked, so another try may succeed.
    #[error("the token is signed with a key that is not known")]
    UnknownKey,
    /// No token of a ServiceAccount at all, or of an algorithm that no API server uses.
    #[error("not a token of a ServiceAccount")]
    Malformed,
    /// Not signed with the key that it names.
    #[error("the token's signature is wrong")]
    Signature,
    /// Of another cluster.
    #[error("the token has another issuer than the fleet")]
    Issuer,
    /// Not made for [`AUDIENCE`].
    #[error("the token is not for the audience `{AUDIENCE}`")]
    Audience,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    NotYet,
}

/// What signs the tokens of a fleet.
#[derive(Default)]
pub(super) struct Keys {
    issuer: String,
    /// By id.
    by_id: BTreeMap<String, (Algorithm, DecodingKey)>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.by_id.keys().collect();
        f.debug_struct("Keys").field("issuer", &self.issuer).field("ids", &ids).finish()
    }
}

impl Keys {
    /// The keys of a set that can be used; an API server may have others beside them.
    fn new(issuer: String, set: &JwkSet) -> Keys {
        let keys = set.keys.iter().filter_map(|key| {
            let id = key.common.key_id.clone()?;
            let is_for_signatures =
                matches!(key.common.public_key_use, None | Some(PublicKeyUse::Signature));
            let algorithm = match (&key.algorithm, key.common.key_algorithm) {
                (AlgorithmParameters::RSA(_), None | Some(KeyAlgorithm::RS256)) => Algorithm::RS256,
                (AlgorithmParameters::EllipticCurve(own), None | Some(KeyAlgorithm::ES256))
                    if own.curve == EllipticCurve::P256 =>
                {
                    Algorithm::ES256
                }
                (_another, _) => return None,
            };
            let decoding = DecodingKey::from_jwk(key).ok().filter(|_| is_for_signatures)?;
            Some((id, (algorithm, decoding)))
        });
        Keys { issuer, by_id: keys.collect() }
    }
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: u64,
    #[serde(default)]
    nbf: u64,
    #[serde(rename = "kubernetes.io", default)]
    kubernetes: Binding,
}

/// One, or a list of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn contains(&self, audience: &str) -> bool {
        match self {
            Audience::One(own) => own == audience,
            Audience::Many(all) => all.iter().any(|own| own == audience),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Binding {
    pod: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// Verifies tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// `None` until they were fetched once.
    keys: watch::Receiver<Option<Arc<Keys>>>,
    /// Raised when a key is missing.
    wanted: watch::Sender<u64>,
    leeway: Duration,
}

impl Tokens {
    /// Who the token was made for.
    ///
    /// # Errors
    /// It proves nothing; the reason is for the log, and may be told to whoever sent it.
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Account, TokenError> {
        let Some(keys) = self.keys.borrow().clone() else {
            self.ask();
            return Err(TokenError::NoKeys);
        };
        let claims = verified(token, &keys).inspect_err(|error| {
            if *error == TokenError::UnknownKey {
                self.ask();
            }
        })?;
        self.judge(claims, &keys.issuer, now)
    }

    fn ask(&self) {
        self.wanted.send_modify(|times| *times = times.wrapping_add(1));
    }

    fn judge(&self, claims: Claims, issuer: &str, now: SystemTime) -> Result<Account, TokenError> {
        let Claims { iss, sub, aud, exp, nbf, kubernetes } = claims;
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let leeway = self.leeway.as_secs();
        if iss != issuer {
            return Err(TokenError::Issuer);
        }
        if !aud.contains(AUDIENCE) {
            return Err(TokenError::Audience);
        }
        if now >= exp.saturating_add(leeway) {
            return Err(TokenError::Expired);
        }
        if now.saturating_add(leeway) < nbf {
            return Err(TokenError::NotYet);
        }
        let subject =
            sub.strip_prefix("system:serviceaccount:").and_then(|own| own.split_once(':'));
        let Some((namespace, name)) = subject.filter(|(namespace, name)| {
            !namespace.is_empty() && !name.is_empty() && !name.contains(':')
        }) else {
            return Err(TokenError::Malformed);
        };
        let pod = kubernetes.pod.map(|pod| pod.name);
        Ok(Account { namespace: namespace.to_owned(), name: name.to_owned(), pod })
    }
}

/// What a token says, once its signature has been checked.
fn verified(token: &str, keys: &Keys) -> Result<Claims, TokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::Malformed);
    }
    let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
    let id = header.kid.ok_or(TokenError::Malformed)?;
    let (algorithm, key) = keys.by_id.get(&id).ok_or(TokenError::UnknownKey)?;
    // The key says which algorithm is used, never the token.
    let mut rules = Validation::new(*algorithm);
    // Of the claims the library would ask the clock.
    rules.required_spec_claims.clear();
    (rules.validate_exp, rules.validate_nbf, rules.validate_aud) = (false, false, false);
    let token = decode::<Claims>(token, key, &rules).map_err(|error| {
        let is_forged = *error.kind() == ErrorKind::InvalidSignature;
        if is_forged { TokenError::Signature } else { TokenError::Malformed }
    })?;
    Ok(token.claims)
}
