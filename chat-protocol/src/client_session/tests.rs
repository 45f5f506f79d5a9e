//! The machine’s rules, as lists of effects.

mod connection;
mod inbox;
mod order;
mod outbox;
mod pair;
mod server;

use super::*;
use crate::command::*;
use crate::conversation::*;
use crate::event::*;
use crate::frame::*;
use crate::id::*;
use crate::message::*;

/// A machine with a clock in hand.
pub(super) struct Client {
    pub(super) session: ClientSession,
    pub(super) now: Instant,
}

impl Client {
    pub(super) fn new() -> Self {
        Self {
            session: ClientSession::new(ClientSettings::default(), 1),
            now: Instant::now(),
        }
    }

    /// Connected, welcome said, nothing in the inbox but `entries`, synced.
    pub(super) fn synced(entries: Vec<InboxEntry>) -> Self {
        let mut client = Self::new();
        client.connect();
        client.welcome(epoch(1));
        client.inbox(entries, 1);
        client.frame(ServerFrame::Synced(Synced { revision: Revision(1) }));
        client
    }

    pub(super) fn input(&mut self, input: ClientInput) -> Vec<ClientEffect> {
        let mut out = Vec::new();
        self.session.handle(input, self.now, &mut out);
        out
    }

    pub(super) fn frame(&mut self, frame: ServerFrame) -> Vec<ClientEffect> {
        self.input(ClientInput::Frame(frame))
    }

    pub(super) fn connect(&mut self) -> Vec<ClientEffect> {
        self.input(ClientInput::Start);
        self.input(ClientInput::Connected(Credential::Guest("ann".to_owned())))
    }

    pub(super) fn welcome(&mut self, epoch: Epoch) -> Vec<ClientEffect> {
        self.frame(ServerFrame::Welcome(welcome(epoch)))
    }

    pub(super) fn inbox(&mut self, entries: Vec<InboxEntry>, revision: u64) -> Vec<ClientEffect> {
        self.frame(ServerFrame::Inbox(InboxPush {
            entries,
            revision: Revision(revision),
            last: true,
        }))
    }

    pub(super) fn submit(&mut self, ticket: Ticket, command: impl Into<Command>) -> Vec<ClientEffect> {
        let command = command.into();
        self.input(ClientInput::Submit { ticket, command })
    }

    /// Moves the clock to the deadline and ticks.
    pub(super) fn tick(&mut self) -> Vec<ClientEffect> {
        let deadline = self.session.deadline().expect("a deadline");
        assert!(deadline > self.now, "a deadline that has passed would be a busy loop");
        self.now = deadline;
        self.input(ClientInput::Tick)
    }

    pub(super) fn entry(&self, n: u8) -> &InboxEntry {
        &self.session.view().conversations[&conversation(n)].entry
    }

    pub(super) fn cursor(&self, n: u8) -> u64 {
        self.session.view().conversations[&conversation(n)].cursor.seq.0
    }
}

/// What the machine wrote, in order.
pub(super) fn sent(effects: &[ClientEffect]) -> Vec<&ClientFrame> {
    let frames = effects.iter().filter_map(|effect| match effect {
        ClientEffect::Send(frame) => Some(frame),
        _ => None,
    });
    frames.collect()
}

/// The commands that the machine wrote, with their numbers.
pub(super) fn commands(effects: &[ClientEffect]) -> Vec<(u64, &Command)> {
    let frames = sent(effects).into_iter().filter_map(|frame| match frame {
        ClientFrame::Command { req, command } => Some((*req, command)),
        _ => None,
    });
    frames.collect()
}

/// The seqs of the events that were handed out.
pub(super) fn events(effects: &[ClientEffect]) -> Vec<u64> {
    let events = effects.iter().filter_map(|effect| match effect {
        ClientEffect::Update(Update::Event(event)) => Some(event.seq.0),
        _ => None,
    });
    events.collect()
}

/// The tickets that were settled, with success or not.
pub(super) fn tickets(effects: &[ClientEffect]) -> Vec<(Ticket, bool)> {
    let settled = effects.iter().filter_map(|effect| match effect {
        ClientEffect::Settled { ticket, result } => Some((*ticket, result.is_ok())),
        _ => None,
    });
    settled.collect()
}

