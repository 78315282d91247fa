//! The ADS server.

pub mod wire;
