//! Who listens to what on this node: an index without rules.
//!
//! Lock order: a session's lock may be held while one of these maps is touched, never the other way round; so every
//! method clones what it hands out and holds no map entry while it does.

use crate::bell;
use crate::interest::Interest;
use crate::session::Session;
use chat_protocol::id::{ConversationId, Position, SessionId, UserId};
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A list of sessions that a fan-out walks without holding a lock.
pub(crate) type Receivers = Arc<[Arc<Session>]>;

#[derive(Debug)]
pub(crate) struct Hub {
    /// The topics that the listeners and users here need.
    pub(crate) interest: Interest,
    topics: u16,
    conversations: DashMap<ConversationId, Listeners>,
    users: DashMap<UserId, BTreeMap<u64, Arc<Session>>>,
    sessions: DashMap<SessionId, Arc<Session>>,
    watching: Watchers<ConversationId>,
    presence: Watchers<UserId>,
}

/// The sessions of one conversation, and how far this node has delivered its log.
#[derive(Debug, Default)]
struct Listeners {
    sessions: BTreeMap<u64, Arc<Session>>,
    /// `sessions` as a list, made anew at the first fan-out after a change.
    list: Option<Receivers>,
    delivered: Option<Position>,
}

/// What [`Hub::claim`] found.
#[derive(Debug)]
pub(crate) enum Claim {
    /// The session is this connection's now; an older attempt had it.
    Taken(Option<Arc<Session>>),
    /// A newer attempt has it.
    Stale,
}

impl Hub {
    pub(crate) fn new(topics: u16) -> Self {
        Self {
            interest: Interest::default(),
            topics,
            conversations: DashMap::new(),
            users: DashMap::new(),
            sessions: DashMap::new(),
            watching: Watchers::default(),
            presence: Watchers::default(),
        }
    }

    // ---- conversations -----------------------------------------------------------------------------------------

    pub(crate) fn listen(&self, conversation: ConversationId, session: &Arc<Session>) {
        let mut listeners = self.conversations.entry(conversation).or_insert_with(|| {
            self.interest
                .want(bell::topic_of_conversation(&conversation, self.topics));
            Listeners::default()
        });
        if listeners.sessions.insert(session.serial, session.clone()).is_none() {
            listeners.list = None;
        }
    }

    pub(crate) fn unlisten(&self, conversation: ConversationId, serial: u64) {
        if let Entry::Occupied(mut entry) = self.conversations.entry(conversation) {
            let listeners = entry.get_mut();
            if listeners.sessions.remove(&serial).is_some() {
                listeners.list = None;
            }
            if listeners.sessions.is_empty() {
                entry.remove();
                self.interest
                    .release(bell::topic_of_conversation(&conversation, self.topics));
            }
        }
    }

    pub(crate) fn has_listeners(&self, conversation: ConversationId) -> bool {
        self.conversations.contains_key(&conversation)
    }

    /// The sessions that listen, and how far this node has delivered.
    pub(crate) fn receivers(&self, conversation: ConversationId) -> Option<(Receivers, Option<Position>)> {
        let mut listeners = self.conversations.get_mut(&conversation)?;
        let list = match &listeners.list {
            Some(list) => list.clone(),
            None => {
                let list: Receivers = listeners.sessions.values().cloned().collect();
                listeners.list = Some(list.clone());
                list
            }
        };
        Some((list, listeners.delivered))
    }

    /// A listener has read that this is the head of the log; the first to say so tells where delivery begins. Answers
    /// up to where the log has to be read: another listener's answer may have come sooner and been about a later head.
    pub(crate) fn delivered_at_least(&self, conversation: ConversationId, head: Position) -> Position {
        match self.conversations.get_mut(&conversation) {
            Some(mut listeners) => {
                let delivered = *listeners.delivered.get_or_insert(head);
                if delivered.seq > head.seq { delivered } else { head }
            }
            None => head,
        }
    }

    /// This node has delivered up to here.
    pub(crate) fn delivered(&self, conversation: ConversationId, position: Position) {
        if let Some(mut listeners) = self.conversations.get_mut(&conversation) {
            listeners.delivered = Some(position);
        }
    }

    /// Nobody knows any more how far: the next listener to read says it.
    pub(crate) fn forget_delivered_of(&self, conversation: ConversationId) {
        if let Some(mut listeners) = self.conversations.get_mut(&conversation) {
            listeners.delivered = None;
        }
    }

