//! Shards: the endpoints one member offers for one backend.

use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroU32, sync::Arc};

use crate::model::Protocol;

/// What one member offers for one backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Protocol declared by the Service port.
    pub protocol: Protocol,
    /// Ready Pods behind the endpoints: the member's share of the backend is in proportion to them.
    pub replicas: u32,
    /// Where they are reached, ordered by address and without duplicates.
    pub endpoints: Vec<ShardEndpoint>,
}

/// An address that serves: a ready Pod's, a node's in front of Pods, or a load balancer's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShardEndpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its share of the shard, relative to the other endpoints; Pods have one each.
    pub weight: NonZeroU32,
    /// Labels of its Pod; the cluster's own label is not among them (the member is known).
    pub labels: Arc<BTreeMap<Arc<str>, Arc<str>>>,
}
