//! The invariants, one function each, against what is true in the end.

use super::device::Device;
use super::ledger::Ledger;
use super::recorder::{Invariant, Recorder, Short};
use super::truth::{Log, Truth};
use super::wire::{Carried, Delivered};
use chat_client::ClientView;
use chat_core::conversation::{InboxEntry, chain, unread};
use chat_core::event::Event;
use chat_core::id::{ConversationId, Seq, Tag, UserId};
use chat_core::message::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) struct Judgement<'a> {
    pub recorder: &'a Recorder,
    pub truth: &'a Truth,
    pub devices: &'a [Arc<Device>],
    pub ledger: &'a Ledger,
}

impl Judgement<'_> {
    pub fn all(&self, carried: &Carried) {
        self.no_acked_loss();
        self.once_only();
        self.one_order();
        self.removal_exact(&carried.lock().expect("no panic while the lock is held"));
        self.marks_grow();
        for user in self.truth.inboxes.keys() {
            self.unread_is_a_function(user);
        }
        for device in self.devices {
            let Some(client) = device.client() else { continue };
            let view = client.state();
            self.resume_complete(device, &view);
            self.devices_agree(device, &view);
            if client.outbox_len() > 0 {
                let what = format!("{} still has {} commands", device.seat.name, client.outbox_len());
                self.violated(Invariant::OutboxDrained, what);
            }
        }
    }

    fn violated(&self, invariant: Invariant, what: String) {
        self.recorder.violated(invariant, what);
    }

    fn no_acked_loss(&self) {
        let book = self.ledger.book();
        // A direct conversation that exists already answers for the one that was asked for, and gets what waits for it.
        let directs = book.given.iter().filter(|given| given.opens_direct);
        let directs: BTreeSet<_> = directs.map(|given| given.conversation).collect();
        for given in &book.given {
            let Some(stored) = given.stored else { continue };
            let what = format!("{} {} {}", given.seat, given.name, Short(&given.conversation));
            let is_elsewhere = stored.conversation != given.conversation && !directs.contains(&given.conversation);
            if is_elsewhere || (stored.id != given.id && !given.opens_direct) {
                let what = format!("{what}: the answer is of another command");
                self.violated(Invariant::NoAckedLoss, what);
            }
            let log = self.truth.logs.get(&stored.conversation);
            let found = log.and_then(|log| log.event(stored.seq));
            if found.is_none_or(|event| (event.id, event.tag) != (stored.id, stored.tag)) {
                let what = format!("{what}: answered with {}, which is not in the log", stored.seq);
                self.violated(Invariant::NoAckedLoss, what);
            }
        }
    }

    fn once_only(&self) {
        for (id, log) in &self.truth.logs {
            let mut ids = BTreeSet::new();
            for event in &log.events {
                if !ids.insert(event.id) {
                    let what = format!("{} {}: its id is there already", Short(id), event.seq);
                    self.violated(Invariant::OnceOnly, what);
                }
            }
            let mut texts = BTreeMap::new();
            for message in log.messages.values() {
                let Some(text) = message.content.as_ref().and_then(|content| content.text.as_ref()) else {
                    continue;
                };
                if let Some(other) = texts.insert(text, message.seq) {
                    let what = format!("{}: {} and {other} say the same", Short(id), message.seq);
                    self.violated(Invariant::OnceOnly, what);
                }
            }
        }
    }

    fn one_order(&self) {
        for (id, log) in &self.truth.logs {
            let (mut seq, mut tag) = (Seq::ZERO, Tag::ZERO);
            for event in &log.events {
                seq = seq.next();
                tag = chain(tag, *id, seq, event.kind.name(), event.id);
                if (event.seq, event.tag) != (seq, tag) {
                    let what = format!("{}: {} stands at {seq}", Short(id), event.seq);
                    self.violated(Invariant::OneOrder, what);
                    break;
                }
            }
        }
    }

    fn removal_exact(&self, carried: &[Delivered]) {
        for delivered in carried {
            let Delivered {
                seat,
                user,
                conversation,
                seq,
                at_ms,
            } = delivered;
            let of = Short(conversation);
            let Some(log) = self.truth.logs.get(conversation) else {
                let what = format!("{seat} got {of} {seq}, of no log");
                self.violated(Invariant::RemovalExact, what);
                continue;
            };
            if !self.may_see(log, user, *seq, *at_ms) {
                let what = format!("{seat} got {of} {seq} at {at_ms} ms: {:?}", log.intervals(user));
                self.violated(Invariant::RemovalExact, what);
            }
        }
        for (id, log) in &self.truth.logs {
            for event in &log.events {
                self.acts_as_a_member(id, log, event);
            }
        }
    }

    /// Whether a user could see an event at that time: in a membership of theirs that had begun, or before one where
    /// history shows all.
    fn may_see(&self, log: &Log, user: &UserId, seq: Seq, at_ms: u64) -> bool {
        let began = self.recorder.now().0 - self.recorder.now_ms();
        log.intervals(user).iter().any(|interval| {
            let before_its_end = interval.ended.is_none_or(|ended| seq <= ended);
            let had_begun = interval.joined_at.0 <= began + at_ms;
            interval.contains(seq) || (log.shows_all && before_its_end && had_begun)
        })
    }

    fn acts_as_a_member(&self, id: &ConversationId, log: &Log, event: &Event) {
        let Some(actor) = &event.actor else { return };
        let is_member = log.intervals(actor).iter().any(|interval| interval.contains(event.seq));
        if !is_member {
            let what = format!("{} {} is by {actor}, no member", Short(id), event.seq);
            self.violated(Invariant::RemovalExact, what);
        }
    }

    fn marks_grow(&self) {
        for mark in &self.ledger.book().marks {
            let entry = self.truth.inboxes.get(&mark.user);
            let Some(entry) = entry.and_then(|inbox| inbox.get(&mark.conversation)) else {
                continue;
            };
            let now = if mark.is_read { entry.read } else { entry.delivered };
            if entry.joined == mark.joined && now < mark.seq {
                let what = format!(
                    "{} {}: set to {}, is {now}",
                    mark.user,
                    Short(&mark.conversation),
                    mark.seq
                );
                self.violated(Invariant::MarksGrow, what);
            }
        }
    }

    /// The store's own count, by the rule and nothing else.
    fn unread_is_a_function(&self, user: &UserId) {
        for (id, entry) in &self.truth.inboxes[user] {
            let log = &self.truth.logs[id];
            let from = if log.shows_all { Seq(1) } else { entry.joined };
            let right = unread(log.messages.values(), user, entry.read, from);
            if entry.unread != right {
                let what = format!(
                    "{user} {}: {} in the store, {right} by the rule",
                    Short(id),
                    entry.unread
                );
                self.violated(Invariant::UnreadIsAFunction, what);
            }
        }
    }

    fn resume_complete(&self, device: &Device, view: &ClientView) {
        let name = &device.seat.name;
        let inbox = &self.truth.inboxes[&device.seat.user];
        let has: BTreeSet<_> = view.conversations.keys().collect();
        let should: BTreeSet<_> = inbox.keys().collect();
        for id in has.symmetric_difference(&should) {
            let how = if should.contains(id) { "misses" } else { "still has" };
            self.violated(Invariant::ResumeComplete, format!("{name} {how} {}", Short(id)));
        }
        let shown = device.shown();
        for (id, state) in &view.conversations {
            let Some(log) = self.truth.logs.get(id) else { continue };
            let head = log.head();
            if state.cursor != head && should.contains(id) {
                let what = format!("{name} is at {} of {} {}", state.cursor.seq, Short(id), head.seq);
                self.violated(Invariant::ResumeComplete, what);
                continue;
            }
            let messages = shown.conversations.get(id).map(|place| &place.messages);
            for (message, known) in messages.into_iter().flatten() {
                if !log.shows_all && known.seq < state.entry.joined {
                    // Of an earlier membership: what became of it meanwhile is not for this one to see.
                    continue;
                }
                let now = log.messages.get(message);
                if now != Some(known) {
                    let now = now.map_or_else(|| "no more".to_owned(), brief);
                    let what = format!("{name} {} has {}, which is {now}", Short(id), brief(known));
                    self.violated(Invariant::ResumeComplete, what);
                }
            }
        }
    }

    /// Every device of a user shows the store's inbox: so they show the same.
    fn devices_agree(&self, device: &Device, view: &ClientView) {
        let name = &device.seat.name;
        for (id, right) in &self.truth.inboxes[&device.seat.user] {
            let Some(state) = view.conversations.get(id) else {
                continue;
            };
            let mine = &state.entry;
            if mine.unread != right.unread {
                let what = format!("{name} {} shows {}, not {}", Short(id), mine.unread, right.unread);
                self.violated(Invariant::UnreadIsAFunction, what);
            }
            if (mine.read, mine.delivered) != (right.read, right.delivered) {
                let what = format!(
                    "{name} {} shows marks {}/{}, not {}/{}",
                    Short(id),
                    mine.read,
                    mine.delivered,
                    right.read,
                    right.delivered
                );
                self.violated(Invariant::DevicesAgree, what);
            }
            if let Some(difference) = difference(mine, right) {
                self.violated(Invariant::DevicesAgree, format!("{name} {} {difference}", Short(id)));
            }
        }
    }
}

