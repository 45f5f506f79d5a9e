//! What a group of batches writes, and the statements that write it.

use crate::database::Argument::Flag;
use crate::database::{Answer, Database};
use crate::rows::{self, Place, meta, number, reactions, tag_bits, to_json};
use crate::statements::{ReactionKey, list};
use chat_core::conversation::{LogRow, Role};
use chat_core::id::{CommandId, ConversationId, Epoch, MessageId, Position, Revision, Seq, Timestamp, UserId};
use chat_core::message::Message;
use chat_core::store::StoreError;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use uuid::Uuid;

/// Everything that a group of batches writes, each row once.
#[derive(Default)]
pub(crate) struct Writes {
    /// With the head before; without one it comes into being.
    pub places: BTreeMap<ConversationId, (Place, Option<Position>)>,
    /// Those that were there, of which more than the head changes.
    pub places_changed: Vec<ConversationId>,
    /// With the seq of the message that it names.
    pub log: Vec<(ConversationId, LogRow, Option<Seq>)>,
    pub new_messages: Vec<(ConversationId, Message)>,
    pub changed_messages: Vec<(ConversationId, Message)>,
    pub members: BTreeMap<(ConversationId, UserId), MemberChange>,
    /// How often each user's revision rises.
    pub raised: BTreeMap<UserId, u64>,
    /// Messages whose reactions go, all of them, before any come.
    pub reactions_cleared: Vec<(ConversationId, Seq)>,
    /// At which seq a user chose a reaction; `None`: they took it back.
    pub reactions: HashMap<(ReactionKey, UserId), Option<Seq>>,
}

/// What changes in one membership; done in the order of the fields.
#[derive(Debug, Default)]
pub(crate) struct MemberChange {
    /// It begins, at this seq.
    pub open: Option<(Role, Seq)>,
    pub role: Option<Role>,
    /// Both marks grow to here.
    pub mark: Option<Seq>,
    pub close: Option<Seq>,
}

/// What was written, when, and in which log.
#[derive(Default)]
pub(crate) struct Written {
    pub conversations: HashSet<ConversationId>,
    /// Absent when nothing was.
    pub said: Option<(Epoch, Timestamp)>,
}

impl Writes {
    pub fn is_empty(&self) -> bool {
        self.log.is_empty()
    }

    /// Whether nothing is written but messages into conversations that are there.
    pub fn only_messages(&self) -> bool {
        self.log.len() == self.new_messages.len()
            && self.places_changed.is_empty()
            && self.changed_messages.is_empty()
            && self.raised.is_empty()
            && self.reactions_cleared.is_empty()
            && self.reactions.is_empty()
            && self.places.values().all(|(_, before)| before.is_some())
            && self.members.values().all(MemberChange::is_mark)
    }

    /// Writes nothing into these conversations. Only for [`only_messages`](Writes::only_messages).
    pub fn leave_out(&mut self, conversations: &HashSet<ConversationId>) {
        if conversations.is_empty() {
            return;
        }
        self.places.retain(|id, _| !conversations.contains(id));
        self.log.retain(|(id, ..)| !conversations.contains(id));
        self.new_messages.retain(|(id, _)| !conversations.contains(id));
        self.members.retain(|(id, _), _| !conversations.contains(id));
    }

    /// The lines of the log and their messages, if there is nothing else.
    pub fn messages(&self) -> impl Iterator<Item = (ConversationId, &LogRow, &Message)> {
        let lines = self.log.iter().zip(&self.new_messages);
        lines.map(|((conversation, row, _), (_, message))| (*conversation, row, message))
    }

    /// Writes everything, within the transaction in which it was judged.
    pub async fn write(&self, database: &mut impl Database) -> Answer<()> {
        database.begin_change().await?;
        if !self.only_messages() {
            self.write_places(database).await?;
        }
        self.write_messages(database).await?;
        self.write_changes(database).await
    }

