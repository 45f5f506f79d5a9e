//! A row of the table: what comes in, over what, and the exact answer.

use crate::line::Heard;
use crate::stage::Stage;
use chat_core::Limits;
use chat_core::codec::Codec;
use chat_transport_ws::WsConfig;
use serde_json::{Value, json};
use std::future::Future;
use std::pin::Pin;

/// What carries a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Carrier {
    /// A request, up to its answer.
    Http,
    /// WebSocket.
    Socket(Coded),
    /// The transport of chat-testkit.
    InProcess(Coded),
}

/// A codec that has an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Coded {
    Json,
    Packed,
}

const HTTP: &[Carrier] = &[Carrier::Http];
pub const SOCKETS: &[Carrier] = &[Carrier::Socket(Coded::Json), Carrier::Socket(Coded::Packed)];
pub const JSON: &[Carrier] = &[Carrier::Socket(Coded::Json), Carrier::InProcess(Coded::Json)];
pub const JSON_IN_PROCESS: &[Carrier] = &[Carrier::InProcess(Coded::Json)];
pub const JSON_SOCKET: &[Carrier] = &[Carrier::Socket(Coded::Json)];
pub const PACKED_SOCKET: &[Carrier] = &[Carrier::Socket(Coded::Packed)];
pub const PACKED: &[Carrier] = &[Carrier::Socket(Coded::Packed), Carrier::InProcess(Coded::Packed)];
pub const IN_PROCESS: &[Carrier] = &[Carrier::InProcess(Coded::Json), Carrier::InProcess(Coded::Packed)];
pub const ALL: &[Carrier] = &[
    Carrier::Socket(Coded::Json),
    Carrier::Socket(Coded::Packed),
    Carrier::InProcess(Coded::Json),
    Carrier::InProcess(Coded::Packed),
];

impl Carrier {
    pub fn codec(self) -> Codec {
        match self {
            Self::Http | Self::Socket(Coded::Json) | Self::InProcess(Coded::Json) => Codec::Json,
            Self::Socket(Coded::Packed) | Self::InProcess(Coded::Packed) => Codec::MessagePack,
        }
    }
}

/// The number that every command of the table has.
pub const REQ: u64 = 7;

pub struct Row {
    /// The id of the rule in `docs/limits.toml` that this row shows.
    pub rule: &'static str,
    pub name: String,
    pub carriers: &'static [Carrier],
    pub input: Input,
    /// One of the answers of the rule.
    pub answer: &'static str,
    /// What the words that come with the answer must hold.
    pub names: &'static str,
    /// Who speaks: a user of the [`Scene`](crate::stage::Scene).
    pub by: &'static str,
    /// The `req` of an answer that is an error or a reply.
    pub req: Option<u64>,
    /// A server of its own, with these bounds.
    pub bounds: Option<fn(&mut Limits, &mut WsConfig)>,
}

pub enum Input {
    /// A request, in bytes.
    Request(Vec<u8>),
    /// Bytes on an open WebSocket, made for the first byte of a whole frame of the codec's kind.
    Stream(Box<dyn Fn(u8) -> Vec<u8> + Send + Sync>, After),
    /// A frame of the protocol that the codec can write. A text such as `$group` stands for what the scene has there.
    Value(Value, After),
    /// What is in a frame, in bytes.
    Payload(Vec<u8>, After),
    /// What takes more than one frame.
    Story(Story),
}

/// How far the connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    Handshake,
    Synced,
}

pub type Story = fn(Stage) -> Pin<Box<dyn Future<Output = Heard> + Send>>;

impl Row {
    fn new(
        rule: &'static str,
        name: impl Into<String>,
        carriers: &'static [Carrier],
        input: Input,
        answer: &'static str,
    ) -> Self {
        Self {
            rule,
            name: name.into(),
            carriers,
            input,
            answer,
            names: "",
            by: "$ana",
            req: Some(REQ),
            bounds: None,
        }
    }

    pub fn naming(mut self, names: &'static str) -> Self {
        self.names = names;
        self
    }

    pub fn by(mut self, user: &'static str) -> Self {
        self.by = user;
        self
    }

    pub fn on(mut self, carriers: &'static [Carrier]) -> Self {
        self.carriers = carriers;
        self
    }

    /// Before hello.
    pub fn first(mut self) -> Self {
        if let Input::Stream(_, after) | Input::Value(_, after) | Input::Payload(_, after) = &mut self.input {
            *after = After::Handshake;
        }
        self
    }

    /// The answer names no command.
    pub fn unnumbered(mut self) -> Self {
        self.req = None;
        self
    }

    pub fn bounded(mut self, bounds: fn(&mut Limits, &mut WsConfig)) -> Self {
        self.bounds = Some(bounds);
        self
    }
}

pub fn request(
    rule: &'static str,
    name: &'static str,
    request: impl Into<Vec<u8>>,
    answer: &'static str,
    names: &'static str,
) -> Row {
    Row::new(rule, name, HTTP, Input::Request(request.into()), answer).naming(names)
}

pub fn stream(
    rule: &'static str,
    name: &'static str,
    bytes: impl Fn(u8) -> Vec<u8> + Send + Sync + 'static,
    answer: &'static str,
) -> Row {
    Row::new(
        rule,
        name,
        SOCKETS,
        Input::Stream(Box::new(bytes), After::Synced),
        answer,
    )
}

pub fn frame(rule: &'static str, name: impl Into<String>, value: Value, answer: &'static str) -> Row {
    Row::new(rule, name, ALL, Input::Value(value, After::Synced), answer)
}

/// A command; `names` is what the sentence must name.
pub fn command(
    rule: &'static str,
    name: impl Into<String>,
    command: &str,
    data: Value,
    answer: &'static str,
    names: &'static str,
) -> Row {
    let value = json!({"type": "command", "req": REQ, "command": command, "data": data});
    frame(rule, name, value, answer).naming(names)
}

pub fn text(rule: &'static str, name: &'static str, payload: impl Into<Vec<u8>>, answer: &'static str) -> Row {
    Row::new(rule, name, JSON, Input::Payload(payload.into(), After::Synced), answer)
}

pub fn packed(rule: &'static str, name: &'static str, payload: impl Into<Vec<u8>>, answer: &'static str) -> Row {
    Row::new(
        rule,
        name,
        PACKED,
        Input::Payload(payload.into(), After::Synced),
        answer,
    )
}

pub fn story(rule: &'static str, name: &'static str, story: Story, answer: &'static str) -> Row {
    Row::new(rule, name, ALL, Input::Story(story), answer)
}
