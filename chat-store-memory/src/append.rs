//! Writing: facts for the judge, and doing what it says.

use crate::changes::Changed;
use crate::place::{Membership, Place, Written};
use crate::state::{Now, State};
use chat_core::conversation::{Change, Facts, Marks, Role, Verdict, Write, judge, render, touches};
use chat_core::id::{CommandId, ConversationId, Epoch, MessageId, Position, Seq, Timestamp, UserId};
use chat_core::store::{Append, AppendItem, Appended, ItemOutcome, StoreError};

pub(crate) fn append(state: &mut State, epoch: Epoch, at: Timestamp, batch: &Append) -> Result<Appended, StoreError> {
    let mut verdicts = Vec::with_capacity(batch.items.len());
    for item in &batch.items {
        let verdict = judge(&facts(state, at, batch.conversation, item), item, &batch.limits);
        if let Verdict::Write(change) = &verdict {
            apply(state, batch.conversation, change);
        }
        verdicts.push(verdict);
    }
    // Rendered once all is written: what the batch itself deleted is never shown.
    let place = state.place(batch.conversation);
    let mut outcomes = Vec::with_capacity(verdicts.len());
    for verdict in verdicts {
        outcomes.push(match (verdict, place) {
            (Verdict::Refused(refusal), _) => Err(refusal),
            (Verdict::Duplicate(stored), _) => Ok(ItemOutcome::Duplicate(stored)),
            (Verdict::Write(change), Some(place)) => {
                Ok(ItemOutcome::First(render(&change.row, &Now { state, place })?))
            }
            (Verdict::Write(_), None) => return Err(StoreError::Corrupt("a row without a conversation".to_owned())),
        });
    }
    Ok(Appended {
        epoch,
        outcomes,
        head: place.map_or(Position::START, Place::head),
    })
}

fn facts(state: &State, at: Timestamp, conversation: ConversationId, item: &AppendItem) -> Facts {
    let touches = touches(item);
    let place = state.place(conversation);
    let written = |id: MessageId| place.and_then(|place| place.written(id));
    let message = touches.message.and_then(written);
    let actor = item.actor.user();
    let inbox = |user: &UserId| state.users.get(user).map_or(0, |user| user.conversations.len() as u64);
    let direct = touches.pair.and_then(|pair| {
        let first = state.place(*state.directs.get(&pair)?)?;
        Some(first.row(Seq(1))?.prior(first.conversation.id).stored)
    });
    Facts {
        at,
        prior: item.command.id().and_then(|id: CommandId| place?.prior(id)),
        conversation: place.map(Place::facts),
        actor: actor.and_then(|user| place?.member_facts(user)),
        user: touches.user.and_then(|user| Some(place?.member(user)?.role.clone())),
        message: message.map(Written::now),
        reply_to: touches.reply_to.and_then(written).map(|written| written.message.seq),
        reacted: match (message, touches.emoji, actor) {
            (Some(message), Some(emoji), Some(user)) => message.users_of(emoji).contains(user),
            _ => false,
        },
        direct,
        inboxes: touches.joining.iter().map(|user| (user.clone(), inbox(user))).collect(),
    }
}

fn apply(state: &mut State, conversation: ConversationId, change: &Change) {
    let row = &change.row;
    for write in &change.writes {
        apply_write(state, conversation, (row.seq, row.at), write);
    }
    if let Some(place) = state.places.get_mut(&conversation) {
        place.ids.insert(row.id, row.seq);
        place.log.push(row.clone());
    }
    state.changes.note(Changed::Conversation(conversation));
}