/// The first thing besides marks and count in which two entries differ.
fn difference(mine: &InboxEntry, right: &InboxEntry) -> Option<String> {
    let told = |what: &str, mine: &dyn std::fmt::Debug, right: &dyn std::fmt::Debug| {
        Some(format!("shows {what} {mine:?}, not {right:?}"))
    };
    if mine.muted != right.muted {
        return told("muted", &mine.muted, &right.muted);
    }
    if mine.archived != right.archived {
        return told("archived", &mine.archived, &right.archived);
    }
    if mine.role != right.role {
        return told("the role", &mine.role, &right.role);
    }
    if mine.joined != right.joined {
        return told("the join", &mine.joined, &right.joined);
    }
    if mine.last_message != right.last_message {
        let (mine, right) = (
            mine.last_message.as_ref().map(brief),
            right.last_message.as_ref().map(brief),
        );
        return told("as last", &mine, &right);
    }
    if mine.conversation != right.conversation {
        return told("the conversation", &mine.conversation, &right.conversation);
    }
    None
}

/// A message without its text.
fn brief(message: &Message) -> String {
    let Message {
        seq, version, changed, ..
    } = message;
    let deleted = if message.is_deleted() { ", deleted" } else { "" };
    let reactions = &message.reactions;
    format!("message {seq} (version {version}, changed by {changed}{deleted}, reactions {reactions:?})")
}
