//! A store that goes wrong when told: before the effect, after it, late, or not at all.

use crate::clock::time_stands_during;
use crate::random::Random;
use async_trait::async_trait;
use chat_core::Store;
use chat_core::command::PageToken;
use chat_core::conversation::InboxEntry;
use chat_core::event::Event;
use chat_core::frame::{ConversationView, HistoryPage, InboxPage, MarkPage, MemberPage, ReactionPage};
use chat_core::id::{CommandId, ConversationId, MessageId, NodeId, Position, Revision, UserId};
use chat_core::store::{
    Append, Appended, Changes, Head, HistoryQuery, Horizon, InboxChange, InboxChanged, Lease, ListQuery, LogQuery,
    LogRead, Memberships, Prior, Read, StoreError, StoreIdentity,
};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;

/// Wraps any store and goes wrong as its [`StoreFaults`] say; at first nothing does.
pub struct FailingStore {
    inner: Arc<dyn Store>,
    faults: StoreFaults,
}

impl FailingStore {
    /// Wraps a store; the seed decides what happens by chance.
    pub fn new(inner: Arc<dyn Store>, seed: u64) -> Self {
        Self {
            inner,
            faults: StoreFaults::new(seed),
        }
    }

    fn inner(&self) -> Arc<dyn Store> {
        self.faults
            .lock()
            .replaced
            .clone()
            .unwrap_or_else(|| self.inner.clone())
    }

    /// What to tell it; a cheap handle.
    pub fn faults(&self) -> StoreFaults {
        self.faults.clone()
    }
}

impl fmt::Debug for FailingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailingStore")
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

/// When a call goes wrong; to the caller both look the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The inner store is not asked.
    BeforeTheEffect,
    /// The inner store did it, and the answer is lost.
    AfterTheEffect,
}

/// Which calls are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// Only `append`.
    Append,
    /// Only `log`.
    Log,
    /// Only `entries`.
    Entries,
    /// Only `memberships`.
    Memberships,
    /// Any of them, whichever it is.
    Any,
}

impl Call {
    fn fits(self, call: Self) -> bool {
        self == Self::Any || self == call
    }
}

/// Tells a [`FailingStore`] what goes wrong; a cheap handle.
#[derive(Debug, Clone)]
pub struct StoreFaults {
    plan: Arc<Mutex<Plan>>,
    /// Which calls wait; watched by those that do.
    held: Arc<watch::Sender<Option<Call>>>,
}

struct Plan {
    random: Random,
    down: bool,
    before: f64,
    after: f64,
    delay_max: Duration,
    /// Answers of such calls come so late.
    late: Option<(Call, Duration)>,
    next: VecDeque<(Call, Failure)>,
    /// Those that have no name of their own are under `Any`.
    calls: BTreeMap<Call, u64>,
    failures: u64,
    /// Which store answers instead of the first.
    replaced: Option<Arc<dyn Store>>,
    time_stands: bool,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("down", &self.down)
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}

impl StoreFaults {
    fn new(seed: u64) -> Self {
        let plan = Plan {
            random: Random::new(seed),
            down: false,
            before: 0.0,
            after: 0.0,
            delay_max: Duration::ZERO,
            late: None,
            next: VecDeque::new(),
            calls: BTreeMap::new(),
            failures: 0,
            replaced: None,
            time_stands: false,
        };
        Self {
            plan: Arc::new(Mutex::new(plan)),
            held: Arc::new(watch::Sender::new(None)),
        }
    }

    /// The next such call fails; further ones wait for their turn.
    pub fn fail_next(&self, call: Call, failure: Failure) {
        self.lock().next.push_back((call, failure));
    }

    /// From now on each call fails with these probabilities.
    pub fn fail_randomly(&self, before: f64, after: f64) {
        let mut plan = self.lock();
        (plan.before, plan.after) = (before, after);
    }

    /// From now on each call takes up to this long before its effect, and as much again after it.
    pub fn delay_up_to(&self, max: Duration) {
        self.lock().delay_max = max;
    }

