//! Where objects come from. Out comes `store::Change`, nothing else.
//!
//! Owns reading, watching and trimming. Must not know the model, resources or xDS.

pub mod decode;
pub mod directory;
pub mod kube;
pub mod registry;
mod wanted;

pub use wanted::Wanted;
