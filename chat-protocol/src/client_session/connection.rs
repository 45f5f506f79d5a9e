//! The connection’s life: connect, hello, heartbeat, loss, wait, connect.

use super::backoff::full_jitter;
use super::requests::{MarkKey, Request};
use super::{
    ClientEffect, ClientFrame, ClientSession, CommandError, Credential, Ticket, Update, resume, settled, update,
};
use crate::code::CloseCode;
use crate::command::{AuthRefresh, Command, ConversationGet, LogList, Token};
use crate::heartbeat::{Beat, Heartbeat};
use crate::id::{ConversationId, Epoch, MessageId, Seq};
use crate::planted::{Bug, is_planted};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A token that could not be had is asked for again after this long.
const TOKEN_RETRY: Duration = Duration::from_secs(5);

/// Where a client is between two connections.
#[derive(Debug)]
pub(super) enum Phase {
    /// Never started.
    Idle,
    /// Between two attempts.
    Waiting { until: Instant },
    /// The loop opens a connection.
    Connecting,
    /// Hello is sent.
    Greeting { until: Instant },
    /// Welcome came.
    Online,
    /// No further attempt unless the application says so.
    Stopped,
}

/// What lives and dies with one connection.
#[derive(Debug)]
pub(super) struct Wire {
    next_req: u64,
    pub(super) in_flight: BTreeMap<u64, Owner>,
    pub(super) in_flight_max: usize,
    pub(super) heartbeat: Heartbeat,
    /// Set when the server said that it goes away: when to come back, and when to stop waiting for its close.
    pub(super) leaving: Option<Leaving>,
    /// Conversations in which an event came too early.
    pub(super) gaps: BTreeMap<ConversationId, Gap>,
    /// Durable commands wait: the server’s epoch is another one, and its reset has not come yet.
    pub(super) gated: bool,
    /// The server’s epoch, once it said welcome.
    pub(super) epoch: Option<Epoch>,
    pub(super) auth: Auth,
}

#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) after: Duration,
    pub(super) close_by: Instant,
}

/// A stretch of the log that is fetched because an event came too early.
#[derive(Debug, Default)]
pub(super) struct Gap {
    /// The highest seq that was dropped.
    pub(super) wanted: Seq,
    pub(super) fetching: bool,
    pub(super) not_before: Option<Instant>,
}

/// Whether the server takes commands of the present token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Auth {
    /// It does, as far as one knows.
    Good,
    /// It will not soon, or does not; a fresh token is being fetched or sent. With `hold`, commands wait for it.
    Refreshing { hold: bool },
    /// There was no fresh token; the next try comes then.
    Retry { hold: bool, at: Instant },
}

impl Auth {
    fn holds(&self) -> bool {
        matches!(self, Self::Refreshing { hold: true } | Self::Retry { hold: true, .. })
    }
}

/// Who waits for the answer to a command.
#[derive(Debug)]
pub(super) enum Owner {
    Outbox(ConversationId, Ticket),
    Request(Request),
    Mark(MarkKey),
    Gap(ConversationId),
    Entry,
    Refresh,
}

impl Wire {
    fn new(heartbeat: Heartbeat) -> Self {
        Self {
            next_req: 1,
            in_flight: BTreeMap::new(),
            in_flight_max: 1,
            heartbeat,
            leaving: None,
            gaps: BTreeMap::new(),
            gated: true,
            epoch: None,
            auth: Auth::Good,
        }
    }

    fn send(&mut self, command: Command, owner: Owner, out: &mut Vec<ClientEffect>) {
        let req = self.next_req;
        self.next_req += 1;
        self.in_flight.insert(req, owner);
        out.push(ClientEffect::Send(ClientFrame::Command { req, command }));
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < self.in_flight_max
    }
}

impl ClientSession {
    pub(super) fn start(&mut self, out: &mut Vec<ClientEffect>) {
        if matches!(self.phase, Phase::Idle | Phase::Waiting { .. } | Phase::Stopped) {
            self.connect(out);
        }
    }

    fn connect(&mut self, out: &mut Vec<ClientEffect>) {
        self.attempt += 1;
        self.phase = Phase::Connecting;
        out.push(ClientEffect::Connect);
    }

    pub(super) fn connected(&mut self, credential: Credential, now: Instant, out: &mut Vec<ClientEffect>) {
        if !matches!(self.phase, Phase::Connecting) {
            return out.push(ClientEffect::Close(CloseCode::Normal));
        }
        self.phase = Phase::Greeting {
            until: now + self.settings.welcome_timeout,
        };
        self.wire = Some(Wire::new(self.heartbeat(self.settings.ping_after, now)));
        let hello = resume::hello(&self.settings, credential, self.grant.clone(), self.attempt);
        out.push(ClientEffect::Send(hello));
        let chunks = resume::resume(&self.view, self.settings.resume_events_max);
        out.extend(chunks.into_iter().map(ClientEffect::Send));
    }