    /// From now on every such call answers so late, with what it found before.
    pub fn answer_late(&self, call: Call, by: Duration) {
        self.lock().late = Some((call, by));
    }

    /// Every call fails at once, before its effect, until told otherwise.
    pub fn set_down(&self, down: bool) {
        self.lock().down = down;
    }

    /// Calls wait before their effect until told otherwise.
    pub fn set_paused(&self, paused: bool) {
        self.hold(paused.then_some(Call::Any));
    }

    /// Such calls wait before their effect, and no others, until told otherwise.
    pub fn hold(&self, calls: Option<Call>) {
        self.held.send_replace(calls);
    }

    /// From now on this store answers, as after a restore: calls whose answer is under way answer from the one before.
    pub fn replace(&self, store: Arc<dyn Store>) {
        self.lock().replaced = Some(store);
    }

    /// Nothing goes wrong any more; a store that was replaced stays so.
    pub fn calm(&self) {
        let mut plan = self.lock();
        (plan.before, plan.after, plan.delay_max, plan.down) = (0.0, 0.0, Duration::ZERO, false);
        plan.late = None;
        plan.next.clear();
        drop(plan);
        self.set_paused(false);
    }

    /// How many calls wait now because they are held or late.
    pub fn waiting(&self) -> usize {
        self.held.receiver_count()
    }

    /// How many calls were made so far.
    pub fn calls(&self) -> u64 {
        self.calls_of(Call::Any)
    }

    /// How many such calls were made so far.
    pub fn calls_of(&self, wanted: Call) -> u64 {
        let plan = self.lock();
        let counts = plan.calls.iter().filter(|(call, _)| wanted.fits(**call));
        counts.map(|(_, count)| count).sum()
    }

    /// How many calls failed so far.
    pub fn failures(&self) -> u64 {
        self.lock().failures
    }

    /// Lets paused time stand while the store works: one whose work is done by threads looks idle to the runtime, which
    /// would let time go on to the next deadline.
    pub fn set_time_stands(&self, stands: bool) {
        self.lock().time_stands = stands;
    }

    async fn as_time_stands<T>(&self, work: impl Future<Output = T>) -> T {
        if !self.lock().time_stands {
            return work.await;
        }
        time_stands_during(work).await
    }

    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.plan
            .lock()
            .expect("the plan's lock is never poisoned: nothing panics while it is held")
    }

    async fn before(&self, call: Call) -> Result<Fate, StoreError> {
        let mut held = self.held.subscribe();
        let goes = |held: &Option<Call>| held.is_none_or(|held| held != Call::Any && held != call);
        // An error means that the sender is gone, and we hold it.
        let _ = held.wait_for(goes).await;
        let (fate, delay) = self.lock().decide(call);
        sleep(delay).await;
        match fate.failure {
            Some(Failure::BeforeTheEffect) => Err(lost()),
            _ => Ok(fate),
        }
    }
}

/// What is decided for one call before it is made.
struct Fate {
    failure: Option<Failure>,
    delay_after: Duration,
}

impl Fate {
    async fn after<T>(self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        sleep(self.delay_after).await;
        match self.failure {
            Some(_) => Err(lost()),
            None => answer,
        }
    }
}

impl Plan {
    fn decide(&mut self, call: Call) -> (Fate, Duration) {
        let planned = self.next.iter().position(|(wanted, _)| wanted.fits(call));
        let planned = planned
            .and_then(|index| self.next.remove(index))
            .map(|(_, failure)| failure);
        let (before, after) = (self.random.chance(self.before), self.random.chance(self.after));
        let failure = match (self.down, planned) {
            (true, _) => Some(Failure::BeforeTheEffect),
            (false, Some(failure)) => Some(failure),
            (false, None) if before => Some(Failure::BeforeTheEffect),
            (false, None) if after => Some(Failure::AfterTheEffect),
            (false, None) => None,
        };
        *self.calls.entry(call).or_default() += 1;
        self.failures += u64::from(failure.is_some());
        let (delay, mut delay_after) = (self.delay(), self.delay());
        if let Some((wanted, by)) = self.late
            && wanted.fits(call)
        {
            delay_after += by;
        }
        (Fate { failure, delay_after }, delay)
    }

