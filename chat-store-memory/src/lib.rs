//! The reading example of a chat-core [`Store`]: everything in memory, small and obvious.
//!
//! [`MemoryStore`] is a lock around plain maps. What a command does is never decided here: `append` loads
//! [`Facts`](chat_core::conversation::Facts), asks [`judge`](chat_core::conversation::judge), and does the writes that
//! the answer names. It forgets everything when the last handle goes; then its epoch is never seen again, and every
//! client is told so.
//!
//! * the data: `state.rs`, `place.rs`
//! * writing: `append.rs` · reading: `read.rs` · what changed since: `changes.rs`
#![forbid(unsafe_code)]

mod append;
mod changes;
mod identity;
mod place;
mod read;
mod state;

use async_trait::async_trait;
use chat_core::command::PageToken;
use chat_core::conversation::InboxEntry;
use chat_core::conversation::PageRoom;
use chat_core::frame::{ConversationView, HistoryPage, InboxPage, MarkPage, MemberPage, ReactionPage};
use chat_core::id::{CommandId, ConversationId, MessageId, NodeId, Revision, UserId};
use chat_core::store::{
    Append, Appended, Changes, Head, HistoryQuery, Horizon, InboxChange, InboxChanged, Lease, ListQuery, LogQuery,
    LogRead, Memberships, Prior, Read, StoreError, StoreIdentity,
};
use chat_core::{Clock, Store, SystemClock};
use serde_json::Value;
use state::State;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// A store in memory; a cheap handle, clones of which share everything.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    identity: StoreIdentity,
    clock: Arc<dyn Clock>,
    /// Guards everything; held for one call, never across an await.
    state: Mutex<State>,
}

impl MemoryStore {
    /// An empty store with an epoch and secrets of its own.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// An empty store whose clock or randomness is told.
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder {
            clock: Arc::new(SystemClock),
            seed: None,
        }
    }

    /// The answer of a read; the epoch is the same for as long as the store lives.
    fn read<T>(&self, value: T) -> Result<Read<T>, StoreError> {
        let epoch = self.shared.identity.epoch;
        Ok(Read { epoch, value })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let state = self.shared.state.lock();
        state.expect("the lock is never poisoned: nothing panics while it is held")
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("epoch", &self.shared.identity.epoch)
            .finish_non_exhaustive()
    }
}

/// Builds a [`MemoryStore`] for tests that need to know its clock or its secrets.
pub struct MemoryStoreBuilder {
    clock: Arc<dyn Clock>,
    seed: Option<u64>,
}

impl MemoryStoreBuilder {
    /// The clock that stamps events and leases; the machine's unless told.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Derives epoch and secrets from a seed: never outside of a test.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The store.
    pub fn build(self) -> MemoryStore {
        let root = self.seed.map_or_else(identity::random_root, identity::seeded_root);
        MemoryStore {
            shared: Arc::new(Shared {
                identity: identity::identity(&root, self.clock.now()),
                clock: self.clock,
                state: Mutex::default(),
            }),
        }
    }
}

impl fmt::Debug for MemoryStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStoreBuilder")
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn identity(&self) -> Result<StoreIdentity, StoreError> {
        Ok(self.shared.identity.clone())
    }

    async fn append(&self, batch: Append) -> Result<Appended, StoreError> {
        let mut state = self.lock();
        let at = self.shared.clock.now(); // under the lock, so that times follow the order of the log
        append::append(&mut state, self.shared.identity.epoch, at, &batch)
    }

    async fn lookup(&self, conversation: ConversationId, id: CommandId) -> Result<Read<Option<Prior>>, StoreError> {
        let state = self.lock();
        self.read(state.place(conversation).and_then(|place| place.prior(id)))
    }

    async fn log(&self, query: LogQuery) -> Result<Read<LogRead>, StoreError> {
        self.read(read::log(&self.lock(), &query)?)
    }

    async fn history(&self, query: HistoryQuery) -> Result<Read<Option<HistoryPage>>, StoreError> {
        self.read(read::history(&self.lock(), &query))
    }

    async fn memberships(
        &self,
        user: &UserId,
        changed_after: Option<Revision>,
    ) -> Result<Read<Memberships>, StoreError> {
        self.read(read::memberships(&self.lock(), user, changed_after))
    }

    async fn entries(
        &self,
        user: &UserId,
        conversations: &[ConversationId],
    ) -> Result<Read<Vec<InboxEntry>>, StoreError> {
        let state = self.lock();
        let entries = conversations.iter().filter_map(|id| state.entry(user, *id));
        self.read(entries.collect())
    }

    async fn inbox(
        &self,
        user: &UserId,
        page: Option<&PageToken>,
        limit: usize,
        bytes: usize,
    ) -> Result<Read<InboxPage>, StoreError> {
        self.read(read::inbox(&self.lock(), user, page, PageRoom::new(limit, bytes)))
    }

    async fn set_inbox(
        &self,
        user: &UserId,
        conversation: ConversationId,
        change: InboxChange,
    ) -> Result<InboxChanged, StoreError> {
        Ok(self.lock().set_inbox(user, conversation, change))
    }

    async fn conversation(
        &self,
        conversation: ConversationId,
        viewer: Option<&UserId>,
    ) -> Result<Read<Option<ConversationView>>, StoreError> {
        self.read(read::conversation(&self.lock(), conversation, viewer))
    }

    async fn members(&self, query: ListQuery) -> Result<Read<Option<MemberPage>>, StoreError> {
        self.read(read::members(&self.lock(), &query))
    }

    async fn marks(&self, query: ListQuery) -> Result<Read<Option<MarkPage>>, StoreError> {
        self.read(read::marks(&self.lock(), &query))
    }

    async fn reactions(
        &self,
        query: ListQuery,
        message: MessageId,
        emoji: &str,
    ) -> Result<Read<Option<ReactionPage>>, StoreError> {
        self.read(read::reactions(&self.lock(), &query, message, emoji))
    }

    async fn heads(&self, conversations: &[ConversationId]) -> Result<Read<Vec<Head>>, StoreError> {
        let state = self.lock();
        let heads = conversations.iter().filter_map(|id| state.head(*id));
        self.read(heads.collect())
    }

    async fn heads_changed_since(&self, horizon: Option<&Horizon>, limit: usize) -> Result<Read<Changes>, StoreError> {
        self.read(read::heads_changed_since(&self.lock(), horizon, limit)?)
    }

    async fn renew_lease(&self, node: NodeId, ttl: Duration) -> Result<Vec<Lease>, StoreError> {
        let mut state = self.lock();
        let now = self.shared.clock.now();
        Ok(state.renew_lease(node, ttl, now))
    }

    async fn release_lease(&self, node: NodeId) -> Result<(), StoreError> {
        self.lock().release_lease(node);
        Ok(())
    }

    async fn put_display(&self, user: &UserId, display: &Value) -> Result<bool, StoreError> {
        Ok(self.lock().put_display(user, display))
    }

    async fn sharing(&self, user: &UserId, others: &[UserId]) -> Result<Vec<UserId>, StoreError> {
        let state = self.lock();
        let sharing = others.iter().filter(|other| state.share(user, other));
        Ok(sharing.cloned().collect())
    }
}
