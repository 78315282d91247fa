//! What a container sees of the machine: a root of its own, in a mount namespace of its own.

use std::path::PathBuf;

use tokio::process::Command;

/// Makes the root and becomes the program. Its first line of output says what it is called in `/proc`
/// and that all is in place; what follows goes where its errors go. Its own `/dev/shm` keeps Envoys
/// apart; names are looked up in `/etc/hosts` only.
const ENTER: &str = r#"
root=$1 hosts=$2 writable=$3; shift 3
mount -t tmpfs -o mode=755 bed "$root"; cd "$root"
mkdir -p dev proc sys tmp etc usr/local/bin; chmod 1777 tmp
for dir in /bin /sbin /lib /lib32 /lib64 /usr/*; do
  [ $dir = /usr/local ] && continue
  if [ -L $dir ]; then cp -P $dir .$dir; elif [ -d $dir ]; then mkdir .$dir; mount --rbind $dir .$dir; fi
done
for dir in /dev /proc /sys; do mount --rbind $dir .$dir; done
mount -t tmpfs bed dev/shm
echo 'hosts: files' >etc/nsswitch.conf; echo 'root:x:0:0::/:/bin/sh' >etc/passwd
touch etc/hosts; mount --bind "$hosts" etc/hosts
while [ "$1" != -- ]; do
  if [ -d "$1" ]; then mkdir -p ".$2"; else mkdir -p ".${2%/*}"; touch ".$2"; fi
  mount --bind "$1" ".$2"; shift 2
done; shift
[ $writable = yes ] || mount -o remount,bind,ro "$root"
read pid _ </proc/self/stat; echo $pid
exec chroot . "$@" >&2
"#;

/// A root that is to be made.
pub(super) struct Root {
    /// An empty directory, on which it is mounted.
    pub(super) dir: PathBuf,
    pub(super) hosts: PathBuf,
    /// What is bound where, in order; where begins with a slash and does not end with one.
    pub(super) mounts: Vec<(PathBuf, String)>,
    pub(super) is_read_only: bool,
}

impl Root {
    /// Has a command, which runs the program that its further arguments name, run `line` in this root.
    pub(super) fn enter(&self, command: &mut Command, line: &[String]) {
        command
            .args([
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "--",
                "sh",
                "-ec",
                ENTER,
                "sh",
            ])
            .arg(&self.dir)
            .arg(&self.hosts)
            .arg(if self.is_read_only { "no" } else { "yes" });
        for (from, to) in &self.mounts {
            command.arg(from).arg(to);
        }
        command.arg("--").args(line);
    }
}
