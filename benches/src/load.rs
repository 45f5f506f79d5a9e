//! What is sent and to whom: the same names and the same lengths on the wire, whichever server is loaded.

use chat_core::id::{ConversationId, MessageId, UserId};
use std::io::{self, Write};

/// How many conversations there are and how many members each has; each member holds one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub struct Shape {
    /// Conversations.
    #[arg(long, default_value_t = 20)]
    pub conversations: usize,
    /// Members of each conversation, one connection each.
    #[arg(long, default_value_t = 50)]
    pub members: usize,
}

impl Shape {
    /// Connections in all.
    pub fn connections(&self) -> usize {
        self.conversations * self.members
    }
}

/// The conversation of this number.
pub fn conversation(index: usize) -> ConversationId {
    ConversationId::from_parts(1_790_000_000_000, ten_bytes(index))
}

/// The message of this number.
pub fn message(index: usize) -> MessageId {
    MessageId::from_parts(1_790_000_000_001, ten_bytes(index))
}

/// The member of this number of a conversation; every name has the same length.
pub fn user(conversation: usize, member: usize) -> UserId {
    UserId::new(format!("c{conversation:04}m{member:05}")).expect("letters and digits are a user id")
}

/// How many bytes a message's text has.
pub const TEXT_BYTES: usize = 64;

/// The text of the message of this number: ten digits, by which a receiver knows it, and padding.
pub fn text(index: usize) -> String {
    format!("{index:010} {:x<1$}", "", TEXT_BYTES - 11)
}

fn ten_bytes(index: usize) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[2..].copy_from_slice(&(index as u64).to_be_bytes());
    bytes
}

/// Says on standard output that a server listens, and where.
pub fn say_ready(port: u16) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "ready {port}")?;
    out.flush()
}