fn apply_write(state: &mut State, conversation: ConversationId, (seq, at): (Seq, Timestamp), write: &Write) {
    if let Write::CreateConversation {
        conversation: created,
        pair,
    } = write
    {
        if let Some(pair) = pair {
            state.directs.insert(pair.clone(), conversation);
        }
        let mut place = Place::new(created.clone(), pair.clone());
        place.conversation.member_count = 0; // counted up by the memberships that follow
        state.places.insert(conversation, place);
        return;
    }
    let Some(place) = state.places.get_mut(&conversation) else {
        return;
    };
    match write {
        Write::CreateConversation { .. } => {}
        Write::UpdateConversation { title, meta } => {
            if title.is_some() {
                place.conversation.title.clone_from(title);
            }
            if meta.is_some() {
                place.conversation.meta.clone_from(meta);
            }
        }
        Write::DeleteConversation => {
            place.deleted = true;
            if let Some(pair) = place.pair.take() {
                state.directs.remove(&pair);
            }
        }
        Write::OpenMembership { user, role } => open(state, conversation, seq, user, role),
        Write::CloseMembership { user } => close(state, conversation, seq, user),
        Write::CloseEveryMembership => {
            let users: Vec<UserId> = place.members().map(|(user, _)| user.clone()).collect();
            for user in users {
                close(state, conversation, seq, &user);
            }
        }
        Write::SetRole { user, role } => set_role(place, user, role),
        Write::InsertMessage(message) => {
            place.message_seqs.insert(message.id, message.seq);
            let written = Written {
                message: message.clone(),
                reactions: Vec::new(),
            };
            place.messages.insert(message.seq, written);
        }
        Write::MoveReadMark { user } => {
            if let Some(member) = place.members.get_mut(user) {
                member.marks.read = member.marks.read.max(seq);
                member.marks.delivered = member.marks.delivered.max(seq);
            }
        }
        Write::EditMessage {
            message,
            content,
            version,
        } => {
            if let Some(written) = place.written_mut(*message) {
                written.message.content = Some(content.clone());
                written.message.version = *version;
                written.message.edited_at = Some(at);
                written.message.changed = seq;
            }
        }
        Write::EraseMessage { message, version } => {
            if let Some(written) = place.written_mut(*message) {
                written.message.content = None;
                written.message.version = *version;
                written.message.deleted_at = Some(at);
                written.message.changed = seq;
                written.reactions.clear();
            }
        }
        Write::AddReaction { message, user, emoji } => {
            if let Some(written) = place.written_mut(*message) {
                match written.reactions.iter_mut().find(|(known, _)| known == emoji) {
                    Some((_, users)) => users.push(user.clone()),
                    None => written.reactions.push((emoji.clone(), vec![user.clone()])),
                }
                written.message.changed = seq;
            }
        }
        Write::RemoveReaction { message, user, emoji } => {
            if let Some(written) = place.written_mut(*message) {
                for (_, users) in written.reactions.iter_mut().filter(|(known, _)| known == emoji) {
                    users.retain(|other| other != user);
                }
                written.reactions.retain(|(_, users)| !users.is_empty());
                written.message.changed = seq;
            }
        }
    }
}

fn open(state: &mut State, conversation: ConversationId, seq: Seq, user: &UserId, role: &Role) {
    let revision = state.raise_revision(user);
    state
        .users
        .entry(user.clone())
        .or_default()
        .conversations
        .insert(conversation);
    let Some(place) = state.places.get_mut(&conversation) else {
        return;
    };
    let membership = Membership {
        role: role.clone(),
        joined: seq,
        ended: None,
        marks: Marks {
            user: user.clone(),
            read: seq,
            delivered: seq,
        },
        muted: false,
        archived: false,
        revision,
    };
    place.members.insert(user.clone(), membership);
    place.conversation.member_count += 1;
    set_role(place, user, role);
}

fn close(state: &mut State, conversation: ConversationId, seq: Seq, user: &UserId) {
    let revision = state.raise_revision(user);
    if let Some(user) = state.users.get_mut(user) {
        user.conversations.remove(&conversation);
    }
    let Some(place) = state.places.get_mut(&conversation) else {
        return;
    };
    if let Some(member) = place.members.get_mut(user) {
        member.ended = Some(seq);
        member.revision = revision;
    }
    if place.owner.as_ref() == Some(user) {
        place.owner = None;
    }
    place.conversation.member_count = place.conversation.member_count.saturating_sub(1);
}

fn set_role(place: &mut Place, user: &UserId, role: &Role) {
    if let Some(member) = place.members.get_mut(user) {
        member.role = role.clone();
    }
    if *role == Role::Owner {
        place.owner = Some(user.clone());
    } else if place.owner.as_ref() == Some(user) {
        place.owner = None;
    }
}
