//! Messages and reactions.

use super::{Case, Standing};
use crate::conversation::facts::Write;
use crate::conversation::row::LogKind;
use crate::store::Refusal;
use chat_protocol::command::{MessageDelete, MessageEdit, MessageSend, ReactionAdd, ReactionRemove};
use chat_protocol::id::{Seq, UserId};
use chat_protocol::message::Message;

type Answer = Result<(LogKind, Vec<Write>), Refusal>;

pub(super) fn send(case: &Case<'_>, command: &MessageSend) -> Answer {
    if command.reply_to.is_some() {
        let answered = case.facts.reply_to.ok_or(Refusal::NotFound)?;
        case.must_see(answered)?;
    }
    let seq = case.place.head.seq.next();
    let message = Message {
        id: command.id,
        seq,
        sender: case.actor.user().cloned(),
        at: case.facts.at,
        version: 1,
        changed: seq,
        edited_at: None,
        deleted_at: None,
        reply_to: command.reply_to,
        content: Some(command.content.clone()),
        reactions: Vec::new(),
    };
    let mut writes = vec![Write::InsertMessage(message)];
    if let Some(user) = case.actor.user() {
        writes.push(Write::MoveReadMark { user: user.clone() });
    }
    Ok((LogKind::MessageNew { message: command.id }, writes))
}

pub(super) fn edit(case: &Case<'_>, command: &MessageEdit) -> Answer {
    let message = case.message()?;
    if !case.is_own(message) && case.standing != Standing::System {
        return Err(Refusal::Forbidden("nobody edits another's message"));
    }
    if message.is_deleted() {
        return Err(Refusal::Gone);
    }
    if command.version.is_some_and(|seen| seen != message.version) {
        return Err(Refusal::VersionConflict(message.version));
    }
    let edit = Write::EditMessage {
        message: message.id,
        content: command.content.clone(),
        version: message.version + 1,
    };
    Ok((LogKind::MessageUpdated { message: message.id }, vec![edit]))
}

pub(super) fn delete(case: &Case<'_>, _command: &MessageDelete) -> Answer {
    let message = case.message()?;
    if !case.is_own(message) && case.standing < Standing::Admin {
        return Err(Refusal::Forbidden("only an admin deletes another's message"));
    }
    if message.is_deleted() {
        return Err(Refusal::Gone);
    }
    let erase = Write::EraseMessage {
        message: message.id,
        version: message.version + 1,
    };
    Ok((LogKind::MessageDeleted { message: message.id }, vec![erase]))
}

pub(super) fn add_reaction(case: &Case<'_>, command: &ReactionAdd) -> Answer {
    let user = case.reacting_user()?;
    let message = case.message()?;
    if message.is_deleted() {
        return Err(Refusal::Gone);
    }
    if case.facts.reacted {
        return Err(Refusal::Conflict("you have put this reaction there already"));
    }
    let is_new = message.reactions.iter().all(|reaction| reaction.emoji != command.emoji);
    if is_new && message.reactions.len() as u64 >= case.limits.reactions_max {
        return Err(Refusal::LimitExceeded(
            "the message has as many different reactions as it can",
        ));
    }
    let kind = LogKind::ReactionAdded {
        message: message.id,
        emoji: command.emoji.clone(),
    };
    let add = Write::AddReaction {
        message: message.id,
        user: user.clone(),
        emoji: command.emoji.clone(),
    };
    Ok((kind, vec![add]))
}

pub(super) fn remove_reaction(case: &Case<'_>, command: &ReactionRemove) -> Answer {
    let user = case.reacting_user()?;
    let message = case.message()?;
    if message.is_deleted() {
        return Err(Refusal::Gone);
    }
    if !case.facts.reacted {
        return Err(Refusal::NotFound);
    }
    let kind = LogKind::ReactionRemoved {
        message: message.id,
        emoji: command.emoji.clone(),
    };
    let remove = Write::RemoveReaction {
        message: message.id,
        user: user.clone(),
        emoji: command.emoji.clone(),
    };
    Ok((kind, vec![remove]))
}

impl Case<'_> {
    /// The message that the command names, when the actor may see it.
    fn message(&self) -> Result<&Message, Refusal> {
        let message = self.facts.message.as_ref().ok_or(Refusal::NotFound)?;
        self.must_see(message.seq)?;
        Ok(message)
    }

    fn must_see(&self, seq: Seq) -> Result<(), Refusal> {
        match &self.facts.actor {
            Some(member) if seq < member.visible_from => Err(Refusal::NotFound),
            _ => Ok(()),
        }
    }

    fn is_own(&self, message: &Message) -> bool {
        self.actor.user().is_some() && message.sender.as_ref() == self.actor.user()
    }

    fn reacting_user(&self) -> Result<&UserId, Refusal> {
        self.actor
            .user()
            .ok_or(Refusal::InvalidArgument("a reaction is a user's"))
    }
}
