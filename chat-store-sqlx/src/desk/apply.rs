//! What the judge says, done in memory: later items see it, and each row is written once.

use super::{Desk, REACTION_USERS_MAX, reaction};
use crate::rows::{Members, Membership, Place};
use crate::statements::ReactionKey;
use crate::writes::{MemberChange, Writes};
use chat_core::conversation::{Change, Conversation, LogKind, LogRow, Role, Write};
use chat_core::id::{ConversationId, MessageId, Position, Revision, Seq, UserId};
use chat_core::message::{Message, Reaction};
use std::collections::{BTreeSet, HashMap};

impl Desk {
    pub(super) fn apply(&mut self, conversation: ConversationId, change: &Change) {
        let row = &change.row;
        let before = self.places.get(&conversation).map(|place| place.head);
        for write in &change.writes {
            self.apply_write(conversation, row, write);
        }
        let prior = row.prior(conversation);
        self.priors.insert((conversation, row.id), prior);
        let named = row.kind.message().and_then(|id| self.messages.get(&(conversation, id)));
        let log = (conversation, row.clone(), named.map(|message| message.seq));
        self.writes.log.push(log);
        if let Some(place) = self.places.get_mut(&conversation) {
            place.head = row.position();
            let written = self.writes.places.entry(conversation);
            written.or_insert_with(|| (place.clone(), before)); // filled in at the end
        }
    }

    fn apply_write(&mut self, conversation: ConversationId, row: &LogRow, write: &Write) {
        let (seq, at) = (row.seq, row.at);
        match write {
            Write::CreateConversation {
                conversation: created,
                pair,
            } => {
                if let Some(pair) = pair {
                    self.directs.insert(pair.clone(), row.prior(conversation));
                }
                let place = Place {
                    conversation: Conversation {
                        member_count: 0, // counted up by the memberships that follow
                        ..created.clone()
                    },
                    deleted: false,
                    owner: None,
                    pair: pair.clone(),
                    head: Position::START,
                };
                self.places.insert(conversation, place);
                self.all_members.insert(conversation, BTreeSet::new());
            }
            Write::UpdateConversation { title, meta } => self.change_place(conversation, |place| {
                if title.is_some() {
                    place.conversation.title.clone_from(title);
                }
                if meta.is_some() {
                    place.conversation.meta.clone_from(meta);
                }
            }),
            Write::DeleteConversation => {
                let pair = self.places.get(&conversation).and_then(|place| place.pair.clone());
                if let Some(pair) = pair {
                    self.directs.remove(&pair);
                }
                self.change_place(conversation, |place| {
                    place.deleted = true;
                    place.pair = None;
                });
            }
            Write::OpenMembership { user, role } => self.open(conversation, seq, user, role),
            Write::CloseMembership { user } => self.close(conversation, seq, user),
            Write::CloseEveryMembership => {
                let users = self.all_members.get(&conversation).cloned().unwrap_or_default();
                for user in users {
                    self.close(conversation, seq, &user);
                }
            }
            Write::SetRole { user, role } => self.set_role(conversation, user, role),
            Write::InsertMessage(message) => {
                self.messages.insert((conversation, message.id), message.clone());
            }
            Write::MoveReadMark { user } => self.change_member(conversation, user).mark = Some(seq),
            Write::EditMessage {
                message,
                content,
                version,
            } => self.change_message(conversation, *message, seq, |message| {
                message.content = Some(content.clone());
                message.version = *version;
                message.edited_at = Some(at);
            }),
            Write::EraseMessage { message, version } => {
                let erased = self.messages.get(&(conversation, *message)).map(|message| message.seq);
                self.change_message(conversation, *message, seq, |message| {
                    message.content = None;
                    message.version = *version;
                    message.deleted_at = Some(at);
                    message.reactions.clear();
                });
                if let Some(erased) = erased {
                    self.writes.reactions_cleared.push((conversation, erased));
                    let is_other = |key: &ReactionKey| (key.conversation, key.message) != (conversation, erased);
                    self.writes.reactions.retain(|(key, _), _| is_other(key));
                    self.chosen.retain(|(key, _)| is_other(key));
                }
            }
            Write::AddReaction { message, user, emoji } => self.add_reaction(conversation, *message, seq, user, emoji),
            Write::RemoveReaction { message, user, emoji } => {
                self.remove_reaction(conversation, *message, seq, user, emoji);
            }
        }
    }

    fn change_place(&mut self, conversation: ConversationId, change: impl FnOnce(&mut Place)) {
        if let Some(place) = self.places.get_mut(&conversation) {
            change(place);
            if !self.writes.places_changed.contains(&conversation) {
                self.writes.places_changed.push(conversation);
            }
        }
    }

    fn change_message(
        &mut self,
        conversation: ConversationId,
        id: MessageId,
        seq: Seq,
        change: impl FnOnce(&mut Message),
    ) {
        if let Some(message) = self.messages.get_mut(&(conversation, id)) {
            change(message);
            message.changed = seq;
            self.changed_messages.insert((conversation, id));
        }
    }

    fn change_member(&mut self, conversation: ConversationId, user: &UserId) -> &mut MemberChange {
        self.writes.members.entry((conversation, user.clone())).or_default()
    }

    fn raise(&mut self, user: &UserId) {
        *self.writes.raised.entry(user.clone()).or_default() += 1;
    }

