//! The client’s half of the protocol, without IO: what goes in comes by [`ClientSession::handle`], what is to be done
//! comes out as [`ClientEffect`]s, and [`ClientSession::deadline`] says when to call again.
//!
//! It outlives connections. It holds a cursor per conversation, so that each event is handed out once and in order; the
//! outbox, so that each durable command is settled by one id; and the times of heartbeat and reconnect. It never opens
//! a socket, reads a clock, or mints an id: the loop of `chat-client` does.
//!
//! * the connection: `connection` (hello, heartbeat, reconnect) and `receive` (what the server says)
//! * what the client knows: [`ClientView`]
//! * what the client asks: `outbox` (durable commands, the rule for another epoch) and `requests` (all others)

mod backoff;
mod connection;
mod outbox;
mod receive;
mod requests;
mod resume;
#[cfg(test)]
mod tests;
mod unread;
mod view;

pub use view::{ClientView, ConversationState};

use crate::code::{CloseCode, ErrorCode, ResetReason};
use crate::command::{Command, Token};
use crate::conversation::InboxEntry;
use crate::event::{Event, Skip};
use crate::frame::{ClientFrame, ClientInfo, ErrorFrame, Outcome, ServerFrame, SessionGrant};
use crate::id::{ConversationId, Epoch, Revision, UserId};
use crate::signal::Signal;
use backoff::Random;
use connection::{Phase, Wire};
use outbox::Outbox;
use requests::Requests;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Names a submitted command between the machine and its loop; never travels.
pub type Ticket = u64;

/// How a client behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientSettings {
    /// What software it is.
    pub client: Option<ClientInfo>,
    /// Opaque to the server, at most 64 bytes.
    pub device: Option<String>,
    /// Names of capabilities.
    pub wants: Vec<String>,
    /// The short way: a conversation with more missed events than this is reset instead; nothing for the long way.
    pub resume_events_max: Option<u64>,
    /// The first wait before a reconnect is at most this long; it doubles with each failure.
    pub reconnect_base: Duration,
    /// No wait before a reconnect is longer, unless the server asks for it.
    pub reconnect_cap: Duration,
    /// How long the server may take to answer hello.
    pub welcome_timeout: Duration,
    /// After this long without a frame from the server a ping is sent.
    pub ping_after: Duration,
    /// After this long without a frame from the server the connection is dead.
    pub watchdog: Duration,
    /// How long the server may take to close after it said that it goes away.
    pub drain_timeout: Duration,
    /// Durable commands that wait for a definite answer; more are refused with [`CommandError::QueueFull`].
    pub outbox_commands_max: usize,
    /// Other commands that wait to be sent; more are refused with [`CommandError::QueueFull`].
    pub requests_max: usize,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            client: None,
            device: None,
            wants: Vec::new(),
            resume_events_max: Some(5_000),
            reconnect_base: Duration::from_millis(250),
            reconnect_cap: Duration::from_secs(30),
            welcome_timeout: Duration::from_secs(15),
            ping_after: Duration::from_secs(25),
            watchdog: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(10),
            outbox_commands_max: 10_000,
            requests_max: 1_000,
        }
    }
}

/// How a client proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// By the host’s token, in the first frame.
    Token(Token),
    /// By a name, where the server admits guests.
    Guest(String),
    /// By the handshake of the transport, which carried it already.
    Handshake,
}

/// What happens to a client.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "an input lives for one call; a box would cost an allocation a frame"
)]
pub enum ClientInput {
    /// The application wants to be connected now; ends a wait and a stop.
    Start,
    /// The connection that [`ClientEffect::Connect`] asked for is open.
    Connected(Credential),
    /// The connection that [`ClientEffect::Connect`] asked for could not be opened.
    ConnectFailed {
        /// When the server wants to be asked again.
        retry_after: Option<Duration>,
        /// Whether trying again is no use.
        stop: bool,
    },
    /// The server said something.
    Frame(ServerFrame),
    /// The connection is gone, with the close code if one came.
    Closed(Option<CloseCode>),
    /// The deadline has come.
    Tick,
    /// The loop stopped reading, or goes on: while it does not read, silence says nothing about the server.
    Paused(bool),
    /// The application asks for something.
    Submit {
        /// How the loop knows it again.
        ticket: Ticket,
        /// What.
        command: Command,
    },
    /// What an earlier process left; to be given before [`Start`](Self::Start).
    Restore(Restored),
    /// The token that [`ClientEffect::FetchToken`] asked for; nothing when there is none now.
    Token(Option<Token>),
    /// The application says that the held commands of this conversation go on.
    Release(ConversationId),
    /// The application gives up the waiting commands of this conversation.
    Discard(ConversationId),
    /// The application is done.
    Stop,
}

