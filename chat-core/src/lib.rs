//! The chat engine that Rust services link as a crate.
//!
//! A host brings its users, its database and its HTTP server; the engine brings conversations, messages, presence,
//! one order per conversation, dedup by id, and resume without loss, over whichever [`Transport`]s the host mounts
//! and on whichever [`Store`] it chooses. The store is the truth; the backplane is a bell.
//!
//! The vocabulary of hosts is here at the root; what only edges and clients need is in its module.
//!
//! ```
//! use chat_core::{CommandError, ConversationId, Engine, MessageId, MessageSend, Stored, UserId};
//!
//! async fn greet(
//!     engine: &Engine,
//!     user: UserId,
//!     conversation: ConversationId,
//!     id: MessageId,
//! ) -> Result<Stored, CommandError> {
//!     let content = chat_core::Content::text("Hello, everybody");
//!     let send = MessageSend { conversation, id, content, reply_to: None };
//!     engine.user(user).store(send).await
//! }
//! ```
#![forbid(unsafe_code)]

mod admission;
pub mod backplane;
mod bell;
pub mod clock;
pub mod conversation;
pub mod dedup;
mod delivery;
mod echo;
pub mod engine;
mod entropy;
pub mod error;
mod execute;
pub mod hooks;
mod hub;
mod interest;
mod limits;
mod metrics;
mod news;
mod presence;
mod rates;
mod receipts;
mod session;
pub mod store;
mod tasks;
pub mod transport;

pub use backplane::{Alone, Backplane};
pub use chat_protocol::code::{CloseCode, ErrorCode};
pub use chat_protocol::command::{
    Command, ConversationCreate, ConversationDelete, ConversationGet, ConversationJoin, ConversationLeave,
    ConversationUpdate, HistoryList, InboxArchive, InboxList, InboxMute, LogList, MarkDelivered, MarkList, MarkRead,
    MemberAdd, MemberList, MemberRemove, MemberRole, MessageDelete, MessageEdit, MessageSend, PageToken, ReactionAdd,
    ReactionList, ReactionRemove, Token,
};
pub use chat_protocol::conversation::{
    Conversation, ConversationKind, HistoryVisibility, InboxEntry, Marks, Member, Role,
};
pub use chat_protocol::event::{Event, EventKind};
pub use chat_protocol::frame::{
    ConversationView, HistoryPage, InboxPage, MarkPage, MemberPage, Outcome, ReactionPage, Stored,
};
pub use chat_protocol::id::{
    CommandId, ConversationId, Epoch, IdError, MessageId, NodeId, Position, Revision, Seq, SessionId, Tag, Timestamp,
    UserId,
};
pub use chat_protocol::message::{Attachment, Content, Message, Reaction};
pub use chat_protocol::signal::{PresenceSignal as Presence, Signal};
pub use chat_protocol::{
    budget, check, client_session, code, codec, command, event, frame, id, message, server_session, signal,
};
pub use clock::{Clock, SystemClock};
pub use engine::{Acceptor, Act, BuildError, Builder, Engine};
pub use error::CommandError;
pub use hooks::{AuthRequest, Authority, Guests, Hooks, Identity, Refused};
pub use limits::Limits;
pub use store::Store;
pub use transport::Transport;