    /// Writes the rows that every message makes: heads, log, messages and their senders' marks.
    async fn write_messages(&self, database: &mut impl Database) -> Answer<()> {
        let heads = self.places.iter().filter_map(|(id, (place, before))| {
            Some(Head {
                id: *id,
                before: before.as_ref()?.seq,
                tag_before: tag_bits(before.as_ref()?.tag),
                seq: place.head.seq,
                tag: tag_bits(place.head.tag),
            })
        });
        let heads: Vec<_> = heads.collect();
        if !heads.is_empty() {
            let statement = "UPDATE chat_conversations SET head_seq = j.seq, head_tag = j.tag, changed = CHANGE() \
                             FROM LIST(id uuid, before bigint, tag_before bigint, seq bigint, tag bigint) j \
                             WHERE chat_conversations.id = j.id AND chat_conversations.head_seq = j.before \
                             AND chat_conversations.head_tag = j.tag_before";
            let expected = heads.len() as u64;
            if database.execute(statement, &[list(heads)?]).await? != expected {
                // One that was made between the look and the lock.
                return Err(stale());
            }
        }

        let statement = "INSERT INTO chat_log (conversation, seq, tag, id, actor, at, fingerprint, kind, detail, \
                         message_seq) SELECT conversation, seq, tag, id, actor, at, fingerprint, kind, detail, \
                         message_seq FROM LIST(conversation uuid, seq bigint, tag bigint, id uuid, actor text, \
                         at bigint, fingerprint uuid, kind text, detail text, message_seq bigint) j";
        let log = self.log.iter().map(LogLine::of);
        write_all(database, statement, log).await?;

        let statement = "INSERT INTO chat_messages (conversation, seq, id, sender, at, version, changed, edited_at, \
                         deleted_at, reply_to, content, reactions) SELECT conversation, seq, id, sender, at, version, \
                         changed, edited_at, deleted_at, reply_to, content, reactions FROM LIST(conversation uuid, \
                         seq bigint, id uuid, sender text, at bigint, version bigint, changed bigint, \
                         edited_at bigint, deleted_at bigint, reply_to uuid, content text, reactions text) j";
        write_all(database, statement, self.new_messages.iter().map(MessageLine::of)).await?;

        let statement = "UPDATE chat_members SET \
                         read = CASE WHEN read < j.seq THEN j.seq ELSE read END, \
                         delivered = CASE WHEN delivered < j.seq THEN j.seq ELSE delivered END \
                         FROM LIST(conversation uuid, user_id text, seq bigint) j \
                         WHERE chat_members.conversation = j.conversation AND chat_members.user_id = j.user_id";
        let marks = self.members.iter().filter_map(|((conversation, user_id), change)| {
            let (conversation, seq) = (*conversation, change.mark?);
            Some(MemberLine {
                conversation,
                user_id,
                seq,
            })
        });
        write(database, statement, marks).await
    }

