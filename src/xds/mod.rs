//! The ADS server: what each Envoy of a gateway is told, and when (xds.md).
//!
//! Owns the protocol: subscriptions, nonces, acknowledgements, and the order in which a change
//! reaches an Envoy; and who may connect (`listen`) and see what (`access`). The state machines (`session` and what it is made of) are pure and take
//! `now`; `stream` is the one task around them and `server` the socket. Must not know the engine,
//! Ingress or kube. Cost: a wake costs what changed, never what is subscribed, and memory a stream
//! is bounded by its subscriptions.

mod access;
mod channel;
mod delta;
mod gate;
mod ledger;
mod listen;
mod node;
mod refused;
mod registry;
mod request;
mod server;
mod session;
mod sotw;
mod stream;
mod subscription;
mod wire;

pub use access::{Bearer, Tokens};
pub use listen::{Access, Listener, XdsListen};
pub use refused::Refused;
pub use registry::{Counters, EnvoyRegistry, EnvoyStatus, KindCounters, TypeStatus};
pub use server::AdsServer;
