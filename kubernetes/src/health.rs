// SPDX-License-Identifier: Apache-2.0
//! How a program is, over HTTP in the clear.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

/// A program that tells how it is.
pub trait Health: Send + Sync + 'static {
    /// Why it cannot do its work now.
    fn unready(&self) -> Option<&'static str>;
    /// Its metrics in the OpenMetrics text format.
    fn metrics(&self) -> String;
}

/// Serves `/healthz`, `/readyz` and `/metrics` as long as the process lives.
///
/// # Errors
/// Where the listener fails.
pub async fn serve_health<H: Health>(
    program: Arc<H>,
    listener: TcpListener,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready::<H>))
        .route("/metrics", get(metrics::<H>))
        .with_state(program);
    axum::serve(listener, router).await
}

async fn ready<H: Health>(State(program): State<Arc<H>>) -> Response {
    program.unready().map_or_else(
        || "ok".into_response(),
        |reason| (StatusCode::SERVICE_UNAVAILABLE, reason).into_response(),
    )
}

async fn metrics<H: Health>(State(program): State<Arc<H>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], program.metrics()).into_response()
}