    fn open(&mut self, conversation: ConversationId, seq: Seq, user: &UserId, role: &Role) {
        self.raise(user);
        *self.inboxes.entry(user.clone()).or_default() += 1;
        let membership = Membership {
            user: user.clone(),
            role: role.clone(),
            joined: seq,
            ended: None,
            read: seq,
            delivered: seq,
            muted: false,
            archived: false,
            revision: Revision::ZERO, // known once it is raised
        };
        self.members
            .entry(conversation)
            .or_default()
            .insert(user.clone(), membership);
        *self.change_member(conversation, user) = MemberChange {
            open: Some((role.clone(), seq)),
            ..MemberChange::default()
        };
        if let Some(members) = self.all_members.get_mut(&conversation) {
            members.insert(user.clone());
        }
        self.change_place(conversation, |place| {
            place.conversation.member_count += 1;
            own(place, user, role);
        });
    }

    fn close(&mut self, conversation: ConversationId, seq: Seq, user: &UserId) {
        self.raise(user);
        if let Some(count) = self.inboxes.get_mut(user) {
            *count = count.saturating_sub(1);
        }
        if let Some(member) = self
            .members
            .get_mut(&conversation)
            .and_then(|members| members.get_mut(user))
        {
            member.ended = Some(seq);
        }
        self.change_member(conversation, user).close = Some(seq);
        if let Some(members) = self.all_members.get_mut(&conversation) {
            members.remove(user);
        }
        self.change_place(conversation, |place| {
            if place.owner.as_ref() == Some(user) {
                place.owner = None;
            }
            place.conversation.member_count = place.conversation.member_count.saturating_sub(1);
        });
    }

    fn set_role(&mut self, conversation: ConversationId, user: &UserId, role: &Role) {
        if let Some(member) = self
            .members
            .get_mut(&conversation)
            .and_then(|members| members.get_mut(user))
        {
            member.role = role.clone();
        }
        self.change_member(conversation, user).role = Some(role.clone());
        self.change_place(conversation, |place| own(place, user, role));
    }

    fn add_reaction(&mut self, conversation: ConversationId, id: MessageId, seq: Seq, user: &UserId, emoji: &str) {
        let mut is_new = false;
        self.change_message(conversation, id, seq, |message| {
            let known = message.reactions.iter_mut().find(|reaction| reaction.emoji == emoji);
            match known {
                Some(reaction) => {
                    if reaction.users.len() < REACTION_USERS_MAX {
                        reaction.users.push(user.clone());
                    }
                    reaction.count += 1;
                }
                None => {
                    is_new = true;
                    message.reactions.push(Reaction {
                        emoji: emoji.to_owned(),
                        count: 1,
                        users: vec![user.clone()],
                    });
                }
            }
        });
        let Some(message) = self.messages.get(&(conversation, id)) else {
            return;
        };
        let key = reaction(conversation, message.seq, emoji);
        if is_new {
            self.first_users.insert(key.clone(), vec![user.clone()]);
        } else if let Some(first) = self.first_users.get_mut(&key) {
            first.push(user.clone());
        }
        self.chosen.insert((key.clone(), user.clone()));
        self.writes.reactions.insert((key, user.clone()), Some(seq));
    }

    fn remove_reaction(&mut self, conversation: ConversationId, id: MessageId, seq: Seq, user: &UserId, emoji: &str) {
        let Some(message) = self.messages.get(&(conversation, id)) else {
            return;
        };
        let key = reaction(conversation, message.seq, emoji);
        let first = self.first_users.entry(key.clone()).or_default();
        first.retain(|other| other != user);
        let users: Vec<_> = first.iter().take(REACTION_USERS_MAX).cloned().collect();
        self.change_message(conversation, id, seq, |message| {
            for reaction in message.reactions.iter_mut().filter(|reaction| reaction.emoji == emoji) {
                reaction.count = reaction.count.saturating_sub(1);
                reaction.users.clone_from(&users);
            }
            message.reactions.retain(|reaction| reaction.count > 0);
        });
        self.chosen.remove(&(key.clone(), user.clone()));
        self.writes.reactions.insert((key, user.clone()), None);
    }

    pub(super) fn into_writes(mut self) -> (Writes, HashMap<ConversationId, Members>) {
        for (id, (written, _)) in &mut self.writes.places {
            if let Some(place) = self.places.remove(id) {
                *written = place;
            }
        }
        let places = &self.writes.places;
        let exists = |id: &ConversationId| places.get(id).is_some_and(|(_, before)| before.is_some());
        self.writes.places_changed.retain(exists);
        for (conversation, row, _) in &self.writes.log {
            if let LogKind::MessageNew { message } = row.kind
                && let Some(message) = self.messages.remove(&(*conversation, message))
            {
                self.writes.new_messages.push((*conversation, message));
            }
        }
        for key in self.changed_messages {
            if let Some(message) = self.messages.remove(&key) {
                self.writes.changed_messages.push((key.0, message));
            }
        }
        (self.writes, self.members)
    }
}

/// The owner of a conversation is the member with that role.
fn own(place: &mut Place, user: &UserId, role: &Role) {
    if *role == Role::Owner {
        place.owner = Some(user.clone());
    } else if place.owner.as_ref() == Some(user) {
        place.owner = None;
    }
}
