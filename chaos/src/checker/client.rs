//! One device's history, from its first process to its last.

use super::wire::{Found, Wire};
use super::{Asked, Checker, Fault, Place};
use crate::history::{Entry, Note, Writing};
use crate::truth::{Change, Interval};
use chat_client::protocol::id::{CommandId, ConversationId, MessageId, Position, Seq, UserId};
use std::collections::{BTreeSet, HashMap, HashSet};

pub(super) fn judge(checker: &mut Checker<'_>, name: &str, user: &UserId, entries: impl IntoIterator<Item = Entry>) {
    let mut device = Device {
        checker,
        name,
        user,
        views: HashMap::new(),
        ended: HashSet::new(),
        wire: Wire::default(),
        forgotten: HashMap::new(),
        marks: HashMap::new(),
        last: HashMap::new(),
        open: HashMap::new(),
        kept: HashMap::new(),
    };
    for entry in entries {
        device.take(entry.note);
    }
    device.end();
}

struct Device<'c, 'a> {
    checker: &'c mut Checker<'a>,
    name: &'c str,
    user: &'c UserId,
    /// What this process's application was shown.
    views: HashMap<ConversationId, View>,
    /// Conversations whose end this process's application was shown.
    ended: HashSet<ConversationId>,
    /// The furthest marks in each membership, over all processes.
    marks: HashMap<(ConversationId, Seq), (Seq, Seq)>,
    /// The last of this outbox's commands in each log, in the order of asking.
    last: HashMap<ConversationId, (Seq, CommandId)>,
    /// Asked by this process, and not answered.
    open: HashMap<CommandId, ConversationId>,
    /// What connections of this process brought.
    wire: Wire,
    /// Where the membership began that was last said to be over, in conversations that were to be forgotten.
    forgotten: HashMap<ConversationId, Seq>,
    /// On disk in the outbox, and not settled.
    kept: HashMap<CommandId, ConversationId>,
}

/// One conversation as an application has it.
#[derive(Default)]
struct View {
    cursor: Seq,
    joined: Seq,
    shown: HashSet<Seq>,
    /// Left out so far.
    missing: BTreeSet<Seq>,
}

