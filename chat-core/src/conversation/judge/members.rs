//! Who comes, goes, and is what.

use super::{Case, Standing};
use crate::conversation::RuleLimits;
use crate::conversation::facts::{Facts, Write};
use crate::conversation::row::LogKind;
use crate::store::Refusal;
use chat_protocol::command::{MemberAdd, MemberRemove, MemberRole};
use chat_protocol::conversation::{ConversationKind, Role};
use chat_protocol::id::UserId;

type Answer = Result<(LogKind, Vec<Write>), Refusal>;

pub(super) fn join(case: &Case<'_>) -> Answer {
    let user = case.acting_user()?;
    if case.facts.actor.is_some() {
        return Err(Refusal::Conflict("you are a member already"));
    }
    open(case, user)
}

pub(super) fn add(case: &Case<'_>, command: &MemberAdd) -> Answer {
    if case.facts.user.is_some() {
        return Err(Refusal::Conflict("this user is a member already"));
    }
    open(case, &command.user)
}

fn open(case: &Case<'_>, user: &UserId) -> Answer {
    let count = case.place.conversation.member_count + 1;
    must_hold(&case.place.conversation.kind, count, case.limits)?;
    must_have_room(case.facts, user, case.limits)?;
    let kind = LogKind::MemberJoined {
        user: user.clone(),
        role: Role::Member,
        member_count: count,
    };
    let open = Write::OpenMembership {
        user: user.clone(),
        role: Role::Member,
    };
    Ok((kind, vec![open]))
}

pub(super) fn leave(case: &Case<'_>) -> Answer {
    let user = case.acting_user()?;
    if case.standing == Standing::Owner {
        return Err(Refusal::Conflict(
            "the owner cannot leave: hand over ownership or delete the conversation",
        ));
    }
    let kind = LogKind::MemberLeft {
        user: user.clone(),
        member_count: case.place.conversation.member_count.saturating_sub(1),
    };
    Ok((kind, vec![Write::CloseMembership { user: user.clone() }]))
}

pub(super) fn remove(case: &Case<'_>, command: &MemberRemove) -> Answer {
    let role = case.facts.user.as_ref().ok_or(Refusal::NotFound)?;
    if case.actor.user() == Some(&command.user) {
        return Err(Refusal::Conflict("use conversation:leave to go yourself"));
    }
    if Standing::of(Some(role)) >= Standing::Admin && case.standing < Standing::Owner {
        return Err(Refusal::Forbidden("only the owner touches admins"));
    }
    let user = command.user.clone();
    let kind = LogKind::MemberRemoved {
        user: user.clone(),
        member_count: case.place.conversation.member_count.saturating_sub(1),
    };
    Ok((kind, vec![Write::CloseMembership { user }]))
}

pub(super) fn set_role(case: &Case<'_>, command: &MemberRole) -> Answer {
    if let Role::Unknown(_) = command.role {
        return Err(Refusal::InvalidArgument("a role is owner, admin or member"));
    }
    let current = case.facts.user.as_ref().ok_or(Refusal::NotFound)?;
    if *current == command.role {
        return Err(Refusal::Conflict("this user has this role already"));
    }
    if *current == Role::Owner && case.standing != Standing::System {
        return Err(Refusal::Conflict("give ownership to somebody else instead"));
    }
    let mut writes = Vec::with_capacity(2);
    if command.role == Role::Owner
        && let Some(owner) = &case.place.owner
    {
        writes.push(Write::SetRole {
            user: owner.clone(),
            role: Role::Admin,
        });
    }
    writes.push(Write::SetRole {
        user: command.user.clone(),
        role: command.role.clone(),
    });
    let kind = LogKind::MemberRole {
        user: command.user.clone(),
        role: command.role.clone(),
    };
    Ok((kind, writes))
}

impl Case<'_> {
    fn acting_user(&self) -> Result<&UserId, Refusal> {
        self.actor
            .user()
            .ok_or(Refusal::InvalidArgument("the host is no member: add or remove users"))
    }
}

/// A conversation of this kind has a bound on its members.
pub(super) fn must_hold(kind: &ConversationKind, members: u64, limits: &RuleLimits) -> Result<(), Refusal> {
    let max = match kind {
        ConversationKind::Channel => limits.channel_members_max,
        _ => limits.group_members_max,
    };
    if members > max {
        return Err(Refusal::LimitExceeded("the conversation has as many members as it can"));
    }
    Ok(())
}

/// A user has a bound on their conversations.
pub(super) fn must_have_room(facts: &Facts, user: &UserId, limits: &RuleLimits) -> Result<(), Refusal> {
    if facts.inboxes.get(user).copied().unwrap_or(0) >= limits.inbox_max {
        return Err(Refusal::LimitExceeded(
            "the user is in as many conversations as they can be",
        ));
    }
    Ok(())
}
