//! Rust client SDK for the chat engine: reconnect, resume, and an outbox that survives a kill.
//!
//! A loop around the protocol’s pure [`ClientSession`](chat_protocol::client_session): sockets, clock and disk are here,
//! what follows from a frame is there. A [`Client`] is a cheap handle; the task behind it keeps one connection, comes
//! back by itself, and hands out each event of each conversation once and in order.
//!
//! ```no_run
//! use chat_client::{Client, Content, ConversationId, EventKind, Outbox, Update, WsConnector};
//!
//! # async fn talk(general: ConversationId) -> Result<(), Box<dyn std::error::Error>> {
//! let (client, mut updates) = Client::builder(WsConnector::new("ws://127.0.0.1:7000/chat")?)
//!     .guest("ann")
//!     .outbox(Outbox::file("ann.outbox"))
//!     .start()?;
//!
//! // Updates are read in a task of their own: answers come only while they are read.
//! tokio::spawn(async move {
//!     while let Some(update) = updates.recv().await {
//!         match update {
//!             Update::Event(event) => {
//!                 if let EventKind::MessageNew(new) = event.kind {
//!                     let text = new.message.content.and_then(|content| content.text);
//!                     tracing::info!(seq = %event.seq, ?text, "somebody wrote");
//!                 }
//!             }
//!             // The server lost its memory: what waits for a conversation goes out once one is in it again.
//!             Update::Reset { .. } | Update::Held { .. } => {}
//!             _ => {}
//!         }
//!     }
//! });
//!
//! client.join(general).await?;
//! // Waits until the message is stored, over any number of connections …
//! let stored = client.send(general, Content::text("hello")).await?;
//! // … or only hands it over: its id is known at once, and it survives a kill of this process.
//! let (id, answer) = client.post(general, Content::text("and good night"));
//! client.mark_read(general, stored.seq).await?;
//! answer.await?;
//! client.edit(general, id, Content::text("and good morning")).await?;
//! client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What a durable command goes through
//! Every command that makes an event carries an id minted here before the first attempt. It is kept in the [`Outbox`],
//! sent when it is the first of its conversation, and sent again with the same id after a lost connection, `unavailable`,
//! `rate_limited` or `token_expired`, until the answer is definite. So it is stored once, and in the order of the calls.
//! Only [`CommandError::Stopped`] leaves its outcome open: the client was stopped; the command stays in the outbox.
//!
//! Other commands (history, settings, watches) fail with [`CommandError::Disconnected`] when the connection breaks before
//! the answer; marks are sent again, the highest of each conversation.
//!
//! # When the server’s log is another one
//! [`Update::Reset`] with reason `epoch` says that all cursors mean nothing any more. What waits in the outbox for a
//! conversation, or is sent to one that was lost with its log, is then **held** ([`Update::Held`]) until the
//! conversation is there again: its inbox entry arrives, or
//! [`Client::join`] (which overtakes what is held) or [`Client::create`] succeeds, or [`Client::release`] says so;
//! [`Client::discard`] gives it up.
//!
//! # What the client knows
//! [`Client::state`]: per conversation a cursor and the inbox entry, whose unread count, last message and marks follow
//! the events. Two devices of one user hold the same once both are [`synced`](Client::synced).
//!
//! # Other pipes
//! [`Connector`] is the door: whoever can move frames to a server can be one. All time is tokio’s and all ids come from
//! [`rng_seed`](ClientBuilder::rng_seed) if given, so that a test with paused time repeats.
#![forbid(unsafe_code)]

mod builder;
mod client;
mod connector;
mod driver;
mod entropy;
mod outbox;
mod token;
mod updates;
#[cfg(feature = "ws")]
mod ws;

pub use builder::ClientBuilder;
pub use chat_protocol as protocol;
pub use chat_protocol::client_session::{ClientSettings, ClientView, CommandError, ConversationState, Update};
pub use chat_protocol::codec::Codec;
pub use chat_protocol::command::{Command, Token};
pub use chat_protocol::event::{Event, EventKind};
pub use chat_protocol::frame::Outcome;
pub use chat_protocol::id::{CommandId, ConversationId, MessageId, Seq, UserId};
pub use chat_protocol::message::{Content, Message};
pub use client::{Client, Pending, Status};
pub use connector::{ConnectError, Connector, Pipe, PipeLost, PipeReceiver, PipeSender, Received};
pub use outbox::{Outbox, OutboxError};
pub use token::TokenProvider;
pub use updates::Updates;
#[cfg(feature = "ws")]
pub use ws::WsConnector;

/// The README’s code compiles.
#[cfg(all(doctest, feature = "ws"))]
#[doc = include_str!("../README.md")]
struct Readme;
