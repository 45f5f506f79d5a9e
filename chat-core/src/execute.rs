//! How a command is carried out: what is asked before the log, the log itself, and reads.

use crate::dedup::{self, Repetition};
use crate::engine::Inner;
use crate::error::CommandError;
use crate::hooks::{self, Authority};
use crate::session::Session;
use crate::store::{
    Actor, AppendItem, HistoryQuery, InboxChange, InboxChanged, ListQuery, LogPage, LogQuery, LogRead, StoreError,
    Window,
};
use crate::tasks::conversation::Input;
use chat_protocol::code::ErrorCode;
use chat_protocol::command::{Command, ConversationCreate, HistoryList, LogList, PageToken};
use chat_protocol::conversation::ConversationKind;
use chat_protocol::frame::{Outcome, Page, Stored};
use chat_protocol::id::{ConversationId, UserId};
use chat_protocol::signal::{MarksSignal, Signal, TypingSignal};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Who asks, and over which connection, if over one.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) actor: Actor,
    pub(crate) session: Option<Arc<Session>>,
}

/// A command that was begun: nothing that comes after it on the connection overtakes it any more.
pub(crate) enum Begun {
    /// It is done.
    Done(Box<Result<Outcome, CommandError>>),
    /// It waits in its conversation's mailbox.
    Waiting(oneshot::Receiver<Result<Stored, CommandError>>),
}

impl Inner {
    /// Begins a command and waits for its end.
    pub(crate) async fn execute(self: &Arc<Self>, caller: Caller, command: Command) -> Result<Outcome, CommandError> {
        match self.begin(&caller, command).await {
            Begun::Done(result) => *result,
            Begun::Waiting(answer) => self.finish(answer).await,
        }
    }

    /// Begins a command: everything up to its place in the conversation's mailbox. The commands of one connection are
    /// begun one after the other.
    pub(crate) async fn begin(self: &Arc<Self>, caller: &Caller, command: Command) -> Begun {
        let result = match command.id() {
            Some(_) => match self.begin_durable(caller, command).await {
                Ok(Ok(answer)) => return Begun::Waiting(answer),
                Ok(Err(stored)) => Ok(Outcome::Stored(stored)),
                Err(error) => Err(error),
            },
            None => match timeout(self.limits.store_timeout, self.read_or_set(caller, command)).await {
                Ok(result) => result,
                Err(_) => Err(CommandError::unavailable()),
            },
        };
        Begun::Done(Box::new(result))
    }

    /// Waits for the answer of the conversation's task; the commit goes on when the wait is over.
    pub(crate) async fn finish(
        &self,
        answer: oneshot::Receiver<Result<Stored, CommandError>>,
    ) -> Result<Outcome, CommandError> {
        match timeout(self.limits.store_timeout, answer).await {
            Ok(Ok(result)) => result.map(Outcome::Stored),
            Ok(Err(_)) | Err(_) => Err(CommandError::unavailable()),
        }
    }

    // ---- durable commands --------------------------------------------------------------------------------------

    /// Asks whoever has to be asked and posts the command; `Ok(Err(stored))` when it is stored already.
    async fn begin_durable(
        self: &Arc<Self>,
        caller: &Caller,
        mut command: Command,
    ) -> Result<Result<oneshot::Receiver<Result<Stored, CommandError>>, Stored>, CommandError> {
        let conversation = command
            .conversation()
            .expect("every durable command names its conversation");
        let fingerprint = dedup::fingerprint(&self.identity.fingerprint_key, &command);
        let actor = &caller.actor;
        if let Actor::User(user) = actor {
            let limited = self.take_rate(caller, user, &command).await?;
            // What is stored answers again, whatever hooks, rules and limits would say now.
            if self.hooks.decides() || brings_together(&command) || limited.is_err() {
                let id = command.id().expect("a durable command has an id");
                let prior = self.in_time(self.read(self.store.lookup(conversation, id))).await?;
                if let Repetition::Duplicate(stored) = dedup::judge(prior.as_ref(), actor, fingerprint) {
                    return Ok(Err(stored));
                }
            }
            limited.map_err(CommandError::rate_limited)?;
            self.ask_hooks(user, &mut command).await?;
        }
        let (answer, answered) = oneshot::channel();
        let item = AppendItem {
            actor: actor.clone(),
            command,
            fingerprint,
        };
        let posted = self.post(conversation, Input::Append { item, answer });
        timeout(self.limits.store_timeout, posted)
            .await
            .map_err(|_| CommandError::unavailable())?;
        Ok(Ok(answered))
    }

