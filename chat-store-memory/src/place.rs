//! One conversation: its log, its messages, its members.

use chat_core::conversation::{
    Conversation, ConversationFacts, LogRow, Marks, MemberFacts, Role, Visible, unread, visibility,
};
use chat_core::id::{CommandId, MessageId, Position, Revision, Seq, Tag, UserId};
use chat_core::message::{Message, Reaction};
use chat_core::store::Prior;
use std::collections::{BTreeMap, HashMap};

/// A conversation with everything in it; a deleted one stays, so that its ids go on answering.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) conversation: Conversation,
    pub(crate) deleted: bool,
    /// The users by whom a direct one is found.
    pub(crate) pair: Option<(UserId, UserId)>,
    pub(crate) owner: Option<UserId>,
    /// The row of seq n at n - 1.
    pub(crate) log: Vec<LogRow>,
    pub(crate) ids: HashMap<CommandId, Seq>,
    pub(crate) messages: BTreeMap<Seq, Written>,
    pub(crate) message_seqs: HashMap<MessageId, Seq>,
    /// Everybody who was ever a member, with their latest membership.
    pub(crate) members: BTreeMap<UserId, Membership>,
    /// Raised by every mark that a user sets.
    pub(crate) marks_revision: Revision,
}

/// A message as it is now.
#[derive(Debug)]
pub(crate) struct Written {
    /// Without its reactions.
    pub(crate) message: Message,
    /// In the order of first use, with everybody who chose them, in the order in which they did.
    pub(crate) reactions: Vec<(String, Vec<UserId>)>,
}

/// How many of those who chose a reaction ride along with the message.
const REACTION_USERS_MAX: usize = 5;

impl Written {
    pub(crate) fn now(&self) -> Message {
        let reaction = |(emoji, users): &(String, Vec<UserId>)| Reaction {
            emoji: emoji.clone(),
            count: users.len() as u64,
            users: users.iter().take(REACTION_USERS_MAX).cloned().collect(),
        };
        Message {
            reactions: self.reactions.iter().map(reaction).collect(),
            ..self.message.clone()
        }
    }

    pub(crate) fn users_of(&self, emoji: &str) -> &[UserId] {
        let found = self.reactions.iter().find(|(known, _)| known == emoji);
        found.map_or(&[], |(_, users)| users)
    }
}

/// A user's latest membership, and what is their own in the conversation.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) role: Role,
    pub(crate) joined: Seq,
    pub(crate) ended: Option<Seq>,
    pub(crate) marks: Marks,
    pub(crate) muted: bool,
    pub(crate) archived: bool,
    /// The user's revision when marks, mute, archive or membership last changed.
    pub(crate) revision: Revision,
}

impl Place {
    pub(crate) fn new(conversation: Conversation, pair: Option<(UserId, UserId)>) -> Self {
        Self {
            conversation,
            deleted: false,
            pair,
            owner: None,
            log: Vec::new(),
            ids: HashMap::new(),
            messages: BTreeMap::new(),
            message_seqs: HashMap::new(),
            members: BTreeMap::new(),
            marks_revision: Revision::ZERO,
        }
    }

    pub(crate) fn head(&self) -> Position {
        self.log.last().map_or(Position::START, LogRow::position)
    }

    pub(crate) fn row(&self, seq: Seq) -> Option<&LogRow> {
        let index = usize::try_from(seq.0.checked_sub(1)?).ok()?;
        self.log.get(index)
    }

    pub(crate) fn tag(&self, seq: Seq) -> Tag {
        self.row(seq).map_or(Tag::ZERO, |row| row.tag)
    }

    pub(crate) fn prior(&self, id: CommandId) -> Option<Prior> {
        let row = self.row(*self.ids.get(&id)?)?;
        Some(row.prior(self.conversation.id))
    }

    pub(crate) fn written(&self, id: MessageId) -> Option<&Written> {
        self.messages.get(self.message_seqs.get(&id)?)
    }

    pub(crate) fn written_mut(&mut self, id: MessageId) -> Option<&mut Written> {
        self.messages.get_mut(self.message_seqs.get(&id)?)
    }

    /// The user's membership, if it lasts.
    pub(crate) fn member(&self, user: &UserId) -> Option<&Membership> {
        self.members.get(user).filter(|member| member.ended.is_none())
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = (&UserId, &Membership)> {
        self.members.iter().filter(|(_, member)| member.ended.is_none())
    }

    /// What the user may see, by their latest membership.
    pub(crate) fn visible(&self, member: &Membership) -> Visible {
        visibility(&self.conversation.history, member.joined, member.ended)
    }

    /// What a viewer sees as a member now, or the host, who sees everything.
    pub(crate) fn visible_now(&self, viewer: Option<&UserId>) -> Option<Visible> {
        match viewer {
            _ if self.deleted => None,
            None => Some(Visible::ALL),
            Some(user) => Some(self.visible(self.member(user)?)),
        }
    }

    pub(crate) fn unread(&self, user: &UserId, member: &Membership) -> u64 {
        let visible_from = self.visible(member).from;
        let after = visible_from.max(member.marks.read.next());
        let messages = self.messages.range(after..).map(|(_, written)| &written.message);
        unread(messages, user, member.marks.read, visible_from)
    }

    pub(crate) fn facts(&self) -> ConversationFacts {
        ConversationFacts {
            conversation: self.conversation.clone(),
            head: self.head(),
            deleted: self.deleted,
            owner: self.owner.clone(),
        }
    }

    pub(crate) fn member_facts(&self, user: &UserId) -> Option<MemberFacts> {
        let member = self.member(user)?;
        Some(MemberFacts {
            role: member.role.clone(),
            visible_from: self.visible(member).from,
        })
    }
}
