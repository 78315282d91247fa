//! A directory of manifests as fleet and members (architecture.md, Directory fleet).
//!
//! `DIR/fleet/**.yaml` is the fleet, `DIR/members/<id>/**.yaml` are the members; `.yml` and
//! `.json` too. Owns the rule that nothing is lost by accident: what cannot be read stays as it
//! was, and only a file that is gone takes its objects with it. Must not know what objects mean.
//! Cost: a change costs a walk over the names, and reading the files that changed.

mod file;
mod scan;
#[cfg(test)]
mod tests;
mod tree;
mod watch;

use std::{
    io,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::store::Change;
use tree::{Freshness, Tree};
pub use watch::{Watch, spawn};

/// Reads the directory once: the same changes with which a watch begins. Errors if the directory
/// itself cannot be read; what is wrong inside is reported among the changes.
pub fn load(dir: &Path) -> io::Result<Vec<Change>> {
    let scan = scan::scan(dir)?;
    Ok(Tree::new(dir).update(&scan, &Freshness::default(), now()))
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
