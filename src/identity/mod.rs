//! Who an Envoy is, and what Convoy proves itself with.

pub mod authority;
mod expiry;
pub mod material;
mod report;
pub mod token;

use crate::key::GatewayId;

pub use material::{Material, Materials};
pub use report::Report;

/// URI SAN of the Envoys of a gateway.
pub fn spiffe_id(gateway: &GatewayId) -> String {
    format!("spiffe://convoy/{gateway}")
}
