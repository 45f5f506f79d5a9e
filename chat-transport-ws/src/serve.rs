//! The loop that serves HTTP/1.1 to strangers: places per address, one request a connection, a deadline for each part,
//! a sentence for who speaks something else, and an end that loses no answer.

use crate::answer::Answer;
use crate::attended::Attended;
use crate::carrier::{Carrier, Security};
use crate::config::WsConfig;
use crate::forwarded::{self, is_trusted};
use crate::places::{Place, Places};
use crate::proxied;
use crate::socket::Socket;
use crate::wire::Source;
use bytes::BytesMut;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tower_service::Service;

const HEADER_BYTES_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 64;

/// How long to wait when the system gives no socket, as when all file descriptors are in use.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// When an address that holds too many sockets may try again.
const RETRY: Duration = Duration::from_secs(1);

/// Serves a host's own pages and a mounted [`WsService`](crate::WsService) on one port, safely among strangers.
///
/// For hosts without an HTTP server of their own; one service, such as an axum router, has all paths. Each connection
/// carries one request, whose extensions get the peer's [`SocketAddr`], or the one that a trusted proxy's PROXY header
/// names. Time, size and number are bounded by
/// [`handshake_timeout`](WsConfig::handshake_timeout), [`answer_timeout`](WsConfig::answer_timeout),
/// [`handshakes_max`](WsConfig::handshakes_max) and
/// [`handshakes_per_address_max`](WsConfig::handshakes_per_address_max): a socket that is slow, or reads nothing, is
/// closed within seconds.
///
/// # Cancel safety
/// Dropping it ends plain requests; WebSockets belong to the engine.
pub async fn serve_http<S, B>(listener: TcpListener, service: S, config: &WsConfig) -> Infallible
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    serve(&listener, service, config, &Security::None, &mut JoinSet::new()).await
}

/// As [`serve_http`], under TLS.
///
/// The host makes the configuration, and so chooses the provider of cryptography; `alpn_protocols` may hold `http/1.1`
/// and not `h2`. The TLS handshake is part of what [`handshake_timeout`](WsConfig::handshake_timeout) and the places per
/// address bound. Who speaks plain HTTP is told so.
///
/// # Cancel safety
/// As [`serve_http`].
#[cfg(feature = "tls")]
pub async fn serve_https<S, B>(
    listener: TcpListener,
    service: S,
    config: &WsConfig,
    tls: Arc<tokio_rustls::rustls::ServerConfig>,
) -> Infallible
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let security = Security::Tls(tls.into());
    serve(&listener, service, config, &security, &mut JoinSet::new()).await
}

/// As [`serve_http`], each connection in a task of `connections`.
pub(crate) async fn serve<S, B>(
    listener: &TcpListener,
    service: S,
    config: &WsConfig,
    security: &Security,
    connections: &mut JoinSet<()>,
) -> Infallible
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let places = Arc::new(Places::new(config.handshakes_max, config.handshakes_per_address_max));
    let config = Arc::new(config.clone());
    loop {
        while connections.try_join_next().is_some() {}
        let place = places.free().await;
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let socket = Socket::new(stream);
        let deadline = Instant::now() + config.handshake_timeout;
        let place = places.lend(place);
        let address = peer.ip().to_canonical();
        // Of a proxy nobody knows yet whom it stands for.
        if !is_trusted(address, &config.trusted_proxies) && !place.give(address) {
            turn_away(&socket, security);
            continue;
        }
        let (service, config, security) = (service.clone(), Arc::clone(&config), security.clone());
        connections.spawn(async move {
            let opened = open(&socket, peer, &place, &config, &security);
            match timeout_at(deadline, opened).await {
                Ok(Ok((carrier, client))) => {
                    converse(&socket, carrier, client, place, service, &config, deadline).await;
                }
                Ok(Err(answer)) => say_goodbye(&socket, Carrier::Plain(socket.clone()), answer, &config).await,
                Err(_) => tracing::debug!("what comes before HTTP did not come to its end in time"),
            }
        });
    }
}