/// What an earlier process left.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Restored {
    /// Who it was; a server that knows this client as somebody else gets none of these commands.
    pub user: Option<UserId>,
    /// The epoch that the server had.
    pub epoch: Option<Epoch>,
    /// The commands without a definite answer, in the order of their submission.
    pub commands: Vec<RestoredCommand>,
}

/// A command that an earlier process left.
#[derive(Debug, Clone, PartialEq)]
pub struct RestoredCommand {
    /// How the loop knows it again.
    pub ticket: Ticket,
    /// What it was.
    pub command: Command,
    /// The epoch that the client knew when it was submitted.
    pub epoch: Option<Epoch>,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "an effect lives until its loop has done it")]
pub enum ClientEffect {
    /// Open a connection, with a fresh credential.
    Connect,
    /// Write a frame to the connection.
    Send(ClientFrame),
    /// Close the connection; for the machine it is gone already.
    Close(CloseCode),
    /// Ask the application for a fresh token and give it back as [`ClientInput::Token`].
    FetchToken,
    /// A command has its answer, and no more effects will name its ticket. A durable one is out of the outbox.
    Settled {
        /// Which.
        ticket: Ticket,
        /// What came of it.
        result: Result<Outcome, CommandError>,
    },
    /// Durable commands that waited for one conversation are now addressed to another: a direct conversation that was
    /// there already has another id than its creator proposed.
    Redirected {
        /// The proposed id.
        from: ConversationId,
        /// The id that it has.
        to: ConversationId,
    },
    /// The server knows this client as this user, and its log is of this epoch; a persistent outbox writes it down.
    Identified {
        /// Who.
        user: UserId,
        /// The incarnation of the log.
        epoch: Epoch,
    },
    /// Tell the application.
    Update(Update),
}

/// What an application learns.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Update {
    /// The server said welcome; what was missed comes next.
    Connected {
        /// Who one is.
        user: UserId,
    },
    /// The connection is gone.
    Disconnected {
        /// The close code, if one came.
        code: Option<CloseCode>,
    },
    /// The next attempt comes after this wait.
    Reconnecting {
        /// How long.
        after: Duration,
    },
    /// There will be no next attempt by itself.
    Stopped {
        /// Why, if the server said so.
        code: Option<CloseCode>,
    },
    /// The next event of a conversation, once and in order.
    Event(Box<Event>),
    /// A stretch of a conversation’s log that this user may not see or that is no longer kept.
    Skipped(Skip),
    /// Something without a seq.
    Signal(Signal),
    /// An inbox entry that is new, or that changed other than by the log.
    Inbox(Box<InboxEntry>),
    /// Forget what you have of this conversation, or of all; fresh entries follow as [`Update::Inbox`].
    Reset {
        /// Of which conversation; of all when absent.
        conversation: Option<ConversationId>,
        /// Why.
        reason: ResetReason,
    },
    /// Everything that was missed has arrived.
    Synced {
        /// The revision of the inbox.
        revision: Revision,
    },
    /// Durable commands wait until the conversation is there again in the new epoch: join it, release or discard them.
    Held {
        /// Which.
        conversation: ConversationId,
        /// How many.
        commands: usize,
    },
    /// A durable command was refused for good; the next one goes on.
    Failed {
        /// What was asked.
        command: Box<Command>,
        /// Why not.
        error: CommandError,
    },
}

/// Why a command came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The server refused it.
    #[error("{}: {}", .0.code, .0.message)]
    Refused(Box<ErrorFrame>),
    /// The connection was lost before the answer; only for commands that make no event.
    #[error("the connection was lost before the answer")]
    Disconnected,
    /// The log that it was about is gone.
    #[error("the server's log is another one now")]
    Reset,
    /// The client stopped before the answer; a durable command stays in the outbox.
    #[error("the client has stopped")]
    Stopped,
    /// Too much waits already.
    #[error("too many commands wait")]
    QueueFull,
    /// The application gave it up.
    #[error("the command was discarded")]
    Discarded,
    /// The outbox could not keep it.
    #[error("the outbox cannot be written: {0}")]
    Outbox(String),
}

impl CommandError {
    /// The code of a refusal.
    pub fn code(&self) -> Option<&ErrorCode> {
        match self {
            Self::Refused(error) => Some(&error.code),
            _ => None,
        }
    }

    /// Whether the same may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Refused(error) => error.retryable,
            Self::Disconnected | Self::QueueFull | Self::Stopped => true,
            Self::Reset | Self::Discarded | Self::Outbox(_) => false,
        }
    }
}

