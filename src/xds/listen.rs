//! The socket on which Envoys connect, and everything before the first byte of HTTP.
//!
//! Owns accepting, TLS and the limits on who has not proved anything yet (faults.md S1, S15). Must not
//! know what is said over a connection. Cost: a task for each handshake that is under way, and no
//! lock; a connection costs an entry in a table by address.

mod bind;
mod connection;
mod quota;
mod tls;

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    identity::Materials,
    xds::{
        access::{Peer, Proof, Tokens},
        listen::{bind::Accepted, connection::Connection, quota::Quota, tls::Acceptor},
        refused::Refused,
        registry::EnvoyRegistry,
    },
};

pub use bind::{Listener, XdsListen};

/// A round trip or two and two signatures; whoever takes longer is broken, or holds a place only.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);

/// Handshakes under way, each with about 50 KiB of buffers. A thousand Envoys that come back at once
/// are through in two rounds.
const MAX_HANDSHAKES: usize = 512;

/// Accepting that fails, fails for want of descriptors, which connections that end give back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How connections prove who they are.
#[derive(Clone)]
pub enum Access {
    /// They do not; whoever reaches the socket is believed.
    Open,
    /// TLS 1.3 with a certificate of the client.
    Tls {
        /// What this end proves itself with, and whom it trusts. Each new connection uses the newest.
        materials: Materials,
        /// With it a client without a certificate may send a bearer token.
        tokens: Option<Tokens>,
    },
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Access::Open => f.write_str("Open"),
            Access::Tls { materials, tokens } => f
                .debug_struct("Tls")
                .field("materials", &*materials.borrow())
                .field("tokens", &tokens.is_some())
                .finish(),
        }
    }
}

/// Accepts until `stopping` is true.
pub(crate) async fn accept(
    listener: Listener,
    access: Access,
    registry: Arc<EnvoyRegistry>,
    connections: mpsc::Sender<io::Result<Connection>>,
    mut stopping: watch::Receiver<bool>,
) {
    let gate = Gate {
        acceptor: Acceptor::new(access),
        quota: Quota::default(),
        places: Arc::new(Semaphore::new(MAX_HANDSHAKES)),
        registry,
        connections,
    };
    // What waits for a place or for the server to take a connection ends here too.
    tokio::select! {
        () = gate.run(listener) => {}
        // An error means that the server is gone: stopped as well.
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
}

/// What the accepting task holds.
struct Gate {
    acceptor: Acceptor,
    quota: Quota,
    places: Arc<Semaphore>,
    registry: Arc<EnvoyRegistry>,
    connections: mpsc::Sender<io::Result<Connection>>,
}

impl Gate {
    /// Handshakes are tasks of their own, so that one that fails or is slow disturbs no other.
    async fn run(mut self, listener: Listener) {
        let mut handshakes = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = handshakes.join_next() => continue,
            };
            match accepted {
                Ok(Accepted::Unix(stream)) => {
                    let peer = Peer { address: None, proof: Proof::NotAsked };
                    self.pass(Connection::new(stream, peer, None)).await;
                }
                Ok(Accepted::Tcp(stream, address)) => {
                    self.admit(stream, address, &mut handshakes).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections of envoys");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn admit(
        &mut self,
        stream: TcpStream,
        address: SocketAddr,
        handshakes: &mut JoinSet<()>,
    ) {
        let Some(slot) = self.quota.enter(address.ip()) else {
            refuse(&self.registry, address, &Rejection::TooMany);
            return;
        };
        // Responses are written whole: waiting to fill a segment only delays them. If it fails, the
        // connection is broken, and whoever reads it learns that.
        let _ = stream.set_nodelay(true);
        match self.acceptor.current() {
            Ok(None) => {
                let peer = Peer { address: Some(address), proof: Proof::NotAsked };
                self.pass(Connection::new(stream, peer, Some(slot))).await;
            }
            Err(why) => refuse(&self.registry, address, &Rejection::NoMaterial(why)),
            Ok(Some(acceptor)) => {
                let place = self.places.clone().acquire_owned().await;
                let place = place.expect("invariant: nobody closes the semaphore");
                let (registry, connections) = (self.registry.clone(), self.connections.clone());
                handshakes.spawn(async move {
                    match shake(acceptor, stream, place).await {
                        Ok((stream, proof)) => {
                            let peer = Peer { address: Some(address), proof };
                            let connection = Connection::new(stream, peer, Some(slot));
                            // Nobody takes it: the server stops.
                            let _ = connections.send(Ok(connection)).await;
                        }
                        Err(why) => refuse(&registry, address, &why),
                    }
                });
            }
        }
    }

    async fn pass(&self, connection: Connection) {
        // Nobody takes it: the server stops.
        let _ = self.connections.send(Ok(connection)).await;
    }
}

type Shaken = (tokio_rustls::server::TlsStream<TcpStream>, Proof);

/// The place is given back when this ends, however it ends.
async fn shake(
    acceptor: tokio_rustls::TlsAcceptor,
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
) -> Result<Shaken, Rejection> {
    let stream = timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await;
    let stream = stream.map_err(|_| Rejection::Slow)?.map_err(Rejection::Handshake)?;
    let proof = tls::proof(stream.get_ref().1);
    Ok((stream, proof))
}

/// Why a connection came to nothing.
enum Rejection {
    TooMany,
    NoMaterial(String),
    Slow,
    Handshake(io::Error),
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejection::TooMany => {
                write!(f, "more than {} from its address", quota::MAX_CONNECTIONS)
            }
            Rejection::NoMaterial(why) => f.write_str(why),
            Rejection::Slow => write!(f, "no TLS handshake within {HANDSHAKE_LIMIT:?}"),
            Rejection::Handshake(error) => write!(f, "the TLS handshake failed: {error}"),
        }
    }
}

impl Rejection {
    fn kind(&self) -> Refused {
        match self {
            Rejection::TooMany => Refused::TooMany,
            Rejection::NoMaterial(_) => Refused::NoCertificate,
            Rejection::Slow | Rejection::Handshake(_) => Refused::Handshake,
        }
    }
}

fn refuse(registry: &EnvoyRegistry, address: SocketAddr, why: &Rejection) {
    registry.meter.refusals.add(why.kind(), Some(address), why);
}
