//! The conversation on the screen: what the user wants of it, and what happens in it.

use crate::terminal::{note, plain, print};
use chat_client::protocol::code::{CloseCode, ErrorCode, ResetReason};
use chat_client::protocol::command::{ConversationJoin, HistoryList, MemberList, MessageDelete, MessageEdit};
use chat_client::protocol::conversation::Member;
use chat_client::protocol::frame::{HistoryPage, Outcome};
use chat_client::protocol::signal::Signal;
use chat_client::{
    Client, Command, CommandError, Content, ConversationId, Event, EventKind, Message, MessageId, Pending, Seq, Update,
    UserId,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::sleep;

const HELP: &str = "\
a line is a message; a line that begins with / is one of these:
  /edit [#N] TEXT   replace your newest message, or number N
  /delete [#N]      delete your newest message, or number N
  /history [COUNT]  earlier messages
  /who              who is a member, and who is here now
  /join ID          go to another public channel
  /help             this
  /quit             end; what is not sent yet goes out at the next start";

/// How many messages are shown when a room is entered.
const HISTORY: u64 = 20;
/// When the input ends, what is not sent yet has so long to go out.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// The conversation on the screen.
pub struct Room {
    client: Client,
    id: ConversationId,
    user: Option<UserId>,
    /// What was shown of each message: the seq of the last change in it.
    shown: HashMap<MessageId, Seq>,
    /// The messages on the screen by number, and whether each is one's own.
    numbers: BTreeMap<Seq, (MessageId, bool)>,
    /// While the history of a room just entered is on its way: what happens meanwhile, shown after it.
    entering: Option<Vec<Event>>,
    /// Whether it was entered since the log is this one.
    is_in: bool,
    online: BTreeSet<UserId>,
    pub asked: JoinSet<Answer>,
    /// What went into the outbox and has no answer yet.
    unanswered: usize,
    /// The input has ended: what is not sent yet goes out, then all is done.
    ending: bool,
    /// It took too long.
    enough: bool,
}

/// What a task of ours came to. Updates must be read while an answer is awaited, so answers are awaited in tasks.
#[expect(clippy::large_enum_variant, reason = "made once for each command, by hand")]
pub enum Answer {
    Entered(ConversationId, Result<HistoryPage, CommandError>),
    Earlier(ConversationId, Result<HistoryPage, CommandError>),
    Who(Result<Vec<Member>, CommandError>),
    Posted(Result<Outcome, CommandError>),
    Enough,
}

impl Room {
    pub fn new(client: Client, id: ConversationId) -> Self {
        Self {
            client,
            id,
            user: None,
            shown: HashMap::new(),
            numbers: BTreeMap::new(),
            entering: None,
            is_in: false,
            online: BTreeSet::new(),
            asked: JoinSet::new(),
            unanswered: 0,
            ending: false,
            enough: false,
        }
    }

    // ---- what the user wants ---------------------------------------------------------------------------------------

    pub fn say(&mut self, line: &str) {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        match word {
            "" => {}
            "/help" => note(HELP),
            "/who" => self.who(),
            "/history" => self.earlier(rest.parse().unwrap_or(HISTORY)),
            "/join" => match rest.parse() {
                Ok(id) => self.go(id),
                Err(error) => note(&format!("/join wants the id of a channel: {error}")),
            },
            "/edit" | "/delete" => {
                let (number, text) = match rest.strip_prefix('#') {
                    Some(rest) => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
                    None => ("", rest),
                };
                let Some(message) = self.find(number) else {
                    return note("there is no such message of yours on the screen");
                };
                let (conversation, id) = (self.id, self.client.command_id());
                if word == "/delete" {
                    self.post(MessageDelete {
                        conversation,
                        id,
                        message,
                    });
                } else if text.is_empty() {
                    note("/edit wants the new text");
                } else {
                    let (version, content) = (None, Content::text(text.trim()));
                    self.post(MessageEdit {
                        conversation,
                        id,
                        message,
                        version,
                        content,
                    });
                }
            }
            _ if word.starts_with('/') => note("no such command; /help names them"),
            _ => {
                let (_, pending) = self.client.post(self.id, Content::text(line));
                self.await_posted(pending);
            }
        }
    }

    /// One's own message of this number; the newest when none is given.
    fn find(&self, number: &str) -> Option<MessageId> {
        let (message, is_own) = match number {
            "" => self.numbers.values().rev().find(|(_, is_own)| *is_own)?,
            number => self.numbers.get(&Seq(number.parse().ok()?))?,
        };
        is_own.then_some(*message)
    }

    /// Into the outbox, which answers for it from there on.
    fn post(&mut self, command: impl Into<Command>) {
        let pending = self.client.enqueue(command);
        self.await_posted(pending);
    }

    fn await_posted(&mut self, pending: Pending) {
        self.unanswered += 1;
        self.asked.spawn(async { Answer::Posted(pending.await) });
    }

    /// Joins behind whatever waits already, unless a join is there; who is a member is told `conflict`, which says
    /// nothing new.
    pub fn join(&mut self) {
        let conversation = self.id;
        let is_join =
            |command: &Command| matches!(command, Command::ConversationJoin(join) if join.conversation == conversation);
        if !self.client.outbox().iter().any(is_join) {
            let id = self.client.command_id();
            self.post(ConversationJoin { conversation, id });
        }
    }

    /// How much of what the user said is not sent yet.
    pub fn unsent(&self) -> usize {
        let is_own = |command: &&Command| !matches!(command, Command::ConversationJoin(_));
        self.client.outbox().iter().filter(is_own).count()
    }

    fn go(&mut self, id: ConversationId) {
        self.id = id;
        self.forget();
        match self.client.with_state(|state| state.conversations.contains_key(&id)) {
            true => self.enter(),
            false => self.join(),
        }
    }

    fn forget(&mut self) {
        self.shown.clear();
        self.numbers.clear();
        self.entering = None;
        self.is_in = false;
    }

    fn enter(&mut self) {
        self.is_in = true;
        self.entering.get_or_insert_default();
        let (client, id) = (self.client.clone(), self.id);
        self.asked
            .spawn(async move { Answer::Entered(id, client.history(id, HISTORY).await) });
    }

    fn earlier(&mut self, count: u64) {
        let (client, conversation) = (self.client.clone(), self.id);
        let list = HistoryList {
            conversation,
            before: self.numbers.keys().next().copied(),
            after: None,
            around: None,
            limit: Some(count.clamp(1, 200)),
        };
        self.asked.spawn(async move {
            let page = client.execute(list).await.map(|outcome| match outcome {
                Outcome::History(page) => page,
                other => unreachable!("history is answered by history, not by {other:?}"),
            });
            Answer::Earlier(conversation, page)
        });
    }

    fn who(&mut self) {
        let (client, conversation) = (self.client.clone(), self.id);
        self.asked.spawn(async move {
            let (page, limit) = (None, None);
            let members = match client
                .execute(MemberList {
                    conversation,
                    page,
                    limit,
                })
                .await
            {
                Ok(Outcome::Members(page)) => page.members,
                Ok(other) => unreachable!("members are answered by members, not by {other:?}"),
                Err(error) => return Answer::Who(Err(error)),
            };
            let users = members.iter().map(|member| member.user.clone()).collect();
            // The state of those who are watched comes before the answer.
            Answer::Who(client.watch_presence(users).await.map(|()| members))
        });
    }

    /// Nothing more will be written: ends once everything is sent, or after a while.
    pub fn end(&mut self) {
        self.ending = true;
        self.asked.spawn(async {
            sleep(SEND_TIMEOUT).await;
            Answer::Enough
        });
    }

    pub fn is_done(&self) -> bool {
        self.enough || (self.ending && self.unanswered == 0 && self.client.outbox_len() == 0)
    }

    // ---- what happens ----------------------------------------------------------------------------------------------

    pub fn take(&mut self, update: Update) -> Result<(), String> {
        match update {
            Update::Connected { user } => {
                note(&format!("connected as {user}"));
                self.user = Some(user);
            }
            Update::Disconnected { .. } => {
                self.online.clear();
                note("the connection is gone");
            }
            Update::Reconnecting { after } if after >= Duration::from_secs(1) => {
                note(&format!("trying again in {} s", after.as_secs()));
            }
            Update::Stopped { code } => return Err(stopped(code)),
            Update::Reset { conversation: None, .. } => {
                note("the server has lost its memory: joining again");
                self.forget();
                self.join();
            }
            Update::Reset {
                conversation: Some(id),
                reason,
            } if id == self.id => match reason {
                // What is on the screen stays true; the newest are shown again.
                ResetReason::TooOld => self.is_in = false,
                _ => self.forget(),
            },
            Update::Inbox(entry) if entry.conversation.id == self.id && !self.is_in => {
                let title = entry.conversation.title.as_deref();
                note(&format!("in {}", plain(title.unwrap_or("a conversation"))));
                self.enter();
            }
            // The history of a room just entered was lost with its connection.
            Update::Synced { .. } if self.entering.is_some() => self.enter(),
            Update::Event(event) if event.conversation == self.id => match &mut self.entering {
                Some(early) => early.push(*event),
                None => self.happened(&event),
            },
            Update::Signal(Signal::Presence(presence)) => {
                match presence.online {
                    true => self.online.insert(presence.user),
                    false => self.online.remove(&presence.user),
                };
            }
            Update::Failed { command, error } => self.failed(*command, &error),
            _ => {}
        }
        Ok(())
    }

    fn failed(&mut self, command: Command, error: &CommandError) {
        let code = error.code();
        match command {
            Command::ConversationJoin(_) if code == Some(&ErrorCode::Conflict) => {}
            Command::MessageSend(send) => {
                let text = send.content.text.unwrap_or_default();
                note(&format!("not sent: {}: {error}", plain(&text)));
            }
            other => note(&format!("{} came to nothing: {error}", other.name())),
        }
    }

    pub fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::Entered(id, Ok(page)) if id == self.id => {
                page.messages.iter().for_each(|message| self.show(message));
                for event in self.entering.take().unwrap_or_default() {
                    self.happened(&event);
                }
            }
            // A lost connection: asked again once there is another.
            Answer::Entered(_, Err(CommandError::Disconnected)) => {}
            Answer::Entered(id, Err(error)) if id == self.id => note(&format!("no history: {error}")),
            Answer::Earlier(id, Ok(page)) if id == self.id => {
                if page.messages.is_empty() {
                    note("there is nothing earlier");
                }
                page.messages.iter().for_each(|message| self.show(message));
            }
            Answer::Entered(..) | Answer::Earlier(_, Ok(_)) => {}
            Answer::Earlier(_, Err(error)) | Answer::Who(Err(error)) => note(&error.to_string()),
            Answer::Who(Ok(members)) => {
                for Member { user, .. } in members {
                    let is = if self.online.contains(&user) { "here" } else { "away" };
                    note(&format!("{is}: {}", plain(user.as_str())));
                }
            }
            Answer::Posted(result) => {
                self.unanswered -= 1;
                match result {
                    // A refusal comes as an update too, which names the command; what is left was never kept.
                    Ok(_) | Err(CommandError::Refused(_) | CommandError::Stopped | CommandError::Discarded) => {}
                    Err(error) => note(&error.to_string()),
                }
            }
            Answer::Enough => self.enough = true,
        }
    }

    fn happened(&mut self, event: &Event) {
        if let Some(message) = event.kind.message() {
            return self.show(message);
        }
        match &event.kind {
            EventKind::MemberJoined(joined) => note(&format!("{} joined", plain(joined.member.user.as_str()))),
            EventKind::MemberLeft(left) => note(&format!("{} left", plain(left.user.as_str()))),
            EventKind::MemberRemoved(removed) => note(&format!("{} was removed", plain(removed.user.as_str()))),
            EventKind::ConversationDeleted(_) => note("this conversation has ended"),
            _ => {}
        }
    }

    /// Shows a message once, and then only what changed: of two copies the one with the higher `changed` is newer.
    fn show(&mut self, message: &Message) {
        let before = self.shown.get(&message.id).copied();
        if before.is_some_and(|before| before >= message.changed) {
            return;
        }
        self.shown.insert(message.id, message.changed);
        let is_own = message.sender.is_some() && message.sender == self.user;
        let number = message.seq;
        let who = plain(message.sender.as_ref().map_or("system", UserId::as_str));
        if message.is_deleted() {
            self.numbers.remove(&number);
            if before.is_some() {
                print(&format!("#{number} {who} deleted this message"));
            }
            return;
        }
        self.numbers.insert(number, (message.id, is_own));
        let text = message.content.as_ref().and_then(|content| content.text.as_deref());
        let text = plain(text.unwrap_or("(something that this client cannot show)"));
        let reactions = message
            .reactions
            .iter()
            .map(|reaction| format!(" {}×{}", plain(&reaction.emoji), reaction.count));
        let edited = if message.edited_at.is_some() { " (edited)" } else { "" };
        print(&format!(
            "#{number} {who}{edited}: {text}{}",
            reactions.collect::<String>()
        ));
    }
}

fn stopped(code: Option<CloseCode>) -> String {
    match code {
        Some(CloseCode::AuthFailed) => "the server does not let you in: another name, or a good --token".to_owned(),
        Some(CloseCode::WrongPath) => "there is no chat at this address: look at --server".to_owned(),
        Some(code) => format!("the server has closed: {} ({})", code.reason(), code.number()),
        None => "there is no use in trying again: look at --server".to_owned(),
    }
}
