//! Health, metrics and inspection, on one address of its own.
//!
//! Owns `/healthz`, `/readyz`, `/metrics` and the gRPC service of `proto/convoy/inspect/v1`, all
//! on one port. Must not know how anything is derived or served: it reads [`State`]. Private keys
//! are never printed. Cost: nothing until somebody asks; an answer is linear in what it lists.

mod health;
mod inspect;
mod metrics;
pub mod proto;
mod rejected;
mod state;
#[cfg(test)]
mod tests;

use std::{future::Future, io};

use axum::{Router, routing::get};
use tokio::net::TcpListener;
use tonic::server::NamedService;

pub(crate) use inspect::no_gateway;
pub use state::{
    EngineCounters, Envoys, FleetReport, InfraMeter, MemberReport, MemberState, Report, State,
    StatusMeter, StreamTotals, Trouble, tick_histogram,
};

use proto::inspection_server::InspectionServer;

/// Serves until `shutdown` resolves. The port speaks HTTP/1.1 and HTTP/2 without TLS.
pub async fn serve(
    listener: TcpListener,
    state: State,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router(state)).with_graceful_shutdown(shutdown).await
}

/// All that the admin address answers.
fn router(state: State) -> Router {
    let inspection = InspectionServer::new(inspect::Inspector::new(state.clone()));
    // By path and not merged as tonic's own router, whose fallback would answer 200 to any URL.
    let inspection_path = format!("/{}/{{*method}}", service_name(&inspection));
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::scrape))
        .with_state(state)
        .route_service(&inspection_path, inspection)
}

fn service_name<S: NamedService>(_: &S) -> &'static str {
    S::NAME
}
