//! Rows of the behaviour table (semantics.md 9) on real, stock Envoy.
//!
//! Each test runs in a process of its own, in a network namespace of its own, once with delta and
//! once with state-of-the-world xDS: `row_016_nine_to_one::delta`. A test that cannot run fails.

// Tests state their assumptions by failing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

mod access_log;
#[path = "../bed/mod.rs"]
mod bed;
mod drain;
mod edge;
mod gates;
mod goldens;
mod harness;
mod hostile;
mod hosts;
mod long_lived;
mod mechanisms;
mod paths;
mod proof;
#[path = "../rows/mod.rs"]
mod rows;
mod selftest;
mod tls;
mod tracing;
mod withholding;

use std::process::ExitCode;

use rows::{Row, alb, balance, canary, control_plane, failover, gateway, placement, subset};

/// Every test, in the order of the table.
fn all() -> Vec<Row> {
    [
        selftest::rows(),
        gateway::rows(),
        balance::rows(),
        alb::rows(),
        placement::rows(),
        subset::rows(),
        canary::rows(),
        paths::rows(),
        hosts::rows(),
        tls::rows(),
        control_plane::rows(),
        withholding::rows(),
        hostile::rows(),
        failover::rows(),
        mechanisms::rows(),
        proof::rows(),
        long_lived::rows(),
        drain::rows(),
        access_log::rows(),
        tracing::rows(),
        rows::alone(gates::rows()),
        edge::rows(),
        goldens::rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn main() -> ExitCode {
    harness::main(all())
}
