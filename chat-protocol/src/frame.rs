//! Frames: what a client and a server say to each other, one frame a value.
//!
//! Every frame is a map with a `type`. Encoding is here, by serde; decoding is in [`codec`](crate::codec), in two
//! steps over one tree for both codecs.

use crate::code::{ErrorCode, ResetReason};
use crate::command::{Command, PageToken, Token};
use crate::conversation::{Conversation, InboxEntry, Marks, Member, is_false};
use crate::event::{Event, Skip};
use crate::id::{
    CommandId, ConversationId, Epoch, NUMBER_MAX, Position, Revision, Seq, SessionId, Tag, Timestamp, UserId,
};
use crate::message::Message;
use crate::signal::Signal;
use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};
use std::time::Duration;

/// What a client says.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientFrame {
    /// Who it is; the first frame of a connection.
    Hello(Hello),
    /// What it has; the second, in any number of chunks.
    Resume(Resume),
    /// What it asks.
    Command {
        /// Picked by the client, per connection; reply and error repeat it.
        req: u64,
        /// The command.
        command: Command,
    },
    /// Are you there?
    Ping,
    /// I am.
    Pong,
}

/// Who a client is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The host's token, unless the handshake carried an identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// A name, where the server admits guests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<String>,
    /// The session to go on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionGrant>,
    /// Counts this session's connections: the highest wins, whatever arrives first.
    #[serde(default)]
    pub attempt: u64,
    /// What software it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientInfo>,
    /// Opaque, at most 64 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Names of capabilities; unknown ones are ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wants: Vec<String>,
}

/// A session and the secret that proves it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionGrant {
    /// Which.
    pub id: SessionId,
    /// The proof.
    pub secret: String,
}

impl std::fmt::Debug for SessionGrant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionGrant")
            .field("id", &self.id)
            .field("secret", &"[redacted]")
            .finish()
    }
}

/// What software a client is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientInfo {
    /// At most 64 bytes.
    pub name: String,
    /// At most 64 bytes.
    pub version: String,
}

/// What a client has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Resume {
    /// The epoch of the cursors; absent from a client that has nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// The revision that the client has; absent when it wants its whole inbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// The last position that the client has in each conversation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cursors: Vec<ResumeCursor>,
    /// The short way: a conversation with more missed events than this is reset instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// Whether this is the last chunk.
    #[serde(default, skip_serializing_if = "is_false")]
    pub last: bool,
}

/// The last position that a client has in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumeCursor {
    /// Where.
    pub conversation: ConversationId,
    /// The last seq.
    pub seq: Seq,
    /// Its tag.
    pub tag: Tag,
}

impl ResumeCursor {
    /// The position without the conversation.
    pub fn position(&self) -> Position {
        Position {
            seq: self.seq,
            tag: self.tag,
        }
    }
}

/// What a server says.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerFrame {
    /// The answer to hello.
    Welcome(Welcome),
    /// Entries of the user's inbox: new to the client, or changed.
    Inbox(InboxPush),
    /// Forget what you have.
    Reset(Reset),
    /// All that was missed has been sent.
    Synced(Synced),
    /// An event as it happens.
    Event(Event),
    /// A stretch of one conversation's log, in order.
    Page(Page),
    /// A stretch of the log without anything for this viewer.
    Skip(Skip),
    /// A signal.
    Signal(Signal),
    /// The answer to a command.
    Reply(Reply),
    /// The refusal of a command, or of a frame.
    Error(ErrorFrame),
    /// The token runs out soon.
    Expiring(Expiring),
    /// The server goes away: come back then.
    Reconnect(Reconnect),
    /// Are you there?
    Ping,
    /// I am.
    Pong,
}

/// The answer to hello.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// The session, fresh or resumed.
    pub session: SessionGrant,
    /// Who one is.
    pub user: UserId,
    /// The incarnation of the store's log.
    pub epoch: Epoch,
    /// What this server takes.
    pub limits: WireLimits,
    /// When it wants to hear something.
    pub heartbeat: HeartbeatTimes,
    /// The capabilities in force.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// The server's clock.
    pub at: Timestamp,
    /// When the token runs out, in milliseconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
}

