//! One address that leads to endpoints.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{self, copy_bidirectional},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
};

/// Connections that wait to be accepted; a test opens a few hundred at most.
const BACKLOG: u32 = 1024;

/// Listens until it is dropped; connections that it took go on.
pub(super) struct Forwarder {
    targets: Arc<Targets>,
    listener: JoinHandle<()>,
}

struct Targets {
    /// At least one.
    addresses: Mutex<Vec<SocketAddr>>,
    turn: AtomicUsize,
}

impl Targets {
    /// Each in turn.
    fn next(&self) -> SocketAddr {
        let addresses = self.addresses.lock().unwrap();
        addresses[self.turn.fetch_add(1, Ordering::Relaxed) % addresses.len()]
    }
}

impl Forwarder {
    /// # Panics
    /// If somebody else listens there.
    pub(super) fn open(address: SocketAddr, targets: Vec<SocketAddr>) -> Forwarder {
        let listener = listen(address).unwrap_or_else(|e| panic!("the Service at {address}: {e}"));
        let targets =
            Arc::new(Targets { addresses: Mutex::new(targets), turn: AtomicUsize::new(0) });
        let listener = tokio::spawn(accept(listener, targets.clone()));
        Forwarder { targets, listener }
    }

    /// Where connections go from now on.
    pub(super) fn set(&self, targets: Vec<SocketAddr>) {
        *self.targets.addresses.lock().unwrap() = targets;
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    // An Envoy of the bed may listen on this port of all addresses.
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(listener: TcpListener, targets: Arc<Targets>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(forward(client, targets.next()));
    }
}

/// Passes on what both say, that one of them says no more, and a reset.
async fn forward(mut client: TcpStream, target: SocketAddr) {
    let Ok(mut server) = TcpStream::connect(target).await else {
        let _ = client.set_zero_linger();
        return;
    };
    let direct = client.set_nodelay(true).and(server.set_nodelay(true));
    if direct.is_err() || copy_bidirectional(&mut client, &mut server).await.is_err() {
        // Whoever closed it already minds no more.
        let _ = client.set_zero_linger().and(server.set_zero_linger());
    }
}