    /// Writes conversations and memberships; before messages, which move their senders' marks.
    async fn write_places(&self, database: &mut impl Database) -> Answer<()> {
        let revisions = raise(database, &self.raised).await?;
        let statement = "INSERT INTO chat_conversations (id, kind, title, public, history, meta, created_at, \
                         member_count, owner, deleted, pair_low, pair_high, head_seq, head_tag, changed) SELECT id, \
                         kind, title, public, history, meta, created_at, member_count, owner, deleted, pair_low, \
                         pair_high, head_seq, head_tag, CHANGE() FROM LIST(id uuid, kind text, title text, \
                         public boolean, history text, meta text, created_at bigint, member_count bigint, owner text, \
                         deleted boolean, pair_low text, pair_high text, head_seq bigint, head_tag bigint) j";
        let new = self.places.values().filter(|(_, before)| before.is_none());
        write_all(database, statement, new.map(|(place, _)| PlaceLine::of(place))).await?;

        let statement = "UPDATE chat_conversations SET title = j.title, meta = j.meta, member_count = j.member_count, \
                         owner = j.owner, deleted = j.deleted, pair_low = j.pair_low, pair_high = j.pair_high \
                         FROM LIST(id uuid, title text, meta text, member_count bigint, owner text, deleted boolean, \
                         pair_low text, pair_high text) j WHERE chat_conversations.id = j.id";
        let changed = self.places_changed.iter().filter_map(|id| self.places.get(id));
        write_all(database, statement, changed.map(|(place, _)| PlaceLine::of(place))).await?;

        let statement = "INSERT INTO chat_members AS m (conversation, user_id, role, joined, ended, read, delivered, \
                         muted, archived, revision) SELECT conversation, user_id, role, seq, NULL, seq, seq, $2, $2, \
                         revision FROM LIST(conversation uuid, user_id text, role text, seq bigint, \
                         revision bigint) j WHERE true ON CONFLICT (conversation, user_id) DO UPDATE SET \
                         role = excluded.role, joined = excluded.joined, ended = NULL, read = excluded.read, \
                         delivered = excluded.delivered, muted = excluded.muted, archived = excluded.archived, \
                         revision = excluded.revision";
        let opened = self.members.iter().filter_map(|((conversation, user_id), change)| {
            let (role, seq) = change.open.as_ref()?;
            Some(OpenLine {
                conversation: *conversation,
                user_id,
                role,
                seq: *seq,
                revision: revisions.get(user_id).copied(),
            })
        });
        let opened: Vec<_> = opened.collect();
        if !opened.is_empty() {
            database.execute(statement, &[list(opened)?, Flag(false)]).await?;
        }
        let statement = "UPDATE chat_members SET role = j.role FROM LIST(conversation uuid, user_id text, role text) j \
                         WHERE chat_members.conversation = j.conversation AND chat_members.user_id = j.user_id";
        let roles = self.members.iter().filter_map(|((conversation, user_id), change)| {
            let role = change.role.as_ref()?;
            Some(RoleLine {
                conversation: *conversation,
                user_id,
                role,
            })
        });
        write(database, statement, roles).await?;

        let statement = "UPDATE chat_members SET ended = j.seq, revision = j.revision \
                         FROM LIST(conversation uuid, user_id text, seq bigint, revision bigint) j \
                         WHERE chat_members.conversation = j.conversation AND chat_members.user_id = j.user_id";
        let closed = self.members.iter().filter_map(|((conversation, user_id), change)| {
            Some(CloseLine {
                conversation: *conversation,
                user_id,
                seq: change.close?,
                revision: revisions.get(user_id).copied(),
            })
        });
        write(database, statement, closed).await
    }

    /// Writes what becomes of messages that are there.
    async fn write_changes(&self, database: &mut impl Database) -> Answer<()> {
        let statement = "UPDATE chat_messages SET version = j.version, changed = j.changed, edited_at = j.edited_at, \
                         deleted_at = j.deleted_at, content = j.content, reactions = j.reactions \
                         FROM LIST(conversation uuid, seq bigint, version bigint, changed bigint, edited_at bigint, \
                         deleted_at bigint, content text, reactions text) j \
                         WHERE chat_messages.conversation = j.conversation AND chat_messages.seq = j.seq";
        write_all(database, statement, self.changed_messages.iter().map(MessageLine::of)).await?;

        let statement = "DELETE FROM chat_reactions WHERE (conversation, message_seq) IN \
                         (SELECT conversation, message_seq FROM LIST(conversation uuid, message_seq bigint) j)";
        let cleared = self
            .reactions_cleared
            .iter()
            .map(|(conversation, message_seq)| ReactionLine {
                conversation: *conversation,
                message_seq: *message_seq,
                emoji: "",
                user_id: None,
                seq: None,
            });
        write(database, statement, cleared).await?;

        let (chosen, taken_back): (Vec<_>, Vec<_>) = self.reactions.iter().partition(|(_, seq)| seq.is_some());
        let statement = "DELETE FROM chat_reactions WHERE (conversation, message_seq, emoji, user_id) IN \
                         (SELECT conversation, message_seq, emoji, user_id FROM LIST(conversation uuid, \
                         message_seq bigint, emoji text, user_id text) j)";
        write(database, statement, taken_back.into_iter().map(ReactionLine::of)).await?;
        let statement = "INSERT INTO chat_reactions (conversation, message_seq, emoji, user_id, seq) \
                         SELECT conversation, message_seq, emoji, user_id, seq FROM LIST(conversation uuid, \
                         message_seq bigint, emoji text, user_id text, seq bigint) j WHERE true \
                         ON CONFLICT (conversation, message_seq, emoji, user_id) DO UPDATE SET seq = excluded.seq";
        write(database, statement, chosen.into_iter().map(ReactionLine::of)).await
    }
}

