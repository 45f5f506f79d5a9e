//! What the client knows: a cursor and an inbox entry per conversation, kept true by the events.
//!
//! An entry is true at its `head`. Events up to it change nothing (they are in it already), events after it are folded
//! in and move the head. An entry that the server sends replaces the one here when its head is not behind; otherwise
//! only what the log does not carry (marks, mute, archive) is taken from it.

use super::unread::{Ledger, UNREAD_MAX};
use crate::command::Command;
use crate::conversation::{HistoryVisibility, InboxEntry, Role};
use crate::event::{Event, EventKind};
use crate::id::{ConversationId, Epoch, Position, Revision, Seq, UserId};
use crate::message::Message;
use crate::planted::{Bug, is_planted};
use std::collections::{BTreeMap, BTreeSet};

/// What a client knows; equal on two devices of one user once both are synced.
#[derive(Debug, Clone, Default)]
pub struct ClientView {
    /// Who one is; known from the first welcome on.
    pub user: Option<UserId>,
    /// The incarnation of the server's log that the cursors belong to.
    pub epoch: Option<Epoch>,
    /// The revision of the inbox that one has; nothing until the inbox was complete once.
    pub revision: Option<Revision>,
    /// Whether everything missed has arrived on the present connection.
    pub synced: bool,
    /// The conversations that one is a member of.
    pub conversations: BTreeMap<ConversationId, ConversationState>,
    /// Conversations whose count of unread messages is a guess that the server has to replace.
    pub(super) stale: BTreeSet<ConversationId>,
}

/// What a client knows of one conversation.
#[derive(Debug, Clone)]
pub struct ConversationState {
    /// The last position that was handed to the application.
    pub cursor: Position,
    /// The inbox entry, true at its `head`, which is never before the cursor.
    pub entry: InboxEntry,
    /// The position before that one; only a planted fault goes back to it.
    pub(super) previous: Position,
    ledger: Ledger,
    /// Whether the count of unread messages became a guess.
    stale: bool,
}

impl ClientView {
    /// Forgets everything that belongs to an epoch.
    pub(super) fn forget(&mut self) {
        self.conversations.clear();
        self.stale.clear();
        self.revision = None;
        self.synced = false;
    }

    /// Takes an entry that the server sent; says whether the conversation is new here.
    pub(super) fn take_entry(&mut self, entry: InboxEntry) -> bool {
        let id = entry.conversation.id;
        if let Some(state) = self.conversations.get_mut(&id) {
            state.merge(entry);
            self.note(id);
            return false;
        }
        self.conversations.insert(id, ConversationState::new(entry));
        true
    }

    /// Starts a conversation anew at its entry’s head.
    pub(super) fn restart(&mut self, entry: InboxEntry) {
        self.conversations
            .insert(entry.conversation.id, ConversationState::new(entry));
    }

    /// Folds an event into its conversation’s entry; says whether it ended one’s own membership.
    pub(super) fn fold(&mut self, event: &Event) -> bool {
        let Some(state) = self.conversations.get_mut(&event.conversation) else {
            return false;
        };
        let ended = event.seq > state.entry.joined
            && match &event.kind {
                EventKind::ConversationDeleted(_) => true,
                EventKind::MemberLeft(left) => Some(&left.user) == self.user.as_ref(),
                EventKind::MemberRemoved(removed) => Some(&removed.user) == self.user.as_ref(),
                _ => false,
            };
        if ended {
            self.conversations.remove(&event.conversation);
            return true;
        }
        if event.seq > state.entry.head.seq {
            state.entry.head = event.position();
            state.fold(&event.kind, event.seq, self.user.as_ref());
            self.note(event.conversation);
        }
        false
    }

    /// Takes what a command that was answered with success says of one’s own inbox.
    pub(super) fn done(&mut self, command: &Command) {
        let Some(id) = command.conversation() else { return };
        let Some(state) = self.conversations.get_mut(&id) else {
            return;
        };
        match command {
            Command::MarkRead(mark) => state.read_up_to(mark.seq),
            Command::MarkDelivered(mark) => state.entry.delivered = state.entry.delivered.max(mark.seq),
            Command::InboxMute(set) => state.entry.muted = set.muted,
            Command::InboxArchive(set) => state.entry.archived = set.archived,
            _ => {}
        }
        self.note(id);
    }

    fn note(&mut self, id: ConversationId) {
        if let Some(state) = self.conversations.get_mut(&id)
            && std::mem::take(&mut state.stale)
        {
            self.stale.insert(id);
        }
    }
}

impl ConversationState {
    fn new(entry: InboxEntry) -> Self {
        Self {
            cursor: entry.head,
            previous: entry.head,
            ledger: Ledger::starting_at(entry.head.seq),
            entry,
            stale: false,
        }
    }