    /// Takes a message's worth from its sender and from the conversation; strangers use up nothing but their own.
    async fn take_rate(
        &self,
        caller: &Caller,
        user: &UserId,
        command: &Command,
    ) -> Result<Result<(), Duration>, CommandError> {
        let Command::MessageSend(send) = command else {
            return Ok(Ok(()));
        };
        if let Err(wait) = self.rates.take_user(user) {
            return Ok(Err(wait));
        }
        let session = caller.session.as_ref();
        let is_known = session.is_some_and(|session| session.is_member(send.conversation))
            || self.rates.was_member(send.conversation, user);
        if !is_known {
            if !self.in_time(self.is_member(send.conversation, Some(user))).await? {
                return Ok(Ok(()));
            }
            self.rates.remember_member(send.conversation, user);
        }
        Ok(self.rates.take_conversation(send.conversation))
    }

    /// The host's word, then the engine's own rules about whom one may bring together.
    async fn ask_hooks(&self, user: &UserId, command: &mut Command) -> Result<(), CommandError> {
        let authority = self.hook(self.hooks.authorize(user, command)).await?;
        if authority == Authority::Rules {
            match command {
                Command::ConversationCreate(create) if create.kind == ConversationKind::Direct => {
                    self.may_open_direct(user, create).await?;
                }
                Command::ConversationCreate(create) => self.must_share(user, &create.members).await?,
                Command::MemberAdd(add) => self.must_share(user, std::slice::from_ref(&add.user)).await?,
                _ => {}
            }
        }
        if let Command::MessageSend(send) = command {
            self.hook(self.hooks.before_send(user, send)).await?;
            chat_protocol::check::check(command).map_err(|refusal| {
                // No fault of the client's, whose own message was in bounds.
                tracing::error!(error = %refusal.message, "before_send made a message that is out of bounds");
                CommandError::new(
                    ErrorCode::Forbidden,
                    "this message cannot be stored as the host changed it",
                )
            })?;
        }
        Ok(())
    }