/// Nothing was written: the transaction is to be rolled back.
#[derive(Debug, thiserror::Error)]
#[error("a conversation has gone on since it was judged")]
struct Stale;

pub(crate) fn stale() -> StoreError {
    StoreError::Unavailable(Stale.to_string(), Some(Box::new(Stale)))
}

/// Whether another attempt will find the conversation as it is now.
#[cfg(feature = "postgres")]
pub(crate) fn is_stale(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(_, Some(source)) if source.is::<Stale>())
}

impl MemberChange {
    fn is_mark(&self) -> bool {
        self.open.is_none() && self.role.is_none() && self.close.is_none()
    }
}

/// Raises users' revisions, and answers with what they are then.
pub(crate) async fn raise(
    database: &mut impl Database,
    raised: &BTreeMap<UserId, u64>,
) -> Answer<HashMap<UserId, Revision>> {
    #[derive(Serialize)]
    struct Raise<'a> {
        id: &'a UserId,
        times: u64,
    }
    if raised.is_empty() {
        return Ok(HashMap::new());
    }
    // In the order of their names, so that two who raise the same users wait for each other and never in a circle.
    let statement = "INSERT INTO chat_users AS u (id, revision, changed) \
                     SELECT id, times, CHANGE() FROM LIST(id text, times bigint) j WHERE true ORDER BY id \
                     ON CONFLICT (id) DO UPDATE SET revision = u.revision + excluded.revision, changed = excluded.changed \
                     RETURNING id AS user_id, revision";
    let raises = raised.iter().map(|(id, times)| Raise { id, times: *times });
    let rows = database.fetch(statement, &[list(raises)?]).await?;
    rows::by_user(&rows, |row| number(row, "revision").map(Revision).map(Some))
}

async fn write<T: Serialize>(
    database: &mut impl Database,
    statement: &'static str,
    lines: impl Iterator<Item = T>,
) -> Answer<()> {
    write_all(database, statement, lines.map(Ok)).await
}

/// Runs a statement once for the whole list; not at all for an empty one.
async fn write_all<T: Serialize>(
    database: &mut impl Database,
    statement: &'static str,
    lines: impl Iterator<Item = Answer<T>>,
) -> Answer<()> {
    let lines = lines.collect::<Answer<Vec<T>>>()?;
    if !lines.is_empty() {
        database.execute(statement, &[list(lines)?]).await?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Head {
    id: ConversationId,
    before: Seq,
    tag_before: i64,
    seq: Seq,
    tag: i64,
}

#[derive(Serialize)]
pub(crate) struct LogLine<'a> {
    pub conversation: ConversationId,
    pub seq: Seq,
    pub tag: i64,
    pub id: CommandId,
    pub actor: Option<&'a UserId>,
    pub at: Timestamp,
    pub fingerprint: Option<Uuid>,
    pub kind: &'a str,
    pub detail: Option<String>,
    pub message_seq: Option<Seq>,
}

impl<'a> LogLine<'a> {
    pub fn of((conversation, row, message_seq): &'a (ConversationId, LogRow, Option<Seq>)) -> Answer<Self> {
        Ok(Self {
            conversation: *conversation,
            seq: row.seq,
            tag: tag_bits(row.tag),
            id: row.id,
            actor: row.actor.user(),
            at: row.at,
            fingerprint: row.fingerprint.map(|print| Uuid::from_bytes(print.0)),
            kind: row.kind.name(),
            detail: rows::detail(row)?,
            message_seq: *message_seq,
        })
    }
}

#[derive(Serialize)]
pub(crate) struct MessageLine<'a> {
    pub conversation: ConversationId,
    pub seq: Seq,
    pub id: MessageId,
    pub sender: Option<&'a UserId>,
    pub at: Timestamp,
    pub version: u64,
    pub changed: Seq,
    pub edited_at: Option<Timestamp>,
    pub deleted_at: Option<Timestamp>,
    pub reply_to: Option<MessageId>,
    pub content: Option<String>,
    pub reactions: Option<String>,
}

