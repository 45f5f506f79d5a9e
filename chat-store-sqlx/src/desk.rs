//! Where a group of batches is judged: what the judge needs is loaded once, and what it says is done in memory first,
//! so that each item sees those before it and each row is written once.

use crate::database::{Answer, Database};
use crate::known::Known;
use crate::rows::{Members, Membership, Place};
use crate::statements::{self, Asked, Basis, ReactionKey};
use crate::writes::{MemberChange, Writes};
use chat_core::conversation::{
    Change, Conversation, Current, Facts, LogKind, LogRow, Role, Touches, Verdict, Write, judge, render, touches,
};
use chat_core::event::EventKind;
use chat_core::id::{CommandId, ConversationId, Epoch, MessageId, Position, Revision, Seq, Timestamp, UserId};
use chat_core::message::{Message, Reaction};
use chat_core::store::{Append, AppendItem, Appended, ItemOutcome, Prior, StoreError};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap, HashSet};

/// How many of those who chose a reaction ride along with the message.
const REACTION_USERS_MAX: usize = 5;

/// What a group of batches comes to.
pub(crate) struct Judged {
    /// One for each batch; true once the writes are committed.
    pub answers: Vec<Appended>,
    pub writes: Writes,
    /// Those members that the judge had to know of.
    pub members: HashMap<ConversationId, Members>,
}

/// Judges all items of all batches, in their order.
pub(crate) async fn judge_all(database: &mut impl Database, batches: &[&Append]) -> Answer<Judged> {
    let desk = Desk::load(database, batches).await?;
    desk.judge_all(database, batches).await
}

/// Judges messages, without a look where enough is known; where only the database knows the time, they have none yet.
///
/// What was judged by what is known holds if the heads are still those that were known, and no id is there already. A
/// conversation of which something would be refused by what is known is not among the writes: it has to be looked at.
pub(crate) async fn judge_messages(
    database: &mut impl Database,
    batches: &[&Append],
    known: &mut Known,
) -> Answer<Judged> {
    let (places, members) = known.take(batches);
    let is_unknown = |batch: &&&Append| !places.contains_key(&batch.conversation);
    let unknown: Vec<_> = batches.iter().filter(is_unknown).copied().collect();
    let mut desk = match known.epoch() {
        Some(epoch) if unknown.is_empty() => Desk::of(Basis {
            epoch,
            at: UNDATED,
            places: HashMap::new(),
            priors: HashMap::new(),
            members: HashMap::new(),
        }),
        _ => Desk::load(database, &unknown).await?,
    };
    known.add_members(&desk.places, &mut desk.members);
    desk.places.extend(places);
    desk.members.extend(members);
    desk.at = database.at().unwrap_or(UNDATED);
    let mut judged = desk.judge_all(database, batches).await?;
    // What is stored answers again, whatever would be said of it now; and nobody has looked for the id of a refused one.
    let is_refused = |(batch, answer): &(&&Append, &Appended)| {
        known.is_guessed(batch.conversation) && answer.outcomes.iter().any(Result::is_err)
    };
    let refused = batches.iter().zip(&judged.answers).filter(is_refused);
    let refused: HashSet<_> = refused.map(|(batch, _)| batch.conversation).collect();
    judged.writes.leave_out(&refused);
    Ok(judged)
}

/// The time of what has none yet.
const UNDATED: Timestamp = Timestamp(0);

impl Judged {
    /// Says when, and in which log, those without a time were written.
    pub fn date(&mut self, epoch: Epoch, at: Timestamp) {
        let date = |time: &mut Timestamp| {
            if *time == UNDATED {
                *time = at;
            }
        };
        for answer in &mut self.answers {
            answer.epoch = epoch;
            for outcome in answer.outcomes.iter_mut().flatten() {
                match outcome {
                    ItemOutcome::First(event) => {
                        date(&mut event.at);
                        if let EventKind::MessageNew(new) = &mut event.kind {
                            date(&mut new.message.at);
                        }
                    }
                    ItemOutcome::Duplicate(stored) => date(&mut stored.at),
                }
            }
        }
    }
}

