//! What servers send.

use super::*;
use chat_protocol::code::{ErrorCode, ResetReason};
use chat_protocol::command::PageToken;
use chat_protocol::conversation::Marks;
use chat_protocol::event::*;
use chat_protocol::frame::*;
use chat_protocol::signal::{DisplaySignal, MarksSignal, PresenceSignal, Signal, TypingSignal};

fn named<const N: usize>(frames: [(&str, ServerFrame); N]) -> Vec<(String, ServerFrame)> {
    frames.map(|(name, frame)| (name.to_owned(), frame)).into()
}

pub fn frames() -> Vec<(String, ServerFrame)> {
    let welcome = Welcome {
        session: SessionGrant {
            id: id(0xa1),
            secret: "c2VjcmV0".into(),
        },
        user: anna(),
        epoch: id(0xb1),
        limits: WireLimits {
            frame_bytes_max: 65_536,
            text_bytes_max: 16_384,
            meta_bytes_max: 4_096,
            commands_in_flight_max: 8,
        },
        heartbeat: HeartbeatTimes {
            interval_ms: 25_000,
            timeout_ms: 10_000,
        },
        capabilities: vec![],
        at: at(0),
        expires_in_ms: Some(3_600_000),
    };
    let push = InboxPush {
        entries: vec![entry(), direct_entry()],
        revision: Revision(12),
        last: false,
    };
    let nothing = InboxPush {
        entries: vec![],
        last: true,
        ..push.clone()
    };
    let skip = Skip {
        conversation: group(),
        from: Seq(3),
        to: Seq(6),
        tag: tag(6),
    };
    let page = page();
    named([
        ("welcome", ServerFrame::Welcome(welcome)),
        ("inbox", ServerFrame::Inbox(push)),
        ("inbox.empty", ServerFrame::Inbox(nothing)),
        ("synced", ServerFrame::Synced(Synced { revision: Revision(12) })),
        ("page", ServerFrame::Page(page)),
        ("skip", ServerFrame::Skip(skip)),
        ("expiring", ServerFrame::Expiring(Expiring { expires_in_ms: 60_000 })),
        ("reconnect", ServerFrame::Reconnect(Reconnect { after_ms: 1_500 })),
        ("ping", ServerFrame::Ping),
        ("pong", ServerFrame::Pong),
    ])
    .into_iter()
    .chain(resets())
    .collect()
}

fn resets() -> Vec<(String, ServerFrame)> {
    ResetReason::KNOWN
        .iter()
        .map(|reason| {
            let all = *reason == ResetReason::Epoch;
            let has_entry = matches!(reason, ResetReason::Ahead | ResetReason::TooOld);
            let reset = Reset {
                conversation: (!all).then(group),
                reason: reason.clone(),
                entry: has_entry.then(entry),
            };
            (format!("reset.{reason}"), ServerFrame::Reset(reset))
        })
        .collect()
}

fn page() -> Page {
    Page {
        conversation: group(),
        items: vec![
            LogItem::Event(event(2, Some(anna()), MessageNew { message: message() }.into())),
            LogItem::Skip(Skip {
                conversation: group(),
                from: Seq(3),
                to: Seq(6),
                tag: tag(6),
            }),
        ],
        more: true,
    }
}

/// An event at `seq`; one about a message stands where the message was created or last changed.
fn event(seq: u64, actor: Option<UserId>, kind: EventKind) -> Event {
    let (seq, id) = match &kind {
        EventKind::MessageNew(new) => (new.message.seq, new.message.id.into()),
        other => {
            let seq = other.message().map_or(Seq(seq), |message| message.changed);
            (seq, id(0xd0 + u16::try_from(seq.0).expect("few")))
        }
    };
    Event {
        conversation: group(),
        seq,
        tag: tag(seq.0),
        id,
        actor,
        at: at(seq.0),
        kind,
    }
}

pub fn events() -> Vec<(String, ServerFrame)> {
    let (user, emoji) = (ben(), "👍".to_owned());
    let member = members().remove(1);
    let unknown = UnknownKind {
        name: "poll:opened".into(),
        data: map(json!({"question": "Pizza?"})),
    };
    let kinds: Vec<(&str, EventKind)> = vec![
        (
            "",
            ConversationCreated {
                conversation: conversation(),
                members: members(),
            }
            .into(),
        ),
        (
            "",
            ConversationUpdated {
                conversation: channel(),
            }
            .into(),
        ),
        ("", ConversationDeleted {}.into()),
        (
            "",
            MemberJoined {
                member,
                member_count: 2,
            }
            .into(),
        ),
        (
            "",
            MemberLeft {
                user: user.clone(),
                member_count: 1,
            }
            .into(),
        ),
        (
            "",
            MemberRemoved {
                user: user.clone(),
                member_count: 1,
            }
            .into(),
        ),
        (
            "",
            MemberRoleChanged {
                user,
                role: Role::Admin,
            }
            .into(),
        ),
        ("", MessageNew { message: message() }.into()),
        (".deleted", MessageNew { message: tombstone() }.into()),
        ("", MessageUpdated { message: edited() }.into()),
        ("", MessageDeleted { message: tombstone() }.into()),
        (
            "",
            ReactionAdded {
                emoji: emoji.clone(),
                message: with_reactions(),
            }
            .into(),
        ),
        (
            "",
            ReactionRemoved {
                emoji,
                message: Message {
                    changed: Seq(5),
                    ..message()
                },
            }
            .into(),
        ),
        (".unknown", EventKind::Unknown(unknown)),
    ];
    let mut events: Vec<(String, ServerFrame)> = (1..)
        .zip(kinds)
        .map(|(seq, (suffix, kind))| {
            let name = format!("event.{}{suffix}", kind.name().replace(':', "-"));
            (name, ServerFrame::Event(event(seq, Some(anna()), kind)))
        })
        .collect();
    let system = Message {
        sender: None,
        ..message()
    };
    let by_nobody = event(8, None, MessageNew { message: system }.into());
    events.push(("event.message-new.system".to_owned(), ServerFrame::Event(by_nobody)));
    events
}

