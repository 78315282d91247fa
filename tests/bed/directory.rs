//! The fleet and its members as a directory: `fleet/` and `members/<id>/`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use convoy::serve::Source;

use super::fleet::{Cluster, Keeper};

/// Files appear and change atomically.
pub(crate) struct Directory {
    root: PathBuf,
    staging: PathBuf,
}

impl Directory {
    /// An empty one, below `base`.
    pub(crate) fn create(base: &Path) -> Directory {
        let directory = Directory { root: base.join("dir"), staging: base.join("staging") };
        fs::create_dir_all(directory.root.join("fleet")).unwrap();
        fs::create_dir_all(&directory.staging).unwrap();
        directory
    }

    fn file(&self, of: Cluster<'_>, file: &str) -> PathBuf {
        let dir = match of {
            Cluster::Fleet => self.root.join("fleet"),
            Cluster::Member(id) => self.root.join("members").join(id),
        };
        dir.join(format!("{file}.yaml"))
    }
}

impl Keeper for Directory {
    fn apply(&self, to: Cluster<'_>, file: &str, manifests: &str) {
        let path = self.file(to, file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let draft = self.staging.join(path.file_name().unwrap());
        fs::write(&draft, manifests).unwrap();
        fs::rename(&draft, &path).unwrap();
    }

    fn delete(&self, from: Cluster<'_>, file: &str) {
        fs::remove_file(self.file(from, file)).unwrap();
    }

    fn source(&self) -> Source {
        Source::Directory(self.root.clone())
    }
    fn events(&self, _object: &str) -> Option<Vec<String>> {
        None
    }
}
