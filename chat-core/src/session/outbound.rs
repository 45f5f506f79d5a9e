//! What leaves a session: replies, events, signals, directly while the socket takes them, else in their line.

use super::queue::{Kind, Room, SLICES_MAX};
use super::{Place, Session, State, Who, capability};
use crate::conversation::Visible;
use crate::delivery::Delivery;
use crate::hub::Hub;
use bytes::Bytes;
use chat_protocol::frame::{InboxPush, ServerFrame};
use chat_protocol::id::{ConversationId, Position, UserId};
use chat_protocol::planted::{Bug, is_planted};
use chat_protocol::signal::SignalKey;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// After so long a session that waits for the node's memory looks again.
const MEMORY_RETRY: Duration = Duration::from_millis(500);

impl Session {
    /// Sends what must not be dropped and answers nothing.
    pub(crate) fn send(&self, frame: &ServerFrame) {
        self.send_locked(&mut self.state(), self.format.write(frame), Kind::Kept);
    }

    /// Sends an answer to what the client sent: it must not be dropped, and while many wait nothing more is read.
    pub(crate) fn reply(&self, frame: &ServerFrame) {
        self.reply_wire(self.format.write(frame));
    }

    /// As [`reply`](Self::reply), for wire bytes.
    pub(crate) fn reply_wire(&self, bytes: Bytes) {
        self.send_locked(&mut self.state(), bytes, Kind::Reply);
    }

    /// Sends a page of entries without those of conversations that ended since they were read: an entry behind the end
    /// would begin the conversation anew. Answers the heads at which the others stand.
    pub(crate) fn send_entries(&self, mut push: InboxPush) -> Vec<(ConversationId, Position)> {
        let mut state = self.state();
        push.entries
            .retain(|entry| match state.places.get_mut(&entry.conversation.id) {
                Some(place) => {
                    place.joined = entry.joined;
                    place.visible_from = Visible::of_entry(entry).from;
                    true
                }
                None => false,
            });
        let heads = push.entries.iter().map(|entry| (entry.conversation.id, entry.head));
        let heads = heads.collect();
        self.send_locked(&mut state, self.format.write(&ServerFrame::Inbox(push)), Kind::Kept);
        heads
    }

    fn send_locked(&self, state: &mut State, bytes: Bytes, kind: Kind) {
        if state.lost {
            return;
        }
        if !state.queue.is_empty() {
            return state.queue.push_kept(bytes, kind);
        }
        let taken = self.write_now(state, &[IoSlice::new(&bytes)]);
        if taken < bytes.len() {
            let bytes = state.queue.counted(bytes);
            state.queue.push_rest(bytes, taken, kind);
            self.begin_to_wait(state);
        }
    }

    /// Sends a signal, if the client wants its kind; while the socket takes nothing only the latest of its key is kept.
    pub(crate) fn signal(&self, key: SignalKey, delivery: &Delivery) {
        if !self.wants(&key) {
            return;
        }
        let bytes = delivery.bytes(&self.format);
        let mut state = self.state();
        if state.attached {
            self.signal_locked(&mut state, key, bytes);
        }
    }

    /// Tells news of a user, if they are watched and nothing newer was told of their presence.
    pub(crate) fn tell(&self, number: u64, user: &UserId, key: SignalKey, delivery: &Delivery) {
        if !self.wants(&key) {
            return;
        }
        let bytes = delivery.bytes(&self.format);
        let mut state = self.state();
        let Some(told) = state.watched_users.get_mut(user) else {
            return;
        };
        if let SignalKey::Presence(_) = key {
            if *told > number {
                return;
            }
            *told = number;
        }
        self.signal_locked(&mut state, key, bytes);
    }

    fn wants(&self, key: &SignalKey) -> bool {
        let wanted = |who: &Who| capability(key).is_some_and(|name| who.capabilities.contains(name));
        self.who().is_some_and(wanted)
    }