pub fn signals() -> Vec<(String, ServerFrame)> {
    [
        Signal::Typing(TypingSignal {
            conversation: group(),
            user: ben(),
            active: true,
        }),
        Signal::Presence(PresenceSignal {
            user: ben(),
            online: false,
            as_of: at(9),
        }),
        Signal::Marks(MarksSignal {
            conversation: group(),
            user: ben(),
            read: Seq(2),
            delivered: Seq(7),
        }),
        Signal::Display(DisplaySignal {
            user: ben(),
            display: json!({"name": "Ben", "picture": null}),
        }),
        Signal::Unknown {
            name: "wave".into(),
            data: map(json!({"hand": "left"})),
        },
    ]
    .map(|signal| {
        let unknown = if matches!(signal, Signal::Unknown { .. }) {
            ".unknown"
        } else {
            ""
        };
        (
            format!("signal.{}{unknown}", signal.name()),
            ServerFrame::Signal(signal),
        )
    })
    .into()
}

pub fn replies() -> Vec<(String, ServerFrame)> {
    let next = Some(PageToken("b3BhcXVl".into()));
    let stored = |duplicate| {
        Outcome::Stored(Stored {
            conversation: group(),
            id: message_id().into(),
            seq: Seq(2),
            tag: tag(2),
            at: at(2),
            duplicate,
        })
    };
    let results = [
        ("stored", stored(false)),
        ("stored.duplicate", stored(true)),
        ("done", Outcome::Done {}),
        (
            "inbox",
            Outcome::Inbox(InboxPage {
                entries: vec![entry()],
                next: next.clone(),
            }),
        ),
        (
            "history",
            Outcome::History(HistoryPage {
                conversation: group(),
                messages: vec![with_reactions(), tombstone()],
                more_before: true,
                more_after: false,
                head: position(7),
            }),
        ),
        ("log", Outcome::Log(page())),
        (
            "conversation",
            Outcome::Conversation(ConversationView {
                conversation: conversation(),
                entry: Some(entry()),
                members: members(),
            }),
        ),
        (
            "conversation.public",
            Outcome::Conversation(ConversationView {
                conversation: channel(),
                entry: None,
                members: vec![],
            }),
        ),
        (
            "members",
            Outcome::Members(MemberPage {
                members: members(),
                next: next.clone(),
            }),
        ),
        (
            "marks",
            Outcome::Marks(MarkPage {
                marks: vec![Marks {
                    user: ben(),
                    read: Seq(2),
                    delivered: Seq(7),
                }],
                revision: Revision(3),
                next: None,
            }),
        ),
        (
            "reactions",
            Outcome::Reactions(ReactionPage {
                users: vec![ben(), anna()],
                next,
            }),
        ),
        (
            "refreshed",
            Outcome::Refreshed(Refreshed {
                expires_in_ms: Some(3_600_000),
            }),
        ),
    ];
    (0..)
        .zip(results)
        .map(|(req, (name, result))| (format!("reply.{name}"), ServerFrame::Reply(Reply { req, result })))
        .collect()
}

pub fn errors() -> Vec<(String, ServerFrame)> {
    let mut errors: Vec<(String, ServerFrame)> = ErrorCode::KNOWN
        .iter()
        .map(|code| {
            let mut error = ErrorFrame::new(Some(7), code.clone(), "a sentence that says what to do");
            match code {
                ErrorCode::RateLimited | ErrorCode::Unavailable => error.retry_after_ms = Some(50),
                ErrorCode::VersionConflict => error.version = Some(2),
                _ => {}
            }
            (format!("error.{code}"), ServerFrame::Error(error))
        })
        .collect();
    let of_no_command = ErrorFrame::new(None, ErrorCode::InvalidArgument, "a sentence that says what to do");
    errors.push(("error.without-req".to_owned(), ServerFrame::Error(of_no_command)));
    errors
}
