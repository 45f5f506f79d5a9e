//! The client’s one task: sockets, clock and disk around the protocol’s [`ClientSession`].
//!
//! Each arm of its `select!` makes an input; what the machine answers is done before the next one. It ends with
//! [`Ask::Close`], or is aborted when the last handle is dropped.

use crate::builder::ClientBuilder;
use crate::client::{Answer, Ask, Client, Shared, Status};
use crate::connector::{ConnectError, Connector, Pipe, PipeLost, PipeReceiver, PipeSender, Received};
use crate::outbox::{OpenOutbox, OutboxError, Record};
use crate::token::TokenProvider;
use crate::updates::{Publisher, Updates};
use bytes::Bytes;
use chat_protocol::client_session::{
    ClientEffect, ClientInput, ClientSession, CommandError, Credential, Ticket, Update,
};
use chat_protocol::code::CloseCode;
use chat_protocol::codec::{Codec, FrameError};
use chat_protocol::command::{Command, Token};
use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

/// Asks that are taken together, so that one fsync serves them all.
const ASKS_MAX: usize = 256;

/// How long a goodbye may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How the client proves who it is.
#[derive(Clone)]
pub(crate) enum Identity {
    Token(Arc<dyn TokenProvider>),
    Guest(String),
    Handshake,
}

pub(crate) struct Driver {
    session: Arc<Mutex<ClientSession>>,
    connector: Arc<dyn Connector>,
    identity: Identity,
    codec: Codec,
    connect_timeout: Duration,
    asks: mpsc::UnboundedReceiver<Ask>,
    open: Arc<AtomicUsize>,
    outbox: Option<OpenOutbox>,
    answers: BTreeMap<Ticket, Answer>,
    next_ticket: Ticket,
    publisher: Publisher,
    status: watch::Sender<Status>,
    link: Link,
    token: Option<Task<Option<Token>>>,
    paused: bool,
    effects: Vec<ClientEffect>,
}

/// The connection, or the way to it.
enum Link {
    None,
    Connecting(Task<Result<(Pipe, Credential), ConnectError>>),
    Open(Open),
}

struct Open {
    sender: Box<dyn PipeSender>,
    receiver: Box<dyn PipeReceiver>,
    /// Frames that the sender has not taken over.
    queue: VecDeque<Bytes>,
    /// Whether the sender has something to do.
    writing: bool,
}

enum Happened {
    Asked(usize),
    Connected(Result<(Pipe, Credential), ConnectError>),
    Written(Result<(), PipeLost>),
    Token(Option<Token>),
    Deadline,
    Drained,
    Received(Received),
}

impl Driver {
    pub(crate) fn start(builder: ClientBuilder) -> Result<(Client, Updates), OutboxError> {
        let (outbox, restored) = builder.outbox.open()?;
        let next_ticket = restored.commands.last().map_or(1, |last| last.ticket + 1);
        let open_max = builder.settings.outbox_commands_max + builder.settings.requests_max;
        let mut session = ClientSession::new(builder.settings, builder.entropy.number());
        let mut effects = Vec::new();
        session.handle(ClientInput::Restore(restored), now(), &mut effects);
        let session = Arc::new(Mutex::new(session));
        let (ask, asks) = mpsc::unbounded_channel();
        let (status, status_seen) = watch::channel(Status::Offline);
        let publisher = Publisher::new(builder.updates_max);
        let updates = publisher.subscribe();
        let open = Arc::new(AtomicUsize::new(0));
        let driver = Self {
            session: session.clone(),
            connector: builder.connector,
            identity: builder.identity,
            codec: builder.codec,
            connect_timeout: builder.connect_timeout,
            asks,
            open: open.clone(),
            outbox: Some(outbox),
            answers: BTreeMap::new(),
            next_ticket,
            publisher: publisher.clone(),
            status,
            link: Link::None,
            token: None,
            paused: false,
            effects,
        };
        let shared = Shared {
            asks: ask,
            open,
            open_max,
            session,
            entropy: Arc::new(builder.entropy),
            publisher,
            status: status_seen,
            task: tokio::spawn(driver.run()),
        };
        let shared = Arc::new(shared);
        Ok((Client { shared }, updates))
    }

