//! Everything that runs: the pods of both clusters, the line, Convoy, and Envoy in front.

use std::{
    io::{self, Write},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{net::TcpStream, process::Command, time::Instant};

use crate::cli::demo::{
    line::{Line, NodePort},
    load,
    play::{Loss, Node, Play, Ports, Workload},
    process::{self, Process, Scratch},
};

/// A debug build of Convoy with a cold disk cache starts within a second; Envoy within two.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How often a starting process is looked at.
const START_POLL: Duration = Duration::from_millis(50);

/// The running demo. Dropping it ends every process.
pub(super) struct Stage {
    play: &'static Play,
    /// `None` where every pod is reached itself.
    line: Option<Line>,
    pods: Vec<(&'static Workload, Option<Process>)>,
    convoy: Process,
    envoy: Process,
    program: PathBuf,
    port: u16,
    pod_port: u16,
    // Last: removed when the processes are gone.
    scratch: Scratch,
}

impl Stage {
    /// Starts everything, and waits until the gateway answers on `port`; 0 picks a free one.
    pub(super) async fn start(play: &'static Play, port: u16) -> Result<Stage> {
        let port = free_port(Ipv4Addr::LOCALHOST, port)
            .with_context(|| format!("port {port} is taken: choose another with --port"))?;
        let program = std::env::current_exe().context("find this program")?;
        let envoy = process::find_envoy().await?;
        let scratch = Scratch::new()?;
        let dir = scratch.path().to_owned();
        let pod_port = free_port(Ipv4Addr::UNSPECIFIED, 0)?;
        let ports =
            Ports { gateway: port, pods: pod_port, nodes: free_port(Ipv4Addr::UNSPECIFIED, 0)? };
        play.write(&dir, ports)?;
        let [first, second] = &play.clusters;
        say(&format!("starting two clusters: {}, and {}", first.has, second.has))?;
        let mut pods = Vec::new();
        for workload in play.workloads {
            let process = start_pods(workload, &program, &dir, pod_port).await?;
            pods.push((workload, Some(process)));
        }
        let line = match play.nodes {
            [] => None,
            _some => Some(Line::open(node_ports(play, ports)).await?),
        };
        say("starting Convoy")?;
        let (xds, admin) = (dir.join("xds.sock"), free_port(Ipv4Addr::LOCALHOST, 0)?);
        let convoy = start_convoy(&program, &dir, port, &xds, admin).await?;
        say(&format!("starting Envoy ({})", envoy.display()))?;
        let envoy = start_envoy(play, &envoy, &program, &dir, port, &xds).await?;
        Ok(Stage { play, line, pods, convoy, envoy, program, port, pod_port, scratch })
    }

    /// Where the gateway answers.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// What is played.
    pub(super) fn play(&self) -> &'static Play {
        self.play
    }

    /// The first cluster is lost; nobody tells Convoy.
    pub(super) async fn lose(&mut self) -> Result<()> {
        match (self.play.loss, &mut self.line) {
            (Loss::Kill(member), _) => {
                for (workload, process) in &mut self.pods {
                    if let Some(mut process) = process.take_if(|_| workload.member == member) {
                        process.kill().await?;
                    }
                }
            }
            (Loss::Cut, Some(line)) => line.cut().await,
            (Loss::Cut, None) => {}
        }
        Ok(())
    }

    /// It is back, at the addresses that it had.
    pub(super) async fn bring_back(&mut self) -> Result<()> {
        if let (Loss::Cut, Some(line)) = (self.play.loss, &mut self.line) {
            line.mend().await?;
        }
        for (workload, process) in &mut self.pods {
            if process.is_none() {
                let dir = self.scratch.path();
                *process = Some(start_pods(workload, &self.program, dir, self.pod_port).await?);
            }
        }
        Ok(())
    }

    /// An error if Convoy or Envoy has ended.
    pub(super) fn ensure_alive(&mut self) -> Result<()> {
        self.convoy.ensure_alive()?;
        self.envoy.ensure_alive()
    }

    /// What Convoy and Envoy said last, on stderr.
    pub(super) fn print_logs(&self) {
        eprint!("{}{}", self.convoy.log_tail(), self.envoy.log_tail());
    }
}

fn node_ports(play: &Play, ports: Ports) -> Vec<NodePort> {
    let node_port = |node: &Node| {
        let behind = play.workloads.iter().filter(|own| own.env == node.env);
        let pods = behind.flat_map(|own| own.addresses);
        NodePort {
            at: (node.address, ports.nodes).into(),
            pods: pods.map(|pod| (*pod, ports.pods).into()).collect(),
        }
    };
    play.nodes.iter().map(node_port).collect()
}

/// All pods of a workload are one process, so that one SIGKILL ends them at the same moment.
async fn start_pods(workload: &Workload, program: &Path, dir: &Path, port: u16) -> Result<Process> {
    let Workload { member, service, env, addresses } = workload;
    let mut args = vec!["echo".to_owned()];
    for (flag, value) in [("--env", env), ("--cluster", member), ("--svc", service)] {
        args.extend([flag.to_owned(), (*value).to_owned()]);
    }
    for (idx, address) in addresses.iter().enumerate() {
        args.extend(["--pod".to_owned(), format!("{service}-{idx}={address}:{port}")]);
    }
    let mut process = Process::spawn(env, dir, program, args)?;
    for address in *addresses {
        let listens = async || TcpStream::connect((*address, port)).await.is_ok();
        wait_until(&mut process, "the pods listen", listens).await?;
    }
    Ok(process)
}

async fn start_convoy(
    program: &Path,
    dir: &Path,
    port: u16,
    xds: &Path,
    admin: u16,
) -> Result<Process> {
    // Another Envoy of this machine may have the usual one.
    let ready = free_port(Ipv4Addr::LOCALHOST, 0)?;
    let args = [
        "serve".to_owned(),
        format!("--fleet-dir={}", dir.display()),
        format!("--xds-listen=unix:{}", xds.display()),
        format!("--admin-listen=127.0.0.1:{admin}"),
        "--listen-address=127.0.0.1".to_owned(),
        format!("--http-port={port}"),
        format!("--ready-port={ready}"),
        // The pods of the demo are on this machine.
        "--allow-loopback-endpoints".to_owned(),
    ];
    let mut process = Process::spawn("convoy", dir, program, args)?;
    let client = load::client();
    let url = format!("http://127.0.0.1:{admin}/readyz");
    let is_ready = async || load::get(&client, &url, None).await.is_ok();
    wait_until(&mut process, "Convoy is ready", is_ready).await?;
    Ok(process)
}

async fn start_envoy(
    play: &Play,
    envoy: &Path,
    program: &Path,
    dir: &Path,
    port: u16,
    xds: &Path,
) -> Result<Process> {
    let admin = dir.join("envoy.sock");
    let bootstrap = Command::new(program)
        .args(["bootstrap", "--gateway", play.gateway])
        .arg(format!("--xds=unix:{}", xds.display()))
        .arg(format!("--admin-listen={}", admin.display()))
        .output()
        .await
        .context("run convoy bootstrap")?;
    if !bootstrap.status.success() {
        bail!("convoy bootstrap: {}", String::from_utf8_lossy(&bootstrap.stderr));
    }
    let config = dir.join("envoy.yaml");
    std::fs::write(&config, bootstrap.stdout).context("write Envoy's bootstrap")?;
    let config = config.display().to_string();
    // Hot restart shares memory with other Envoys of the machine; two threads show that the split
    // is one of the gateway and not of each thread.
    let args = ["-c", &config, "--disable-hot-restart", "--concurrency", "2", "-l", "warning"];
    let mut process = Process::spawn("envoy", dir, envoy, args)?;
    let client = load::client();
    let url = format!("http://127.0.0.1:{port}/svc1");
    let answers = async || load::get(&client, &url, None).await.is_ok();
    wait_until(&mut process, "the gateway answers", answers).await?;
    Ok(process)
}

async fn wait_until(
    process: &mut Process,
    what: &str,
    holds: impl AsyncFn() -> bool,
) -> Result<()> {
    let limit = Instant::now() + START_LIMIT;
    while !holds().await {
        process.ensure_alive()?;
        if Instant::now() > limit {
            bail!("waited {START_LIMIT:?} until {what}\n{}", process.log_tail());
        }
        tokio::time::sleep(START_POLL).await;
    }
    Ok(())
}

/// `port` if nobody listens on it at the moment; 0 picks one.
fn free_port(address: Ipv4Addr, port: u16) -> io::Result<u16> {
    Ok(TcpListener::bind((address, port))?.local_addr()?.port())
}

fn say(line: &str) -> Result<()> {
    writeln!(io::stdout(), "{line}").context("print")
}
