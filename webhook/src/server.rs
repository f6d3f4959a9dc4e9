// SPDX-License-Identifier: Apache-2.0
//! The two listeners: reviews over TLS, and health and metrics in the clear.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use gvirtus_kubernetes::Health;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};

use crate::limits;
use crate::metrics::Metrics;
use crate::review::{Outcome, answer};
use crate::settings::Settings;
use crate::tls::{self, Shown, TlsError};

/// What both listeners share.
#[derive(Debug)]
pub struct Webhook {
    settings: Settings,
    /// What TLS clients are shown.
    pub shown: Arc<Shown>,
    /// What is counted.
    pub metrics: Metrics,
    /// Whether the API server has been told whom to trust.
    pub registered: AtomicBool,
    ending: AtomicBool,
}

impl Webhook {
    /// Not ready before [`Self::shown`] and [`Self::registered`] are set.
    pub fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            settings,
            shown: Arc::default(),
            metrics: Metrics::default(),
            registered: AtomicBool::new(false),
            ending: AtomicBool::new(false),
        })
    }

    /// Tells that no new connections are wanted: it is going to end.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }
}

impl Health for Webhook {
    fn unready(&self) -> Option<&'static str> {
        if self.ending.load(Ordering::Relaxed) {
            Some("ending")
        } else if !self.shown.is_set() {
            Some("no certificate yet")
        } else if !self.registered.load(Ordering::Relaxed) {
            Some("the API server does not trust the certificate yet")
        } else {
            None
        }
    }

    fn metrics(&self) -> String {
        self.metrics.text()
    }
}

/// Answers reviews over TLS until `stop` turns true, and then what has been asked.
///
/// # Errors
/// Where TLS cannot be set up.
pub async fn serve_reviews(
    webhook: Arc<Webhook>,
    listener: TcpListener,
    mut stop: watch::Receiver<bool>,
) -> Result<(), TlsError> {
    let acceptor = TlsAcceptor::from(Arc::new(tls::server_config(Arc::clone(&webhook.shown))?));
    let router = Router::new()
        .route("/mutate", post(mutate))
        .layer(DefaultBodyLimit::max(limits::REVIEW_BYTES))
        .with_state(webhook);
    let connections = Arc::new(Semaphore::new(limits::CONNECTIONS));
    let graceful = GracefulShutdown::new();
    loop {
        let permit = Arc::clone(&connections).acquire_owned();
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = async { (permit.await, listener.accept().await) } => accepted,
        };
        let (Ok(permit), Ok((stream, peer))) = accepted else {
            // Mostly too many open files: others must close theirs first.
            warn!("cannot accept a connection");
            tokio::time::sleep(limits::ACCEPT_PAUSE).await;
            continue;
        };
        let (acceptor, router) = (acceptor.clone(), router.clone());
        let watcher = graceful.watcher();
        tokio::spawn(async move {
            serve_connection(stream, peer, acceptor, router, watcher).await;
            drop(permit);
        });
    }
    drop(listener);
    let finished = tokio::time::timeout(limits::END, graceful.shutdown()).await;
    if finished.is_err() {
        warn!(
            "connections were still open after {} s",
            limits::END.as_secs()
        );
    }
    Ok(())
}

async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: TlsAcceptor,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let handshake = tokio::time::timeout(limits::HANDSHAKE, acceptor.accept(stream)).await;
    let stream = match handshake {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return debug!(%peer, %error, "no TLS"),
        Err(_) => return debug!(%peer, "TLS takes too long"),
    };
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::IDLE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits::IDLE)
        .keep_alive_timeout(limits::HANDSHAKE);
    let service = TowerToHyperService::new(router);
    let connection = builder
        .serve_connection(TokioIo::new(stream), service)
        .into_owned();
    if let Err(error) = watcher.watch(connection).await {
        debug!(%peer, %error, "connection");
    }
}

async fn mutate(State(webhook): State<Arc<Webhook>>, body: Bytes) -> Response {
    let start = Instant::now();
    let (review, outcome) = answer(&body, &webhook.settings);
    let text = serde_json::to_vec(&review);
    webhook.metrics.reviewed(outcome, start.elapsed());
    if outcome == Outcome::Invalid {
        warn!(bytes = body.len(), "a request that is no review");
    } else if let Some(response) = &review.response {
        let uid = &response.uid;
        info!(
            uid,
            outcome = outcome.name(),
            reason = response.result.message,
            "review"
        );
    }
    match text {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
