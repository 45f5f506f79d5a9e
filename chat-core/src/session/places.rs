//! How far a session is in each log, and what its feed has to read: live, or behind.

use super::{Place, Session};
use crate::hub::Hub;
use bytes::Bytes;
use chat_protocol::id::{ConversationId, Position, Revision, Seq, UserId};
use chat_protocol::planted::{Bug, is_planted};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use tokio::time::Instant;

/// What the feed does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Memberships changed since this revision.
    Memberships(Revision),
    /// The membership in a conversation ended: is there a newer one?
    Recheck(ConversationId),
    /// Do these users, watched at that count, still share a conversation with this one?
    Watches(u64, Vec<UserId>),
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
    /// Registers interest in a conversation; what is offered before the place is known only raises `seen`.
    pub(crate) fn listen(self: &Arc<Self>, hub: &Hub, conversation: ConversationId, at: Position) {
        let mut state = self.state();
        let place = state.places.entry(conversation);
        place.or_insert_with(|| Place::waiting(at));
        hub.listen(conversation, self);
    }

    pub(crate) fn is_listening(&self, conversation: ConversationId) -> bool {
        self.state().places.contains_key(&conversation)
    }

    /// Whether the user is known to be a member: interest alone says nothing.
    pub(crate) fn is_member(&self, conversation: ConversationId) -> bool {
        let state = self.state();
        state.places.get(&conversation).is_some_and(|place| place.member)
    }

    /// From here on the user may see the log.
    pub(crate) fn visible_from(&self, conversation: ConversationId, from: Seq) {
        if let Some(place) = self.state().places.get_mut(&conversation) {
            place.visible_from = from;
        }
    }

    /// The membership that counts began here: if the place is before it, the end of an earlier one is still to come,
    /// and the log has it.
    pub(crate) fn rejoined(&self, conversation: ConversationId, joined: Seq) {
        let mut state = self.state();
        if state
            .places
            .get(&conversation)
            .is_some_and(|place| place.at.seq < joined)
        {
            state.lag(conversation);
            self.feed.notify_one();
        }
    }

    /// Forgets what was offered: it belonged to a log that went another way.
    pub(crate) fn unsee(&self, conversation: ConversationId) {
        if let Some(place) = self.state().places.get_mut(&conversation) {
            place.seen = Seq::ZERO;
        }
    }

    /// Begins at the head of an entry that was sent, unless the client has yet to get the end of an earlier membership.
    pub(crate) fn begin(&self, conversation: ConversationId, head: Position) {
        let owes_end = |place: &Place| place.owes_end;
        if !self.state().places.get(&conversation).is_some_and(owes_end) {
            self.place(conversation, head, head);
        }
    }

    /// Puts a listening session to a position: live when nothing beyond it is known, else behind.
    pub(crate) fn place(&self, conversation: ConversationId, at: Position, head: Position) {
        let mut state = self.state();
        let Some(place) = state.places.get_mut(&conversation) else {
            return;
        };
        place.at = at;
        place.owes_end = false;
        place.member = true;
        if at == head && place.seen <= at.seq {
            place.live = true;
            state.behind.remove(&conversation);
            state.synced(conversation);
        } else {
            state.lag(conversation);
            self.feed.notify_one();
        }
    }

    /// Ends interest in a conversation of which the user is no member, unless the client has yet to get the end of an
    /// earlier membership.
    pub(crate) fn lose_interest(&self, hub: &Hub, conversation: ConversationId) {
        let mut state = self.state();
        if !state.places.get(&conversation).is_some_and(|place| place.owes_end) {
            state.forget(conversation);
            hub.unlisten(conversation, self.serial);
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
        if !state.attached || state.lost || !state.look_for_room() {
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
        if std::mem::take(&mut state.watches_doubted) {
            return Work::Watches(state.watches, state.watched_users.keys().cloned().collect());
        }
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
