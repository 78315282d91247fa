//! A proxy in front of a server, with the ways in which a network and a server fail.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tokio_rustls::TlsAcceptor;

use crate::bed::cert::Authority;

/// Pieces of an answer that may be late at the same time; a list of a test is a few.
const LATE_PIECES: usize = 1024;

/// What becomes of connections. It holds for those that are open too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Everything passes.
    Open,
    /// They are closed, and new ones at once.
    Closed,
    /// What the server says is so late.
    Slow(Duration),
    /// Somebody else answers, with a certificate of another authority.
    Impostor,
}

/// A proxy that ends with this value; open connections go on.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    way: watch::Sender<Way>,
    overheard: Arc<AtomicUsize>,
    listener: JoinHandle<()>,
}

impl Proxy {
    /// Listens on `address`. A connection goes to the first of the servers that takes it, as behind the
    /// address of a Service.
    pub(crate) async fn start(address: SocketAddr, servers: Vec<SocketAddr>) -> Proxy {
        let (way, seen) = watch::channel(Way::Open);
        let overheard = Arc::default();
        let front = Front {
            servers: servers.into(),
            impostor: impostor(address),
            overheard: Arc::clone(&overheard),
        };
        let listener = TcpListener::bind(address).await.unwrap();
        let listener = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(front.clone().serve(client, seen.clone()));
            }
        });
        Proxy { address, way, overheard, listener }
    }

    pub(crate) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// How many bytes an impostor was told over its own encryption.
    pub(crate) fn overheard(&self) -> usize {
        self.overheard.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

#[derive(Clone)]
struct Front {
    servers: Arc<[SocketAddr]>,
    impostor: TlsAcceptor,
    overheard: Arc<AtomicUsize>,
}

impl Front {
    async fn serve(self, client: TcpStream, mut way: watch::Receiver<Way>) {
        let at_first = *way.borrow();
        match at_first {
            Way::Closed => {}
            Way::Impostor => self.listen(client).await,
            Way::Open | Way::Slow(_) => {
                tokio::select! {
                    () = self.forward(client, way.clone()) => {}
                    _ = way.wait_for(|now| matches!(now, Way::Closed | Way::Impostor)) => {}
                }
            }
        }
    }

    /// The other server: it answers nothing, and counts what it is told.
    async fn listen(self, client: TcpStream) {
        // Who finds out in time ends the handshake.
        let Ok(mut stream) = self.impostor.accept(client).await else { return };
        let mut told = [0; 1024];
        while let Ok(n @ 1..) = stream.read(&mut told).await {
            self.overheard.fetch_add(n, Ordering::Relaxed);
        }
    }

    async fn forward(&self, client: TcpStream, way: watch::Receiver<Way>) {
        let Some(server) = self.connect().await else { return };
        let (mut from_client, to_client) = client.into_split();
        let (from_server, mut to_server) = server.into_split();
        tokio::select! {
            _ = copy(&mut from_client, &mut to_server) => {}
            () = answer(from_server, to_client, way) => {}
        }
    }

    async fn connect(&self) -> Option<TcpStream> {
        for server in &*self.servers {
            if let Ok(stream) = TcpStream::connect(server).await {
                stream.set_nodelay(true).ok()?;
                return Some(stream);
            }
        }
        None
    }
}

/// Passes on what the server says, each piece as late as it is to be when it comes.
async fn answer(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: watch::Receiver<Way>) {
    let (pieces, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(LATE_PIECES);
    let read = async move {
        let mut piece = vec![0; 16 << 10];
        while let Ok(n @ 1..) = from.read(&mut piece).await {
            let late = match *way.borrow() {
                Way::Slow(late) => late,
                Way::Open | Way::Closed | Way::Impostor => Duration::ZERO,
            };
            if pieces.send((Instant::now() + late, piece[..n].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((at, piece)) = due.recv().await {
            sleep_until(at).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}

/// Of an authority that nobody trusts, with the right name.
fn impostor(address: SocketAddr) -> TlsAcceptor {
    let leaf = Authority::new().leaf(&[&address.ip().to_string()]);
    let chain = vec![CertificateDer::from_pem_slice(leaf.chain.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
