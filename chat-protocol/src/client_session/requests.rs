//! Commands that make no event: reads, settings, signals; and marks, which are kept until answered.
//!
//! A request that was sent is never sent again by itself after the connection broke: its answer may have been lost with
//! its effect done. Only marks are: the highest per conversation says everything that the lower ones said.

use super::Ticket;
use crate::command::{Command, MarkDelivered, MarkRead};
use crate::id::{ConversationId, Seq};
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Requests {
    waiting: VecDeque<Request>,
    marks: BTreeMap<MarkKey, Mark>,
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) ticket: Ticket,
    pub(super) command: Command,
    pub(super) not_before: Option<Instant>,
}

/// Which mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum MarkKey {
    Read(ConversationId),
    Delivered(ConversationId),
}

#[derive(Debug, Default)]
struct Mark {
    waiting: Option<Wanted>,
    in_flight: Option<Wanted>,
    not_before: Option<Instant>,
}

#[derive(Debug, Default)]
struct Wanted {
    seq: Seq,
    tickets: Vec<Ticket>,
}

impl Wanted {
    fn join(&mut self, other: Self) {
        self.seq = self.seq.max(other.seq);
        self.tickets.extend(other.tickets);
    }
}

impl Requests {
    /// How many wait to be sent.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn submit(&mut self, ticket: Ticket, command: Command) {
        let (key, seq) = match &command {
            Command::MarkRead(mark) => (MarkKey::Read(mark.conversation), mark.seq),
            Command::MarkDelivered(mark) => (MarkKey::Delivered(mark.conversation), mark.seq),
            _ => {
                self.waiting.push_back(Request {
                    ticket,
                    command,
                    not_before: None,
                });
                return;
            }
        };
        let tickets = vec![ticket];
        let wanted = self.marks.entry(key).or_default().waiting.get_or_insert_default();
        wanted.join(Wanted { seq, tickets });
    }

    pub(super) fn next_mark(&mut self, now: Instant) -> Option<(MarkKey, Command)> {
        let (key, mark) = self.marks.iter_mut().find(|(_, mark)| {
            mark.in_flight.is_none() && mark.waiting.is_some() && mark.not_before.is_none_or(|at| at <= now)
        })?;
        mark.not_before = None;
        mark.in_flight = mark.waiting.take();
        let seq = mark.in_flight.as_ref()?.seq;
        Some((*key, key.command(seq)))
    }

    pub(super) fn next_request(&mut self, now: Instant) -> Option<Request> {
        let index = self
            .waiting
            .iter()
            .position(|request| request.not_before.is_none_or(|at| at <= now))?;
        self.waiting.remove(index)
    }

    /// Puts a request that the server refused for now back to the front.
    pub(super) fn again(&mut self, request: Request) {
        self.waiting.push_front(request);
    }

    /// A mark has a definite answer: what was marked, and who asked.
    pub(super) fn settle_mark(&mut self, key: MarkKey) -> (Option<Seq>, Vec<Ticket>) {
        let Some(mark) = self.marks.get_mut(&key) else {
            return (None, Vec::new());
        };
        let settled = mark.in_flight.take();
        if mark.waiting.is_none() {
            self.marks.remove(&key);
        }
        settled.map_or((None, Vec::new()), |wanted| (Some(wanted.seq), wanted.tickets))
    }

    /// A mark is to be sent again, not before `until`.
    pub(super) fn retry_mark(&mut self, key: MarkKey, until: Option<Instant>) {
        if let Some(mark) = self.marks.get_mut(&key) {
            mark.not_before = until;
            if let Some(sent) = mark.in_flight.take() {
                mark.waiting.get_or_insert_default().join(sent);
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let requests = self.waiting.iter().filter_map(|request| request.not_before);
        requests
            .chain(self.marks.values().filter_map(|mark| mark.not_before))
            .min()
    }

    pub(super) fn wake(&mut self, now: Instant) {
        for request in &mut self.waiting {
            request.not_before = request.not_before.filter(|at| *at > now);
        }
        for mark in self.marks.values_mut() {
            mark.not_before = mark.not_before.filter(|at| *at > now);
        }
    }

    /// Drops all marks: their seqs mean nothing in another epoch.
    pub(super) fn drop_marks(&mut self) -> Vec<Ticket> {
        let marks = std::mem::take(&mut self.marks);
        marks
            .into_values()
            .flat_map(|mark| mark.waiting.into_iter().chain(mark.in_flight))
            .flat_map(|wanted| wanted.tickets)
            .collect()
    }

    /// Drops all that was not sent.
    pub(super) fn drop_waiting(&mut self) -> Vec<Ticket> {
        std::mem::take(&mut self.waiting)
            .into_iter()
            .map(|request| request.ticket)
            .collect()
    }
}

impl MarkKey {
    pub(super) fn command(self, seq: Seq) -> Command {
        match self {
            Self::Read(conversation) => MarkRead { conversation, seq }.into(),
            Self::Delivered(conversation) => MarkDelivered { conversation, seq }.into(),
        }
    }
}
