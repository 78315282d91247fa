//! CRD types, one kind a file. Must not know anything else.

mod mse_ingress_config;

pub use mse_ingress_config::*;
