//! Model → Envoy protos → bytes.
//!
//! Owns every Envoy message and every figure in one; one xDS type a file, wrapped as
//! [`crate::snapshot::Resource`]. Must not know Kubernetes or tokio. Pure and deterministic: equal
//! arguments give equal bytes. Cost: linear in what is built, never in the fleet.

mod affinity;
pub mod cluster;
mod conditions;
pub mod defaults;
pub mod endpoint;
mod filters;
mod health_check;
mod http;
pub mod layout;
pub mod listener;
pub mod observe;
mod pack;
pub mod print;
pub mod ready;
pub mod route;
pub mod secret;
