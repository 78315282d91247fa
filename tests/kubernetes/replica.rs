//! A Convoy that runs as a process, with an account of its own in the fleet.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use crate::{
    bed::{
        client::{Client, get},
        netns::{CONTROL_PLANE, GATEWAY},
        poll::eventually,
    },
    clusters::{World, daemon::Daemon},
    paced,
};

/// It takes a fraction of a second; on a busy machine it must not fail a test.
const START: Duration = Duration::from_secs(20);

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
        Replica::run(world, number, env!("CARGO_BIN_EXE_convoy").as_ref(), |own| {
            [operated(own), vec!["--xds-plaintext".to_owned()]].concat()
        })
    }

    /// The same with an authority of its own, and with managed gateways.
    pub(crate) fn managing(world: &World, number: u8) -> Replica {
        let managed = ["--manage-gateways", "--gateway-drain-image=convoy"].map(str::to_owned);
        Replica::run(world, number, env!("CARGO_BIN_EXE_convoy").as_ref(), |own| {
            [operated(own), managed.into()].concat()
        })
    }

    /// A Convoy whose timers go at [`paced::pace`].
    pub(crate) fn paced(world: &World, number: u8) -> Replica {
        Replica::run(world, number, &std::env::current_exe().unwrap(), |own| {
            vec![paced::CONVOY.to_owned(), serde_json::to_string(own).unwrap()]
        })
    }

    fn run(
        world: &World,
        number: u8,
        program: &Path,
        arguments: impl FnOnce(&paced::Options) -> Vec<String>,
    ) -> Replica {
        let (identity, xds) = (format!("convoy-{number}"), address(number));
        let admin = SocketAddr::new(xds.ip(), 18001);
        let kubeconfig = world.dir().join(format!("{identity}.kubeconfig"));
        let log = world.dir().join(format!("{identity}.log"));
        write_kubeconfig(world, &kubeconfig);
        let options = paced::Options { kubeconfig, xds, admin, identity };
        let process = Daemon::start(program, arguments(&options), log);
        Replica { process, xds, admin }
    }

    /// Waits until it has read everything.
    pub(crate) async fn ready(&mut self) {
        let (process, admin) = (&mut self.process, Client::plain(self.admin));
        eventually(START, "Convoy is ready", || {
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

/// The flags that every replica has.
fn operated(own: &paced::Options) -> Vec<String> {
    vec![
        "serve".to_owned(),
        format!("--kubeconfig={}", own.kubeconfig.display()),
        format!("--xds-listen={}", own.xds),
        format!("--admin-listen={}", own.admin),
        format!("--publish-address={GATEWAY}"),
        "--lease-namespace=convoy-system".to_owned(),
    ]
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
