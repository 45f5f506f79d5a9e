//! Who may do what: one row for every command, by role and kind of conversation. `docs/limits.toml` has the same as a
//! table, to which chat-testkit holds this.
//!
//! Only what the role says is here; what the state says (whose message, which version, who is there) is in the judge.
//! Silenced members and bans get their place as further [`Standing`]s.

use crate::store::Refusal;
use chat_protocol::command::Command;
use chat_protocol::conversation::{ConversationKind, Role};

/// What an actor is to a conversation, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// No member now: the conversation does not exist for them.
    Stranger,
    /// Writes and reads.
    Member,
    /// Adds and removes members, redacts messages.
    Admin,
    /// Touches admins, deletes the conversation, hands over ownership.
    Owner,
    /// The host, which may do anything.
    System,
}

impl Standing {
    /// The standing of a user with this role, or of one without.
    pub fn of(role: Option<&Role>) -> Self {
        match role {
            None => Self::Stranger,
            Some(Role::Owner) => Self::Owner,
            Some(Role::Admin) => Self::Admin,
            // A role that a newer version made gives no more than this one knows to be safe.
            Some(_) => Self::Member,
        }
    }
}

/// Says whether a role allows a command in an existing conversation.
///
/// A stranger gets `not_found`, equal for every conversation that there is and every one that there is not; the one
/// exception is a public channel, whose title anyone may see and which anyone may join.
///
/// # Errors
/// The refusal to answer with.
pub fn policy(command: &Command, kind: &ConversationKind, public: bool, standing: Standing) -> Result<(), Refusal> {
    let direct = *kind == ConversationKind::Direct;
    let open = public && *kind == ConversationKind::Channel;
    let rule = match command {
        Command::MessageSend(_) => Rule::Member,
        Command::MessageEdit(_) => Rule::Member,
        Command::MessageDelete(_) => Rule::Member,
        Command::ReactionAdd(_) => Rule::Member,
        Command::ReactionRemove(_) => Rule::Member,
        Command::ConversationCreate(_) => Rule::Taken,
        Command::ConversationUpdate(_) => Rule::Change(Standing::Admin),
        Command::ConversationDelete(_) if standing == Standing::System => Rule::Member,
        Command::ConversationDelete(_) => Rule::Change(Standing::Owner),
        Command::ConversationJoin(_) if open => Rule::Anyone,
        Command::ConversationJoin(_) => Rule::Change(Standing::Member),
        Command::ConversationLeave(_) => Rule::Change(Standing::Member),
        Command::MemberAdd(_) => Rule::Change(Standing::Admin),
        Command::MemberRemove(_) => Rule::Change(Standing::Admin),
        Command::MemberRole(_) => Rule::Change(Standing::Owner),
        Command::MarkRead(_) => Rule::Member,
        Command::MarkDelivered(_) => Rule::Member,
        Command::InboxMute(_) => Rule::Member,
        Command::InboxArchive(_) => Rule::Member,
        Command::InboxList(_) => Rule::Anyone,
        Command::HistoryList(_) => Rule::Member,
        Command::LogList(_) => Rule::Member,
        Command::ConversationGet(_) if open => Rule::Anyone,
        Command::ConversationGet(_) => Rule::Member,
        Command::MemberList(_) => Rule::Member,
        Command::MarkList(_) => Rule::Member,
        Command::ReactionList(_) => Rule::Member,
        Command::Typing(_) => Rule::Member,
        Command::WatchPresence(_) => Rule::Anyone,
        Command::WatchConversations(_) => Rule::Anyone,
        Command::AuthRefresh(_) => Rule::Anyone,
    };
    match rule {
        Rule::Anyone => Ok(()),
        _ if standing == Standing::Stranger => Err(Refusal::NotFound),
        Rule::Taken => Err(Refusal::Conflict("this conversation exists already")),
        Rule::Member => Ok(()),
        Rule::Change(_) if direct => Err(Refusal::InvalidArgument(
            "a direct conversation is fixed: archive it instead",
        )),
        Rule::Change(needed) if standing >= needed => Ok(()),
        Rule::Change(Standing::Owner) => Err(Refusal::Forbidden("only the owner may do this")),
        Rule::Change(_) => Err(Refusal::Forbidden("only an admin or the owner may do this")),
    }
}

/// What a command asks of its actor.
enum Rule {
    /// Nothing, or what is judged one by one where it is used.
    Anyone,
    /// To be a member.
    Member,
    /// To stand this high, in a conversation that is not direct, which is fixed.
    Change(Standing),
    /// The impossible: it would make what exists.
    Taken,
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_protocol::conversation::ConversationKind::Group;

    #[test]
    fn a_role_that_a_newer_version_made_gives_no_more_than_member() {
        assert_eq!(
            Standing::of(Some(&Role::Unknown("moderator".to_owned()))),
            Standing::Member
        );
        assert_eq!(Standing::of(None), Standing::Stranger);
    }

    #[test]
    fn only_a_channel_can_be_public() {
        let join = crate::conversation::examples::command("conversation:join");
        assert_eq!(policy(&join, &Group, true, Standing::Stranger), Err(Refusal::NotFound));
    }
}
