//! One device: a production client with its outbox, and an application that writes down what it did and saw.

use super::tap::Links;
use super::{Orders, Standing, wait_about};
use crate::history::{self, Note, Writer, Writing};
use crate::population::{Founding, Seat};
use crate::text::{self, Says};
use chat_client::protocol::command::{
    ConversationCreate, MarkRead, MemberAdd, MemberRemove, MessageDelete, MessageEdit, MessageSend, ReactionAdd,
};
use chat_client::protocol::conversation::ConversationKind;
use chat_client::protocol::id::{CommandId, ConversationId, MessageId, Position, Seq};
use chat_client::{Client, Codec, Command, CommandError, Content, Outbox, Outcome, Status, Update, Updates};
use chat_testkit::Random;
use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// A command that waits longer than this for its answer waits for something that is broken.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);

/// So many messages are remembered to be edited, deleted or reacted to.
const REMEMBERED_MAX: usize = 20;

pub(super) struct Device {
    seat: Seat,
    client: Client,
    application: Arc<Application>,
    /// Whether what is kept survives a kill.
    is_on_disk: bool,
    /// Guards what was in the outbox when it was last looked at; held to look.
    kept: Mutex<HashSet<CommandId>>,
}

/// What the application keeps.
struct Application {
    history: Arc<Writer>,
    shown: AtomicU64,
    /// Guards messages of one's own and of others, the newest last; held to look or to add.
    messages: Mutex<VecDeque<(ConversationId, MessageId, bool)>>,
    /// Guards what was asked and when, in the order of time; held to add, or to take off what was answered.
    asked: Mutex<VecDeque<(CommandId, Instant)>>,
}

impl Device {
    pub fn start(seat: Seat, orders: &Orders, random: &mut Random) -> io::Result<Self> {
        let path = history::path(&orders.folder, &seat.user, seat.device);
        let outbox = match orders.files {
            true => Outbox::file(path.with_extension("outbox")),
            false => Outbox::memory(),
        };
        let history = Arc::new(Writer::open(&path)?);
        let links = Links::new(orders.links.clone(), orders.stays_ms, random.fork(), history.clone());
        let codec = if seat.device == 0 {
            Codec::Json
        } else {
            Codec::MessagePack
        };
        let (client, updates) = Client::builder(links)
            .guest(seat.user.as_str())
            .codec(codec)
            .outbox(outbox)
            .connect_timeout(Duration::from_secs(3))
            .settings(|settings| {
                // Somebody waits in front of this application: it would rather ask once too often.
                settings.reconnect_cap = Duration::from_secs(4);
                settings.welcome_timeout = Duration::from_secs(4);
                settings.ping_after = Duration::from_secs(5);
                settings.watchdog = Duration::from_secs(15);
                settings.drain_timeout = Duration::from_secs(3);
            })
            .start()
            .map_err(io::Error::other)?;
        let application = Arc::new(Application {
            history,
            shown: AtomicU64::new(0),
            messages: Mutex::default(),
            asked: Mutex::default(),
        });
        // Nothing has run since the client was made, so this is what it found.
        let found: Vec<CommandId> = client.outbox().iter().filter_map(Command::id).collect();
        found.iter().for_each(|id| application.ask(*id));
        application.history.note(Note::Started {
            keeps_outbox: orders.keeps_outbox,
            outbox: found.clone(),
        });
        let own = seat.user.clone();
        tokio::spawn(read(updates, application.clone(), own.as_str().to_owned()));
        Ok(Self {
            seat,
            client,
            application,
            is_on_disk: orders.files,
            kept: Mutex::new(found.into_iter().collect()),
        })
    }

    /// Writes down what has come to be on disk since it was last looked at.
    pub fn note_kept(&self) {
        if !self.is_on_disk {
            return;
        }
        let mut kept = self.kept.lock().expect("no panic while the lock is held");
        if kept.is_empty() && self.client.outbox_len() == 0 {
            return;
        }
        let now: Vec<CommandId> = self.client.outbox().iter().filter_map(Command::id).collect();
        let ids: Vec<CommandId> = now.iter().filter(|id| !kept.contains(id)).copied().collect();
        *kept = now.into_iter().collect();
        if !ids.is_empty() {
            self.application.history.note(Note::Kept { ids });
        }
    }

    pub fn add_to(&self, standing: &mut Standing) {
        let status = self.client.status();
        standing.synced += usize::from(status == Status::Synced);
        standing.served += usize::from(status == Status::Synced && self.is_served());
        standing.stopped += usize::from(status == Status::Stopped);
        standing.waiting += self.client.outbox_len();
        standing.places += self.client.with_state(|view| view.conversations.len());
        standing.shown += self.application.shown.load(Ordering::Relaxed);
    }

