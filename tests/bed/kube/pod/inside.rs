//! What a kubelet does to a container that runs: it asks, connects, or runs a command inside.

use std::{
    ffi::OsStr,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use k8s_openapi::{
    api::core::v1::{
        Container, ExecAction, HTTPGetAction, LifecycleHandler, Probe, TCPSocketAction,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use tokio::{net::TcpStream, process::Command, time};

use super::env::Environment;
use crate::bed::client::{Client, get};

/// A container that runs.
#[derive(Clone)]
pub(super) struct Inside {
    pub(super) address: Ipv4Addr,
    pub(super) container: Container,
    pub(super) environment: Environment,
    /// What its process is called in `/proc`; None of one that is not isolated.
    pub(super) pid: Option<u32>,
    /// What goes before a command, so that it runs as the container's user.
    pub(super) prefix: Vec<String>,
    /// Where the output of commands goes.
    pub(super) log: PathBuf,
}

impl Inside {
    /// # Errors
    /// Why the probe failed.
    pub(super) async fn probe(&self, probe: &Probe, patience: Duration) -> Result<(), String> {
        let attempt = async {
            if let Some(get) = &probe.http_get {
                return self.http(get, patience).await;
            }
            if let Some(socket) = &probe.tcp_socket {
                return self.tcp(socket).await;
            }
            match &probe.exec {
                Some(exec) => self.exec(exec).await,
                None => Err("the bed does not know this probe".to_owned()),
            }
        };
        time::timeout(patience, attempt).await.unwrap_or(Err("timeout".to_owned()))
    }

    /// Runs a hook to its end. That it failed is no reason to keep a pod.
    pub(super) async fn hook(&self, hook: &LifecycleHandler) {
        if let Some(sleep) = &hook.sleep {
            time::sleep(Duration::from_secs(sleep.seconds.unsigned_abs())).await;
        }
        if let Some(exec) = &hook.exec {
            let _ = self.exec(exec).await;
        }
        if let Some(get) = &hook.http_get {
            let _ = self.http(get, Duration::from_secs(60)).await;
        }
    }

    /// The last line of its output.
    pub(super) fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        format!("it ended before it ran: {}", text.lines().last().unwrap_or_default())
    }

    async fn http(&self, action: &HTTPGetAction, patience: Duration) -> Result<(), String> {
        let to = self.socket(action.host.as_deref(), &action.port)?;
        let mut request = get(action.path.as_deref().unwrap_or("/")).patience(patience);
        request = request.host(&to.to_string()).header("user-agent", "kube-probe/1.37");
        for header in action.http_headers.iter().flatten() {
            let is_host = header.name.eq_ignore_ascii_case("host");
            request = match is_host {
                true => request.host(&header.value),
                false => request.header(&header.name, &header.value),
            };
        }
        let reply = Client::plain(to).send(&request).await?;
        match reply.status.as_u16() {
            200..=399 => Ok(()),
            code => Err(format!("HTTP probe failed with statuscode: {code}")),
        }
    }

    async fn tcp(&self, action: &TCPSocketAction) -> Result<(), String> {
        let to = self.socket(action.host.as_deref(), &action.port)?;
        TcpStream::connect(to).await.map(drop).map_err(|e| e.to_string())
    }

    async fn exec(&self, action: &ExecAction) -> Result<(), String> {
        let status = self.command(action.command.iter().flatten()).status().await;
        let status = status.map_err(|e| e.to_string())?;
        if status.success() { Ok(()) } else { Err(status.to_string()) }
    }

    /// A command that runs where the container does.
    pub(super) fn command<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("nsenter");
        if let Some(pid) = self.pid {
            let of = |what: &str| format!("/proc/{pid}/{what}");
            let (net, mount, root) = (of("ns/net"), of("ns/mnt"), of("root"));
            command.arg(format!("--net={net}")).arg(format!("--mount={mount}"));
            command.arg(format!("--root={root}")).arg(format!("--wd={root}"));
        }
        let output = || match fs::OpenOptions::new().append(true).open(&self.log) {
            Ok(log) => log.into(),
            Err(_) => Stdio::null(),
        };
        command.arg("--").args(&self.prefix).args(words).env_clear().envs(&self.environment);
        command.stdin(Stdio::null()).stdout(output()).stderr(output()).kill_on_drop(true);
        command
    }

    fn socket(&self, host: Option<&str>, port: &IntOrString) -> Result<SocketAddr, String> {
        let host = host.filter(|host| !host.is_empty()).map(str::parse).transpose();
        let host: Option<Ipv4Addr> = host.map_err(|e| format!("{e}"))?;
        let port = match port {
            IntOrString::Int(number) => Some(*number),
            IntOrString::String(name) => {
                let mut ports = self.container.ports.iter().flatten();
                let named = ports.find(|port| port.name.as_ref() == Some(name));
                named.map(|port| port.container_port).or_else(|| name.parse().ok())
            }
        };
        let port = port.and_then(|it| it.try_into().ok()).ok_or("the port has no number")?;
        Ok((host.unwrap_or(self.address), port).into())
    }
}
