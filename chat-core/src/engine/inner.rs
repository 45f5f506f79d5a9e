//! Everything on this node, shared by its tasks.

use super::{Counts, REVOKED};
use crate::admission::Admission;
use crate::backplane::{Backplane, Topic};
use crate::bell::{Bell, BellCodec};
use crate::clock::Clock;
use crate::delivery::{Delivery, Formats, Memory};
use crate::echo::Echo;
use crate::entropy::Entropy;
use crate::hooks::{Hooks, Identity};
use crate::hub::Hub;
use crate::limits::Limits;
use crate::news::News;
use crate::presence::{self, Presence, PresenceTimes};
use crate::rates::Rates;
use crate::receipts::Receipts;
use crate::session::Session;
use crate::store::{Horizon, Read, Store, StoreError, StoreIdentity};
use crate::tasks::bells::Ring;
use crate::tasks::{bells, conversation, reconcile};
use crate::transport::Stop;
use chat_protocol::code::CloseCode;
use chat_protocol::event::Event;
use chat_protocol::id::{ConversationId, Epoch, NUMBER_MAX, NodeId, Timestamp, UserId};
use chat_protocol::signal::{DisplaySignal, PresenceSignal, Signal};
use dashmap::DashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Everything on this node. Public parts of the crate hold it behind handles.
pub(crate) struct Inner {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) identity: StoreIdentity,
    pub(crate) backplane: Arc<dyn Backplane>,
    pub(crate) hooks: Arc<dyn Hooks>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    pub(crate) entropy: Entropy,
    pub(crate) node: NodeId,
    pub(crate) addresses: Vec<String>,
    pub(crate) hub: Hub,
    pub(crate) formats: Formats,
    pub(crate) memory: Arc<Memory>,
    pub(crate) active: DashMap<ConversationId, mpsc::Sender<conversation::Input>>,
    pub(crate) rates: Rates,
    pub(crate) admission: Arc<Admission>,
    pub(crate) receipts: Receipts,
    /// A place for each session that the store answers now.
    session_reads: Semaphore,
    pub(crate) bell_codec: BellCodec,
    pub(super) rings: mpsc::Sender<Ring>,
    /// Bytes of what waits in `rings`.
    pub(crate) ring_bytes: AtomicUsize,
    /// Whether this node hears itself through the backplane.
    pub(crate) echo: Echo,
    committed: mpsc::Sender<Event>,
    presence: Mutex<Presence>,
    pub(crate) news: News,
    /// Wakes the task that keeps presence and the lease: its deadline may have moved.
    pub(crate) presence_moved: Notify,
    /// Wakes reconcile: bells may have been missed.
    pub(crate) reconcile_now: Notify,
    epoch: Mutex<Epoch>,
    /// Whose sessions the host revoked of late, and when.
    revoked: Mutex<BTreeMap<UserId, (Instant, Timestamp)>>,
    /// Held while the store is asked which epoch holds.
    epoch_turn: tokio::sync::Mutex<()>,
    serials: AtomicU64,
    draining: AtomicBool,
    lease_due: AtomicBool,
    store_seen: Mutex<Instant>,
    pub(crate) stop: Stop,
    pub(crate) killed: CancellationToken,
    tasks: TaskTracker,
    /// Ends the node's own loops, after the last session.
    ended: CancellationToken,
}

