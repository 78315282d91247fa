//! What strangers' kubeconfigs make Convoy do, seen from outside (faults.md S5).
//!
//! The intake runs in a process of its own over every file of a corpus: the sanitiser, and where it
//! accepts, the client that a member is read with. Each file names programs, files and servers
//! that are watched: a program leaves a mark, a file is a FIFO on which a reader would hang, a
//! server counts who comes. Where `strace` is installed the kernel says the same of everything
//! else: between two lines of output no process starts, no file is opened and nothing connects.

// Tests state their assumptions by failing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

use std::{
    env, fs, io,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use convoy::source::registry::check_kubeconfig;

/// Set in the process that plays the intake: the directory of the corpus.
const CORPUS: &str = "CONVOY_TEST_CORPUS";
/// Set where the intake is to misbehave, so that the test is seen to notice: what it does.
const CRIME: &str = "CONVOY_TEST_CRIME";

const BEGIN: &str = "the intake begins";
const END: &str = "the intake ends";

/// What is accepted: the legal file, and a token whose YAML tag asks for a program. A tag is
/// decoration here, so that token is a text like any other.
const ACCEPTED: &str = "00-legal 05-exec-by-tag";

/// Far above what a bounded document takes; a reader of a FIFO hangs for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// What hostile files name.
struct Bait {
    dir: PathBuf,
    server: TcpListener,
}

impl Bait {
    fn new(dir: &Path) -> Bait {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        server.set_nonblocking(true).unwrap();
        let bait = Bait { dir: dir.to_owned(), server };
        let script = format!("#!/bin/sh\ntouch {}\n", bait.path("mark").display());
        fs::write(bait.path("program"), script).unwrap();
        fs::set_permissions(bait.path("program"), fs::Permissions::from_mode(0o755)).unwrap();
        let made = Command::new("mkfifo").arg(bait.path("file")).status().unwrap();
        assert!(made.success());
        bait
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn address(&self) -> String {
        self.server.local_addr().unwrap().to_string()
    }

    /// What was taken.
    fn taken(&self) -> Vec<&'static str> {
        let came = self.server.accept().map(drop);
        let came = !came.is_err_and(|err| err.kind() == io::ErrorKind::WouldBlock);
        let all = [(self.path("mark").exists(), "a program ran"), (came, "somebody connected")];
        all.into_iter().filter_map(|(taken, what)| taken.then_some(what)).collect()
    }
}

/// A kubeconfig with these lines in its cluster and its user.
fn kubeconfig(cluster: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: a\n  cluster: {{{cluster}}}\nusers:\n\
         - name: a\n  user: {{{user}}}\ncontexts:\n- name: a\n  context: {{cluster: a, user: a}}\n\
         current-context: a\n"
    )
}

