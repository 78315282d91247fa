//! Files that change all at once, as a kubelet writes a volume: programs look at links to `..data/NAME`,
//! and `..data` is a link to the directory of the day.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use super::user::give;

/// What a group that owns a volume may do with its files.
const GROUP_READS: u32 = 0o040;

/// A file of a volume.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) content: Vec<u8>,
    pub(super) mode: u32,
}

/// Files by their path in the volume.
pub(super) type Files = BTreeMap<String, File>;

/// Replaces the files of a volume; `version` tells them from those before.
pub(super) fn publish(
    dir: &Path,
    files: &Files,
    version: u64,
    group: Option<u32>,
) -> io::Result<()> {
    let name = format!("..{version}");
    let now = dir.join(&name);
    fs::create_dir_all(&now)?;
    for (path, file) in files {
        let to = now.join(path);
        fs::create_dir_all(to.parent().unwrap_or(&now))?;
        fs::write(&to, &file.content)?;
        let mode = file.mode | group.map_or(0, |_| GROUP_READS);
        fs::set_permissions(&to, fs::Permissions::from_mode(mode))?;
        give(&to, group)?;
    }
    let (data, next) = (dir.join("..data"), dir.join("..data_tmp"));
    let before = fs::read_link(&data).ok();
    symlink(&name, &next)?;
    fs::rename(&next, &data)?;
    link(dir, files)?;
    match before.filter(|before| before.as_os_str() != name.as_str()) {
        Some(before) => fs::remove_dir_all(dir.join(before)),
        None => Ok(()),
    }
}

/// Has what users see point into `..data`: new names appear, and old ones go.
fn link(dir: &Path, files: &Files) -> io::Result<()> {
    for path in files.keys() {
        let top = path.split('/').next().unwrap_or(path);
        let to = dir.join(top);
        if fs::symlink_metadata(&to).is_err() {
            symlink(Path::new("..data").join(top), to)?;
        }
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let is_ours = entry.file_name().to_string_lossy().starts_with("..");
        if !is_ours && fs::metadata(entry.path()).is_err() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
