//! The program of the image, which `make image-binary` builds: what a base without anything asks of it.
//!
//! It is run as a container runs it: alone in a file system that cannot be written, with an empty
//! environment, by an account without a name. There it finds the API server of a kubeconfig by DNS, and
//! speaks TLS with it.

use std::{
    env, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use nix::unistd::geteuid;

use crate::{
    api::Api,
    program::{root, run},
};

/// Where `make image-binary` puts it.
const BINARY: &str = "target/static/convoy";

/// First argument of this test program when it runs in namespaces of its own.
pub(crate) const INSIDE: &str = "inside-namespaces";

/// A node pulls the image before it can start a Pod there. It is a third more than what there is.
const MAX_BYTES: u64 = 40_000_000;

/// Of the image: an account without a name, and so without a home.
const USER: &str = "65532";

fn binary() -> PathBuf {
    root().join(BINARY)
}

/// What is missing, and what mends it.
pub(crate) fn missing() -> Option<String> {
    let is_missing = !binary().is_file();
    is_missing.then(|| format!("there is no {BINARY}: `make image-binary` builds it"))
}

pub(crate) fn binary_is_static_and_small() {
    let bytes = fs::read(binary()).unwrap();
    assert_eq!(dynamic(&bytes), Vec::<String>::new());
    assert!((bytes.len() as u64) < MAX_BYTES, "{} bytes", bytes.len());
    // What a program that is not static shows: this one.
    let bytes = fs::read(env::current_exe().unwrap()).unwrap();
    let found = dynamic(&bytes);
    assert!(found.len() > 1 && found.contains(&"PT_INTERP".to_owned()), "{found:?}");
}

/// What a program for 64 bits asks to be loaded with it: its interpreter, and shared libraries.
fn dynamic(elf: &[u8]) -> Vec<String> {
    const PT_DYNAMIC: u64 = 2;
    const PT_INTERP: u64 = 3;
    const DT_NEEDED: u64 = 1;
    assert_eq!(&elf[..6], b"\x7fELF\x02\x01", "64 bits, the least significant byte first");
    let number = |at: u64, bytes: usize| -> u64 {
        let field = &elf[at as usize..][..bytes];
        field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    let headers = (0..count).map(|index| table + index * size);
    headers
        .flat_map(|header| match number(header, 4) {
            PT_INTERP => vec!["PT_INTERP".to_owned()],
            PT_DYNAMIC => {
                let (at, bytes) = (number(header + 8, 8), number(header + 32, 8));
                let entries = (at..at + bytes).step_by(16);
                let needed = entries.filter(|entry| number(*entry, 8) == DT_NEEDED);
                needed.map(|entry| format!("DT_NEEDED at {entry}")).collect()
            }
            _ => Vec::new(),
        })
        .collect()
}

pub(crate) fn binary_runs_with_nothing_beside_it() {
    let mut words = vec!["--pdeathsig", "KILL", "unshare"];
    if !geteuid().is_root() {
        words.extend(["--user", "--map-root-user"]);
    }
    words.extend(["--net", "--mount", "--pid", "--fork", "--kill-child", "--"]);
    let program = env::current_exe().unwrap();
    words.extend([program.to_str().unwrap(), INSIDE]);
    run(Path::new("setpriv"), &words).unwrap_or_else(|said| panic!("{said}"));
}

/// The test, in namespaces of its own: only there may it mount, and be the name server.
pub(crate) fn inside() {
    run(Path::new("ip"), &["link", "set", "lo", "up"]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path();
    let at = image.to_str().unwrap();
    let mount = |words: &[&str]| run(Path::new("mount"), &[words, &[at]].concat()).unwrap();
    mount(&["-t", "tmpfs", "convoy"]);
    fs::copy(binary(), image.join("convoy")).unwrap();
    fs::create_dir(image.join("etc")).unwrap();
    // What a container runtime adds to every image.
    fs::create_dir(image.join("dev")).unwrap();
    for device in ["/dev/null", "/dev/random", "/dev/urandom"] {
        let target = format!("{at}{device}");
        fs::write(&target, "").unwrap();
        run(Path::new("mount"), &["--bind", device, &target]).unwrap();
    }
    fs::write(image.join("etc/resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
    let api = Api::start();
    fs::write(image.join("kubeconfig"), api.kubeconfig()).unwrap();
    mount(&["-o", "remount,bind,ro"]);

    let written = fs::write(image.join("file"), "").unwrap_err();
    assert_eq!(written.kind(), ErrorKind::ReadOnlyFilesystem);
    let version = format!("convoy {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(contained(image, &["--version"]), version);
    assert!(contained(image, &["serve", "--help"]).contains("--kubeconfig"));
    let listen = ["--xds-listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"];
    let serve = command(image).args(["serve", "--kubeconfig=/kubeconfig"]).args(listen).spawn();
    let _serve = Ended(serve.unwrap());
    // It has found the name, and trusts the certificate.
    let request = api.first_request();
    assert!(request.starts_with("GET /api"), "{request}");
}

/// `/convoy` as a container runs it.
fn command(image: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.arg("--root").arg(image);
    // Others than root may not become anybody else in their namespace.
    if may_be_anybody() {
        command.args(["--setgid", USER, "--setuid", USER]);
    }
    command.arg("/convoy").env_clear();
    command
}

/// Whether all users are mapped into this namespace, as they are into the first one.
fn may_be_anybody() -> bool {
    fs::read_to_string("/proc/self/uid_map").unwrap().contains("4294967295")
}

/// What it prints.
fn contained(image: &Path, args: &[&str]) -> String {
    let output = command(image).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Killed when dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}
