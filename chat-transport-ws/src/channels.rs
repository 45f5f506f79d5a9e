//! Two channels of bytes as one stream.

use bytes::{Buf, Bytes};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio_util::sync::PollSender;

/// Reads what one channel brings, writes into the other.
pub(crate) struct Channels {
    incoming: Receiver<Bytes>,
    /// What is left of the chunk that was taken last.
    chunk: Bytes,
    outgoing: PollSender<Bytes>,
    /// Resolves when nobody takes what is written: then nobody is there to read from either. Gone once the stream is
    /// shut down, because it holds the channel open.
    deserted: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Channels {
    pub fn new(incoming: Receiver<Bytes>, outgoing: Sender<Bytes>) -> Self {
        let watched = outgoing.clone();
        Self {
            incoming,
            chunk: Bytes::new(),
            outgoing: PollSender::new(outgoing),
            deserted: Some(Box::pin(async move { watched.closed().await })),
        }
    }
}

impl AsyncRead for Channels {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // A chunk of no bytes is not the end.
        while this.chunk.is_empty() {
            match this.incoming.poll_recv(context) {
                Poll::Ready(Some(chunk)) => this.chunk = chunk,
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    let Some(deserted) = &mut this.deserted else {
                        return Poll::Pending;
                    };
                    ready!(deserted.as_mut().poll(context));
                    this.deserted = None;
                    return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
                }
            }
        }
        let count = this.chunk.len().min(buffer.remaining());
        buffer.put_slice(&this.chunk[..count]);
        this.chunk.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Channels {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outgoing = &mut self.get_mut().outgoing;
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        ready!(outgoing.poll_reserve(context)).map_err(gone)?;
        outgoing.send_item(Bytes::copy_from_slice(bytes)).map_err(gone)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.deserted = None;
        this.outgoing.close();
        Poll::Ready(Ok(()))
    }
}
