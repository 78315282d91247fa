//! Isolation: each test runs in a network and a process namespace of its own.
//!
//! So every test has the same addresses, owns the ports 80 and 443, may cut cables, and leaves no
//! process behind: when its first process ends, the kernel ends the others. Addresses:
//!
//! | who | where |
//! |---|---|
//! | gateway | 10.0.0.1 |
//! | control plane | 10.0.0.100:18000 |
//! | pods of member i | 10.i.(127+w).n for pod n of its w-th workload |

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    process::{Command, Stdio},
    time::Duration,
};

use tokio::net::TcpStream;

/// Where clients reach the gateway.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// Where Envoys reach the control plane.
pub(crate) const CONTROL_PLANE: SocketAddr =
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 100), 18000));

/// How long a probe of a partition waits for what must not come.
const PROBE: Duration = Duration::from_millis(300);

/// This program again, first process of new namespaces.
///
/// # Panics
/// Never here; a kernel that refuses namespaces makes the command fail with `unshare`'s own words.
pub(crate) fn isolated() -> Command {
    let mut command = Command::new("setpriv");
    // If this program is killed, so is `unshare`, and with it all that runs in the namespaces.
    command.args(["--pdeathsig", "KILL", "unshare"]);
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let program = std::env::current_exe().expect("the path of the running test program");
    command.args(["--net", "--pid", "--fork", "--kill-child", "--"]).arg(program);
    command
}

/// Called first in the new namespaces: makes all of 10.0.0.0/8 local.
pub(crate) fn set_up() {
    run("ip", &["link", "set", "lo", "up"]);
    // On a loopback device the whole prefix of an address is local, as with 127.0.0.0/8.
    run("ip", &["address", "add", &format!("{GATEWAY}/8"), "dev", "lo"]);
}

/// A cable that is cut: packets from and to `network` vanish, open connections included, until
/// this value is dropped. No reset and no ICMP message says so.
///
/// The `prio` qdisc, netfilter and the `drop` action are modules that not every kernel has, so
/// packets are redirected into a bridge without ports.
pub(crate) struct Partition(());

impl Partition {
    /// Cuts `network`, proves it with a connection to `listener`, which must be in it, and that
    /// the connection works before.
    ///
    /// # Panics
    /// If the kernel cannot do it, or it has no effect: a test that did not cut shows nothing.
    pub(crate) async fn cut(network: &str, listener: SocketAddr) -> Partition {
        assert!(connects(listener).await, "{listener} is unreachable before the cut");
        run("ip", &["link", "add", "hole", "type", "bridge"]);
        run("ip", &["link", "set", "hole", "up"]);
        run("tc", &["qdisc", "add", "dev", "lo", "clsact"]);
        for (direction, priority) in [("dst", "1"), ("src", "2")] {
            let words = format!(
                "filter add dev lo ingress protocol ip prio {priority} \
                 u32 match ip {direction} {network} action mirred egress redirect dev hole"
            );
            run("tc", &words.split(' ').collect::<Vec<_>>());
        }
        let partition = Partition(());
        assert!(!connects(listener).await, "{listener} is reachable after the cut");
        partition
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        run("tc", &["qdisc", "del", "dev", "lo", "clsact"]);
        run("ip", &["link", "del", "hole"]);
    }
}

async fn connects(to: SocketAddr) -> bool {
    matches!(tokio::time::timeout(PROBE, TcpStream::connect(to)).await, Ok(Ok(_)))
}

/// Runs a tool to its end.
///
/// # Panics
/// If it is not installed or fails.
pub(crate) fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}; the tests need iproute2 and util-linux"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {said}", arguments.join(" "));
}