/// Rows as they were loaded, and as the items so far have made them.
struct Desk {
    epoch: Epoch,
    at: Timestamp,
    places: HashMap<ConversationId, Place>,
    priors: HashMap<(ConversationId, CommandId), Prior>,
    members: HashMap<ConversationId, Members>,
    messages: HashMap<(ConversationId, MessageId), Message>,
    chosen: HashSet<(ReactionKey, UserId)>,
    /// The first of those who chose a reaction that an item takes back, more than can be taken back by the group.
    first_users: HashMap<ReactionKey, Vec<UserId>>,
    directs: HashMap<(UserId, UserId), Prior>,
    inboxes: HashMap<UserId, u64>,
    /// The members of conversations that an item ends.
    all_members: HashMap<ConversationId, BTreeSet<UserId>>,
    changed_messages: HashSet<(ConversationId, MessageId)>,
    writes: Writes,
}

impl Desk {
    async fn load(database: &mut impl Database, batches: &[&Append]) -> Answer<Self> {
        let mut asked = Vec::new();
        let mut also = Also::default();
        for (batch, item) in items(batches) {
            let (conversation, touches) = (batch.conversation, touches(item));
            asked.push(Asked {
                conversation,
                id: item.command.id(),
                user_id: item.actor.user(),
            });
            also.take(conversation, item, touches);
        }
        let named = also.users.iter().map(|(conversation, user)| Asked {
            conversation: *conversation,
            id: None,
            user_id: Some(user),
        });
        asked.extend(named);

        let mut desk = Self::of(statements::basis(database, &asked).await?);
        desk.load_also(database, also).await?;
        Ok(desk)
    }

    fn of(basis: Basis) -> Self {
        Self {
            epoch: basis.epoch,
            at: basis.at,
            places: basis.places,
            priors: basis.priors,
            members: basis.members,
            messages: HashMap::new(),
            chosen: HashSet::new(),
            first_users: HashMap::new(),
            directs: HashMap::new(),
            inboxes: HashMap::new(),
            all_members: HashMap::new(),
            changed_messages: HashSet::new(),
            writes: Writes::default(),
        }
    }

    /// What only some commands need.
    async fn load_also(&mut self, database: &mut impl Database, also: Also) -> Answer<()> {
        if !also.messages.is_empty() {
            let found = statements::messages_by_id(database, &also.messages).await?;
            let by_id = |(conversation, message): (_, Message)| ((conversation, message.id), message);
            self.messages = found.into_iter().map(by_id).collect();
        }
        let key = |(conversation, message, emoji): &(ConversationId, MessageId, String)| {
            let message = self.messages.get(&(*conversation, *message))?.seq;
            Some(ReactionKey {
                conversation: *conversation,
                message,
                emoji: emoji.clone(),
            })
        };
        let chosen = also.reactions.iter();
        let chosen: Vec<_> = chosen
            .filter_map(|(reaction, user)| Some((key(reaction)?, user.clone())))
            .collect();
        if !chosen.is_empty() {
            self.chosen = statements::chosen(database, &chosen).await?.into_iter().collect();
        }
        let taken_back: HashSet<_> = also.taken_back.iter().filter_map(key).collect();
        for reaction in taken_back {
            let users =
                statements::first_users(database, &reaction, REACTION_USERS_MAX + also.taken_back.len()).await?;
            self.first_users.insert(reaction, users);
        }
        for pair in also.pairs {
            if let Some(first) = statements::direct(database, &pair).await? {
                self.directs.insert(pair, first);
            }
        }
        if !also.joining.is_empty() {
            self.inboxes = statements::inboxes(database, &also.joining).await?;
        }
        for conversation in also.ended {
            let members = statements::current_members(database, conversation).await?;
            self.all_members.insert(conversation, members.into_iter().collect());
        }
        Ok(())
    }

