//! Where the programs of a cluster are: `KUBEBUILDER_ASSETS`, then `PATH`, then what
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
        Ok(Programs {
            etcd: find("etcd")?,
            api_server: find("kube-apiserver")?,
            controller_manager: find("kube-controller-manager")?,
            kubectl: find("kubectl")?,
        })
    }
}

fn find(name: &str) -> Result<PathBuf, String> {
    let brought = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bed");
    let mut places = brought.into_iter().chain(env::split_paths(&path)).chain([made]);
    places
        .find_map(|dir| Some(dir.join(name)).filter(|file| file.is_file()))
        .ok_or_else(|| format!("there is no {name}: `make bed-programs` builds it with Go"))
}
