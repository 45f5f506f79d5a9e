//! What users and the host do, by seed: every durable command with right and wrong actors, ids and versions, again and
//! in batches; marks, mute and archive; display data.

use super::ask::Ask;
use super::world::{Whom, World};
use chat_core::command::*;
use chat_core::conversation::{ConversationKind, Role};
use chat_core::dedup::fingerprint;
use chat_core::id::{CommandId, MessageId, Seq, UserId};
use chat_core::message::{Attachment, Content, Message};
use chat_core::store::{Actor, Append, AppendItem, InboxChange, Secret};
use serde_json::json;
use std::collections::BTreeSet;

const EMOJIS: [&str; 3] = ["+1", "\u{1f44d}", "\u{1f44d}\u{1f3fd}"];

impl World {
    /// The next thing that somebody does.
    pub fn act(&mut self) -> Ask {
        match self.random.below(0..100) {
            0..68 => Ask::Append(self.batch()),
            68..93 => {
                let place = self.some_place();
                let (user, conversation) = (self.somebody(place, Whom::Member), self.places[place].id);
                let (head, back) = (self.places[place].fold.head.seq.0, self.random.below(0..4));
                let seq = Seq((head + u64::from(self.random.chance(0.2))).saturating_sub(back));
                let is_on = self.random.chance(0.8);
                let change = match self.random.below(0..10) {
                    0..3 => InboxChange::Read(seq),
                    3..6 => InboxChange::Delivered(seq),
                    6 | 7 => InboxChange::Muted(is_on),
                    _ => InboxChange::Archived(is_on),
                };
                Ask::Set(user, conversation, change)
            }
            _ => {
                let user = self.pick(&self.users.clone());
                Ask::Display(user, json!({ "name": self.random.below(0..3), "of": "display" }))
            }
        }
    }

    /// Whether time has to pass before: whether an edit was before the end of a membership is told by their times.
    pub fn wants_time_before(&mut self, ask: &Ask) -> bool {
        let Ask::Append(batch) = ask else { return false };
        let ends = batch.items.iter().any(|item| is_ending(&item.command)) && self.edited;
        let edits = batch
            .items
            .iter()
            .any(|item| matches!(item.command, Command::MessageEdit(_)));
        self.edited = edits || (self.edited && !ends);
        ends
    }

    fn batch(&mut self) -> Append {
        let place = self.some_place();
        let length = if self.random.chance(0.5) {
            1
        } else {
            self.random.below(2..7)
        };
        let mut items: Vec<AppendItem> = Vec::new();
        for _ in 0..length {
            let mut item = self.item(place, !items.is_empty());
            // Within one batch all is of one time: an edit and an end in it could not be told apart.
            let edits = |item: &AppendItem| matches!(item.command, Command::MessageEdit(_));
            let has = |test: &dyn Fn(&AppendItem) -> bool| items.iter().any(test);
            let ends = |item: &AppendItem| is_ending(&item.command);
            if (edits(&item) && has(&ends)) || (ends(&item) && has(&edits)) {
                let message = self.message(place);
                item = self.of(item.actor, message);
            }
            self.tried.push(item.clone());
            items.push(item);
        }
        Append {
            conversation: self.places[place].id,
            items,
            limits: self.limits,
        }
    }

    /// A new command, or one of the old ones: again, with other content, by another, under another name, elsewhere.
    fn item(&mut self, place: usize, is_later: bool) -> AppendItem {
        let exists = is_later || self.places[place].fold.head.seq > Seq::ZERO;
        let (mut actor, command) = if exists || self.random.chance(0.05) {
            self.command(place)
        } else {
            (Actor::User(self.users[place % 3].clone()), self.create(place))
        };
        if self.random.chance(0.06) {
            actor = Actor::User(self.pick(&self.users.clone()));
        }
        let item = self.of(actor, command);
        let conversation = self.places[place].id;
        let here = |old: &&AppendItem| old.command.conversation() == Some(conversation);
        let old: Vec<AppendItem> = self.tried.iter().filter(here).cloned().collect();
        if old.is_empty() || !self.random.chance(0.2) {
            return item;
        }
        let old = self.pick(&old);
        match self.random.below(0..10) {
            0..5 => old,
            5 => {
                let mut command = old.command;
                if let Command::MessageSend(send) = &mut command {
                    send.content = self.content();
                }
                self.of(old.actor, command)
            }
            6 => self.of(item.actor, old.command),
            7 | 8 => {
                let command = renamed(&item.command, old.command.id().unwrap());
                self.of(old.actor, command)
            }
            _ => {
                let mut elsewhere = self.pick(&self.tried.clone()).command;
                elsewhere.readdress(conversation);
                self.of(item.actor, elsewhere)
            }
        }
    }