    async fn judge_all(mut self, database: &mut impl Database, batches: &[&Append]) -> Answer<Judged> {
        let mut verdicts = Vec::with_capacity(batches.len());
        for batch in batches {
            let judged: Vec<_> = batch.items.iter().map(|item| self.judge(batch, item)).collect();
            let place = self.places.get(&batch.conversation);
            verdicts.push((judged, place.map_or(Position::START, |place| place.head)));
        }
        let displays = displays(database, &verdicts).await?;

        let mut answers = Vec::with_capacity(batches.len());
        for (batch, (verdicts, head)) in batches.iter().zip(verdicts) {
            let place = self.places.get(&batch.conversation);
            let now = place.map(|place| Now {
                desk: &self,
                place,
                displays: &displays,
            });
            let outcome = |verdict| {
                Ok(match (verdict, &now) {
                    (Verdict::Refused(refusal), _) => Err(refusal),
                    (Verdict::Duplicate(stored), _) => Ok(ItemOutcome::Duplicate(stored)),
                    (Verdict::Write(change), Some(now)) => Ok(ItemOutcome::First(render(&change.row, now)?)),
                    (Verdict::Write(_), None) => {
                        return Err(StoreError::Corrupt("a row without a conversation".to_owned()));
                    }
                })
            };
            answers.push(Appended {
                epoch: self.epoch,
                outcomes: verdicts.into_iter().map(outcome).collect::<Answer<_>>()?,
                head,
            });
        }
        let (writes, members) = self.into_writes();
        Ok(Judged {
            answers,
            writes,
            members,
        })
    }

    fn judge(&mut self, batch: &Append, item: &AppendItem) -> Verdict {
        let verdict = judge(&self.facts(batch.conversation, item), item, &batch.limits);
        if let Verdict::Write(change) = &verdict {
            self.apply(batch.conversation, change);
        }
        verdict
    }

    fn facts(&self, conversation: ConversationId, item: &AppendItem) -> Facts {
        let touches = touches(item);
        let place = self.places.get(&conversation);
        let member = |user: &UserId| self.member(conversation, user);
        let message = |id: MessageId| self.messages.get(&(conversation, id));
        let actor = item.actor.user();
        let touched = touches.message.and_then(message);
        let reacted = match (touched, touches.emoji, actor) {
            (Some(message), Some(emoji), Some(user)) => {
                let reaction = reaction(conversation, message.seq, emoji);
                self.chosen.contains(&(reaction, user.clone()))
            }
            _ => false,
        };
        let inbox = |user: UserId| {
            let count = self.inboxes.get(&user).copied().unwrap_or(0);
            (user, count)
        };
        Facts {
            at: self.at,
            prior: item
                .command
                .id()
                .and_then(|id| self.priors.get(&(conversation, id)).cloned()),
            conversation: place.map(Place::facts),
            actor: actor.and_then(|user| Some(member(user)?.facts(place?))),
            user: touches.user.and_then(|user| Some(member(user)?.role.clone())),
            message: touched.cloned(),
            reply_to: touches.reply_to.and_then(message).map(|message| message.seq),
            reacted,
            direct: touches.pair.and_then(|pair| Some(self.directs.get(&pair)?.stored)),
            inboxes: touches.joining.into_iter().map(inbox).collect(),
        }
    }

    /// The membership that lasts.
    fn member(&self, conversation: ConversationId, user: &UserId) -> Option<&Membership> {
        let member = self.members.get(&conversation)?.get(user);
        member.filter(|member| member.ended.is_none())
    }

    fn apply(&mut self, conversation: ConversationId, change: &Change) {
        let row = &change.row;
        let before = self.places.get(&conversation).map(|place| place.head);
        for write in &change.writes {
            self.apply_write(conversation, row, write);
        }
        let prior = row.prior(conversation);
        self.priors.insert((conversation, row.id), prior);
        let named = row.kind.message().and_then(|id| self.messages.get(&(conversation, id)));
        let log = (conversation, row.clone(), named.map(|message| message.seq));
        self.writes.log.push(log);
        if let Some(place) = self.places.get_mut(&conversation) {
            place.head = row.position();
            let written = self.writes.places.entry(conversation);
            written.or_insert_with(|| (place.clone(), before)); // filled in at the end
        }
    }

