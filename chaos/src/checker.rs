//! Holds the histories of all clients to what is there in the end: in linear time, without IO.
//!
//! What a killed client may have lost follows from its outbox. With it, every command that was found in it goes out
//! again; without it, whatever had no answer may be there or not. What an application was shown begins anew with each
//! process: a client keeps no place in a log beyond its life.

mod client;
#[cfg(test)]
mod tests;
mod wire;

use crate::history::{Entry, Writing};
use crate::text::Says;
use crate::truth::{Body, Change, Interval, Reading, Row, Truth, memberships};
use chat_client::protocol::id::{CommandId, ConversationId, MessageId, Seq, UserId};
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// So many violations of each kind are kept with their words; all are counted.
const KEPT_MAX: usize = 10;

/// What must never happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Answered as stored, and not in the log at that place, or with the place of another.
    LostAcked,
    /// In an outbox on disk, neither refused nor in the log, and not in the outbox of the next process either.
    LostKept,
    /// Asked by a client that lived to the end, and never answered.
    Unanswered,
    /// An id that is twice in a log, or an event that one application was shown, or one connection brought, twice.
    Duplicated,
    /// In a log and asked by nobody, or shown and not in the log.
    Unexpected,
    /// Shown in another order than the log's, or stored in another order than it was asked in.
    Reordered,
    /// Shown with something left out in between.
    Gap,
    /// An application was told to forget what it had, and not because its user was removed.
    Reset,
    /// In a log, and never shown to a member who was there to the end.
    NeverRead,
    /// Shown to, or done by, somebody who was no member there.
    AfterRemoval,
    /// A mark that was once further.
    MarkWentBack,
    /// A message that says something else than what was written into it last.
    Altered,
    /// Two readers who see different things in the end.
    Disagreement,
}

impl Fault {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 13] = [
        Self::LostAcked,
        Self::LostKept,
        Self::Unanswered,
        Self::Duplicated,
        Self::Unexpected,
        Self::Reordered,
        Self::Gap,
        Self::Reset,
        Self::NeverRead,
        Self::AfterRemoval,
        Self::MarkWentBack,
        Self::Altered,
        Self::Disagreement,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::LostAcked => "lost acked",
            Self::LostKept => "lost kept",
            Self::Unanswered => "unanswered",
            Self::Duplicated => "duplicated",
            Self::Unexpected => "unexpected",
            Self::Reordered => "reordered",
            Self::Gap => "gap",
            Self::Reset => "reset",
            Self::NeverRead => "never read",
            Self::AfterRemoval => "delivered after removal",
            Self::MarkWentBack => "mark went back",
            Self::Altered => "altered",
            Self::Disagreement => "readers disagree",
        }
    }
}

/// What the checker found.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    counts: BTreeMap<Fault, u64>,
    /// The first of each kind: what, and with which ids.
    pub kept: Vec<(Fault, String)>,
}

impl Verdict {
    /// How often.
    pub fn count(&self, fault: Fault) -> u64 {
        self.counts.get(&fault).copied().unwrap_or(0)
    }

    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.counts.is_empty()
    }

    fn add(&mut self, fault: Fault, what: impl FnOnce() -> String) {
        let count = self.counts.entry(fault).or_default();
        *count += 1;
        if *count <= KEPT_MAX as u64 {
            self.kept.push((fault, what()));
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = Fault::ALL.map(|fault| format!("{} {}", fault.name(), self.count(fault)));
        f.write_str(&counts.join(", "))
    }
}

/// Takes the histories one after the other.
pub struct Checker<'a> {
    truth: &'a Truth,
    places: HashMap<ConversationId, Place<'a>>,
    asked: HashMap<(ConversationId, CommandId), Asked>,
    verdict: Verdict,
}

/// A log, and what follows from it.
struct Place<'a> {
    rows: &'a [Row],
    seqs: HashMap<CommandId, Seq>,
    members: HashMap<UserId, Vec<Interval>>,
    /// The commands that made each version of a message, and whether that one is its tombstone.
    versions: HashMap<MessageId, Vec<(CommandId, bool)>>,
    /// The last event about each message, by the message's seq.
    touched: HashMap<Seq, Seq>,
}