/// The client’s half of the protocol.
#[derive(Debug)]
pub struct ClientSession {
    settings: ClientSettings,
    random: Random,
    phase: Phase,
    /// The connection, from hello on.
    wire: Option<Wire>,
    /// Connections so far: the highest attempt of a session wins.
    attempt: u64,
    grant: Option<SessionGrant>,
    /// Connections in a row that ended before they were synced.
    failures: u32,
    /// Whether the loop is not reading.
    paused: bool,
    view: ClientView,
    outbox: Outbox,
    requests: Requests,
}

impl ClientSession {
    /// A client that has never been connected; the seed decides its waits.
    pub fn new(settings: ClientSettings, seed: u64) -> Self {
        Self {
            settings,
            random: Random::new(seed),
            phase: Phase::Idle,
            wire: None,
            attempt: 0,
            grant: None,
            failures: 0,
            paused: false,
            view: ClientView::default(),
            outbox: Outbox::default(),
            requests: Requests::default(),
        }
    }

    /// What the client knows.
    pub fn view(&self) -> &ClientView {
        &self.view
    }

    /// How many more durable commands the outbox takes.
    pub fn outbox_room(&self) -> usize {
        self.settings.outbox_commands_max.saturating_sub(self.outbox.len())
    }

    /// The durable commands that have no definite answer yet, in the order in which they were submitted.
    pub fn outbox(&self) -> impl Iterator<Item = &Command> {
        self.outbox.commands()
    }

    /// How many durable commands have no definite answer yet.
    pub fn outbox_len(&self) -> usize {
        self.outbox.len()
    }

    /// Whether a server has said welcome and the connection stands.
    pub fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Online)
    }

    /// Whether there will be no further attempt unless the application starts it.
    pub fn is_stopped(&self) -> bool {
        matches!(self.phase, Phase::Stopped)
    }

    /// Takes one input and appends what is to be done.
    pub fn handle(&mut self, input: ClientInput, now: Instant, out: &mut Vec<ClientEffect>) {
        match input {
            ClientInput::Start => self.start(out),
            ClientInput::Connected(credential) => self.connected(credential, now, out),
            ClientInput::ConnectFailed { retry_after, stop } => self.connect_failed(retry_after, stop, now, out),
            ClientInput::Frame(frame) => self.receive(frame, now, out),
            ClientInput::Closed(code) => self.disconnected(code, now, out),
            ClientInput::Tick => self.tick(now, out),
            ClientInput::Paused(paused) => self.pause(paused, now),
            ClientInput::Submit { ticket, command } => self.submit(ticket, command, out),
            ClientInput::Restore(restored) => self.restore(restored),
            ClientInput::Token(token) => self.token(token, now, out),
            ClientInput::Release(conversation) => self.outbox.release(conversation, self.view.epoch),
            ClientInput::Discard(conversation) => {
                for item in self.outbox.discard(conversation) {
                    settled(out, item.ticket, Err(CommandError::Discarded));
                }
            }
            ClientInput::Stop => self.close(now, out),
        }
        self.flush(now, out);
    }

    /// When to call again with [`ClientInput::Tick`] if nothing else happens.
    pub fn deadline(&self) -> Option<Instant> {
        self.next_deadline()
    }

    fn submit(&mut self, ticket: Ticket, command: Command, out: &mut Vec<ClientEffect>) {
        if let (Some(_), Some(conversation)) = (command.id(), command.conversation()) {
            if self.outbox_room() == 0 {
                return settled(out, ticket, Err(CommandError::QueueFull));
            }
            let held = self.outbox.submit(conversation, ticket, command, self.view.epoch);
            if let (Some(commands), true) = (held, self.view.synced) {
                update(out, Update::Held { conversation, commands });
            }
            return;
        }
        if self.requests.len() >= self.settings.requests_max {
            return settled(out, ticket, Err(CommandError::QueueFull));
        }
        let unanswerable = match &self.phase {
            Phase::Stopped => true,
            Phase::Online => false,
            // Who typed a while ago does not type now.
            _ => matches!(command, Command::Typing(_)),
        };
        if unanswerable {
            return settled(out, ticket, Err(CommandError::Disconnected));
        }
        self.requests.submit(ticket, command);
    }

    fn restore(&mut self, restored: Restored) {
        self.view.user = restored.user;
        self.view.epoch = restored.epoch;
        for RestoredCommand { ticket, command, epoch } in restored.commands {
            if let Some(conversation) = command.conversation() {
                self.outbox.submit(conversation, ticket, command, epoch);
            }
        }
    }
}

fn settled(out: &mut Vec<ClientEffect>, ticket: Ticket, result: Result<Outcome, CommandError>) {
    out.push(ClientEffect::Settled { ticket, result });
}

fn update(out: &mut Vec<ClientEffect>, update: Update) {
    out.push(ClientEffect::Update(update));
}