pub(super) fn conversation(n: u8) -> ConversationId {
    ConversationId::from_parts(1, [n; 10])
}

pub(super) fn message_id(n: u8) -> MessageId {
    MessageId::from_parts(2, [n; 10])
}

pub(super) fn command_id(n: u8) -> CommandId {
    CommandId::from_parts(3, [n; 10])
}

pub(super) fn epoch(n: u8) -> Epoch {
    Epoch::from_parts(4, [n; 10])
}

pub(super) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(super) fn position(seq: u64) -> Position {
    Position {
        seq: Seq(seq),
        tag: Tag(seq * 7),
    }
}

pub(super) fn send(n: u8, id: u8) -> Command {
    MessageSend {
        conversation: conversation(n),
        id: message_id(id),
        content: Content::text("hello"),
        reply_to: None,
    }
    .into()
}

pub(super) fn join(n: u8, id: u8) -> Command {
    ConversationJoin {
        conversation: conversation(n),
        id: command_id(id),
    }
    .into()
}

pub(super) fn welcome(epoch: Epoch) -> Welcome {
    Welcome {
        session: SessionGrant {
            id: SessionId::from_parts(5, [5; 10]),
            secret: "proof".to_owned(),
        },
        user: user("ann"),
        epoch,
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
        capabilities: Vec::new(),
        at: Timestamp(0),
        expires_in_ms: None,
    }
}

pub(super) fn entry(n: u8, head: u64) -> InboxEntry {
    InboxEntry {
        conversation: Conversation {
            id: conversation(n),
            kind: ConversationKind::Channel,
            title: Some("general".to_owned()),
            public: true,
            history: HistoryVisibility::All,
            meta: None,
            created_at: Timestamp(0),
            member_count: 2,
        },
        head: position(head),
        role: Role::Member,
        joined: Seq(1),
        last_message: None,
        unread: 0,
        read: Seq(head),
        delivered: Seq(0),
        muted: false,
        archived: false,
        revision: Revision(1),
        members: Vec::new(),
    }
}

pub(super) fn event(n: u8, seq: u64, kind: impl Into<EventKind>) -> Event {
    Event {
        conversation: conversation(n),
        seq: Seq(seq),
        tag: position(seq).tag,
        id: CommandId::from_parts(6, [seq as u8; 10]),
        actor: Some(user("bob")),
        at: Timestamp(seq),
        kind: kind.into(),
    }
}

pub(super) fn message(seq: u64, sender: &str) -> Message {
    Message {
        id: MessageId::from_parts(6, [seq as u8; 10]),
        seq: Seq(seq),
        sender: Some(user(sender)),
        at: Timestamp(seq),
        version: 1,
        changed: Seq(seq),
        edited_at: None,
        deleted_at: None,
        reply_to: None,
        content: Some(Content::text("hello")),
        reactions: Vec::new(),
    }
}

pub(super) fn new(n: u8, seq: u64, sender: &str) -> Event {
    let message = message(seq, sender);
    event(n, seq, MessageNew { message })
}

pub(super) fn deleted(n: u8, seq: u64, of: u64, sender: &str) -> Event {
    let message = tombstone(of, seq, sender);
    event(n, seq, MessageDeleted { message })
}

pub(super) fn tombstone(seq: u64, changed: u64, sender: &str) -> Message {
    Message {
        changed: Seq(changed),
        deleted_at: Some(Timestamp(changed)),
        content: None,
        version: 2,
        ..message(seq, sender)
    }
}

pub(super) fn reply(req: u64, result: Outcome) -> ServerFrame {
    ServerFrame::Reply(Reply { req, result })
}

pub(super) fn stored(n: u8, id: CommandId, seq: u64) -> Outcome {
    Outcome::Stored(Stored {
        conversation: conversation(n),
        id,
        seq: Seq(seq),
        tag: position(seq).tag,
        at: Timestamp(seq),
        duplicate: false,
    })
}

pub(super) fn error(req: u64, code: ErrorCode, retry_after_ms: Option<u64>) -> ServerFrame {
    ServerFrame::Error(ErrorFrame {
        req: Some(req),
        retryable: code.is_retryable(),
        code,
        retry_after_ms,
        version: None,
        message: "no".to_owned(),
    })
}
