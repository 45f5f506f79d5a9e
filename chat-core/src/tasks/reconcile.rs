//! What heals every lost bell: every few seconds the store is asked what changed, and the lease is renewed.

use crate::backplane::Topic;
use crate::engine::Inner;
use crate::presence;
use crate::store::{Horizon, StoreError};
use crate::tasks::conversation::Input;
use chat_protocol::id::ConversationId;
use chat_protocol::planted::{Bug, is_planted};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Changes asked for at once.
pub(crate) const CHANGES_MAX: usize = 1_000;

/// A reconcile that is asked for early waits so long for others who ask.
const EARLY: Duration = Duration::from_millis(100);

/// Asks the store what changed since the last answer, and has this node's listeners look.
pub(crate) async fn run(inner: Arc<Inner>, mut horizon: Horizon) {
    // Conversations whose task had too much to do to be asked.
    let mut unasked = BTreeSet::new();
    let (mut epoch, mut degraded) = (inner.epoch(), None);
    loop {
        tokio::select! {
            biased;
            () = sleep(inner.limits.reconcile_interval) => {}
            () = async { inner.reconcile_now.notified().await; sleep(EARLY).await } => {}
        }
        inner.rates.sweep();
        inner.admission.sweep();
        measure(&inner);
        shrink(&inner);
        watch_backplane(&inner, &mut degraded);
        inner.ring_revoked_again();
        if is_planted(Bug::NoReconcile) {
            continue;
        }
        loop {
            if epoch != inner.epoch() {
                // The horizon is of a log that is gone.
                let now = inner.epoch();
                match timeout(inner.limits.store_timeout, begin_anew(&inner, &mut unasked)).await {
                    Ok(Ok(begun)) => (epoch, horizon) = (now, begun),
                    Ok(Err(_)) | Err(_) => break,
                }
            }
            let asked = inner.store.heads_changed_since(Some(&horizon), CHANGES_MAX);
            let changes = match timeout(inner.limits.store_timeout, asked).await {
                Ok(Ok(changes)) => changes,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "reconcile: the store did not answer");
                    if matches!(error, StoreError::Corrupt(_))
                        && let Ok(Ok(identity)) = timeout(inner.limits.store_timeout, inner.store.identity()).await
                    {
                        // It may be that it does not know the horizon of another incarnation.
                        inner.saw_epoch(identity.epoch).await;
                    }
                    break;
                }
                Err(_) => {
                    tracing::warn!("reconcile: the store did not answer in time");
                    break;
                }
            };
            if !inner.saw_epoch(changes.epoch).await || changes.epoch != epoch {
                break;
            }
            let changes = changes.value;
            for head in &changes.heads {
                // Also when a first listener is about to say where delivery begins: it may have read an older head.
                let receivers = inner.hub.receivers(head.conversation);
                if receivers.is_some_and(|(_, delivered)| delivered != Some(head.position))
                    && unasked.insert(head.conversation)
                {
                    metrics::counter!("chat_reconcile_found_total").increment(1);
                }
            }
            inner.poke_local(changes.users.into_iter().collect());
            horizon = changes.horizon;
            if !changes.more {
                break;
            }
        }
        unasked.retain(|conversation| !inner.nudge(*conversation, Input::Look));
    }
}

/// A horizon of the log that is now, and which conversations have gone on beyond what this node delivered of them.
async fn begin_anew(inner: &Inner, unasked: &mut BTreeSet<ConversationId>) -> Result<Horizon, StoreError> {
    let changes = inner.read(inner.store.heads_changed_since(None, 1)).await?;
    let heads = inner.read(inner.store.heads(&inner.hub.conversations())).await?;
    for head in heads {
        let receivers = inner.hub.receivers(head.conversation);
        if receivers.is_some_and(|(_, delivered)| delivered != Some(head.position)) {
            unasked.insert(head.conversation);
        }
    }
    for session in inner.hub.all_sessions() {
        session.poke();
    }
    Ok(changes.horizon)
}

/// How this node is, for whoever scrapes it.
pub(crate) fn measure(inner: &Inner) {
    let gauge = |holds: bool| if holds { 1.0 } else { 0.0 };
    metrics::gauge!("chat_ready").set(gauge(inner.ready().is_ok()));
    metrics::gauge!("chat_backplane_alive").set(gauge(inner.backplane.is_alive()));
    metrics::gauge!("chat_degraded").set(gauge(inner.degraded().is_some()));
    metrics::gauge!("chat_nodes").set(inner.nodes() as f64);
    metrics::gauge!("chat_queued_bytes").set(inner.memory.used() as f64);
}

/// Says when the backplane goes or falls deaf and when it is back, and listens again; a node serves without it.
fn watch_backplane(inner: &Inner, was: &mut Option<&'static str>) {
    let is_alive = inner.backplane.is_alive();
    let degraded = inner.degraded();
    match (std::mem::replace(was, degraded), degraded) {
        (was, Some(why)) if was != degraded => tracing::warn!("{why}"),
        (Some(_), None) => {
            tracing::info!("the backplane is back");
            // A broker that forgot one topic forgot more.
            inner.hub.interest.tell_again(|_| true);
        }
        _ => {}
    }
    if degraded.is_some() && is_alive {
        inner.hub.interest.tell_again(|topic| topic == Topic::Nodes);
    }
    if inner.backplane.has_others() {
        inner.ring_probe();
    }
}

/// Makes room when the node's memory runs short: the largest queues give up their events.
fn shrink(inner: &Inner) {
    if !inner.memory.is_full() {
        return;
    }
    let mut by_size: Vec<_> = inner
        .hub
        .all_sessions()
        .into_iter()
        .map(|session| (session.queued_bytes(), session))
        .collect();
    by_size.sort_by_key(|(bytes, session)| (std::cmp::Reverse(*bytes), session.serial));
    for (_, session) in by_size {
        if !inner.memory.is_full() {
            return;
        }
        session.shrink();
    }
}

/// Keeps presence moving and this node's lease alive.
pub(crate) async fn keep_presence(inner: Arc<Inner>) {
    inner.presence(presence::Input::Tick);
    loop {
        if inner.take_lease_due() {
            let asked = inner.store.renew_lease(inner.node, inner.limits.lease_ttl);
            inner.presence(match timeout(inner.limits.store_timeout, asked).await {
                Ok(Ok(leases)) => presence::Input::Leases(leases),
                Ok(Err(_)) | Err(_) => presence::Input::LeaseFailed,
            });
            continue;
        }
        let deadline = inner.presence_deadline().max(Instant::now());
        tokio::select! {
            biased;
            () = inner.presence_moved.notified() => {}
            () = sleep_until(deadline) => inner.presence(presence::Input::Tick),
        }
    }
}