    /// Whether nothing waits for its answer for long.
    fn is_served(&self) -> bool {
        let mut asked = self.application.asked.lock().expect("no panic while the lock is held");
        let is_old = |(_, at): &(CommandId, Instant)| at.elapsed() > ANSWERED_WITHIN;
        if !asked.front().is_some_and(is_old) {
            return true;
        }
        let waiting: HashSet<CommandId> = self.client.outbox().iter().filter_map(Command::id).collect();
        while let Some(first) = asked.front().filter(|first| is_old(first)) {
            if waiting.contains(&first.0) {
                return false;
            }
            asked.pop_front();
        }
        true
    }

    /// Makes the conversations that are this device's to make.
    pub fn found(&self) {
        for founding in &self.seat.founds {
            let kind = match founding.is_direct {
                true => ConversationKind::Direct,
                false => ConversationKind::Group,
            };
            self.give(ConversationCreate {
                conversation: founding.conversation,
                id: founding.id,
                title: (!founding.is_direct).then(|| "a group".to_owned()),
                public: false,
                history: None,
                kind,
                members: founding.members.clone(),
                meta: None,
            });
        }
    }

    /// Acts at its pace, while it is told to act.
    pub async fn live(self: Arc<Self>, mut random: Random, pace_ms: u64, mut acts: watch::Receiver<bool>) {
        if !self.seat.acts {
            return;
        }
        while acts.wait_for(|acts| *acts).await.is_ok() {
            wait_about(pace_ms, &mut random).await;
            if *acts.borrow() {
                self.act(&mut random);
            }
        }
    }

    /// Writes so many messages at once, into one conversation.
    pub fn burst(&self, count: u32, random: &mut Random) {
        if !self.seat.acts {
            return;
        }
        if let Some((conversation, ..)) = self.pick(random) {
            (0..count).for_each(|_| self.write(conversation, random));
        }
    }

    fn act(&self, random: &mut Random) {
        let Some((conversation, cursor, joined)) = self.pick(random) else {
            return;
        };
        let id = self.client.command_id();
        let about = self.remembered(random);
        match (random.below(0..100), about) {
            (0..8, _) if cursor > joined => self.mark(conversation, joined, cursor),
            (8..13, Some((conversation, message, true))) => self.give(MessageEdit {
                conversation,
                id,
                message,
                version: None,
                content: Content::text(text::of(id, letters(random))),
            }),
            (13..16, Some((conversation, message, true))) => self.give(MessageDelete {
                conversation,
                id,
                message,
            }),
            (16..20, Some((conversation, message, _))) => self.give(ReactionAdd {
                conversation,
                id,
                message,
                emoji: ["+", "-", "!"][random.below(0..3) as usize].to_owned(),
            }),
            (20..22, _) => self.come_or_go(random),
            _ => self.write(conversation, random),
        }
    }

    /// One of the user's conversations: where the application is in it, and where the membership began.
    fn pick(&self, random: &mut Random) -> Option<(ConversationId, Seq, Seq)> {
        self.client.with_state(|view| {
            let index = random.below(0..view.conversations.len().max(1) as u64) as usize;
            let (id, state) = view.conversations.iter().nth(index)?;
            Some((*id, state.cursor.seq, state.entry.joined))
        })
    }

    fn remembered(&self, random: &mut Random) -> Option<(ConversationId, MessageId, bool)> {
        let messages = self.application.messages();
        let index = random.below(0..messages.len().max(1) as u64) as usize;
        messages.get(index).copied()
    }

    fn write(&self, conversation: ConversationId, random: &mut Random) {
        let id = self.client.message_id();
        self.give(MessageSend {
            conversation,
            id,
            content: Content::text(text::of(id.into(), letters(random))),
            reply_to: None,
        });
    }

    /// The founder of a group removes somebody, or adds them again.
    fn come_or_go(&self, random: &mut Random) {
        let groups = self
            .seat
            .founds
            .iter()
            .filter(|founding| !founding.come_and_go.is_empty());
        let groups: Vec<&Founding> = groups.collect();
        let Some(group) = groups.get(random.below(0..groups.len().max(1) as u64) as usize) else {
            return;
        };
        let (conversation, id) = (group.conversation, self.client.command_id());
        let user = group.come_and_go[random.below(0..group.come_and_go.len() as u64) as usize].clone();
        // Whoever is there is refused, and whoever is not: both are answers.
        match random.chance(0.6) {
            true => self.give(MemberAdd { conversation, id, user }),
            false => self.give(MemberRemove { conversation, id, user }),
        }
    }