    pub(super) fn connect_failed(
        &mut self,
        retry_after: Option<Duration>,
        stop: bool,
        now: Instant,
        out: &mut Vec<ClientEffect>,
    ) {
        if !matches!(self.phase, Phase::Connecting) {
            return;
        }
        if stop {
            return self.stop(None, out);
        }
        self.wait(retry_after, now, out);
    }

    pub(super) fn disconnected(&mut self, code: Option<CloseCode>, now: Instant, out: &mut Vec<ClientEffect>) {
        let Some(wire) = self.wire.take() else { return };
        self.view.synced = false;
        self.outbox.disconnected();
        for owner in wire.in_flight.into_values() {
            match owner {
                Owner::Request(request) => settled(out, request.ticket, Err(CommandError::Disconnected)),
                Owner::Mark(key) => self.requests.retry_mark(key, None),
                Owner::Outbox(..) | Owner::Gap(_) | Owner::Entry | Owner::Refresh => {}
            }
        }
        update(out, Update::Disconnected { code });
        if code.is_some_and(|code| !code.is_retryable()) {
            return self.stop(code, out);
        }
        self.wait(wire.leaving.map(|leaving| leaving.after), now, out);
    }

    /// Ends the connection from this side, and comes back.
    pub(super) fn abandon(&mut self, code: CloseCode, now: Instant, out: &mut Vec<ClientEffect>) {
        out.push(ClientEffect::Close(code));
        self.disconnected(None, now, out);
    }

    fn wait(&mut self, asked: Option<Duration>, now: Instant, out: &mut Vec<ClientEffect>) {
        let own = full_jitter(
            self.settings.reconnect_base,
            self.settings.reconnect_cap,
            self.failures,
            &mut self.random,
        );
        let after = match asked {
            // The server spreads its clients by the time it names; a little more never hurts, and one that asks for
            // little again and again is asked too often.
            Some(after) => after
                .saturating_add(self.random.up_to(self.settings.reconnect_base))
                .max(own),
            None => own,
        };
        self.failures = self.failures.saturating_add(1);
        self.phase = Phase::Waiting { until: now + after };
        update(out, Update::Reconnecting { after });
    }

    /// Ends the client until the application starts it again; the outbox stays.
    pub(super) fn stop(&mut self, code: Option<CloseCode>, out: &mut Vec<ClientEffect>) {
        self.phase = Phase::Stopped;
        let mut tickets = self.requests.drop_waiting();
        tickets.extend(self.requests.drop_marks());
        for ticket in tickets {
            settled(out, ticket, Err(CommandError::Stopped));
        }
        update(out, Update::Stopped { code });
    }

    pub(super) fn close(&mut self, now: Instant, out: &mut Vec<ClientEffect>) {
        if matches!(self.phase, Phase::Stopped) {
            return;
        }
        if self.wire.is_some() {
            out.push(ClientEffect::Close(CloseCode::Normal));
            return self.disconnected(Some(CloseCode::Normal), now, out);
        }
        self.stop(None, out);
    }

    /// Asks after a silence of `ping_after`, and gives up when the watchdog’s time is over.
    pub(super) fn heartbeat(&self, ping_after: Duration, now: Instant) -> Heartbeat {
        let ping_after = ping_after.min(self.settings.watchdog);
        Heartbeat::new(ping_after, self.settings.watchdog - ping_after, now)
    }

    pub(super) fn pause(&mut self, paused: bool, now: Instant) {
        self.paused = paused;
        if let Some(wire) = &mut self.wire {
            wire.heartbeat.hear(now);
        }
    }

