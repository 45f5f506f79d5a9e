//! What somebody wrote: content, messages and reactions.

use crate::id::{MessageId, Seq, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a message says; at least one of text, attachments and meta is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// Defined by the host; `text` unless told.
    #[serde(rename = "type", default = "text", skip_serializing_if = "is_text")]
    pub kind: String,
    /// Plain text, stored as it came: never HTML.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Files that the host keeps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// The host's own data: at most 4 KiB and 32 keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
}

fn text() -> String {
    "text".to_owned()
}

fn is_text(kind: &str) -> bool {
    kind == "text"
}

impl Content {
    /// A plain text of type `text`.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            kind: self::text(),
            text: Some(text.into()),
            attachments: Vec::new(),
            meta: None,
        }
    }
}

/// A file that belongs to a message; the bytes are the host's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The host's id of the file.
    pub id: String,
    /// The name to show.
    pub name: String,
    /// The media type (RFC 6838), as the uploader declared it.
    pub media_type: String,
    /// Bytes.
    pub size: u64,
}

/// A message as it is now, or its tombstone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Minted by the sender's client.
    pub id: MessageId,
    /// The seq of its creation.
    pub seq: Seq,
    /// Who wrote it; nobody for a system message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<UserId>,
    /// When it was stored.
    pub at: Timestamp,
    /// 1, raised by each edit and by the delete.
    pub version: u64,
    /// The seq of the last event that changed it: of two copies, the one with the higher `changed` is newer.
    pub changed: Seq,
    /// When it was last edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Timestamp>,
    /// When it was deleted; then there is no content and there are no reactions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
    /// The message that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// What it says; nothing once deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// At most 50, in the order of first use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reactions: Vec<Reaction>,
}

impl Message {
    /// Whether this is a tombstone.
    pub fn is_deleted(&self) -> bool {
        self.deleted_at.is_some()
    }
}

/// One emoji on a message: how often, and the first few who chose it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaction {
    /// The emoji, or any short text of up to 32 bytes.
    pub emoji: String,
    /// How many users chose it.
    pub count: u64,
    /// At most five of them, in the order in which they chose.
    pub users: Vec<UserId>,
}
