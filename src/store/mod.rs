//! The trimmed objects as last seen, ordered, with reverse indexes.
//!
//! Owns the ground state: whatever is derived is a pure function of it. Must not know the model,
//! resources or xDS. Cost: logarithmic per change; `Replace` is linear in what it lists.

mod change;
mod object;

pub use change::{Change, Locality};
pub use object::*;
