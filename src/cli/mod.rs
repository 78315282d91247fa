//! To be written.

pub mod echo;
