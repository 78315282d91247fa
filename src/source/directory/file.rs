//! One file: bytes → objects.
//!
//! Owns how documents are told apart and where in the file something is wrong. Any bytes are
//! legal input. Cost: linear in the file.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use serde_json::Value;
use serde_saphyr::Spanned;

use crate::{
    diag::{Diag, Field, Reason},
    key::{ObjectKind, ObjectName, ObjectRef, Scope},
    source::decode::{Decoded, cut, decode, manifests},
    store::Object,
};

/// Longest file that is read. Ten times what an API server would take as one object.
pub(super) const MAX_FILE_BYTES: u64 = 16 << 20;

/// Nodes of one document: a List of some 10,000 objects, and no more memory than that takes.
const MAX_NODES: usize = 2_000_000;

/// What a file holds.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Content {
    /// The first of each name.
    pub(super) objects: BTreeMap<ObjectRef, Object>,
    /// What is wrong.
    pub(super) findings: Vec<Diag>,
    /// Objects that are there, but not legal.
    pub(super) refused: BTreeSet<ObjectRef>,
    /// All of it was read: what is not in it does not exist.
    pub(super) is_whole: bool,
    /// When the verdict on some certificate changes, in seconds since 1970.
    pub(super) judge_again: Option<i64>,
}

/// Reads and parses a file. `name` is what it is called in findings.
pub(super) fn read(path: &Path, name: &str, scope: &Scope, now: i64) -> Content {
    let name = ObjectName::cluster_scoped(name);
    let at = Field::of(&ObjectRef { scope: scope.clone(), kind: ObjectKind::File, name });
    match bytes(path) {
        Ok(bytes) => parse(&bytes, &at, now),
        Err(err) => {
            let findings = vec![Diag::error(&at, Reason::Unreadable, err.to_string())];
            Content { findings, ..Content::default() }
        }
    }
}

fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("more than {MAX_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}

/// Parses the documents of the file `at`.
pub(super) fn parse(bytes: &[u8], at: &Field, now: i64) -> Content {
    let mut content = Content { is_whole: true, ..Content::default() };
    let mut noted = BTreeSet::new();
    let mut reader = bytes;
    let documents = serde_saphyr::read_with_options::<_, Spanned<Value>>(&mut reader, options());
    for document in documents {
        let document = match document {
            Ok(document) => document,
            Err(err) => {
                content.unreadable(at, &err);
                continue;
            }
        };
        let at = at.key(&format!("line {}", document.referenced.line()));
        for manifest in manifests(document.value) {
            match decode(&at.object.scope, manifest, now) {
                Decoded::Object { object, diags, judge_again } => {
                    content.findings.extend(diags);
                    content.judge_again = earliest(content.judge_again, judge_again);
                    content.put(&at, object);
                }
                Decoded::Refused(diag) => {
                    content.refused.insert(diag.object.clone());
                    content.findings.push(diag);
                }
                Decoded::Nameless(message) => {
                    content.findings.push(Diag::error(&at, Reason::InvalidField, message));
                }
                Decoded::Ignored(None) => {}
                Decoded::Ignored(Some(note)) => {
                    if noted.insert(note.clone()) {
                        let diag = Diag::warning(&at, Reason::UnsupportedKind, note);
                        content.findings.push(diag);
                    }
                }
            }
        }
    }
    content
}

impl Content {
    fn put(&mut self, at: &Field, object: Object) {
        let key = ObjectRef {
            scope: at.object.scope.clone(),
            kind: object.kind(),
            name: object.name().clone(),
        };
        match self.objects.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(object);
            }
            Entry::Occupied(entry) => {
                let key = entry.key();
                let message = format!("{key} is in the file twice; the first one is used");
                self.findings.push(Diag::error(at, Reason::DuplicateObject, message));
            }
        }
    }

    fn unreadable(&mut self, at: &Field, err: &serde_saphyr::Error) {
        self.is_whole = false;
        let at = match err.location() {
            Some(location) => at.key(&format!("line {}", location.line())),
            None => at.clone(),
        };
        // A message may quote a scalar of any length.
        let message = err.without_snippet().to_string();
        self.findings.push(Diag::error(&at, Reason::Unreadable, cut(&message)));
    }
}

/// The sooner of two times, if there is one.
pub(super) fn earliest(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    a.into_iter().chain(b).min()
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: MAX_NODES,
            max_events: 2 * MAX_NODES,
        },
        // `on` and `yes` are annotation values like any other.
        strict_booleans: true,
        // A snippet may hold a private key.
        with_snippet: false,
    }
}