/// What a server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireLimits {
    /// Bytes of a frame.
    pub frame_bytes_max: u64,
    /// Bytes of a message's text.
    pub text_bytes_max: u64,
    /// Bytes of meta.
    pub meta_bytes_max: u64,
    /// Commands without an answer.
    pub commands_in_flight_max: u64,
}

/// When a peer wants to hear something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatTimes {
    /// After this long a silence a ping is sent.
    pub interval_ms: u64,
    /// After this long without an answer the connection is dead.
    pub timeout_ms: u64,
}

/// Entries of the user's inbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InboxPush {
    /// The entries.
    pub entries: Vec<InboxEntry>,
    /// The revision that the client has once the last page is in.
    pub revision: Revision,
    /// Whether this is the last page.
    #[serde(default)]
    pub last: bool,
}

/// Forget what you have: of one conversation, or of all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reset {
    /// Of which conversation; of all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ConversationId>,
    /// Why.
    pub reason: ResetReason,
    /// The fresh state; events go on after its head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<InboxEntry>,
}

/// All that was missed has been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Synced {
    /// The revision that the client has now.
    pub revision: Revision,
}

/// A stretch of one conversation's log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// Whose log.
    pub conversation: ConversationId,
    /// Events and skips, in order, without gaps.
    pub items: Vec<LogItem>,
    /// Whether the log goes on.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
}

/// An item of a page.
#[expect(clippy::large_enum_variant, reason = "nearly every item is an event")]
#[derive(Debug, Clone, PartialEq)]
pub enum LogItem {
    /// An event.
    Event(Event),
    /// A stretch without anything for this viewer.
    Skip(Skip),
}

impl LogItem {
    /// The first seq that it covers.
    pub fn first(&self) -> Seq {
        match self {
            Self::Event(event) => event.seq,
            Self::Skip(skip) => skip.from,
        }
    }

    /// The position that a reader has after it.
    pub fn position(&self) -> Position {
        match self {
            Self::Event(event) => event.position(),
            Self::Skip(skip) => Position {
                seq: skip.to,
                tag: skip.tag,
            },
        }
    }
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The command's number.
    pub req: u64,
    /// What came of it.
    pub result: Outcome,
}

/// What came of a command; on the wire a map with one key, its name.
#[expect(
    clippy::large_enum_variant,
    reason = "made once an answer and moved once; a box would cost every reader a dereference"
)]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// A durable command is stored.
    Stored(Stored),
    /// Done; nothing more to say.
    Done {},
    /// A page of the inbox.
    Inbox(InboxPage),
    /// Messages.
    History(HistoryPage),
    /// A stretch of the log.
    Log(Page),
    /// A conversation.
    Conversation(ConversationView),
    /// Members.
    Members(MemberPage),
    /// Marks.
    Marks(MarkPage),
    /// Who chose an emoji.
    Reactions(ReactionPage),
    /// The token was taken.
    Refreshed(Refreshed),
}

/// A durable command is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Where; for a direct conversation that existed it is that one.
    pub conversation: ConversationId,
    /// The id of the command that made the event.
    pub id: CommandId,
    /// The seq of the event.
    pub seq: Seq,
    /// The tag at that seq.
    pub tag: Tag,
    /// When it was stored.
    pub at: Timestamp,
    /// Whether this is the first answer again.
    pub duplicate: bool,
}

/// A page of the inbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InboxPage {
    /// The entries.
    pub entries: Vec<InboxEntry>,
    /// Where to go on; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<PageToken>,
}

/// Messages in the order of their seqs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryPage {
    /// Where.
    pub conversation: ConversationId,
    /// The messages as they are at `head`.
    pub messages: Vec<Message>,
    /// Whether there are messages before the first.
    pub more_before: bool,
    /// Whether there are messages after the last.
    pub more_after: bool,
    /// The head of the log when this was read.
    pub head: Position,
}

/// A conversation as its caller sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConversationView {
    /// The conversation.
    pub conversation: Conversation,
    /// One's own entry; absent for a public channel that one has not joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<InboxEntry>,
    /// At most 50 members; none for a non-member.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Member>,
}

/// A page of members.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberPage {
    /// The members.
    pub members: Vec<Member>,
    /// Where to go on; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<PageToken>,
}

