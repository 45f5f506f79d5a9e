//! The decorator: [`append`](Store::append) is the only way into a log, so whoever stands there sees all that is done.

use async_trait::async_trait;
use chat_core::command::PageToken;
use chat_core::conversation::InboxEntry;
use chat_core::event::Event;
use chat_core::frame::{ConversationView, HistoryPage, InboxPage, MarkPage, MemberPage, ReactionPage};
use chat_core::id::{CommandId, ConversationId, MessageId, NodeId, Position, Revision, UserId};
use chat_core::store::{
    Actor, Append, Appended, Changes, Head, HistoryQuery, Horizon, InboxChange, InboxChanged, ItemOutcome, Lease,
    ListQuery, LogQuery, LogRead, Memberships, Prior, Read, Store, StoreError, StoreIdentity,
};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Any store, and a line for everything that somebody does or tries.
pub struct Audited<S, W> {
    inner: S,
    write: W,
}

impl<S: Store, W: Fn(String) + Send + Sync + 'static> Audited<S, W> {
    /// Hands each line to `write`, after the store has answered.
    pub fn new(inner: S, write: W) -> Self {
        Self { inner, write }
    }
}

#[async_trait]
impl<S: Store, W: Fn(String) + Send + Sync + 'static> Store for Audited<S, W> {
    async fn append(&self, batch: Append) -> Result<Appended, StoreError> {
        let conversation = batch.conversation;
        let about = |actor: &Actor| actor.user().map_or("the host", UserId::as_str).to_owned();
        let items = batch.items.iter();
        let items: Vec<_> = items.map(|item| (about(&item.actor), item.command.name())).collect();
        let since = Instant::now();
        let answer = self.inner.append(batch).await;
        let took = since.elapsed().as_micros();
        for (index, (actor, command)) in items.into_iter().enumerate() {
            let outcome = match &answer {
                Ok(appended) => match &appended.outcomes[index] {
                    Ok(ItemOutcome::First(event)) => format!("is number {}", event.seq),
                    Ok(ItemOutcome::Duplicate(stored)) => format!("was number {} already", stored.seq),
                    Err(refusal) => format!("was refused: {refusal}"),
                },
                Err(error) => format!("is unknown: {error}"),
            };
            (self.write)(format!("{actor}, {command} in {conversation}: {outcome} ({took} µs)"));
        }
        answer
    }

    // From here on it only passes on. A method that is missing does not compile, except `serves_one_node` and `heard`,
    // which have defaults.

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn serves_one_node(&self) -> bool {
        self.inner.serves_one_node()
    }

    fn heard(&self, conversation: ConversationId, after: Position, events: &[Event]) {
        self.inner.heard(conversation, after, events);
    }

    async fn identity(&self) -> Result<StoreIdentity, StoreError> {
        self.inner.identity().await
    }

    async fn lookup(&self, conversation: ConversationId, id: CommandId) -> Result<Read<Option<Prior>>, StoreError> {
        self.inner.lookup(conversation, id).await
    }

    async fn log(&self, query: LogQuery) -> Result<Read<LogRead>, StoreError> {
        self.inner.log(query).await
    }

    async fn history(&self, query: HistoryQuery) -> Result<Read<Option<HistoryPage>>, StoreError> {
        self.inner.history(query).await
    }

    async fn memberships(&self, user: &UserId, after: Option<Revision>) -> Result<Read<Memberships>, StoreError> {
        self.inner.memberships(user, after).await
    }

    async fn entries(&self, user: &UserId, of: &[ConversationId]) -> Result<Read<Vec<InboxEntry>>, StoreError> {
        self.inner.entries(user, of).await
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
