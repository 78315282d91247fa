//! Gateways: what a gateway object declares, and which Ingresses attach to it (semantics.md 1.1).
//!
//! Owns the judgement of `MseIngressConfig` and `AlbConfig`, and the rules of class, binding and namespace. Must
//! not know resources, xDS, tokio or the kube client. Cost: linear in one gateway object;
//! whether an Ingress attaches is one look-up among the IngressClasses.

mod address;
mod attach;
mod attachments;
mod declared;
mod instance;
mod knobs;
mod own;
mod parse;
mod proximity;

pub use address::{Address, NotAnAddress};
pub use attach::{Classes, attaches};
pub use attachments::{Attachment, Attachments};
pub use declared::Declared;
pub use instance::{Instance, Size};
pub use own::own_addresses;
pub use parse::{
    envoy_account, parse, publish_addresses, remote_clusters, remote_clusters_key, unregistered,
};
pub use proximity::{proximity, unplaced};