/// Everything before HTTP: whom a proxy stands for, and TLS. Answers with the carrier and its client, or with what to say.
async fn open(
    socket: &Socket,
    peer: SocketAddr,
    place: &Place,
    config: &WsConfig,
    security: &Security,
) -> Result<(Carrier, SocketAddr), Option<Answer>> {
    let mut client = peer;
    if is_trusted(peer.ip().to_canonical(), &config.trusted_proxies) {
        let told = proxied::read(socket).await.map_err(|error| {
            tracing::debug!(%error, "a proxy's header is no good");
            security
                .is_none()
                .then(|| Answer::bad_request("a header of the PROXY protocol, version 2, was expected"))
        })?;
        client = told.unwrap_or(peer);
        if told.is_some() && !is_trusted(client.ip(), &config.trusted_proxies) && !place.give(client.ip()) {
            return Err(security.is_none().then(|| Answer::unavailable(RETRY)));
        }
    }
    Ok((security.secure(socket).await?, client))
}

/// Says 503 as far as that costs no time; under TLS that would cost a handshake, so nothing is said.
fn turn_away(socket: &Socket, security: &Security) {
    tracing::debug!("an address holds too many sockets that are no WebSocket yet");
    // What has come is taken, so that closing sends no reset, which may overtake the answer.
    let _ = socket.try_read(&mut BytesMut::with_capacity(HEADER_BYTES_MAX));
    if security.is_none() {
        let answer = Answer::unavailable(RETRY).into_bytes();
        let _ = socket.try_write_vectored(&[IoSlice::new(&answer)]);
    }
    socket.shutdown();
}

/// An address holds too many sockets that are no WebSocket yet.
#[derive(Debug, Error)]
#[error("an address holds too many sockets that are no WebSocket yet")]
struct TooMany;

/// Answers one request, and none after it; its head must have come by `deadline`.
async fn converse<S, B>(
    socket: &Socket,
    carrier: Carrier,
    peer: SocketAddr,
    place: Place,
    service: S,
    config: &WsConfig,
    deadline: Instant,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    socket.set_nodelay();
    let (attended, notes) = Attended::new(carrier.clone());
    let is_upgraded = Arc::new(AtomicBool::new(false));
    let (asked, upgraded) = (notes.clone(), Arc::clone(&is_upgraded));
    let respond = move |mut request: Request<Incoming>| {
        asked.asked();
        let address = forwarded::client(peer.ip().to_canonical(), request.headers(), &config.trusted_proxies);
        let has_place = place.give(address);
        if !has_place {
            asked.refuse(Answer::unavailable(RETRY));
        }
        // By this the engine counts connections and handshakes per address, once it has looked at the headers itself.
        request.extensions_mut().insert(peer);
        let (mut service, upgraded) = (service.clone(), Arc::clone(&upgraded));
        async move {
            if !has_place {
                return Err(TooMany);
            }
            let Ok(()) = poll_fn(|context| service.poll_ready(context)).await;
            let Ok(mut response) = service.call(request).await;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                upgraded.store(true, Ordering::Relaxed);
            } else if !response.headers().contains_key(CONNECTION) {
                response
                    .headers_mut()
                    .insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        }
    };
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(deadline.saturating_duration_since(Instant::now()))
        .max_headers(HEADERS_MAX)
        .max_header_size(HEADER_BYTES_MAX)
        .max_buf_size(2 * HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(attended), service_fn(respond))
        .with_upgrades();
    let answer = match timeout_at(deadline + config.answer_timeout, served).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) if error.is_timeout() => return tracing::debug!("a request did not come in time"),
        Ok(Err(error)) => {
            tracing::debug!(%error, "no whole request, or nobody to answer to");
            notes.answer()
        }
        Err(_) => return tracing::debug!("an answer was not taken in time"),
    };
    if !is_upgraded.load(Ordering::Relaxed) {
        say_goodbye(socket, carrier, answer, config).await;
    }
}

/// Says the last word, if there is one, and that nothing more follows; then waits until it was taken.
async fn say_goodbye(socket: &Socket, mut carrier: Carrier, answer: Option<Answer>, config: &WsConfig) {
    let deadline = Instant::now() + config.linger_timeout;
    let said = async {
        if let Some(answer) = answer {
            carrier.write_all(&answer.into_bytes()).await?;
        }
        carrier.shutdown().await
    };
    let _ = timeout_at(deadline, said).await;
    socket.shutdown();
    // So that the answer is not lost to a reset when more had come than was read.
    Source::Socket(socket.clone())
        .discard(deadline, config.linger_bytes_max)
        .await;
}
