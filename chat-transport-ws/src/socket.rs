//! A TCP socket that its reader, its writer and whoever closes it hold together.

use bytes::BytesMut;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Shutdown};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How much room is made before each read, in bytes: what an idle socket costs is none of it.
pub(crate) const READ_BYTES: usize = 4 * 1024;

/// Shared; the last holder closes it.
#[derive(Debug, Clone)]
pub(crate) struct Socket(Arc<TcpStream>);

impl Socket {
    pub fn new(stream: TcpStream) -> Self {
        Self(Arc::new(stream))
    }

    /// The peer's address; an IPv4 address inside an IPv6 one counts as itself.
    pub fn address(&self) -> Option<IpAddr> {
        self.0.peer_addr().ok().map(|address| address.ip().to_canonical())
    }

    pub fn set_nodelay(&self) {
        // Fails only on a socket that is gone already, which the next read says.
        let _ = self.0.set_nodelay(true);
    }

    /// Reads into room made when there is something to read; 0 is the end.
    pub fn poll_fill(&self, context: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        loop {
            match self.0.poll_read_ready(context) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => {
                    if buffer.is_empty() {
                        *buffer = BytesMut::new();
                    }
                    return Poll::Pending;
                }
            }
            buffer.reserve(READ_BYTES);
            match self.0.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    /// The first byte that waits to be read, which stays there; none at the end.
    pub async fn first(&self) -> io::Result<Option<u8>> {
        let mut first = [0];
        let count = self.0.peek(&mut first).await?;
        Ok((count > 0).then_some(first[0]))
    }

    /// Reads what is there, if something is.
    pub fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        self.0.try_read_buf(buffer)
    }

    /// Writes what the socket takes; a single slice, the usual case, by the cheaper system call.
    pub fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match slices {
            [only] => self.0.try_write(only),
            _ => self.0.try_write_vectored(slices),
        }
    }

    pub async fn writable(&self) -> io::Result<()> {
        self.0.writable().await
    }

    /// Says that nothing more will be written.
    pub fn shutdown(&self) {
        // Fails when the peer is gone already: then nobody is left to tell.
        let _ = socket2::SockRef::from(&*self.0).shutdown(Shutdown::Write);
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(context))?;
            match self.0.try_read(buffer.initialize_unfilled()) {
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(context))?;
            match self.0.try_write_vectored(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shutdown();
        Poll::Ready(Ok(()))
    }
}
