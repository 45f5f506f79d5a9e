//! A WebSocket client that somebody else wrote, and the protocol by hand.

use crate::process::SOON;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// What a server says.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    Frame(Value),
    Closed(u16, String),
    /// It answered the handshake with this status instead.
    Status(u16),
}

impl Heard {
    pub fn frame(self) -> Value {
        match self {
            Self::Frame(frame) => frame,
            other => panic!("no frame: {other:?}"),
        }
    }
}

pub struct Wire {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// What came while an answer was waited for.
    waiting: VecDeque<Value>,
}

impl Wire {
    /// Connects with these headers; what an answer without an upgrade said otherwise.
    pub async fn connect(address: SocketAddr, headers: &[(&'static str, &str)]) -> Result<Self, Heard> {
        let mut request = format!("ws://{address}/chat").into_client_request().expect("a request");
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).expect("fit for a header");
            request.headers_mut().insert(*name, value);
        }
        let connected = timeout(SOON, connect_async(request)).await.expect("an answer in time");
        match connected {
            Ok((socket, _)) => Ok(Self {
                socket,
                waiting: VecDeque::new(),
            }),
            Err(Error::Http(response)) => Err(Heard::Status(response.status().as_u16())),
            Err(error) => panic!("neither let in nor refused: {error}"),
        }
    }

    pub async fn say(&mut self, frame: &Value) {
        self.socket.send(Message::text(frame.to_string())).await.expect("sent");
    }

    pub async fn hear(&mut self) -> Heard {
        match self.waiting.pop_front() {
            Some(frame) => Heard::Frame(frame),
            None => self.receive().await,
        }
    }

    async fn receive(&mut self) -> Heard {
        loop {
            let message = timeout(SOON, self.socket.next()).await.expect("a word in time");
            match message.expect("not without a word").expect("no broken connection") {
                Message::Text(text) => return Heard::Frame(serde_json::from_str(&text).expect("JSON")),
                Message::Close(frame) => {
                    let frame = frame.expect("a code");
                    return Heard::Closed(frame.code.into(), frame.reason.as_str().to_owned());
                }
                _ => {}
            }
        }
    }

    /// What the server says last.
    pub async fn last_word(&mut self) -> Heard {
        loop {
            match self.hear().await {
                Heard::Frame(_) => {}
                last => return last,
            }
        }
    }

    /// Waits for a frame of this type; what a page holds counts as if it had come by itself.
    pub async fn wait_for(&mut self, kind: &str) -> Value {
        loop {
            let mut frame = self.hear().await.frame();
            if frame["type"] == kind {
                return frame;
            }
            if let Value::Array(items) = frame["items"].take() {
                items.into_iter().rev().for_each(|item| self.waiting.push_front(item));
            }
        }
    }

    /// Says a command; its reply, or its error.
    pub async fn ask(&mut self, command: &str, data: Value) -> Value {
        self.say(&json!({ "type": "command", "req": 7, "command": command, "data": data }))
            .await;
        loop {
            let frame = self.receive().await.frame();
            match frame["req"] == 7 {
                true => return frame,
                false => self.waiting.push_back(frame),
            }
        }
    }
}

/// Says hello, and answers with the first word.
pub async fn greet(address: SocketAddr, headers: &[(&'static str, &str)], hello: Value) -> (Option<Wire>, Heard) {
    let mut wire = match Wire::connect(address, headers).await {
        Ok(wire) => wire,
        Err(heard) => return (None, heard),
    };
    wire.say(&hello).await;
    let heard = wire.hear().await;
    (Some(wire), heard)
}
