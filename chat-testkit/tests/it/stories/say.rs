//! Commands in few words, and what comes back in fewer.

use chat_core::command::*;
use chat_core::conversation::{ConversationKind, InboxEntry, Role};
use chat_core::event::{Event, EventKind};
use chat_core::frame::{HistoryPage, Outcome, Stored};
use chat_core::id::{CommandId, ConversationId, MessageId, Seq, UserId};
use chat_core::message::{Content, Message};
use chat_testkit::wire::{Answer, Wire};
use std::sync::atomic::{AtomicU64, Ordering};

static LAST: AtomicU64 = AtomicU64::new(0);

/// An id that nothing else in this process has.
pub fn fresh() -> CommandId {
    let mut random = [7; 10];
    random[2..].copy_from_slice(&LAST.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    CommandId::from_parts(1_000, random)
}

pub fn fresh_message() -> MessageId {
    fresh().into()
}

pub fn fresh_conversation() -> ConversationId {
    ConversationId::new(*fresh().as_uuid()).unwrap()
}

pub fn user(name: &str) -> UserId {
    name.parse().unwrap()
}

pub fn create(kind: ConversationKind, members: &[&str]) -> ConversationCreate {
    ConversationCreate {
        conversation: fresh_conversation(),
        id: fresh(),
        title: (kind != ConversationKind::Direct).then(|| "a title".to_owned()),
        kind,
        public: false,
        history: None,
        members: members.iter().map(|name| user(name)).collect(),
        meta: None,
    }
}

/// Opens a group; its log then begins with `conversation:created` at 1.
pub async fn group(owner: &mut Wire, members: &[&str]) -> ConversationId {
    owner
        .stored(create(ConversationKind::Group, members))
        .await
        .conversation
}

pub fn public_channel() -> ConversationCreate {
    ConversationCreate {
        public: true,
        ..create(ConversationKind::Channel, &[])
    }
}

pub fn text(conversation: ConversationId, text: &str) -> MessageSend {
    MessageSend {
        conversation,
        id: fresh_message(),
        content: Content::text(text),
        reply_to: None,
    }
}

pub fn edit(conversation: ConversationId, message: MessageId, text: &str) -> MessageEdit {
    MessageEdit {
        conversation,
        id: fresh(),
        message,
        version: None,
        content: Content::text(text),
    }
}

pub fn delete(conversation: ConversationId, message: MessageId) -> MessageDelete {
    let id = fresh();
    MessageDelete {
        conversation,
        id,
        message,
    }
}

pub fn react(conversation: ConversationId, message: MessageId, emoji: &str) -> ReactionAdd {
    ReactionAdd {
        conversation,
        id: fresh(),
        message,
        emoji: emoji.to_owned(),
    }
}

pub fn add(conversation: ConversationId, name: &str) -> MemberAdd {
    MemberAdd {
        conversation,
        id: fresh(),
        user: user(name),
    }
}

pub fn remove(conversation: ConversationId, name: &str) -> MemberRemove {
    MemberRemove {
        conversation,
        id: fresh(),
        user: user(name),
    }
}

pub fn role(conversation: ConversationId, name: &str, role: Role) -> MemberRole {
    MemberRole {
        conversation,
        id: fresh(),
        user: user(name),
        role,
    }
}

pub fn join(conversation: ConversationId) -> ConversationJoin {
    ConversationJoin {
        conversation,
        id: fresh(),
    }
}

pub fn leave(conversation: ConversationId) -> ConversationLeave {
    ConversationLeave {
        conversation,
        id: fresh(),
    }
}

pub fn history(conversation: ConversationId) -> HistoryList {
    HistoryList {
        conversation,
        before: None,
        after: None,
        around: None,
        limit: None,
    }
}

pub fn members(conversation: ConversationId) -> MemberList {
    MemberList {
        conversation,
        page: None,
        limit: None,
    }
}

pub fn read(conversation: ConversationId, seq: Seq) -> MarkRead {
    MarkRead { conversation, seq }
}

/// Says something and gives its id and place.
pub async fn say(wire: &mut Wire, conversation: ConversationId, words: &str) -> (MessageId, Stored) {
    let command = text(conversation, words);
    let id = command.id;
    (id, wire.stored(command).await)
}

pub fn page_of(answer: Answer) -> HistoryPage {
    match answer {
        Ok(Outcome::History(page)) => page,
        other => panic!("expected history, heard {other:?}"),
    }
}

pub fn text_of(message: &Message) -> &str {
    let content = message.content.as_ref();
    content
        .and_then(|content| content.text.as_deref())
        .unwrap_or("(deleted)")
}

/// What an event says, in a word or two.
pub fn told(event: &Event) -> String {
    match &event.kind {
        EventKind::MemberJoined(joined) => format!("joined {}", joined.member.user),
        EventKind::MemberLeft(left) => format!("left {}", left.user),
        EventKind::MemberRemoved(removed) => format!("removed {}", removed.user),
        EventKind::MemberRoleChanged(role) => format!("{} is {}", role.user, role.role),
        EventKind::MessageNew(new) => format!("new {}", text_of(&new.message)),
        EventKind::MessageUpdated(updated) => format!("updated {}", text_of(&updated.message)),
        other => other.name().to_owned(),
    }
}

/// What events say, in a word or two each.
pub fn told_all<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<String> {
    events.into_iter().map(told).collect()
}

/// One's own view of a conversation.
pub async fn entry_of(wire: &mut Wire, conversation: ConversationId) -> InboxEntry {
    match wire.ask(ConversationGet { conversation }).await {
        Ok(Outcome::Conversation(view)) => view.entry.expect("one is a member"),
        other => panic!("expected a conversation, heard {other:?}"),
    }
}
