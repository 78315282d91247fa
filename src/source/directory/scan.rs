//! Which files there are.
//!
//! Owns what counts as a file of the directory, and to which cluster it belongs. Hidden names are
//! not files: editors and mounted ConfigMaps keep their own things there. Links are followed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::key::{MemberId, Scope};

/// Deeper nesting is a loop of links.
const MAX_DEPTH: usize = 16;

const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// What a walk found. Paths are relative to the directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    pub(super) files: BTreeMap<PathBuf, Found>,
    pub(super) members: BTreeSet<MemberId>,
    /// What could not be looked at, with the reason: below it, nothing is known.
    pub(super) unreadable: BTreeMap<PathBuf, String>,
}

/// One file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) scope: Scope,
    pub(super) stamp: Stamp,
}

/// Differs whenever a file was written or replaced; equal stamps may still hide two writes within
/// one tick of the file system's clock, which is why a watch also reads whatever it is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    file: (u64, u64),
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(meta: &Metadata) -> Stamp {
        Stamp {
            file: (meta.dev(), meta.ino()),
            len: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// Walks the directory. Errors if `dir` itself cannot be read.
pub(super) fn scan(dir: &Path) -> io::Result<Scan> {
    fs::read_dir(dir)?;
    let mut scan = Scan::default();
    scan.walk(dir, Path::new("fleet"), &Scope::Fleet, 0);
    // No member at all is nothing to complain about.
    let members = match fs::read_dir(dir.join("members")) {
        Ok(entries) => entries.collect::<Result<Vec<_>, _>>(),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(err) => Err(err),
    };
    match members {
        Ok(entries) => entries.iter().for_each(|entry| scan.member(dir, &entry.file_name())),
        Err(err) => {
            scan.unreadable.insert("members".into(), err.to_string());
        }
    }
    Ok(scan)
}

impl Scan {
    /// Whether a path lies below something that could not be looked at.
    pub(super) fn is_unknown(&self, path: &Path) -> bool {
        path.ancestors().any(|above| self.unreadable.contains_key(above))
    }

    fn member(&mut self, dir: &Path, name: &std::ffi::OsStr) {
        let path = Path::new("members").join(name);
        if is_hidden(name) || !dir.join(&path).is_dir() {
            return;
        }
        let Some(id) = name.to_str().and_then(MemberId::new) else {
            let reason = "the name of the directory is not a member's id: letters, digits, `.-_`";
            self.unreadable.insert(path, reason.to_owned());
            return;
        };
        self.walk(dir, &path, &Scope::Member(id.clone()), 0);
        self.members.insert(id);
    }

    fn walk(&mut self, dir: &Path, path: &Path, scope: &Scope, depth: usize) {
        let entries = fs::read_dir(dir.join(path)).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let entries = match entries {
            Ok(_) if depth > MAX_DEPTH => {
                let reason = format!("nested deeper than {MAX_DEPTH} directories");
                self.unreadable.insert(path.to_owned(), reason);
                return;
            }
            Ok(entries) => entries,
            Err(err) => {
                self.unreadable.insert(path.to_owned(), err.to_string());
                return;
            }
        };
        for entry in entries.iter().filter(|entry| !is_hidden(&entry.file_name())) {
            self.entry(dir, path.join(entry.file_name()), scope, depth);
        }
    }

    fn entry(&mut self, dir: &Path, path: PathBuf, scope: &Scope, depth: usize) {
        let full = dir.join(&path);
        match fs::metadata(&full) {
            Ok(meta) if meta.is_dir() => self.walk(dir, &path, scope, depth + 1),
            Ok(meta) if meta.is_file() && is_manifest(&path) => {
                let found = Found { scope: scope.clone(), stamp: Stamp::of(&meta) };
                self.files.insert(path, found);
            }
            Ok(_other) => {}
            // Gone since it was listed; a link that leads nowhere is still there.
            Err(_) if fs::symlink_metadata(&full).is_err() => {}
            Err(err) => {
                self.unreadable.insert(path, err.to_string());
            }
        }
    }
}

fn is_manifest(path: &Path) -> bool {
    path.extension().and_then(|own| own.to_str()).is_some_and(|own| EXTENSIONS.contains(&own))
}

fn is_hidden(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}