struct Asked {
    user: UserId,
    /// Whether it writes a message.
    sends: bool,
    writes: Option<Writing>,
    /// The code of a refusal.
    refused: Option<String>,
}

impl Place<'_> {
    fn row(&self, seq: Seq) -> Option<&Row> {
        self.rows.get(usize::try_from(seq.0.checked_sub(1)?).ok()?)
    }

    fn head(&self) -> Seq {
        self.rows.last().map_or(Seq::ZERO, |row| row.position.seq)
    }

    fn intervals(&self, user: &UserId) -> &[Interval] {
        self.members.get(user).map_or(&[], Vec::as_slice)
    }

    fn is_member(&self, user: &UserId, seq: Seq) -> bool {
        self.intervals(user).iter().any(|interval| interval.contains(seq))
    }

    fn was_removed(&self, user: &UserId) -> bool {
        self.intervals(user).iter().any(|interval| interval.ended.is_some())
    }
}

impl<'a> Checker<'a> {
    /// Begins with what is there: the logs by themselves.
    pub fn new(truth: &'a Truth) -> Self {
        let mut verdict = Verdict::default();
        let places = truth
            .logs
            .iter()
            .map(|(id, rows)| (*id, place(*id, rows, &mut verdict)));
        Self {
            places: places.collect(),
            truth,
            asked: HashMap::new(),
            verdict,
        }
    }

    /// Takes the history of one device of a user.
    pub fn client(&mut self, name: &str, user: &UserId, entries: impl IntoIterator<Item = Entry>) {
        client::judge(self, name, user, entries);
    }

    /// Judges what only all histories together tell.
    pub fn finish(mut self) -> Verdict {
        self.everything_was_asked_for();
        self.all_readers_agree();
        self.messages_say_what_was_written();
        self.verdict
    }

    fn everything_was_asked_for(&mut self) {
        for (conversation, place) in &self.places {
            for row in place.rows {
                let at = || format!("{conversation} {} ({})", row.position.seq, row.id);
                match self.asked.get(&(*conversation, row.id)) {
                    None => self
                        .verdict
                        .add(Fault::Unexpected, || format!("{}: nobody asked for it", at())),
                    Some(asked) if row.actor.as_ref() != Some(&asked.user) => {
                        let what = || format!("{}: by {:?}, asked by {}", at(), row.actor, asked.user);
                        self.verdict.add(Fault::Unexpected, what);
                    }
                    // Whoever is no member any more is told so, whatever became of an earlier attempt.
                    Some(Asked {
                        refused: Some(code),
                        user,
                        ..
                    }) if code != "not_found" || !place.was_removed(user) => {
                        let what = || format!("{}: it was refused with {code}", at());
                        self.verdict.add(Fault::Unexpected, what);
                    }
                    Some(_) => {}
                }
                let acted = row.actor.as_ref().filter(|_| !matches!(row.change, Change::Began(_)));
                if let Some(actor) = acted.filter(|actor| !place.is_member(actor, row.position.seq)) {
                    let what = || format!("{}: {actor} was no member", at());
                    self.verdict.add(Fault::AfterRemoval, what);
                }
            }
        }
    }

    fn all_readers_agree(&mut self) {
        let mut of_logs = Reading::default();
        for (id, place) in &self.places {
            let rows = place.rows.iter().map(|row| (row.position, row.id));
            of_logs.logs.insert(*id, rows.collect());
        }
        for reading in &self.truth.readings {
            let by = &reading.by;
            for (id, rows) in &of_logs.logs {
                let Some(theirs) = reading.logs.get(id) else {
                    let what = || format!("{by} sees no {id}");
                    self.verdict.add(Fault::Disagreement, what);
                    continue;
                };
                let first = (0..rows.len().max(theirs.len())).find(|at| rows.get(*at) != theirs.get(*at));
                if let Some(at) = first {
                    let what = || {
                        format!(
                            "{by} sees {id} at {}: {:?}, not {:?}",
                            at + 1,
                            theirs.get(at),
                            rows.get(at)
                        )
                    };
                    self.verdict.add(Fault::Disagreement, what);
                }
            }
            self.members_agree(reading);
        }
    }