    /// The fingerprint is of a key that both stores are told with it: no store looks into it.
    fn of(&self, actor: Actor, command: Command) -> AppendItem {
        AppendItem {
            actor,
            fingerprint: fingerprint(&Secret([7; 32]), &command),
            command,
        }
    }

    fn command(&mut self, place: usize) -> (Actor, Command) {
        let (conversation, id) = (self.places[place].id, self.id());
        let user = self.somebody(place, Whom::Member);
        let writer = if self.random.chance(0.05) {
            Actor::System
        } else {
            Actor::User(user.clone())
        };
        let is_direct = self.places[place].kind == ConversationKind::Direct;
        let command = match self.random.below(0..if is_direct { 66 } else { 100 }) {
            0..30 => self.message(place),
            30..42 => MessageEdit {
                conversation,
                id,
                message: self.message_of(place, &user),
                version: self.random.chance(0.3).then(|| self.random.below(1..4)),
                content: self.content(),
            }
            .into(),
            42..47 => {
                let message = self.message_of(place, &user);
                MessageDelete {
                    conversation,
                    id,
                    message,
                }
                .into()
            }
            47..58 => {
                let (message, emoji, _) = self.some_message(place);
                ReactionAdd {
                    conversation,
                    id,
                    message,
                    emoji,
                }
                .into()
            }
            58..64 => {
                let (message, emoji, user) = self.some_message(place);
                let takes_away = user.map_or(writer, Actor::User);
                return (
                    takes_away,
                    ReactionRemove {
                        conversation,
                        id,
                        message,
                        emoji,
                    }
                    .into(),
                );
            }
            64 | 65 if self.random.chance(0.7) => {
                return (Actor::System, ConversationDelete { conversation, id }.into());
            }
            64 | 65 => self.create(place),
            66..75 if self.places[place].public || self.random.chance(0.1) => {
                let joins = Actor::User(self.somebody(place, Whom::Outsider));
                return (joins, ConversationJoin { conversation, id }.into());
            }
            66..72 => return (Actor::System, self.government(place, 78)),
            72..76 => return (writer, ConversationLeave { conversation, id }.into()),
            above => {
                let governs = self.somebody(place, Whom::Above);
                let governs = if self.random.chance(0.4) {
                    Actor::System
                } else {
                    Actor::User(governs)
                };
                return (governs, self.government(place, above));
            }
        };
        (writer, command)
    }

    /// What not every member may do.
    fn government(&mut self, place: usize, which: u64) -> Command {
        let (conversation, id) = (self.places[place].id, self.id());
        let user = self.somebody(place, Whom::Member);
        match which {
            76..86 => {
                let user = self.somebody(place, Whom::Outsider);
                MemberAdd { conversation, id, user }.into()
            }
            86..91 => MemberRemove { conversation, id, user }.into(),
            91..95 => {
                let unknown = Role::Unknown("x".to_owned());
                let role = self.pick(&[
                    Role::Owner,
                    Role::Owner,
                    Role::Admin,
                    Role::Admin,
                    Role::Member,
                    unknown,
                ]);
                MemberRole {
                    conversation,
                    id,
                    user,
                    role,
                }
                .into()
            }
            95..99 => {
                let meta = json!({ "k": self.count }).as_object().cloned();
                ConversationUpdate {
                    conversation,
                    id,
                    title: self.random.chance(0.6).then(|| format!("title {}", self.count)),
                    meta: meta.filter(|_| self.random.chance(0.6)),
                }
                .into()
            }
            _ => ConversationDelete { conversation, id }.into(),
        }
    }

