//! What the server says, and what follows from it.

use super::backoff::full_jitter;
use super::connection::{Leaving, Owner, Phase};
use super::outbox::opens;
use super::{ClientEffect, ClientFrame, ClientSession, CommandError, Ticket, Update, settled, update};
use crate::code::{CloseCode, ErrorCode, ResetReason};
use crate::frame::{ErrorFrame, InboxPush, LogItem, Outcome, Page, Reset, ServerFrame, Welcome};
use crate::id::ConversationId;
use crate::planted::{Bug, is_planted};
use std::time::{Duration, Instant};

/// How long to wait after `rate_limited` when the server does not say.
const RATE_WAIT: Duration = Duration::from_secs(1);

/// How long to wait before a gap is asked for again that the server did not fill.
const GAP_WAIT: Duration = Duration::from_secs(1);

impl ClientSession {
    pub(super) fn receive(&mut self, frame: ServerFrame, now: Instant, out: &mut Vec<ClientEffect>) {
        let Some(wire) = &mut self.wire else { return };
        wire.heartbeat.hear(now);
        match frame {
            ServerFrame::Welcome(welcome) => self.welcome(welcome, now, out),
            ServerFrame::Inbox(push) => self.inbox(push, out),
            ServerFrame::Reset(reset) => self.reset(reset, out),
            ServerFrame::Synced(synced) => {
                self.view.synced = true;
                self.view.revision = self.view.revision.max(Some(synced.revision));
                self.failures = 0;
                let revision = synced.revision;
                update(out, Update::Synced { revision });
                for (conversation, commands) in self.outbox.held() {
                    update(out, Update::Held { conversation, commands });
                }
            }
            ServerFrame::Event(event) => self.take(LogItem::Event(event), out),
            ServerFrame::Page(page) => self.take_page(page, out),
            ServerFrame::Skip(skip) => self.take(LogItem::Skip(skip), out),
            ServerFrame::Signal(signal) => update(out, Update::Signal(signal)),
            ServerFrame::Reply(reply) => self.answer(reply.req, Ok(reply.result), now, out),
            ServerFrame::Error(error) => {
                if let Some(req) = error.req {
                    self.answer(req, Err(error), now, out);
                }
            }
            ServerFrame::Expiring(_) => self.refresh(false, out),
            ServerFrame::Reconnect(reconnect) => {
                wire.leaving = Some(Leaving {
                    after: Duration::from_millis(reconnect.after_ms),
                    close_by: now + self.settings.drain_timeout,
                });
            }
            ServerFrame::Ping => out.push(ClientEffect::Send(ClientFrame::Pong)),
            ServerFrame::Pong => {}
        }
    }

    fn welcome(&mut self, welcome: Welcome, now: Instant, out: &mut Vec<ClientEffect>) {
        if !matches!(self.phase, Phase::Greeting { .. }) {
            return;
        }
        if self.view.user.as_ref().is_some_and(|user| *user != welcome.user) {
            // What waits here was written by somebody else.
            out.push(ClientEffect::Close(CloseCode::Normal));
            return self.disconnected(Some(CloseCode::Normal), now, out);
        }
        let interval = Duration::from_millis(welcome.heartbeat.interval_ms.max(1));
        let heartbeat = self.heartbeat(self.settings.ping_after.min(interval), now);
        let Some(wire) = &mut self.wire else { return };
        self.phase = Phase::Online;
        wire.heartbeat = heartbeat;
        wire.in_flight_max = usize::try_from(welcome.limits.commands_in_flight_max.max(1)).unwrap_or(usize::MAX);
        self.grant = Some(welcome.session);
        let user = welcome.user;
        self.view.user = Some(user.clone());
        update(out, Update::Connected { user: user.clone() });
        // With another epoch the server’s reset says so next; until then the old cursors are kept, so that a
        // connection lost in between changes nothing.
        wire.epoch = Some(welcome.epoch);
        if self.view.epoch.is_none_or(|epoch| epoch == welcome.epoch) {
            self.settle_epoch(out);
        }
    }

    /// The cursors belong to the epoch of this connection from now on, and so does what is submitted.
    fn settle_epoch(&mut self, out: &mut Vec<ClientEffect>) {
        let Some(wire) = &mut self.wire else { return };
        let (Some(epoch), Some(user)) = (wire.epoch, self.view.user.clone()) else {
            return;
        };
        wire.gated = false;
        self.view.epoch = Some(epoch);
        out.push(ClientEffect::Identified { user, epoch });
        let conversations = &self.view.conversations;
        self.outbox.hold(epoch, |id| conversations.contains_key(id));
    }

    fn inbox(&mut self, push: InboxPush, out: &mut Vec<ClientEffect>) {
        for entry in push.entries {
            let conversation = entry.conversation.id;
            if self.view.take_entry(entry) {
                self.outbox.release(conversation, self.view.epoch);
            }
            if let Some(state) = self.view.conversations.get(&conversation) {
                update(out, Update::Inbox(Box::new(state.entry.clone())));
            }
        }
        if push.last {
            self.view.revision = self.view.revision.max(Some(push.revision));
        }
    }