    /// The logs are others: how far they were delivered means nothing any more.
    pub(crate) fn forget_delivered(&self) {
        for mut listeners in self.conversations.iter_mut() {
            listeners.delivered = None;
        }
    }

    /// The conversations with a listener, in the order of their ids.
    pub(crate) fn conversations(&self) -> Vec<ConversationId> {
        let mut conversations: Vec<_> = self.conversations.iter().map(|listeners| *listeners.key()).collect();
        conversations.sort_unstable();
        conversations
    }

    pub(crate) fn conversation_count(&self) -> usize {
        self.conversations.len()
    }

    // ---- users and sessions ------------------------------------------------------------------------------------

    /// Adds a session of a user; answers how many they have now.
    pub(crate) fn enter(&self, user: &UserId, session: &Arc<Session>) -> usize {
        let mut sessions = self.users.entry(user.clone()).or_insert_with(|| {
            self.interest.want(bell::topic_of_user(user, self.topics));
            BTreeMap::new()
        });
        sessions.insert(session.serial, session.clone());
        sessions.len()
    }

    pub(crate) fn leave(&self, user: &UserId, session: &Session) {
        if let Entry::Occupied(mut entry) = self.users.entry(user.clone()) {
            entry.get_mut().remove(&session.serial);
            if entry.get().is_empty() {
                entry.remove();
                self.interest.release(bell::topic_of_user(user, self.topics));
            }
        }
    }

    pub(crate) fn sessions_of(&self, user: &UserId) -> Vec<Arc<Session>> {
        self.users
            .get(user)
            .map(|sessions| sessions.values().cloned().collect())
            .unwrap_or_default()
    }

    /// Every session that said hello, in the order in which they came.
    pub(crate) fn all_sessions(&self) -> Vec<Arc<Session>> {
        let mut all: Vec<_> = self
            .users
            .iter()
            .flat_map(|sessions| sessions.values().cloned().collect::<Vec<_>>())
            .collect();
        all.sort_by_key(|session| session.serial);
        all
    }

    pub(crate) fn user_count(&self) -> usize {
        self.users.len()
    }

    pub(crate) fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Claims a session for an attempt: the higher attempt wins, whatever arrives first.
    pub(crate) fn claim(&self, id: SessionId, attempt: u64, session: &Arc<Session>) -> Claim {
        match self.sessions.entry(id) {
            Entry::Occupied(mut entry) => {
                if entry.get().who().is_some_and(|who| who.attempt >= attempt) {
                    return Claim::Stale;
                }
                Claim::Taken(Some(entry.insert(session.clone())))
            }
            Entry::Vacant(entry) => {
                entry.insert(session.clone());
                Claim::Taken(None)
            }
        }
    }

    pub(crate) fn session(&self, id: SessionId) -> Option<Arc<Session>> {
        self.sessions.get(&id).map(|session| session.clone())
    }

    pub(crate) fn release(&self, id: SessionId, serial: u64) {
        self.sessions.remove_if(&id, |_, session| session.serial == serial);
    }

    // ---- watches -----------------------------------------------------------------------------------------------

    /// Sessions that watch typing and receipts of a conversation.
    pub(crate) fn watching(&self) -> &Watchers<ConversationId> {
        &self.watching
    }

    /// Sessions that watch a user's presence.
    pub(crate) fn presence(&self) -> &Watchers<UserId> {
        &self.presence
    }
}

/// Sessions by what they watch.
#[derive(Debug)]
pub(crate) struct Watchers<K: Eq + std::hash::Hash>(DashMap<K, BTreeMap<u64, Arc<Session>>>);

impl<K: Eq + std::hash::Hash> Default for Watchers<K> {
    fn default() -> Self {
        Self(DashMap::new())
    }
}

impl<K: Eq + std::hash::Hash> Watchers<K> {
    pub(crate) fn watch(&self, key: K, session: &Arc<Session>) {
        self.0.entry(key).or_default().insert(session.serial, session.clone());
    }

    pub(crate) fn unwatch(&self, key: K, serial: u64) {
        if let Entry::Occupied(mut entry) = self.0.entry(key) {
            entry.get_mut().remove(&serial);
            if entry.get().is_empty() {
                entry.remove();
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_watched(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    pub(crate) fn of(&self, key: &K) -> Vec<Arc<Session>> {
        self.0
            .get(key)
            .map(|sessions| sessions.values().cloned().collect())
            .unwrap_or_default()
    }
}
