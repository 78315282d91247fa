//! What is in the middle of the line: it passes frames on, or not, or later.
//!
//! The kernels of many machines can neither delay nor lose packets on purpose, and none can be told to
//! do so between two namespaces without a trace in either; a program that holds both ends can.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::AsRawFd,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use nix::{
    ifaddrs::getifaddrs,
    sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, bind, socket},
};

use super::{State, checksum, ip};
use crate::clusters::namespace::Namespace;

/// Room for more than a cable carries: 1500 bytes and a header.
const FRAME: usize = 2048;

/// The ends of cables that meet here.
pub(super) const PORTS: [&str; 2] = ["near", "far"];

/// Passes frames on between two ports until it is dropped, on threads of its own: what else a test does
/// must not delay them.
pub(super) struct Repeater {
    namespace: Namespace,
    state: Arc<Mutex<State>>,
}

impl Repeater {
    /// In a namespace that has the ports.
    pub(super) fn start(namespace: Namespace) -> Repeater {
        let state = Arc::new(Mutex::new(State::Whole));
        let [near, far] = namespace.run(|| PORTS.map(|name| Arc::new(port(name))));
        carry(near.clone(), far.clone(), state.clone(), Dice(1));
        carry(far, near, state.clone(), Dice(2));
        Repeater { namespace, state }
    }

    pub(super) fn set(&self, state: State) {
        *self.state.lock().unwrap() = state;
    }
}

impl Drop for Repeater {
    fn drop(&mut self) {
        // The threads end when their ports do.
        self.namespace.run(|| PORTS.map(|name| ip(&format!("link del {name}"))));
    }
}

/// A socket that gets every frame which arrives at an interface of this thread's namespace.
fn port(name: &str) -> File {
    let (flags, all) = (SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll);
    let socket = socket(AddressFamily::Packet, SockType::Raw, flags, all).unwrap();
    let mut addresses = getifaddrs().unwrap().filter(|it| it.interface_name == name);
    let address = addresses.find_map(|it| it.address?.as_link_addr().copied());
    bind(socket.as_raw_fd(), &address.expect("the interface is there")).unwrap();
    File::from(socket)
}

/// One direction.
fn carry(from: Arc<File>, to: Arc<File>, state: Arc<Mutex<State>>, mut dice: Dice) {
    let (entrance, exit) = mpsc::channel::<(Instant, Vec<u8>)>();
    let now = state.clone();
    thread::spawn(move || {
        let mut frame = vec![0; FRAME];
        while let Ok(n) = (&*from).read(&mut frame) {
            let late = match *now.lock().unwrap() {
                State::Whole => Duration::ZERO,
                State::Slow(late) => late,
                State::Lossy { percent } if dice.percent() >= percent => Duration::ZERO,
                State::Cut | State::Lossy { .. } => continue,
            };
            let mut frame = frame[..n].to_vec();
            checksum::complete(&mut frame);
            if entrance.send((Instant::now() + late, frame)).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (due, frame) in exit {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            // What was under way when the line was cut does not arrive either. A full queue loses
            // frames, as queues do.
            let is_cut = *state.lock().unwrap() == State::Cut;
            let _ = if is_cut { Ok(0) } else { (&*to).write(&frame) };
        }
    });
}

/// Chance that is the same in every run: SplitMix64.
struct Dice(u64);

impl Dice {
    /// From 0 to 99.
    fn percent(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % 100
    }
}
