//! Which part of a log a viewer may see.

use chat_protocol::conversation::{HistoryVisibility, InboxEntry};
use chat_protocol::event::Event;
use chat_protocol::id::{Seq, Timestamp};

/// The part of a log that a viewer may see, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visible {
    /// The first seq.
    pub from: Seq,
    /// The last seq, for a viewer whose membership ended: their own removal.
    pub ended: Option<Seq>,
}

impl Visible {
    /// Everything, for the host and the engine itself.
    pub const ALL: Self = Self {
        from: Seq(1),
        ended: None,
    };

    /// What the entry's user may see, as long as they are a member.
    pub fn of_entry(entry: &InboxEntry) -> Self {
        visibility(&entry.conversation.history, entry.joined, None)
    }

    /// Whether the viewer may see what is at this seq.
    pub fn contains(&self, seq: Seq) -> bool {
        seq >= self.from && self.ended.is_none_or(|ended| seq <= ended)
    }

    /// Whether an event is about a message from before the viewer's time, and would show it: an edit, a reaction, a
    /// tombstone. For that viewer it is a [`Skip`](chat_protocol::event::Skip).
    pub fn hides(&self, event: &Event) -> bool {
        event.kind.message().is_some_and(|message| message.seq < self.from)
    }
}

/// What a viewer may see, from their latest membership: the seq of its join and, when it ended, of its end.
///
/// Earlier memberships give nothing; a conversation whose history is `all` gives everything before.
pub fn visibility(history: &HistoryVisibility, joined: Seq, ended: Option<Seq>) -> Visible {
    let from = match history {
        HistoryVisibility::All => Seq(1),
        // What a newer version may mean is unknown: the narrow reading gives nothing away.
        _ => joined,
    };
    Visible { from, ended }
}

/// Whether an event shows what was written into its message after a membership ended, at this seq and time: events are
/// rendered with messages as they are now. For that member it is a [`Skip`](chat_protocol::event::Skip).
pub fn was_written_after(event: &Event, ended: Seq, ended_at: Timestamp) -> bool {
    event.kind.message().is_some_and(|message| {
        // A reaction or the tombstone tells nothing that was written since.
        let edited = message.edited_at.is_some_and(|at| at >= ended_at);
        message.changed > ended && edited && message.content.is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_sees_from_their_join_on_or_everything_where_history_is_all() {
        let joined = visibility(&HistoryVisibility::Joined, Seq(5), None);
        assert!(!joined.contains(Seq(4)));
        assert!(joined.contains(Seq(5)) && joined.contains(Seq(500)));
        assert!(visibility(&HistoryVisibility::All, Seq(5), None).contains(Seq(1)));
        let unknown = HistoryVisibility::Unknown("week".to_owned());
        assert!(!visibility(&unknown, Seq(5), None).contains(Seq(4)));
    }

    #[test]
    fn a_former_member_sees_their_removal_and_nothing_after() {
        let former = visibility(&HistoryVisibility::All, Seq(5), Some(Seq(9)));
        assert!(former.contains(Seq(9)));
        assert!(!former.contains(Seq(10)));
    }
}
