//! The door to the truth.

use crate::conversation::RuleLimits;
use async_trait::async_trait;
use chat_protocol::command::{Command, PageToken};
use chat_protocol::conversation::{ConversationKind, InboxEntry, Marks};
use chat_protocol::event::Event;
use chat_protocol::frame::{
    ConversationView, HistoryPage, InboxPage, LogItem, MarkPage, MemberPage, ReactionPage, Stored,
};
use chat_protocol::id::{
    CommandId, ConversationId, Epoch, MessageId, NodeId, Position, Revision, Seq, Tag, Timestamp, UserId,
};
use serde_json::Value;
use std::fmt;
use std::time::Duration;
use thiserror::Error;

/// Keeps conversations, messages, members, marks and leases; orders what is appended.
///
/// Implemented by `chat-store-*` and by hosts; called by the engine only. It is the truth: what it acknowledged is
/// there after any crash it promises to survive, and no other part remembers anything that it does not.
///
/// # Contract
///
/// `chat-testkit` has a named test for each of these; a store passes all of them.
///
/// * **One order.** [`append`](Store::append) assigns seqs 1, 2, 3 … without gaps in the transaction that stores the
///   events. Readers see them in that order, whoever wrote.
/// * **Judged under the lock.** For each item: lock the conversation, look its id up *in this conversation*, read
///   the memberships in a separate step, ask [`judge`](crate::conversation::judge), write what it says. A
///   refusal writes nothing and takes no seq.
/// * **Idempotent for life.** The key is (conversation, id), with a unique index. A repeated item answers with the
///   first answer, also after its sender was removed.
/// * **All or unknown.** An `Err` from `append` means that the outcome of every item is unknown; an item's refusal
///   is definite. A future that is dropped may still take effect.
/// * **Tags chain.** Each row's tag is [`chain`](crate::conversation::chain) of the one before; stores keep the result.
/// * **Reads join.** A viewer's page and their membership are read in one statement: nothing after a removal, nothing
///   before a join (unless the conversation's history is `all`); what is left out inside a page is a skip.
/// * **Pages** of logs, messages and inboxes hold what goes into a [`PageRoom`](crate::conversation::PageRoom) of the
///   limit and bytes that are asked for.
/// * **Every read says which epoch it read**, with what it found or did not find, from the same moment: a position
///   means something in its own incarnation of the log only.
/// * **Content lives once.** A log row names what changed; events are [rendered](crate::conversation::render) with the
///   message as it is at the read. The answers of a batch are rendered once all of it is written: what the batch itself
///   deleted is not shown.
/// * **Pairs.** A direct conversation is found by its unordered pair of users, whoever creates it under whichever id, also
///   when both do at once; deleting it frees the pair, never its ids.
/// * **A user's revision** is raised in the transaction that changes their marks, mute, archive or membership; not by
///   a message, which moves its sender's read mark all the same.
/// * **Horizon.** [`heads_changed_since`](Store::heads_changed_since) never misses a commit: what commits late is in
///   the answer of a later call, however its timestamps lie. It may tell a change twice. Asked with a horizon of
///   another incarnation it answers anyhow, or [`StoreError::Corrupt`]: the reader begins anew.
/// * **The store's clock** stamps events and leases. No node's clock decides anything.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// One word for logs and start lines, such as `memory`.
    fn name(&self) -> &'static str;

    /// Whether no other node can share it, as with a file of SQLite: an engine on it refuses to start with a backplane.
    fn serves_one_node(&self) -> bool {
        false
    }

    /// The identity of this store: written once when it is made, read by every node.
    async fn identity(&self) -> Result<StoreIdentity, StoreError>;

    /// Appends a batch to one conversation's log, in order, in one transaction.
    ///
    /// # Cancel safety
    /// Not cancel safe: a dropped future leaves every item unknown.
    async fn append(&self, batch: Append) -> Result<Appended, StoreError>;

    /// Other nodes wrote these events, which follow `after` in this order, as the chain of their tags shows. A hint, for
    /// stores that judge by what they saw last and prove it when they write; the others need not listen.
    fn heard(&self, conversation: ConversationId, after: Position, events: &[Event]) {
        let _ = (conversation, after, events);
    }

    /// What stands under this id in this conversation, if anything does.
    async fn lookup(&self, conversation: ConversationId, id: CommandId) -> Result<Read<Option<Prior>>, StoreError>;

    /// A stretch of the log. What the viewer's visibility [`hides`](crate::conversation::Visible::hides) is a skip, and
    /// so is, when their membership ended, what [`was_written_after`](crate::conversation::was_written_after) it.
    async fn log(&self, query: LogQuery) -> Result<Read<LogRead>, StoreError>;

    /// Messages as they are now; `None` when the viewer may not see the conversation.
    async fn history(&self, query: HistoryQuery) -> Result<Read<Option<HistoryPage>>, StoreError>;

    /// Every conversation of which the user is a member, with its head; only those whose revision is higher than
    /// `changed_after`, when it is given. In the order of conversation ids.
    async fn memberships(
        &self,
        user: &UserId,
        changed_after: Option<Revision>,
    ) -> Result<Read<Memberships>, StoreError>;

    /// The user's inbox entries of these conversations; those of which they are no member are left out.
    async fn entries(
        &self,
        user: &UserId,
        conversations: &[ConversationId],
    ) -> Result<Read<Vec<InboxEntry>>, StoreError>;

    /// A page of the user's inbox in the order of conversation ids: at most `limit` entries in about `bytes` bytes, at
    /// least one.
    async fn inbox(
        &self,
        user: &UserId,
        page: Option<&PageToken>,
        limit: usize,
        bytes: usize,
    ) -> Result<Read<InboxPage>, StoreError>;

    /// Changes what is the user's own in a conversation.
    async fn set_inbox(
        &self,
        user: &UserId,
        conversation: ConversationId,
        change: InboxChange,
    ) -> Result<InboxChanged, StoreError>;

    /// The conversation as the viewer sees it, with at most 50 members; a public channel shows a non-member itself
    /// and nothing more; `None` when they may not see it. Without a viewer it is read for the host.
    async fn conversation(
        &self,
        conversation: ConversationId,
        viewer: Option<&UserId>,
    ) -> Result<Read<Option<ConversationView>>, StoreError>;

    /// A page of members in the order of user ids; `None` when the viewer is no member.
    async fn members(&self, query: ListQuery) -> Result<Read<Option<MemberPage>>, StoreError>;

    /// A page of the members' marks in the order of user ids; `None` when the viewer is no member.
    async fn marks(&self, query: ListQuery) -> Result<Read<Option<MarkPage>>, StoreError>;

    /// A page of the users who chose an emoji, in the order of user ids; `None` when the viewer may not see the message.
    async fn reactions(
        &self,
        query: ListQuery,
        message: MessageId,
        emoji: &str,
    ) -> Result<Read<Option<ReactionPage>>, StoreError>;

    /// The heads of these conversations; those that do not exist are left out.
    async fn heads(&self, conversations: &[ConversationId]) -> Result<Read<Vec<Head>>, StoreError>;

    /// What changed since the horizon; without one, only where the horizon is now.
    async fn heads_changed_since(&self, horizon: Option<&Horizon>, limit: usize) -> Result<Read<Changes>, StoreError>;

    /// Renews this node's lease by the store's clock, also when it ran out, and tells all others in the order of node
    /// ids.
    ///
    /// A lease that ran out stays listed with nothing remaining for at least a minute, then it may be removed. One that
    /// is missing earlier was given back: its users are coming back elsewhere, while those of a lease that ran out are
    /// gone at once.
    async fn renew_lease(&self, node: NodeId, ttl: Duration) -> Result<Vec<Lease>, StoreError>;

    /// Gives this node's lease back: it is listed no longer. It is no error when there is none.
    async fn release_lease(&self, node: NodeId) -> Result<(), StoreError>;

    /// Keeps a user's display data; answers whether it changed.
    async fn put_display(&self, user: &UserId, display: &Value) -> Result<bool, StoreError>;

    /// Those of `others` who share a conversation with the user.
    async fn sharing(&self, user: &UserId, others: &[UserId]) -> Result<Vec<UserId>, StoreError>;
}