    fn reset(&mut self, reset: Reset, out: &mut Vec<ClientEffect>) {
        let Reset {
            conversation, reason, ..
        } = reset;
        let Some(id) = conversation else {
            self.outbox.lose(self.view.conversations.keys().copied());
            self.view.forget();
            if let Some(wire) = &mut self.wire {
                wire.gaps.clear();
            }
            update(out, Update::Reset { conversation, reason });
            for ticket in self.requests.drop_marks() {
                settled(out, ticket, Err(CommandError::Reset));
            }
            return self.settle_epoch(out);
        };
        if let Some(wire) = &mut self.wire {
            wire.gaps.remove(&id);
        }
        self.view.conversations.remove(&id);
        update(out, Update::Reset { conversation, reason });
        if let Some(entry) = reset.entry {
            self.view.restart(entry.clone());
            self.outbox.release(id, self.view.epoch);
            update(out, Update::Inbox(Box::new(entry)));
        }
    }

    fn take_page(&mut self, page: Page, out: &mut Vec<ClientEffect>) {
        for item in page.items {
            self.take(item, out);
        }
    }

    /// One step of a conversation’s log: applied once, in order; a step that comes too early is dropped and fetched.
    fn take(&mut self, item: LogItem, out: &mut Vec<ClientEffect>) {
        let conversation = match &item {
            LogItem::Event(event) => event.conversation,
            LogItem::Skip(skip) => skip.conversation,
        };
        let Some(state) = self.view.conversations.get_mut(&conversation) else {
            return;
        };
        let position = item.position();
        if position.seq <= state.cursor.seq {
            if is_planted(Bug::ClientAppliesTwice)
                && let LogItem::Event(event) = item
            {
                update(out, Update::Event(Box::new(event)));
            }
            return;
        }
        if item.first() > state.cursor.seq.next() {
            if let Some(wire) = &mut self.wire {
                let gap = wire.gaps.entry(conversation).or_default();
                gap.wanted = gap.wanted.max(position.seq);
            }
            return;
        }
        state.previous = std::mem::replace(&mut state.cursor, position);
        match item {
            LogItem::Event(event) => {
                if self.view.fold(&event)
                    && let Some(wire) = &mut self.wire
                {
                    wire.gaps.remove(&conversation);
                }
                update(out, Update::Event(Box::new(event)));
            }
            LogItem::Skip(skip) => {
                state.pass(position);
                update(out, Update::Skipped(skip));
            }
        }
    }

    fn answer(&mut self, req: u64, result: Result<Outcome, ErrorFrame>, now: Instant, out: &mut Vec<ClientEffect>) {
        let Some(owner) = self.wire.as_mut().and_then(|wire| wire.in_flight.remove(&req)) else {
            return;
        };
        match (owner, result) {
            (Owner::Outbox(conversation, ticket), Ok(outcome)) => self.stored(conversation, ticket, outcome, out),
            (Owner::Outbox(conversation, ticket), Err(error)) => {
                self.not_stored(conversation, ticket, error, now, out);
            }
            (Owner::Request(request), Ok(outcome)) => {
                self.view.done(&request.command);
                settled(out, request.ticket, Ok(outcome));
            }
            (Owner::Request(mut request), Err(error)) => {
                request.not_before = match error.code {
                    ErrorCode::TokenExpired => {
                        self.refresh(true, out);
                        None
                    }
                    ErrorCode::RateLimited => Some(now + retry_after(&error).unwrap_or(RATE_WAIT)),
                    _ => return settled(out, request.ticket, Err(CommandError::Refused(Box::new(error)))),
                };
                self.requests.again(request);
            }
            (Owner::Mark(key), Ok(outcome)) => {
                let (seq, tickets) = self.requests.settle_mark(key);
                if let Some(seq) = seq {
                    self.view.done(&key.command(seq));
                }
                for ticket in tickets {
                    settled(out, ticket, Ok(outcome.clone()));
                }
            }
            (Owner::Mark(key), Err(error)) => match error.code {
                ErrorCode::TokenExpired => {
                    self.refresh(true, out);
                    self.requests.retry_mark(key, None);
                }
                _ if is_retryable(&error) => {
                    let wait = retry_after(&error).unwrap_or(RATE_WAIT);
                    self.requests.retry_mark(key, Some(now + wait));
                }
                _ => {
                    for ticket in self.requests.settle_mark(key).1 {
                        settled(out, ticket, Err(CommandError::Refused(Box::new(error.clone()))));
                    }
                }
            },
            (Owner::Gap(conversation), Ok(Outcome::Log(page))) => self.gap_filled(conversation, page, now, out),
            (Owner::Gap(conversation), Err(error)) => self.gap_refused(conversation, &error, now, out),
            (Owner::Entry, Ok(Outcome::Conversation(found))) => {
                if let Some(entry) = found.entry
                    && self.view.conversations.contains_key(&entry.conversation.id)
                {
                    let conversation = entry.conversation.id;
                    self.view.take_entry(entry);
                    let state = &self.view.conversations[&conversation];
                    update(out, Update::Inbox(Box::new(state.entry.clone())));
                }
            }
            (Owner::Refresh, Ok(_)) => self.refreshed(true, now),
            (Owner::Refresh, Err(_)) => self.refreshed(false, now),
            // An answer of another kind than was asked for: the next resume sets it right.
            (Owner::Gap(_), Ok(_)) => self.abandon(CloseCode::Protocol, now, out),
            (Owner::Entry, _) => {}
        }
    }

