//! One value of everything that travels, with fixed ids and times: what the golden files hold.

mod client;
mod server;

use chat_protocol::code::CloseCode;
use chat_protocol::conversation::{Conversation, ConversationKind, HistoryVisibility, InboxEntry, Member, Role};
use chat_protocol::frame::{ClientFrame, ServerFrame};
use chat_protocol::id::{ConversationId, MessageId, Position, Revision, Seq, Tag, Timestamp, UserId};
use chat_protocol::message::{Attachment, Content, Message, Reaction};
use serde_json::{Map, Value, json};
use std::str::FromStr;

/// What clients send, by the name of the golden file.
pub fn client() -> Vec<(String, ClientFrame)> {
    client::frames().into_iter().chain(client::commands()).collect()
}

/// What servers send, by the name of the golden file.
pub fn server() -> Vec<(String, ServerFrame)> {
    [
        server::frames(),
        server::events(),
        server::signals(),
        server::replies(),
        server::errors(),
    ]
    .concat()
}

/// The close codes as a table.
pub fn close_codes() -> Value {
    CloseCode::KNOWN
        .iter()
        .map(|code| json!({"code": code.number(), "reason": code.reason(), "come_back": code.is_retryable()}))
        .collect()
}

/// An id of which the last part is `n`.
fn id<T: FromStr>(n: u16) -> T {
    let parsed = format!("0190a000-0000-7000-8000-{n:012x}").parse();
    parsed.unwrap_or_else(|_| panic!("{n} makes an id"))
}

fn group() -> ConversationId {
    id(0xc1)
}

fn direct() -> ConversationId {
    id(0xc2)
}

fn message_id() -> MessageId {
    id(0xe1)
}

fn user(name: &str) -> UserId {
    UserId::new(name).expect("a user id")
}

fn anna() -> UserId {
    user("anna")
}

fn ben() -> UserId {
    user("ben")
}

fn at(n: u64) -> Timestamp {
    Timestamp(1_790_000_000_000 + n)
}

fn tag(seq: u64) -> Tag {
    Tag(0x5f00_0000_0000_0000 + seq)
}

fn position(seq: u64) -> Position {
    Position {
        seq: Seq(seq),
        tag: tag(seq),
    }
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no map"),
    }
}

fn meta() -> Map<String, Value> {
    map(json!({"order": 4711, "paid": true, "ratio": 0.5, "tags": ["a", null], "below": {"zero": -1}}))
}

fn full_content() -> Content {
    Content {
        kind: "offer".into(),
        text: Some("Grüße 👋 <b>\n\t\"quoted\"".into()),
        attachments: vec![Attachment {
            id: "file-1".into(),
            name: "Rechnung März.pdf".into(),
            media_type: "application/pdf".into(),
            size: 9_007_199_254_740_991,
        }],
        meta: Some(meta()),
    }
}

fn message() -> Message {
    Message {
        id: message_id(),
        seq: Seq(2),
        sender: Some(anna()),
        at: at(2),
        version: 1,
        changed: Seq(2),
        edited_at: None,
        deleted_at: None,
        reply_to: None,
        content: Some(Content::text("hello")),
        reactions: vec![],
    }
}

fn edited() -> Message {
    Message {
        version: 2,
        changed: Seq(3),
        edited_at: Some(at(3)),
        reply_to: Some(id(0xe0)),
        content: Some(full_content()),
        ..message()
    }
}

fn tombstone() -> Message {
    Message {
        version: 3,
        changed: Seq(6),
        deleted_at: Some(at(6)),
        content: None,
        ..message()
    }
}

fn with_reactions() -> Message {
    Message {
        changed: Seq(4),
        reactions: vec![Reaction {
            emoji: "👍".into(),
            count: 2,
            users: vec![ben(), anna()],
        }],
        ..message()
    }
}

fn conversation() -> Conversation {
    Conversation {
        id: group(),
        kind: ConversationKind::Group,
        title: Some("Team".into()),
        public: false,
        history: HistoryVisibility::Joined,
        meta: None,
        created_at: at(1),
        member_count: 2,
    }
}

fn channel() -> Conversation {
    Conversation {
        kind: ConversationKind::Channel,
        title: Some("Lobby".into()),
        public: true,
        history: HistoryVisibility::All,
        meta: Some(meta()),
        ..conversation()
    }
}

fn members() -> Vec<Member> {
    vec![
        Member {
            user: anna(),
            role: Role::Owner,
            joined: Seq(1),
            display: Some(json!({"name": "Anna"})),
        },
        Member {
            user: ben(),
            role: Role::Member,
            joined: Seq(1),
            display: None,
        },
    ]
}

fn entry() -> InboxEntry {
    InboxEntry {
        conversation: conversation(),
        head: position(7),
        role: Role::Owner,
        joined: Seq(1),
        last_message: Some(message()),
        unread: 1000,
        read: Seq(2),
        delivered: Seq(7),
        muted: true,
        archived: false,
        revision: Revision(12),
        members: vec![],
    }
}

fn direct_entry() -> InboxEntry {
    InboxEntry {
        conversation: Conversation {
            id: direct(),
            kind: ConversationKind::Direct,
            title: None,
            ..conversation()
        },
        head: position(1),
        last_message: None,
        unread: 0,
        read: Seq(0),
        delivered: Seq(0),
        muted: false,
        archived: true,
        members: members(),
        ..entry()
    }
}