/// What a store is: the same for every node, for the life of its log.
#[derive(Debug, Clone)]
pub struct StoreIdentity {
    /// This incarnation of the log.
    pub epoch: Epoch,
    /// Keys the fingerprints of commands.
    pub fingerprint_key: Secret,
    /// Authenticates bells and sessions between nodes.
    pub cluster_key: Secret,
}

/// 32 bytes that print as `[redacted]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub [u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Who does something.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Actor {
    /// A user, by their own rights.
    User(UserId),
    /// The host, which may do anything and appears as nobody.
    System,
}

impl Actor {
    /// The user, if it is one.
    pub fn user(&self) -> Option<&UserId> {
        match self {
            Self::User(user) => Some(user),
            Self::System => None,
        }
    }
}

/// A batch for one conversation's log.
#[derive(Debug, Clone)]
pub struct Append {
    /// Whose log.
    pub conversation: ConversationId,
    /// What to append, in this order.
    pub items: Vec<AppendItem>,
    /// The bounds that the judge needs.
    pub limits: RuleLimits,
}

/// One durable command on its way into the log.
#[derive(Debug, Clone)]
pub struct AppendItem {
    /// Who.
    pub actor: Actor,
    /// What; always a durable command of the batch's conversation.
    pub command: Command,
    /// The fingerprint of the command as the client sent it.
    pub fingerprint: Fingerprint,
}

