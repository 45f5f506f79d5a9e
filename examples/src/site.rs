//! Page, socket, health and metrics on one port: an axum router.
//!
//! It is served by [`serve_http`](chat_transport_ws::serve_http), which bounds what strangers may take of it and tells
//! the engine a client's address before the handshake is judged. A host that has such a server keeps its own and
//! mounts [`WsService`] in it.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Response};
use axum::{Router, routing::get};
use chat_core::Engine;
use chat_transport_ws::{WsConfig, WsService};
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::{Arc, OnceLock};
use tower_service::Service;

/// The demo page: one file, which is told whom the server [`Admits`].
const PAGE: &str = include_str!("../assets/index.html");

/// What a page may load and where it may connect; nothing of it comes from elsewhere.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; \
                           connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

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

/// Behind it is nothing while the server starts, which may take its time where a schema is brought up to date.
#[derive(Clone, Default)]
pub struct Door(Arc<OnceLock<Router>>);

impl Door {
    /// Lets everybody through to all paths.
    pub fn open(&self, router: Router) {
        self.0.get_or_init(|| router);
    }

    /// Alive and not ready, until it is open.
    pub fn router(&self) -> Router {
        Router::new().fallback(through).with_state(self.clone())
    }
}

async fn through(State(Door(behind)): State<Door>, request: Request) -> Response {
    match behind.get() {
        Some(router) => match router.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        None if request.uri().path() == "/healthz" => "alive\n".into_response(),
        None => (
            StatusCode::SERVICE_UNAVAILABLE,
            [(header::RETRY_AFTER, "1")],
            "starting\n",
        )
            .into_response(),
    }
}

/// All paths of the server.
pub fn router(engine: &Engine, config: WsConfig, metrics: PrometheusHandle, admits: Admits) -> Router {
    let path = config.path.clone();
    // One service for the chat's own path, and for the wrong ones: whoever took a wrong path is told the right one.
    let socket = WsService::with_tokens(engine.acceptor(), config).as_fallback();
    let page = match admits {
        Admits::Guests => PAGE.into(),
        Admits::Tokens => PAGE.replace("data-admits=\"guests\"", "data-admits=\"tokens\"").into(),
    };
    let site = Site {
        engine: engine.clone(),
        metrics,
        page,
    };
    let upgrades = socket.clone();
    Router::new()
        .route("/", get(page_of))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(measured))
        .route_service(&path, socket.clone())
        .fallback_service(socket)
        .layer(from_fn(move |request: Request, next: Next| {
            let mut socket = upgrades.clone();
            async move {
                if !is_upgrade(&request) {
                    return next.run(request).await;
                }
                let Ok(answer) = socket.call(request).await;
                answer.map(Body::new)
            }
        }))
        .with_state(site)
}

/// Whether somebody wants a WebSocket: at the path of a page too, nobody is answered by a page that no WebSocket reads.
fn is_upgrade(request: &Request) -> bool {
    let lines = request.headers().get_all(header::UPGRADE).into_iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case("websocket"))
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
        Ok(()) => match site.engine.degraded() {
            None => "ready\n".into_response(),
            Some(why) => format!("ready, degraded: {why}\n").into_response(),
        },
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response(),
    }
}

async fn measured(State(site): State<Site>) -> Response {
    let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (text, site.metrics.render()).into_response()
}
