//! Datagrams that are to come back over the line: whether a fault is one.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    net::UdpSocket,
    time::{interval, timeout},
};

/// Enough to tell five percent from none.
const DATAGRAMS: u16 = 200;

/// Between two of them: faster than any load, and slow enough that no buffer is full.
const PACE: Duration = Duration::from_millis(1);

/// More than a datagram needs there and back, on a slow line and a busy machine.
const PATIENCE: Duration = Duration::from_millis(700);

/// Who sends datagrams to an echo and counts them.
pub(super) struct Probe {
    socket: UdpSocket,
    round: u16,
}

/// What came of [`DATAGRAMS`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Passage {
    /// How many of a hundred came back.
    pub(super) percent: usize,
    /// How long the one in the middle took; as long as anybody waits, if there is none.
    pub(super) median: Duration,
}

impl Probe {
    pub(super) async fn to(echo: SocketAddr) -> Probe {
        let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
        socket.connect(echo).await.unwrap();
        Probe { socket, round: 0 }
    }

    pub(super) async fn measure(&mut self) -> Passage {
        self.round += 1;
        let start = Instant::now();
        let (_, mut times) = tokio::join!(self.send(start), self.receive(start));
        times.sort_unstable();
        Passage {
            percent: times.len() * 100 / usize::from(DATAGRAMS),
            median: times.get(times.len() / 2).copied().unwrap_or(PATIENCE),
        }
    }

    /// Each says its round and when it was sent.
    async fn send(&self, start: Instant) {
        let mut ticks = interval(PACE);
        for _ in 0..DATAGRAMS {
            ticks.tick().await;
            let sent = u64::try_from(start.elapsed().as_nanos()).unwrap();
            let datagram = [&self.round.to_be_bytes()[..], &sent.to_be_bytes()].concat();
            // Nobody may be there to take it.
            let _ = self.socket.send(&datagram).await;
        }
    }

    /// How long each took, of those that come back.
    async fn receive(&self, start: Instant) -> Vec<Duration> {
        let mut times = Vec::new();
        let mut datagram = [0; 16];
        while times.len() < usize::from(DATAGRAMS) {
            let Ok(received) = timeout(PATIENCE, self.socket.recv(&mut datagram)).await else {
                break;
            };
            let Ok(10) = received else { continue };
            let (round, sent) = datagram[..10].split_at(2);
            if round == self.round.to_be_bytes() {
                let sent = Duration::from_nanos(u64::from_be_bytes(sent.try_into().unwrap()));
                times.push(start.elapsed() - sent);
            }
        }
        times
    }
}

/// Sends back what comes.
pub(super) async fn echo(at: SocketAddr) {
    let socket = UdpSocket::bind(at).await.unwrap();
    tokio::spawn(async move {
        let mut datagram = [0; 64];
        loop {
            // What a gone sender's machine says of an earlier answer is an error here, and no matter.
            if let Ok((n, from)) = socket.recv_from(&mut datagram).await {
                let _ = socket.send_to(&datagram[..n], from).await;
            }
        }
    });
}
