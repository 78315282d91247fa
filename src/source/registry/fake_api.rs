//! An API server of a test: it answers as it is told.

use std::net::SocketAddr;

use axum::{
    Router,
    body::{Body, Bytes},
    http::{Method, StatusCode, Uri},
    response::Response,
};
use serde_json::{Value, json};

/// Serves until the runtime of the test ends.
pub(crate) async fn serve<F>(answer: F) -> SocketAddr
where
    F: Fn(&Method, &Uri, &[u8]) -> Response + Clone + Send + Sync + 'static,
{
    let handler = move |method: Method, uri: Uri, body: Bytes| {
        let response = answer(&method, &uri, &body);
        async move { response }
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(handler)).await });
    address
}

pub(crate) fn ok(content: &Value) -> Response {
    json_response(StatusCode::OK, content)
}

pub(crate) fn not_found() -> Response {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound",
        "message": "not here", "code": 404, "metadata": {},
    });
    json_response(StatusCode::NOT_FOUND, &status)
}

fn json_response(status: StatusCode, content: &Value) -> Response {
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(Body::from(content.to_string())).unwrap()
}
