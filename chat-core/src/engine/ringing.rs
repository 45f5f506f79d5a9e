//! What this node has to tell the others: each word put into a bell, and the bell into the queue. A node that is alone
//! says nothing.

use super::Inner;
use crate::backplane::Topic;
use crate::bell::{self, Bell};
use crate::tasks::bells::Ring;
use bytes::Bytes;
use chat_protocol::event::Event;
use chat_protocol::id::{ConversationId, NUMBER_MAX, Position, Seq, SessionId, Tag, Timestamp, UserId};
use chat_protocol::signal::Signal;
use std::sync::atomic::Ordering;

impl Inner {
    /// The events of one batch; where the backplane is not meant to carry them, only where they end.
    pub(crate) fn ring_events(&self, conversation: ConversationId, events: &[Event]) {
        if !self.backplane.has_others() {
            return;
        }
        if !self.backplane.carries_events() {
            if let Some(last) = events.last() {
                self.ring(Ring::Head(conversation, last.position()));
            }
            return;
        }
        let sealed = self.bell_codec.seal_events(conversation, self.epoch(), events);
        if let Some(sealed) = sealed {
            let topic = bell::topic_of_conversation(&conversation, self.limits.topics);
            self.ring(Ring::Sealed(topic, sealed));
        }
    }

    /// Says only "look": the position is beyond what any node has delivered.
    pub(crate) fn ring_look(&self, conversation: ConversationId) {
        let beyond = Position {
            seq: Seq(NUMBER_MAX),
            tag: Tag::ZERO,
        };
        if self.backplane.has_others() {
            self.ring(Ring::Head(conversation, beyond));
        }
    }

    /// Where a log ends, as a bell.
    pub(crate) fn head_bell(&self, conversation: ConversationId, position: Position) -> Option<(Topic, Bytes)> {
        let epoch = self.epoch();
        let bell = Bell::Head {
            conversation,
            epoch,
            position,
        };
        let topic = bell::topic_of_conversation(&conversation, self.limits.topics);
        Some((topic, self.bell_codec.seal(&bell)?))
    }

    pub(crate) fn ring_user(&self, user: &UserId) {
        let topic = bell::topic_of_user(user, self.limits.topics);
        self.ring_bell(topic, &Bell::UserChanged { user: user.clone() });
    }

    pub(crate) fn ring_signals(&self, conversation: ConversationId, signals: &[Signal]) {
        let topic = bell::topic_of_conversation(&conversation, self.limits.topics);
        if !self.backplane.has_others() {
            return;
        }
        for sealed in self.bell_codec.seal_signals(signals) {
            self.ring(Ring::Sealed(topic, sealed));
        }
    }

    pub(crate) fn ring_session(&self, session: SessionId, attempt: u64) {
        self.ring_bell(Topic::Nodes, &Bell::Session { session, attempt });
    }

    pub(super) fn ring_revoked(&self, user: &UserId, at: Timestamp) {
        let topic = bell::topic_of_user(user, self.limits.topics);
        let user = user.clone();
        self.ring_bell(topic, &Bell::Revoked { user, at });
    }

    /// Rings on the nodes' topic to hear itself.
    pub(crate) fn ring_probe(&self) {
        let number = self.echo.ring();
        self.ring_bell(Topic::Nodes, &Bell::Probe { number });
    }

    pub(super) fn ring_bell(&self, topic: Topic, bell: &Bell) {
        if !self.backplane.has_others() {
            return;
        }
        match self.bell_codec.seal(bell) {
            Some(sealed) => self.ring(Ring::Sealed(topic, sealed)),
            None => metrics::counter!("chat_bells_dropped_total").increment(1),
        }
    }

    /// Rings without waiting; what finds no room is dropped and counted, and reconcile heals it.
    fn ring(&self, ring: Ring) {
        let bytes = ring.bytes();
        let waiting = self.ring_bytes.fetch_add(bytes, Ordering::Relaxed);
        if waiting + bytes > self.limits.bell_queue_bytes_max || self.rings.try_send(ring).is_err() {
            self.ring_bytes.fetch_sub(bytes, Ordering::Relaxed);
            metrics::counter!("chat_bells_dropped_total").increment(1);
        }
    }
}