    async fn run(mut self) {
        self.input(ClientInput::Start).await;
        let mut asks = Vec::with_capacity(ASKS_MAX);
        loop {
            let full = self.publisher.is_full();
            if full != self.paused {
                self.paused = full;
                self.input(ClientInput::Paused(full)).await;
            }
            match self.next(&mut asks).await {
                // The last handle is gone.
                Happened::Asked(0) => return,
                Happened::Asked(_) => {
                    if self.asked(asks.drain(..)).await {
                        return;
                    }
                }
                Happened::Connected(result) => self.connected(result).await,
                Happened::Written(Ok(())) => {
                    if let Link::Open(open) = &mut self.link {
                        open.writing = false;
                    }
                }
                Happened::Written(Err(PipeLost)) => self.lost(None).await,
                Happened::Token(token) => {
                    self.token = None;
                    self.input(ClientInput::Token(token)).await;
                }
                Happened::Deadline => self.input(ClientInput::Tick).await,
                Happened::Drained => {}
                Happened::Received(Received::Frame(frame)) => self.received(&frame).await,
                Happened::Received(Received::Closed(code)) => self.lost(code).await,
            }
        }
    }

    /// The next thing that happens. Every branch is cancel safe: what is not taken now is there the next time.
    async fn next(&mut self, asks: &mut Vec<Ask>) -> Happened {
        let deadline = self.session.lock().expect(UNPOISONED).deadline();
        let paused = self.paused;
        let (connecting, sender, receiver) = match &mut self.link {
            Link::None => (None, None, None),
            Link::Connecting(connecting) => (Some(connecting), None, None),
            Link::Open(open) => {
                let sender = open.writing.then_some((&mut open.sender, &mut open.queue));
                (None, sender, (!paused).then_some(&mut open.receiver))
            }
        };
        tokio::select! {
            biased;
            count = self.asks.recv_many(asks, ASKS_MAX) => Happened::Asked(count),
            result = optional(connecting, |task| task) => Happened::Connected(result),
            result = optional(sender, |(sender, queue)| sender.send(queue)) => Happened::Written(result),
            token = optional(self.token.as_mut(), |task| task) => Happened::Token(token),
            () = optional(deadline, |at| sleep_until(Instant::from_std(at))) => Happened::Deadline,
            () = optional(paused.then_some(()), |()| self.publisher.drained.notified()) => Happened::Drained,
            received = optional(receiver, |receiver| receiver.recv()) => Happened::Received(received),
        }
    }

    /// Takes what handles asked; says whether that was the end.
    async fn asked(&mut self, asks: impl Iterator<Item = Ask>) -> bool {
        let mut commands = Vec::new();
        for ask in asks {
            if let Ask::Execute { command, answer } = ask {
                let ticket = self.next_ticket;
                self.next_ticket += 1;
                self.answers.insert(ticket, answer);
                commands.push((ticket, command));
                continue;
            }
            // In the order in which they were asked.
            self.submit(std::mem::take(&mut commands)).await;
            match ask {
                Ask::Release(conversation) => self.input(ClientInput::Release(conversation)).await,
                Ask::Discard(conversation) => self.input(ClientInput::Discard(conversation)).await,
                Ask::Reconnect => self.input(ClientInput::Start).await,
                Ask::Close => {
                    self.input(ClientInput::Stop).await;
                    return true;
                }
                Ask::Execute { .. } => unreachable!("handled above"),
            }
        }
        self.submit(commands).await;
        false
    }