    /// Who is a member follows from the log.
    fn members_agree(&mut self, reading: &Reading) {
        let by = &reading.by;
        for (id, place) in &self.places {
            for (user, intervals) in &place.members {
                let open = intervals.last().filter(|last| last.ended.is_none());
                let shown = reading.members.get(&(*id, user.clone()));
                if open.map(|open| open.joined) != shown.map(|shown| shown.joined) {
                    let what = || format!("{by} sees {user} in {id} as {shown:?}, by the log it is {open:?}");
                    self.verdict.add(Fault::Disagreement, what);
                }
            }
        }
        for ((id, user), shown) in &reading.members {
            let place = self.places.get(id);
            if place.is_none_or(|place| !place.members.contains_key(user)) {
                let what = || format!("{by} sees {user} in {id} as {shown:?}, who never was there by the log");
                self.verdict.add(Fault::Disagreement, what);
            }
            let first = self.truth.readings.first();
            let first = first.and_then(|first| first.members.get(&(*id, user.clone())));
            if let Some(first) = first.filter(|first| first.joined == shown.joined && first.read != shown.read) {
                let what = || format!("{by} sees {user} in {id} as {shown:?}, another sees {first:?}");
                self.verdict.add(Fault::Disagreement, what);
            }
        }
    }

    /// What a message says follows from the log and from what was asked.
    fn messages_say_what_was_written(&mut self) {
        for (id, place) in &self.places {
            for (message, versions) in &place.versions {
                let last = versions
                    .last()
                    .and_then(|(last, _)| self.asked.get(&(*id, *last)).map(|asked| (last, asked)));
                // What nobody asked for is told of elsewhere.
                let Some((last, asked)) = last else { continue };
                let wanted = asked
                    .writes
                    .filter(|writes| writes.message == *message)
                    .map(|writes| Body {
                        version: versions.len() as u64,
                        says: writes
                            .letters
                            .map_or(Says::Nothing, |letters| Says::Text(*last, letters)),
                    });
                for reading in &self.truth.readings {
                    let by = &reading.by;
                    let shown = reading.messages.get(&(*id, *message));
                    if shown != wanted.as_ref() {
                        let what =
                            || format!("{by} sees message {message} of {id} as {shown:?}, {wanted:?} was written");
                        self.verdict.add(Fault::Altered, what);
                    }
                }
            }
        }
        for reading in &self.truth.readings {
            for (id, message) in reading.messages.keys() {
                let place = self.places.get(id);
                if place.is_none_or(|place| !place.versions.contains_key(message)) {
                    let by = &reading.by;
                    let what = || format!("{by} sees a message {message} in {id}, of which the log says nothing");
                    self.verdict.add(Fault::Altered, what);
                }
            }
        }
    }
}

fn place<'a>(id: ConversationId, rows: &'a [Row], verdict: &mut Verdict) -> Place<'a> {
    let mut seqs = HashMap::with_capacity(rows.len());
    let mut versions: HashMap<MessageId, Vec<(CommandId, bool)>> = HashMap::new();
    let mut touched = HashMap::new();
    for (row, wanted) in rows.iter().zip(1..) {
        let seq = row.position.seq;
        if seq != Seq(wanted) {
            verdict.add(Fault::Gap, || {
                format!("{id}: {seq} stands in place {wanted} of the log")
            });
        }
        let first = *seqs.entry(row.id).or_insert(seq);
        if first != seq {
            verdict.add(Fault::Duplicated, || {
                format!("{id}: {} stands at {first} and at {seq}", row.id)
            });
            continue;
        }
        if let Some(message) = row.change.writes() {
            let deletes = matches!(row.change, Change::Deleted { .. });
            versions.entry(message).or_default().push((row.id, deletes));
        }
        if let Some(message) = row.change.about() {
            touched.insert(message, seq);
        }
    }
    Place {
        rows,
        seqs,
        members: memberships(rows),
        versions,
        touched,
    }
}
