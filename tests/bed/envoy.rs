//! A stock Envoy process.

use std::{
    env, fs,
    io::{self, BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::{
    client::{Client, get},
    netns::run,
    poll::eventually,
};

/// Where every Envoy serves its admin interface, in its own namespace.
pub(crate) const ADMIN: SocketAddr =
    SocketAddr::V4(std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9901));

/// Start-up takes a fraction of a second; on a busy machine it must not fail a test.
const START: Duration = Duration::from_secs(20);

/// Says that the new network namespace is there, waits for its cable, then becomes the program
/// that its arguments name.
const ELSEWHERE: &str = "echo here; read _; ip link set lo up; ip link set eth0 up;
ip address add 192.168.0.2/24 dev eth0; ip route add default via 192.168.0.1; exec \"$0\" \"$@\"";

/// An Envoy that runs; it ends with this value.
pub(crate) struct Envoy {
    process: Child,
    lines: Arc<Mutex<Vec<String>>>,
    log: PathBuf,
    admin: Client,
}

impl Envoy {
    /// Starts an Envoy from a bootstrap; its files go to `dir`.
    pub(crate) fn start(bootstrap: &str, dir: &Path) -> Envoy {
        let mut envoy = Envoy::spawn(Command::new(binary()), bootstrap, dir);
        let (out, lines) = (envoy.process.stdout.take().unwrap(), envoy.lines.clone());
        let keep = move |line: io::Result<String>| lines.lock().unwrap().push(line.unwrap());
        thread::spawn(move || BufReader::new(out).lines().for_each(keep));
        envoy
    }

    /// What it has written to its standard output so far: the access log.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let lines = self.lines.lock().unwrap();
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Starts an Envoy on a machine of its own, where it has the ports of a gateway to itself, and
    /// returns the address of that machine. Its admin interface is out of reach.
    pub(crate) fn start_elsewhere(bootstrap: &str, dir: &Path) -> (Envoy, Ipv4Addr) {
        let mut shell = Command::new("unshare");
        shell.args(["--net", "--", "sh", "-c", ELSEWHERE]).arg(binary());
        let mut envoy = Envoy::spawn(shell, bootstrap, dir);
        let mut line = String::new();
        BufReader::new(envoy.process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid = envoy.process.id();
        let cable = format!("link add cable type veth peer name eth0 netns {pid}");
        for words in [cable.as_str(), "address add 192.168.0.1/24 dev cable", "link set cable up"] {
            run("ip", &words.split(' ').collect::<Vec<_>>());
        }
        // Its standard input closes: the cable is there.
        drop(envoy.process.stdin.take());
        (envoy, Ipv4Addr::new(192, 168, 0, 2))
    }

    fn spawn(mut command: Command, bootstrap: &str, dir: &Path) -> Envoy {
        fs::create_dir_all(dir).unwrap();
        let config = dir.join("envoy.yaml");
        fs::write(&config, bootstrap).unwrap();
        let log = dir.join("envoy.log");
        // What it says when it crashes goes where it says everything else.
        let last_words = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let process = command
            // One worker, so that the schedule of a cluster is one sequence. Tests need no restart
            // without loss, and a base id would be one more thing to clash.
            .args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"])
            // Ten seconds otherwise.
            .args(["--file-flush-interval-msec", "50"])
            .arg("--config-path")
            .arg(&config)
            .arg("--log-path")
            .arg(&log)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(last_words)
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", binary().display()));
        Envoy { process, lines: Arc::default(), log, admin: Client::plain(ADMIN) }
    }

    /// Waits until every listener has what it needs to serve.
    pub(crate) async fn live(&mut self) {
        let process = &mut self.process;
        let admin = &self.admin;
        eventually(START, "Envoy is live", || {
            assert!(process.try_wait().unwrap().is_none(), "Envoy ended at start");
            async move {
                let reply = admin.send(&get("/ready")).await?;
                let text = String::from_utf8_lossy(&reply.body).trim().to_owned();
                if reply.status.is_success() { Ok(()) } else { Err(text) }
            }
        })
        .await;
    }

    /// `GET path` on the admin interface.
    pub(crate) async fn admin(&self, path: &str) -> String {
        self.try_admin(path).await.unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    /// The same of an Envoy that may have ended.
    pub(crate) async fn try_admin(&self, path: &str) -> Result<String, String> {
        let reply = self.admin.send(&get(path)).await?;
        Ok(String::from_utf8(reply.body.to_vec()).unwrap())
    }

    /// Everything it was told, endpoints included.
    pub(crate) async fn config_dump(&self) -> Value {
        serde_json::from_str(&self.admin("/config_dump?include_eds").await).unwrap()
    }

    /// The sum of the counters and gauges whose whole name matches.
    pub(crate) async fn stat(&self, name: &str) -> u64 {
        let text = self.admin(&format!("/stats?filter=^{name}$")).await;
        let value = |line: &str| line.rsplit_once(": ").and_then(|(_, n)| n.parse::<u64>().ok());
        text.lines().filter_map(value).sum()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself; then the test says why it minds.
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }

    /// The last lines of its log.
    pub(crate) fn log(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(40).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `ENVOY_BIN`, then `PATH`, then what `make` fetched into `target/envoy/`.
pub(crate) fn binary() -> PathBuf {
    if let Some(path) = env::var_os("ENVOY_BIN") {
        return path.into();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let in_path = env::split_paths(&path).map(|dir| dir.join("envoy")).find(|file| file.is_file());
    in_path.or_else(fetched).expect("an Envoy: set ENVOY_BIN, or run `make envoy`")
}

fn fetched() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/envoy");
    let versions = fs::read_dir(target).ok()?;
    versions.filter_map(|entry| Some(entry.ok()?.path().join("envoy"))).find(|file| file.is_file())
}
