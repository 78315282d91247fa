//! The line to nodes, and their NodePorts: what connects to a node is led to a pod behind it.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// A node's port and the pods behind it; never empty.
#[derive(Clone, Debug)]
pub(super) struct NodePort {
    pub(super) at: SocketAddr,
    pub(super) pods: Vec<SocketAddr>,
}

/// The line. Cutting it, or dropping this, ends every connection over it.
#[derive(Debug)]
pub(super) struct Line {
    node_ports: Vec<NodePort>,
    running: JoinSet<()>,
}

impl Line {
    /// A line that is whole.
    pub(super) async fn open(node_ports: Vec<NodePort>) -> Result<Line> {
        let mut line = Line { node_ports, running: JoinSet::new() };
        line.mend().await?;
        Ok(line)
    }

    /// From now on nothing gets through.
    pub(super) async fn cut(&mut self) {
        self.running.shutdown().await;
    }

    /// Undoes [`Line::cut`].
    pub(super) async fn mend(&mut self) -> Result<()> {
        for own in &self.node_ports {
            let at = own.at;
            let listener =
                TcpListener::bind(at).await.with_context(|| format!("listen on {at}"))?;
            self.running.spawn(serve(listener, own.pods.clone()));
        }
        Ok(())
    }
}

/// Each connection goes to the next pod, as a NodePort's do by and large.
async fn serve(listener: TcpListener, pods: Vec<SocketAddr>) {
    let mut connections = JoinSet::new();
    let mut turns = pods.iter().copied().cycle();
    while let (Ok((mut client, _)), Some(pod)) = (listener.accept().await, turns.next()) {
        connections.spawn(async move {
            // A pod that is not there is a connection that ends.
            if let Ok(mut pod) = TcpStream::connect(pod).await {
                let _ = copy_bidirectional(&mut client, &mut pod).await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}