    fn apply_write(&mut self, conversation: ConversationId, row: &LogRow, write: &Write) {
        let (seq, at) = (row.seq, row.at);
        match write {
            Write::CreateConversation {
                conversation: created,
                pair,
            } => {
                if let Some(pair) = pair {
                    self.directs.insert(pair.clone(), row.prior(conversation));
                }
                let place = Place {
                    conversation: Conversation {
                        member_count: 0, // counted up by the memberships that follow
                        ..created.clone()
                    },
                    deleted: false,
                    owner: None,
                    pair: pair.clone(),
                    head: Position::START,
                };
                self.places.insert(conversation, place);
                self.all_members.insert(conversation, BTreeSet::new());
            }
            Write::UpdateConversation { title, meta } => self.change_place(conversation, |place| {
                if title.is_some() {
                    place.conversation.title.clone_from(title);
                }
                if meta.is_some() {
                    place.conversation.meta.clone_from(meta);
                }
            }),
            Write::DeleteConversation => {
                let pair = self.places.get(&conversation).and_then(|place| place.pair.clone());
                if let Some(pair) = pair {
                    self.directs.remove(&pair);
                }
                self.change_place(conversation, |place| {
                    place.deleted = true;
                    place.pair = None;
                });
            }
            Write::OpenMembership { user, role } => self.open(conversation, seq, user, role),
            Write::CloseMembership { user } => self.close(conversation, seq, user),
            Write::CloseEveryMembership => {
                let users = self.all_members.get(&conversation).cloned().unwrap_or_default();
                for user in users {
                    self.close(conversation, seq, &user);
                }
            }
            Write::SetRole { user, role } => self.set_role(conversation, user, role),
            Write::InsertMessage(message) => {
                self.messages.insert((conversation, message.id), message.clone());
            }
            Write::MoveReadMark { user } => self.change_member(conversation, user).mark = Some(seq),
            Write::EditMessage {
                message,
                content,
                version,
            } => self.change_message(conversation, *message, seq, |message| {
                message.content = Some(content.clone());
                message.version = *version;
                message.edited_at = Some(at);
            }),
            Write::EraseMessage { message, version } => {
                let erased = self.messages.get(&(conversation, *message)).map(|message| message.seq);
                self.change_message(conversation, *message, seq, |message| {
                    message.content = None;
                    message.version = *version;
                    message.deleted_at = Some(at);
                    message.reactions.clear();
                });
                if let Some(erased) = erased {
                    self.writes.reactions_cleared.push((conversation, erased));
                    let is_other = |key: &ReactionKey| (key.conversation, key.message) != (conversation, erased);
                    self.writes.reactions.retain(|(key, _), _| is_other(key));
                    self.chosen.retain(|(key, _)| is_other(key));
                }
            }
            Write::AddReaction { message, user, emoji } => self.add_reaction(conversation, *message, seq, user, emoji),
            Write::RemoveReaction { message, user, emoji } => {
                self.remove_reaction(conversation, *message, seq, user, emoji);
            }
        }
    }

    fn change_place(&mut self, conversation: ConversationId, change: impl FnOnce(&mut Place)) {
        if let Some(place) = self.places.get_mut(&conversation) {
            change(place);
            if !self.writes.places_changed.contains(&conversation) {
                self.writes.places_changed.push(conversation);
            }
        }
    }

    fn change_message(
        &mut self,
        conversation: ConversationId,
        id: MessageId,
        seq: Seq,
        change: impl FnOnce(&mut Message),
    ) {
        if let Some(message) = self.messages.get_mut(&(conversation, id)) {
            change(message);
            message.changed = seq;
            self.changed_messages.insert((conversation, id));
        }
    }

    fn change_member(&mut self, conversation: ConversationId, user: &UserId) -> &mut MemberChange {
        self.writes.members.entry((conversation, user.clone())).or_default()
    }

    fn raise(&mut self, user: &UserId) {
        *self.writes.raised.entry(user.clone()).or_default() += 1;
    }

    fn open(&mut self, conversation: ConversationId, seq: Seq, user: &UserId, role: &Role) {
        self.raise(user);
        *self.inboxes.entry(user.clone()).or_default() += 1;
        let membership = Membership {
            user: user.clone(),
            role: role.clone(),
            joined: seq,
            ended: None,
            read: seq,
            delivered: seq,
            muted: false,
            archived: false,
            revision: Revision::ZERO, // known once it is raised
        };
        self.members
            .entry(conversation)
            .or_default()
            .insert(user.clone(), membership);
        *self.change_member(conversation, user) = MemberChange {
            open: Some((role.clone(), seq)),
            ..MemberChange::default()
        };
        if let Some(members) = self.all_members.get_mut(&conversation) {
            members.insert(user.clone());
        }
        self.change_place(conversation, |place| {
            place.conversation.member_count += 1;
            own(place, user, role);
        });
    }