/// A keyed digest of a command as its client sent it, by which "the same command" is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 16]);

/// What came of a batch.
#[derive(Debug, Clone)]
pub struct Appended {
    /// The epoch in which it was written.
    pub epoch: Epoch,
    /// One for each item, in their order.
    pub outcomes: Vec<Result<ItemOutcome, Refusal>>,
    /// The head after the batch.
    pub head: Position,
}

/// What came of an item that was not refused.
#[expect(clippy::large_enum_variant, reason = "nearly every outcome is a first one")]
#[derive(Debug, Clone)]
pub enum ItemOutcome {
    /// Stored now.
    First(Event),
    /// It was there: the first answer again. For a direct conversation that exists under another id it is that one.
    Duplicate(Stored),
}

/// A definite refusal: nothing was stored, and nothing will be by this attempt.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Not there, or not for this actor to see.
    #[error("there is no such conversation, message or member for you")]
    NotFound,
    /// The role does not allow it.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The state does not allow it.
    #[error("{0}")]
    Conflict(&'static str),
    /// The id is taken by another command in this conversation.
    #[error("this id names another command in this conversation: mint a new one")]
    IdConflict,
    /// The message has changed since.
    #[error("the message is at version {0} now: read it and edit again")]
    VersionConflict(u64),
    /// The message was deleted.
    #[error("the message was deleted")]
    Gone,
    /// A count is at its limit.
    #[error("{0}")]
    LimitExceeded(&'static str),
    /// The command makes no sense for this kind of conversation.
    #[error("{0}")]
    InvalidArgument(&'static str),
}

/// What a read found, and in which incarnation of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read<T> {
    /// The epoch of the log that was read.
    pub epoch: Epoch,
    /// What was found.
    pub value: T,
}

/// What stands under an id.
#[derive(Debug, Clone)]
pub struct Prior {
    /// Who did it.
    pub actor: Actor,
    /// The fingerprint of the command; none once it was erased, then the id alone answers.
    pub fingerprint: Option<Fingerprint>,
    /// The first answer.
    pub stored: Stored,
}

/// Which stretch of a log.
#[derive(Debug, Clone)]
pub struct LogQuery {
    /// Whose log.
    pub conversation: ConversationId,
    /// For whom; the engine itself sees everything.
    pub viewer: Option<UserId>,
    /// What comes after this seq.
    pub after: Seq,
    /// At most so many items.
    pub limit: usize,
    /// About so many bytes; at least one item.
    pub bytes: usize,
}

/// What a log read found.
#[derive(Debug, Clone)]
pub enum LogRead {
    /// A stretch.
    Page(LogPage),
    /// There is no such conversation, or the viewer never was a member.
    NotFound,
    /// What comes after that seq is no longer kept.
    TooOld,
    /// The log ends before that seq, or the viewer's part of it.
    Ahead,
}

/// A stretch of a log.
#[derive(Debug, Clone)]
pub struct LogPage {
    /// The tag at `after`.
    pub after: Tag,
    /// Events and skips without gaps; empty at the head.
    pub items: Vec<LogItem>,
    /// The head at the time of the read; for a viewer whose membership ended, the position of their last event.
    pub head: Position,
    /// For a viewer whose membership ended: the seq of its last event.
    pub ended: Option<Seq>,
}

/// Which messages.
#[derive(Debug, Clone)]
pub struct HistoryQuery {
    /// Where.
    pub conversation: ConversationId,
    /// For whom; the host sees everything.
    pub viewer: Option<UserId>,
    /// Which side.
    pub window: Window,
    /// At most so many.
    pub limit: usize,
    /// About so many bytes; at least one message.
    pub bytes: usize,
}

/// Which side of a seq.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// The newest.
    Newest,
    /// The nearest with a lower seq.
    Before(Seq),
    /// The nearest with a higher seq.
    After(Seq),
    /// Half on each side, the one at the seq included.
    Around(Seq),
}

