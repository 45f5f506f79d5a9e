//! Durable commands until each has a definite answer: one lane a conversation, in the order in which they were
//! submitted, one of them in flight.
//!
//! # After another epoch
//! A command belongs to the epoch that the client knew when it was submitted. When the server's log turns out to be
//! another incarnation, its conversations are gone or strange, and a send would be answered `not_found`, which is
//! definite. So **the lane of a conversation with commands of an earlier epoch is held** until the conversation is
//! there again for this user: an inbox entry for it arrives, or a `conversation:join` or `conversation:create` for it
//! is answered with `stored`, or the application says [`Release`](super::ClientInput::Release). **What is submitted
//! meanwhile for a conversation that was lost with its epoch is held as well.** In a held lane a join
//! or create overtakes what waits; everything else keeps its order behind what was held. Nothing is given up unless
//! the application says [`Discard`](super::ClientInput::Discard).

use super::Ticket;
use crate::command::Command;
use crate::id::{ConversationId, Epoch};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    lanes: BTreeMap<ConversationId, Lane>,
    /// Conversations that were there in another epoch and are not there again.
    lost: BTreeSet<ConversationId>,
    submitted: u64,
    count: usize,
}

#[derive(Debug, Default)]
struct Lane {
    items: VecDeque<Item>,
    held: bool,
    in_flight: Option<Ticket>,
    /// Nothing of this lane goes out earlier.
    not_before: Option<Instant>,
    /// Retryable answers in a row.
    failures: u32,
}

#[derive(Debug)]
pub(super) struct Item {
    order: u64,
    pub(super) ticket: Ticket,
    pub(super) command: Command,
    /// The epoch that the client knew; nothing when it had never been connected.
    epoch: Option<Epoch>,
    attempts: u32,
}

/// A command that is to be sent now.
pub(super) struct Due {
    pub(super) conversation: ConversationId,
    pub(super) ticket: Ticket,
    pub(super) command: Command,
    /// How often it was sent before.
    pub(super) attempts: u32,
}

impl Outbox {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// All commands, in the order in which they were submitted.
    pub(super) fn commands(&self) -> impl Iterator<Item = &Command> {
        let items = self.lanes.values().flat_map(|lane| &lane.items);
        let ordered: BTreeMap<u64, &Command> = items.map(|item| (item.order, &item.command)).collect();
        ordered.into_values()
    }

    /// Takes in a command; answers with the length of its lane when it is held there.
    pub(super) fn submit(
        &mut self,
        conversation: ConversationId,
        ticket: Ticket,
        command: Command,
        epoch: Option<Epoch>,
    ) -> Option<usize> {
        let order = self.submitted;
        self.submitted += 1;
        self.count += 1;
        let lane = self.lanes.entry(conversation).or_default();
        lane.held |= self.lost.contains(&conversation);
        let is_held = lane.held && !opens(&command);
        lane.items.push_back(Item {
            order,
            ticket,
            command,
            epoch,
            attempts: 0,
        });
        is_held.then_some(lane.items.len())
    }

    /// Takes the oldest command that may go out, and counts it as sent.
    pub(super) fn next(&mut self, now: Instant) -> Option<Due> {
        let (_, conversation, index) = self
            .lanes
            .iter()
            .filter_map(|(conversation, lane)| {
                let index = lane.ready(now)?;
                Some((lane.items[index].order, *conversation, index))
            })
            .min()?;
        let lane = self.lanes.get_mut(&conversation)?;
        lane.not_before = None;
        let item = &mut lane.items[index];
        lane.in_flight = Some(item.ticket);
        let attempts = item.attempts;
        item.attempts += 1;
        Some(Due {
            conversation,
            ticket: item.ticket,
            command: item.command.clone(),
            attempts,
        })
    }

