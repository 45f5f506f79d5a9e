//! The handle.

use crate::builder::ClientBuilder;
use crate::connector::Connector;
use crate::entropy::Entropy;
use crate::updates::{Publisher, Updates};
use chat_protocol::client_session::{ClientSession, ClientView, CommandError};
use chat_protocol::command::{
    Command, ConversationCreate, ConversationJoin, ConversationLeave, HistoryList, MarkRead, MessageDelete,
    MessageEdit, MessageSend, Typing, WatchConversations, WatchPresence,
};
use chat_protocol::frame::{ErrorFrame, HistoryPage, Outcome, Stored};
use chat_protocol::id::{CommandId, ConversationId, MessageId, Seq, UserId};
use chat_protocol::message::Content;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// A chat client: a cheap handle on the task that keeps the connection.
///
/// The task ends with [`close`](Self::close), or at once, without a goodbye, when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) asks: mpsc::UnboundedSender<Ask>,
    /// Commands that were asked and not answered: bounds the channel, which only sees these.
    pub(crate) open: Arc<AtomicUsize>,
    pub(crate) open_max: usize,
    /// Guards the machine; held for one input or one look.
    pub(crate) session: Arc<Mutex<ClientSession>>,
    pub(crate) entropy: Arc<Entropy>,
    pub(crate) publisher: Publisher,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) task: JoinHandle<()>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// Between two connections, or greeting.
    Offline,
    /// Connected, and what was missed is still coming.
    Online,
    /// Connected, and everything missed has arrived.
    Synced,
    /// Not trying any more; see [`Client::reconnect`].
    Stopped,
}

/// What a handle asks of the task.
#[derive(Debug)]
pub(crate) enum Ask {
    Execute { command: Command, answer: Answer },
    Release(ConversationId),
    Discard(ConversationId),
    Reconnect,
    Close,
}

pub(crate) type Answer = oneshot::Sender<Result<Outcome, CommandError>>;

/// The answer to a command that is on its way. Dropping it takes nothing back.
#[derive(Debug)]
#[must_use = "the command goes its way; this tells what came of it"]
pub struct Pending(oneshot::Receiver<Result<Outcome, CommandError>>);

impl Future for Pending {
    type Output = Result<Outcome, CommandError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // The task drops what is open when it ends.
        Pin::new(&mut self.0)
            .poll(context)
            .map(|answer| answer.unwrap_or(Err(CommandError::Stopped)))
    }
}

impl Client {
    /// Starts to describe a client of the server behind this connector.
    pub fn builder(connector: impl Connector) -> ClientBuilder {
        ClientBuilder::new(Arc::new(connector))
    }

    /// Hands over a command and returns at once; durable ones go to the outbox.
    ///
    /// # Ordering
    /// Commands of one task, to one conversation, take effect in the order of these calls.
    pub fn enqueue(&self, command: impl Into<Command>) -> Pending {
        let (answer, pending) = oneshot::channel();
        let shared = &self.shared;
        if shared.open.fetch_add(1, Ordering::Relaxed) >= shared.open_max {
            shared.open.fetch_sub(1, Ordering::Relaxed);
            let _ = answer.send(Err(CommandError::QueueFull));
            return Pending(pending);
        }
        let command = command.into();
        // When the task has ended, the answer’s sender is dropped with the refused ask.
        let _ = shared.asks.send(Ask::Execute { command, answer });
        Pending(pending)
    }

    /// Does a command and waits for its answer: for a durable one until it is definite, over any number of connections.
    ///
    /// # Errors
    /// See [`CommandError`]. Of a durable command only [`CommandError::Stopped`] leaves open what came of it.
    ///
    /// # Cancel safety
    /// Dropping the future takes nothing back: the command goes its way.
    pub async fn execute(&self, command: impl Into<Command>) -> Result<Outcome, CommandError> {
        self.enqueue(command).await
    }

    async fn store(&self, command: impl Into<Command>) -> Result<Stored, CommandError> {
        match self.execute(command).await? {
            Outcome::Stored(stored) => Ok(stored),
            other => Err(unexpected(&other)),
        }
    }

    /// Writes a message: its id is known at once, the answer comes when it is stored or refused.
    pub fn post(&self, conversation: ConversationId, content: Content) -> (MessageId, Pending) {
        self.post_reply(conversation, content, None)
    }

    /// As [`post`](Self::post), as an answer to another message.
    pub fn post_reply(
        &self,
        conversation: ConversationId,
        content: Content,
        reply_to: Option<MessageId>,
    ) -> (MessageId, Pending) {
        let id = self.message_id();
        let pending = self.enqueue(MessageSend {
            conversation,
            id,
            content,
            reply_to,
        });
        (id, pending)
    }

    /// Writes a message and waits until it is stored; see [`execute`](Self::execute).
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub async fn send(&self, conversation: ConversationId, content: Content) -> Result<Stored, CommandError> {
        let (_, pending) = self.post(conversation, content);
        match pending.await? {
            Outcome::Stored(stored) => Ok(stored),
            other => Err(unexpected(&other)),
        }
    }

