//! The two codecs over one model.
//!
//! Writing is serde's. Reading goes in two steps: bytes become a tree, by a reader of our own for each codec, which
//! bounds depth and memory before anything recurses; the tree becomes a frame, **strictly** for what clients send
//! (a struct only from a map, no unknown field in a command, integers below 2^53) and **leniently** for what servers
//! send, so that an older client lives with a newer server.

mod json;
mod msgpack;
mod strict;
mod tree;

use crate::check::{self, Refusal};
use crate::code::ErrorCode;
use crate::command::Command;
use crate::event::{Event, EventKind, Skip};
use crate::frame::{ClientFrame, LogItem, ServerFrame};
use crate::id::{CommandId, ConversationId, NUMBER_MAX, Seq, Tag, Timestamp, UserId};
use crate::signal::Signal;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::borrow::Cow;
use strict::Strict;
use thiserror::Error;
use tree::{Reading, Tree};

/// How frames are written: one model, two spellings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// `chat.v1.json`: text frames.
    Json,
    /// `chat.v1.msgpack`: binary frames.
    MessagePack,
}

/// Why a frame cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// It cannot be read at all: the connection is closed with 4500.
    #[error("{0}")]
    Unreadable(Cow<'static, str>),
    /// A command whose request number can be read: it is answered by an error frame.
    #[error("{message}")]
    Refused {
        /// The command's number.
        req: u64,
        /// Which error.
        code: ErrorCode,
        /// A sentence that says what to do.
        message: String,
    },
    /// A frame of a server that this version does not know: a client ignores it.
    #[error("unknown frame type")]
    UnknownType(String),
}

impl Codec {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Json, Self::MessagePack];

    /// The deepest nesting of a frame that a server takes, the frame's own map counted.
    pub const DEPTH_MAX: usize = 16;

    /// The deepest nesting of a frame that a client takes.
    const SERVER_DEPTH_MAX: usize = 64;

    /// The name of the WebSocket subprotocol.
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "chat.v1.json",
            Self::MessagePack => "chat.v1.msgpack",
        }
    }

    /// Whether frames are text.
    pub const fn is_text(self) -> bool {
        matches!(self, Self::Json)
    }

    /// Writes a frame.
    ///
    /// # Panics
    /// When the value cannot be written: a map whose keys are not strings, or a failing `Serialize`. No type of this
    /// crate does that.
    pub fn encode<T: Serialize + ?Sized>(self, frame: &T) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        match self {
            Self::Json => serde_json::to_writer(&mut bytes, frame).expect("a frame of ours can be written"),
            Self::MessagePack => frame
                .serialize(
                    &mut rmp_serde::Serializer::new(&mut bytes)
                        .with_human_readable()
                        .with_struct_map(),
                )
                .expect("a frame of ours can be written"),
        }
        bytes
    }

    /// Reads what a client sent: strict.
    ///
    /// # Errors
    /// [`FrameError::Unreadable`] for what is answered by close 4500, [`FrameError::Refused`] for a command with a
    /// readable number that is answered by an error.
    pub fn decode_client(self, bytes: &[u8]) -> Result<ClientFrame, FrameError> {
        let mut reading = Reading::new(Self::DEPTH_MAX, tree::values_max(bytes.len()));
        let tree = self.tree(bytes, &mut reading)?;
        let frame = client_frame(&tree, reading.fault)?;
        match frame {
            ClientFrame::Command { req, .. } if reading.rounded => Err(FrameError::Refused {
                req,
                code: ErrorCode::InvalidArgument,
                message: "a whole number must be below 2^53 and above -2^53: write a larger one as a string".into(),
            }),
            frame => Ok(frame),
        }
    }

    /// Reads what a server sent: unknown fields are ignored, unknown kinds and signals kept.
    ///
    /// # Errors
    /// [`FrameError::UnknownType`] for a frame that a client ignores, [`FrameError::Unreadable`] for what is no frame.
    pub fn decode_server(self, bytes: &[u8]) -> Result<ServerFrame, FrameError> {
        let value = match self {
            Self::Json => serde_json::from_slice(bytes).map_err(unreadable)?,
            Self::MessagePack => {
                let mut reading = Reading::new(Self::SERVER_DEPTH_MAX, usize::MAX);
                let tree = self.tree(bytes, &mut reading)?;
                if let Some(fault) = reading.fault {
                    return Err(FrameError::Unreadable(fault.message.into()));
                }
                tree.to_value()
            }
        };
        let Value::Object(map) = value else {
            return Err(FrameError::Unreadable(NO_MAP.into()));
        };
        server_frame(map)
    }

    fn tree<'a>(self, bytes: &'a [u8], reading: &mut Reading) -> Result<Tree<'a>, FrameError> {
        match self {
            Self::Json => json::read(bytes, reading),
            Self::MessagePack => msgpack::read(bytes, reading),
        }
        .map_err(FrameError::Unreadable)
    }
}

