//! A peer that speaks HTTP and WebSocket in bytes, right or wrong.
//!
//! The table of bad input (`chat-testkit/tests/rules`) takes this file as it is.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A client in bytes.
pub struct Peer<S = TcpStream>(pub S);

impl Peer {
    pub async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.expect("somebody listens"))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.0.write_all(bytes.as_ref())).await.expect("the server reads");
    }

    /// The head of an HTTP answer.
    pub async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(soon(self.0.read_u8()).await.expect("a whole head, never silence"));
        }
        String::from_utf8(head).expect("a head is text")
    }

    /// Everything until the server closes.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        soon(self.0.read_to_end(&mut rest))
            .await
            .expect("closed without a reset");
        rest
    }

    /// The next frame: first byte and payload.
    pub async fn frame(&mut self) -> (u8, Vec<u8>) {
        let first = soon(self.0.read_u8()).await.expect("a frame");
        let length = match soon(self.0.read_u8()).await.expect("a length") {
            126 => usize::from(soon(self.0.read_u16()).await.expect("a length")),
            127 => soon(self.0.read_u64()).await.expect("a length") as usize,
            length => usize::from(length),
        };
        let mut payload = vec![0; length];
        soon(self.0.read_exact(&mut payload)).await.expect("a payload");
        (first, payload)
    }

    /// The close frame, and that the server closes after it.
    pub async fn closed(&mut self) -> (u16, String) {
        let (first, payload) = self.frame().await;
        assert_eq!(first, 0x88, "a close frame");
        let rest = self.rest().await;
        assert!(rest.is_empty(), "nothing follows a close: {rest:?}");
        let number = u16::from_be_bytes([payload[0], payload[1]]);
        (number, String::from_utf8(payload[2..].to_vec()).expect("ASCII"))
    }
}

/// What does not come is a failure, not a test that hangs.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    let deadline = Duration::from_secs(10);
    timeout(deadline, future).await.expect("comes in time")
}

/// A good handshake, with further header lines.
pub fn handshake(path: &str, lines: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: chat.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
    )
}

/// A frame as a client sends it, masked.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x11, 0x22, 0x33, 0x44];
    let mut frame = vec![first];
    match payload.len() {
        length @ ..=125 => frame.push(0x80 | length as u8),
        length @ ..=65_535 => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
