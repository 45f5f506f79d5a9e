//! A server of a screenful behind an in-memory connector: one log a conversation, everybody a member of what they
//! joined, dedup by id, resume by cursor, and knobs for what goes wrong.

use async_trait::async_trait;
use bytes::Bytes;
use chat_client::protocol::code::{CloseCode, ErrorCode, ResetReason};
use chat_client::protocol::conversation::{
    Conversation, ConversationKind, HistoryVisibility, InboxEntry, Member, Role,
};
use chat_client::protocol::event::{MemberJoined, MessageNew};
use chat_client::protocol::frame::*;
use chat_client::protocol::id::{Epoch, Position, Revision, SessionId, Tag, Timestamp};
use chat_client::*;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::mpsc;

/// A handle on the server.
#[derive(Clone)]
pub struct Server(Arc<Mutex<State>>);

pub struct State {
    epochs: u8,
    pub logs: BTreeMap<ConversationId, Vec<Event>>,
    pub members: BTreeMap<ConversationId, Vec<UserId>>,
    connections: Vec<mpsc::UnboundedSender<Received>>,
    /// Takes no connection.
    pub down: bool,
    /// Stores the next command and cuts the connection instead of answering.
    pub cut_after_store: bool,
    /// Answers the next durable command with this.
    pub refuse_next: Option<ErrorFrame>,
    /// Answers no command.
    pub mute: bool,
    /// Every command that came, durable or not.
    pub asked: Vec<Command>,
    pub hellos: Vec<Hello>,
}

impl Server {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            epochs: 1,
            logs: BTreeMap::new(),
            members: BTreeMap::new(),
            connections: Vec::new(),
            down: false,
            cut_after_store: false,
            refuse_next: None,
            mute: false,
            asked: Vec::new(),
            hellos: Vec::new(),
        })))
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub fn client(&self, name: &str, seed: u64) -> ClientBuilder {
        Client::builder(self.clone()).guest(name).rng_seed(seed)
    }

    /// Ends every connection.
    pub fn cut(&self, code: Option<CloseCode>) {
        for connection in self.lock().connections.drain(..) {
            let _ = connection.send(Received::Closed(code));
        }
    }

    /// Says something to everybody.
    pub fn push(&self, frame: &ServerFrame) {
        let frame = Bytes::from(Codec::Json.encode(frame));
        for connection in &self.lock().connections {
            let _ = connection.send(Received::Frame(frame.clone()));
        }
    }

    /// The process dies and comes back with an empty memory.
    pub fn forget(&self) {
        self.cut(None);
        let mut state = self.lock();
        state.epochs += 1;
        state.logs.clear();
        state.members.clear();
    }

    /// The texts in a conversation, in order.
    pub fn texts(&self, conversation: ConversationId) -> Vec<String> {
        let state = self.lock();
        let events = state.logs.get(&conversation).into_iter().flatten();
        events.filter_map(text).collect()
    }
}

/// The text of a new message.
pub fn text(event: &Event) -> Option<String> {
    match &event.kind {
        EventKind::MessageNew(new) => new.message.content.as_ref()?.text.clone(),
        _ => None,
    }
}

pub fn conversation() -> ConversationId {
    ConversationId::from_parts(1, [7; 10])
}

#[async_trait]
impl Connector for Server {
    async fn connect(&self, codec: Codec) -> Result<Pipe, ConnectError> {
        if self.lock().down {
            return Err(ConnectError::Unreachable("down".into()));
        }
        let (to_client, from_server) = mpsc::unbounded_channel();
        self.lock().connections.push(to_client.clone());
        let sender = Half {
            server: self.clone(),
            codec,
            to_client,
            user: None,
            resumed: None,
            cursors: BTreeMap::new(),
        };
        Ok(Pipe {
            sender: Box::new(sender),
            receiver: Box::new(From(from_server)),
        })
    }
}

struct From(mpsc::UnboundedReceiver<Received>);

#[async_trait]
impl PipeReceiver for From {
    async fn recv(&mut self) -> Received {
        self.0.recv().await.unwrap_or(Received::Closed(None))
    }
}

/// One connection, as the server sees it: frames are answered where they are written.
struct Half {
    server: Server,
    codec: Codec,
    to_client: mpsc::UnboundedSender<Received>,
    user: Option<UserId>,
    resumed: Option<Epoch>,
    cursors: BTreeMap<ConversationId, Seq>,
}

#[async_trait]
impl PipeSender for Half {
    async fn send(&mut self, frames: &mut VecDeque<Bytes>) -> Result<(), PipeLost> {
        while let Some(frame) = frames.pop_front() {
            self.take(&frame)?;
        }
        Ok(())
    }

    async fn close(&mut self, _code: CloseCode) {
        let _ = self.to_client.send(Received::Closed(Some(CloseCode::Normal)));
    }
}

impl Half {
    fn push(&self, frame: &ServerFrame) {
        let _ = self.to_client.send(Received::Frame(self.codec.encode(frame).into()));
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), PipeLost> {
        let server = self.server.clone();
        let mut state = server.lock();
        if !state
            .connections
            .iter()
            .any(|other| other.same_channel(&self.to_client))
        {
            return Err(PipeLost);
        }
        match self
            .codec
            .decode_client(bytes)
            .expect("a client writes what can be read")
        {
            ClientFrame::Hello(hello) => {
                let name = hello.guest.as_deref().unwrap_or("known by a token");
                let user = UserId::new(name).unwrap();
                self.user = Some(user.clone());
                state.hellos.push(hello);
                self.push(&ServerFrame::Welcome(welcome(user, state.epoch())));
            }
            ClientFrame::Resume(resume) => {
                self.resumed = self.resumed.or(resume.epoch);
                self.cursors
                    .extend(resume.cursors.iter().map(|cursor| (cursor.conversation, cursor.seq)));
                if resume.last {
                    self.resume(&state);
                }
            }
            ClientFrame::Command { req, command } => {
                state.asked.push(command.clone());
                if !state.mute {
                    return self.command(&mut state, req, &command);
                }
            }
            ClientFrame::Ping => self.push(&ServerFrame::Pong),
            ClientFrame::Pong => {}
        }
        Ok(())
    }