    fn create(&mut self, place: usize) -> Command {
        let id = self.id();
        let is_direct = self.places[place].kind == ConversationKind::Direct;
        let count = match self.random.below(0..10) {
            0 => 0,
            1 => 2,
            _ if is_direct => 1,
            _ => self.random.below(1..5),
        };
        // Few pairs, so that they meet.
        let among = self.users[..if is_direct { 3 } else { self.users.len() }].to_vec();
        let members: BTreeSet<UserId> = (0..count).map(|_| self.pick(&among)).collect();
        let odd = self.random.below(0..25);
        let place = &self.places[place];
        ConversationCreate {
            conversation: place.id,
            id,
            kind: if odd == 0 {
                ConversationKind::Unknown("x".to_owned())
            } else {
                place.kind.clone()
            },
            title: (odd == 1 || (!is_direct && odd.is_multiple_of(2))).then(|| format!("title {odd}")),
            public: place.public || odd == 3,
            history: place.history.clone(),
            members: members.into_iter().collect(),
            meta: (odd > 20).then(|| json!({ "odd": odd }).as_object().cloned().unwrap_or_default()),
        }
        .into()
    }

    fn message(&mut self, place: usize) -> Command {
        let reply_to = self.random.chance(0.15).then(|| self.some_message(place).0);
        let id = MessageId::from(self.id());
        self.places[place].messages.push(id);
        MessageSend {
            conversation: self.places[place].id,
            id,
            content: self.content(),
            reply_to,
        }
        .into()
    }

    /// A text that names itself, so that it is found wherever it should not be; sometimes long, sometimes with more.
    fn content(&mut self) -> Content {
        self.count += 1;
        let filler = match self.random.below(0..20) {
            0 => 3_000,
            1..4 => 200 + self.index(500),
            _ => 0,
        };
        let file = Attachment {
            id: format!("file-{}", self.count),
            name: "cat.png".to_owned(),
            media_type: "image/png".to_owned(),
            size: self.count,
        };
        Content {
            attachments: if self.random.chance(0.1) {
                vec![file]
            } else {
                Vec::new()
            },
            meta: self
                .random
                .chance(0.1)
                .then(|| json!({ "m": [self.count] }).as_object().cloned().unwrap_or_default()),
            ..Content::text(format!("text<{}>{}", self.count, "x".repeat(filler)))
        }
    }

    fn id(&mut self) -> CommandId {
        self.count += 1;
        CommandId::from_parts(self.count, self.random.bytes())
    }

    /// One of the user's own messages, most of the time.
    fn message_of(&mut self, place: usize, user: &UserId) -> MessageId {
        let messages = self.places[place].fold.messages.values();
        let own: Vec<MessageId> = messages
            .filter(|m| m.sender.as_ref() == Some(user))
            .map(|m| m.id)
            .collect();
        if own.is_empty() || self.random.chance(0.3) {
            return self.some_message(place).0;
        }
        self.pick(&own)
    }

    /// A late message with a reaction of somebody, if it has one; or what was only tried, or is somewhere else, or
    /// nowhere.
    pub fn some_message(&mut self, place: usize) -> (MessageId, String, Option<UserId>) {
        let emoji = self.pick(&EMOJIS).to_owned();
        let from = if self.random.chance(0.05) {
            self.any_place()
        } else {
            place
        };
        let late: Vec<Message> = self.places[from]
            .fold
            .messages
            .values()
            .rev()
            .take(6)
            .cloned()
            .collect();
        let tried: Vec<MessageId> = self.places[from].messages.iter().rev().take(6).copied().collect();
        if late.is_empty() || self.random.chance(0.15) {
            let nowhere = MessageId::from_parts(1, self.random.bytes());
            return (if tried.is_empty() { nowhere } else { self.pick(&tried) }, emoji, None);
        }
        let with_reactions: Vec<Message> = late.iter().filter(|m| !m.reactions.is_empty()).cloned().collect();
        if with_reactions.is_empty() || self.random.chance(0.4) {
            return (self.pick(&late).id, emoji, None);
        }
        let message = self.pick(&with_reactions);
        let reaction = self.pick(&message.reactions);
        (message.id, reaction.emoji, Some(self.pick(&reaction.users)))
    }
}

/// The command under another id.
fn renamed(command: &Command, id: CommandId) -> Command {
    let mut data = serde_json::to_value(command).unwrap();
    data["id"] = json!(id);
    Command::from_parts(command.name(), &data).unwrap()
}

/// Whether a membership may end by it.
fn is_ending(command: &Command) -> bool {
    matches!(
        command,
        Command::MemberRemove(_) | Command::ConversationLeave(_) | Command::ConversationDelete(_)
    )
}