const NO_MAP: &str = "a frame must be a map";

fn unreadable(error: impl std::fmt::Display) -> FrameError {
    FrameError::Unreadable(error.to_string().into())
}

fn client_frame(tree: &Tree<'_>, fault: Option<Refusal>) -> Result<ClientFrame, FrameError> {
    let Tree::Map(fields) = tree else {
        return Err(FrameError::Unreadable(NO_MAP.into()));
    };
    let req = match tree.field("req") {
        Some(Tree::Unsigned(req)) if *req <= NUMBER_MAX => Some(*req),
        _ => None,
    };
    let refused = |code, message: String| match req {
        Some(req) => FrameError::Refused { req, code, message },
        None => FrameError::Unreadable(message.into()),
    };
    let Some(Tree::Text(name)) = tree.field("type") else {
        return Err(refused(
            ErrorCode::Malformed,
            "type: must be the name of a frame".into(),
        ));
    };
    if &**name != "command" {
        let frame = plain_frame(name, tree).ok_or_else(|| {
            refused(
                ErrorCode::Malformed,
                "type: a client sends hello, resume, command, ping or pong".into(),
            )
        })?;
        return match fault {
            Some(fault) => Err(FrameError::Unreadable(fault.message.into())),
            None => frame.map_err(unreadable),
        };
    }
    let Some(req) = req else {
        return Err(FrameError::Unreadable(
            "req: a command needs a whole number from 0 to 2^53-1".into(),
        ));
    };
    command(tree, fields, fault)
        .map(|command| ClientFrame::Command { req, command })
        .map_err(|Refusal { code, message }| FrameError::Refused { req, code, message })
}

/// Frames other than commands: unknown fields are ignored, so that a newer client can greet an older server.
fn plain_frame(name: &str, tree: &Tree<'_>) -> Option<Result<ClientFrame, String>> {
    let lenient = Strict::ignoring_unknown_fields(tree);
    Some(match name {
        "hello" => crate::frame::Hello::deserialize(lenient)
            .map_err(|fault| fault.to_string())
            .and_then(|hello| {
                check::check_hello(&hello)
                    .map(|()| ClientFrame::Hello(hello))
                    .map_err(str::to_owned)
            }),
        "resume" => crate::frame::Resume::deserialize(lenient)
            .map(ClientFrame::Resume)
            .map_err(|fault| fault.to_string()),
        "ping" => Ok(ClientFrame::Ping),
        "pong" => Ok(ClientFrame::Pong),
        _ => return None,
    })
}