/// A list that is read in pages, for a member.
#[derive(Debug, Clone)]
pub struct ListQuery {
    /// Where.
    pub conversation: ConversationId,
    /// For whom; the host sees everything.
    pub viewer: Option<UserId>,
    /// Where the page before ended.
    pub page: Option<PageToken>,
    /// At most so many.
    pub limit: usize,
}

/// A user's conversations and where their logs stand, read at one moment.
#[derive(Debug, Clone)]
pub struct Memberships {
    /// The user's revision at that moment.
    pub revision: Revision,
    /// In the order of conversation ids.
    pub memberships: Vec<Membership>,
}

/// One conversation of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// Which.
    pub conversation: ConversationId,
    /// The seq of the user's join.
    pub joined: Seq,
    /// The first seq that the user may see.
    pub visible_from: Seq,
    /// The head of the log.
    pub head: Position,
    /// The revision at which the user's own state in it last changed.
    pub revision: Revision,
}

/// What a user changes of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InboxChange {
    /// Read up to here; what is read was delivered.
    Read(Seq),
    /// Delivered up to here.
    Delivered(Seq),
    /// Muted or not.
    Muted(bool),
    /// Archived or not.
    Archived(bool),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InboxChanged {
    /// It changed.
    Changed {
        /// The user's marks now.
        marks: Marks,
        /// What kind of conversation it is.
        kind: ConversationKind,
        /// Its members now.
        member_count: u64,
    },
    /// It was so already, or the mark was further.
    Unchanged,
    /// The user is no member.
    NotFound,
    /// The mark is ahead of the head.
    Ahead,
}

/// A conversation and where its log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Which.
    pub conversation: ConversationId,
    /// The last position.
    pub position: Position,
}

/// How far a reader of changes has come; opaque, the store's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Horizon(pub String);

/// What changed since a horizon.
#[derive(Debug, Clone)]
pub struct Changes {
    /// From where to ask next.
    pub horizon: Horizon,
    /// Conversations whose log grew.
    pub heads: Vec<Head>,
    /// Users whose revision rose.
    pub users: Vec<UserId>,
    /// Whether there is more to ask for at once.
    pub more: bool,
}

/// A node's lease as the store sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Which run of a node.
    pub node: NodeId,
    /// How long it still holds by the store's clock; zero when it ran out.
    pub remaining: Duration,
    /// The store's time of this answer.
    pub at: Timestamp,
}

/// The store could not answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It may be back later; what was asked of it is unknown.
    #[error("the store is unavailable: {0}")]
    Unavailable(String, #[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// What it holds is not what it should.
    #[error("the store holds what it should not: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// Unavailable, with a sentence.
    pub fn unavailable(why: impl Into<String>) -> Self {
        Self::Unavailable(why.into(), None)
    }
}
