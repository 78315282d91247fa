//! A Convoy that runs as a process, with an account of its own in the fleet.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use crate::{
    bed::{
        client::{Client, get},
        netns::{CONTROL_PLANE, GATEWAY},
        poll::{SETTLE, eventually},
    },
    clusters::{World, daemon::Daemon},
    paced,
};

/// One of the processes that serve a fleet.
pub(crate) struct Replica {
    pub(crate) process: Daemon,
    /// Where Envoys connect.
    pub(crate) xds: SocketAddr,
    /// Where health, metrics and inspection are.
    pub(crate) admin: SocketAddr,
}

impl Replica {
    /// `convoy serve`, as an operator runs it; `number` is 0 for the first. [`Replica::ready`] waits
    /// for it.
    pub(crate) fn start(world: &World, number: u8) -> Replica {
        let xds = address(number);
        let admin = SocketAddr::new(xds.ip(), 18001);
        let kubeconfig = world.dir().join(format!("convoy-{number}.kubeconfig"));
        write_kubeconfig(world, &kubeconfig);
        let arguments = vec![
            "serve".to_owned(),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--xds-listen={xds}"),
            format!("--admin-listen={admin}"),
            format!("--publish-address={GATEWAY}"),
            "--lease-namespace=convoy-system".to_owned(),
        ];
        let log = world.dir().join(format!("convoy-{number}.log"));
        let process = Daemon::start(env!("CARGO_BIN_EXE_convoy").as_ref(), arguments, log);
        Replica { process, xds, admin }
    }

    /// A Convoy whose timers go at [`pace`].
    ///
    /// [`pace`]: crate::paced::pace
    pub(crate) fn paced(world: &World, number: u8) -> Replica {
        let xds = address(number);
        let admin = SocketAddr::new(xds.ip(), 18001);
        let kubeconfig = world.dir().join(format!("convoy-{number}.kubeconfig"));
        write_kubeconfig(world, &kubeconfig);
        let log = world.dir().join(format!("convoy-{number}.log"));
        let options =
            paced::Options { kubeconfig, xds, admin, identity: format!("replica-{number}") };
        let options = serde_json::to_string(&options).unwrap();
        let program = std::env::current_exe().unwrap();
        let process = Daemon::start(&program, vec![paced::CONVOY.to_owned(), options], log);
        Replica { process, xds, admin }
    }

    /// Waits until it has read everything.
    pub(crate) async fn ready(&mut self) {
        let (process, admin) = (&mut self.process, Client::plain(self.admin));
        eventually(SETTLE, "Convoy is ready", || {
            process.assert_running();
            let admin = admin.clone();
            async move {
                let reply = admin.send(&get("/readyz")).await?;
                let text = String::from_utf8_lossy(&reply.body).into_owned();
                if reply.status.is_success() { Ok(()) } else { Err(text) }
            }
        })
        .await;
    }

    /// `GET path` on its admin address.
    pub(crate) async fn admin(&self, path: &str) -> Result<String, String> {
        let reply = Client::plain(self.admin).send(&get(path)).await?;
        Ok(String::from_utf8_lossy(&reply.body).into_owned())
    }
}

/// Where replica `number` serves: the first is where the bed's bootstraps point.
fn address(number: u8) -> SocketAddr {
    let SocketAddr::V4(first) = CONTROL_PLANE else { panic!("the bed's addresses are IPv4") };
    let ip = Ipv4Addr::from_bits(first.ip().to_bits() + u32::from(number));
    SocketAddr::new(ip.into(), first.port())
}

/// For Convoy's ServiceAccount, which is nobody's administrator.
pub(crate) fn write_kubeconfig(world: &World, to: &Path) {
    let token = world.fleet.kubectl("create token convoy -n convoy-system");
    fs::write(to, world.fleet.kubeconfig_with(token.trim())).unwrap();
}
