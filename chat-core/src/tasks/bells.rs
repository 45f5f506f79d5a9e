//! The loops around the backplane: what is rung, what is heard, which topics are wanted; and what follows a commit.

use super::conversation;
use crate::backplane::{Rung, Topic};
use crate::bell::Bell;
use crate::delivery::Delivery;
use crate::engine::Inner;
use crate::hooks;
use crate::presence;
use bytes::Bytes;
use chat_protocol::code::CloseCode;
use chat_protocol::event::Event;
use chat_protocol::id::{ConversationId, NodeId, Position};
use chat_protocol::signal::{DisplaySignal, Signal, SignalKey};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

/// Bells that are rung in one call.
const AT_ONCE: usize = 256;

/// Where so much waits in one conversation, bells with events do not: they may be long, and many conversations may wait for
/// one store.
const HEARD_MAX: usize = 256;

/// Something to ring.
#[derive(Debug, PartialEq)]
pub(crate) enum Ring {
    /// A bell, as it travels.
    Sealed(Topic, Bytes),
    /// Where a log ends now. Sealed when it is its turn: of several that wait, the last says it all.
    Head(ConversationId, Position),
}

impl Ring {
    /// What it keeps while it waits; a head is small.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Sealed(_, bell) => bell.len(),
            Self::Head(..) => 0,
        }
    }
}

/// Rings what this node has to say, in order: all that came while the last call was under way goes with the next.
pub(crate) async fn publish(inner: Arc<Inner>, mut rings: mpsc::Receiver<Ring>) {
    let mut waiting = Vec::new();
    while rings.recv_many(&mut waiting, AT_ONCE).await > 0 {
        let bytes = waiting.iter().map(Ring::bytes).sum();
        inner.ring_bytes.fetch_sub(bytes, Ordering::Relaxed);
        without_older_heads(&mut waiting);
        let sealed = waiting.drain(..).filter_map(|ring| match ring {
            Ring::Sealed(topic, bell) => Some((topic, bell)),
            Ring::Head(conversation, position) => inner.head_bell(conversation, position),
        });
        let bells: Vec<_> = sealed.collect();
        let count = bells.len();
        match inner.backplane.publish(&bells).await {
            Ok(()) => metrics::counter!("chat_bells_rung_total").increment(count as u64),
            Err(error) => {
                metrics::counter!("chat_bells_failed_total").increment(count as u64);
                tracing::debug!(%error, count, "bells were lost; reconcile heals it");
            }
        }
    }
}

/// Of several heads of one log only the last, in its place.
fn without_older_heads(waiting: &mut Vec<Ring>) {
    let mut seen = BTreeSet::new();
    waiting.reverse();
    waiting.retain(|ring| match ring {
        Ring::Sealed(..) => true,
        Ring::Head(conversation, _) => seen.insert(*conversation),
    });
    waiting.reverse();
}

/// Hears the other nodes.
pub(crate) async fn hear(inner: Arc<Inner>) {
    loop {
        match inner.backplane.recv().await {
            Rung::Bell(bytes) if inner.bell_codec.is_own(&bytes) => {
                if let Some(number) = inner.bell_codec.probe(&bytes) {
                    inner.echo.heard(number);
                }
            }
            Rung::Bell(bytes) => {
                if let Some((node, bell)) = inner.bell_codec.open(&bytes) {
                    heard(&inner, node, bell);
                }
            }
            Rung::Resync => {
                metrics::counter!("chat_backplane_resyncs_total").increment(1);
                inner.presence(presence::Input::Resync);
                inner.reconcile_now.notify_one();
            }
        }
    }
}

/// A conversation that has too much to do to listen is looked at by the next reconcile; one that has much to do reads what
/// bells have brought, rather than keep all of it.
fn heard_of(inner: &Arc<Inner>, conversation: ConversationId, mut input: conversation::Input) {
    if inner.waiting_in(conversation) >= HEARD_MAX {
        input = conversation::Input::Look;
    }
    if !inner.nudge(conversation, input) {
        metrics::counter!("chat_bells_dropped_total").increment(1);
    }
}