impl Inner {
    #[allow(clippy::too_many_arguments)] // One caller, the builder, which has them all by name.
    pub(crate) fn start(
        store: Arc<dyn Store>,
        identity: StoreIdentity,
        backplane: Arc<dyn Backplane>,
        hooks: Arc<dyn Hooks>,
        clock: Arc<dyn Clock>,
        limits: Limits,
        entropy: Entropy,
        addresses: Vec<String>,
        horizon: Horizon,
    ) -> Arc<Self> {
        let now = clock.now();
        let node = NodeId::from_parts(now.0, entropy.for_id());
        let times = PresenceTimes {
            lease_ttl: limits.lease_ttl,
            lease_interval: limits.lease_interval,
            grace: limits.presence_grace,
            answer: limits.connection.heartbeat_timeout,
        };
        let (rings, rings_out) = mpsc::channel(limits.bell_queue_max);
        let (committed, committed_out) = mpsc::channel(limits.after_commit_queue_max);
        let started = Instant::now();
        let bell_bytes_max = limits.bell_bytes_max.min(backplane.bell_bytes_max());
        let bell_codec = BellCodec::new(&identity.cluster_key, node, bell_bytes_max);
        let part_bytes = bell_codec.users_bytes_max();
        let inner = Arc::new(Self {
            bell_codec,
            epoch: Mutex::new(identity.epoch),
            revoked: Mutex::default(),
            epoch_turn: tokio::sync::Mutex::default(),
            presence: Mutex::new(Presence::new(node, times, part_bytes, started.into_std(), now)),
            news: News::default(),
            admission: Arc::new(Admission::new(&limits)),
            rates: Rates::new(&limits),
            receipts: Receipts::default(),
            session_reads: Semaphore::new(limits.session_reads_max.max(1)),
            store,
            identity,
            backplane,
            hooks,
            clock,
            hub: Hub::new(limits.topics),
            memory: Memory::new(limits.node_queue_bytes_max),
            limits,
            entropy,
            node,
            addresses,
            formats: Formats::default(),
            active: DashMap::new(),
            rings,
            ring_bytes: AtomicUsize::new(0),
            echo: Echo::default(),
            committed,
            presence_moved: Notify::new(),
            reconcile_now: Notify::new(),
            serials: AtomicU64::new(1),
            draining: AtomicBool::new(false),
            lease_due: AtomicBool::new(false),
            store_seen: Mutex::new(started),
            stop: Stop::default(),
            killed: CancellationToken::new(),
            tasks: TaskTracker::new(),
            ended: CancellationToken::new(),
        });
        let (store, backplane) = (inner.store.name(), inner.backplane.name());
        tracing::info!(%node, store, backplane, "a node starts");
        crate::metrics::register();
        reconcile::measure(&inner);
        inner.spawn_loop(bells::publish(inner.clone(), rings_out));
        inner.spawn_loop(bells::hear(inner.clone()));
        inner.spawn_loop(bells::keep_interest(inner.clone()));
        inner.spawn_loop(bells::after_commit(inner.clone(), committed_out));
        inner.spawn_loop(bells::signal_receipts(inner.clone()));
        inner.spawn_loop(bells::tell_news(inner.clone()));
        inner.spawn_loop(reconcile::run(inner.clone(), horizon));
        inner.spawn_loop(reconcile::keep_presence(inner.clone()));
        inner
    }

