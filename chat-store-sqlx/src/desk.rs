//! Where a group of batches is judged: what the judge needs is loaded once (`load.rs`), and what it says is done in memory
//! first (`apply.rs`), so that each item sees those before it and each row is written once.

mod apply;
mod load;

use crate::database::{Answer, Database};
use crate::known::Known;
use crate::rows::{Members, Membership, Place};
use crate::statements::{self, Basis, ReactionKey};
use crate::writes::Writes;
use chat_core::conversation::{Conversation, Current, Facts, LogKind, Verdict, judge, render, touches};
use chat_core::event::EventKind;
use chat_core::id::{CommandId, ConversationId, Epoch, MessageId, Position, Seq, Timestamp, UserId};
use chat_core::message::Message;
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
}

fn reaction(conversation: ConversationId, message: Seq, emoji: &str) -> ReactionKey {
    ReactionKey {
        conversation,
        message,
        emoji: emoji.to_owned(),
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
