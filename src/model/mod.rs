//! The typed intermediate representation between Kubernetes and Envoy.
//!
//! Owns what a gateway, route, target and assignment *are*; total, no `Option` that means
//! invalid; the only place that forms names. Must not know kube, prost or serde.

mod assignment;
mod balance;
mod filters;
mod gateway;
mod health;
mod host;
pub mod name;
mod regex;
mod route;
mod shard;
mod target;
mod url;

pub use assignment::*;
pub use balance::*;
pub use filters::*;
pub use gateway::*;
pub use health::*;
pub use host::Host;
pub use regex::{Regex, RegexError};
pub use route::*;
pub use shard::*;
pub use target::*;
pub use url::*;
