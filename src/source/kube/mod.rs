//! Kubernetes API servers as a source.
//!
//! Owns how a kind of one cluster is listed and watched, so that no deletion is lost and no
//! partial list is ever taken for the whole. Must not know what objects mean.

mod backoff;
mod connect;
mod link;
mod listing;
mod meter;
mod mirror;
mod request;
mod watch;

pub use connect::{config, connect};
pub use meter::{SourceMeter, Traffic};
