//! What the Secret of the authority holds.
//!
//! Owns its keys and how they are read and written. Must not know what changes it, nor the API.
//! `tls.crt`, `tls.key` and `ca.crt` are as cert-manager names them.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::identity::authority::certificate::{Pair, Root, pem};

/// The authority that signs.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
/// Everything that is to be trusted.
const BUNDLE: &str = "ca.crt";
/// The authority that will sign, while a rotation waits for the bundle to spread.
const NEXT_CERTIFICATE: &str = "next.crt";
const NEXT_KEY: &str = "next.key";
/// [`Record`], as JSON.
const ROTATION: &str = "rotation";

/// The data of a Secret.
pub(super) type Data = BTreeMap<String, Vec<u8>>;

/// How far a rotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// There is none: one authority signs and is trusted.
    Settled,
    /// The next authority is trusted, and does not sign yet.
    Spreading,
    /// It signs; the one before it is still trusted.
    Retiring,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Phase; 3] = [Phase::Settled, Phase::Spreading, Phase::Retiring];

    /// The phase as metrics and logs say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Settled => "settled",
            Phase::Spreading => "spreading",
            Phase::Retiring => "retiring",
        }
    }
}

/// An authority, and the rotation that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) signer: Pair,
    pub(super) next: Option<Pair>,
    /// Trusted, and sign nothing any more.
    pub(super) retired: Vec<Root>,
    /// When the phase began.
    pub(super) since: SystemTime,
    /// What an operator wrote into the annotation, the last time that it was acted upon.
    pub(super) answered: String,
}

/// What no certificate says. Its text is for machines, but people will read it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Record {
    /// Seconds since 1970.
    since: u64,
    answered: String,
}

impl Content {
    pub(super) fn phase(&self) -> Phase {
        match (&self.next, self.retired.as_slice()) {
            (Some(_), _) => Phase::Spreading,
            (None, []) => Phase::Settled,
            (None, _) => Phase::Retiring,
        }
    }

    /// Every authority that is to be trusted; the one that signs first.
    pub(super) fn trusted(&self) -> impl Iterator<Item = &Root> {
        let next = self.next.as_ref().map(|next| &next.root);
        [&self.signer.root].into_iter().chain(next).chain(&self.retired)
    }

    /// The same as PEM.
    pub(super) fn bundle(&self) -> String {
        pem(self.trusted().map(|root| &root.der))
    }

    /// What a Secret says; `None` if nobody has written to it yet.
    pub(super) fn parse(data: &Data) -> Result<Option<Content>, String> {
        if data.is_empty() {
            return Ok(None);
        }
        let at = |key: &str| {
            let value = data.get(key).filter(|value| !value.is_empty());
            value.map(Vec::as_slice).ok_or(format!("`{key}` is missing"))
        };
        let pair = |certificate: &str, key: &str| {
            Pair::parse(at(certificate)?, at(key)?)
                .map_err(|why| format!("`{certificate}` and `{key}`: {why}"))
        };
        let signer = pair(CERTIFICATE, KEY)?;
        let next = data.contains_key(NEXT_CERTIFICATE) || data.contains_key(NEXT_KEY);
        let next = next.then(|| pair(NEXT_CERTIFICATE, NEXT_KEY)).transpose()?;
        let bundle = Root::all(at(BUNDLE)?).map_err(|why| format!("`{BUNDLE}` {why}"))?;
        let is_retired =
            |root: &Root| *root != signer.root && next.as_ref().is_none_or(|own| *root != own.root);
        let retired = bundle.into_iter().filter(is_retired).collect();
        let record: Record = serde_json::from_slice(at(ROTATION)?)
            .map_err(|_| format!("`{ROTATION}` is not what Convoy writes"))?;
        let since = UNIX_EPOCH.checked_add(Duration::from_secs(record.since));
        let since = since.ok_or(format!("`{ROTATION}` has no legal time"))?;
        Ok(Some(Content { signer, next, retired, since, answered: record.answered }))
    }

    /// Writes it over what is there; what others keep in the Secret stays.
    pub(super) fn write(&self, data: &mut Data) {
        let Content { signer, next, retired: _, since, answered } = self;
        let since = since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let record = Record { since, answered: answered.clone() };
        let record = serde_json::to_string(&record).expect("invariant: two plain fields");
        let mut set = |key: &str, value: String| data.insert(key.to_owned(), value.into_bytes());
        set(CERTIFICATE, pem([&signer.root.der]));
        set(KEY, signer.key_pem());
        set(BUNDLE, self.bundle());
        set(ROTATION, record);
        match next {
            Some(next) => {
                set(NEXT_CERTIFICATE, pem([&next.root.der]));
                set(NEXT_KEY, next.key_pem());
            }
            None => [NEXT_CERTIFICATE, NEXT_KEY].iter().for_each(|key| {
                data.remove(*key);
            }),
        }
    }
}
