//! What members offer: from Services and EndpointSlices to shards, from shards to assignments.
//!
//! Owns which endpoints are usable (semantics.md 5.1, 2.8) and how those of several members are
//! arranged for one target (5.3–5.5). Pure: everything it needs is an argument. Must not know
//! resources, xDS, tokio or a client. Cost: linear in the slices of one Service, and in the
//! endpoints of one target.

mod address;
mod arrange;
mod groups;
mod issue;
mod offer;
mod rules;
mod shape;
mod shards;
#[cfg(test)]
mod tests;

pub use arrange::{OVERPROVISIONING_SEVERAL, OVERPROVISIONING_SINGLE, arrange};
pub use issue::Issue;
pub use offer::{Offer, ServicesOfMember};
pub use rules::{Guarded, Rules};
pub use shape::shape;
pub use shards::{MAX_ENDPOINTS, Reach, ServiceShards, shards};
