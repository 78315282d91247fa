//! Where the programs of a cluster are: `KUBEBUILDER_ASSETS`, then (but for kubectl) `PATH`, then what
//! `tests/bed/programs.sh` made.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The programs of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) etcd: PathBuf,
    pub(crate) api_server: PathBuf,
    pub(crate) controller_manager: PathBuf,
    pub(crate) kubectl: PathBuf,
}

impl Programs {
    /// # Errors
    /// Which program is nowhere, and what mends it.
    pub(crate) fn find() -> Result<Programs, String> {
        let brought = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
        let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bed");
        let pinned: Vec<PathBuf> = brought.iter().cloned().chain([made.clone()]).collect();
        let path = env::var_os("PATH").unwrap_or_default();
        let any: Vec<PathBuf> =
            brought.into_iter().chain(env::split_paths(&path)).chain([made]).collect();
        Ok(Programs {
            etcd: find("etcd", &any)?,
            api_server: find("kube-apiserver", &any)?,
            controller_manager: find("kube-controller-manager", &any)?,
            // The one on PATH is as old as the clusters that its user works with.
            kubectl: find("kubectl", &pinned)?,
        })
    }
}

fn find(name: &str, places: &[PathBuf]) -> Result<PathBuf, String> {
    let mut files = places.iter().map(|dir| dir.join(name));
    files
        .find(|file| file.is_file())
        .ok_or_else(|| format!("there is no {name}: `make bed-programs` gets it, with Go and pip"))
}