/// A page of marks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MarkPage {
    /// The marks.
    pub marks: Vec<Marks>,
    /// Counts the changes of marks in this conversation.
    pub revision: Revision,
    /// Where to go on; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<PageToken>,
}

/// Who chose an emoji.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReactionPage {
    /// The users.
    pub users: Vec<UserId>,
    /// Where to go on; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<PageToken>,
}

/// The token was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refreshed {
    /// When the new one runs out, in milliseconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
}

/// The refusal of a command, or of a frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorFrame {
    /// The command's number; absent when the refusal is not of a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub req: Option<u64>,
    /// What went wrong.
    pub code: ErrorCode,
    /// Whether the same may succeed later.
    pub retryable: bool,
    /// When to try again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// With `version_conflict`, the version that is current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// A sentence that says what to do.
    pub message: String,
}

impl ErrorFrame {
    /// A refusal; whether it is retryable follows from its code.
    pub fn new(req: Option<u64>, code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            req,
            retryable: code.is_retryable(),
            code,
            retry_after_ms: None,
            version: None,
            message: message.into(),
        }
    }

    /// Says when to try again, in whole milliseconds, at least one.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        let ms = wait.as_nanos().div_ceil(1_000_000).clamp(1, u128::from(NUMBER_MAX));
        self.retry_after_ms = u64::try_from(ms).ok();
        self
    }
}

/// The token runs out soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiring {
    /// Milliseconds from now.
    pub expires_in_ms: u64,
}

/// The server goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconnect {
    /// Come back after this many milliseconds.
    pub after_ms: u64,
}

/// Serialises `type`, then the fields of a struct beside it.
macro_rules! tagged {
    ($serializer:expr, $tag:literal) => {{
        let mut map = $serializer.serialize_map(Some(1))?;
        map.serialize_entry("type", $tag)?;
        map.end()
    }};
    ($serializer:expr, $tag:literal, $value:expr) => {{
        #[derive(Serialize)]
        struct Tagged<'a, T> {
            r#type: &'static str,
            #[serde(flatten)]
            value: &'a T,
        }
        Tagged {
            r#type: $tag,
            value: $value,
        }
        .serialize($serializer)
    }};
}

impl Serialize for ClientFrame {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Hello(hello) => tagged!(serializer, "hello", hello),
            Self::Resume(resume) => tagged!(serializer, "resume", resume),
            Self::Command { req, command } => {
                let mut map = serializer.serialize_map(Some(4))?;
                map.serialize_entry("type", "command")?;
                map.serialize_entry("req", req)?;
                map.serialize_entry("command", command.name())?;
                map.serialize_entry("data", command)?;
                map.end()
            }
            Self::Ping => tagged!(serializer, "ping"),
            Self::Pong => tagged!(serializer, "pong"),
        }
    }
}

impl Serialize for ServerFrame {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Welcome(frame) => tagged!(serializer, "welcome", frame),
            Self::Inbox(frame) => tagged!(serializer, "inbox", frame),
            Self::Reset(frame) => tagged!(serializer, "reset", frame),
            Self::Synced(frame) => tagged!(serializer, "synced", frame),
            Self::Event(event) => event.serialize(serializer),
            Self::Page(frame) => tagged!(serializer, "page", frame),
            Self::Skip(frame) => tagged!(serializer, "skip", frame),
            Self::Signal(signal) => signal.serialize(serializer),
            Self::Reply(frame) => tagged!(serializer, "reply", frame),
            Self::Error(frame) => tagged!(serializer, "error", frame),
            Self::Expiring(frame) => tagged!(serializer, "expiring", frame),
            Self::Reconnect(frame) => tagged!(serializer, "reconnect", frame),
            Self::Ping => tagged!(serializer, "ping"),
            Self::Pong => tagged!(serializer, "pong"),
        }
    }
}

impl Serialize for LogItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Event(event) => event.serialize(serializer),
            Self::Skip(skip) => tagged!(serializer, "skip", skip),
        }
    }
}

impl<'de> Deserialize<'de> for LogItem {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = serde_json::Map::deserialize(deserializer)?;
        crate::codec::log_item(map).map_err(serde::de::Error::custom)
    }
}