    async fn hook<T>(&self, asked: impl Future<Output = Result<T, hooks::Refused>>) -> Result<T, CommandError> {
        match hooks::ask(self.limits.hook_timeout, asked).await {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(refused)) => Err(CommandError::new(ErrorCode::Forbidden, refused.0)),
            None => Err(CommandError::unavailable()),
        }
    }

    /// Only new direct conversations count: those that exist are found, not opened.
    async fn may_open_direct(&self, user: &UserId, create: &ConversationCreate) -> Result<(), CommandError> {
        let peers: Vec<UserId> = create
            .members
            .iter()
            .filter(|member| *member != user)
            .cloned()
            .collect();
        if peers.is_empty() || self.in_time(self.store.sharing(user, &peers)).await?.len() == peers.len() {
            return Ok(());
        }
        self.rates.take_direct(user).map_err(CommandError::rate_limited)
    }

    async fn must_share(&self, user: &UserId, others: &[UserId]) -> Result<(), CommandError> {
        let others: Vec<UserId> = others.iter().filter(|other| *other != user).cloned().collect();
        if others.is_empty() {
            return Ok(());
        }
        let sharing = self.in_time(self.store.sharing(user, &others)).await?;
        if others.iter().all(|other| sharing.contains(other)) {
            Ok(())
        } else {
            Err(CommandError::not_found())
        }
    }

    async fn in_time<T>(&self, asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, CommandError> {
        match timeout(self.limits.store_timeout, asked).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(CommandError::unavailable()),
        }
    }

    // ---- everything else ---------------------------------------------------------------------------------------

    async fn read_or_set(self: &Arc<Self>, caller: &Caller, command: Command) -> Result<Outcome, CommandError> {
        let viewer = caller.actor.user().cloned();
        let entries = |limit: Option<u64>| bounded(limit, self.limits.page_entries_max, self.limits.page_entries_max);
        let list = |conversation: ConversationId, page: Option<PageToken>, limit: Option<u64>| ListQuery {
            conversation,
            viewer: viewer.clone(),
            page,
            limit: entries(limit),
        };
        let found = |outcome: Option<Outcome>| outcome.ok_or_else(CommandError::not_found);
        match command {
            Command::MarkRead(c) => self.set(caller, c.conversation, InboxChange::Read(c.seq)).await,
            Command::MarkDelivered(c) => self.set(caller, c.conversation, InboxChange::Delivered(c.seq)).await,
            Command::InboxMute(c) => self.set(caller, c.conversation, InboxChange::Muted(c.muted)).await,
            Command::InboxArchive(c) => {
                self.set(caller, c.conversation, InboxChange::Archived(c.archived))
                    .await
            }
            Command::InboxList(c) => {
                let user = of_user(caller)?;
                Ok(Outcome::Inbox(
                    self.read(
                        self.store
                            .inbox(user, c.page.as_ref(), entries(c.limit), self.limits.page_bytes_max),
                    )
                    .await?,
                ))
            }
            Command::HistoryList(c) => {
                let query = self.history_query(&c, viewer.clone())?;
                let page = self.read(self.store.history(query)).await?;
                found(page.map(Outcome::History))
            }
            Command::LogList(c) => self.log(&c, viewer.clone()).await,
            Command::ConversationGet(c) => {
                let view = self
                    .read(self.store.conversation(c.conversation, viewer.as_ref()))
                    .await?;
                found(view.map(Outcome::Conversation))
            }
            Command::MemberList(c) => {
                let query = list(c.conversation, c.page, c.limit);
                let page = self.read(self.store.members(query)).await?;
                found(page.map(Outcome::Members))
            }
            Command::MarkList(c) => {
                let query = list(c.conversation, c.page, c.limit);
                let page = self.read(self.store.marks(query)).await?;
                found(page.map(Outcome::Marks))
            }
            Command::ReactionList(c) => {
                let query = list(c.conversation, c.page, c.limit);
                let page = self.read(self.store.reactions(query, c.message, &c.emoji)).await?;
                found(page.map(Outcome::Reactions))
            }
            Command::Typing(c) => self.typing(caller, c.conversation, c.active),
            Command::WatchPresence(c) => self.watch_presence(caller, c.users).await,
            Command::WatchConversations(c) => self.watch_conversations(caller, c.conversations),
            Command::AuthRefresh(_) => Err(only_over_a_connection()),
            Command::MessageSend(_)
            | Command::MessageEdit(_)
            | Command::MessageDelete(_)
            | Command::ReactionAdd(_)
            | Command::ReactionRemove(_)
            | Command::ConversationCreate(_)
            | Command::ConversationUpdate(_)
            | Command::ConversationDelete(_)
            | Command::ConversationJoin(_)
            | Command::ConversationLeave(_)
            | Command::MemberAdd(_)
            | Command::MemberRemove(_)
            | Command::MemberRole(_) => unreachable!("commands with an id go to the log"),
        }
    }

    async fn set(
        self: &Arc<Self>,
        caller: &Caller,
        conversation: ConversationId,
        change: InboxChange,
    ) -> Result<Outcome, CommandError> {
        let user = of_user(caller)?;
        match self.store.set_inbox(user, conversation, change).await? {
            InboxChanged::Changed {
                marks,
                kind,
                member_count,
                ..
            } => {
                self.poke_local([user.clone()].into());
                self.ring_user(user);
                let is_mark = matches!(change, InboxChange::Read(_) | InboxChange::Delivered(_));
                let few = kind == ConversationKind::Direct
                    || (kind == ConversationKind::Group && member_count <= self.limits.receipt_members_max);
                if is_mark && few {
                    let (read, delivered) = (marks.read, marks.delivered);
                    self.receipts.push(MarksSignal {
                        conversation,
                        user: user.clone(),
                        read,
                        delivered,
                    });
                }
                Ok(Outcome::Done {})
            }
            InboxChanged::Unchanged => Ok(Outcome::Done {}),
            InboxChanged::NotFound => Err(CommandError::not_found()),
            InboxChanged::Ahead => Err(CommandError::new(
                ErrorCode::InvalidArgument,
                "the mark is ahead of the head of the log",
            )),
        }
    }

    fn history_query(&self, c: &HistoryList, viewer: Option<UserId>) -> Result<HistoryQuery, CommandError> {
        let window = match (c.before, c.after, c.around) {
            (None, None, None) => Window::Newest,
            (Some(seq), None, None) => Window::Before(seq),
            (None, Some(seq), None) => Window::After(seq),
            (None, None, Some(seq)) => Window::Around(seq),
            _ => {
                let text = "give at most one of before, after and around";
                return Err(CommandError::new(ErrorCode::InvalidArgument, text));
            }
        };
        Ok(HistoryQuery {
            conversation: c.conversation,
            viewer,
            window,
            limit: bounded(c.limit, self.limits.page_entries_max, self.limits.page_events_max),
            bytes: self.limits.page_bytes_max,
        })
    }

    /// Whether the viewer is a member now, or the host.
    async fn is_member(&self, conversation: ConversationId, viewer: Option<&UserId>) -> Result<bool, StoreError> {
        match viewer {
            Some(user) => Ok(!self.read(self.store.entries(user, &[conversation])).await?.is_empty()),
            None => Ok(true),
        }
    }

    async fn log(&self, c: &LogList, viewer: Option<UserId>) -> Result<Outcome, CommandError> {
        let query = LogQuery {
            conversation: c.conversation,
            viewer: viewer.clone(),
            after: c.after.seq,
            limit: bounded(c.limit, self.limits.page_events_max, self.limits.page_events_max),
            bytes: self.limits.page_bytes_max,
        };
        match self.read(self.store.log(query)).await? {
            // Up to the end of a membership the log is for the session that was there; who asks finds nothing.
            LogRead::Page(LogPage { ended: Some(_), .. }) => Err(CommandError::not_found()),
            LogRead::Page(page) if page.after == c.after.tag => {
                let last = page.items.last().map_or(c.after, |item| item.position());
                let more = last.seq < page.head.seq;
                Ok(Outcome::Log(Page {
                    conversation: c.conversation,
                    items: page.items,
                    more,
                }))
            }
            LogRead::NotFound => Err(CommandError::not_found()),
            LogRead::Ahead if !self.is_member(c.conversation, viewer.as_ref()).await? => Err(CommandError::not_found()),
            LogRead::Page(_) | LogRead::Ahead => Err(CommandError::new(
                ErrorCode::Conflict,
                "the log went another way: connect again and resume",
            )),
            LogRead::TooOld => Err(CommandError::new(
                ErrorCode::Gone,
                "that part of the log is no longer kept",
            )),
        }
    }

    // ---- signals and watches -----------------------------------------------------------------------------------

    /// Typing of somebody who is not a member, or too often, is dropped and counted.
    fn typing(&self, caller: &Caller, conversation: ConversationId, active: bool) -> Result<Outcome, CommandError> {
        let (session, user) = (of_session(caller)?, of_user(caller)?);
        if session.is_member(conversation) && session.may_type(conversation, active, self.limits.typing_interval) {
            let signal = Signal::Typing(TypingSignal {
                conversation,
                user: user.clone(),
                active,
            });
            self.ring_signals(conversation, std::slice::from_ref(&signal));
            self.signal_conversation(conversation, signal);
        } else {
            metrics::counter!("chat_typing_dropped_total").increment(1);
        }
        Ok(Outcome::Done {})
    }

    /// Users who share no conversation with the caller are left out, as those who do not exist.
    async fn watch_presence(&self, caller: &Caller, users: Vec<UserId>) -> Result<Outcome, CommandError> {
        let (session, user) = (of_session(caller)?, of_user(caller)?);
        if users.len() > self.limits.presence_watches_max {
            return Err(too_many("watch at most 200 users"));
        }
        let mut sharing = self.store.sharing(user, &users).await?;
        if users.contains(user) {
            sharing.push(user.clone());
        }
        sharing.sort();
        sharing.dedup();
        self.watch_users(session, sharing);
        Ok(Outcome::Done {})
    }

    /// Conversations that the caller is no member of are left out, as those that do not exist.
    fn watch_conversations(
        &self,
        caller: &Caller,
        conversations: Vec<ConversationId>,
    ) -> Result<Outcome, CommandError> {
        let session = of_session(caller)?;
        if conversations.len() > self.limits.conversation_watches_max {
            return Err(too_many("watch at most 20 conversations"));
        }
        session.watch_conversations(&self.hub, conversations);
        Ok(Outcome::Done {})
    }
}

/// Whether the engine asks, before the conversation is looked at, whom the actor shares conversations with.
fn brings_together(command: &Command) -> bool {
    matches!(command, Command::ConversationCreate(_) | Command::MemberAdd(_))
}

/// What a page holds when the caller says nothing, or too much.
fn bounded(limit: Option<u64>, default: usize, max: usize) -> usize {
    limit.map_or(default, |limit| usize::try_from(limit).unwrap_or(max).clamp(1, max))
}

fn of_user(caller: &Caller) -> Result<&UserId, CommandError> {
    let text = "this belongs to a user: act as one";
    caller
        .actor
        .user()
        .ok_or_else(|| CommandError::new(ErrorCode::InvalidArgument, text))
}

fn of_session(caller: &Caller) -> Result<&Arc<Session>, CommandError> {
    caller.session.as_ref().ok_or_else(only_over_a_connection)
}

fn only_over_a_connection() -> CommandError {
    CommandError::new(
        ErrorCode::InvalidArgument,
        "this belongs to a connection: send it over one",
    )
}

fn too_many(text: &str) -> CommandError {
    CommandError::new(ErrorCode::LimitExceeded, text)
}
