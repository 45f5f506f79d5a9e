//! The task of one active conversation: mailbox → batch → append → deliveries and bell.
//!
//! It gives the order of what leaves this node. It is not the only writer of the log: other nodes and hosts'
//! transactions are. So it compares every stretch with what it has delivered, reads what is missing from the store
//! and delivers that first; a bell is only a reason to look. It ends when it has been idle for a while.

use crate::conversation::{chain, was_written_after};
use crate::delivery::Delivery;
use crate::engine::Inner;
use crate::error::CommandError;
use crate::store::{Append, AppendItem, ItemOutcome, LogQuery, LogRead, StoreError};
use chat_protocol::event::{Event, EventKind};
use chat_protocol::frame::{LogItem, Stored};
use chat_protocol::id::{ConversationId, Position, Tag, UserId};
use chat_protocol::message::Message;
use chat_protocol::planted::{Bug, is_planted};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

/// After a look that the store did not answer.
const RETRY: Duration = Duration::from_millis(500);

/// What a conversation's task is asked.
pub(crate) enum Input {
    /// Append this and answer.
    Append {
        item: AppendItem,
        answer: oneshot::Sender<Result<Stored, CommandError>>,
    },
    /// Another node says that these events are in the log.
    Heard(Vec<Event>),
    /// Something may be in the log that was not delivered.
    Look,
}

impl Inner {
    /// Hands something to the conversation's task, which is started when none is running.
    ///
    /// # Cancel safety
    /// Cancel safe: dropped while it waits for room, nothing is handed over.
    pub(crate) async fn post(self: &Arc<Self>, conversation: ConversationId, mut input: Input) {
        loop {
            let mailbox = self.mailbox(conversation);
            match mailbox.send(input).await {
                Ok(()) => return,
                // The task panicked; the next one is fresh.
                Err(mpsc::error::SendError(back)) => input = back,
            }
            self.active
                .remove_if(&conversation, |_, other| other.same_channel(&mailbox));
        }
    }

    /// Hands something to the conversation's task without waiting; `false` when it has enough to do already.
    pub(crate) fn nudge(self: &Arc<Self>, conversation: ConversationId, mut input: Input) -> bool {
        loop {
            let mailbox = self.mailbox(conversation);
            match mailbox.try_send(input) {
                Ok(()) => return true,
                Err(mpsc::error::TrySendError::Full(_)) => return false,
                Err(mpsc::error::TrySendError::Closed(back)) => input = back,
            }
            self.active
                .remove_if(&conversation, |_, other| other.same_channel(&mailbox));
        }
    }

    /// How much waits in the conversation's mailbox.
    pub(crate) fn waiting_in(&self, conversation: ConversationId) -> usize {
        let waiting = |mailbox: &mpsc::Sender<Input>| mailbox.max_capacity() - mailbox.capacity();
        self.active.get(&conversation).map_or(0, |mailbox| waiting(&mailbox))
    }

    fn mailbox(self: &Arc<Self>, conversation: ConversationId) -> mpsc::Sender<Input> {
        let entry = self.active.entry(conversation).or_insert_with(|| {
            let (sender, receiver) = mpsc::channel(self.limits.mailbox_max);
            let task = Task {
                inner: self.clone(),
                conversation,
            };
            self.spawn(task.run(sender.downgrade(), receiver));
            sender
        });
        entry.clone()
    }
}

struct Task {
    inner: Arc<Inner>,
    conversation: ConversationId,
}

impl Task {
    async fn run(self, own: mpsc::WeakSender<Input>, mut mailbox: mpsc::Receiver<Input>) {
        let mut inputs = Vec::new();
        let mut look = false;
        loop {
            tokio::select! {
                biased;
                count = mailbox.recv_many(&mut inputs, self.inner.limits.batch_max) => if count == 0 { return },
                () = sleep(RETRY), if look => {}
                () = sleep(self.inner.limits.conversation_idle), if !look => {
                    // Only while nobody holds a sender: what is posted to this task never meets what is posted to
                    // the next one.
                    if let Some(own) = own.upgrade() {
                        let is_last = |other: &mpsc::Sender<Input>| other.same_channel(&own) && own.strong_count() == 2;
                        self.inner.active.remove_if(&self.conversation, |_, other| is_last(other));
                    }
                    continue;
                }
            }
            look = self.handle(inputs.drain(..), look).await;
        }
    }