    fn signal_locked(&self, state: &mut State, key: SignalKey, bytes: Bytes) {
        if state.lost {
            return;
        }
        let is_first = state.queue.is_empty();
        let taken = match is_first {
            true => self.write_now(state, &[IoSlice::new(&bytes)]),
            false => 0,
        };
        if taken == bytes.len() {
            return;
        }
        if taken > 0 {
            state.queue.push_rest(bytes, taken, Kind::Kept);
        } else {
            let dropped = state.queue.push_signal(key, bytes);
            metrics::counter!("chat_signals_dropped_total").increment(dropped as u64);
        }
        if is_first && !state.queue.is_empty() {
            self.begin_to_wait(state);
        }
    }

    /// Offers a stretch of one conversation's log, without gaps inside, all that one batch made for this session.
    ///
    /// What continues the session's place goes to the socket at once, or to the queue behind what waits; everything
    /// else makes the conversation fall behind, to be read from the log.
    pub(crate) fn offer(&self, conversation: ConversationId, stretch: &[Arc<Delivery>]) {
        self.offer_locked(&mut self.state(), conversation, stretch);
    }

    /// Offers a stretch that this session has to read from the log itself.
    pub(crate) fn offer_by_log(&self, conversation: ConversationId, stretch: &[Arc<Delivery>]) {
        let mut state = self.state();
        let (Some(place), Some(last)) = (state.places.get_mut(&conversation), stretch.last()) else {
            return;
        };
        place.seen = place.seen.max(last.position().seq);
        if place.live && place.at.seq < place.seen {
            state.lag(conversation);
            self.feed.notify_one();
        }
    }

    /// Offers a stretch in which memberships of this session's user end, each after so many of its events: the session
    /// gets what is up to the first end that is news to it. Ends before its place were of earlier memberships.
    pub(crate) fn offer_with_ends(
        &self,
        hub: &Hub,
        conversation: ConversationId,
        stretch: &[Arc<Delivery>],
        ends: &[usize],
    ) {
        let mut state = self.state();
        let Some(&Place { at, live, .. }) = state.places.get(&conversation) else {
            return;
        };
        let is_news = |count: &&usize| stretch[**count - 1].position().seq > at.seq;
        let Some(&count) = ends.iter().find(is_news).filter(|_| live) else {
            // Whoever is behind reads their end from the log, or what follows it in a newer membership.
            return self.offer_locked(&mut state, conversation, stretch);
        };
        self.offer_locked(&mut state, conversation, &stretch[..count]);
        if is_planted(Bug::RemovalKeepsListening) {
            return;
        }
        // Under the session's lock, so that a new membership that is read meanwhile registers after this.
        if state.places.get(&conversation).is_some_and(|place| place.live) {
            self.end_place(&mut state, hub, conversation);
        }
    }

    /// The membership ends where the place is.
    pub(super) fn end_place(&self, state: &mut State, hub: &Hub, conversation: ConversationId) {
        let goes_on = |place: &Place| place.joined > place.at.seq;
        if state.places.get(&conversation).is_some_and(goes_on) {
            // The client was told of a newer one before it got this end: it follows in the log.
            state.lag(conversation);
        } else {
            state.forget(conversation);
            hub.unlisten(conversation, self.serial);
            state.rechecks.insert(conversation);
        }
        state.doubt_watches();
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
        // A session that ends takes no more: what comes may be of another incarnation of the log.
        if !place.live || state.lost || state.ending.is_some() {
            return;
        }
        let next = place.at.seq.next();
        if first > next {
            state.lag(conversation);
            self.feed.notify_one();
            return;
        }
        let known = usize::try_from(next.0 - first.0).unwrap_or(usize::MAX);
        let Some(news) = stretch.get(known..).filter(|news| !news.is_empty()) else {
            return;
        };
        let from = place.visible_from;
        if news
            .iter()
            .any(|delivery| delivery.about().is_some_and(|seq| seq < from))
        {
            // It is a skip for this user, which the log says.
            state.lag(conversation);
            return self.feed.notify_one();
        }
        self.push(state, conversation, news);
    }