    fn stored(&mut self, conversation: ConversationId, ticket: Ticket, outcome: Outcome, out: &mut Vec<ClientEffect>) {
        let Some(item) = self.outbox.settle(conversation, ticket) else {
            return;
        };
        if opens(&item.command) {
            self.outbox.release(conversation, self.view.epoch);
            if let Outcome::Stored(stored) = &outcome
                && stored.conversation != conversation
                && self.outbox.redirect(conversation, stored.conversation)
            {
                out.push(ClientEffect::Redirected {
                    from: conversation,
                    to: stored.conversation,
                });
            }
        }
        settled(out, ticket, Ok(outcome));
    }

    fn not_stored(
        &mut self,
        conversation: ConversationId,
        ticket: Ticket,
        error: ErrorFrame,
        now: Instant,
        out: &mut Vec<ClientEffect>,
    ) {
        match error.code {
            ErrorCode::TokenExpired => {
                self.refresh(true, out);
                self.outbox.retry(conversation, ticket);
            }
            ErrorCode::RateLimited => {
                self.outbox.retry(conversation, ticket);
                let wait = retry_after(&error).unwrap_or(RATE_WAIT);
                self.outbox.wait(conversation, now + wait);
            }
            _ if is_retryable(&error) => {
                let failures = self.outbox.retry(conversation, ticket);
                let settings = &self.settings;
                let wait = retry_after(&error).unwrap_or_else(|| {
                    let (base, cap) = (settings.reconnect_base, settings.reconnect_cap);
                    full_jitter(base, cap, failures, &mut self.random)
                });
                self.outbox.wait(conversation, now + wait);
            }
            _ => {
                let error = CommandError::Refused(Box::new(error));
                if let Some(item) = self.outbox.settle(conversation, ticket) {
                    let command = Box::new(item.command);
                    settled(out, ticket, Err(error.clone()));
                    update(out, Update::Failed { command, error });
                }
            }
        }
    }

    fn gap_filled(&mut self, conversation: ConversationId, page: Page, now: Instant, out: &mut Vec<ClientEffect>) {
        let more = page.more;
        let before = self.cursor_of(conversation);
        self.take_page(page, out);
        let after = self.cursor_of(conversation);
        let Some(gap) = self.wire.as_mut().and_then(|wire| wire.gaps.get_mut(&conversation)) else {
            return;
        };
        if !more && after.is_none_or(|seq| seq >= gap.wanted) {
            if let Some(wire) = &mut self.wire {
                wire.gaps.remove(&conversation);
            }
            return;
        }
        gap.fetching = false;
        gap.not_before = (before == after).then(|| now + GAP_WAIT);
    }

    fn gap_refused(
        &mut self,
        conversation: ConversationId,
        error: &ErrorFrame,
        now: Instant,
        out: &mut Vec<ClientEffect>,
    ) {
        let Some(gap) = self.wire.as_mut().and_then(|wire| wire.gaps.get_mut(&conversation)) else {
            return;
        };
        gap.fetching = false;
        match error.code {
            ErrorCode::TokenExpired => self.refresh(true, out),
            ErrorCode::NotFound => {
                let reset = Reset {
                    conversation: Some(conversation),
                    reason: ResetReason::NotFound,
                    entry: None,
                };
                self.reset(reset, out);
            }
            _ if is_retryable(error) => gap.not_before = Some(now + retry_after(error).unwrap_or(GAP_WAIT)),
            // The position here is not one of the server’s log: the next resume says what it is.
            _ => self.abandon(CloseCode::Protocol, now, out),
        }
    }

    fn cursor_of(&self, conversation: ConversationId) -> Option<crate::id::Seq> {
        let state = self.view.conversations.get(&conversation)?;
        Some(state.cursor.seq)
    }
}

fn retry_after(error: &ErrorFrame) -> Option<Duration> {
    error.retry_after_ms.map(Duration::from_millis)
}

fn is_retryable(error: &ErrorFrame) -> bool {
    error.retryable || error.code.is_retryable()
}