    /// Durable commands are kept first, then everything is submitted in order.
    async fn submit(&mut self, commands: Vec<(Ticket, Command)>) {
        let (epoch, mut room) = {
            let session = self.session.lock().expect(UNPOISONED);
            (session.view().epoch, session.outbox_room())
        };
        let mut records = Vec::new();
        let mut accepted = Vec::with_capacity(commands.len());
        for (ticket, command) in commands {
            if command.id().is_some() {
                if room == 0 {
                    self.answer(ticket, Err(CommandError::QueueFull));
                    continue;
                }
                room -= 1;
                let command = command.clone();
                records.push(Record::Add { ticket, epoch, command });
            }
            accepted.push((ticket, command));
        }
        let kept = match records.is_empty() {
            true => Ok(()),
            false => self.write(|outbox| outbox.add(records)).await,
        };
        for (ticket, command) in accepted {
            match &kept {
                Err(error) if command.id().is_some() => {
                    self.answer(ticket, Err(CommandError::Outbox(error.to_string())));
                }
                _ => self.input(ClientInput::Submit { ticket, command }).await,
            }
            if *self.status.borrow() == Status::Stopped {
                // A durable one is kept; who waits for it is told that nothing happens for now.
                self.answer(ticket, Err(CommandError::Stopped));
            }
        }
    }

    /// Writes to the outbox; what waits for a disk does so on a thread of its own.
    async fn write(
        &mut self,
        write: impl FnOnce(&mut OpenOutbox) -> Result<(), OutboxError> + Send + 'static,
    ) -> Result<(), OutboxError> {
        let mut outbox = self.outbox.take().expect("an outbox comes back from every write");
        let result = if outbox.is_slow() {
            let written = tokio::task::spawn_blocking(move || (write(&mut outbox), outbox)).await;
            let (result, back) = written.expect("writing an outbox does not panic");
            outbox = back;
            result
        } else {
            write(&mut outbox)
        };
        self.outbox = Some(outbox);
        result
    }

    async fn note(&mut self, record: Record) {
        let outbox = self.outbox.as_ref().expect("an outbox comes back from every write");
        if !outbox.changes(&record) {
            return;
        }
        if let Err(error) = self.write(|outbox| outbox.note(record)).await {
            // What is lost here makes a command go out again, with the id that settles it.
            tracing::warn!(%error, "the outbox cannot be written");
        }
    }

    async fn connected(&mut self, result: Result<(Pipe, Credential), ConnectError>) {
        self.link = Link::None;
        match result {
            Ok((pipe, credential)) => {
                self.link = Link::Open(Open {
                    sender: pipe.sender,
                    receiver: pipe.receiver,
                    queue: VecDeque::new(),
                    writing: false,
                });
                self.input(ClientInput::Connected(credential)).await;
            }
            Err(error) => {
                tracing::debug!(%error, "no connection");
                let retry_after = error.retry_after();
                let stop = error.is_final();
                if stop {
                    tracing::error!(%error, "the client stops");
                }
                self.input(ClientInput::ConnectFailed { retry_after, stop }).await;
            }
        }
    }

    async fn received(&mut self, bytes: &[u8]) {
        match self.codec.decode_server(bytes) {
            Ok(frame) => self.input(ClientInput::Frame(frame)).await,
            Err(FrameError::UnknownType(name)) => tracing::debug!(name, "a frame of a newer server"),
            Err(error) => {
                tracing::warn!(%error, "the server sent something that is no frame");
                self.hang_up(CloseCode::Malformed).await;
                self.input(ClientInput::Closed(None)).await;
            }
        }
    }

    async fn lost(&mut self, code: Option<CloseCode>) {
        self.link = Link::None;
        self.input(ClientInput::Closed(code)).await;
    }

