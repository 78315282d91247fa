//! Kubernetes API servers as a source.
//!
//! Owns how a kind of one cluster is listed and watched, so that no deletion is lost and no
//! partial list is ever taken for the whole. Must not know what objects mean.

mod backoff;
mod claims;
mod connect;
mod connection;
mod fleet;
mod link;
mod listing;
mod member;
mod meter;
mod mirror;
mod probe;
mod quota;
mod request;
mod supervisor;
#[cfg(test)]
mod tests;
mod watch;

pub use connect::{config, connect};
pub use fleet::spawn_fleet;
pub use meter::{SourceMeter, Traffic};
pub use supervisor::spawn_members;