fn command(tree: &Tree<'_>, fields: &[(Cow<'_, str>, Tree<'_>)], fault: Option<Refusal>) -> Result<Command, Refusal> {
    if let Some(fault) = fault {
        return Err(fault);
    }
    for (key, _) in fields {
        if !matches!(&**key, "type" | "req" | "command" | "data") {
            return Err(Refusal::argument(format!("{}: unknown field", strict::shown(key))));
        }
    }
    let Some(Tree::Text(name)) = tree.field("command") else {
        return Err(Refusal::argument("command: must be the name of a command"));
    };
    let data = tree.field("data").unwrap_or(&Tree::Null);
    match Command::decode(name, Strict::new(data)) {
        None => Err(Refusal {
            code: ErrorCode::UnknownCommand,
            message: format!("no command has the name {}", strict::shown(name)),
        }),
        Some(Err(fault)) => Err(Refusal::argument(fault.to_string())),
        Some(Ok(command)) => check::check(&command).map(|()| command),
    }
}

fn server_frame(mut map: Map<String, Value>) -> Result<ServerFrame, FrameError> {
    let Some(Value::String(name)) = map.remove("type") else {
        return Err(FrameError::Unreadable("type: must be the name of a frame".into()));
    };
    Ok(match name.as_str() {
        "welcome" => ServerFrame::Welcome(typed(map)?),
        "inbox" => ServerFrame::Inbox(typed(map)?),
        "reset" => ServerFrame::Reset(typed(map)?),
        "synced" => ServerFrame::Synced(typed(map)?),
        "event" => ServerFrame::Event(event(map).map_err(unreadable)?),
        "page" => ServerFrame::Page(typed(map)?),
        "skip" => ServerFrame::Skip(typed(map)?),
        "signal" => ServerFrame::Signal(signal(map).map_err(unreadable)?),
        "reply" => ServerFrame::Reply(typed(map)?),
        "error" => ServerFrame::Error(typed(map)?),
        "expiring" => ServerFrame::Expiring(typed(map)?),
        "reconnect" => ServerFrame::Reconnect(typed(map)?),
        "ping" => ServerFrame::Ping,
        "pong" => ServerFrame::Pong,
        _ => return Err(FrameError::UnknownType(name)),
    })
}

fn typed<T: DeserializeOwned>(map: Map<String, Value>) -> Result<T, FrameError> {
    read(map).map_err(unreadable)
}

fn read<T: DeserializeOwned>(map: Map<String, Value>) -> Result<T, serde_json::Error> {
    T::deserialize(Value::Object(map))
}

/// Reads an item of a page from its tree.
pub(crate) fn log_item(mut map: Map<String, Value>) -> Result<LogItem, serde_json::Error> {
    match map.remove("type") {
        Some(Value::String(name)) if name == "event" => event(map).map(LogItem::Event),
        Some(Value::String(name)) if name == "skip" => read::<Skip>(map).map(LogItem::Skip),
        _ => Err(serde::de::Error::custom("an item of a page is an event or a skip")),
    }
}

fn event(map: Map<String, Value>) -> Result<Event, serde_json::Error> {
    #[derive(Deserialize)]
    struct Envelope {
        event: String,
        conversation: ConversationId,
        seq: Seq,
        tag: Tag,
        id: CommandId,
        #[serde(default)]
        actor: Option<UserId>,
        at: Timestamp,
        #[serde(default)]
        data: Map<String, Value>,
    }
    let envelope: Envelope = read(map)?;
    Ok(Event {
        conversation: envelope.conversation,
        seq: envelope.seq,
        tag: envelope.tag,
        id: envelope.id,
        actor: envelope.actor,
        at: envelope.at,
        kind: EventKind::decode(&envelope.event, envelope.data)?,
    })
}

fn signal(map: Map<String, Value>) -> Result<Signal, serde_json::Error> {
    #[derive(Deserialize)]
    struct Envelope {
        signal: String,
        #[serde(default)]
        data: Map<String, Value>,
    }
    let Envelope { signal, data } = read(map)?;
    Ok(match signal.as_str() {
        "typing" => Signal::Typing(read(data)?),
        "presence" => Signal::Presence(read(data)?),
        "marks" => Signal::Marks(read(data)?),
        "display" => Signal::Display(read(data)?),
        _ => Signal::Unknown { name: signal, data },
    })
}

#[cfg(test)]
mod tests;
