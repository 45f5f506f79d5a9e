//! What users do: everything that the production client offers, on every device at its own pace.

use super::device::Device;
use super::fleet::Fleet;
use super::ledger::{Given, Ledger, Marked};
use super::recorder::{Recorder, Short};
use crate::random::Random;
use chat_client::{Client, ClientView, CommandError};
use chat_core::command::{
    Command, ConversationCreate, ConversationDelete, ConversationJoin, ConversationLeave, ConversationUpdate,
    HistoryList, InboxArchive, InboxMute, MarkDelivered, MarkRead, MemberAdd, MemberRemove, MemberRole, MessageDelete,
    MessageEdit, MessageSend, ReactionAdd, ReactionRemove, Typing, WatchConversations, WatchPresence,
};
use chat_core::conversation::{ConversationKind, HistoryVisibility, Role};
use chat_core::frame::Outcome;
use chat_core::id::{ConversationId, MessageId, Seq, UserId};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Where everybody acts.
#[derive(Clone)]
pub(super) struct Stage {
    pub users: Arc<Vec<UserId>>,
    pub fleet: Arc<Fleet>,
    pub ledger: Ledger,
    pub recorder: Recorder,
}

impl Stage {
    /// Opens the first conversations, one after the other, while nothing goes wrong.
    pub async fn found(&self, devices: &[Arc<Device>], random: &mut Random) {
        for number in 0..random.below(2..5) {
            let device = &devices[random.below(0..devices.len() as u64) as usize];
            let Some(client) = device.client() else { continue };
            let kind = if number == 0 {
                ConversationKind::Group
            } else {
                ConversationKind::Channel
            };
            let command = self.creation(&client, kind, 0.7, random);
            self.give(device, &client, command);
            client.synced().await;
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// One device's life until `until`.
    pub async fn act(self, device: Arc<Device>, mut random: Random, pace: Duration, until: Instant) {
        loop {
            sleep(random.between(&(Duration::ZERO..=pace * 2))).await;
            if Instant::now() >= until {
                return;
            }
            if let Some(client) = device.client() {
                self.act_once(&device, &client, &mut random);
            }
        }
    }

    fn act_once(&self, device: &Arc<Device>, client: &Client, random: &mut Random) {
        let view = client.state();
        let Some(conversation) = self.pick(&view, random) else {
            let command = self.creation(client, ConversationKind::Group, 0.5, random);
            return self.give(device, client, command);
        };
        let command = match random.below(0..100) {
            0..30 => Some(self.message(client, conversation, None, random)),
            30..36 => {
                // A burst, all but the last of it here.
                for _ in 0..random.below(1..7) {
                    let command = self.message(client, conversation, None, random);
                    self.give(device, client, command);
                }
                Some(self.message(client, conversation, None, random))
            }
            36..60 => self
                .seen(device, conversation, random)
                .map(|message| self.about(client, conversation, message, random)),
            60..77 => Some(own(&view, conversation, random)),
            77..95 => self.house_rules(client, conversation, random),
            95..99 => Some(self.curiosity(&view, conversation, random)),
            _ => {
                self.speak_as_the_host(conversation, random);
                None
            }
        };
        if let Some(command) = command {
            self.give(device, client, command);
        }
    }

    /// Something about a message: a reply, an edit, a reaction, its end.
    fn about(&self, client: &Client, conversation: ConversationId, message: MessageId, random: &mut Random) -> Command {
        let id = client.command_id();
        match random.below(0..24) {
            0..5 => self.message(client, conversation, Some(message), random),
            5..13 => MessageEdit {
                conversation,
                id,
                message,
                version: random.chance(0.3).then(|| random.below(1..3)),
                content: self.ledger.text(random),
            }
            .into(),
            13..17 => MessageDelete {
                conversation,
                id,
                message,
            }
            .into(),
            roll => {
                let emoji = ["+", "-", "!"][random.below(0..3) as usize].to_owned();
                match roll {
                    17..22 => ReactionAdd {
                        conversation,
                        id,
                        message,
                        emoji,
                    }
                    .into(),
                    _ => ReactionRemove {
                        conversation,
                        id,
                        message,
                        emoji,
                    }
                    .into(),
                }
            }
        }
    }

    /// Who belongs here and what the place is.
    fn house_rules(&self, client: &Client, conversation: ConversationId, random: &mut Random) -> Option<Command> {
        let id = client.command_id();
        let user = self.users[random.below(0..self.users.len() as u64) as usize].clone();
        let command: Command = match random.below(0..18) {
            0..6 => MemberAdd { conversation, id, user }.into(),
            6..9 => MemberRemove { conversation, id, user }.into(),
            9..11 => ConversationLeave { conversation, id }.into(),
            11..14 => ConversationJoin { conversation, id }.into(),
            14 => {
                let kind = if random.chance(0.5) {
                    ConversationKind::Direct
                } else {
                    ConversationKind::Channel
                };
                self.creation(client, kind, 0.4, random)
            }
            15 => ConversationUpdate {
                conversation,
                id,
                title: Some(format!("title {}", random.below(0..1_000))),
                meta: None,
            }
            .into(),
            16 => MemberRole {
                conversation,
                id,
                user,
                role: [Role::Owner, Role::Admin, Role::Member][random.below(0..3) as usize].clone(),
            }
            .into(),
            _ if random.chance(0.3) => ConversationDelete { conversation, id }.into(),
            _ => return None,
        };
        Some(command)
    }

    /// What changes nothing.
    fn curiosity(&self, view: &ClientView, conversation: ConversationId, random: &mut Random) -> Command {
        match random.below(0..4) {
            0 => HistoryList {
                conversation,
                before: None,
                after: None,
                around: Some(Seq(random.below(1..50))),
                limit: Some(random.below(1..20)),
            }
            .into(),
            1 => Typing {
                conversation,
                active: random.chance(0.7),
            }
            .into(),
            2 => WatchPresence {
                users: self.users.to_vec(),
            }
            .into(),
            _ => WatchConversations {
                conversations: view.conversations.keys().copied().take(20).collect(),
            }
            .into(),
        }
    }

    /// One of the user's own conversations, and now and then somebody else's.
    fn pick(&self, view: &ClientView, random: &mut Random) -> Option<ConversationId> {
        let book = self.ledger.book();
        let any = (!book.conversations.is_empty() && random.chance(0.1))
            .then(|| book.conversations[random.below(0..book.conversations.len() as u64) as usize]);
        let count = view.conversations.len() as u64;
        any.or_else(|| {
            let index = random.below(0..count.max(1)) as usize;
            view.conversations.keys().nth(index).copied()
        })
    }

    /// A message that the application was shown.
    fn seen(&self, device: &Device, conversation: ConversationId, random: &mut Random) -> Option<MessageId> {
        let shown = device.shown();
        let messages = &shown.conversations.get(&conversation)?.messages;
        let index = random.below(0..messages.len().max(1) as u64) as usize;
        messages.keys().nth(index).copied()
    }

    fn message(
        &self,
        client: &Client,
        conversation: ConversationId,
        reply_to: Option<MessageId>,
        random: &mut Random,
    ) -> Command {
        MessageSend {
            conversation,
            id: client.message_id(),
            content: self.ledger.text(random),
            reply_to,
        }
        .into()
    }

    fn creation(&self, client: &Client, kind: ConversationKind, share: f64, random: &mut Random) -> Command {
        let conversation = client.conversation_id();
        let members = match kind {
            ConversationKind::Direct => vec![self.users[random.below(0..self.users.len() as u64) as usize].clone()],
            _ => self.users.iter().filter(|_| random.chance(share)).cloned().collect(),
        };
        let direct = kind == ConversationKind::Direct;
        ConversationCreate {
            conversation,
            id: client.command_id(),
            title: (!direct).then(|| "a place".to_owned()),
            public: kind == ConversationKind::Channel,
            history: (!direct && random.chance(0.4)).then_some(HistoryVisibility::All),
            kind,
            members,
            meta: None,
        }
        .into()
    }

    /// Hands a command to the client and takes down what comes of it.
    fn give(&self, device: &Arc<Device>, client: &Client, command: Command) {
        let seat = device.seat.name.clone();
        let (name, conversation) = (command.name(), command.conversation());
        let of = conversation
            .as_ref()
            .map(|id| Short(id).to_string())
            .unwrap_or_default();
        self.recorder.note(format_args!("{seat} asks {name} {of}"));
        let mark = self.mark(device, client, &command);
        let index = command.id().zip(conversation).map(|(id, conversation)| {
            let mut book = self.ledger.book();
            let mut opens_direct = false;
            if let Command::ConversationCreate(create) = &command {
                opens_direct = create.kind == ConversationKind::Direct;
                book.conversations.push(conversation);
            }
            book.given.push(Given {
                seat: seat.clone(),
                name,
                conversation,
                id,
                opens_direct,
                stored: None,
            });
            book.given.len() - 1
        });
        let pending = client.enqueue(command);
        let (ledger, recorder) = (self.ledger.clone(), self.recorder.clone());
        tokio::spawn(async move {
            let answer = pending.await;
            match &answer {
                Ok(Outcome::Stored(stored)) => {
                    let (seq, again) = (stored.seq, if stored.duplicate { " again" } else { "" });
                    let of = Short(&stored.conversation);
                    recorder.note(format_args!("{seat} has {name} {of} {seq}{again}"));
                    if let Some(index) = index {
                        ledger.book().given[index].stored = Some(*stored);
                    }
                }
                Ok(Outcome::Done {}) => {
                    recorder.note(format_args!("{seat} has {name} {of}"));
                    ledger.book().marks.extend(mark);
                }
                Ok(_) => recorder.note(format_args!("{seat} has {name} {of}")),
                Err(CommandError::Refused(error)) => {
                    recorder.note(format_args!("{seat} no {name} {of}: {}", error.code));
                }
                Err(error) => recorder.note(format_args!("{seat} no {name} {of}: {error}")),
            }
        });
    }

    fn mark(&self, device: &Device, client: &Client, command: &Command) -> Option<Marked> {
        let (conversation, seq, is_read) = match command {
            Command::MarkRead(mark) => (mark.conversation, mark.seq, true),
            Command::MarkDelivered(mark) => (mark.conversation, mark.seq, false),
            _ => return None,
        };
        let joined = client.with_state(|view| Some(view.conversations.get(&conversation)?.entry.joined))?;
        Some(Marked {
            user: device.seat.user.clone(),
            conversation,
            joined,
            seq,
            is_read,
        })
    }

    /// The host writes too, through some node.
    fn speak_as_the_host(&self, conversation: ConversationId, random: &mut Random) {
        let node = &self.fleet.nodes[random.below(0..self.fleet.nodes.len() as u64) as usize];
        let Some(running) = node.running() else { return };
        let id = MessageId::from_parts(self.recorder.now().0, random.bytes());
        let content = self.ledger.text(random);
        let command = MessageSend {
            conversation,
            id,
            content,
            reply_to: None,
        };
        let (ledger, recorder) = (self.ledger.clone(), self.recorder.clone());
        tokio::spawn(async move {
            let answer = running.engine.system().execute(command).await;
            let stored = match answer {
                Ok(Outcome::Stored(stored)) => Some(stored),
                _ => None,
            };
            let seq = stored.map(|stored| stored.seq);
            recorder.note(format_args!("host message:send {} {seq:?}", Short(&conversation)));
            ledger.book().given.push(Given {
                seat: "host".into(),
                name: "message:send",
                conversation,
                id: id.into(),
                opens_direct: false,
                stored,
            });
        });
    }
}

/// What is one's own in a conversation: marks, mute, archive.
fn own(view: &ClientView, conversation: ConversationId, random: &mut Random) -> Command {
    let head = view
        .conversations
        .get(&conversation)
        .map_or(Seq(1), |state| state.cursor.seq);
    let seq = Seq(random.below(0..head.0 + 1));
    match random.below(0..17) {
        0..8 => MarkRead { conversation, seq }.into(),
        8..12 => MarkDelivered { conversation, seq }.into(),
        12..15 => InboxMute {
            conversation,
            muted: random.chance(0.5),
        }
        .into(),
        _ => InboxArchive {
            conversation,
            archived: random.chance(0.5),
        }
        .into(),
    }
}