/// Every file, by name. [`ACCEPTED`] has those that are.
fn corpus(bait: &Bait) -> Vec<(&'static str, Vec<u8>)> {
    let (program, file, at) = (bait.path("program"), bait.path("file"), bait.address());
    let (program, file) = (program.display(), file.display());
    let ca = rcgen::generate_simple_self_signed(["api".to_owned()]).unwrap().cert.pem();
    let ca = format!("certificate-authority-data: {}", STANDARD.encode(ca));
    let cluster = format!("server: 'https://{at}', {ca}");
    let user = "token: t0ken";
    let server = |url: &str| kubeconfig(&format!("server: '{url}', {ca}"), user);
    let in_cluster = |field: &str| kubeconfig(&format!("{cluster}, {field}"), user);
    let in_user = |field: &str| kubeconfig(&cluster, &format!("{user}, {field}"));
    let only = |field: &str| kubeconfig(&cluster, field);
    let exec = format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, command: '{program}', \
         interactiveMode: Never}}"
    );
    let good = kubeconfig(&cluster, user);
    let bomb = (1..40).fold("a0: &a0 [x]\n".to_owned(), |text, n| {
        let last = n - 1;
        text + &format!("a{n}: &a{n} [*a{last}, *a{last}, *a{last}, *a{last}]\n")
    });
    let texts = [
        ("legal", good.clone()),
        ("exec", only(&exec)),
        ("exec-beside-token", in_user(&exec)),
        (
            "exec-in-an-unused-user",
            good.replace("users:\n", &format!("users:\n- name: b\n  user: {{{exec}}}\n")),
        ),
        (
            "exec-by-merge",
            good.replace("users:", &format!("x: &x {{{exec}}}\nusers:"))
                .replace(user, "<<: *x, token: t"),
        ),
        ("exec-by-tag", only(&format!("token: !!exec '{program}'"))),
        (
            "auth-provider-gcp",
            only(&format!("auth-provider: {{name: gcp, config: {{cmd-path: '{program}'}}}}")),
        ),
        (
            "auth-provider-oidc",
            only(&format!(
                "auth-provider: {{name: oidc, config: {{idp-issuer-url: 'https://{at}'}}}}"
            )),
        ),
        (
            "ca-file",
            kubeconfig(&format!("server: 'https://{at}', certificate-authority: '{file}'"), user),
        ),
        ("ca-file-beside-data", in_cluster(&format!("certificate-authority: '{file}'"))),
        (
            "client-certificate-file",
            only(&format!("client-certificate: '{file}', client-key: '{file}'")),
        ),
        ("client-key-file", in_user(&format!("client-key: '{file}'"))),
        ("token-file", only(&format!("tokenFile: '{file}'"))),
        ("token-file-beside-token", in_user(&format!("tokenFile: '{file}'"))),
        ("token-file-relative", only("tokenFile: ../../../etc/passwd")),
        ("insecure", in_cluster("insecure-skip-tls-verify: true")),
        ("proxy", in_cluster(&format!("proxy-url: 'http://{at}'"))),
        ("proxy-socks", in_cluster(&format!("proxy-url: 'socks5://{at}'"))),
        ("impersonation", in_user("as: system:admin")),
        ("impersonation-of-groups", in_user("as-groups: ['system:masters']")),
        ("impersonation-of-a-uid", in_user("as-uid: '0'")),
        ("password", only("username: a, password: b")),
        ("http", server(&format!("http://{at}"))),
        ("userinfo", server(&format!("https://a:b@{at}"))),
        ("redirect-by-query", server(&format!("https://{at}/?next=http://{at}"))),
        ("fragment", server(&format!("https://{at}/#x"))),
        ("unix", server(&format!("unix://{file}"))),
        ("file", server(&format!("file://{file}"))),
        ("ftp", server(&format!("ftp://{at}"))),
        ("no-scheme", server(&at)),
        ("metadata-v4", server("https://169.254.169.254")),
        ("metadata-mapped", server("https://[::ffff:169.254.169.254]")),
        ("metadata-as-a-number", server("https://2852039166")),
        ("unspecified", server("https://0.0.0.0:6443")),
        ("multicast", server("https://224.0.0.1")),
        ("link-local-with-a-zone", server("https://[fe80::1%25eth0]:6443")),
        ("no-ca", kubeconfig(&format!("server: 'https://{at}'"), user)),
        ("header-in-token", only("token: \"a\\r\\nHost: b\"")),
        ("unknown-context", good.replace("current-context: a", "current-context: b")),
        (
            "two-users-of-a-name",
            good.replace("users:\n", &format!("users:\n- name: a\n  user: {{{exec}}}\n")),
        ),
        ("duplicate-key", good.replace("token: t0ken", "token: a, token: b")),
        ("two-documents", format!("{good}---\n{}", only(&exec))),
        ("bomb", format!("{bomb}{good}")),
        ("alias-of-itself", "a: &a [*a]\n".to_owned()),
        ("deep", "[".repeat(100_000)),
        ("huge", format!("{good}# {}", "x".repeat(8 << 20))),
        ("empty", String::new()),
        (
            "json-with-exec",
            format!(
                "{{\"users\": [{{\"name\": \"a\", \"user\": {{\"exec\": {{\"command\": \"{program}\"}}}}}}]}}"
            ),
        ),
    ];
    let mut corpus: Vec<_> =
        texts.into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
    corpus.push(("not-utf-8", [good.as_bytes(), b"# \xff\xfe\n"].concat()));
    corpus.push(("utf-16", good.encode_utf16().flat_map(u16::to_le_bytes).collect()));
    corpus.push(("nul", [good.as_bytes(), b"\0"].concat()));
    corpus
}

