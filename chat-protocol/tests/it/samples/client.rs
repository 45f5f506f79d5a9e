//! What clients send.

use super::*;
use chat_protocol::command::*;
use chat_protocol::frame::{ClientInfo, Hello, Resume, ResumeCursor, SessionGrant};
use chat_protocol::id::CommandId;

fn command_id() -> CommandId {
    id(0xd1)
}

pub fn frames() -> Vec<(String, ClientFrame)> {
    let hello = Hello {
        token: Some(Token("eyJhbGciOiJIUzI1NiJ9.e30.c2ln".into())),
        ..Hello::default()
    };
    let full = Hello {
        session: Some(SessionGrant {
            id: id(0xa1),
            secret: "c2VjcmV0".into(),
        }),
        attempt: 3,
        client: Some(ClientInfo {
            name: "example".into(),
            version: "1.0.0".into(),
        }),
        device: Some("kitchen tablet".into()),
        wants: vec!["signals".into()],
        ..hello.clone()
    };
    let guest = Hello {
        guest: Some("Zoë".into()),
        ..Hello::default()
    };
    let cursor = |conversation, seq| ResumeCursor {
        conversation,
        seq: Seq(seq),
        tag: tag(seq),
    };
    let first = Resume {
        epoch: Some(id(0xb1)),
        revision: Some(Revision(12)),
        cursors: vec![cursor(group(), 7), cursor(direct(), 1)],
        max: Some(5_000),
        last: false,
    };
    let fresh = Resume {
        last: true,
        ..Resume::default()
    };
    [
        ("hello", ClientFrame::Hello(hello)),
        ("hello.full", ClientFrame::Hello(full)),
        ("hello.guest", ClientFrame::Hello(guest)),
        ("hello.empty", ClientFrame::Hello(Hello::default())),
        ("resume.chunk", ClientFrame::Resume(first)),
        ("resume.fresh", ClientFrame::Resume(fresh)),
        ("ping", ClientFrame::Ping),
        ("pong", ClientFrame::Pong),
    ]
    .map(|(name, frame)| (name.to_owned(), frame))
    .into()
}

/// Every command, by its name, and a fuller one where there are optional fields.
pub fn commands() -> Vec<(String, ClientFrame)> {
    plain()
        .into_iter()
        .map(|command| (String::new(), command))
        .chain(full().into_iter().map(|command| (".full".to_owned(), command)))
        .enumerate()
        .map(|(req, (suffix, command))| {
            let name = format!("command.{}{suffix}", command.name().replace(':', "-"));
            let req = u64::try_from(req).expect("few");
            (name, ClientFrame::Command { req, command })
        })
        .collect()
}

fn plain() -> Vec<Command> {
    let (conversation, id, message) = (group(), command_id(), message_id());
    vec![
        MessageSend {
            conversation,
            id: message,
            content: Content::text("hello"),
            reply_to: None,
        }
        .into(),
        MessageEdit {
            conversation,
            id,
            message,
            version: None,
            content: Content::text("hello again"),
        }
        .into(),
        MessageDelete {
            conversation,
            id,
            message,
        }
        .into(),
        ReactionAdd {
            conversation,
            id,
            message,
            emoji: "👍".into(),
        }
        .into(),
        ReactionRemove {
            conversation,
            id,
            message,
            emoji: "👍".into(),
        }
        .into(),
        ConversationCreate {
            conversation: direct(),
            id,
            kind: ConversationKind::Direct,
            title: None,
            public: false,
            history: None,
            members: vec![ben()],
            meta: None,
        }
        .into(),
        ConversationUpdate {
            conversation,
            id,
            title: Some("Team".into()),
            meta: None,
        }
        .into(),
        ConversationDelete { conversation, id }.into(),
        ConversationJoin { conversation, id }.into(),
        ConversationLeave { conversation, id }.into(),
        MemberAdd {
            conversation,
            id,
            user: ben(),
        }
        .into(),
        MemberRemove {
            conversation,
            id,
            user: ben(),
        }
        .into(),
        MemberRole {
            conversation,
            id,
            user: ben(),
            role: Role::Admin,
        }
        .into(),
        MarkRead {
            conversation,
            seq: Seq(7),
        }
        .into(),
        MarkDelivered {
            conversation,
            seq: Seq(7),
        }
        .into(),
        InboxMute {
            conversation,
            muted: true,
        }
        .into(),
        InboxArchive {
            conversation,
            archived: false,
        }
        .into(),
        InboxList {
            page: None,
            limit: None,
        }
        .into(),
        HistoryList {
            conversation,
            before: None,
            after: None,
            around: None,
            limit: None,
        }
        .into(),
        LogList {
            conversation,
            after: position(7),
            limit: None,
        }
        .into(),
        ConversationGet { conversation }.into(),
        MemberList {
            conversation,
            page: None,
            limit: None,
        }
        .into(),
        MarkList {
            conversation,
            page: None,
            limit: None,
        }
        .into(),
        ReactionList {
            conversation,
            message,
            emoji: "👍".into(),
            page: None,
            limit: None,
        }
        .into(),
        Typing {
            conversation,
            active: true,
        }
        .into(),
        WatchPresence {
            users: vec![anna(), ben()],
        }
        .into(),
        WatchConversations {
            conversations: vec![group()],
        }
        .into(),
        AuthRefresh {
            token: Token("eyJhbGciOiJIUzI1NiJ9.e30.bmV3".into()),
        }
        .into(),
    ]
}

fn full() -> Vec<Command> {
    let (conversation, id, message) = (group(), command_id(), message_id());
    let page = || Some(PageToken("b3BhcXVl".into()));
    vec![
        MessageSend {
            conversation,
            id: message,
            content: full_content(),
            reply_to: Some(super::id(0xe0)),
        }
        .into(),
        MessageEdit {
            conversation,
            id,
            message,
            version: Some(1),
            content: full_content(),
        }
        .into(),
        ConversationCreate {
            conversation,
            id,
            kind: ConversationKind::Channel,
            title: Some("Lobby".into()),
            public: true,
            history: Some(HistoryVisibility::All),
            members: vec![anna(), ben()],
            meta: Some(meta()),
        }
        .into(),
        ConversationUpdate {
            conversation,
            id,
            title: Some("Team".into()),
            meta: Some(Map::new()),
        }
        .into(),
        InboxList {
            page: page(),
            limit: Some(50),
        }
        .into(),
        HistoryList {
            conversation,
            before: Some(Seq(100)),
            after: None,
            around: None,
            limit: Some(200),
        }
        .into(),
        LogList {
            conversation,
            after: Position::START,
            limit: Some(200),
        }
        .into(),
        MemberList {
            conversation,
            page: page(),
            limit: Some(50),
        }
        .into(),
        MarkList {
            conversation,
            page: page(),
            limit: Some(50),
        }
        .into(),
        ReactionList {
            conversation,
            message,
            emoji: "👍".into(),
            page: page(),
            limit: Some(50),
        }
        .into(),
    ]
}
