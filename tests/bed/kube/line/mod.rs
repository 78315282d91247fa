//! A leased line, and the place at its other end: a network of its own, for one member cluster.
//!
//! Owns cables, addresses and routes between here and there, and what is wrong with the line. Must not
//! know what runs there.
//!
//! ```text
//! here: fleet, gateway, c1 ══ cable ══ repeater ══ cable ══ there: member i
//!   └────────────────────── the bed's own cable ─────────────────────┘
//! ```
//!
//! | from here | leads |
//! |---|---|
//! | API server 10.i.0.0/24, nodes 10.i.2.0/24, load balancers 10.0.(1+i).0/24 | over the line |
//! | the rest of 10.i.0.0/16: pods and Services | over the line, or nowhere: [`Routes`] |
//! | 10.i.0.2, the API server for the bed | over the bed's own cable: a line that is cut is none of the cluster |
//!
//! The line is 192.0.2.0/24, the bed's own cable 198.51.100.0/24. Everything of 10/8 is local in either
//! place unless a longer prefix says otherwise.

mod checksum;
mod probe;
mod repeater;

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::{Mutex, watch},
    time::timeout,
};

use self::{
    probe::{Passage, Probe},
    repeater::{PORTS, Repeater},
};
use super::{namespace::Namespace, services};
use crate::{bed::netns::run, clusters::forward};

/// Of the echo at the other end, and of the listeners that prove routes.
const PROBES: u16 = 7;

/// How long a proof waits for a connection that must not be.
const PATIENCE: Duration = Duration::from_millis(300);

/// A healthy line is there and back in less, on a busy machine too.
const PROMPT: Duration = Duration::from_millis(50);

/// Which addresses of the other place are reached from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Routes {
    /// Those of pods too.
    Underlay,
    /// The API server's, those of nodes and those of load balancers.
    Overlay,
}

/// What the line does to packets, in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Whole,
    /// Packets vanish, also those of open connections; no reset and no ICMP message says so.
    Cut,
    /// Packets are so much later, each way.
    Slow(Duration),
    /// So many of a hundred packets vanish, each way.
    Lossy {
        percent: u64,
    },
}

/// The place at the other end of the line; it is gone with this value.
pub(crate) struct Remote {
    number: u8,
    namespace: Namespace,
    /// `None` once it has ended.
    runtime: Option<Runtime>,
    repeater: Repeater,
    probe: Mutex<Probe>,
    routes: watch::Sender<Routes>,
}

impl Remote {
    /// The place of member `number`, with a whole line and all routes.
    ///
    /// # Panics
    /// If the kernel cannot do it, or it does not work.
    pub(crate) async fn open(number: u8) -> Remote {
        let cables = Cables { number, there: Namespace::new(), middle: Namespace::new() };
        cables.lay();
        let repeater = Repeater::start(cables.middle);
        let namespace = cables.there;
        let runtime = namespace.runtime();
        let end = SocketAddr::from((line_address(number, 2), PROBES));
        runtime.spawn(probe::echo(end)).await.unwrap();
        let listening = runtime.spawn(async move {
            for address in [pod(number), node(number)] {
                let listener = TcpListener::bind((address, PROBES)).await.unwrap();
                // Who connects has seen enough.
                tokio::spawn(async move { while listener.accept().await.is_ok() {} });
            }
        });
        listening.await.unwrap();
        let probe = Mutex::new(Probe::to(end).await);
        let routes = watch::Sender::new(Routes::Underlay);
        let remote = Remote { number, namespace, runtime: Some(runtime), repeater, probe, routes };
        remote.mend().await;
        remote.route(Routes::Underlay).await;
        remote
    }

    /// Does something there.
    pub(crate) fn run<T: Send>(&self, part: impl FnOnce() -> T + Send) -> T {
        self.namespace.run(part)
    }

