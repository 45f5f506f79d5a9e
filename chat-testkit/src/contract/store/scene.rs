//! Words in which the promises are told: users, conversations, and what becomes of commands.

use super::StoreFixture;
use chat_core::Store;
use chat_core::command::*;
use chat_core::conversation::{ConversationKind, Role, RuleLimits, chain};
use chat_core::dedup::fingerprint;
use chat_core::event::Event;
use chat_core::frame::{LogItem, Stored};
use chat_core::id::{CommandId, ConversationId, MessageId, Position, Seq, Tag, UserId};
use chat_core::message::{Content, Message};
use chat_core::store::{
    Actor, Append, AppendItem, InboxChange, InboxChanged, ItemOutcome, ListQuery, LogPage, LogQuery, LogRead, Refusal,
    Secret,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A store under test with the words to speak to it; cloned for writers that run at the same time.
#[derive(Clone)]
pub(super) struct Scene {
    pub store: Arc<dyn Store>,
    key: Secret,
    ids: Arc<AtomicU64>,
}

pub(super) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(super) fn by(name: &str) -> Actor {
    Actor::User(user(name))
}

impl Scene {
    pub async fn of(fixture: &impl StoreFixture) -> Self {
        Self::on(fixture.store()).await
    }

    pub async fn on(store: Arc<dyn Store>) -> Self {
        let key = store.identity().await.unwrap().fingerprint_key;
        let ids = Arc::new(AtomicU64::new(1));
        Self { store, key, ids }
    }

    /// The same scene seen through another handle of the same store.
    pub fn through(&self, store: Arc<dyn Store>) -> Self {
        Self { store, ..self.clone() }
    }

    fn number(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::SeqCst)
    }

    pub fn id(&self) -> CommandId {
        CommandId::from_parts(self.number(), [1; 10])
    }

    pub fn message_id(&self) -> MessageId {
        self.id().into()
    }

    pub fn conversation_id(&self) -> ConversationId {
        ConversationId::from_parts(self.number(), [2; 10])
    }

    pub fn item(&self, actor: Actor, command: impl Into<Command>) -> AppendItem {
        let command = command.into();
        AppendItem {
            actor,
            fingerprint: fingerprint(&self.key, &command),
            command,
        }
    }

    pub async fn batch(
        &self,
        conversation: ConversationId,
        items: Vec<AppendItem>,
    ) -> Vec<Result<ItemOutcome, Refusal>> {
        let limits = RuleLimits::default();
        let batch = Append {
            conversation,
            items,
            limits,
        };
        self.store.append(batch).await.unwrap().outcomes
    }

    pub async fn append(&self, item: AppendItem) -> Result<ItemOutcome, Refusal> {
        let conversation = item.command.conversation().unwrap();
        let mut outcomes = self.batch(conversation, vec![item]).await;
        assert_eq!(outcomes.len(), 1, "one outcome for each item");
        outcomes.remove(0)
    }

    /// What the command made; it must not be refused and not be there already.
    pub async fn event(&self, actor: Actor, command: impl Into<Command>) -> Event {
        match self.append(self.item(actor, command)).await {
            Ok(ItemOutcome::First(event)) => event,
            other => panic!("not stored now: {other:?}"),
        }
    }

    pub async fn refusal(&self, actor: Actor, command: impl Into<Command>) -> Refusal {
        match self.append(self.item(actor, command)).await {
            Err(refusal) => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub async fn duplicate(&self, actor: Actor, command: impl Into<Command>) -> Stored {
        match self.append(self.item(actor, command)).await {
            Ok(ItemOutcome::Duplicate(stored)) => stored,
            other => panic!("no duplicate: {other:?}"),
        }
    }

    pub fn create(&self, kind: ConversationKind, members: &[&str]) -> ConversationCreate {
        ConversationCreate {
            conversation: self.conversation_id(),
            id: self.id(),
            kind,
            title: None,
            public: false,
            history: None,
            members: members.iter().map(|name| user(name)).collect(),
            meta: None,
        }
    }

    /// A group of these users; the first one owns it.
    pub async fn group(&self, members: &[&str]) -> ConversationId {
        let create = self.create(ConversationKind::Group, &members[1..]);
        let conversation = create.conversation;
        self.event(by(members[0]), create).await;
        conversation
    }

    /// A public channel that the host made.
    pub async fn channel(&self, members: &[&str]) -> ConversationId {
        let mut create = self.create(ConversationKind::Channel, members);
        create.public = true;
        let conversation = create.conversation;
        self.event(Actor::System, create).await;
        conversation
    }

    pub fn message(&self, conversation: ConversationId, text: &str) -> MessageSend {
        MessageSend {
            conversation,
            id: self.message_id(),
            content: Content::text(text),
            reply_to: None,
        }
    }

    /// Sends a text; answers with the message as stored.
    pub async fn send(&self, conversation: ConversationId, sender: &str, text: &str) -> Message {
        let event = self.event(by(sender), self.message(conversation, text)).await;
        event.kind.message().unwrap().clone()
    }

    /// Sends `1`, `2`, … so many times.
    pub async fn send_many(&self, conversation: ConversationId, sender: &str, count: u64) {
        for chunk in (1..=count).collect::<Vec<_>>().chunks(100) {
            let message = |number: &u64| self.message(conversation, &number.to_string());
            let items = chunk
                .iter()
                .map(|number| self.item(by(sender), message(number)))
                .collect();
            for outcome in self.batch(conversation, items).await {
                assert!(matches!(outcome, Ok(ItemOutcome::First(_))), "{outcome:?}");
            }
        }
    }

    pub async fn edit(&self, message: &Message, conversation: ConversationId, editor: &str, text: &str) -> Event {
        let edit = MessageEdit {
            conversation,
            id: self.id(),
            message: message.id,
            version: None,
            content: Content::text(text),
        };
        self.event(by(editor), edit).await
    }

    pub async fn delete(&self, message: &Message, conversation: ConversationId, deleter: &str) -> Event {
        let delete = MessageDelete {
            conversation,
            id: self.id(),
            message: message.id,
        };
        self.event(by(deleter), delete).await
    }

    pub fn reaction(&self, message: &Message, conversation: ConversationId, emoji: &str) -> ReactionAdd {
        ReactionAdd {
            conversation,
            id: self.id(),
            message: message.id,
            emoji: emoji.to_owned(),
        }
    }

    pub async fn react(&self, message: &Message, conversation: ConversationId, name: &str, emoji: &str) -> Event {
        self.event(by(name), self.reaction(message, conversation, emoji)).await
    }

    pub async fn join(&self, conversation: ConversationId, name: &str) -> Event {
        let id = self.id();
        self.event(by(name), ConversationJoin { conversation, id }).await
    }

    pub async fn leave(&self, conversation: ConversationId, name: &str) -> Event {
        let id = self.id();
        self.event(by(name), ConversationLeave { conversation, id }).await
    }

    pub async fn add(&self, conversation: ConversationId, name: &str) -> Event {
        let (id, user) = (self.id(), user(name));
        self.event(Actor::System, MemberAdd { conversation, id, user }).await
    }

    pub async fn remove(&self, conversation: ConversationId, name: &str) -> Event {
        let (id, user) = (self.id(), user(name));
        self.event(Actor::System, MemberRemove { conversation, id, user }).await
    }

    pub async fn set_role(&self, conversation: ConversationId, by_whom: &str, name: &str, role: Role) -> Event {
        let (id, user) = (self.id(), user(name));
        let command = MemberRole {
            conversation,
            id,
            user,
            role,
        };
        self.event(by(by_whom), command).await
    }

    pub async fn end(&self, conversation: ConversationId) -> Event {
        let id = self.id();
        self.event(Actor::System, ConversationDelete { conversation, id }).await
    }

    pub async fn set(&self, name: &str, conversation: ConversationId, change: InboxChange) -> InboxChanged {
        self.store.set_inbox(&user(name), conversation, change).await.unwrap()
    }

    pub async fn read_log(&self, conversation: ConversationId, viewer: Option<&str>, after: u64) -> LogRead {
        self.log_page(conversation, viewer, after, (10_000, usize::MAX)).await
    }

    pub async fn log_page(
        &self,
        conversation: ConversationId,
        viewer: Option<&str>,
        after: u64,
        (limit, bytes): (usize, usize),
    ) -> LogRead {
        let query = LogQuery {
            conversation,
            viewer: viewer.map(user),
            after: Seq(after),
            limit,
            bytes,
        };
        self.store.log(query).await.unwrap().value
    }

    /// A page that must be there.
    pub async fn page(&self, conversation: ConversationId, viewer: Option<&str>, after: u64) -> LogPage {
        match self.read_log(conversation, viewer, after).await {
            LogRead::Page(page) => page,
            other => panic!("no page: {other:?}"),
        }
    }

    /// Every event of the log, checked for order, gaps and tags.
    pub async fn whole_log(&self, conversation: ConversationId) -> Vec<Event> {
        let page = self.page(conversation, None, 0).await;
        let events: Vec<Event> = page.items.into_iter().map(event_of).collect();
        let end = assert_chained(Position::START, &events);
        assert_eq!(end, page.head, "the log ends at its head");
        events
    }

    pub async fn entry(&self, name: &str, conversation: ConversationId) -> chat_core::conversation::InboxEntry {
        let entries = self.store.entries(&user(name), &[conversation]).await.unwrap().value;
        assert_eq!(entries.len(), 1, "{name} is a member");
        entries.into_iter().next().unwrap()
    }

    pub async fn head(&self, conversation: ConversationId) -> Position {
        let heads = self.store.heads(&[conversation]).await.unwrap().value;
        heads.first().map_or(Position::START, |head| head.position)
    }

    pub async fn revision(&self, name: &str) -> u64 {
        self.store
            .memberships(&user(name), None)
            .await
            .unwrap()
            .value
            .revision
            .0
    }
}

pub(super) fn event_of(item: LogItem) -> Event {
    match item {
        LogItem::Event(event) => event,
        LogItem::Skip(skip) => panic!("an event was expected, not {skip:?}"),
    }
}

/// The events follow each other without a gap, and each one's tag is chained from the one before.
pub(super) fn assert_chained(start: Position, events: &[Event]) -> Position {
    let mut position = start;
    for event in events {
        assert_eq!(event.seq, position.seq.next(), "seqs have no gap");
        let tag = chain(position.tag, event.conversation, event.seq, event.kind.name(), event.id);
        assert_eq!(event.tag, tag, "the tag of {} is chained", event.seq);
        position = event.position();
    }
    position
}

pub(super) fn list(conversation: ConversationId, viewer: Option<&str>) -> ListQuery {
    ListQuery {
        conversation,
        viewer: viewer.map(user),
        page: None,
        limit: 100,
    }
}

pub(super) fn text_of(message: &Message) -> Option<&str> {
    message.content.as_ref()?.text.as_deref()
}

pub(super) fn stored_of(event: &Event) -> Stored {
    Stored {
        conversation: event.conversation,
        id: event.id,
        seq: event.seq,
        tag: event.tag,
        at: event.at,
        duplicate: false,
    }
}

pub(super) const NO_TAG: Tag = Tag::ZERO;

/// Bounds a walk over pages, so that a store whose pages never end fails instead of hanging.
pub(super) struct Walk(u32);

impl Walk {
    pub fn new() -> Self {
        Self(0)
    }

    pub fn step(&mut self) {
        self.0 += 1;
        assert!(self.0 < 1_000, "the pages never end");
    }
}
