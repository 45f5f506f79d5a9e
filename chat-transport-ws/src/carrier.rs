//! What carries the bytes of a connection at a listener of ours: a socket as it is, or one under TLS.

use crate::answer::Answer;
use crate::socket::Socket;
use std::io::{self, IoSlice};
use std::pin::Pin;
#[cfg(feature = "tls")]
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
#[cfg(feature = "tls")]
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// How the connections of a listener are secured.
#[derive(Clone, Default)]
pub(crate) enum Security {
    /// Not at all.
    #[default]
    None,
    /// By TLS.
    #[cfg(feature = "tls")]
    Tls(TlsAcceptor),
}

impl Security {
    /// Makes a carrier of a socket that was just accepted; or what to say to who speaks something else, if there is a
    /// word that it understands.
    pub async fn secure(&self, socket: &Socket) -> Result<Carrier, Option<Answer>> {
        match self {
            Self::None => Ok(Carrier::Plain(socket.clone())),
            #[cfg(feature = "tls")]
            Self::Tls(acceptor) => {
                let gone = |error: io::Error| {
                    tracing::debug!(%error, "the TLS handshake failed");
                    None
                };
                if socket.first().await.map_err(gone)?.is_some_and(|first| first != 0x16) {
                    return Err(Some(Answer::no_tls()));
                }
                // Who fails is told by rustls, with an alert.
                let stream = acceptor.accept(socket.clone()).await.map_err(gone)?;
                Ok(Carrier::Tls(Arc::new(Mutex::new(stream))))
            }
        }
    }

    /// Whether HTTP can be said before anything has come.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

impl std::fmt::Debug for Security {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_none() { "None" } else { "Tls" })
    }
}

/// Shared by hyper and by whoever says the last word.
#[derive(Clone)]
pub(crate) enum Carrier {
    Plain(Socket),
    /// The lock is held for one call that does not wait.
    #[cfg(feature = "tls")]
    Tls(Arc<Mutex<TlsStream<Socket>>>),
}

#[cfg(feature = "tls")]
fn lock(stream: &Mutex<TlsStream<Socket>>) -> MutexGuard<'_, TlsStream<Socket>> {
    stream.lock().expect("the lock is never poisoned: no panic inside")
}

impl AsyncRead for Carrier {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(&mut *lock(stream)).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Carrier {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(context, slices),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(&mut *lock(stream)).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(context),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(&mut *lock(stream)).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(&mut *lock(stream)).poll_shutdown(context),
        }
    }
}
