//! From a good handshake to a running session, over whatever carries bytes: all ways in share it.

use crate::answer::{Answer, wrong_path};
use crate::attended::Attended;
use crate::carrier::Carrier;
use crate::channels::Channels;
use crate::config::WsConfig;
use crate::forwarded::{self, is_trusted};
use crate::framing::FRAMING;
use crate::handshake::{Accepted, judge};
use crate::socket::Socket;
use crate::wire::{DirectOutlet, Source, WsIncoming, queued};
use bytes::Bytes;
use chat_core::code::CloseCode;
use chat_core::engine::{Acceptor, Permit};
use chat_core::transport::{Connection, Handshake, Outlet};
use http::{Request, Response};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade as auto;
use std::any::Any;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Once};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::timeout;

/// What both ways in need.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub acceptor: Acceptor,
    pub config: Arc<WsConfig>,
    pub unidentified: Unidentified,
    /// Whether the host was told that limits per address do not hold.
    pub unaddressed: Arc<Once>,
}

/// What becomes of a request that has no [`Identity`](chat_core::Identity) among its extensions.
#[derive(Debug, Clone)]
pub(crate) enum Unidentified {
    /// It comes in; the engine's hooks judge the token.
    MayBringToken,
    /// It is refused, and the host is told once: strangers can send many.
    Refused(Arc<Once>),
}

/// A connection whose handshake was good: send the answer 101, then run it over the stream that carried the request.
///
/// It comes from [`WsService::begin`](crate::WsService::begin). Dropping it instead gives its place at the engine back.
///
/// The futures of [`run`](Upgrade::run) and [`run_channels`](Upgrade::run_channels) *are* the session, and belong to
/// whoever polls them: spawn them on a tokio runtime, apart from the request's own future, which most frameworks drop
/// once it has answered. They end by themselves when the session does; [`Engine::shutdown`](chat_core::Engine::shutdown)
/// ends every session and waits for it, so that nobody need keep their handles.
///
/// # Cancel safety
/// Dropping such a future drops the connection without a close frame; what was being stored is stored all the same, and
/// the client comes back and resumes.
#[derive(Debug)]
#[must_use]
pub struct Upgrade {
    door: Door,
    accepted: Accepted,
    address: Option<IpAddr>,
    permit: Permit,
    behind: Bytes,
}

impl Door {
    /// Answers a handshake; `path` is the only right one, if there is one.
    pub fn begin<B>(&self, request: &Request<B>, path: Option<&str>) -> (Response<Bytes>, Option<Upgrade>) {
        match self.try_begin(request, path) {
            Ok(upgrade) => (upgrade.accepted.response(), Some(upgrade)),
            Err(answer) => {
                tracing::debug!(
                    status = answer.status.as_u16(),
                    reason = answer.sentence,
                    "handshake refused"
                );
                (answer.into_response(), None)
            }
        }
    }

    fn try_begin<B>(&self, request: &Request<B>, path: Option<&str>) -> Result<Upgrade, Answer> {
        let peer = request.extensions().get::<SocketAddr>();
        let peer = peer.map(|peer| peer.ip().to_canonical());
        let proxy = peer.filter(|peer| is_trusted(*peer, &self.config.trusted_proxies));
        let outer_host = proxy.and_then(|_| forwarded::host(request.headers()));
        let accepted = judge(request, &self.config, path, outer_host.as_deref())?;
        // At a wrong path nobody comes in, and the host's middleware need not stand before it.
        if let Unidentified::Refused(told) = &self.unidentified
            && accepted.identity.is_none()
            && !accepted.is_wrong_path
        {
            told.call_once(|| {
                tracing::warn!(
                    "a handshake was refused, 401: no `chat_core::Identity` among the request's extensions. If the client \
                     was logged in, add middleware around `WsService` that inserts one; for clients that bring tokens \
                     use `WsService::with_tokens`. This is said once"
                );
            });
            return Err(Answer::unauthorized());
        }
        if peer.is_none() {
            self.unaddressed.call_once(|| {
                tracing::warn!(
                    "a handshake without a `SocketAddr` among the request's extensions: limits per address do not hold, and \
                     `trusted_proxies` means nothing. Add middleware around `WsService` that inserts the peer's. This is \
                     said once"
                );
            });
        }
        let address = peer.map(|peer| forwarded::client(peer, request.headers(), &self.config.trusted_proxies));
        let permit = self
            .acceptor
            .admit(address)
            .map_err(|refusal| Answer::unavailable(refusal.retry_after))?;
        Ok(Upgrade {
            door: self.clone(),
            accepted,
            address,
            permit,
            behind: Bytes::new(),
        })
    }
}

impl Upgrade {
    /// Hands in what the host has already read behind the handshake's last line.
    pub fn already_read(mut self, bytes: impl Into<Bytes>) -> Self {
        self.behind = bytes.into();
        self
    }