    async fn input(&mut self, input: ClientInput) {
        let mut effects = std::mem::take(&mut self.effects);
        let status = {
            let mut session = self.session.lock().expect(UNPOISONED);
            session.handle(input, now(), &mut effects);
            status_of(&session)
        };
        for effect in effects.drain(..) {
            match effect {
                ClientEffect::Connect => self.connect(),
                ClientEffect::Send(frame) => {
                    if let Link::Open(open) = &mut self.link {
                        open.queue.push_back(self.codec.encode(&frame).into());
                        open.writing = true;
                    }
                }
                ClientEffect::Close(code) => self.hang_up(code).await,
                ClientEffect::FetchToken => self.fetch_token(),
                ClientEffect::Settled { ticket, result } => {
                    self.note(Record::Done(ticket)).await;
                    self.answer(ticket, result);
                }
                ClientEffect::Redirected { from, to } => self.note(Record::Moved { from, to }).await,
                ClientEffect::Identified { user, epoch } => self.note(Record::Known { user, epoch }).await,
                ClientEffect::Update(update) => self.update(&update),
                other => tracing::error!(?other, "an effect that this client does not know"),
            }
        }
        self.effects = effects;
        self.status.send_if_modified(|shown| {
            let changed = *shown != status;
            *shown = status;
            changed
        });
    }

    fn connect(&mut self) {
        let connector = self.connector.clone();
        let identity = self.identity.clone();
        let codec = self.codec;
        let limit = self.connect_timeout;
        let task = async move {
            let credential = match identity {
                Identity::Guest(name) => Credential::Guest(name),
                Identity::Handshake => Credential::Handshake,
                Identity::Token(provider) => Credential::Token(provider.token().await.ok_or(ConnectError::NoToken)?),
            };
            Ok((connector.connect(codec).await?, credential))
        };
        self.link = Link::Connecting(Box::pin(async move {
            timeout(limit, task).await.unwrap_or(Err(ConnectError::Timeout))
        }));
    }

    fn fetch_token(&mut self) {
        let identity = self.identity.clone();
        let limit = self.connect_timeout;
        self.token = Some(Box::pin(async move {
            match identity {
                Identity::Token(provider) => timeout(limit, provider.token()).await.unwrap_or(None),
                Identity::Guest(_) | Identity::Handshake => None,
            }
        }));
    }

    /// Writes what is left and the close, and waits a moment for the other side to have read it.
    async fn hang_up(&mut self, code: CloseCode) {
        self.token = None;
        let Link::Open(mut open) = std::mem::replace(&mut self.link, Link::None) else {
            return;
        };
        let goodbye = async {
            if open.sender.send(&mut open.queue).await.is_ok() {
                open.sender.close(code).await;
                while matches!(open.receiver.recv().await, Received::Frame(_)) {}
            }
        };
        let _ = timeout(CLOSE_TIMEOUT, goodbye).await;
    }

    fn update(&mut self, update: &Update) {
        if let Update::Stopped { .. } = update {
            self.link = Link::None;
            // Durable commands stay in the outbox; who waits for them is told that nothing happens for now.
            for (_, answer) in std::mem::take(&mut self.answers) {
                self.open.fetch_sub(1, Ordering::Relaxed);
                let _ = answer.send(Err(CommandError::Stopped));
            }
        }
        self.publisher.publish(update);
    }

    fn answer(&mut self, ticket: Ticket, result: Result<chat_protocol::frame::Outcome, CommandError>) {
        if let Some(answer) = self.answers.remove(&ticket) {
            self.open.fetch_sub(1, Ordering::Relaxed);
            let _ = answer.send(result);
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.publisher.end();
    }
}

const UNPOISONED: &str = "no panic while the lock is held";

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

fn status_of(session: &ClientSession) -> Status {
    match (session.is_stopped(), session.is_connected(), session.view().synced) {
        (true, ..) => Status::Stopped,
        (_, false, _) => Status::Offline,
        (_, true, false) => Status::Online,
        (_, true, true) => Status::Synced,
    }
}

/// Waits for a future if there is one, else for ever.
async fn optional<T, F: Future>(of: Option<T>, start: impl FnOnce(T) -> F) -> F::Output {
    match of {
        Some(of) => start(of).await,
        None => pending().await,
    }
}