    /// Answers whether the log has to be looked at again.
    async fn handle(&self, inputs: impl Iterator<Item = Input>, mut look: bool) -> bool {
        let (mut items, mut answers) = (Vec::new(), Vec::new());
        for input in inputs {
            match input {
                Input::Append { item, answer } => {
                    items.push(item);
                    answers.push(answer);
                }
                Input::Heard(events) => look |= self.deliver(events, Origin::Elsewhere).await,
                Input::Look => look = true,
            }
        }
        if !items.is_empty() {
            look |= !self.append(items, answers).await;
        }
        look && !self.look().await
    }

    /// Appends a batch and answers; `false` when the outcome is unknown, so that the log must be looked at.
    async fn append(
        &self,
        items: Vec<AppendItem>,
        answers: Vec<oneshot::Sender<Result<Stored, CommandError>>>,
    ) -> bool {
        let inner = &self.inner;
        let batch = Append {
            conversation: self.conversation,
            items,
            limits: inner.limits.rules,
        };
        if is_planted(Bug::AckBeforeCommit) {
            return self.append_planted(batch, answers).await;
        }
        let began = Instant::now();
        let appended = inner.store.append(batch).await;
        metrics::histogram!("chat_append_seconds").record(began.elapsed());
        let appended = match appended {
            Ok(appended) => appended,
            Err(error) => {
                tracing::warn!(%error, "append: outcome unknown");
                metrics::counter!("chat_appends_unknown_total").increment(answers.len() as u64);
                for answer in answers {
                    let _ = answer.send(Err(CommandError::unavailable()));
                }
                return false;
            }
        };
        if !inner.saw_epoch(appended.epoch).await {
            tracing::warn!("append: written into a log that is gone");
            return false;
        }
        let mut events = Vec::new();
        for (outcome, answer) in appended.outcomes.into_iter().zip(answers) {
            let _ = answer.send(match outcome {
                Ok(ItemOutcome::First(event)) => {
                    let stored = stored(&event);
                    events.push(event);
                    Ok(stored)
                }
                Ok(ItemOutcome::Duplicate(stored)) => Ok(stored),
                Err(refusal) => Err(refusal.into()),
            });
        }
        metrics::counter!("chat_events_appended_total").increment(events.len() as u64);
        if !events.is_empty() {
            self.ring(&events);
            if self.deliver(events, Origin::Here).await {
                return false;
            }
        }
        // A batch of repetitions may tell of a head of which this node has heard nothing yet.
        let delivered = inner
            .hub
            .receivers(self.conversation)
            .and_then(|(_, delivered)| delivered);
        delivered.is_none_or(|delivered| delivered == appended.head)
    }

    /// The planted bug: answers "stored" whatever the store says.
    async fn append_planted(&self, batch: Append, answers: Vec<oneshot::Sender<Result<Stored, CommandError>>>) -> bool {
        for (item, answer) in batch.items.iter().zip(answers) {
            let id = item.command.id().expect("only durable commands are appended");
            let position = Position::START;
            let _ = answer.send(Ok(Stored {
                conversation: self.conversation,
                id,
                seq: position.seq,
                tag: position.tag,
                at: self.inner.clock.now(),
                duplicate: false,
            }));
        }
        let _ = self.inner.store.append(batch).await;
        false
    }

    /// Tells the other nodes, the users concerned, and the host.
    fn ring(&self, events: &[Event]) {
        let inner = &self.inner;
        inner.ring_events(self.conversation, events);
        for user in concerned(events) {
            inner.ring_user(&user);
        }
        for event in events {
            inner.after_commit(event);
        }
    }

    /// Reads what the log has beyond what was delivered, and delivers it; `false` when the store does not say.
    async fn look(&self) -> bool {
        let inner = &self.inner;
        while let Some((_, delivered)) = inner.hub.receivers(self.conversation) {
            // The first listener is still reading where it begins.
            let Some(delivered) = delivered else { return false };
            let Ok(read) = self.read_after(delivered).await else {
                return false;
            };
            let Some((events, head)) = read else { return true };
            let Some(last) = events.last().map(Event::position) else {
                if head.seq < delivered.seq {
                    self.distrust(Some(head));
                }
                return true;
            };
            self.fan_out(events).await;
            inner.hub.delivered(self.conversation, last);
            if last.seq >= head.seq {
                return true;
            }
        }
        true
    }

