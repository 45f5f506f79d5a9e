//! Page, socket, health and metrics on one port: an axum router, and the loop that serves it.
//!
//! The loop is ours, on hyper, for two reasons: it bounds how long a request may take to arrive, and it tells the
//! engine a client's address before the handshake is judged. A host that has such a server keeps its own and mounts
//! [`WsService`] in it.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::{Router, routing::get};
use chat_core::Engine;
use chat_transport_ws::{WsConfig, WsService};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tower_service::Service;

/// The demo page: one file, which which is told whom the server [`Admits`].
const PAGE: &str = include_str!("../assets/index.html");

/// What a page may load and where it may connect; nothing of it comes from elsewhere.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; \
                           connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADER_BYTES_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 64;
/// From a connection's first byte, or its last answer, to the end of the next request's head.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that are no WebSocket (yet); when there are as many, further ones wait in the system's queue.
const CONNECTIONS_MAX: usize = 1024;
/// How long to wait when the system gives no socket, as when all file descriptors are in use.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Whom the server lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admits {
    /// Anybody, by a name.
    Guests,
    /// Who brings a token.
    Tokens,
}

#[derive(Clone)]
struct Site {
    engine: Engine,
    metrics: PrometheusHandle,
    page: Arc<str>,
}

/// All paths of the server.
pub fn router(engine: &Engine, config: WsConfig, metrics: PrometheusHandle, admits: Admits) -> Router {
    let path = config.path.clone();
    // One service for the chat's own path, and for the wrong ones: whoever took a wrong path is told the right one.
    let socket = WsService::new(engine.acceptor(), config).as_fallback();
    let page = match admits {
        Admits::Guests => PAGE.into(),
        Admits::Tokens => PAGE.replace("data-admits=\"guests\"", "data-admits=\"tokens\"").into(),
    };
    let site = Site {
        engine: engine.clone(),
        metrics,
        page,
    };
    Router::new()
        .route("/", get(page_of))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(measured))
        .route_service(&path, socket.clone())
        .fallback_service(socket)
        .with_state(site)
}

async fn page_of(State(site): State<Site>) -> Response {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, Html(site.page.to_string())).into_response()
}

/// Alive is not ready: a balancer asks here, whoever restarts processes asks `/healthz`.
async fn ready(State(site): State<Site>) -> Response {
    match site.engine.ready() {
        Ok(()) => "ready\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response(),
    }
}

async fn measured(State(site): State<Site>) -> Response {
    let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (text, site.metrics.render()).into_response()
}

/// Serves until it is dropped; that ends plain requests, while WebSockets belong to the engine.
pub async fn serve(listener: TcpListener, router: Router) -> Infallible {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let place = Arc::clone(&places).acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let router = router.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            // By this the engine counts connections and handshakes per address.
            request.extensions_mut().insert(peer);
            router.clone().call(request)
        });
        connections.spawn(async move {
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(REQUEST_TIMEOUT)
                .max_headers(HEADERS_MAX)
                .max_header_size(HEADER_BYTES_MAX)
                .max_buf_size(2 * HEADER_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            if let Err(error) = served.await {
                tracing::debug!(%error, "a connection broke off");
            }
            drop(place);
        });
    }
}
