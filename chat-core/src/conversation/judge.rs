//! The judge: what becomes of one durable command.
//!
//! In this order, so that nobody learns what is not theirs to see: what is stored answers again; who is no member
//! finds nothing; then the id may be taken; then the role; then the state.

mod conversations;
mod members;
mod messages;

use super::RuleLimits;
use super::chain;
use super::facts::{Change, ConversationFacts, Facts, Verdict, Write};
use super::policy::{Standing, policy};
use super::row::{LogKind, LogRow};
use crate::dedup::{self, Repetition};
use crate::store::{Actor, AppendItem, Refusal};
use chat_protocol::command::Command;
use chat_protocol::id::{CommandId, ConversationId, Position};

/// Judges one item by the facts.
pub fn judge(facts: &Facts, item: &AppendItem, limits: &RuleLimits) -> Verdict {
    let repetition = dedup::judge(facts.prior.as_ref(), &item.actor, item.fingerprint);
    if let Repetition::Duplicate(stored) = repetition {
        return Verdict::Duplicate(stored);
    }
    let (Some(conversation), Some(id)) = (item.command.conversation(), item.command.id()) else {
        return Verdict::Refused(Refusal::InvalidArgument("only a durable command goes into a log"));
    };
    match decide(facts, item, limits, repetition == Repetition::Conflict) {
        Ok(Decision::Exists(stored)) => Verdict::Duplicate(stored),
        Ok(Decision::Write(kind, writes)) => {
            let row = row(facts, item, (conversation, id), kind);
            Verdict::Write(Box::new(Change { row, writes }))
        }
        Err(refusal) => Verdict::Refused(refusal),
    }
}

/// What is to be done for a command that is not refused.
enum Decision {
    Write(LogKind, Vec<Write>),
    /// A direct conversation of the same pair is there already.
    Exists(chat_protocol::frame::Stored),
}

fn decide(facts: &Facts, item: &AppendItem, limits: &RuleLimits, id_is_taken: bool) -> Result<Decision, Refusal> {
    let Some(place) = &facts.conversation else {
        return match &item.command {
            Command::ConversationCreate(create) => conversations::create(facts, item, create, limits),
            _ => Err(Refusal::NotFound),
        };
    };
    let standing = match (&item.actor, &facts.actor) {
        (Actor::System, _) => Standing::System,
        (Actor::User(_), member) => Standing::of(member.as_ref().map(|member| &member.role)),
    };
    if place.deleted && standing != Standing::System {
        return Err(Refusal::NotFound);
    }
    let verdict = policy(
        &item.command,
        &place.conversation.kind,
        place.conversation.public,
        standing,
    );
    if verdict == Err(Refusal::NotFound) {
        return Err(Refusal::NotFound);
    }
    if id_is_taken {
        // An id is told to be taken to members only.
        let stranger = standing == Standing::Stranger;
        return Err(if stranger {
            Refusal::NotFound
        } else {
            Refusal::IdConflict
        });
    }
    verdict?;
    if place.deleted {
        return Err(Refusal::NotFound);
    }
    let case = Case {
        facts,
        place,
        actor: &item.actor,
        standing,
        limits,
    };
    let (kind, writes) = match &item.command {
        Command::MessageSend(c) => messages::send(&case, c),
        Command::MessageEdit(c) => messages::edit(&case, c),
        Command::MessageDelete(c) => messages::delete(&case, c),
        Command::ReactionAdd(c) => messages::add_reaction(&case, c),
        Command::ReactionRemove(c) => messages::remove_reaction(&case, c),
        Command::ConversationUpdate(c) => conversations::update(c),
        Command::ConversationDelete(_) => Ok(conversations::delete()),
        Command::ConversationJoin(_) => members::join(&case),
        Command::ConversationLeave(_) => members::leave(&case),
        Command::MemberAdd(c) => members::add(&case, c),
        Command::MemberRemove(c) => members::remove(&case, c),
        Command::MemberRole(c) => members::set_role(&case, c),
        Command::ConversationCreate(_)
        | Command::MarkRead(_)
        | Command::MarkDelivered(_)
        | Command::InboxMute(_)
        | Command::InboxArchive(_)
        | Command::InboxList(_)
        | Command::HistoryList(_)
        | Command::LogList(_)
        | Command::ConversationGet(_)
        | Command::MemberList(_)
        | Command::MarkList(_)
        | Command::ReactionList(_)
        | Command::Typing(_)
        | Command::WatchPresence(_)
        | Command::WatchConversations(_)
        | Command::AuthRefresh(_) => Err(Refusal::InvalidArgument("only a durable command goes into a log")),
    }?;
    Ok(Decision::Write(kind, writes))
}

/// A command that its actor's role allows, in a conversation that is there.
struct Case<'a> {
    facts: &'a Facts,
    place: &'a ConversationFacts,
    actor: &'a Actor,
    standing: Standing,
    limits: &'a RuleLimits,
}

fn row(facts: &Facts, item: &AppendItem, (conversation, id): (ConversationId, CommandId), kind: LogKind) -> LogRow {
    let head = facts.conversation.as_ref().map_or(Position::START, |place| place.head);
    let seq = head.seq.next();
    LogRow {
        seq,
        tag: chain(head.tag, conversation, seq, kind.name(), id),
        id,
        actor: item.actor.clone(),
        at: facts.at,
        fingerprint: Some(item.fingerprint),
        kind,
    }
}

#[cfg(test)]
mod tests;
