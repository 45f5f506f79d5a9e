//! A client's end of a connection, over a socket or in this process, that says whatever a row tells it.

use crate::peer::{Peer, frame, handshake, soon};
use crate::row::{Carrier, REQ};
use chat_core::codec::Codec;
use chat_core::frame::{Outcome, ServerFrame, Welcome};
use chat_testkit::transport::{self, Dial, InProcessConnector, InProcessPipe};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt;

pub struct Line {
    pipe: Pipe,
    codec: Codec,
}

enum Pipe {
    Socket(Peer),
    InProcess(InProcessPipe),
}

/// What came back: in the words of `docs/limits.toml`, and the words that came with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    pub answer: String,
    pub words: String,
    /// The command that it answers.
    pub req: Option<u64>,
}

impl Heard {
    pub fn new(answer: impl Into<String>, words: impl Into<String>) -> Self {
        Self {
            answer: answer.into(),
            words: words.into(),
            req: None,
        }
    }
}

impl Line {
    /// A connection on which nothing was said.
    pub async fn open(carrier: Carrier, address: SocketAddr, connector: &InProcessConnector) -> Self {
        let codec = carrier.codec();
        let pipe = match carrier {
            Carrier::InProcess(_) => Pipe::InProcess(connector.connect(Dial::new(codec)).await.unwrap()),
            Carrier::Http | Carrier::Socket(_) => {
                let mut peer = Peer::connect(address).await;
                let offer = format!("Sec-WebSocket-Protocol: {}\r\n", codec.subprotocol());
                peer.send(handshake("/chat", &offer)).await;
                let head = peer.head().await;
                assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
                Pipe::Socket(peer)
            }
        };
        Self { pipe, codec }
    }

    /// The first byte of a whole frame.
    pub fn first_byte(&self) -> u8 {
        if self.codec.is_text() { 0x81 } else { 0x82 }
    }

    pub async fn say(&mut self, value: &Value) {
        self.say_payload(&self.codec.encode(value)).await;
    }

    pub async fn say_payload(&mut self, payload: &[u8]) {
        let first = self.first_byte();
        match &mut self.pipe {
            Pipe::Socket(_) => self.say_bytes(&frame(first, payload)).await,
            // Who closed does not listen any more; what it said is heard all the same.
            Pipe::InProcess(pipe) => _ = pipe.send(payload).await,
        }
    }

    /// Bytes as they are; over a socket only.
    pub async fn say_bytes(&mut self, bytes: &[u8]) {
        match &mut self.pipe {
            Pipe::Socket(peer) => _ = soon(peer.0.write_all(bytes)).await,
            Pipe::InProcess(_) => panic!("a row of bytes is for sockets"),
        }
    }

    /// Hello and an empty resume, up to `synced`.
    pub async fn greet(&mut self, user: &str) -> Welcome {
        let welcome = self.hello(json!({"type": "hello", "guest": user})).await;
        self.say(&json!({"type": "resume", "last": true})).await;
        self.synced().await;
        welcome
    }

    pub async fn hello(&mut self, hello: Value) -> Welcome {
        self.say(&hello).await;
        match self.next().await {
            Ok(ServerFrame::Welcome(welcome)) => welcome,
            other => panic!("expected a welcome, heard {other:?}"),
        }
    }

    /// Everything up to `synced`.
    pub async fn synced(&mut self) -> Vec<ServerFrame> {
        let mut frames = Vec::new();
        loop {
            match self.next().await {
                Ok(ServerFrame::Synced(_)) => return frames,
                Ok(frame) => frames.push(frame),
                Err(ending) => panic!("expected to be synced, heard {ending:?}"),
            }
        }
    }

    pub async fn ask(&mut self, command: &str, data: Value) -> Heard {
        self.say(&json!({"type": "command", "req": REQ, "command": command, "data": data}))
            .await;
        self.answer().await
    }

    /// The next thing that answers something.
    pub async fn answer(&mut self) -> Heard {
        loop {
            match self.next().await {
                Ok(frame) => {
                    if let Some(heard) = heard(&frame) {
                        return heard;
                    }
                }
                Err(ending) => return ending,
            }
        }
    }

    /// The next frame but pings, or how the connection ended.
    pub async fn next(&mut self) -> Result<ServerFrame, Heard> {
        loop {
            let payload = match &mut self.pipe {
                Pipe::Socket(peer) => match soon(peer.0.peek(&mut [0])).await {
                    Ok(0) | Err(_) => return Err(Heard::new("cut", "")),
                    Ok(_) => match soon(peer.frame()).await {
                        (0x88, payload) => {
                            let rest = peer.rest().await;
                            assert!(rest.is_empty(), "nothing follows a close: {rest:?}");
                            let (code, reason) = payload.split_first_chunk().unwrap();
                            let reason = String::from_utf8(reason.to_vec()).unwrap();
                            return Err(ended(u16::from_be_bytes(*code), reason));
                        }
                        (0x8a, _) => continue,
                        (first, payload) => {
                            assert_eq!(first, if self.codec.is_text() { 0x81 } else { 0x82 });
                            payload
                        }
                    },
                },
                Pipe::InProcess(pipe) => match soon(pipe.recv()).await {
                    transport::Heard::Frame(payload) => payload.to_vec(),
                    transport::Heard::Pong(_) => continue,
                    transport::Heard::Closed(code, reason) => return Err(ended(code.number(), reason)),
                    transport::Heard::Lost => return Err(Heard::new("cut", "")),
                },
            };
            match self.codec.decode_server(&payload).unwrap() {
                ServerFrame::Ping => {}
                frame => return Ok(frame),
            }
        }
    }
}

fn ended(code: u16, reason: String) -> Heard {
    let is_well = reason.is_ascii() && !reason.is_empty() && reason.len() <= 123;
    assert!(is_well, "close {code} has the reason {reason:?}");
    Heard::new(format!("close {code}"), reason)
}

/// The answer that a frame is, if it is one.
pub fn heard(frame: &ServerFrame) -> Option<Heard> {
    Some(match frame {
        ServerFrame::Reply(reply) => {
            let word = match &reply.result {
                Outcome::Stored(stored) if stored.duplicate => "duplicate".to_owned(),
                result => serde_json::to_value(result)
                    .unwrap()
                    .as_object()
                    .unwrap()
                    .keys()
                    .next()
                    .unwrap()
                    .clone(),
            };
            Heard {
                req: Some(reply.req),
                ..Heard::new(format!("reply {word}"), "")
            }
        }
        ServerFrame::Error(error) => {
            assert_eq!(error.retryable, error.code.is_retryable(), "{error:?}");
            // A fresh token is no matter of time.
            let waits = error.retryable && error.code.as_str() != "token_expired";
            assert_eq!(waits, error.retry_after_ms.is_some(), "{error:?}");
            assert!(!error.message.is_empty(), "an error says what to do");
            Heard {
                req: error.req,
                ..Heard::new(error.code.as_str(), &error.message)
            }
        }
        ServerFrame::Reset(reset) => Heard::new(format!("reset {}", reset.reason.as_str()), ""),
        ServerFrame::Welcome(welcome) => Heard::new("welcome", welcome.user.as_str()),
        ServerFrame::Pong => Heard::new("pong", ""),
        _ => return None,
    })
}
