//! The volumes of a pod: directories, and those who keep them up to date.

use std::{
    collections::BTreeMap, fs, future, os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc,
};

use k8s_openapi::api::core::v1::{Volume, VolumeMount};
use tokio::{sync::watch, task::JoinSet, time};
use tokio_stream::StreamExt;

use super::{
    PAUSE, Shared,
    files::{Files, publish},
    payload::Payload,
    user::group_of_volumes,
};

/// Directories by the name of their volume.
pub(super) struct Volumes {
    dirs: BTreeMap<String, PathBuf>,
    /// They end with this value.
    _keepers: JoinSet<()>,
}

impl Volumes {
    pub(super) fn none() -> Volumes {
        Volumes { dirs: BTreeMap::new(), _keepers: JoinSet::new() }
    }

    /// # Errors
    /// The first volume that cannot be made now, and why.
    pub(super) async fn set_up(shared: &Arc<Shared>) -> Result<Volumes, String> {
        let (mut dirs, mut keepers) = (BTreeMap::new(), JoinSet::new());
        for volume in shared.spec().volumes.iter().flatten() {
            let dir = shared.dir().join("volumes").join(&volume.name);
            fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
            if let Some(payload) = Payload::of(shared, volume) {
                let keeper = Keeper {
                    dir: dir.clone(),
                    payload,
                    renewals: shared.place.renewals.clone(),
                    group: group_of_volumes(shared.spec()),
                    known: Files::new(),
                    version: 0,
                };
                let keeper = keeper.begin().await.map_err(|why| failed(volume, &why))?;
                keepers.spawn(keeper.keep());
            } else if volume.empty_dir.is_some() {
                // Whoever the containers are.
                fs::set_permissions(&dir, fs::Permissions::from_mode(0o777))
                    .map_err(|e| e.to_string())?;
            } else {
                return Err(failed(volume, "the bed does not know such volumes"));
            }
            dirs.insert(volume.name.clone(), dir);
        }
        Ok(Volumes { dirs, _keepers: keepers })
    }

    /// What is mounted at a mount.
    pub(super) fn source(&self, mount: &VolumeMount) -> Result<PathBuf, String> {
        let dir = self.dirs.get(&mount.name).ok_or(format!("no volume {}", mount.name))?;
        let Some(below) = &mount.sub_path else { return Ok(dir.clone()) };
        let source = dir.join(below);
        if !source.exists() {
            fs::create_dir_all(&source).map_err(|e| e.to_string())?;
        }
        // Of a link what it leads to now: that a subPath is not updated is true of real ones too.
        source.canonicalize().map_err(|e| e.to_string())
    }
}

fn failed(volume: &Volume, why: &str) -> String {
    format!("MountVolume.SetUp failed for volume {:?}: {why}", volume.name)
}

/// Keeps a directory as the API says.
struct Keeper {
    dir: PathBuf,
    payload: Payload,
    renewals: watch::Receiver<u32>,
    /// Who owns the files.
    group: Option<u32>,
    known: Files,
    version: u64,
}

impl Keeper {
    async fn begin(mut self) -> Result<Keeper, String> {
        self.known = self.payload.gather().await?;
        publish(&self.dir, &self.known, 0, self.group).map_err(|e| e.to_string())?;
        Ok(self)
    }

    async fn keep(mut self) {
        let mut changes = self.payload.changes();
        loop {
            let due = self.payload.due();
            let due = async move {
                match due {
                    Some(due) => time::sleep_until(due).await,
                    None => future::pending().await,
                }
            };
            tokio::select! {
                Some(_) = changes.next() => {}
                () = due => {}
                Ok(()) = self.renewals.changed() => self.payload.renew(),
                // Nothing of it changes.
                else => return,
            }
            self.refresh().await;
        }
    }

    /// What is there stays until there is something else: an outage of the API takes nothing away.
    async fn refresh(&mut self) {
        match self.payload.gather().await {
            Ok(files) if files != self.known => {
                self.version += 1;
                // A pod that is being removed has no directory any more.
                if publish(&self.dir, &files, self.version, self.group).is_ok() {
                    self.known = files;
                }
            }
            Ok(_) => {}
            // It is due still, or the watch speaks again.
            Err(_) => time::sleep(PAUSE).await,
        }
    }
}
