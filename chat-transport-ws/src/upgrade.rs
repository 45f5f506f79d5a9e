//! From a good handshake to a running session: what the service and the listener share.

use crate::answer::{Answer, wrong_path};
use crate::attended::Attended;
use crate::config::WsConfig;
use crate::framing::FRAMING;
use crate::handshake::{Accepted, judge};
use crate::socket::Socket;
use crate::wire::{DirectOutlet, Pump, Source, WsIncoming, queued};
use bytes::Bytes;
use chat_core::code::CloseCode;
use chat_core::engine::{Acceptor, Permit};
use chat_core::transport::{Connection, Handshake, Outlet};
use http::{Request, Response};
use http_body_util::Full;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade as auto;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Once};
use std::time::Duration;
use tokio::io::WriteHalf;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What both ways in need.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub acceptor: Acceptor,
    pub config: Arc<WsConfig>,
    pub unidentified: Unidentified,
}

/// What becomes of a request that has no [`Identity`](chat_core::Identity) among its extensions.
#[derive(Debug, Clone)]
pub(crate) enum Unidentified {
    /// It comes in; the engine's hooks judge the token.
    MayBringToken,
    /// It is refused, and the host is told once: strangers can send many.
    Refused(Arc<Once>),
}

/// A connection whose answer 101 is on its way.
pub(crate) struct Pending {
    upgrade: OnUpgrade,
    accepted: Accepted,
    address: Option<IpAddr>,
    permit: Permit,
    door: Door,
}

impl Door {
    /// Answers a handshake; `path` is the only right one, if there is one.
    pub fn begin<B>(
        &self,
        request: &mut Request<B>,
        path: Option<&str>,
        address: Option<IpAddr>,
    ) -> (Response<Full<Bytes>>, Option<Pending>) {
        match self.try_begin(request, path, address) {
            Ok(pending) => (pending.accepted.response(), Some(pending)),
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

    fn try_begin<B>(
        &self,
        request: &mut Request<B>,
        path: Option<&str>,
        address: Option<IpAddr>,
    ) -> Result<Pending, Answer> {
        let accepted = judge(request, &self.config, path)?;
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
        let permit = self
            .acceptor
            .admit(address)
            .map_err(|refusal| Answer::unavailable(refusal.retry_after))?;
        Ok(Pending {
            upgrade: hyper::upgrade::on(request),
            accepted,
            address,
            permit,
            door: self.clone(),
        })
    }
}

impl Pending {
    /// Waits for the stream and runs the session to its end.
    pub async fn run(self) {
        let Door { acceptor, config, .. } = self.door;
        let upgraded = match timeout(config.handshake_timeout, self.upgrade).await {
            Ok(Ok(upgraded)) => upgraded,
            Ok(Err(error)) => return tracing::debug!(%error, "the connection ended before its upgrade"),
            Err(_) => return tracing::debug!("the upgrade took too long"),
        };
        let handshake = Handshake {
            address: self.address,
            identity: self.accepted.identity,
            token: self.accepted.token,
            ..Handshake::new(self.accepted.codec)
        };
        let (connection, pump) = open(upgraded, handshake, &config);
        let linger_timeout = config.linger_timeout;
        let permit = self.permit;
        let session = async move {
            if self.accepted.is_wrong_path {
                let sentence = wrong_path(&config.path);
                say_goodbye(connection, CloseCode::WrongPath, &sentence, &config).await;
            } else {
                acceptor.accept(connection, permit).await;
            }
        };
        match pump {
            None => session.await,
            Some(pump) => beside(pump.run(), session, linger_timeout).await,
        }
    }
}

/// Makes a connection of an upgraded stream: direct where it is a plain socket, else with a pump to run beside it.
fn open(
    upgraded: Upgraded,
    mut handshake: Handshake,
    config: &WsConfig,
) -> (Connection, Option<Pump<WriteHalf<TokioIo<Upgraded>>>>) {
    let codec = handshake.codec;
    let (source, behind, outlet, pump): (Source, Bytes, Arc<dyn Outlet>, _) = match plain(upgraded) {
        Ok((socket, behind)) => {
            handshake.address = handshake.address.or_else(|| socket.address());
            socket.set_nodelay();
            let outlet = Arc::new(DirectOutlet(socket.clone()));
            (Source::Socket(socket), behind, outlet, None)
        }
        Err(upgraded) => {
            let (read, write) = tokio::io::split(TokioIo::new(upgraded));
            let (outlet, pump, ending) = queued(write, config.write_buffer);
            (Source::Stream(read, ending), Bytes::new(), Arc::new(outlet), Some(pump))
        }
    };
    let connection = Connection {
        handshake,
        incoming: Box::new(WsIncoming::new(source, &behind, codec, config)),
        outlet,
    };
    (connection, pump)
}

/// The socket under an upgraded stream and what was read behind the handshake; the stream itself if it is no socket.
fn plain(upgraded: Upgraded) -> Result<(Socket, Bytes), Upgraded> {
    // Our own listener; a host on plain hyper; a host on hyper-util's `auto`, such as axum.
    let upgraded = match upgraded.downcast::<TokioIo<Attended>>() {
        Ok(parts) => return Ok((parts.io.into_inner().socket, parts.read_buf)),
        Err(upgraded) => upgraded,
    };
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