    /// Replaces the text of one’s own message.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub async fn edit(
        &self,
        conversation: ConversationId,
        message: MessageId,
        content: Content,
    ) -> Result<Stored, CommandError> {
        let id = self.command_id();
        self.store(MessageEdit {
            conversation,
            id,
            message,
            version: None,
            content,
        })
        .await
    }

    /// Deletes a message.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub async fn delete(&self, conversation: ConversationId, message: MessageId) -> Result<Stored, CommandError> {
        let id = self.command_id();
        self.store(MessageDelete {
            conversation,
            id,
            message,
        })
        .await
    }

    /// Opens a conversation. A direct one that exists already is answered with its own id.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub async fn create(&self, command: ConversationCreate) -> Result<Stored, CommandError> {
        self.store(command).await
    }

    /// Joins a public channel.
    ///
    /// # Errors
    /// As [`execute`](Self::execute); `conflict` when one is a member already.
    pub async fn join(&self, conversation: ConversationId) -> Result<Stored, CommandError> {
        let id = self.command_id();
        self.store(ConversationJoin { conversation, id }).await
    }

    /// Leaves a group or channel.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub async fn leave(&self, conversation: ConversationId) -> Result<Stored, CommandError> {
        let id = self.command_id();
        self.store(ConversationLeave { conversation, id }).await
    }

    /// The newest messages, at most `limit`; [`HistoryList`] by [`execute`](Self::execute) can do more.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub async fn history(&self, conversation: ConversationId, limit: u64) -> Result<HistoryPage, CommandError> {
        let command = HistoryList {
            conversation,
            before: None,
            after: None,
            around: None,
            limit: Some(limit),
        };
        match self.execute(command).await? {
            Outcome::History(page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    /// Says how far one has read.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub async fn mark_read(&self, conversation: ConversationId, seq: Seq) -> Result<(), CommandError> {
        self.execute(MarkRead { conversation, seq }).await.map(drop)
    }

    /// Says that one is typing, or no longer.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub async fn typing(&self, conversation: ConversationId, active: bool) -> Result<(), CommandError> {
        self.execute(Typing { conversation, active }).await.map(drop)
    }

    /// Replaces the set of users whose presence one watches. A watch ends with its connection: set it again after
    /// [`Update::Connected`](crate::Update::Connected).
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub async fn watch_presence(&self, users: Vec<UserId>) -> Result<(), CommandError> {
        self.execute(WatchPresence { users }).await.map(drop)
    }

    /// Replaces the set of conversations whose typing and receipts one watches. A watch ends with its connection: set
    /// it again after [`Update::Connected`](crate::Update::Connected).
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub async fn watch_conversations(&self, conversations: Vec<ConversationId>) -> Result<(), CommandError> {
        self.execute(WatchConversations { conversations }).await.map(drop)
    }

    /// Everything that happens from now on; the first reader came with the client. See [`Updates`].
    pub fn updates(&self) -> Updates {
        self.shared.publisher.subscribe()
    }

    /// What the client knows now: a copy.
    pub fn state(&self) -> ClientView {
        self.with_state(ClientView::clone)
    }

    /// Looks at what the client knows now; the client waits meanwhile, so look and go.
    pub fn with_state<T>(&self, look: impl FnOnce(&ClientView) -> T) -> T {
        look(self.lock().view())
    }

    /// The durable commands that have no definite answer yet, in the order of the calls: a copy.
    ///
    /// A command is among them once it is kept, so in a file outbox once it is on disk.
    pub fn outbox(&self) -> Vec<Command> {
        self.lock().outbox().cloned().collect()
    }

    /// How many durable commands have no definite answer yet.
    pub fn outbox_len(&self) -> usize {
        self.lock().outbox_len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ClientSession> {
        let session = self.shared.session.lock();
        session.expect("no panic while the lock is held")
    }

    /// Where the client is.
    pub fn status(&self) -> Status {
        *self.shared.status.borrow()
    }

    /// Waits until everything missed has arrived; says no when the client stops first.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn synced(&self) -> bool {
        let mut status = self.shared.status.clone();
        let reached = status.wait_for(|status| matches!(status, Status::Synced | Status::Stopped));
        reached.await.is_ok_and(|status| *status == Status::Synced)
    }

    /// Lets the held commands of a conversation go on; see [`Update::Held`](crate::Update::Held).
    pub fn release(&self, conversation: ConversationId) {
        let _ = self.shared.asks.send(Ask::Release(conversation));
    }

    /// Gives up the commands that wait for a conversation.
    pub fn discard(&self, conversation: ConversationId) {
        let _ = self.shared.asks.send(Ask::Discard(conversation));
    }

    /// Connects now instead of later, also after a stop.
    pub fn reconnect(&self) {
        let _ = self.shared.asks.send(Ask::Reconnect);
    }

    /// Says goodbye and ends the client; what is in a file outbox stays there.
    ///
    /// # Cancel safety
    /// Dropping the future does not call the end off.
    pub async fn close(&self) {
        let _ = self.shared.asks.send(Ask::Close);
        let mut status = self.shared.status.clone();
        while status.changed().await.is_ok() {}
    }

    /// A fresh id for a message.
    pub fn message_id(&self) -> MessageId {
        self.shared.entropy.message_id()
    }

    /// A fresh id for a durable command.
    pub fn command_id(&self) -> CommandId {
        self.shared.entropy.command_id()
    }

    /// A fresh id for a conversation.
    pub fn conversation_id(&self) -> ConversationId {
        self.shared.entropy.conversation_id()
    }
}

/// The server answered with something else than the command asks for.
fn unexpected(outcome: &Outcome) -> CommandError {
    tracing::error!(?outcome, "the server answered with another kind of outcome");
    let message = "the server answered with another kind of outcome";
    let code = chat_protocol::code::ErrorCode::Malformed;
    CommandError::Refused(Box::new(ErrorFrame::new(None, code, message)))
}