    /// A page of events after a position, and the head; `None` when the log went another way.
    ///
    /// # Errors
    /// When the store does not say.
    async fn read_after(&self, position: Position) -> Result<Option<(Vec<Event>, Position)>, StoreError> {
        let inner = &self.inner;
        let query = LogQuery {
            conversation: self.conversation,
            viewer: None,
            after: position.seq,
            limit: inner.limits.page_events_max,
            bytes: inner.limits.page_bytes_max,
        };
        match inner.read(inner.store.log(query)).await {
            Ok(LogRead::Page(page)) => {
                if page.after != position.tag {
                    self.distrust(Some(page.head));
                    return Ok(None);
                }
                let events = page.items.into_iter().filter_map(|item| match item {
                    LogItem::Event(event) => Some(event),
                    LogItem::Skip(_) => None,
                });
                Ok(Some((events.collect(), page.head)))
            }
            Ok(LogRead::Ahead | LogRead::TooOld | LogRead::NotFound) => {
                self.distrust(None);
                Ok(None)
            }
            Err(error) => {
                tracing::warn!(%error, "look: the store did not answer");
                Err(error)
            }
        }
    }

    /// The log is not the one that was delivered, and ends here, if that is known: every session reads it again from where it
    /// stands.
    fn distrust(&self, head: Option<Position>) {
        tracing::warn!(conversation = %self.conversation, "the log went another way");
        let Some((receivers, _)) = self.inner.hub.receivers(self.conversation) else {
            return;
        };
        match head {
            Some(head) => self.inner.hub.delivered(self.conversation, head),
            None => self.inner.hub.forget_delivered_of(self.conversation),
        }
        for session in receivers.iter() {
            session.distrust(self.conversation);
        }
    }

    /// Delivers events that follow what was delivered; `true` when the log has others before them, so that it must be
    /// looked at: here once, rather than by each session.
    async fn deliver(&self, mut events: Vec<Event>, origin: Origin) -> bool {
        let inner = &self.inner;
        let Some((_, delivered)) = inner.hub.receivers(self.conversation) else {
            inner.poke_local(concerned(&events));
            return false;
        };
        let (Some(first), Some(last)) = (events.first().map(|e| e.seq), events.last().map(Event::position)) else {
            return false;
        };
        if let Some(delivered) = delivered {
            let is_known = || events.iter().any(|event| event.position() == delivered);
            let follows = match &events[0] {
                next if first == delivered.seq.next() => tag_behind(delivered.tag, next) == next.tag,
                // A first listener read the head after the append.
                _ => first > delivered.seq || origin == Origin::Elsewhere || is_known(),
            };
            if origin == Origin::Elsewhere && first != delivered.seq.next() {
                metrics::counter!("chat_bells_late_total").increment(1);
            }
            if !follows {
                // A log that has become shorter, or went another way: the log itself tells.
                self.distrust(Some(last));
                inner.poke_local(concerned(&events));
                return false;
            }
            if first > delivered.seq.next() {
                inner.poke_local(concerned(&events));
                return true;
            }
            if origin == Origin::Elsewhere && first == delivered.seq.next() && is_chain(delivered, &events) {
                inner.store.heard(self.conversation, delivered, &events);
            }
            events.retain(|event| event.seq > delivered.seq);
        }
        if events.is_empty() {
            return false;
        }
        // A session that misses something before `events` notices by itself and reads the log.
        self.fan_out(events).await;
        inner.hub.delivered(self.conversation, last);
        false
    }