    fn close(&mut self, conversation: ConversationId, seq: Seq, user: &UserId) {
        self.raise(user);
        if let Some(count) = self.inboxes.get_mut(user) {
            *count = count.saturating_sub(1);
        }
        if let Some(member) = self
            .members
            .get_mut(&conversation)
            .and_then(|members| members.get_mut(user))
        {
            member.ended = Some(seq);
        }
        self.change_member(conversation, user).close = Some(seq);
        if let Some(members) = self.all_members.get_mut(&conversation) {
            members.remove(user);
        }
        self.change_place(conversation, |place| {
            if place.owner.as_ref() == Some(user) {
                place.owner = None;
            }
            place.conversation.member_count = place.conversation.member_count.saturating_sub(1);
        });
    }

    fn set_role(&mut self, conversation: ConversationId, user: &UserId, role: &Role) {
        if let Some(member) = self
            .members
            .get_mut(&conversation)
            .and_then(|members| members.get_mut(user))
        {
            member.role = role.clone();
        }
        self.change_member(conversation, user).role = Some(role.clone());
        self.change_place(conversation, |place| own(place, user, role));
    }

    fn add_reaction(&mut self, conversation: ConversationId, id: MessageId, seq: Seq, user: &UserId, emoji: &str) {
        let mut is_new = false;
        self.change_message(conversation, id, seq, |message| {
            let known = message.reactions.iter_mut().find(|reaction| reaction.emoji == emoji);
            match known {
                Some(reaction) => {
                    if reaction.users.len() < REACTION_USERS_MAX {
                        reaction.users.push(user.clone());
                    }
                    reaction.count += 1;
                }
                None => {
                    is_new = true;
                    message.reactions.push(Reaction {
                        emoji: emoji.to_owned(),
                        count: 1,
                        users: vec![user.clone()],
                    });
                }
            }
        });
        let Some(message) = self.messages.get(&(conversation, id)) else {
            return;
        };
        let key = reaction(conversation, message.seq, emoji);
        if is_new {
            self.first_users.insert(key.clone(), vec![user.clone()]);
        } else if let Some(first) = self.first_users.get_mut(&key) {
            first.push(user.clone());
        }
        self.chosen.insert((key.clone(), user.clone()));
        self.writes.reactions.insert((key, user.clone()), Some(seq));
    }

    fn remove_reaction(&mut self, conversation: ConversationId, id: MessageId, seq: Seq, user: &UserId, emoji: &str) {
        let Some(message) = self.messages.get(&(conversation, id)) else {
            return;
        };
        let key = reaction(conversation, message.seq, emoji);
        let first = self.first_users.entry(key.clone()).or_default();
        first.retain(|other| other != user);
        let users: Vec<_> = first.iter().take(REACTION_USERS_MAX).cloned().collect();
        self.change_message(conversation, id, seq, |message| {
            for reaction in message.reactions.iter_mut().filter(|reaction| reaction.emoji == emoji) {
                reaction.count = reaction.count.saturating_sub(1);
                reaction.users.clone_from(&users);
            }
            message.reactions.retain(|reaction| reaction.count > 0);
        });
        self.chosen.remove(&(key.clone(), user.clone()));
        self.writes.reactions.insert((key, user.clone()), None);
    }

    fn into_writes(mut self) -> (Writes, HashMap<ConversationId, Members>) {
        for (id, (written, _)) in &mut self.writes.places {
            if let Some(place) = self.places.remove(id) {
                *written = place;
            }
        }
        let places = &self.writes.places;
        let exists = |id: &ConversationId| places.get(id).is_some_and(|(_, before)| before.is_some());
        self.writes.places_changed.retain(exists);
        for (conversation, row, _) in &self.writes.log {
            if let LogKind::MessageNew { message } = row.kind
                && let Some(message) = self.messages.remove(&(*conversation, message))
            {
                self.writes.new_messages.push((*conversation, message));
            }
        }
        for key in self.changed_messages {
            if let Some(message) = self.messages.remove(&key) {
                self.writes.changed_messages.push((key.0, message));
            }
        }
        (self.writes, self.members)
    }
}

