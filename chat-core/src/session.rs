//! One client's attachment to this node, as the hub and its own task share it.
//!
//! One lock guards the queue, the places in the logs and the direct write, so that the order between what is written
//! directly and what waits is the order of the calls. Every section is short: encode nothing twice, await nothing.

mod queue;

use crate::delivery::{Delivery, Format, Memory};
use crate::hub::Hub;
use crate::limits::Limits;
use crate::transport::Outlet;
use bytes::Bytes;
use chat_protocol::code::CloseCode;
use chat_protocol::frame::ServerFrame;
use chat_protocol::id::{ConversationId, Position, Revision, Seq, SessionId, UserId};
use chat_protocol::planted::{Bug, is_planted};
use chat_protocol::signal::SignalKey;
use queue::{Queue, SLICES_MAX};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Who is at the other end, known from hello on.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub(crate) user: UserId,
    pub(crate) session: SessionId,
    pub(crate) attempt: u64,
    /// The capabilities in force: no frame kind outside them is sent.
    pub(crate) capabilities: BTreeSet<&'static str>,
}

/// What a server can do beyond the plain protocol, by the names in hello and welcome.
pub(crate) const CAPABILITIES: [&str; 3] = ["typing", "presence", "receipts"];

/// The capability that a signal belongs to.
fn capability(key: &SignalKey) -> Option<&'static str> {
    match key {
        SignalKey::Typing(..) => Some("typing"),
        SignalKey::Presence(_) | SignalKey::Display(_) => Some("presence"),
        SignalKey::Marks(..) => Some("receipts"),
        SignalKey::Unknown(_) => None,
    }
}

/// Why a session has to end.
pub(crate) type Ending = (CloseCode, &'static str);

pub(crate) struct Session {
    /// Tells connections of this node apart, in the order in which they came.
    pub(crate) serial: u64,
    pub(crate) format: Format,
    pub(crate) outlet: Arc<dyn Outlet>,
    who: OnceLock<Who>,
    state: Mutex<State>,
    /// Wakes the session's task: something waits for the socket, or it has to end.
    pub(crate) wake: Notify,
    /// Wakes the session's feed: room in the queue, or something to read from the store.
    pub(crate) feed: Notify,
}

struct State {
    queue: Queue,
    places: BTreeMap<ConversationId, Place>,
    behind: BTreeSet<ConversationId>,
    /// Conversations that resume found behind and that are not yet caught up; `synced` follows when none is left.
    syncing: Option<(Revision, BTreeSet<ConversationId>)>,
    /// The revision up to which memberships were read.
    revision: Revision,
    /// Memberships changed since.
    poked: bool,
    /// Conversations whose membership ended: a newer one may have been read before the end was delivered.
    rechecks: BTreeSet<ConversationId>,
    /// Whether resume has been answered: before it no event flows.
    attached: bool,
    lost: bool,
    ending: Option<Ending>,
    drain: Option<u64>,
    watched_users: Vec<UserId>,
    watched_conversations: Vec<ConversationId>,
    /// When typing was last signalled, and what; of watched and unwatched conversations alike.
    typed: BTreeMap<ConversationId, (Instant, bool)>,
    /// Whether the peer has to show that it is there.
    verify: bool,
    progress: Instant,
}

/// How far a session is in one conversation's log.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The last position handed to the socket or the queue.
    at: Position,
    /// The highest seq that was offered.
    seen: Seq,
    /// Whether offers are taken; otherwise the log is read from `at`.
    live: bool,
}

/// What the feed does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Memberships changed since this revision.
    Memberships(Revision),
    /// The membership in a conversation ended: is there a newer one?
    Recheck(ConversationId),
    /// A conversation is behind.
    CatchUp(ConversationId, Position),
    /// Everything that resume promised was sent.
    Synced(Revision),
    /// Nothing, or no room.
    Nothing,
}

/// How a page of the log was taken.
pub(crate) enum PageEnd {
    /// The viewer's membership ended with this page.
    Ended,
    /// The log went on behind this page, or may have.
    More(Position),
}

