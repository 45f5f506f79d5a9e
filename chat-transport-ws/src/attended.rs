//! A socket as hyper sees it: what hyper would say of its own accord is held back, so that a sentence is said instead.

use crate::answer::Answer;
use crate::carrier::Carrier;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The first bytes of a TLS hello, and of HTTP/2 (RFC 9113, 3.4).
const TLS: &[u8] = &[0x16];
const HTTP2: &[u8] = b"PRI * HTTP/2";

pub(crate) struct Attended {
    pub carrier: Carrier,
    notes: Notes,
}

/// What was seen of a socket up to its request; shared with whoever answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    /// A request came, so what is written from now on is its answer.
    is_asked: bool,
    /// The first bytes that came, as many as tell protocols apart.
    first: Vec<u8>,
    /// The status line that was held back.
    held_back: Vec<u8>,
    /// What to say instead of answering the request.
    refusal: Option<Answer>,
}

impl Attended {
    pub fn new(carrier: Carrier) -> (Self, Notes) {
        let notes = Notes::default();
        let attended = Self {
            carrier,
            notes: notes.clone(),
        };
        (attended, notes)
    }

    /// Takes bytes that nobody shall see; none when they are an answer.
    fn hold_back(&self, slices: &[IoSlice<'_>]) -> Option<usize> {
        let mut seen = self.notes.seen();
        if seen.is_asked {
            return None;
        }
        for slice in slices {
            let room = "HTTP/1.1 400".len() - seen.held_back.len();
            seen.held_back.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        Some(slices.iter().map(|slice| slice.len()).sum())
    }
}

impl Notes {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().expect("the lock is never poisoned: no panic inside")
    }

    /// A request came.
    pub fn asked(&self) {
        self.seen().is_asked = true;
    }

    /// The request is not answered by whom it was for, but so.
    pub fn refuse(&self, answer: Answer) {
        self.seen().refusal = Some(answer);
    }

    /// What to say to somebody who was refused, or whose bytes were no request; nothing to who said nothing.
    pub fn answer(&self) -> Option<Answer> {
        let mut seen = self.seen();
        if let Some(refusal) = seen.refusal.take() {
            return Some(refusal);
        }
        if seen.is_asked || seen.first.is_empty() {
            return None;
        }
        Some(match seen.held_back.get(9..) {
            _ if seen.first.starts_with(TLS) => Answer::tls(),
            _ if seen.first.starts_with(HTTP2) => Answer::http2(),
            Some(b"431") => Answer::head_too_large(),
            Some(b"414") => Answer::uri_too_long(),
            _ => Answer::bad_request("this is no HTTP/1.1 request"),
        })
    }
}

impl AsyncRead for Attended {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.carrier).poll_read(context, buffer))?;
        let mut seen = this.notes.seen();
        let came = &buffer.filled()[before..];
        let room = HTTP2.len() - seen.first.len();
        seen.first.extend_from_slice(&came[..came.len().min(room)]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Attended {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.hold_back(slices) {
            Some(count) => Poll::Ready(Ok(count)),
            None => Pin::new(&mut self.get_mut().carrier).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().carrier).poll_flush(context)
    }

    /// Does nothing: whoever serves the socket shuts it down, once the last word is said.
    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