    fn mark(&self, conversation: ConversationId, joined: Seq, read: Seq) {
        let pending = self.client.enqueue(MarkRead {
            conversation,
            seq: read,
        });
        let application = self.application.clone();
        tokio::spawn(async move {
            if pending.await.is_ok() {
                application.history.note(Note::Marked {
                    conversation,
                    joined,
                    read,
                });
            }
        });
    }

    /// Hands over a durable command, and writes down what comes of it.
    fn give(&self, command: impl Into<Command>) {
        let command = command.into();
        let (Some(id), Some(conversation)) = (command.id(), command.conversation()) else {
            return;
        };
        self.application.ask(id);
        self.application.history.note(Note::Asked {
            conversation,
            id,
            sends: matches!(command, Command::MessageSend(_)),
            writes: writing(&command),
        });
        let pending = self.client.enqueue(command);
        let application = self.application.clone();
        tokio::spawn(async move {
            match pending.await {
                Ok(Outcome::Stored(stored)) => application.history.note(Note::Stored {
                    conversation: stored.conversation,
                    id,
                    by: stored.id,
                    position: Position {
                        seq: stored.seq,
                        tag: stored.tag,
                    },
                }),
                Err(CommandError::Refused(error)) => application.history.note(Note::Refused {
                    conversation,
                    id,
                    code: error.code.to_string(),
                }),
                // It never left this process; the history will show it as unanswered.
                Ok(_) | Err(_) => {}
            }
        });
    }
}

impl Application {
    fn ask(&self, id: CommandId) {
        let mut asked = self.asked.lock().expect("no panic while the lock is held");
        asked.push_back((id, Instant::now()));
    }

    fn messages(&self) -> MutexGuard<'_, VecDeque<(ConversationId, MessageId, bool)>> {
        self.messages.lock().expect("no panic while the lock is held")
    }
}

async fn read(mut updates: Updates, application: Arc<Application>, own: String) {
    while let Some(update) = updates.recv().await {
        let note = match update {
            Update::Event(event) => {
                application.shown.fetch_add(1, Ordering::Relaxed);
                let message = event.kind.message();
                if let Some(message) = message.filter(|message| !message.is_deleted()) {
                    let is_own = message.sender.as_ref().is_some_and(|sender| sender.as_str() == own);
                    let mut messages = application.messages();
                    messages.push_back((event.conversation, message.id, is_own));
                    if messages.len() > REMEMBERED_MAX {
                        messages.pop_front();
                    }
                }
                Note::Event {
                    conversation: event.conversation,
                    position: event.position(),
                    id: event.id,
                    message: message.map(|message| (message.id, message.version, Says::of(message).by())),
                }
            }
            Update::Skipped(skip) => Note::Skipped {
                conversation: skip.conversation,
                from: skip.from,
                to: skip.to,
            },
            Update::Inbox(entry) => Note::Inbox {
                conversation: entry.conversation.id,
                head: entry.head,
                joined: entry.joined,
                read: entry.read,
                delivered: entry.delivered,
            },
            Update::Reset { conversation, reason } => Note::Reset {
                conversation,
                reason: reason.to_string(),
            },
            Update::Failed { command, error } => match (command.id(), command.conversation(), error.code()) {
                (Some(id), Some(conversation), Some(code)) => Note::Refused {
                    conversation,
                    id,
                    code: code.to_string(),
                },
                _ => continue,
            },
            Update::Synced { .. } => Note::Synced,
            Update::Disconnected { .. } => Note::Disconnected,
            _ => continue,
        };
        application.history.note(note);
    }
}

/// What a command makes of a message, read from the command itself.
fn writing(command: &Command) -> Option<Writing> {
    let (message, content) = match command {
        Command::MessageSend(send) => (send.id, Some(&send.content)),
        Command::MessageEdit(edit) => (edit.message, Some(&edit.content)),
        Command::MessageDelete(delete) => (delete.message, None),
        _ => return None,
    };
    let letters = content.map(|content| match Says::read(false, content.text.as_deref()) {
        Says::Text(_, letters) => letters,
        Says::Nothing | Says::Other(_) => 0,
    });
    Some(Writing { message, letters })
}

/// How long a text is to be.
fn letters(random: &mut Random) -> usize {
    let letters = if random.chance(0.05) {
        random.below(500..3_000)
    } else {
        random.below(1..60)
    };
    letters as usize
}
