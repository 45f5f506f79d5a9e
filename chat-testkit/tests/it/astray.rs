//! Stores that go astray in one way each: every way is caught by the promise that forbids it.
//!
//! Some ask who is a member first and act later. There a gate makes the wrong order certain, not likely: what bob is
//! about to do is held once he was found to be a member, his membership ends meanwhile, then it is done all the same.

use async_trait::async_trait;
use chat_core::Store;
use chat_core::command::{Command, PageToken};
use chat_core::conversation::InboxEntry;
use chat_core::event::{Event, EventKind};
use chat_core::frame::{ConversationView, HistoryPage, InboxPage, LogItem, MarkPage, MemberPage, ReactionPage};
use chat_core::id::{CommandId, ConversationId, MessageId, NodeId, Revision, UserId};
use chat_core::store::{
    Actor, Append, Appended, Changes, Head, HistoryQuery, Horizon, InboxChange, InboxChanged, ItemOutcome, Lease,
    ListQuery, LogQuery, LogRead, Memberships, Prior, Read, StoreError, StoreIdentity, Window,
};
use chat_store_memory::MemoryStore;
use chat_testkit::contract::store::{StoreFixture, crowd, model, races};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_by_somebody_who_was_a_member_a_moment_ago_is_caught() {
    let promise = races::nothing_of_a_member_is_stored_after_their_removal(Fixture::of(Some(Wrong::Append)));
    assert_broken(tokio::spawn(promise).await, "stored after the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_read_for_somebody_who_was_a_member_a_moment_ago_is_caught() {
    let promise = races::what_is_read_at_the_same_time_as_a_removal_ends_there(Fixture::of(Some(Wrong::Log)));
    assert_broken(tokio::spawn(promise).await, "the log was read to");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_read_for_somebody_who_was_a_member_a_moment_ago_is_caught() {
    let promise = races::what_is_read_at_the_same_time_as_a_removal_ends_there(Fixture::of(Some(Wrong::History)));
    assert_broken(tokio::spawn(promise).await, "history was read to");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_of_somebody_who_was_a_member_a_moment_ago_is_caught() {
    let promise = races::what_is_read_at_the_same_time_as_a_removal_ends_there(Fixture::of(Some(Wrong::Entries)));
    assert_broken(tokio::spawn(promise).await, "an entry was read at");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_command_with_another_answer_than_the_first_is_caught() {
    let promise = crowd::eight_writers_make_gapless_logs_with_every_id_once(Fixture::of(Some(Wrong::Repetition)));
    assert_broken(tokio::spawn(promise).await, "an answer tells what is in the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_count_is_caught_by_the_laws_which_know_no_store() {
    let promise = model::random_operations_keep_the_laws_that_follow_from_the_log(Fixture::of(Some(Wrong::Count)));
    assert_broken(tokio::spawn(promise).await, "unread of");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_hides_that_there_is_more_is_caught_beside_the_reference() {
    let promise = model::random_operations_are_answered_as_by_the_reference_model(Fixture::of(Some(Wrong::More)));
    assert_broken(tokio::spawn(promise).await, "more_before: true");
}

/// It is what is done wrong that is caught, not the wrapper.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_store_with_nothing_wrong_keeps_these_promises() {
    races::nothing_of_a_member_is_stored_after_their_removal(Fixture::of(None)).await;
    races::what_is_read_at_the_same_time_as_a_removal_ends_there(Fixture::of(None)).await;
    crowd::eight_writers_make_gapless_logs_with_every_id_once(Fixture::of(None)).await;
}

fn assert_broken(outcome: Result<(), tokio::task::JoinError>, why: &str) {
    let panic = outcome.expect_err("the promise did not notice").into_panic();
    let said = panic.downcast_ref::<String>().expect("an assertion with a sentence");
    assert!(said.contains(why), "{said}");
}

struct Fixture(Arc<Astray>);

impl Fixture {
    fn of(wrong: Option<Wrong>) -> Self {
        Self(Arc::new(Astray {
            inner: MemoryStore::new(),
            wrong,
            stages: watch::Sender::new(BTreeMap::new()),
            late: Mutex::default(),
        }))
    }
}

impl StoreFixture for Fixture {
    fn store(&self) -> Arc<dyn Store> {
        self.0.clone()
    }

    fn another(&self) -> Arc<dyn Store> {
        self.0.clone()
    }

    async fn advance(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }
}

/// What is done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// For bob, in the wrong order: a send.
    Append,
    /// Or a read of the log.
    Log,
    /// Or of messages.
    History,
    /// Or of inbox entries.
    Entries,
    /// A repeated command is answered with the head and not with its first answer.
    Repetition,
    /// Two unread messages are counted as three.
    Count,
    /// Pages of messages never say that there is more before them.
    More,
}

impl Wrong {
    /// Whether it is done at a gate.
    fn is_held(self) -> bool {
        matches!(self, Self::Append | Self::Log | Self::History | Self::Entries)
    }
}

/// How far a conversation has come.
#[derive(Debug, Clone, Copy, Default)]
struct Stage {
    /// Bob was found to be a member, and what he is about to do is held.
    checked: bool,
    /// His membership ended.
    ended: bool,
    /// Something was written after that.
    went_on: bool,
}

/// The memory store with one thing done wrong.
struct Astray {
    inner: MemoryStore,
    wrong: Option<Wrong>,
    stages: watch::Sender<BTreeMap<ConversationId, Stage>>,
    /// What was stored for bob when he was no member any more.
    late: Mutex<BTreeSet<CommandId>>,
}

impl Astray {
    /// Whether this call is to be done wrong: it is bob's, and he is found to be a member.
    async fn finds_a_member(&self, wrong: Wrong, user: Option<&UserId>, conversation: ConversationId) -> bool {
        let Some(user) = user.filter(|user| self.wrong == Some(wrong) && **user == bob()) else {
            return false;
        };
        let found = self.inner.conversation(conversation, Some(user)).await;
        found.unwrap().value.is_some()
    }

    /// Holds bob, who was found to be a member, until he is none and the log went on.
    async fn hold(&self, conversation: ConversationId) {
        self.note(conversation, |stage| stage.checked = true);
        self.until(conversation, |stage| stage.ended).await;
        if self.wrong != Some(Wrong::Append) {
            self.until(conversation, |stage| stage.went_on).await;
        }
    }

    fn note(&self, conversation: ConversationId, how: impl FnOnce(&mut Stage)) {
        self.stages
            .send_modify(|stages| how(stages.entry(conversation).or_default()));
    }

    async fn until(&self, conversation: ConversationId, stage: impl Fn(Stage) -> bool) {
        let mut stages = self.stages.subscribe();
        let come = stages.wait_for(|stages| stage(stages.get(&conversation).copied().unwrap_or_default()));
        come.await.unwrap();
    }

    /// Shows as bob's what had to be stored as the host's, since the memory store would not store it as his.
    fn disguise(&self, event: &mut Event) {
        if self.late.lock().unwrap().contains(&event.id) {
            event.actor = Some(bob());
            if let EventKind::MessageNew(new) = &mut event.kind {
                new.message.sender = Some(bob());
            }
        }
    }
}

fn bob() -> UserId {
    UserId::new("bob").unwrap()
}

fn ends_bob(batch: &Append) -> bool {
    batch.items.iter().any(|item| match &item.command {
        Command::MemberRemove(remove) => remove.user == bob(),
        Command::ConversationLeave(_) => item.actor.user() == Some(&bob()),
        Command::ConversationDelete(_) => true,
        _ => false,
    })
}

#[async_trait]
impl Store for Astray {
    fn name(&self) -> &'static str {
        "astray"
    }

    async fn append(&self, mut batch: Append) -> Result<Appended, StoreError> {
        let (conversation, item) = (batch.conversation, &mut batch.items[0]);
        let ends_bob = {
            let is_first = !self
                .stages
                .borrow()
                .get(&conversation)
                .is_some_and(|stage| stage.checked);
            let is_send = matches!(item.command, Command::MessageSend(_));
            if is_first
                && is_send
                && self
                    .finds_a_member(Wrong::Append, item.actor.user(), conversation)
                    .await
            {
                self.hold(conversation).await;
                self.late.lock().unwrap().extend(item.command.id());
                item.actor = Actor::System;
            }
            ends_bob(&batch)
        };
        if ends_bob && self.wrong.is_some_and(Wrong::is_held) {
            self.until(conversation, |stage| stage.checked).await;
        }
        let mut appended = self.inner.append(batch).await?;
        self.note(conversation, |stage| {
            stage.went_on = stage.ended;
            stage.ended |= ends_bob;
        });
        for outcome in &mut appended.outcomes {
            match outcome {
                Ok(ItemOutcome::First(event)) => self.disguise(event),
                Ok(ItemOutcome::Duplicate(stored)) if self.wrong == Some(Wrong::Repetition) => {
                    (stored.seq, stored.tag) = (appended.head.seq, appended.head.tag);
                }
                _ => {}
            }
        }
        Ok(appended)
    }

    async fn log(&self, query: LogQuery) -> Result<Read<LogRead>, StoreError> {
        let conversation = query.conversation;
        let is_wrong = self
            .finds_a_member(Wrong::Log, query.viewer.as_ref(), conversation)
            .await;
        let query = if is_wrong {
            self.hold(conversation).await;
            LogQuery { viewer: None, ..query }
        } else {
            query
        };
        let mut read = self.inner.log(query).await?;
        if let LogRead::Page(page) = &mut read.value {
            for item in &mut page.items {
                if let LogItem::Event(event) = item {
                    self.disguise(event);
                }
            }
        }
        Ok(read)
    }

    async fn history(&self, query: HistoryQuery) -> Result<Read<Option<HistoryPage>>, StoreError> {
        let (conversation, viewer) = (query.conversation, query.viewer.as_ref());
        let query = if self.finds_a_member(Wrong::History, viewer, conversation).await {
            self.hold(conversation).await;
            HistoryQuery { viewer: None, ..query }
        } else {
            query
        };
        let mut read = self.inner.history(query).await?;
        for page in read.value.iter_mut().filter(|_| self.wrong == Some(Wrong::More)) {
            page.more_before = false;
        }
        Ok(read)
    }

    async fn entries(
        &self,
        user: &UserId,
        conversations: &[ConversationId],
    ) -> Result<Read<Vec<InboxEntry>>, StoreError> {
        let mut read = self.inner.entries(user, conversations).await?;
        for entry in &mut read.value {
            let conversation = entry.conversation.id;
            if self.wrong == Some(Wrong::Count) && entry.unread == 2 {
                entry.unread = 3;
            }
            if self.wrong == Some(Wrong::Entries) && *user == bob() {
                self.hold(conversation).await;
                entry.head = self.inner.heads(&[conversation]).await?.value[0].position;
                let newest = HistoryQuery {
                    conversation,
                    viewer: None,
                    window: Window::Newest,
                    limit: 1,
                    bytes: usize::MAX,
                };
                let newest = self.inner.history(newest).await?.value;
                entry.last_message = newest.and_then(|mut page| page.messages.pop());
            }
        }
        Ok(read)
    }

    async fn identity(&self) -> Result<StoreIdentity, StoreError> {
        self.inner.identity().await
    }

    async fn lookup(&self, conversation: ConversationId, id: CommandId) -> Result<Read<Option<Prior>>, StoreError> {
        self.inner.lookup(conversation, id).await
    }

    async fn memberships(&self, user: &UserId, after: Option<Revision>) -> Result<Read<Memberships>, StoreError> {
        self.inner.memberships(user, after).await
    }

    async fn inbox(
        &self,
        user: &UserId,
        page: Option<&PageToken>,
        limit: usize,
        bytes: usize,
    ) -> Result<Read<InboxPage>, StoreError> {
        self.inner.inbox(user, page, limit, bytes).await
    }

    async fn set_inbox(
        &self,
        user: &UserId,
        conversation: ConversationId,
        change: InboxChange,
    ) -> Result<InboxChanged, StoreError> {
        self.inner.set_inbox(user, conversation, change).await
    }

    async fn conversation(
        &self,
        conversation: ConversationId,
        viewer: Option<&UserId>,
    ) -> Result<Read<Option<ConversationView>>, StoreError> {
        self.inner.conversation(conversation, viewer).await
    }

    async fn members(&self, query: ListQuery) -> Result<Read<Option<MemberPage>>, StoreError> {
        self.inner.members(query).await
    }

    async fn marks(&self, query: ListQuery) -> Result<Read<Option<MarkPage>>, StoreError> {
        self.inner.marks(query).await
    }

    async fn reactions(
        &self,
        query: ListQuery,
        message: MessageId,
        emoji: &str,
    ) -> Result<Read<Option<ReactionPage>>, StoreError> {
        self.inner.reactions(query, message, emoji).await
    }

    async fn heads(&self, conversations: &[ConversationId]) -> Result<Read<Vec<Head>>, StoreError> {
        self.inner.heads(conversations).await
    }

    async fn heads_changed_since(&self, horizon: Option<&Horizon>, limit: usize) -> Result<Read<Changes>, StoreError> {
        self.inner.heads_changed_since(horizon, limit).await
    }

    async fn renew_lease(&self, node: NodeId, ttl: Duration) -> Result<Vec<Lease>, StoreError> {
        self.inner.renew_lease(node, ttl).await
    }

    async fn release_lease(&self, node: NodeId) -> Result<(), StoreError> {
        self.inner.release_lease(node).await
    }

    async fn put_display(&self, user: &UserId, display: &Value) -> Result<bool, StoreError> {
        self.inner.put_display(user, display).await
    }

    async fn sharing(&self, user: &UserId, others: &[UserId]) -> Result<Vec<UserId>, StoreError> {
        self.inner.sharing(user, others).await
    }
}
