//! `/healthz` says that the process lives; `/readyz` whether it may be asked for configuration.
//!
//! Ready means: the engine has published once and every source has been read to the end, or was
//! given up waiting for (xds.md 3.15). An unready answer says what is missing.

use axum::{extract, http::StatusCode};

use crate::admin::{Report, State};

/// 200 as long as the process answers.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// 200 when ready, else 503; the body says what is missing.
pub(super) async fn ready(extract::State(state): extract::State<State>) -> (StatusCode, String) {
    let missing = missing(&state.report.borrow());
    if missing.is_empty() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready, waiting for {}\n", missing.join(", ")))
}

fn missing(report: &Report) -> Vec<String> {
    let sources = report.unsynced.iter().map(|scope| format!("{scope} to be read"));
    let first_commit = (!report.published).then(|| "the first publication".to_owned());
    sources.chain(first_commit).collect()
}
