//! The edge as the network meets it: what gets past a rule, what hides in a request, what a client
//! may claim, and what an attacker costs others (faults.md M26–M28, S12–S16, D1).
//!
//! Verdicts are kept as text in `edge/*.txt`, so that a new Envoy that changes one fails here with
//! the lines that differ; `UPDATE_GOLDEN=1` rewrites them.

mod admin;
mod attacks;
mod limits;
mod raw;
mod readiness;
mod requests;

use std::{env, fs, net::SocketAddr, path::Path};

use convoy::bootstrap::{BootstrapOptions, METRICS_PORT, render};

use crate::{
    bed::{Bed, convoy::bootstrap_options, guide, netns::GATEWAY},
    rows::{self, Row},
};

/// Every test of the edge.
pub(crate) fn rows() -> Vec<Row> {
    let alone = rows::alone(attacks::rows());
    [requests::rows(), limits::rows(), admin::rows(), readiness::rows(), alone].concat()
}

/// Where clients connect.
const HTTP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(GATEWAY), 80);

/// The guide's gateway with annotations.
fn gateway_with(annotations: &[(&str, &str)]) -> String {
    let lines = annotations.iter().map(|(key, value)| format!("    {key}: \"{value}\"\n"));
    let lines = format!("  annotations:\n{}", lines.collect::<String>());
    guide::GATEWAY.replacen("  annotations:\n", &lines, 1)
}

/// Starts the bed's Envoy, or starts it again, with metrics and whatever `change` says.
async fn start_envoy(bed: &mut Bed, change: impl Fn(&mut BootstrapOptions)) {
    let mut options = bootstrap_options(guide::GATEWAY_NAME, "first", bed.variant);
    options.metrics = Some((GATEWAY, METRICS_PORT).into());
    change(&mut options);
    bed.start_envoy_from(&render(&options)).await;
}

/// Compares with `edge/<table>.txt`.
///
/// # Panics
/// With the lines that differ.
#[track_caller]
fn verdicts(table: &str, rows: &[String]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/envoy/edge");
    let path = path.join(table).with_extension("txt");
    let said: String = rows.iter().map(|row| format!("{}\n", row.trim_end())).collect();
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &said).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let only_in = |mark: &str, text: &str, other: &str| -> String {
        let missing = |line: &&str| !other.lines().any(|have| have == *line);
        text.lines().filter(missing).map(|line| format!("{mark} {line}\n")).collect()
    };
    let gone = only_in("-", &expected, &said);
    let new = only_in("+", &said, &expected);
    assert!(expected == said, "verdicts of {} changed:\n{gone}{new}", path.display());
}
