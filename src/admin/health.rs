//! `/healthz` says that the process lives; `/readyz` whether it may be asked for configuration.
//!
//! Ready means: views are published and every source has been read to the end, or was given up
//! waiting for (xds.md 3.15); and there is a certificate to serve them with. From then on it stays ready, whatever cannot be read any more
//! (faults.md P10). The answer says what is missing, and what cannot be read at the moment.

use axum::{extract, http::StatusCode};

use crate::{
    admin::{Report, State, Trouble},
    key::Scope,
};

/// 200 as long as the process answers.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// 200 when ready, else 503; the body says what is missing and what is degraded.
pub(super) async fn ready(extract::State(state): extract::State<State>) -> (StatusCode, String) {
    let report = state.report.borrow().clone();
    let identity = state.identity.as_ref().map(|own| own.borrow().clone());
    let without = identity.as_ref().filter(|own| own.server_end.is_none());
    let mut missing = if report.was_ready { Vec::new() } else { missing(&report) };
    missing.extend(without.map(|_| "a certificate for xDS".to_owned()));
    let (code, line) = match missing.is_empty() {
        true => (StatusCode::OK, "ready\n".to_owned()),
        false => {
            let line = format!("not ready, waiting for {}\n", missing.join(", "));
            (StatusCode::SERVICE_UNAVAILABLE, line)
        }
    };
    let trouble = identity.and_then(|own| own.trouble);
    let trouble = trouble.map(|own| format!("degraded, certificates: {own}\n"));
    (code, line + &degraded(&report) + &trouble.unwrap_or_default())
}

fn missing(report: &Report) -> Vec<String> {
    let sources = report.unsynced.iter().map(|scope| format!("{scope} to be read"));
    let first_commit = (!report.published).then(|| "the first publication".to_owned());
    sources.chain(first_commit).collect()
}

/// A line for each cluster that cannot be read at the moment.
fn degraded(report: &Report) -> String {
    let fleet = report.fleet.trouble.iter().map(|trouble| (Scope::Fleet, trouble));
    let members = report.members.iter();
    let members = members.filter_map(|(id, row)| Some((Scope::Member(id.clone()), row.trouble()?)));
    let line = |(scope, Trouble { reason, message }): (Scope, &Trouble)| {
        format!("degraded, {scope}: {reason}: {message}\n")
    };
    fleet.chain(members).map(line).collect()
}
