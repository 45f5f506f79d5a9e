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
use chat_protocol::id::{ConversationId, NodeId};
use chat_protocol::signal::{DisplaySignal, Signal, SignalKey};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

/// Bells that are rung in one call.
const AT_ONCE: usize = 256;

/// Rings what this node has to say, in order: all that came while the last call was under way goes with the next.
pub(crate) async fn publish(inner: Arc<Inner>, mut bells: mpsc::Receiver<(Topic, Bytes)>) {
    let mut waiting = Vec::new();
    while bells.recv_many(&mut waiting, AT_ONCE).await > 0 {
        if let Err(error) = inner.backplane.publish(&waiting).await {
            let count = waiting.len();
            metrics::counter!("chat_bells_failed_total").increment(count as u64);
            tracing::debug!(%error, count, "bells were lost; reconcile heals it");
        }
        waiting.clear();
    }
}

/// Hears the other nodes.
pub(crate) async fn hear(inner: Arc<Inner>) {
    loop {
        match inner.backplane.recv().await {
            Rung::Bell(bytes) => {
                if let Some((node, bell)) = inner.bell_codec.open(&bytes) {
                    heard(&inner, node, bell);
                }
            }
            Rung::Resync => {
                inner.presence(presence::Input::Resync);
                inner.reconcile_now.notify_one();
            }
        }
    }
}

/// A conversation that has too much to do to listen is looked at by the next reconcile.
fn heard_of(inner: &Arc<Inner>, conversation: ConversationId, input: conversation::Input) {
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
        Bell::Head { conversation, .. } => {
            if inner.hub.has_listeners(conversation) {
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
        Bell::Revoked { user, ago_ms } => inner.revoke_local(&user, Duration::from_millis(ago_ms)),
        Bell::Presence(bell) => {
            inner.presence(presence::Input::Bell(node, bell));
        }
        Bell::Unknown => {}
    }
}

/// Tells the backplane which topics this node wants, and looks at the store once it listens: what was rung before
/// was not heard.
pub(crate) async fn keep_interest(inner: Arc<Inner>) {
    inner.hub.interest.want(Topic::Nodes);
    loop {
        let orders = inner.hub.interest.orders(inner.limits.topic_linger);
        let mut failed = false;
        for topic in &orders.listen {
            match inner.backplane.listen(*topic).await {
                Ok(()) => inner.hub.interest.told(*topic),
                Err(error) => {
                    failed = true;
                    tracing::debug!(%error, %topic, "cannot listen; reconcile heals what is missed");
                }
            }
        }
        if !orders.listen.is_empty() {
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