/// The part of the other process; it does nothing where nobody asks.
#[test]
fn intake() {
    let Ok(dir) = env::var(CORPUS) else { return };
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let files: Vec<_> = files.iter().map(|path| (path, fs::read(path).unwrap())).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let inside = runtime.enter();
    println!("{BEGIN}");
    let accepted = files.iter().filter_map(|(path, content)| {
        let credentials = check_kubeconfig(content).ok()?;
        // What a member is read with. It connects when it is asked something.
        kube::Client::try_from(credentials.client_config()).unwrap();
        Some(path.file_stem().unwrap().to_str().unwrap())
    });
    let accepted = accepted.collect::<Vec<_>>().join(" ");
    match env::var(CRIME).as_deref() {
        Ok("process") => assert!(Command::new("true").status().unwrap().success()),
        Ok("file") => drop(fs::read("/etc/hostname")),
        Ok("connection") => drop(std::net::TcpStream::connect("127.0.0.1:9")),
        Ok(other) => panic!("{other}"),
        Err(_) => {}
    }
    println!("{END}: accepted {accepted}");
    drop(inside);
}

/// Runs [`intake`] in a process of its own, below `wrapper`.
fn run(wrapper: &[&str], dir: &Path, crime: Option<&str>) -> Output {
    let own = env::current_exe().unwrap();
    let (program, arguments) = match wrapper {
        [] => (own.as_os_str(), Vec::new()),
        [program, rest @ ..] => (program.as_ref(), [rest, &[own.to_str().unwrap()]].concat()),
    };
    let mut command = Command::new(program);
    command.args(arguments).args(["--exact", "intake", "--nocapture", "--test-threads=1"]);
    command.env(CORPUS, dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(crime) = crime {
        command.env(CRIME, crime);
    }
    let mut child = command.spawn().unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("the intake hangs: it reads a file that a kubeconfig names");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().unwrap()
}

fn accepted(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.split_once(&format!("{END}: accepted ")));
    let why = String::from_utf8_lossy(&output.stderr);
    line.unwrap_or_else(|| panic!("{text}\n{why}")).1.to_owned()
}

/// What the kernel was asked between the two lines: processes, files, connections.
fn calls(dir: &Path, crime: Option<&str>) -> Vec<String> {
    let trace = dir.with_extension("trace");
    let watched = "trace=execve,execveat,fork,vfork,clone,clone3,open,openat,openat2,socket,connect,\
                   bind,sendto,sendmsg,write";
    let strace = ["strace", "-f", "-qq", "-s", "64", "-e", watched, "-o", trace.to_str().unwrap()];
    assert_eq!(accepted(&run(&strace, dir, crime)), ACCEPTED);
    let trace = fs::read_to_string(trace).unwrap();
    let lines = trace.lines().skip_while(|line| !line.contains(BEGIN)).skip(1);
    let between = lines.take_while(|line| !line.contains(END));
    between.filter(|line| !line.contains(" write(")).map(str::to_owned).collect()
}

#[test]
fn fault_s05_hostile_kubeconfigs_run_read_and_reach_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let bait = Bait::new(dir.path());
    let corpus = corpus(&bait);
    assert!(corpus.len() >= 30);
    let files = dir.path().join("corpus");
    fs::create_dir(&files).unwrap();
    for (idx, (name, content)) in corpus.iter().enumerate() {
        fs::write(files.join(format!("{idx:02}-{name}.yaml")), content).unwrap();
    }
    assert_eq!(accepted(&run(&[], &files, None)), ACCEPTED, "and nothing else");
    assert_eq!(bait.taken(), [""; 0]);

    // The bait can be taken.
    assert!(Command::new(bait.path("program")).status().unwrap().success());
    drop(std::net::TcpStream::connect(bait.address()).unwrap());
    assert_eq!(bait.taken(), ["a program ran", "somebody connected"]);

    if Command::new("strace").arg("-V").output().is_err() {
        println!("strace is missing: only what the files name was watched");
        return;
    }
    let calls_of_all = calls(&files, None);
    assert!(calls_of_all.is_empty(), "{calls_of_all:#?}");
    for crime in ["process", "file", "connection"] {
        assert!(!calls(&files, Some(crime)).is_empty(), "a {crime} is not noticed");
    }
}