    /// Runs a task of this node until it ends or the node is killed.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let killed = self.killed.clone();
        self.tasks.spawn(async move {
            tokio::select! { biased; () = killed.cancelled() => {}, () = task => {} }
        });
    }

    /// Runs a loop of this node, which ends with the node.
    fn spawn_loop(&self, task: impl Future<Output = ()> + Send + 'static) {
        let ended = self.ended.clone();
        self.spawn(async move {
            tokio::select! { biased; () = ended.cancelled() => {}, () = task => {} }
        });
    }

    pub(crate) fn next_serial(&self) -> u64 {
        self.serials.fetch_add(1, Ordering::Relaxed)
    }

    // ---- epoch and store ---------------------------------------------------------------------------------------

    pub(crate) fn epoch(&self) -> Epoch {
        *self.epoch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store answered with this epoch: if it is another than this node's, the store is asked which holds, for the
    /// answer may be a late one. A new one ends every session, which comes back and is told. Answers whether this is the
    /// one that holds.
    pub(crate) async fn saw_epoch(&self, epoch: Epoch) -> bool {
        *self.store_seen.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        if epoch == self.epoch() {
            return true;
        }
        // One asks after the other, so that no answer is older than one that was believed.
        let _turn = self.epoch_turn.lock().await;
        match timeout(self.limits.store_timeout, self.store.identity()).await {
            Ok(Ok(now)) if now.epoch != self.epoch() => self.begin_epoch(now.epoch),
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => tracing::warn!("an answer of another incarnation of the log, and the store is gone"),
        }
        epoch == self.epoch()
    }

    fn begin_epoch(&self, epoch: Epoch) {
        tracing::warn!("the store's log is another incarnation: every session starts afresh");
        *self.epoch.lock().unwrap_or_else(PoisonError::into_inner) = epoch;
        for session in self.hub.all_sessions() {
            session.end(CloseCode::Restart, "restart");
        }
        self.hub.forget_delivered();
        self.reconcile_now.notify_one();
    }

    /// What a read finds, as far as it is of the incarnation that this node is at.
    ///
    /// # Errors
    /// When the store does not answer, or with another incarnation of the log.
    pub(crate) async fn read<T>(
        &self,
        asked: impl Future<Output = Result<Read<T>, StoreError>>,
    ) -> Result<T, StoreError> {
        self.read_at(self.epoch(), asked).await
    }

    /// What a read finds, as far as it is of this incarnation: the one place where that is judged.
    ///
    /// # Errors
    /// When the store does not answer, or with another incarnation of the log.
    pub(crate) async fn read_at<T>(
        &self,
        epoch: Epoch,
        asked: impl Future<Output = Result<Read<T>, StoreError>>,
    ) -> Result<T, StoreError> {
        let read = asked.await?;
        self.saw_epoch(read.epoch).await;
        if read.epoch == epoch {
            Ok(read.value)
        } else {
            Err(StoreError::unavailable("it shows another incarnation of its log"))
        }
    }

    pub(crate) fn ready(&self) -> Result<(), &'static str> {
        if self.draining.load(Ordering::Relaxed) {
            return Err("draining");
        }
        let seen = *self.store_seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.elapsed() > self.limits.reconcile_interval * 2 {
            return Err("the store has not answered for over 10 s");
        }
        Ok(())
    }

    pub(crate) fn degraded(&self) -> Option<&'static str> {
        if !self.backplane.has_others() {
            None
        } else if !self.backplane.is_alive() {
            Some("the backplane is gone: what other nodes do is seen a few seconds later")
        } else if self.echo.is_missing(self.limits.reconcile_interval) {
            Some("the backplane is deaf: what other nodes do is seen a few seconds later")
        } else {
            None
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            connections: self.admission.connections(),
            users: self.hub.user_count(),
            conversations: self.hub.conversation_count(),
            queued_bytes: self.memory.used(),
            sessions: self.hub.session_count(),
            watched: self.hub.watching().len() + self.hub.presence().len(),
            online: self.presence_machine().own_count(),
            topics: self.hub.interest.len(),
            active: self.active.len(),
            addresses: self.admission.addresses(),
            rates: self.rates.len(),
            signals: self.news.len() + self.receipts.len(),
            tasks: self.tasks.len(),
        }
    }

    // ---- news and ends -----------------------------------------------------------------------------------------

    /// Ends a user's sessions everywhere: rung now, and again with every reconcile for two lives of a lease.
    pub(crate) fn revoke(&self, user: &UserId) {
        let now = Instant::now();
        let (_, at) = self.presence_machine().store_time(now.into_std());
        // First remembered, then ended: who enters meanwhile sees the one, or is found by the other.
        let mut revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        revoked.insert(user.clone(), (now, at));
        drop(revoked);
        self.end_sessions(user, Duration::ZERO);
        self.ring_revoked(user, at);
    }

    /// Whether a user's sessions were revoked here since then. Other nodes are rung again until they have seen it.
    pub(crate) fn was_revoked(&self, user: &UserId, since: Instant) -> bool {
        let revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        revoked.get(user).is_some_and(|(at, _)| *at >= since)
    }

    pub(crate) fn ring_revoked_again(&self) {
        let mut revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        revoked.retain(|_, (since, _)| since.elapsed() <= self.limits.lease_ttl * 2);
        for (user, (_, at)) in &*revoked {
            self.ring_revoked(user, *at);
        }
    }

    pub(crate) fn after_commit(&self, event: &Event) {
        if self.committed.try_send(event.clone()).is_err() {
            metrics::counter!("chat_after_commit_dropped_total").increment(1);
        }
    }

    /// Tells the sessions on this node that these users' memberships changed.
    pub(crate) fn poke_local(&self, users: BTreeSet<UserId>) {
        for user in users {
            for session in self.hub.sessions_of(&user) {
                session.poke();
            }
        }
    }

    /// Ends the sessions that a user had then, by the store's clock; in doubt one more rather than one less.
    pub(crate) fn revoke_local(&self, user: &UserId, at: Timestamp) {
        let (now, _) = self.presence_machine().store_time(Instant::now().into_std());
        self.end_sessions(user, Duration::from_millis(now.0.saturating_sub(at.0)));
    }

    /// Ends the sessions that a user had so long ago.
    fn end_sessions(&self, user: &UserId, ago: Duration) {
        for session in self
            .hub
            .sessions_of(user)
            .into_iter()
            .filter(|s| s.since.elapsed() >= ago)
        {
            session.end(REVOKED.0, REVOKED.1);
        }
    }

    // ---- signals -----------------------------------------------------------------------------------------------

    /// Hands a conversation's signal to the sessions on this node that watch it and are members.
    pub(crate) fn signal_conversation(&self, conversation: ConversationId, signal: Signal) {
        let watching = self.hub.watching().of(&conversation);
        if watching.is_empty() {
            return;
        }
        let (key, about) = (signal.key(), about(&signal));
        let delivery = Delivery::signal(signal, &self.memory);
        for session in watching {
            let own = session.who().is_some_and(|who| Some(&who.user) == about.as_ref());
            if !own && session.is_member(conversation) {
                session.signal(key.clone(), &delivery);
            }
        }
    }

    /// Has the sessions on this node that watch a user told of their display data.
    pub(crate) fn show(&self, display: DisplaySignal) {
        if self.hub.presence().is_watched(&display.user) {
            self.news.push(Signal::Display(display));
        }
    }

    /// For how long an identity is still good, if it runs out; no longer than a number of the protocol can say.
    pub(crate) fn time_left(&self, identity: &Identity) -> Option<Duration> {
        let now = self.clock.now();
        identity
            .expires_at
            .map(|at| Duration::from_millis(at.0.saturating_sub(now.0).min(NUMBER_MAX)))
    }

    /// Asks the store for a session when a place is free: whoever came first is first, and waits again after each answer.
    pub(crate) async fn in_turn<T>(&self, asked: impl Future<Output = T>) -> T {
        let came = Instant::now();
        let _turn = self.session_reads.acquire().await;
        metrics::histogram!("chat_read_wait_seconds").record(came.elapsed());
        asked.await
    }

    /// Keeps a user's display data and tells those who watch them, when it changed.
    pub(crate) async fn keep_display(&self, identity: &Identity) -> Result<(), StoreError> {
        let Some(display) = &identity.display else {
            return Ok(());
        };
        if self.store.put_display(&identity.user, display).await? {
            let (user, display) = (identity.user.clone(), display.clone());
            self.ring_bell(
                Topic::Nodes,
                &Bell::Display {
                    user: user.clone(),
                    display: display.clone(),
                },
            );
            self.show(DisplaySignal { user, display });
        }
        Ok(())
    }

    // ---- presence ----------------------------------------------------------------------------------------------

    /// Feeds the presence machine and carries out what it says.
    pub(crate) fn presence(&self, input: presence::Input) {
        let (mut effects, mut unverified) = (Vec::new(), false);
        // Under the machine's lock bells and news get their order, and nothing is done that takes its time.
        let mut machine = self.presence_machine();
        machine.handle(input, Instant::now().into_std(), &mut effects);
        for effect in effects {
            match effect {
                presence::Effect::Publish(bell) => self.ring_bell(Topic::Nodes, &bell),
                presence::Effect::Changed(signal) => {
                    // Who begins to watch from here on reads the state behind this change.
                    if self.hub.presence().is_watched(&signal.user) {
                        self.news.push(Signal::Presence(signal));
                    }
                }
                presence::Effect::RenewLease => self.lease_due.store(true, Ordering::Relaxed),
                presence::Effect::Verified(verified) => unverified = !verified,
            }
        }
        drop(machine);
        if unverified {
            for session in self.hub.all_sessions() {
                session.verify();
            }
        }
        self.presence_moved.notify_one();
    }

    /// Whether the lease has to be renewed now; answers `true` once.
    pub(crate) fn take_lease_due(&self) -> bool {
        self.lease_due.swap(false, Ordering::Relaxed)
    }

    fn presence_machine(&self) -> MutexGuard<'_, Presence> {
        self.presence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many nodes live, as far as this one knows.
    pub(crate) fn nodes(&self) -> usize {
        self.presence_machine().nodes()
    }

    pub(crate) fn presence_deadline(&self) -> Instant {
        Instant::from_std(self.presence_machine().deadline())
    }

    /// Begins to watch these users: their state now, then every change.
    pub(crate) fn watch_users(&self, session: &Arc<Session>, users: Vec<UserId>) {
        // Registered first, so that no change is between the state and the first news; news that are older than the
        // state and come behind it are left out by their number.
        session.watch_users(&self.hub, users.clone());
        let (number, states) = {
            let machine = self.presence_machine();
            let now = Instant::now().into_std();
            let states: Vec<_> = users.iter().map(|user| machine.state_of(user, now)).collect();
            (self.news.last(), states)
        };
        for state in states {
            let (user, state) = (state.user.clone(), Signal::Presence(state));
            session.tell(number, &user, state.key(), &Delivery::signal(state, &self.memory));
        }
    }

    pub(crate) fn presence_of(&self, user: &UserId) -> PresenceSignal {
        self.presence_machine().state_of(user, Instant::now().into_std())
    }

    // ---- drain -------------------------------------------------------------------------------------------------

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) async fn shutdown(self: &Arc<Self>, grace: Duration) {
        let inner = self.clone();
        // In a task of its own: whoever stops waiting stops nothing.
        let _ = tokio::spawn(async move { inner.drain(grace).await }).await;
    }

    async fn drain(self: &Arc<Self>, grace: Duration) {
        self.draining.store(true, Ordering::Relaxed);
        self.stop.0.cancel();
        let spread = u64::try_from(self.limits.drain_spread.as_millis()).unwrap_or(u64::MAX);
        for session in self.hub.all_sessions() {
            session.drain(self.entropy.below(spread));
        }
        let _ = timeout(grace, self.admission.emptied()).await;
        // What is left had its time.
        for session in self.hub.all_sessions() {
            session.end(CloseCode::Restart, "restart");
        }
        let _ = timeout(Duration::from_secs(2), self.admission.emptied()).await;
        self.ended.cancel();
        self.active.clear();
        self.tasks.close();
        let _ = timeout(self.limits.store_timeout, self.tasks.wait()).await;
        self.killed.cancel();
        // Last of all, so that no renewal comes behind it.
        let _ = timeout(self.limits.store_timeout, self.store.release_lease(self.node)).await;
    }
}

fn about(signal: &Signal) -> Option<UserId> {
    match signal {
        Signal::Typing(s) => Some(s.user.clone()),
        Signal::Marks(s) => Some(s.user.clone()),
        Signal::Presence(s) => Some(s.user.clone()),
        Signal::Display(s) => Some(s.user.clone()),
        Signal::Unknown { .. } => None,
    }
}