/// The owner of a conversation is the member with that role.
fn own(place: &mut Place, user: &UserId, role: &Role) {
    if *role == Role::Owner {
        place.owner = Some(user.clone());
    } else if place.owner.as_ref() == Some(user) {
        place.owner = None;
    }
}

fn reaction(conversation: ConversationId, message: Seq, emoji: &str) -> ReactionKey {
    ReactionKey {
        conversation,
        message,
        emoji: emoji.to_owned(),
    }
}

pub(crate) fn items<'a>(batches: &'a [&'a Append]) -> impl Iterator<Item = (&'a Append, &'a AppendItem)> {
    let items = |batch: &&'a Append| {
        let batch: &'a Append = batch;
        batch.items.iter().map(move |item| (batch, item))
    };
    batches.iter().flat_map(items)
}

/// What the items of a group touch beside their own id and actor.
#[derive(Default)]
struct Also {
    users: Vec<(ConversationId, UserId)>,
    messages: Vec<(ConversationId, MessageId)>,
    reactions: Vec<((ConversationId, MessageId, String), UserId)>,
    taken_back: Vec<(ConversationId, MessageId, String)>,
    pairs: BTreeSet<(UserId, UserId)>,
    joining: Vec<UserId>,
    ended: BTreeSet<ConversationId>,
}

impl Also {
    fn take(&mut self, conversation: ConversationId, item: &AppendItem, touches: Touches<'_>) {
        use chat_core::command::Command;
        self.users.extend(touches.user.map(|user| (conversation, user.clone())));
        let messages = touches.message.into_iter().chain(touches.reply_to);
        self.messages.extend(messages.map(|message| (conversation, message)));
        if let (Some(message), Some(emoji), Some(user)) = (touches.message, touches.emoji, item.actor.user()) {
            let reaction = (conversation, message, emoji.to_owned());
            if matches!(item.command, Command::ReactionRemove(_)) {
                self.taken_back.push(reaction.clone());
            }
            self.reactions.push((reaction, user.clone()));
        }
        self.pairs.extend(touches.pair);
        self.joining.extend(touches.joining);
        if matches!(item.command, Command::ConversationDelete(_)) {
            self.ended.insert(conversation);
        }
    }
}

/// What is shown of the users whom new rows name.
async fn displays(
    database: &mut impl Database,
    verdicts: &[(Vec<Verdict>, Position)],
) -> Answer<HashMap<UserId, Value>> {
    let mut users = Vec::new();
    for verdict in verdicts.iter().flat_map(|(verdicts, _)| verdicts) {
        if let Verdict::Write(change) = verdict {
            users.extend(named(&change.row.kind).cloned());
        }
    }
    if users.is_empty() {
        return Ok(HashMap::new());
    }
    statements::displays(database, &users).await
}

/// The users whose display data a row is rendered with.
pub(crate) fn named(kind: &LogKind) -> impl Iterator<Item = &UserId> {
    let (members, joined) = match kind {
        LogKind::ConversationCreated { members } => (members.as_slice(), None),
        LogKind::MemberJoined { user, .. } => (&[] as &[_], Some(user)),
        _ => (&[] as &[_], None),
    };
    members.iter().map(|member| &member.user).chain(joined)
}

/// Rows are rendered with what the whole group has made of everything.
struct Now<'a> {
    desk: &'a Desk,
    place: &'a Place,
    displays: &'a HashMap<UserId, Value>,
}

impl Current for Now<'_> {
    fn conversation(&self) -> Conversation {
        self.place.conversation.clone()
    }

    fn message(&self, id: MessageId) -> Option<Message> {
        self.desk.messages.get(&(self.place.conversation.id, id)).cloned()
    }

    fn display(&self, user: &UserId) -> Option<Value> {
        self.displays.get(user).cloned()
    }
}