    /// What the client says at resume that it has.
    pub(super) fn resumes_at(&self) -> Position {
        match is_planted(Bug::ClientAppliesTwice) {
            true => self.previous,
            false => self.cursor,
        }
    }

    /// The log went on to `position` without anything for this viewer.
    pub(super) fn pass(&mut self, position: Position) {
        if position.seq > self.entry.head.seq {
            self.entry.head = position;
        }
    }

    fn fold(&mut self, kind: &EventKind, seq: Seq, user: Option<&UserId>) {
        let entry = &mut self.entry;
        match kind {
            EventKind::ConversationCreated(created) => entry.conversation = created.conversation.clone(),
            EventKind::ConversationUpdated(updated) => entry.conversation = updated.conversation.clone(),
            EventKind::MemberJoined(joined) => entry.conversation.member_count = joined.member_count,
            EventKind::MemberLeft(left) => entry.conversation.member_count = left.member_count,
            EventKind::MemberRemoved(removed) => entry.conversation.member_count = removed.member_count,
            EventKind::MemberRoleChanged(change) => {
                if Some(&change.user) == user {
                    entry.role = change.role.clone();
                } else if change.role == Role::Owner && entry.role == Role::Owner {
                    // There is one owner: whoever hands it over becomes an admin.
                    entry.role = Role::Admin;
                }
            }
            EventKind::MessageNew(new) => {
                if new.message.sender.is_some() && new.message.sender.as_ref() == user {
                    entry.read = entry.read.max(seq);
                    entry.delivered = entry.delivered.max(seq);
                    entry.unread = self.ledger.count_after(entry.read).unwrap_or(0);
                } else if self.ledger.message(seq, new.message.is_deleted()) && seq > entry.read {
                    entry.unread = (entry.unread + 1).min(UNREAD_MAX);
                }
            }
            EventKind::MessageDeleted(deleted) => {
                let message = &deleted.message;
                let by_others = message.sender.is_none() || message.sender.as_ref() != user;
                if by_others && self.ledger.delete(seq, message.seq) && message.seq > entry.read {
                    self.stale |= entry.unread >= UNREAD_MAX;
                    entry.unread = entry.unread.saturating_sub(1);
                }
            }
            EventKind::ConversationDeleted(_)
            | EventKind::MessageUpdated(_)
            | EventKind::ReactionAdded(_)
            | EventKind::ReactionRemoved(_)
            | EventKind::Unknown(_) => {}
        }
        if let Some(message) = kind.message()
            && visible(message, &self.entry)
            && newer(message, self.entry.last_message.as_ref())
        {
            self.entry.last_message = Some(message.clone());
        }
    }

    fn merge(&mut self, pushed: InboxEntry) {
        let read = self.entry.read.max(pushed.read);
        let delivered = self.entry.delivered.max(pushed.delivered);
        if pushed.head.seq >= self.entry.head.seq {
            self.stale = false;
            self.ledger.restart(pushed.head.seq);
            let behind = pushed.read < read;
            self.entry = pushed;
            if behind {
                self.read_up_to(read);
            }
        } else if pushed.revision > self.entry.revision {
            let count = match pushed.read == read {
                true => self.ledger.count_from(pushed.unread, pushed.head.seq, read),
                false => self.ledger.count_after(read),
            };
            self.stale = count.is_none();
            self.entry.unread = count.unwrap_or(self.entry.unread);
            self.entry.muted = pushed.muted;
            self.entry.archived = pushed.archived;
            self.entry.revision = pushed.revision;
        }
        self.entry.read = read;
        self.entry.delivered = delivered;
    }

    fn read_up_to(&mut self, seq: Seq) {
        // What is read was delivered.
        self.entry.delivered = self.entry.delivered.max(seq);
        if seq <= self.entry.read {
            return;
        }
        self.entry.read = seq;
        let count = match seq >= self.entry.head.seq {
            true => Some(0),
            false => self.ledger.count_after(seq),
        };
        // Without the seqs the old count is an upper bound; the server knows better.
        self.stale |= count.is_none();
        self.entry.unread = count.unwrap_or(self.entry.unread);
    }
}

/// Whether one's history shows a message: an event after one's join may be about a message before it.
fn visible(message: &Message, entry: &InboxEntry) -> bool {
    message.seq >= entry.joined || entry.conversation.history == HistoryVisibility::All
}

/// Whether a message takes the place of the last one: a later message, or a later state of the same.
fn newer(message: &Message, last: Option<&Message>) -> bool {
    last.is_none_or(|last| message.seq > last.seq || (message.seq == last.seq && message.changed >= last.changed))
}