    /// Writes or queues events that continue the place.
    fn push(&self, state: &mut State, conversation: ConversationId, news: &[Arc<Delivery>]) {
        let mut from = 0;
        if state.queue.is_empty() {
            from = match news {
                // The usual case, once for each receiver: nothing is gathered for it.
                [only] => {
                    let bytes = only.bytes(&self.format);
                    let taken = self.write_now(state, &[IoSlice::new(&bytes)]);
                    usize::from(self.took(state, conversation, only, bytes, taken))
                }
                several => self.write_several(state, conversation, several),
            };
        }
        for delivery in &news[from..] {
            let Some(before) = state.places.get(&conversation).map(|place| place.at) else {
                return;
            };
            let is_first = state.queue.is_empty();
            if !state
                .queue
                .push_event(conversation, before, delivery.bytes(&self.format))
            {
                self.fall_behind(state, Some(conversation));
                return;
            }
            if is_first {
                self.begin_to_wait(state);
            }
            state.move_to(conversation, delivery.position());
        }
    }

    /// Writes as many events as the socket takes at once; answers how many that were, one taken in part included.
    fn write_several(&self, state: &mut State, conversation: ConversationId, news: &[Arc<Delivery>]) -> usize {
        let mut count = 0;
        let frames: Vec<Bytes> = news.iter().take(SLICES_MAX).map(|d| d.bytes(&self.format)).collect();
        let slices: Vec<IoSlice<'_>> = frames.iter().map(|b| IoSlice::new(b)).collect();
        let mut taken = self.write_now(state, &slices);
        for (bytes, delivery) in frames.into_iter().zip(news) {
            let length = bytes.len();
            if !self.took(state, conversation, delivery, bytes, taken) {
                break;
            }
            count += 1;
            taken = taken.saturating_sub(length);
        }
        count
    }

    /// The socket took so many bytes from the beginning of this event on, perhaps into what follows; `false` when none.
    fn took(
        &self,
        state: &mut State,
        conversation: ConversationId,
        delivery: &Delivery,
        bytes: Bytes,
        taken: usize,
    ) -> bool {
        if taken == 0 {
            return false;
        }
        state.move_to(conversation, delivery.position());
        if taken < bytes.len() {
            state.queue.push_rest(bytes, taken, Kind::Kept);
            self.begin_to_wait(state);
        }
        true
    }

    /// The queue is full: its events are dropped, and every conversation concerned is read from the log again.
    fn fall_behind(&self, state: &mut State, also: Option<ConversationId>) {
        metrics::counter!("chat_session_overflows_total").increment(1);
        let dropped = state.queue.drop_events();
        for (conversation, before) in dropped {
            let is_behind = state.behind.contains(&conversation);
            let place = state.places.entry(conversation);
            let place = place.or_insert_with(|| Place::waiting(before));
            // Neither live nor behind: what is dropped is of a membership that ended, and so is its end.
            place.owes_end |= !place.live && !is_behind;
            place.member &= !place.owes_end;
            place.at = before;
            state.lag(conversation);
        }
        if let Some(conversation) = also {
            state.lag(conversation);
        }
        self.feed.notify_one();
        self.wake.notify_one();
    }

    /// Drops the events and signals that wait, because the node needs the memory.
    pub(crate) fn shrink(&self) {
        let mut state = self.state();
        let dropped = state.queue.drop_signals();
        metrics::counter!("chat_signals_dropped_total").increment(dropped as u64);
        self.fall_behind(&mut state, None);
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
            Ok(taken) => taken,
            Err(error) => {
                if error.kind() != io::ErrorKind::WouldBlock {
                    state.lost = true;
                    self.wake.notify_one();
                }
                0
            }
        }
    }

    /// Something waits for the socket from here on: the time without progress begins now. While nothing waits nobody
    /// asks for it, and a direct write that is taken whole needs no look at the clock.
    fn begin_to_wait(&self, state: &mut State) {
        state.progress = Instant::now();
        self.wake.notify_one();
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
        // Also when the node has no memory: the feed, which may wait for this socket, waits for memory from here on.
        if state.queue.room() != Room::Full {
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
        self.state().queue.replies()
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
        while !self.look_for_room() {
            self.roused().await;
        }
    }

    fn look_for_room(&self) -> bool {
        self.state().look_for_room()
    }

    /// Resolves when the feed should look again: it is told so, or others may have given memory back since it looked.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn roused(&self) {
        if self.state().saw_no_memory {
            let _ = timeout(MEMORY_RETRY, self.feed.notified()).await;
        } else {
            self.feed.notified().await;
        }
    }
}
