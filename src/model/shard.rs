//! Shards: the endpoints one member offers for one backend.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use crate::model::Protocol;

/// What one member offers for one backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Protocol declared by the Service port.
    pub protocol: Protocol,
    /// Ready endpoints, ordered by address and without duplicates.
    pub endpoints: Vec<ShardEndpoint>,
}

/// A ready endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShardEndpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Labels of its Pod; the cluster's own label is not among them (the member is known).
    pub labels: Arc<BTreeMap<Arc<str>, Arc<str>>>,
}