    /// Hands a stretch to every listener: the whole stretch, then the next receiver.
    async fn fan_out(&self, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let inner = &self.inner;
        let concerned = concerned(&events);
        let ends = Ends::of(&events);
        // A node that is behind reads old events with messages as they are now: an end may lie in between.
        let shows_beyond = events.iter().any(|event| shows_beyond(event, &events));
        let stretch: Vec<Arc<Delivery>> = events
            .into_iter()
            .map(|event| Delivery::event(event, &inner.memory))
            .collect();
        if let Some((receivers, _)) = inner.hub.receivers(self.conversation) {
            metrics::counter!("chat_deliveries_total").increment((receivers.len() * stretch.len()) as u64);
            let mut since = Instant::now();
            let show_later = ends.show_later;
            for (index, session) in receivers.iter().enumerate() {
                let ends = match session.who() {
                    Some(who) if !ends.is_empty() => ends.of_user(&who.user),
                    _ => Vec::new(),
                };
                if shows_beyond || (show_later && !ends.is_empty()) {
                    // What follows an end would show through: by a session's own read of the log it is left out.
                    session.offer_by_log(self.conversation, &stretch);
                } else if ends.is_empty() {
                    session.offer(self.conversation, &stretch);
                } else {
                    session.offer_with_ends(&inner.hub, self.conversation, &stretch, &ends);
                }
                if index % 16 == 15 && since.elapsed() >= inner.limits.fan_out_slice {
                    tokio::task::yield_now().await;
                    since = Instant::now();
                }
            }
        }
        // Whoever watches them may share nothing with them any more.
        for user in ends.users.keys() {
            for session in inner.hub.presence().of(user) {
                session.doubt_watches();
            }
        }
        inner.poke_local(concerned);
    }
}

/// Whether an event shows what was written into its message after the last of these events.
fn shows_beyond(event: &Event, stretch: &[Event]) -> bool {
    let is_edited = |message: &&Message| message.edited_at.is_some() && message.content.is_some();
    let message = event.kind.message().filter(is_edited);
    message.is_some_and(|message| stretch.last().is_some_and(|last| message.changed > last.seq))
}

/// Where events come from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Here,
    Elsewhere,
}

/// Whether each of these events follows the one before it, the first a place, by their tags.
fn is_chain(mut at: Position, events: &[Event]) -> bool {
    events.iter().all(|event| {
        let follows = event.seq == at.seq.next() && tag_behind(at.tag, event) == event.tag;
        at = event.position();
        follows
    })
}

/// The tag that an event must have behind this one.
fn tag_behind(previous: Tag, event: &Event) -> Tag {
    chain(previous, event.conversation, event.seq, event.kind.name(), event.id)
}

fn stored(event: &Event) -> Stored {
    Stored {
        conversation: event.conversation,
        id: event.id,
        seq: event.seq,
        tag: event.tag,
        at: event.at,
        duplicate: false,
    }
}

/// The users whose memberships began with these events: their sessions have something new to listen to.
fn concerned(events: &[Event]) -> BTreeSet<UserId> {
    let mut users = BTreeSet::new();
    for event in events {
        match &event.kind {
            EventKind::ConversationCreated(created) => users.extend(created.members.iter().map(|m| m.user.clone())),
            EventKind::MemberJoined(joined) => {
                users.insert(joined.member.user.clone());
            }
            EventKind::ConversationUpdated(_)
            | EventKind::ConversationDeleted(_)
            | EventKind::MemberLeft(_)
            | EventKind::MemberRemoved(_)
            | EventKind::MemberRoleChanged(_)
            | EventKind::MessageNew(_)
            | EventKind::MessageUpdated(_)
            | EventKind::MessageDeleted(_)
            | EventKind::ReactionAdded(_)
            | EventKind::ReactionRemoved(_)
            | EventKind::Unknown(_) => {}
        }
    }
    users
}

/// Whose memberships end inside a stretch, and after how many of its events.
#[derive(Default)]
struct Ends {
    users: BTreeMap<UserId, Vec<usize>>,
    everybody: Option<usize>,
    /// Whether an event before an end shows what was written into its message after it.
    show_later: bool,
}

impl Ends {
    fn of(events: &[Event]) -> Self {
        let mut ends = Self::default();
        for (index, event) in events.iter().enumerate() {
            match &event.kind {
                EventKind::MemberLeft(left) => ends.end(&left.user, index + 1),
                EventKind::MemberRemoved(removed) => ends.end(&removed.user, index + 1),
                EventKind::ConversationDeleted(_) => ends.everybody = Some(index + 1),
                _ => continue,
            }
            let later = |before: &Event| was_written_after(before, event.seq, event.at);
            ends.show_later |= events[..index].iter().any(later);
        }
        ends
    }

    fn end(&mut self, user: &UserId, count: usize) {
        self.users.entry(user.clone()).or_default().push(count);
    }

    fn is_empty(&self) -> bool {
        self.users.is_empty() && self.everybody.is_none()
    }

    fn of_user(&self, user: &UserId) -> Vec<usize> {
        let own = self.users.get(user).into_iter().flatten().copied();
        own.chain(self.everybody).collect()
    }
}