    /// Runs the session to its end, over the stream that carried the handshake, as it is behind the answer 101.
    ///
    /// A [`TcpStream`] is written directly, anything else through a buffer of
    /// [`write_buffer`](WsConfig::write_buffer) bytes.
    pub async fn run<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut stream = Some(stream);
        let socket = (&mut stream as &mut dyn Any).downcast_mut::<Option<TcpStream>>();
        if let Some(socket) = socket.and_then(Option::take) {
            self.over_socket(Socket::new(socket)).await;
        } else if let Some(stream) = stream {
            self.over_stream(stream).await;
        }
    }

    /// Runs the session to its end over two channels, for frameworks whose streams are not `Send`: a task of the host's
    /// copies what the client sends into one and what the other gives to the client.
    ///
    /// ```
    /// # async fn mounted(upgrade: chat_transport_ws::Upgrade) {
    /// use tokio::sync::mpsc;
    ///
    /// let (from_client, incoming) = mpsc::channel(8);
    /// let (outgoing, to_client) = mpsc::channel(8);
    /// tokio::spawn(upgrade.run_channels(incoming, outgoing));
    /// // Now send each chunk of the request's body into `from_client`, and answer 101 with `to_client` as the body.
    /// # drop((from_client, to_client));
    /// # }
    /// ```
    ///
    /// Both channels carry bytes, cut anywhere. A full one holds up its sender, so that a client that does not read
    /// costs at most the channel's chunks, of at most [`write_buffer`](WsConfig::write_buffer) bytes each, and one that
    /// sends too fast is read more slowly. Dropping the host's end of either ends the session. When the session is over,
    /// `outgoing` ends behind the close frame; what still comes in is read for up to
    /// [`linger_timeout`](WsConfig::linger_timeout), then `incoming` is closed.
    pub async fn run_channels(self, incoming: Receiver<Bytes>, outgoing: Sender<Bytes>) {
        self.over_stream(Channels::new(incoming, outgoing)).await;
    }

    /// Waits for hyper's stream and runs the session to its end.
    pub(crate) async fn run_upgraded(mut self, upgrade: OnUpgrade) {
        let upgraded = match timeout(self.door.config.handshake_timeout, upgrade).await {
            Ok(Ok(upgraded)) => upgraded,
            Ok(Err(error)) => return tracing::debug!(%error, "the connection ended before its upgrade"),
            Err(_) => return tracing::debug!("the upgrade took too long"),
        };
        let upgraded = match upgraded.downcast::<TokioIo<Attended>>() {
            Ok(parts) => {
                self.behind = parts.read_buf;
                return match parts.io.into_inner().carrier {
                    Carrier::Plain(socket) => self.over_socket(socket).await,
                    #[cfg(feature = "tls")]
                    secured @ Carrier::Tls(_) => self.over_stream(secured).await,
                };
            }
            Err(upgraded) => upgraded,
        };
        match plain(upgraded) {
            Ok((socket, behind)) => {
                self.behind = behind;
                self.over_socket(socket).await;
            }
            Err(upgraded) => self.over_stream(TokioIo::new(upgraded)).await,
        }
    }

    async fn over_socket(mut self, socket: Socket) {
        self.address = self.address.or_else(|| socket.address());
        socket.set_nodelay();
        let outlet = Arc::new(DirectOutlet(socket.clone()));
        self.converse(Source::Socket(socket), outlet).await;
    }

    async fn over_stream(self, stream: impl AsyncRead + AsyncWrite + Send + 'static) {
        let (read, write) = tokio::io::split(stream);
        let (outlet, pump, ending) = queued(write, self.door.config.write_buffer);
        let linger_timeout = self.door.config.linger_timeout;
        let session = self.converse(Source::Stream(Box::new(read), ending), Arc::new(outlet));
        beside(pump.run(), session, linger_timeout).await;
    }

    /// Hands the connection to the engine; at a wrong path it only says so.
    async fn converse(self, source: Source, outlet: Arc<dyn Outlet>) {
        let Door { acceptor, config, .. } = self.door;
        let codec = self.accepted.codec;
        let handshake = Handshake {
            address: self.address,
            identity: self.accepted.identity,
            token: self.accepted.token,
            ..Handshake::new(codec)
        };
        let connection = Connection {
            handshake,
            incoming: Box::new(WsIncoming::new(source, &self.behind, codec, &config)),
            outlet,
        };
        drop(self.behind);
        if self.accepted.is_wrong_path {
            let sentence = wrong_path(&config.path);
            say_goodbye(connection, CloseCode::WrongPath, &sentence, &config).await;
        } else {
            acceptor.accept(connection, self.permit).await;
        }
    }
}

/// The socket under an upgraded stream and what was read behind the handshake; the stream itself if it is no socket.
fn plain(upgraded: Upgraded) -> Result<(Socket, Bytes), Upgraded> {
    // A host on plain hyper; a host on hyper-util's `auto`, such as axum.
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => return Ok((Socket::new(parts.io.into_inner()), parts.read_buf)),
        Err(upgraded) => upgraded,
    };
    let parts = auto::downcast::<TokioIo<TcpStream>>(upgraded)?;
    Ok((Socket::new(parts.io.into_inner()), parts.read_buf))
}

/// Runs a session with its pump beside it, in one task; what the session left is written for at most `grace` longer.
async fn beside(pump: impl Future<Output = ()>, session: impl Future<Output = ()>, grace: Duration) {
    let mut pump = pin!(pump);
    let mut session = pin!(session);
    tokio::select! {
        biased;
        () = &mut session => {
            let _ = timeout(grace, pump).await;
        }
        () = &mut pump => session.await,
    }
}

/// Closes a connection that the engine never sees.
async fn say_goodbye(mut connection: Connection, code: CloseCode, reason: &str, config: &WsConfig) {
    let frame = (FRAMING.close)(code, reason).unwrap_or_default();
    let written = timeout(config.handshake_timeout, write_all(&*connection.outlet, &frame)).await;
    if let Ok(Ok(())) = written {
        connection.incoming.linger().await;
    }
}

async fn write_all(outlet: &dyn Outlet, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match outlet.try_write(&[IoSlice::new(bytes)]) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => outlet.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
