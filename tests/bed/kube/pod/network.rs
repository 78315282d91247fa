//! The network of a pod: a namespace of its own at the end of a cable.

use std::{net::Ipv4Addr, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::{bed::netns::run, clusters::forward};

/// Holds the namespace. `/proc` may be of another process namespace than ours, so it says what it is
/// called there; then it waits for the cable, and at last for the end of this program.
const HOLD: &str = "read pid _ </proc/self/stat; echo $pid; read _
ip link set lo up; ip link set eth0 up; ip address add $0/32 dev eth0
ip route add default via $1 dev eth0 onlink; echo up; read _";

/// A network namespace that is there as long as this value, or a process in it.
pub(super) struct Sandbox {
    /// What the holder is called in `/proc`.
    pid: u32,
    _holder: Child,
}

impl Sandbox {
    /// # Panics
    /// If the kernel refuses namespaces or cables: no pod could run.
    pub(super) async fn make(address: Ipv4Addr, node: Ipv4Addr) -> Sandbox {
        forward();
        let mut holder = Command::new("unshare")
            .args(["--net", "--", "sh", "-ec", HOLD])
            .args([address, node].map(|it| it.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|e| panic!("unshare: {e}; the bed needs util-linux"));
        let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
        let pid = said(&mut lines).await.parse().unwrap();
        plug(address, holder.id().expect("it waits for its input"));
        // It hears of it by a line; its input stays open.
        let input = holder.stdin.as_mut().unwrap();
        tokio::io::AsyncWriteExt::write_all(input, b"plugged\n").await.unwrap();
        assert_eq!(said(&mut lines).await, "up", "the pod's end of the cable");
        Sandbox { pid, _holder: holder }
    }

    /// A command that runs the program which its further arguments name in this network.
    pub(super) fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.pid)).arg("--");
        command
    }
}

/// A line of the holder, which says why in its own words when it ends instead.
async fn said(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    lines.next_line().await.unwrap().expect("the holder of a pod's network ended")
}

/// Lays a cable into the namespace of a process. All of 10/8 is local here; what is more specific wins.
fn plug(address: Ipv4Addr, pid: u32) {
    let [_, cluster, _, n] = address.octets();
    let cable = format!("pod{cluster}-{n}");
    for words in [
        format!("link add {cable} type veth peer name eth0 netns {pid}"),
        format!("link set {cable} up"),
        format!("route replace {address}/32 dev {cable} scope link table local"),
    ] {
        run("ip", &words.split(' ').collect::<Vec<_>>());
    }
}