fn heard(inner: &Arc<Inner>, node: NodeId, bell: Bell) {
    metrics::counter!("chat_bells_heard_total").increment(1);
    match bell {
        Bell::Events {
            conversation,
            epoch,
            events,
        } if epoch == inner.epoch() => {
            if inner.hub.has_listeners(conversation) {
                heard_of(inner, conversation, conversation::Input::Heard(events));
            }
        }
        Bell::Head {
            conversation, position, ..
        } => {
            let receivers = inner.hub.receivers(conversation);
            if receivers.is_some_and(|(_, delivered)| delivered != Some(position)) {
                heard_of(inner, conversation, conversation::Input::Look);
            }
        }
        Bell::Events { .. } => inner.reconcile_now.notify_one(),
        Bell::Signals(signals) => {
            for signal in signals {
                let conversation = match &signal {
                    Signal::Typing(typing) => typing.conversation,
                    Signal::Marks(marks) => marks.conversation,
                    Signal::Presence(_) | Signal::Display(_) | Signal::Unknown { .. } => continue,
                };
                inner.signal_conversation(conversation, signal);
            }
        }
        Bell::UserChanged { user } => inner.poke_local([user].into()),
        Bell::Display { user, display } => {
            inner.show(DisplaySignal { user, display });
        }
        Bell::Session { session, attempt } => {
            let Some(held) = inner.hub.session(session) else { return };
            let Some(own) = held.who().map(|who| who.attempt) else {
                return;
            };
            if own < attempt {
                held.end(CloseCode::Replaced, "replaced");
            } else if own > attempt {
                inner.ring_session(session, own);
            }
        }
        Bell::Revoked { user, at } => inner.revoke_local(&user, at),
        Bell::Presence(bell) => {
            inner.presence(presence::Input::Bell(node, bell));
        }
        Bell::Probe { .. } | Bell::Unknown => {}
    }
}

/// Tells the backplane which topics this node wants, and looks at the store once it listens: what was rung before
/// was not heard.
pub(crate) async fn keep_interest(inner: Arc<Inner>) {
    inner.hub.interest.want(Topic::Nodes);
    loop {
        let orders = inner.hub.interest.orders(inner.limits.topic_linger);
        let (mut failed, mut look) = (false, false);
        for topic in &orders.listen {
            match inner.backplane.listen(*topic).await {
                Ok(()) => {
                    inner.hub.interest.told(*topic);
                    // What nodes say of themselves they say again.
                    look |= *topic != Topic::Nodes;
                }
                Err(error) => {
                    // The others would wait as long, one after the other.
                    failed = true;
                    tracing::debug!(%error, %topic, "cannot listen; reconcile heals what is missed");
                    break;
                }
            }
        }
        if look {
            inner.reconcile_now.notify_one();
        }
        for topic in orders.unlisten {
            if let Err(error) = inner.backplane.unlisten(topic).await {
                tracing::debug!(%error, %topic, "cannot unlisten; its bells are ignored");
            }
        }
        let pause = if failed {
            Duration::from_secs(1)
        } else {
            inner.limits.topic_linger
        };
        tokio::select! { biased; () = inner.hub.interest.changed.notified(), if !failed => {}, () = sleep(pause) => {} }
    }
}

/// Shows committed events to the host, one after the other.
pub(crate) async fn after_commit(inner: Arc<Inner>, mut committed: mpsc::Receiver<Event>) {
    while let Some(event) = committed.recv().await {
        if hooks::ask(inner.limits.hook_timeout, inner.hooks.after_commit(&event))
            .await
            .is_none()
        {
            metrics::counter!("chat_after_commit_dropped_total").increment(1);
        }
    }
}

/// Tells those who watch users what is new about them, one after the other, and lets others run in between.
pub(crate) async fn tell_news(inner: Arc<Inner>) {
    let mut since = Instant::now();
    let mut told = 0_usize;
    loop {
        let Some((number, news)) = inner.news.next() else {
            inner.news.some.notified().await;
            since = Instant::now();
            continue;
        };
        let (key, delivery) = (news.key(), Delivery::signal(news, &inner.memory));
        let (SignalKey::Presence(user) | SignalKey::Display(user)) = &key else {
            continue;
        };
        for session in inner.hub.presence().of(user) {
            session.tell(number, user, key.clone(), &delivery);
            told += 1;
            if told.is_multiple_of(16) && since.elapsed() >= inner.limits.fan_out_slice {
                tokio::task::yield_now().await;
                since = Instant::now();
            }
        }
    }
}

/// Signals receipts, at most one of a member and conversation an interval.
pub(crate) async fn signal_receipts(inner: Arc<Inner>) {
    loop {
        inner.receipts.some.notified().await;
        for (conversation, marks) in inner.receipts.take() {
            let signals: Vec<Signal> = marks.into_iter().map(Signal::Marks).collect();
            inner.ring_signals(conversation, &signals);
            for signal in signals {
                inner.signal_conversation(conversation, signal);
            }
        }
        sleep(inner.limits.receipt_interval).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_protocol::id::{Seq, Tag};

    #[test]
    fn of_several_heads_of_a_log_only_the_last_is_rung() {
        let head = |log: u8, seq| {
            let tag = Tag(seq);
            Ring::Head(
                ConversationId::from_parts(1, [log; 10]),
                Position { seq: Seq(seq), tag },
            )
        };
        let bell = |word: &'static str| Ring::Sealed(Topic::Nodes, word.into());
        let mut waiting = vec![head(1, 1), bell("a"), head(2, 7), head(1, 2), bell("b"), head(1, 3)];
        without_older_heads(&mut waiting);
        assert_eq!(waiting, [bell("a"), head(2, 7), bell("b"), head(1, 3)]);
    }
}