    /// Does something there that takes its time; what it spawns goes on there.
    pub(crate) async fn play<T: Send + 'static>(
        &self,
        part: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let runtime = self.runtime.as_ref().expect("it ends with this value");
        runtime.spawn(part).await.unwrap()
    }

    /// Changes which addresses are reached from here, and proves it: a node's always, a pod's only with
    /// a route to it, though somebody listens there.
    ///
    /// # Panics
    /// If it is not so.
    pub(crate) async fn route(&self, routes: Routes) {
        let (number, by_line) = (self.number, by_line(self.number));
        match routes {
            Routes::Underlay => ip(&format!("route replace 10.{number}.0.0/16 {by_line}")),
            Routes::Overlay => {
                ip(&format!("route replace unreachable 10.{number}.0.0/16 table local"));
            }
        }
        let local = self.play(async move { connects(pod(number)).await }).await;
        assert!(local && connects(node(number)).await, "a listener of {routes:?} is silent");
        assert_eq!(connects(pod(number)).await, routes == Routes::Underlay, "pods of {routes:?}");
        self.routes.send_replace(routes);
    }

    /// Which addresses are reached now.
    pub(crate) fn routes(&self) -> Routes {
        *self.routes.borrow()
    }

    /// Impairs a whole line, and proves that it was whole and is as `state` says.
    ///
    /// # Panics
    /// If it is not so: a test that did not impair shows nothing.
    pub(crate) async fn impair(&self, state: State) {
        self.prove(State::Whole).await;
        self.repeater.set(state);
        self.prove(state).await;
    }

    /// Makes the line whole, and proves it.
    ///
    /// # Panics
    /// If it is not.
    pub(crate) async fn mend(&self) {
        self.repeater.set(State::Whole);
        self.prove(State::Whole).await;
    }

    async fn prove(&self, state: State) {
        let passage = self.probe.lock().await.measure().await;
        assert!(state.shows(passage), "the line is not {state}: {passage:?}");
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // This may be a thread of another runtime, which must not wait.
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

impl State {
    /// Whether datagrams that went there and back are witness to it.
    fn shows(self, passage: Passage) -> bool {
        let Passage { percent, median } = passage;
        match self {
            State::Whole => percent == 100 && median < PROMPT,
            State::Cut => percent == 0,
            State::Slow(late) => percent == 100 && (2 * late..2 * late + PROMPT).contains(&median),
            State::Lossy { percent: lost } => {
                // Both ways; chance may double it or halve it.
                let lost = usize::try_from(2 * lost).unwrap();
                (100 - 2 * lost..=100 - lost / 2).contains(&percent) && median < PROMPT
            }
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Whole => f.write_str("whole"),
            State::Cut => f.write_str("cut"),
            State::Slow(late) => write!(f, "slower by {late:?} each way"),
            State::Lossy { percent } => write!(f, "losing {percent} % each way"),
        }
    }
}

/// What lies between here and there.
struct Cables {
    number: u8,
    there: Namespace,
    middle: Namespace,
}

impl Cables {
    fn lay(&self) {
        // An Envoy on a machine of its own is behind this one.
        forward();
        let (number, there, middle) = (self.number, self.there.path(), self.middle.path());
        ip(&format!("link add line{number} type veth peer name near netns {middle}"));
        ip(&format!("link add bed{number} type veth peer name bed netns {there}"));
        self.there.run(|| ip(&format!("link add line type veth peer name far netns {middle}")));
        self.middle.run(|| PORTS.map(|port| ip(&format!("link set {port} up"))));
        let ends = [1, 2].map(|end| line_address(number, end));
        let own = [1, 2].map(|end| Ipv4Addr::new(198, 51, 100, 4 * number + end));
        plug(&format!("line{number}"), ends);
        plug(&format!("bed{number}"), own);
        self.there.run(|| {
            ip("link set lo up");
            // On a loopback device the whole prefix of an address is local.
            ip(&format!("address add 10.{number}.0.1/16 dev lo"));
            let [a, b, c] = services::balancers(number);
            ip(&format!("address add {a}.{b}.{c}.0/24 dev lo"));
            plug("line", [ends[1], ends[0]]);
            plug("bed", [own[1], own[0]]);
            ip(&format!("route add default via {} dev line", ends[0]));
        });
        let [a, b, c] = services::balancers(number);
        for network in
            [format!("10.{number}.0.0"), format!("10.{number}.2.0"), format!("{a}.{b}.{c}.0")]
        {
            ip(&format!("route add {network}/24 {}", by_line(number)));
        }
        let by_own = format!("via {} dev bed{number} table local", own[1]);
        ip(&format!("route add 10.{number}.0.2/32 {by_own}"));
    }
}

/// Has an interface carry its own address and lead to its peer's. The hardware addresses are made of
/// these: nobody has to ask for them over a line that may be cut.
fn plug(interface: &str, [own, peer]: [Ipv4Addr; 2]) {
    let hardware = |address: Ipv4Addr| {
        let [a, b, c, d] = address.octets();
        format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
    };
    // Of one segment: packets are of the size that a cable carries when they meet the repeater.
    ip(&format!("link set {interface} address {} gso_max_segs 1 up", hardware(own)));
    ip(&format!("address add {own}/30 dev {interface}"));
    ip(&format!("neighbour add {peer} lladdr {} dev {interface} nud permanent", hardware(peer)));
}

fn line_address(number: u8, end: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, 4 * number + end)
}

fn by_line(number: u8) -> String {
    format!("via {} dev line{number} table local", line_address(number, 2))
}

/// Among the pods of a member, and nobody's.
fn pod(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, number, 1, 255)
}

/// Among the nodes of a member, and nobody's.
fn node(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, number, 2, 255)
}

async fn connects(to: Ipv4Addr) -> bool {
    matches!(timeout(PATIENCE, TcpStream::connect((to, PROBES))).await, Ok(Ok(_)))
}

fn ip(words: &str) {
    run("ip", &words.split(' ').collect::<Vec<_>>());
}