    pub(super) fn tick(&mut self, now: Instant, out: &mut Vec<ClientEffect>) {
        match self.phase {
            Phase::Waiting { until } if until <= now => return self.connect(out),
            Phase::Greeting { until } if until <= now => {
                return self.abandon(CloseCode::HeartbeatTimeout, now, out);
            }
            _ => {}
        }
        let Some(wire) = &mut self.wire else { return };
        if wire.leaving.as_ref().is_some_and(|leaving| leaving.close_by <= now) {
            return self.abandon(CloseCode::GoingAway, now, out);
        }
        if matches!(self.phase, Phase::Online) {
            match wire.heartbeat.beat(now) {
                None => {}
                Some(Beat::Dead) => return self.abandon(CloseCode::HeartbeatTimeout, now, out),
                Some(Beat::Ping) => {
                    out.push(ClientEffect::Send(ClientFrame::Ping));
                    if self.paused {
                        // The answer will not be seen, but the server still wants to hear something.
                        wire.heartbeat.hear(now);
                    }
                }
            }
        }
        if let Auth::Retry { hold, at } = wire.auth
            && at <= now
        {
            wire.auth = Auth::Refreshing { hold };
            out.push(ClientEffect::FetchToken);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Waiting { until } | Phase::Greeting { until } => Some(until),
            Phase::Idle | Phase::Connecting | Phase::Online | Phase::Stopped => None,
        };
        let online = matches!(self.phase, Phase::Online);
        let wire = self.wire.as_ref().filter(|_| online).and_then(|wire| {
            [
                Some(wire.heartbeat.deadline()),
                wire.leaving.as_ref().map(|leaving| leaving.close_by),
                match wire.auth {
                    Auth::Retry { at, .. } => Some(at),
                    Auth::Good | Auth::Refreshing { .. } => None,
                },
                wire.gaps.values().filter_map(|gap| gap.not_before).min(),
                self.outbox.deadline(),
                self.requests.deadline(),
            ]
            .into_iter()
            .flatten()
            .min()
        });
        phase.into_iter().chain(wire).min()
    }

    /// Asks for a fresh token, once at a time.
    pub(super) fn refresh(&mut self, hold: bool, out: &mut Vec<ClientEffect>) {
        let Some(wire) = &mut self.wire else { return };
        match &mut wire.auth {
            Auth::Good => {
                wire.auth = Auth::Refreshing { hold };
                out.push(ClientEffect::FetchToken);
            }
            Auth::Refreshing { hold: held } | Auth::Retry { hold: held, .. } => *held |= hold,
        }
    }

    pub(super) fn token(&mut self, token: Option<Token>, now: Instant, out: &mut Vec<ClientEffect>) {
        let Some(wire) = &mut self.wire else { return };
        let Auth::Refreshing { hold } = wire.auth else { return };
        match token {
            Some(token) => wire.send(AuthRefresh { token }.into(), Owner::Refresh, out),
            None => {
                wire.auth = Auth::Retry {
                    hold,
                    at: now + TOKEN_RETRY,
                };
            }
        }
    }

    /// The server’s answer to the fresh token.
    pub(super) fn refreshed(&mut self, taken: bool, now: Instant) {
        let Some(wire) = &mut self.wire else { return };
        wire.auth = match wire.auth {
            Auth::Refreshing { hold } if !taken => Auth::Retry {
                hold,
                at: now + TOKEN_RETRY,
            },
            _ => Auth::Good,
        };
    }

    /// Sends what may go out now.
    pub(super) fn flush(&mut self, now: Instant, out: &mut Vec<ClientEffect>) {
        self.outbox.wake(now);
        self.requests.wake(now);
        let Some(wire) = self.wire.as_mut().filter(|_| matches!(self.phase, Phase::Online)) else {
            return;
        };
        for gap in wire.gaps.values_mut() {
            gap.not_before = gap.not_before.filter(|at| *at > now);
        }
        if wire.leaving.is_some() || wire.auth.holds() {
            return;
        }
        let mut fetches = Vec::new();
        for (conversation, gap) in &mut wire.gaps {
            if !gap.fetching
                && gap.not_before.is_none()
                && let Some(state) = self.view.conversations.get(conversation)
            {
                gap.fetching = true;
                fetches.push((*conversation, state.cursor));
            }
        }
        for (conversation, after) in fetches {
            let limit = None;
            let command = LogList {
                conversation,
                after,
                limit,
            };
            wire.send(command.into(), Owner::Gap(conversation), out);
        }
        if self.view.synced {
            for conversation in std::mem::take(&mut self.view.stale) {
                wire.send(ConversationGet { conversation }.into(), Owner::Entry, out);
            }
        }
        while !wire.gated && wire.has_room() {
            let Some(mut due) = self.outbox.next(now) else { break };
            if due.attempts > 0 && is_planted(Bug::ClientMintsAgain) {
                mint_again(&mut due.command, self.random.next());
            }
            wire.send(due.command, Owner::Outbox(due.conversation, due.ticket), out);
        }
        while !wire.gated && wire.has_room() {
            let Some((key, command)) = self.requests.next_mark(now) else {
                break;
            };
            wire.send(command, Owner::Mark(key), out);
        }
        while wire.has_room() {
            let Some(request) = self.requests.next_request(now) else {
                break;
            };
            wire.send(request.command.clone(), Owner::Request(request), out);
        }
    }
}

/// The planted fault: the id of a message changes between two attempts.
fn mint_again(command: &mut Command, random: u64) {
    if let Command::MessageSend(send) = command {
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&random.to_be_bytes());
        send.id = MessageId::from_parts(0, bytes);
    }
}