impl Session {
    pub(crate) fn new(
        serial: u64,
        format: Format,
        outlet: Arc<dyn Outlet>,
        limits: &Limits,
        memory: Arc<Memory>,
    ) -> Arc<Self> {
        Arc::new(Self {
            serial,
            format,
            outlet,
            who: OnceLock::new(),
            state: Mutex::new(State {
                queue: Queue::new(limits.session_queue_bytes_max, limits.session_queue_frames_max, memory),
                places: BTreeMap::new(),
                behind: BTreeSet::new(),
                syncing: None,
                revision: Revision::ZERO,
                poked: false,
                rechecks: BTreeSet::new(),
                attached: false,
                lost: false,
                ending: None,
                drain: None,
                watched_users: Vec::new(),
                watched_conversations: Vec::new(),
                typed: BTreeMap::new(),
                verify: false,
                progress: Instant::now(),
            }),
            wake: Notify::new(),
            feed: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn identify(&self, who: Who) {
        let set = self.who.set(who);
        debug_assert!(set.is_ok(), "hello is judged once");
    }

    pub(crate) fn who(&self) -> Option<&Who> {
        self.who.get()
    }

    // ---- what leaves -------------------------------------------------------------------------------------------

    /// Sends what must not be dropped.
    pub(crate) fn send(&self, frame: &ServerFrame) {
        self.send_wire(self.format.write(frame));
    }

    /// Sends wire bytes that must not be dropped.
    pub(crate) fn send_wire(&self, bytes: Bytes) {
        let mut state = self.state();
        if state.lost {
            return;
        }
        if state.queue.is_empty() {
            let taken = self.write_now(&mut state, &[IoSlice::new(&bytes)]);
            if taken < bytes.len() {
                state.queue.push_rest(bytes, taken);
                self.wake.notify_one();
            }
        } else {
            state.queue.push_reply(bytes);
        }
    }

    /// Sends a signal, if the client wants its kind; while the socket takes nothing only the latest of its key is kept.
    pub(crate) fn signal(&self, key: SignalKey, delivery: &Delivery) {
        let wanted = |who: &Who| capability(&key).is_some_and(|name| who.capabilities.contains(name));
        if !self.who().is_some_and(wanted) {
            return;
        }
        let bytes = delivery.bytes(&self.format);
        let mut state = self.state();
        if state.lost || !state.attached {
            return;
        }
        if state.queue.is_empty() {
            let taken = self.write_now(&mut state, &[IoSlice::new(&bytes)]);
            if taken < bytes.len() {
                state.queue.push_rest(bytes, taken);
                self.wake.notify_one();
            }
        } else {
            state.queue.push_signal(key, bytes);
        }
    }

    /// Offers a stretch of one conversation's log, without gaps inside, all that one batch made for this session.
    ///
    /// What continues the session's place goes to the socket at once, or to the queue behind what waits; everything
    /// else makes the conversation fall behind, to be read from the log.
    pub(crate) fn offer(&self, conversation: ConversationId, stretch: &[Arc<Delivery>]) {
        self.offer_locked(&mut self.state(), conversation, stretch);
    }

    /// Offers the last stretch that this session gets: its membership ends with it.
    pub(crate) fn offer_last(&self, hub: &Hub, conversation: ConversationId, stretch: &[Arc<Delivery>]) {
        let mut state = self.state();
        self.offer_locked(&mut state, conversation, stretch);
        if is_planted(Bug::RemovalKeepsListening) {
            return;
        }
        // Under the session's lock, so that a new membership that is read meanwhile registers after this.
        if state.places.get(&conversation).is_some_and(|place| place.live) {
            self.end_place(&mut state, hub, conversation);
        }
    }

    fn end_place(&self, state: &mut State, hub: &Hub, conversation: ConversationId) {
        state.forget(conversation);
        hub.unlisten(conversation, self.serial);
        state.rechecks.insert(conversation);
        self.feed.notify_one();
    }

    fn offer_locked(&self, state: &mut State, conversation: ConversationId, stretch: &[Arc<Delivery>]) {
        let (Some(place), Some(first), Some(last)) =
            (state.places.get_mut(&conversation), stretch.first(), stretch.last())
        else {
            return;
        };
        let (first, last) = (first.position().seq, last.position().seq);
        place.seen = place.seen.max(last);
        if !place.live || state.lost {
            return;
        }
        let next = place.at.seq.next();
        if first > next {
            place.live = false;
            state.behind.insert(conversation);
            self.feed.notify_one();
            return;
        }
        let known = usize::try_from(next.0 - first.0).unwrap_or(usize::MAX);
        let Some(news) = stretch.get(known..).filter(|news| !news.is_empty()) else {
            return;
        };
        self.push(state, conversation, news);
    }

    /// Writes or queues events that continue the place.
    fn push(&self, state: &mut State, conversation: ConversationId, news: &[Arc<Delivery>]) {
        let mut from = 0;
        if state.queue.is_empty() {
            let frames: Vec<Bytes> = news.iter().take(SLICES_MAX).map(|d| d.bytes(&self.format)).collect();
            let slices: Vec<IoSlice<'_>> = frames.iter().map(|b| IoSlice::new(b)).collect();
            let mut taken = self.write_now(state, &slices);
            for (bytes, delivery) in frames.into_iter().zip(news) {
                if taken == 0 {
                    break;
                }
                from += 1;
                state.move_to(conversation, delivery.position());
                if taken < bytes.len() {
                    state.queue.push_rest(bytes, taken);
                    self.wake.notify_one();
                    break;
                }
                taken -= bytes.len();
            }
        }
        let was_empty = state.queue.is_empty();
        for delivery in &news[from..] {
            let Some(before) = state.places.get(&conversation).map(|place| place.at) else {
                return;
            };
            if !state
                .queue
                .push_event(conversation, before, delivery.bytes(&self.format))
            {
                self.fall_behind(state, Some(conversation));
                return;
            }
            state.move_to(conversation, delivery.position());
        }
        if was_empty && !state.queue.is_empty() {
            self.wake.notify_one();
        }
    }

    /// The queue is full: its events are dropped, and every conversation concerned is read from the log again.
    fn fall_behind(&self, state: &mut State, also: Option<ConversationId>) {
        metrics::counter!("chat_session_overflows_total").increment(1);
        let dropped = state.queue.drop_events();
        for (conversation, before) in dropped {
            if let Some(place) = state.places.get_mut(&conversation) {
                place.at = before;
            }
            state.lag(conversation);
        }
        if let Some(conversation) = also {
            state.lag(conversation);
        }
        self.feed.notify_one();
        self.wake.notify_one();
    }

    /// Drops the events that wait, because the node needs the memory.
    pub(crate) fn shrink(&self) {
        self.fall_behind(&mut self.state(), None);
    }

    /// Reads this conversation from the log again, from where the session stands: what was offered cannot be trusted.
    pub(crate) fn distrust(&self, conversation: ConversationId) {
        let mut state = self.state();
        if state.places.contains_key(&conversation) {
            state.lag(conversation);
            self.feed.notify_one();
        }
    }

    fn write_now(&self, state: &mut State, slices: &[IoSlice<'_>]) -> usize {
        match self.outlet.try_write(slices) {
            Ok(taken) => {
                state.progress = Instant::now();
                taken
            }
            Err(error) => {
                // From here on something waits: the time without progress begins now.
                state.progress = Instant::now();
                if error.kind() != io::ErrorKind::WouldBlock {
                    state.lost = true;
                    self.wake.notify_one();
                }
                0
            }
        }
    }

    /// Writes what waits, as far as the socket takes it.
    ///
    /// # Errors
    /// The socket's, when it is gone.
    pub(crate) fn flush(&self) -> io::Result<()> {
        let mut state = self.state();
        let state = &mut *state;
        while !state.queue.is_empty() {
            let mut slices = Vec::new();
            state.queue.slices(&mut slices);
            match self.outlet.try_write(&slices) {
                Ok(0) => break,
                Ok(taken) => {
                    drop(slices);
                    state.queue.advance(taken);
                    state.progress = Instant::now();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    state.lost = true;
                    return Err(error);
                }
            }
        }
        if state.queue.has_room() {
            self.feed.notify_one();
        }
        Ok(())
    }

    /// Whether something waits for the socket, and since when it has taken nothing.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        let state = self.state();
        (!state.queue.is_empty()).then_some(state.progress)
    }

    pub(crate) fn replies_waiting(&self) -> usize {
        self.state().queue.kept()
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.state().queue.bytes()
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.state().lost
    }

    /// Resolves when a page would find room.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn room(&self) {
        while !self.state().queue.has_room() {
            self.feed.notified().await;
        }
    }

    // ---- endings -----------------------------------------------------------------------------------------------

    /// Ends the session; the first reason counts.
    pub(crate) fn end(&self, code: CloseCode, reason: &'static str) {
        self.state().ending.get_or_insert((code, reason));
        self.wake.notify_one();
    }

    pub(crate) fn ending(&self) -> Option<Ending> {
        self.state().ending
    }

    /// Asks the session to say when to come back and to end once its commands are answered.
    pub(crate) fn drain(&self, after_ms: u64) {
        self.state().drain.get_or_insert(after_ms);
        self.wake.notify_one();
    }

    pub(crate) fn draining(&self) -> Option<u64> {
        self.state().drain
    }

    // ---- signals and watches -----------------------------------------------------------------------------------

    /// Whether typing may be signalled: a change at once, the same again only after the interval.
    pub(crate) fn may_type(&self, conversation: ConversationId, active: bool, interval: Duration) -> bool {
        let mut state = self.state();
        let now = Instant::now();
        state.typed.retain(|_, (at, _)| now.duration_since(*at) < interval);
        if state
            .typed
            .get(&conversation)
            .is_some_and(|(_, was)| *was == active || active)
        {
            return false;
        }
        state.typed.insert(conversation, (now, active));
        true
    }

    /// Replaces the users whose presence is watched.
    pub(crate) fn watch_users(self: &Arc<Self>, hub: &Hub, users: Vec<UserId>) {
        for user in &users {
            hub.presence().watch(user.clone(), self);
        }
        let before = std::mem::replace(&mut self.state().watched_users, users.clone());
        for user in before.into_iter().filter(|user| !users.contains(user)) {
            hub.presence().unwatch(user, self.serial);
        }
    }

    /// Replaces the conversations whose typing and receipts are watched.
    pub(crate) fn watch_conversations(self: &Arc<Self>, hub: &Hub, conversations: Vec<ConversationId>) {
        for conversation in &conversations {
            hub.watching().watch(*conversation, self);
        }
        let before = std::mem::replace(&mut self.state().watched_conversations, conversations.clone());
        for conversation in before
            .into_iter()
            .filter(|conversation| !conversations.contains(conversation))
        {
            hub.watching().unwatch(conversation, self.serial);
        }
    }

    // ---- life --------------------------------------------------------------------------------------------------

    /// Asks the peer to show that it is there: this node may have been away.
    pub(crate) fn verify(&self) {
        self.state().verify = true;
        self.wake.notify_one();
    }

    pub(crate) fn take_verify(&self) -> bool {
        std::mem::take(&mut self.state().verify)
    }

    // ---- places in the logs ------------------------------------------------------------------------------------

    /// Registers interest in a conversation; what is offered before the place is known only raises `seen`.
    pub(crate) fn listen(self: &Arc<Self>, hub: &Hub, conversation: ConversationId, at: Position) {
        let mut state = self.state();
        state.places.entry(conversation).or_insert(Place {
            at,
            seen: Seq::ZERO,
            live: false,
        });
        hub.listen(conversation, self);
    }

    pub(crate) fn is_listening(&self, conversation: ConversationId) -> bool {
        self.state().places.contains_key(&conversation)
    }

    /// Forgets what was offered: it belonged to a log that went another way.
    pub(crate) fn unsee(&self, conversation: ConversationId) {
        if let Some(place) = self.state().places.get_mut(&conversation) {
            place.seen = Seq::ZERO;
        }
    }

    /// Puts a listening session to a position: live when nothing beyond it is known, else behind.
    pub(crate) fn place(&self, conversation: ConversationId, at: Position, head: Position) {
        let mut state = self.state();
        let Some(place) = state.places.get_mut(&conversation) else {
            return;
        };
        place.at = at;
        if at == head && place.seen <= at.seq {
            place.live = true;
            state.behind.remove(&conversation);
        } else {
            state.lag(conversation);
            self.feed.notify_one();
        }
    }

    /// Ends interest in a conversation.
    pub(crate) fn unlisten(&self, hub: &Hub, conversation: ConversationId) {
        let mut state = self.state();
        state.forget(conversation);
        hub.unlisten(conversation, self.serial);
    }

    /// Ends all interest and answers in what it was.
    pub(crate) fn unlisten_all(&self, hub: &Hub) {
        let mut state = self.state();
        for conversation in std::mem::take(&mut state.places).into_keys() {
            hub.unlisten(conversation, self.serial);
        }
        state.behind.clear();
    }

    pub(crate) fn is_behind(&self, conversation: ConversationId) -> bool {
        self.state().behind.contains(&conversation)
    }

    /// Takes a page of a conversation that is behind, unless the session has moved meanwhile or has no room.
    pub(crate) fn take_page(
        &self,
        hub: &Hub,
        conversation: ConversationId,
        from: Position,
        page: Option<Bytes>,
        end: &PageEnd,
        to: Position,
    ) {
        let mut state = self.state();
        let Some(place) = state.places.get(&conversation).copied() else {
            return;
        };
        if place.live || place.at != from {
            return;
        }
        if let Some(bytes) = page {
            let was_empty = state.queue.is_empty();
            if !state.queue.push_page(conversation, from, bytes) {
                return;
            }
            if was_empty {
                state.progress = Instant::now();
                self.wake.notify_one();
            }
            state.move_to(conversation, to);
        }
        match end {
            PageEnd::Ended => self.end_place(&mut state, hub, conversation),
            PageEnd::More(head) => {
                let caught_up = to.seq >= head.seq && (place.seen <= to.seq || is_planted(Bug::LiveWithoutBackfill));
                if caught_up {
                    if let Some(place) = state.places.get_mut(&conversation) {
                        place.live = true;
                        if is_planted(Bug::LiveWithoutBackfill) {
                            place.at.seq = place.seen.max(place.at.seq);
                        }
                    }
                    state.behind.remove(&conversation);
                    state.synced(conversation);
                }
            }
        }
    }

    /// Resume was answered: events flow, and `synced` follows when these conversations are caught up.
    pub(crate) fn attach(&self, revision: Revision) {
        let mut state = self.state();
        state.attached = true;
        state.revision = revision;
        let behind = state.behind.clone();
        state.syncing = Some((revision, behind));
        self.feed.notify_one();
    }

    /// Memberships were read up to this revision.
    pub(crate) fn memberships_read(&self, revision: Revision) {
        let mut state = self.state();
        state.revision = state.revision.max(revision);
    }

    /// Memberships of the user, or what is their own in one, changed.
    pub(crate) fn poke(&self) {
        self.state().poked = true;
        self.feed.notify_one();
    }

    /// What the feed does next; catching up goes round all conversations that are behind.
    pub(crate) fn next_work(&self, after: Option<ConversationId>) -> Work {
        let mut state = self.state();
        if !state.attached || state.lost || !state.queue.has_room() {
            return Work::Nothing;
        }
        if let Some((revision, _)) = state.syncing.take_if(|(_, behind)| behind.is_empty()) {
            return Work::Synced(revision);
        }
        if std::mem::take(&mut state.poked) {
            return Work::Memberships(state.revision);
        }
        if let Some(conversation) = state.rechecks.pop_first() {
            return Work::Recheck(conversation);
        }
        use std::ops::Bound::{Excluded, Unbounded};
        let beyond = after.and_then(|after| state.behind.range((Excluded(after), Unbounded)).next().copied());
        let Some(conversation) = beyond.or_else(|| state.behind.first().copied()) else {
            return Work::Nothing;
        };
        match state.places.get(&conversation) {
            Some(place) => Work::CatchUp(conversation, place.at),
            None => {
                state.behind.remove(&conversation);
                Work::Nothing
            }
        }
    }
}

impl State {
    fn move_to(&mut self, conversation: ConversationId, to: Position) {
        if let Some(place) = self.places.get_mut(&conversation) {
            place.at = to;
        }
    }

    fn lag(&mut self, conversation: ConversationId) {
        if let Some(place) = self.places.get_mut(&conversation) {
            place.live = false;
            self.behind.insert(conversation);
        }
    }

    fn forget(&mut self, conversation: ConversationId) {
        self.places.remove(&conversation);
        self.behind.remove(&conversation);
        self.synced(conversation);
    }

    fn synced(&mut self, conversation: ConversationId) {
        if let Some((_, behind)) = &mut self.syncing {
            behind.remove(&conversation);
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}