    fn resume(&mut self, state: &State) {
        if self.resumed.is_some_and(|epoch| epoch != state.epoch()) {
            self.cursors.clear();
            self.push(&ServerFrame::Reset(Reset {
                conversation: None,
                reason: ResetReason::Epoch,
                entry: None,
            }));
        }
        let user = self.user.as_ref().expect("hello came first");
        let mine = state.members.iter().filter(|(_, members)| members.contains(user));
        let fresh = mine.filter(|(id, _)| !self.cursors.contains_key(*id));
        let entries = fresh.map(|(id, _)| state.entry(*id)).collect();
        self.push(&inbox(entries));
        for (id, seq) in &self.cursors {
            let missed = state.logs[id].iter().filter(|event| event.seq > *seq);
            self.push(&ServerFrame::Page(Page {
                conversation: *id,
                items: missed.cloned().map(LogItem::Event).collect(),
                more: false,
            }));
        }
        self.push(&ServerFrame::Synced(Synced { revision: Revision(1) }));
    }

    fn command(&mut self, state: &mut State, req: u64, command: &Command) -> Result<(), PipeLost> {
        let (Some(id), Some(conversation)) = (command.id(), command.conversation()) else {
            let result = Outcome::Done {};
            self.push(&ServerFrame::Reply(Reply { req, result }));
            return Ok(());
        };
        let user = self.user.clone().expect("hello came first");
        if let Some(mut error) = state.refuse_next.take() {
            error.req = Some(req);
            self.push(&ServerFrame::Error(error));
            return Ok(());
        }
        let joins = matches!(command, Command::ConversationJoin(_));
        let member = state.members.get(&conversation).is_some_and(|all| all.contains(&user));
        let first = state.logs.get(&conversation);
        let first = first.and_then(|log| log.iter().find(|event| event.id == id).cloned());
        if first.is_none() && !member && !joins {
            let error = ErrorFrame::new(Some(req), ErrorCode::NotFound, "no such conversation");
            self.push(&ServerFrame::Error(error));
            return Ok(());
        }
        let duplicate = first.is_some();
        let event = first.unwrap_or_else(|| state.append(conversation, id, &user, command));
        if joins && !duplicate {
            state.members.entry(conversation).or_default().push(user);
            self.push(&inbox(vec![state.entry(conversation)]));
        } else if !duplicate {
            let frame = Bytes::from(self.codec.encode(&event));
            state
                .connections
                .retain(|other| other.send(Received::Frame(frame.clone())).is_ok());
        }
        if std::mem::take(&mut state.cut_after_store) {
            let _ = self.to_client.send(Received::Closed(None));
            return Err(PipeLost);
        }
        let result = Outcome::Stored(Stored {
            conversation,
            id,
            seq: event.seq,
            tag: event.tag,
            at: event.at,
            duplicate,
        });
        self.push(&ServerFrame::Reply(Reply { req, result }));
        Ok(())
    }
}

impl State {
    fn epoch(&self) -> Epoch {
        Epoch::from_parts(9, [self.epochs; 10])
    }

    fn entry(&self, id: ConversationId) -> InboxEntry {
        let head = self.logs[&id].len() as u64;
        InboxEntry {
            conversation: Conversation {
                id,
                kind: ConversationKind::Channel,
                title: None,
                public: true,
                history: HistoryVisibility::All,
                meta: None,
                created_at: Timestamp(0),
                member_count: self.members[&id].len() as u64,
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

    fn append(&mut self, conversation: ConversationId, id: CommandId, user: &UserId, command: &Command) -> Event {
        let log = self.logs.entry(conversation).or_default();
        let Position { seq, tag } = position(log.len() as u64 + 1);
        let kind = match command {
            Command::MessageSend(send) => MessageNew {
                message: Message {
                    id: send.id,
                    seq,
                    sender: Some(user.clone()),
                    at: Timestamp(0),
                    version: 1,
                    changed: seq,
                    edited_at: None,
                    deleted_at: None,
                    reply_to: send.reply_to,
                    content: Some(send.content.clone()),
                    reactions: Vec::new(),
                },
            }
            .into(),
            _ => MemberJoined {
                member: Member {
                    user: user.clone(),
                    role: Role::Member,
                    joined: seq,
                    display: None,
                },
                member_count: 1,
            }
            .into(),
        };
        let event = Event {
            conversation,
            seq,
            tag,
            id,
            actor: Some(user.clone()),
            at: Timestamp(0),
            kind,
        };
        log.push(event.clone());
        event
    }
}

fn position(seq: u64) -> Position {
    Position {
        seq: Seq(seq),
        tag: Tag(seq),
    }
}

fn inbox(entries: Vec<InboxEntry>) -> ServerFrame {
    ServerFrame::Inbox(InboxPush {
        entries,
        revision: Revision(1),
        last: true,
    })
}

fn welcome(user: UserId, epoch: Epoch) -> Welcome {
    Welcome {
        session: SessionGrant {
            id: SessionId::from_parts(5, [5; 10]),
            secret: "proof".to_owned(),
        },
        user,
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
