//! Requests of both protocol variants in one shape.
//!
//! Owns the reading of the two messages. Must not know what they cause.

use std::{collections::BTreeMap, sync::Arc};

use envoy_types::pb::{
    envoy::{
        config::core::v3::Node,
        service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest},
    },
    google::rpc,
};

/// Which of the two stream methods an Envoy called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// State of the world.
    Sotw,
    /// Incremental.
    Delta,
}

/// A request.
#[derive(Debug)]
pub(crate) struct Request {
    /// Only guaranteed on the first request of a stream.
    pub node: Option<Node>,
    /// Which type it is about.
    pub type_url: String,
    /// The response it answers, if any. What is not a number was never sent: 0.
    pub nonce: Option<u64>,
    /// Set if that response was refused. Versions never tell (xds.md 3.3).
    pub error: Option<String>,
    /// What is asked for.
    pub wants: Wants,
}

/// What a request asks for.
#[derive(Debug)]
pub(crate) enum Wants {
    /// State of the world: the whole list, each time.
    List {
        /// All names.
        names: Vec<Arc<str>>,
        /// The version of the last accepted response; empty if there was none.
        version: String,
    },
    /// Incremental.
    Change {
        /// Names to add.
        subscribe: Vec<Arc<str>>,
        /// Names to drop.
        unsubscribe: Vec<Arc<str>>,
        /// Versions that the client holds; on the first request of a type only.
        initial: BTreeMap<Arc<str>, String>,
    },
}

impl From<DiscoveryRequest> for Request {
    fn from(message: DiscoveryRequest) -> Request {
        Request {
            node: message.node,
            type_url: message.type_url,
            nonce: nonce(&message.response_nonce),
            error: message.error_detail.map(text),
            wants: Wants::List {
                names: shared(message.resource_names),
                version: message.version_info,
            },
        }
    }
}

impl From<DeltaDiscoveryRequest> for Request {
    fn from(message: DeltaDiscoveryRequest) -> Request {
        let initial = message.initial_resource_versions;
        Request {
            node: message.node,
            type_url: message.type_url,
            nonce: nonce(&message.response_nonce),
            error: message.error_detail.map(text),
            wants: Wants::Change {
                subscribe: shared(message.resource_names_subscribe),
                unsubscribe: shared(message.resource_names_unsubscribe),
                initial: initial.into_iter().map(|(name, v)| (name.into(), v)).collect(),
            },
        }
    }
}

fn nonce(text: &str) -> Option<u64> {
    (!text.is_empty()).then(|| text.parse().unwrap_or(0))
}

fn text(status: rpc::Status) -> String {
    status.message
}

fn shared(names: Vec<String>) -> Vec<Arc<str>> {
    names.into_iter().map(Arc::from).collect()
}
