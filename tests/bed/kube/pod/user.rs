//! As whom a container runs, and what it may do.
//!
//! Where this program itself has no user but one, as in a user namespace of an ordinary user, everybody
//! is that one; capabilities are dropped there too.

use std::{fs, io, os::unix::fs::chown, path::Path};

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::image::Image;

/// Says which users there are in this namespace; all, where there are so many.
const USERS: &str = "/proc/self/uid_map";
const ALL_USERS: &str = "4294967295";

/// A user, and the capabilities that are left.
pub(super) struct User {
    user: i64,
    group: i64,
    groups: Vec<i64>,
    drops_capabilities: bool,
}

impl User {
    /// What pod and container ask for, else what the image says.
    ///
    /// # Errors
    /// That it would be root, where it must not be.
    pub(super) fn of(pod: &PodSpec, container: &Container, image: Image) -> Result<User, String> {
        let of_pod = pod.security_context.clone().unwrap_or_default();
        let own = container.security_context.clone().unwrap_or_default();
        let user = own.run_as_user.or(of_pod.run_as_user).unwrap_or(image.user(container));
        let must_not_be_root = own.run_as_non_root.or(of_pod.run_as_non_root) == Some(true);
        if must_not_be_root && user == 0 {
            return Err("container has runAsNonRoot and image will run as root".to_owned());
        }
        let dropped = own.capabilities.and_then(|it| it.drop).unwrap_or_default();
        Ok(User {
            user,
            group: own.run_as_group.or(of_pod.run_as_group).unwrap_or(image.user(container)),
            groups: of_pod
                .fs_group
                .into_iter()
                .chain(of_pod.supplemental_groups.into_iter().flatten())
                .collect(),
            drops_capabilities: dropped.iter().any(|it| it == "ALL"),
        })
    }

    /// What goes before a command that is to run as this user.
    pub(super) fn prefix(&self) -> Vec<String> {
        let mut words = vec!["setpriv".to_owned()];
        if has_users() {
            words.extend([format!("--reuid={}", self.user), format!("--regid={}", self.group)]);
            let groups: Vec<_> = self.groups.iter().map(i64::to_string).collect();
            words.push(match groups.is_empty() {
                true => "--clear-groups".to_owned(),
                false => format!("--groups={}", groups.join(",")),
            });
        }
        if self.drops_capabilities {
            words.extend(["--bounding-set=-all", "--inh-caps=-all"].map(str::to_owned));
        }
        words.push("--".to_owned());
        words
    }
}

/// The group that owns the volumes of a pod, where there is one.
pub(super) fn group_of_volumes(pod: &PodSpec) -> Option<u32> {
    let group = pod.security_context.as_ref()?.fs_group?;
    has_users().then(|| group.try_into().ok()).flatten()
}

/// Gives a file to the group, which may then read it.
pub(super) fn give(path: &Path, group: Option<u32>) -> io::Result<()> {
    match group {
        Some(group) => chown(path, None, Some(group)),
        None => Ok(()),
    }
}

fn has_users() -> bool {
    fs::read_to_string(USERS).is_ok_and(|map| map.contains(ALL_USERS))
}
