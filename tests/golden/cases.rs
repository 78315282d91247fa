//! Fleets on disk: `fleets/<case>/`, with manifests in `fleet` and `members`, all resources that
//! they are translated to in `expect.yaml`, and all that is wrong with them in `diags.txt`.
//!
//! Owns where they are. `tests/envoy` reads them too.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// One fleet.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
}

/// Every fleet, by name. A new one is a new directory.
pub(crate) fn all() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/fleets");
    entries(&root).into_iter().map(|name| Case { dir: root.join(&name), name }).collect()
}

/// The names in a directory, in order.
pub(crate) fn entries(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|err| panic!("{}: {err}", dir.display()));
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<_> = entries.map(|entry| name(entry.unwrap())).collect();
    names.sort();
    names
}