    fn delay(&mut self) -> Duration {
        self.random.between(&(Duration::ZERO..=self.delay_max))
    }
}

async fn sleep(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}

fn lost() -> StoreError {
    StoreError::unavailable("it was told to fail")
}

macro_rules! through {
    ($self:ident, $call:ident, $method:ident($($argument:expr),*)) => {{
        let fate = $self.faults.before(Call::$call).await?;
        let inner = $self.inner();
        fate.after($self.faults.as_time_stands(inner.$method($($argument),*)).await).await
    }};
}

#[async_trait]
impl Store for FailingStore {
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
        through!(self, Any, identity())
    }

    async fn append(&self, batch: Append) -> Result<Appended, StoreError> {
        through!(self, Append, append(batch))
    }

    async fn lookup(&self, conversation: ConversationId, id: CommandId) -> Result<Read<Option<Prior>>, StoreError> {
        through!(self, Any, lookup(conversation, id))
    }

    async fn log(&self, query: LogQuery) -> Result<Read<LogRead>, StoreError> {
        through!(self, Log, log(query))
    }

    async fn history(&self, query: HistoryQuery) -> Result<Read<Option<HistoryPage>>, StoreError> {
        through!(self, Any, history(query))
    }

    async fn memberships(
        &self,
        user: &UserId,
        changed_after: Option<Revision>,
    ) -> Result<Read<Memberships>, StoreError> {
        through!(self, Memberships, memberships(user, changed_after))
    }

    async fn entries(
        &self,
        user: &UserId,
        conversations: &[ConversationId],
    ) -> Result<Read<Vec<InboxEntry>>, StoreError> {
        through!(self, Entries, entries(user, conversations))
    }

    async fn inbox(
        &self,
        user: &UserId,
        page: Option<&PageToken>,
        limit: usize,
        bytes: usize,
    ) -> Result<Read<InboxPage>, StoreError> {
        through!(self, Any, inbox(user, page, limit, bytes))
    }

    async fn set_inbox(
        &self,
        user: &UserId,
        conversation: ConversationId,
        change: InboxChange,
    ) -> Result<InboxChanged, StoreError> {
        through!(self, Any, set_inbox(user, conversation, change))
    }

    async fn conversation(
        &self,
        conversation: ConversationId,
        viewer: Option<&UserId>,
    ) -> Result<Read<Option<ConversationView>>, StoreError> {
        through!(self, Any, conversation(conversation, viewer))
    }

    async fn members(&self, query: ListQuery) -> Result<Read<Option<MemberPage>>, StoreError> {
        through!(self, Any, members(query))
    }

    async fn marks(&self, query: ListQuery) -> Result<Read<Option<MarkPage>>, StoreError> {
        through!(self, Any, marks(query))
    }

    async fn reactions(
        &self,
        query: ListQuery,
        message: MessageId,
        emoji: &str,
    ) -> Result<Read<Option<ReactionPage>>, StoreError> {
        through!(self, Any, reactions(query, message, emoji))
    }

    async fn heads(&self, conversations: &[ConversationId]) -> Result<Read<Vec<Head>>, StoreError> {
        through!(self, Any, heads(conversations))
    }

    async fn heads_changed_since(&self, horizon: Option<&Horizon>, limit: usize) -> Result<Read<Changes>, StoreError> {
        through!(self, Any, heads_changed_since(horizon, limit))
    }

    async fn renew_lease(&self, node: NodeId, ttl: Duration) -> Result<Vec<Lease>, StoreError> {
        through!(self, Any, renew_lease(node, ttl))
    }

    async fn release_lease(&self, node: NodeId) -> Result<(), StoreError> {
        through!(self, Any, release_lease(node))
    }

    async fn put_display(&self, user: &UserId, display: &Value) -> Result<bool, StoreError> {
        through!(self, Any, put_display(user, display))
    }

    async fn sharing(&self, user: &UserId, others: &[UserId]) -> Result<Vec<UserId>, StoreError> {
        through!(self, Any, sharing(user, others))
    }
}
