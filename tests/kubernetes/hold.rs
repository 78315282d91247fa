//! A world for a person: `make bed`.

use std::{
    env, fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tokio::runtime::Runtime;

use crate::clusters::{World, cluster::Cluster};

/// Says to a process that it is in namespaces of its own, and who made them: [`AS_ROOT`] or [`AS_USER`].
pub(crate) const ENTERED: &str = "CONVOY_BED_ENTERED";
pub(crate) const AS_ROOT: &str = "root";
pub(crate) const AS_USER: &str = "user";

/// Starts a fleet with two members, says how to reach it, and keeps it until Ctrl-C.
pub(crate) fn show(runtime: &Runtime) {
    println!("starting a fleet with members c1 and c2");
    let world = runtime.block_on(World::start(&["c1", "c2"]));
    let enter = write_enter(world.dir());
    println!("\nThey are in a network of their own. This runs a command there:\n");
    println!("  {} COMMAND\n", enter.display());
    let enter = enter.display();
    world.clusters().for_each(say);
    let (kubectl, config) = (world.fleet.programs.kubectl.display(), world.fleet.kubeconfig());
    println!("\nFor example, from another terminal:\n");
    println!("  KUBECONFIG={} {enter} {kubectl} get namespaces", config.display());
    println!("\nCtrl-C ends it.");
    // Nothing comes in; at the end of it the world ends.
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
}

/// A program that runs another one where the clusters are.
fn write_enter(dir: &Path) -> PathBuf {
    // What `/proc` shows is named as outside: in here this process is the first.
    let process = fs::read_link("/proc/self").unwrap();
    let by_user = env::var(ENTERED).is_ok_and(|by| by == AS_USER);
    let how = if by_user { "--user --preserve-credentials --net" } else { "--net" };
    let script =
        format!("#!/bin/sh\nexec nsenter --target {} {how} -- \"$@\"\n", process.display());
    let path = dir.join("enter");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn say(cluster: &Cluster) {
    println!("  {:<6} KUBECONFIG={}", cluster.name, cluster.kubeconfig().display());
}
