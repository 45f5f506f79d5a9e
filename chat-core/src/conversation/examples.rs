//! One example of every command, for the tests of the rules.

use chat_protocol::command::*;
use chat_protocol::conversation::{ConversationKind, Role};
use chat_protocol::id::{CommandId, ConversationId, MessageId, Position, Seq, UserId};
use chat_protocol::message::Content;

pub(crate) fn conversation() -> ConversationId {
    ConversationId::from_parts(1, [1; 10])
}

pub(crate) fn message() -> MessageId {
    MessageId::from_parts(2, [2; 10])
}

pub(crate) fn id() -> CommandId {
    CommandId::from_parts(3, [3; 10])
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// The command of this name: a reaction is `+1`, a named user is `bob`.
pub(crate) fn command(name: &str) -> Command {
    let (conversation, id, message, bob) = (conversation(), id(), message(), user("bob"));
    let (page, limit, content) = (None, None, Content::text("hi"));
    let emoji = "+1".to_owned();
    #[rustfmt::skip]
    let command = match name {
        "message:send" => MessageSend { conversation, id: id.into(), content, reply_to: None }.into(),
        "message:edit" => MessageEdit { conversation, id, message, version: None, content }.into(),
        "message:delete" => MessageDelete { conversation, id, message }.into(),
        "reaction:add" => ReactionAdd { conversation, id, message, emoji }.into(),
        "reaction:remove" => ReactionRemove { conversation, id, message, emoji }.into(),
        "conversation:create" => ConversationCreate {
            conversation, id, kind: ConversationKind::Group, title: None, public: false, history: None,
            members: vec![bob], meta: None,
        }.into(),
        "conversation:update" => ConversationUpdate { conversation, id, title: Some("t".into()), meta: None }.into(),
        "conversation:delete" => ConversationDelete { conversation, id }.into(),
        "conversation:join" => ConversationJoin { conversation, id }.into(),
        "conversation:leave" => ConversationLeave { conversation, id }.into(),
        "member:add" => MemberAdd { conversation, id, user: bob }.into(),
        "member:remove" => MemberRemove { conversation, id, user: bob }.into(),
        "member:role" => MemberRole { conversation, id, user: bob, role: Role::Admin }.into(),
        "mark:read" => MarkRead { conversation, seq: Seq(1) }.into(),
        "mark:delivered" => MarkDelivered { conversation, seq: Seq(1) }.into(),
        "inbox:mute" => InboxMute { conversation, muted: true }.into(),
        "inbox:archive" => InboxArchive { conversation, archived: true }.into(),
        "inbox:list" => InboxList { page, limit }.into(),
        "history:list" => HistoryList { conversation, before: None, after: None, around: None, limit }.into(),
        "log:list" => LogList { conversation, after: Position::START, limit }.into(),
        "conversation:get" => ConversationGet { conversation }.into(),
        "member:list" => MemberList { conversation, page, limit }.into(),
        "mark:list" => MarkList { conversation, page, limit }.into(),
        "reaction:list" => ReactionList { conversation, message, emoji, page, limit }.into(),
        "typing" => Typing { conversation, active: true }.into(),
        "watch:presence" => WatchPresence { users: vec![bob] }.into(),
        "watch:conversations" => WatchConversations { conversations: vec![conversation] }.into(),
        "auth:refresh" => AuthRefresh { token: Token("t".into()) }.into(),
        other => panic!("no example of {other}: add one and its row in the policy table"),
    };
    command
}
