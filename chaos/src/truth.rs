//! What is there in the end: the logs as one reader saw them, and what others saw of the same.

use crate::text::Says;
use chat_client::protocol::id::{CommandId, ConversationId, MessageId, Position, Seq, UserId};
use std::collections::{BTreeMap, HashMap};

/// What is there in the end.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    /// Every log, as the first reader saw it.
    pub logs: BTreeMap<ConversationId, Vec<Row>>,
    /// The same logs and inboxes, as each reader saw them; the first one's are among them.
    pub readings: Vec<Reading>,
}

/// One event of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its place.
    pub position: Position,
    /// The command that made it.
    pub id: CommandId,
    /// Who did it.
    pub actor: Option<UserId>,
    /// What it means for who is a member.
    pub change: Change,
}

/// What an event means for who is a member, and for who reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new message: every member has to see it.
    Message(MessageId),
    /// A message says something else. Whoever may not see the message does not see this either.
    Edited {
        /// The message.
        message: MessageId,
        /// The seq of its creation.
        of: Seq,
    },
    /// A message says nothing any more.
    Deleted {
        /// The message.
        message: MessageId,
        /// The seq of its creation.
        of: Seq,
    },
    /// Somebody reacted to the message of this seq.
    Reacted(Seq),
    /// These became members.
    Began(Vec<UserId>),
    /// This membership ended.
    Ended(UserId),
    /// Something that no client of ours does.
    Nothing,
}

/// What one reader saw.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// Its name: a node, or SQL.
    pub by: String,
    /// Places and ids of every log.
    pub logs: BTreeMap<ConversationId, Vec<(Position, CommandId)>>,
    /// Members as they are now.
    pub members: BTreeMap<(ConversationId, UserId), Membership>,
    /// Messages as they are now.
    pub messages: BTreeMap<(ConversationId, MessageId), Body>,
}

impl Reading {
    /// Adds a copy of a message. All copies that one reader sees at rest are the same.
    pub fn add(&mut self, conversation: ConversationId, message: MessageId, body: Body) {
        let known = self.messages.entry((conversation, message));
        let known = known.or_insert_with(|| body.clone());
        if *known != body {
            known.says = Says::Other(format!("{:?} in one place, {:?} in another", known.says, body.says));
        }
    }
}

/// A message as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// 1, and one more for each edit and for the delete.
    pub version: u64,
    /// What it says.
    pub says: Says,
}

/// A membership that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// Where it began.
    pub joined: Seq,
    /// The read mark.
    pub read: Seq,
}

/// A membership by the log: from its beginning to its end, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// Where it began.
    pub joined: Seq,
    /// Where it ended.
    pub ended: Option<Seq>,
}

impl Interval {
    /// Whether an event is within it.
    pub fn contains(&self, seq: Seq) -> bool {
        seq >= self.joined && self.ended.is_none_or(|ended| seq <= ended)
    }
}

impl Change {
    /// The message that now says something else than before, which is nothing for a new one.
    pub fn writes(&self) -> Option<MessageId> {
        match self {
            Self::Message(message) | Self::Edited { message, .. } | Self::Deleted { message, .. } => Some(*message),
            _ => None,
        }
    }

    /// The seq of an earlier message that this is about.
    pub fn about(&self) -> Option<Seq> {
        match self {
            Self::Edited { of, .. } | Self::Deleted { of, .. } | Self::Reacted(of) => Some(*of),
            _ => None,
        }
    }
}

/// The memberships that a log tells of.
pub fn memberships(rows: &[Row]) -> HashMap<UserId, Vec<Interval>> {
    let mut all: HashMap<UserId, Vec<Interval>> = HashMap::new();
    for row in rows {
        let seq = row.position.seq;
        match &row.change {
            Change::Began(users) => {
                for user in users {
                    let interval = Interval {
                        joined: seq,
                        ended: None,
                    };
                    all.entry(user.clone()).or_default().push(interval);
                }
            }
            Change::Ended(user) => {
                if let Some(last) = all.get_mut(user).and_then(|intervals| intervals.last_mut()) {
                    last.ended.get_or_insert(seq);
                }
            }
            Change::Message(_)
            | Change::Edited { .. }
            | Change::Deleted { .. }
            | Change::Reacted(_)
            | Change::Nothing => {}
        }
    }
    all
}
