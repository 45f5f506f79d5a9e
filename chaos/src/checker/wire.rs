//! What connections brought: each step of each log once, in order, without a gap, and nothing after the user's end.
//!
//! A connection's stretch of a log begins where its client said that it is, or at the head of an entry that is new to
//! the client, and goes on until a reset or an end. Behind an end it goes on with an entry of a newer membership.

use super::{Fault, Place};
use crate::history::Item;
use crate::truth::Change;
use chat_client::protocol::id::{ConversationId, Seq, UserId};
use std::collections::{BTreeSet, HashMap};

/// What was found, in the order of time.
pub(super) type Found = Vec<(Fault, String)>;

/// The connections of one process: one at a time.
#[derive(Default)]
pub(super) struct Wire {
    connection: u64,
    lines: HashMap<ConversationId, Line>,
    /// Where the newest membership began that this process was told of, on whichever connection.
    joined: HashMap<ConversationId, Seq>,
}

/// One log on one connection.
#[derive(Default)]
struct Line {
    at: Seq,
    /// Left out so far.
    missing: BTreeSet<Seq>,
    /// The user's own end was the last thing that came, here.
    ended: Option<Seq>,
    /// The head of the first entry that came after it, of a newer membership.
    anew: Option<Seq>,
}

impl Line {
    fn at(at: Seq) -> Self {
        Self { at, ..Self::default() }
    }
}

impl Wire {
    /// The process is gone, or begins.
    pub fn end(&mut self) -> Found {
        self.joined.clear();
        self.forget_all()
    }

    /// A frame of this connection follows.
    pub fn on(&mut self, connection: u64) -> Found {
        if connection == self.connection {
            return Found::new();
        }
        self.connection = connection;
        self.forget_all()
    }

    pub fn resumed(&mut self, cursors: Vec<(ConversationId, Seq)>) {
        let lines = cursors
            .into_iter()
            .map(|(conversation, at)| (conversation, Line::at(at)));
        self.lines.extend(lines);
    }

    pub fn entry(&mut self, conversation: ConversationId, head: Seq, joined: Seq) {
        let known = self.joined.entry(conversation).or_default();
        *known = joined.max(*known);
        let line = self.lines.entry(conversation).or_insert_with(|| Line::at(head));
        if line.ended.is_some_and(|ended| joined > ended) && line.anew.is_none() {
            line.anew = Some(head);
        }
    }

    pub fn reset(&mut self, conversation: Option<ConversationId>, head: Option<Seq>) -> Found {
        let Some(id) = conversation else {
            return self.forget_all();
        };
        let gone = self.lines.remove(&id);
        if let Some(head) = head {
            self.lines.insert(id, Line::at(head));
        }
        gone.iter().filter_map(|line| left_out(id, line)).collect()
    }

    pub fn heard(&mut self, place: &Place<'_>, user: &UserId, conversation: ConversationId, items: &[Item]) -> Found {
        let joined = self.joined.get(&conversation).copied().unwrap_or_default();
        let steps = items.iter().filter_map(|item| {
            let (fault, what) = self.step(place, user, conversation, joined, item)?;
            let (connection, first, last) = (self.connection, item.first, item.last.seq);
            Some((
                fault,
                format!("{conversation}: connection {connection} brought {first} to {last}: {what}"),
            ))
        });
        steps.collect()
    }

    fn forget_all(&mut self) -> Found {
        let lines = self.lines.drain();
        lines
            .filter_map(|(conversation, line)| left_out(conversation, &line))
            .collect()
    }

    fn step(
        &mut self,
        place: &Place<'_>,
        user: &UserId,
        conversation: ConversationId,
        joined: Seq,
        item: &Item,
    ) -> Option<(Fault, String)> {
        let (first, last) = (item.first, item.last.seq);
        let row = place.row(last);
        if row.is_none_or(|row| row.position != item.last || item.id.is_some_and(|id| id != row.id)) {
            let now = row.map(|row| (row.position, row.id));
            if let Some(line) = self.lines.get_mut(&conversation) {
                line.at = line.at.max(last.min(place.head()));
            }
            return Some((Fault::Unexpected, format!("there is {now:?}")));
        }
        if item.id.is_some() && !place.is_member(user, last) {
            let intervals = place.intervals(user);
            return Some((Fault::AfterRemoval, format!("{user} is there in {intervals:?}")));
        }
        let Some(line) = self.lines.get_mut(&conversation) else {
            let fault = match place.is_member(user, last) {
                true => Fault::Gap,
                false => Fault::AfterRemoval,
            };
            return Some((fault, "of a log that was not begun".to_owned()));
        };
        if let (Some(ended), None) = (line.ended, line.anew) {
            return Some((Fault::AfterRemoval, format!("{user} was told of the end at {ended}")));
        }
        if let Some(anew) = line.anew.filter(|anew| first == anew.next()) {
            line.at = anew;
        }
        let at = line.at;
        let is_end = item.id.is_some() && matches!(row.map(|row| &row.change), Some(Change::Ended(who)) if who == user);
        // The end of a membership before the one that is known ends nothing.
        line.ended = Some(last).filter(|last| is_end && *last > joined);
        line.anew = None;
        line.at = at.max(last);
        if first > at {
            line.missing.extend((at.0 + 1..first.0).map(Seq));
            return None;
        }
        let fault = match line.missing.remove(&first) {
            true => Fault::Reordered,
            false => Fault::Duplicated,
        };
        Some((fault, format!("it was at {at}")))
    }
}

fn left_out(conversation: ConversationId, line: &Line) -> Option<(Fault, String)> {
    let (first, count) = (line.missing.first()?, line.missing.len());
    let what = format!("{conversation}: a connection left {count} out, the first of them {first}");
    Some((Fault::Gap, what))
}