impl<'a> Device<'_, 'a> {
    fn take(&mut self, note: Note) {
        match note {
            Note::Started { keeps_outbox, outbox } => self.start(keeps_outbox, outbox),
            Note::Asked {
                conversation,
                id,
                sends,
                writes,
            } => self.ask(conversation, id, sends, writes),
            Note::Kept { ids } => {
                let kept = ids.into_iter().filter_map(|id| Some((id, *self.open.get(&id)?)));
                self.kept.extend(kept);
            }
            Note::Resumed { connection, cursors } => {
                let found = self.wire.on(connection);
                self.found(found);
                self.wire.resumed(cursors);
            }
            Note::Heard {
                connection,
                conversation,
                items,
            } => {
                let mut found = self.wire.on(connection);
                if let Some(place) = self.checker.places.get(&conversation) {
                    found.extend(self.wire.heard(place, self.user, conversation, &items));
                }
                self.found(found);
            }
            Note::HeardEntry {
                connection,
                conversation,
                head,
                joined,
            } => {
                let found = self.wire.on(connection);
                self.found(found);
                self.wire.entry(conversation, head, joined);
            }
            Note::HeardReset {
                connection,
                conversation,
                head,
            } => {
                let mut found = self.wire.on(connection);
                found.extend(self.wire.reset(conversation, head));
                self.found(found);
            }
            Note::Stored {
                conversation,
                id,
                by,
                position,
            } => self.stored(conversation, id, by, position),
            Note::Refused { conversation, id, code } => {
                self.open.remove(&id);
                self.kept.remove(&id);
                if let Some(asked) = self.checker.asked.get_mut(&(conversation, id)) {
                    asked.refused = Some(code);
                }
            }
            Note::Event {
                conversation,
                position,
                id,
                message,
            } => {
                if let Some((message, version, by)) = message {
                    self.message(conversation, message, version, by);
                }
                self.shown(conversation, position, id);
            }
            Note::Skipped { conversation, from, to } => self.skipped(conversation, from, to),
            Note::Inbox {
                conversation,
                head,
                joined,
                read,
                delivered,
            } => {
                let row = self
                    .checker
                    .places
                    .get(&conversation)
                    .and_then(|place| place.row(head.seq));
                if self.checker.places.contains_key(&conversation) && row.is_none_or(|row| row.position != head) {
                    let what = format!("{conversation}: an entry of {} ({})", head.seq, head.tag);
                    self.complain(Fault::Unexpected, what);
                } else {
                    self.entry(conversation, head.seq, joined);
                }
                self.ended.remove(&conversation);
                let view = self.views.entry(conversation).or_insert_with(|| View {
                    cursor: head.seq,
                    ..View::default()
                });
                view.joined = joined;
                self.marked(conversation, joined, read, delivered, true);
            }
            Note::Reset {
                conversation: None,
                reason,
            } => {
                self.complain(Fault::Reset, format!("everything: {reason}"));
                self.forget_all();
            }
            Note::Reset {
                conversation: Some(conversation),
                reason,
            } => {
                let cursor = self.views.get(&conversation).map_or(Seq::ZERO, |view| view.cursor);
                let intervals = self
                    .place(conversation)
                    .map_or(&[][..], |place| place.intervals(self.user));
                let joined = self.views.get(&conversation).map(|view| view.joined);
                let ended = |interval: &Interval| {
                    let is_it = joined.is_none_or(|joined| interval.joined == joined);
                    is_it && interval.ended.is_some_and(|ended| ended > cursor)
                };
                if reason != "not_found" || !intervals.iter().any(ended) {
                    self.complain(Fault::Reset, format!("{conversation} at {cursor}: {reason}"));
                } else if let Some(joined) = joined {
                    self.forgotten.insert(conversation, joined);
                }
                self.forget(conversation);
            }
            Note::Marked {
                conversation,
                joined,
                read,
            } => self.marked(conversation, joined, read, Seq::ZERO, false),
            Note::Synced | Note::Disconnected => {}
        }
    }

    fn complain(&mut self, fault: Fault, what: String) {
        let name = self.name;
        self.checker.verdict.add(fault, || format!("{name}: {what}"));
    }

    fn found(&mut self, found: Found) {
        found.into_iter().for_each(|(fault, what)| self.complain(fault, what));
    }

    fn place(&self, conversation: ConversationId) -> Option<&Place<'a>> {
        self.checker.places.get(&conversation)
    }

    fn start(&mut self, keeps_outbox: bool, outbox: Vec<CommandId>) {
        self.forget_all();
        self.ended.clear();
        let found = self.wire.end();
        self.found(found);
        if keeps_outbox {
            let outbox: HashSet<CommandId> = outbox.into_iter().collect();
            // A command leaves the disk when it is settled, which a killed process may not have written down.
            let mut lost: Vec<String> = Vec::new();
            for (id, conversation) in &self.kept {
                if !outbox.contains(id) && !self.is_in_log(*conversation, *id) {
                    lost.push(format!(
                        "{conversation}: {id} was on disk, and the next process did not find it"
                    ));
                }
            }
            lost.into_iter().for_each(|what| self.complain(Fault::LostKept, what));
            // What else is not in the outbox was answered, or had not been kept when the process was killed.
            let known = outbox.into_iter().filter_map(|id| {
                let earlier = self.kept.get(&id).or_else(|| self.open.get(&id));
                Some((id, *earlier?))
            });
            self.kept = known.collect();
        } else {
            // What had no answer may be there or not, and may be stored late: it has no order with what comes.
            self.kept.clear();
            self.last.clear();
        }
        self.open.clear();
    }

    fn is_in_log(&self, conversation: ConversationId, id: CommandId) -> bool {
        self.place(conversation)
            .is_some_and(|place| place.seqs.contains_key(&id))
    }

    fn ask(&mut self, conversation: ConversationId, id: CommandId, sends: bool, writes: Option<Writing>) {
        self.open.insert(id, conversation);
        let asked = Asked {
            user: self.user.clone(),
            sends,
            writes,
            refused: None,
        };
        self.checker.asked.insert((conversation, id), asked);
        let Some(seq) = self.place(conversation).and_then(|place| place.seqs.get(&id).copied()) else {
            return;
        };
        if let Some((before, earlier)) = self.last.insert(conversation, (seq, id))
            && before > seq
        {
            let what = format!("{conversation}: {id} was asked after {earlier} and stands at {seq}, before {before}");
            self.complain(Fault::Reordered, what);
        }
    }

    fn stored(&mut self, conversation: ConversationId, id: CommandId, by: CommandId, position: Position) {
        self.open.remove(&id);
        self.kept.remove(&id);
        let row = self.place(conversation).and_then(|place| place.row(position.seq));
        if row.is_none_or(|row| (row.position, row.id) != (position, by)) {
            let now = row.map(|row| row.id);
            let what = format!(
                "{conversation}: {id} was stored at {}, where there is {now:?}",
                position.seq
            );
            return self.complain(Fault::LostAcked, what);
        }
        // Where the same was done before, that is the answer; but each message is one of its own.
        let sends = self
            .checker
            .asked
            .get(&(conversation, id))
            .is_some_and(|asked| asked.sends);
        if sends && by != id {
            let what = format!("{conversation}: {id} was answered with {by} at {}", position.seq);
            self.complain(Fault::LostAcked, what);
        }
    }

    /// A copy of a message that was shown: one of the versions that it has had.
    fn message(&mut self, conversation: ConversationId, message: MessageId, version: u64, by: Option<CommandId>) {
        let Some(place) = self.place(conversation) else { return };
        let versions = place.versions.get(&message).map_or(&[][..], Vec::as_slice);
        let index = usize::try_from(version).ok().and_then(|version| version.checked_sub(1));
        let Some((wrote, deletes)) = index.and_then(|index| versions.get(index).copied()) else {
            let stored = versions.len();
            let what = format!("{conversation}: message {message} in version {version}, stored is {stored}");
            return self.complain(Fault::Unexpected, what);
        };
        if by != Some(wrote).filter(|_| !deletes) {
            let what = format!(
                "{conversation}: message {message} in version {version} shows the text of {by:?}, not of {wrote}"
            );
            self.complain(Fault::Altered, what);
        }
    }

    /// An entry is of a membership, and true at a place within it.
    fn entry(&mut self, conversation: ConversationId, head: Seq, joined: Seq) {
        let Some(place) = self.place(conversation) else { return };
        let of = place
            .intervals(self.user)
            .iter()
            .find(|interval| interval.joined == joined);
        let of = of.copied();
        let fault = match of {
            None => Fault::Unexpected,
            Some(of) if !of.contains(head) => Fault::AfterRemoval,
            Some(_) if self.forgotten.get(&conversation) == Some(&joined) => {
                let what = format!("{conversation}: is there again since {joined}, which was said to be over");
                return self.complain(Fault::Reset, what);
            }
            Some(_) => return,
        };
        let what =
            format!("{conversation}: an entry at {head} of a membership since {joined}; by the log it is {of:?}");
        self.complain(fault, what);
    }

    fn shown(&mut self, conversation: ConversationId, position: Position, id: CommandId) {
        let seq = position.seq;
        let Some(place) = self.place(conversation) else { return };
        let row = place.row(seq);
        let is_member = place.is_member(self.user, seq);
        let ends = matches!(row.map(|row| &row.change), Some(Change::Ended(user)) if user == self.user);
        if row.is_none_or(|row| (row.position, row.id) != (position, id)) {
            let (elsewhere, now) = (place.seqs.get(&id).copied(), row.map(|row| row.id));
            let what =
                format!("{conversation}: shown {id} at {seq}, where there is {now:?}; it stands at {elsewhere:?}");
            let fault = if elsewhere.is_some_and(|stands| stands != seq) {
                Fault::Reordered
            } else {
                Fault::Unexpected
            };
            return self.complain(fault, what);
        }
        if !is_member || self.ended.contains(&conversation) {
            return self.complain(Fault::AfterRemoval, format!("{conversation}: shown {seq} ({id})"));
        }
        let Some(view) = self.views.get_mut(&conversation) else {
            return self.complain(
                Fault::Gap,
                format!("{conversation}: shown {seq} of a log that was not begun"),
            );
        };
        if view.missing.remove(&seq) {
            view.shown.insert(seq);
            let after = view.cursor;
            return self.complain(
                Fault::Reordered,
                format!("{conversation}: shown {seq} ({id}) after {after}"),
            );
        }
        if !view.shown.insert(seq) {
            return self.complain(Fault::Duplicated, format!("{conversation}: shown {seq} ({id}) again"));
        }
        if seq <= view.cursor {
            let after = view.cursor;
            return self.complain(
                Fault::Reordered,
                format!("{conversation}: shown {seq} ({id}) after {after}"),
            );
        }
        view.missing.extend((view.cursor.0 + 1..seq.0).map(Seq));
        view.cursor = seq;
        if ends && seq > view.joined {
            self.forget(conversation);
            self.ended.insert(conversation);
        }
    }

    fn skipped(&mut self, conversation: ConversationId, from: Seq, to: Seq) {
        let Some(place) = self.checker.places.get(&conversation) else {
            return;
        };
        let Some(view) = self.views.get_mut(&conversation) else {
            let (fault, of) = match self.ended.contains(&conversation) {
                true => (Fault::AfterRemoval, "that had ended"),
                false => (Fault::Gap, "that was not begun"),
            };
            return self.complain(fault, format!("{conversation}: skipped {from} to {to} of a log {of}"));
        };
        // What somebody missed of a membership that ended does not come in the next one.
        let begin = from.max(view.joined).max(view.cursor.next());
        let mut stretch = (begin.0..=to.min(place.head()).0).map(Seq);
        let hidden = stretch.find(|seq| is_owed(place, self.user, *seq));
        if from.0 > view.cursor.0 + 1 {
            view.missing.extend((view.cursor.0 + 1..from.0).map(Seq));
        }
        view.cursor = view.cursor.max(to);
        if let Some(seq) = hidden {
            let what = format!("{conversation}: {seq} is a member's to see, and was skipped ({from} to {to})");
            self.complain(Fault::NeverRead, what);
        }
    }

    /// A mark that was answered as set, or one that is shown.
    fn marked(&mut self, conversation: ConversationId, joined: Seq, read: Seq, delivered: Seq, is_shown: bool) {
        let furthest = self.marks.entry((conversation, joined)).or_default();
        let before = *furthest;
        furthest.0 = before.0.max(read);
        furthest.1 = before.1.max(delivered);
        if is_shown && (read < before.0 || delivered < before.1) {
            let what = format!(
                "{conversation}: shown {read} as read and {delivered} as delivered, after {} and {}",
                before.0, before.1
            );
            self.complain(Fault::MarkWentBack, what);
        }
    }

    fn forget_all(&mut self) {
        let conversations: Vec<ConversationId> = self.views.keys().copied().collect();
        conversations
            .into_iter()
            .for_each(|conversation| self.forget(conversation));
    }

    fn forget(&mut self, conversation: ConversationId) {
        let missing = self.views.remove(&conversation).map(|view| view.missing);
        if let Some(first) = missing.as_ref().and_then(BTreeSet::first) {
            let count = missing.as_ref().map_or(0, BTreeSet::len);
            self.complain(
                Fault::Gap,
                format!("{conversation}: {count} left out, the first of them {first}"),
            );
        }
    }

    /// This client lived to the end: it has been answered, and has read everything.
    fn end(&mut self) {
        for (id, conversation) in std::mem::take(&mut self.open) {
            self.kept.remove(&id);
            self.complain(Fault::Unanswered, format!("{conversation}: {id}"));
        }
        for (id, conversation) in std::mem::take(&mut self.kept) {
            if !self.is_in_log(conversation, id) {
                self.complain(Fault::LostKept, format!("{conversation}: {id}"));
            }
        }
        let mut behind = Vec::new();
        for (conversation, place) in &self.checker.places {
            let is_in = place
                .intervals(self.user)
                .last()
                .is_some_and(|last| last.ended.is_none());
            let at = self.views.get(conversation).map(|view| view.cursor);
            if is_in && at != Some(place.head()) {
                behind.push(format!("{conversation}: is at {at:?} of {}", place.head()));
            }
            if let Some(at) = at.filter(|_| !is_in) {
                behind.push(format!("{conversation}: is at {at}, and was never told of the end"));
            }
        }
        behind
            .into_iter()
            .for_each(|what| self.complain(Fault::NeverRead, what));
        self.marks_stand();
        self.forget_all();
        let found = self.wire.end();
        self.found(found);
    }

    /// In the end every reader sees the marks at least where this client saw them.
    fn marks_stand(&mut self) {
        let truth = self.checker.truth;
        for ((conversation, joined), (read, _)) in std::mem::take(&mut self.marks) {
            for reading in &truth.readings {
                let shown = reading.members.get(&(conversation, self.user.clone()));
                let now = shown.filter(|shown| shown.joined == joined).map(|shown| shown.read);
                if let Some(now) = now.filter(|now| *now < read) {
                    let what = format!("{conversation}: {} shows {now} as read, it was {read}", reading.by);
                    self.complain(Fault::MarkWentBack, what);
                }
            }
        }
    }
}

/// Whether a member is to be shown what is at this seq.
fn is_owed(place: &Place<'_>, user: &UserId, seq: Seq) -> bool {
    let interval = place.intervals(user).iter().find(|interval| interval.contains(seq));
    let (Some(interval), Some(row)) = (interval, place.row(seq)) else {
        return false;
    };
    let message = match (&row.change, row.change.about()) {
        (Change::Message(_), _) => seq,
        // What happens to a message from before one's time is not for one to see.
        (_, Some(message)) if message < interval.joined => return false,
        (_, Some(message)) => message,
        (_, None) => return true,
    };
    let touched = place.touched.get(&message).copied().unwrap_or_default();
    // It would show what was written after the end.
    interval.ended.is_none_or(|ended| touched <= ended)
}
