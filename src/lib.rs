//! Convoy: one gateway in front of every Kubernetes cluster you have.
//!
//! An xDS control plane. It reads Kubernetes objects from one *fleet* and many *member* clusters
//! and tells stock Envoy what to do; it is never in the request path. `docs/architecture.md` is
//! the map of the rooms below and of what each must not know.

#![forbid(unsafe_code)]

pub mod admin;
pub mod api;
pub mod bootstrap;
pub mod cidr;
pub mod cli;
pub mod diag;
pub mod engine;
pub mod gateway;
pub mod identity;
pub mod infra;
pub mod ingress;
pub mod key;
pub mod member;
pub mod model;
pub mod rbac;
pub mod resources;
pub mod serve;
pub mod settings;
pub mod snapshot;
pub mod source;
pub mod status;
pub mod store;
pub mod xds;