    /// When the next lane's wait ends.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.lanes.values().filter_map(|lane| lane.not_before).min()
    }

    /// Ends the waits that are over, so that [`deadline`](Self::deadline) moves on even when nothing may be sent.
    pub(super) fn wake(&mut self, now: Instant) {
        for lane in self.lanes.values_mut() {
            lane.not_before = lane.not_before.filter(|at| *at > now);
        }
    }

    /// Takes out a command that has a definite answer.
    pub(super) fn settle(&mut self, conversation: ConversationId, ticket: Ticket) -> Option<Item> {
        let lane = self.lanes.get_mut(&conversation)?;
        if lane.in_flight == Some(ticket) {
            lane.in_flight = None;
            lane.failures = 0;
            lane.not_before = None;
        }
        let index = lane.items.iter().position(|item| item.ticket == ticket)?;
        let item = lane.items.remove(index)?;
        self.count -= 1;
        if lane.items.is_empty() {
            self.lanes.remove(&conversation);
        }
        Some(item)
    }

    /// Puts a command that was not answered definitely back to the front of its lane; answers how many such answers
    /// it had in a row before.
    pub(super) fn retry(&mut self, conversation: ConversationId, ticket: Ticket) -> u32 {
        let Some(lane) = self.lanes.get_mut(&conversation) else {
            return 0;
        };
        if lane.in_flight == Some(ticket) {
            lane.in_flight = None;
        }
        let failures = lane.failures;
        lane.failures = lane.failures.saturating_add(1);
        failures
    }

    pub(super) fn wait(&mut self, conversation: ConversationId, until: Instant) {
        if let Some(lane) = self.lanes.get_mut(&conversation) {
            lane.not_before = Some(until);
        }
    }

    /// The connection is gone: everything that was in flight is sent again, with the same id.
    pub(super) fn disconnected(&mut self) {
        for lane in self.lanes.values_mut() {
            lane.in_flight = None;
            lane.not_before = None;
            lane.failures = 0;
        }
    }

    /// These conversations went with their epoch.
    pub(super) fn lose(&mut self, conversations: impl Iterator<Item = ConversationId>) {
        self.lost.extend(conversations);
    }

    /// Holds the lanes with commands of another epoch, unless `known` says that the conversation is there.
    pub(super) fn hold(&mut self, epoch: Epoch, known: impl Fn(&ConversationId) -> bool) {
        for (conversation, lane) in &mut self.lanes {
            let mut epochs = lane.items.iter().filter_map(|item| item.epoch);
            lane.held |= epochs.any(|made| made != epoch) && !known(conversation);
        }
    }

    /// The held lanes, each with its number of commands.
    pub(super) fn held(&self) -> impl Iterator<Item = (ConversationId, usize)> {
        let held = self.lanes.iter().filter(|(_, lane)| lane.held);
        held.map(|(conversation, lane)| (*conversation, lane.items.len()))
    }

    /// Lets a held lane go on; what waits in it belongs to the present epoch from now on.
    pub(super) fn release(&mut self, conversation: ConversationId, epoch: Option<Epoch>) {
        self.lost.remove(&conversation);
        if let Some(lane) = self.lanes.get_mut(&conversation) {
            lane.held = false;
            for item in &mut lane.items {
                item.epoch = epoch;
            }
        }
    }

    /// Takes everything out of a lane that is not in flight.
    pub(super) fn discard(&mut self, conversation: ConversationId) -> Vec<Item> {
        let Some(lane) = self.lanes.get_mut(&conversation) else {
            return Vec::new();
        };
        let in_flight = lane.in_flight;
        let (kept, discarded) = std::mem::take(&mut lane.items)
            .into_iter()
            .partition(|item| Some(item.ticket) == in_flight);
        lane.items = kept;
        lane.held = false;
        let discarded: VecDeque<Item> = discarded;
        self.count -= discarded.len();
        if lane.items.is_empty() {
            self.lanes.remove(&conversation);
        }
        discarded.into()
    }

    /// Addresses what waits for a conversation to another one: a direct conversation that was there already has not
    /// the id that its creator proposed. None of these commands was sent yet, so no id is used twice.
    pub(super) fn redirect(&mut self, from: ConversationId, to: ConversationId) -> bool {
        let Some(lane) = self.lanes.remove(&from) else {
            return false;
        };
        for mut item in lane.items {
            item.command.readdress(to);
            self.lanes.entry(to).or_default().items.push_back(item);
        }
        if let Some(lane) = self.lanes.get_mut(&to) {
            lane.items.make_contiguous().sort_by_key(|item| item.order);
        }
        true
    }
}

impl Lane {
    /// The index of the command that may go out now.
    fn ready(&self, now: Instant) -> Option<usize> {
        if self.in_flight.is_some() || self.not_before.is_some_and(|at| at > now) {
            return None;
        }
        if self.held {
            return self.items.iter().position(|item| opens(&item.command));
        }
        (!self.items.is_empty()).then_some(0)
    }
}

/// Whether a command makes its conversation one of the user's own.
pub(super) fn opens(command: &Command) -> bool {
    matches!(command, Command::ConversationJoin(_) | Command::ConversationCreate(_))
}
