//! One client's attachment to this node, as the hub and its own task share it.
//!
//! One lock guards the queue, the places in the logs and the direct write, so that the order between what is written
//! directly and what waits is the order of the calls. Every section is short: encode nothing twice, await nothing.

mod outbound;
mod places;
mod queue;
#[cfg(test)]
mod tests;
mod waiting;

pub(crate) use places::{PageEnd, Work};

use crate::delivery::{Format, Memory};
use crate::hub::Hub;
use crate::limits::Limits;
use crate::transport::Outlet;
use chat_protocol::code::CloseCode;
use chat_protocol::id::{ConversationId, Position, Revision, Seq, SessionId, UserId};
use chat_protocol::signal::SignalKey;
use queue::{Queue, Room};
use std::collections::{BTreeMap, BTreeSet};
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
    /// When it began.
    pub(crate) since: Instant,
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
    /// Who is watched, and the number of the latest news of their presence that were told.
    watched_users: BTreeMap<UserId, u64>,
    /// Counts the times that the client said whom it watches.
    watches: u64,
    /// Whether somebody who is watched may share no conversation with this user any more.
    watches_doubted: bool,
    watched_conversations: Vec<ConversationId>,
    /// When typing was last signalled to begin or go on, and whether it lasts.
    typed: BTreeMap<ConversationId, (Instant, bool)>,
    /// Whether the peer has to show that it is there.
    verify: bool,
    progress: Instant,
    /// Whether the feed found no memory when it looked for room: nobody tells it when there is.
    saw_no_memory: bool,
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
    /// Events of a membership that has ended were dropped: the log is read from `at`, whatever entry is sent.
    owes_end: bool,
    /// Where the membership began of which the client was told last.
    joined: Seq,
    /// The first seq that the user may see: what shows an older message is a skip, which the log says.
    visible_from: Seq,
    /// Whether the store said that the user is a member; before that it is only what a client claims.
    member: bool,
}

impl Place {
    /// A place from which nothing was handed on yet.
    fn waiting(at: Position) -> Self {
        Self {
            at,
            seen: Seq::ZERO,
            live: false,
            owes_end: false,
            joined: Seq::ZERO,
            // Until the store says so: nothing that is older than itself.
            visible_from: Seq(u64::MAX),
            member: false,
        }
    }
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
                queue: Queue::new(limits, memory),
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
                watched_users: BTreeMap::new(),
                watches: 0,
                watches_doubted: false,
                watched_conversations: Vec::new(),
                typed: BTreeMap::new(),
                verify: false,
                progress: Instant::now(),
                saw_no_memory: false,
            }),
            since: Instant::now(),
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

    /// Whether typing may be signalled: that it begins or goes on once an interval, that it ends at once.
    pub(crate) fn may_type(&self, conversation: ConversationId, active: bool, interval: Duration) -> bool {
        let mut state = self.state();
        let now = Instant::now();
        state.typed.retain(|_, (at, _)| now.duration_since(*at) < interval);
        match state.typed.get_mut(&conversation) {
            Some((_, lasts)) if active || !*lasts => false,
            Some((_, lasts)) => {
                *lasts = false;
                true
            }
            None => {
                state.typed.insert(conversation, (now, active));
                true
            }
        }
    }

    /// Replaces the users whose presence is watched.
    pub(crate) fn watch_users(self: &Arc<Self>, hub: &Hub, users: Vec<UserId>) {
        for user in &users {
            hub.presence().watch(user.clone(), self);
        }
        let before = {
            let mut state = self.state();
            state.watches += 1;
            let mut before = std::mem::take(&mut state.watched_users);
            for user in users {
                let told = before.remove(&user).unwrap_or_default();
                state.watched_users.insert(user, told);
            }
            before
        };
        for user in before.into_keys() {
            hub.presence().unwatch(user, self.serial);
        }
    }

    /// Somebody left a conversation: those who are watched may be strangers now.
    pub(crate) fn doubt_watches(&self) {
        self.state().doubt_watches();
        self.feed.notify_one();
    }

    /// Watches no more than these of the users who were watched at that count, unless the client said anew whom.
    pub(crate) fn keep_watching(&self, hub: &Hub, watches: u64, users: &[UserId]) {
        let mut state = self.state();
        if state.watches != watches {
            return;
        }
        let own = self.who().map(|who| &who.user);
        let (kept, gone): (_, BTreeMap<_, _>) = std::mem::take(&mut state.watched_users)
            .into_iter()
            .partition(|(user, _)| Some(user) == own || users.contains(user));
        state.watched_users = kept;
        for user in gone.into_keys() {
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
}

impl State {
    /// Whether a page would find room; why not is kept, so that the feed waits for the right thing.
    fn look_for_room(&mut self) -> bool {
        let room = self.queue.room();
        self.saw_no_memory = room == Room::NoMemory;
        room == Room::Free
    }

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

    fn doubt_watches(&mut self) {
        self.watches_doubted = !self.watched_users.is_empty();
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
