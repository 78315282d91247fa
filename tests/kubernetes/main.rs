//! Convoy on real clusters: kube-apiserver, etcd, kube-controller-manager and kubectl.
//!
//! A scenario is a list of steps that share one world, a fleet with its members in namespaces of its
//! own; each step is a test of its own name: the steps of the guide, and rows of the behaviour table
//! (semantics.md 9). Where the programs of a cluster are missing the tests are
//! skipped, loudly; with `CI` set they fail. `CONVOY_BED=hold` starts a world for a person instead.

// Tests state their assumptions by failing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

#[allow(dead_code, reason = "most of the bed is for the Envoy tests")]
#[path = "../bed/mod.rs"]
mod bed;
mod chart;
#[path = "../bed/kube/mod.rs"]
mod clusters;
mod faults;
mod guide;
mod harness;
mod hold;
mod isolated;
mod latency;
mod members;
mod paced;
mod pods;
mod registration;
mod replica;
#[allow(dead_code, reason = "here nothing runs beside a row")]
#[path = "../rows/mod.rs"]
mod rows;
mod scene;
mod status;
mod table;
mod workload;

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(options) = paced::asked() {
        return paced::run(options);
    }
    let scenarios = vec![
        pods::SCENARIO,
        isolated::SCENARIO,
        guide::SCENARIO,
        table::scenario(),
        registration::SCENARIO,
        chart::SCENARIO,
    ];
    harness::main(&[scenarios, faults::scenarios()].concat())
}
