//! What is published: encoded resources by gateway and type, and who is told of a change.
//!
//! Owns versions, the shared bytes and the ring of recent change lists. Must not know anything
//! above it: no model, no stream. Cost: a commit is logarithmic per changed resource, and wakes
//! only the streams of the gateways that changed.

mod former;
mod publish;
mod resource;
mod view;

pub use publish::{Publisher, Subscription};
pub use resource::{Kind, Resource, Version};
pub use view::{Coverage, GatewayView, Table};
