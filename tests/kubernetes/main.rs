//! Convoy on real clusters: kube-apiserver, etcd, kube-controller-manager and kubectl.
//!
//! A scenario is a list of steps that share one world, a fleet with its members in namespaces of its
//! own; each step is a test of its own name: the steps of the guide, and rows of the behaviour table
//! (semantics.md 9). Where the programs of a cluster are missing the tests are
//! skipped, loudly; with `CI` set they fail. `CONVOY_BED=hold` starts a world for a person instead.

// Tests state their assumptions by failing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

mod audit;
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
mod hybrid;
mod identity;
mod infra;
mod install;
mod isolated;
mod latency;
mod line;
mod members;
mod paced;
mod pods;
mod registration;
mod replica;
#[allow(dead_code, reason = "here nothing runs beside a row")]
#[path = "../rows/mod.rs"]
mod rows;
mod scene;
mod services;
#[path = "../bed/spelled.rs"]
mod spelled;
mod status;
mod table;
mod workload;

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(options) = paced::asked() {
        return paced::run(options);
    }
    // The bed's own tests run no Convoy.
    let bed = vec![pods::SCENARIO, isolated::SCENARIO, services::SCENARIO, line::SCENARIO];
    let scenarios = vec![
        guide::SCENARIO,
        table::scenario(),
        registration::SCENARIO,
        identity::SCENARIO,
        chart::SCENARIO,
        infra::SCENARIO,
        install::SCENARIO,
        hybrid::underlay::SCENARIO,
        hybrid::overlay::SCENARIO,
    ];
    let audited = [scenarios, faults::scenarios()].concat().into_iter().map(audit::audited);
    harness::main(&bed.into_iter().chain(audited).collect::<Vec<_>>())
}
