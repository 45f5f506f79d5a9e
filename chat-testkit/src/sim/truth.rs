//! What is true in the end: the store's logs, and what follows from them by the rules as they are written down.

use chat_core::Store;
use chat_core::conversation::{HistoryVisibility, InboxEntry};
use chat_core::event::{Event, EventKind};
use chat_core::frame::LogItem;
use chat_core::id::{ConversationId, MessageId, Position, Seq, Timestamp, UserId};
use chat_core::message::Message;
use chat_core::store::{HistoryQuery, Horizon, LogQuery, LogRead, Window};
use std::collections::BTreeMap;

pub(super) struct Truth {
    pub logs: BTreeMap<ConversationId, Log>,
    /// Every user's inbox as the store has it.
    pub inboxes: BTreeMap<UserId, BTreeMap<ConversationId, InboxEntry>>,
}

/// One conversation.
pub(super) struct Log {
    pub events: Vec<Event>,
    pub messages: BTreeMap<MessageId, Message>,
    pub memberships: BTreeMap<UserId, Vec<Interval>>,
    pub shows_all: bool,
}

/// A membership by the log: from its join to its end, both included.
#[derive(Debug, Clone)]
pub(super) struct Interval {
    pub joined: Seq,
    pub joined_at: Timestamp,
    pub ended: Option<Seq>,
}

impl Interval {
    pub fn contains(&self, seq: Seq) -> bool {
        seq >= self.joined && self.ended.is_none_or(|ended| seq <= ended)
    }
}

impl Log {
    pub fn head(&self) -> Position {
        self.events.last().map_or(Position::START, Event::position)
    }

    pub fn event(&self, seq: Seq) -> Option<&Event> {
        self.events.get(usize::try_from(seq.0.checked_sub(1)?).ok()?)
    }

    pub fn intervals(&self, user: &UserId) -> &[Interval] {
        self.memberships.get(user).map_or(&[], Vec::as_slice)
    }
}

impl Truth {
    /// Reads everything that the store has come to hold since the beginning.
    pub async fn read(store: &dyn Store, beginning: &Horizon, users: &[UserId]) -> Self {
        let changes = store.heads_changed_since(Some(beginning), usize::MAX).await;
        let changes = changes.expect("a store that is left alone answers").value;
        let mut logs = BTreeMap::new();
        for head in changes.heads {
            logs.insert(head.conversation, read_log(store, head.conversation).await);
        }
        let mut inboxes = BTreeMap::new();
        for user in users {
            let page = store.inbox(user, None, usize::MAX, usize::MAX).await;
            let entries = page
                .expect("a store that is left alone answers")
                .value
                .entries
                .into_iter();
            let entries = entries.map(|entry| (entry.conversation.id, entry)).collect();
            inboxes.insert(user.clone(), entries);
        }
        Self { logs, inboxes }
    }
}

async fn read_log(store: &dyn Store, conversation: ConversationId) -> Log {
    let everything = LogQuery {
        conversation,
        viewer: None,
        after: Seq::ZERO,
        limit: usize::MAX,
        bytes: usize::MAX,
    };
    let events: Vec<Event> = match store.log(everything).await.map(|read| read.value) {
        Ok(LogRead::Page(page)) => page
            .items
            .into_iter()
            .filter_map(|item| match item {
                LogItem::Event(event) => Some(event),
                LogItem::Skip(_) => None,
            })
            .collect(),
        other => panic!("a log that has changed can be read whole: {other:?}"),
    };
    let messages = store
        .history(HistoryQuery {
            conversation,
            viewer: None,
            window: Window::After(Seq::ZERO),
            limit: usize::MAX,
            bytes: usize::MAX,
        })
        .await
        .expect("a store that is left alone answers");
    let messages = messages.value.into_iter().flat_map(|page| page.messages);
    let shows_all = matches!(
        events.first().map(|event| &event.kind),
        Some(EventKind::ConversationCreated(created)) if created.conversation.history == HistoryVisibility::All
    );
    Log {
        messages: messages.map(|message| (message.id, message)).collect(),
        memberships: fold(&events),
        shows_all,
        events,
    }
}

/// The memberships that a log tells of.
fn fold(events: &[Event]) -> BTreeMap<UserId, Vec<Interval>> {
    let mut memberships: BTreeMap<UserId, Vec<Interval>> = BTreeMap::new();
    for event in events {
        let (seq, at) = (event.seq, event.at);
        let mut begin = |user: &UserId| {
            memberships.entry(user.clone()).or_default().push(Interval {
                joined: seq,
                joined_at: at,
                ended: None,
            });
        };
        match &event.kind {
            EventKind::ConversationCreated(created) => created.members.iter().for_each(|member| begin(&member.user)),
            EventKind::MemberJoined(joined) => begin(&joined.member.user),
            EventKind::MemberLeft(left) => end(&mut memberships, &left.user, seq),
            EventKind::MemberRemoved(removed) => end(&mut memberships, &removed.user, seq),
            EventKind::ConversationDeleted(_) => {
                let users: Vec<UserId> = memberships.keys().cloned().collect();
                users.iter().for_each(|user| end(&mut memberships, user, seq));
            }
            _ => {}
        }
    }
    memberships
}

fn end(memberships: &mut BTreeMap<UserId, Vec<Interval>>, user: &UserId, seq: Seq) {
    if let Some(last) = memberships.get_mut(user).and_then(|intervals| intervals.last_mut()) {
        last.ended.get_or_insert(seq);
    }
}