impl<'a> MessageLine<'a> {
    pub fn of((conversation, message): &'a (ConversationId, Message)) -> Answer<Self> {
        Ok(Self {
            conversation: *conversation,
            seq: message.seq,
            id: message.id,
            sender: message.sender.as_ref(),
            at: message.at,
            version: message.version,
            changed: message.changed,
            edited_at: message.edited_at,
            deleted_at: message.deleted_at,
            reply_to: message.reply_to,
            content: message.content.as_ref().map(to_json).transpose()?,
            reactions: reactions(message)?,
        })
    }
}

#[derive(Serialize)]
struct PlaceLine<'a> {
    id: ConversationId,
    kind: &'a str,
    title: Option<&'a str>,
    public: bool,
    history: &'a str,
    meta: Option<String>,
    created_at: Timestamp,
    member_count: u64,
    owner: Option<&'a UserId>,
    deleted: bool,
    pair_low: Option<&'a UserId>,
    pair_high: Option<&'a UserId>,
    head_seq: Seq,
    head_tag: i64,
}

impl<'a> PlaceLine<'a> {
    fn of(place: &'a Place) -> Answer<Self> {
        let conversation = &place.conversation;
        Ok(Self {
            id: conversation.id,
            kind: conversation.kind.as_str(),
            title: conversation.title.as_deref(),
            public: conversation.public,
            history: conversation.history.as_str(),
            meta: meta(conversation.meta.as_ref())?,
            created_at: conversation.created_at,
            member_count: conversation.member_count,
            owner: place.owner.as_ref(),
            deleted: place.deleted,
            pair_low: place.pair.as_ref().map(|(low, _)| low),
            pair_high: place.pair.as_ref().map(|(_, high)| high),
            head_seq: place.head.seq,
            head_tag: tag_bits(place.head.tag),
        })
    }
}

#[derive(Serialize)]
struct MemberLine<'a> {
    conversation: ConversationId,
    user_id: &'a UserId,
    seq: Seq,
}

#[derive(Serialize)]
struct OpenLine<'a> {
    conversation: ConversationId,
    user_id: &'a UserId,
    role: &'a Role,
    seq: Seq,
    revision: Option<Revision>,
}

#[derive(Serialize)]
struct RoleLine<'a> {
    conversation: ConversationId,
    user_id: &'a UserId,
    role: &'a Role,
}

#[derive(Serialize)]
struct CloseLine<'a> {
    conversation: ConversationId,
    user_id: &'a UserId,
    seq: Seq,
    revision: Option<Revision>,
}

#[derive(Serialize)]
struct ReactionLine<'a> {
    conversation: ConversationId,
    message_seq: Seq,
    emoji: &'a str,
    user_id: Option<&'a UserId>,
    seq: Option<Seq>,
}

impl<'a> ReactionLine<'a> {
    fn of(((key, user), seq): (&'a (ReactionKey, UserId), &Option<Seq>)) -> Self {
        Self {
            conversation: key.conversation,
            message_seq: key.message,
            emoji: &key.emoji,
            user_id: Some(user),
            seq: *seq,
        }
    }
}
