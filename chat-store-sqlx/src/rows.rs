//! What the tables hold, and how a row is read; the same in both dialects.

use crate::statements::{Basis, Seated};
use chat_core::conversation::{
    Conversation, ConversationFacts, ConversationKind, HistoryVisibility, LogKind, LogRow, Marks, MemberFacts, Role,
    Visible, visibility,
};
use chat_core::id::{ConversationId, Epoch, MessageId, Position, Revision, Seq, Tag, Timestamp, UserId};
use chat_core::message::Message;
use chat_core::store::{self, Actor, Fingerprint, StoreError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Map;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use uuid::Uuid;

/// A row of an answer, by the names of its columns.
pub(crate) trait Columns {
    fn int(&self, column: &str) -> Result<Option<i64>, sqlx::Error>;
    fn flag(&self, column: &str) -> Result<bool, sqlx::Error>;
    fn text(&self, column: &str) -> Result<Option<String>, sqlx::Error>;
    fn uuid(&self, column: &str) -> Result<Option<Uuid>, sqlx::Error>;

    /// What `EXPLAIN` says.
    #[cfg(test)]
    fn plan(&self) -> String;
}

/// A conversation.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub conversation: Conversation,
    pub deleted: bool,
    pub owner: Option<UserId>,
    /// The users by whom a direct one is found.
    pub pair: Option<(UserId, UserId)>,
    pub head: Position,
}

impl Place {
    pub fn facts(&self) -> ConversationFacts {
        ConversationFacts {
            conversation: self.conversation.clone(),
            head: self.head,
            deleted: self.deleted,
            owner: self.owner.clone(),
        }
    }

    pub fn visible(&self, member: &Membership) -> Visible {
        visibility(&self.conversation.history, member.joined, member.ended)
    }
}

/// A user's latest membership, and what is their own in the conversation.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    pub user: UserId,
    pub role: Role,
    pub joined: Seq,
    pub ended: Option<Seq>,
    pub read: Seq,
    pub delivered: Seq,
    pub muted: bool,
    pub archived: bool,
    pub revision: Revision,
}

impl Membership {
    pub fn marks(&self) -> Marks {
        Marks {
            user: self.user.clone(),
            read: self.read,
            delivered: self.delivered,
        }
    }

    pub fn facts(&self, place: &Place) -> MemberFacts {
        MemberFacts {
            role: self.role.clone(),
            visible_from: place.visible(self).from,
        }
    }
}

/// Memberships in one conversation.
pub(crate) type Members = HashMap<UserId, Membership>;

/// A row of a log and the message that it names, as it is now.
#[derive(Debug, Clone)]
pub(crate) struct Logged {
    pub row: LogRow,
    pub message: Option<Message>,
}

/// The columns of a [`Place`]; all are absent when there is none.
pub(crate) fn place(row: &impl Columns) -> Result<Option<Place>, StoreError> {
    let Some(id) = read(row.uuid("c_id"))? else {
        return Ok(None);
    };
    let pair = match (user(row, "c_pair_low")?, user(row, "c_pair_high")?) {
        (Some(low), Some(high)) => Some((low, high)),
        _ => None,
    };
    Ok(Some(Place {
        conversation: Conversation {
            id: conversation_id(id)?,
            kind: ConversationKind::from_name(&needed(row, "c_kind")?),
            title: read(row.text("c_title"))?,
            public: read(row.flag("c_public"))?,
            history: HistoryVisibility::from_name(&needed(row, "c_history")?),
            meta: json(row, "c_meta")?,
            created_at: Timestamp(number(row, "c_created_at")?),
            member_count: number(row, "c_member_count")?,
        },
        deleted: read(row.flag("c_deleted"))?,
        owner: user(row, "c_owner")?,
        pair,
        head: position(row, "c_head_seq", "c_head_tag")?,
    }))
}

/// The columns of a [`Membership`]; all are absent when there is none.
pub(crate) fn membership(row: &impl Columns) -> Result<Option<Membership>, StoreError> {
    let Some(user) = user(row, "m_user")? else {
        return Ok(None);
    };
    Ok(Some(Membership {
        user,
        role: Role::from_name(&needed(row, "m_role")?),
        joined: Seq(number(row, "m_joined")?),
        ended: maybe(row, "m_ended")?.map(Seq),
        read: Seq(number(row, "m_read")?),
        delivered: Seq(number(row, "m_delivered")?),
        muted: read(row.flag("m_muted"))?,
        archived: read(row.flag("m_archived"))?,
        revision: Revision(number(row, "m_revision")?),
    }))
}

/// What a reader's place in a log depends on; absent when there is none.
pub(crate) fn membership_of_log(row: &impl Columns) -> Result<Option<store::Membership>, StoreError> {
    let Some(id) = read(row.uuid("c_id"))? else {
        return Ok(None);
    };
    let history = HistoryVisibility::from_name(&needed(row, "c_history")?);
    let joined = Seq(number(row, "m_joined")?);
    Ok(Some(store::Membership {
        conversation: conversation_id(id)?,
        joined,
        visible_from: visibility(&history, joined, None).from,
        head: position(row, "c_head_seq", "c_head_tag")?,
        revision: Revision(number(row, "m_revision")?),
    }))
}

/// The columns of a [`Message`]; all are absent when there is none.
pub(crate) fn message(row: &impl Columns) -> Result<Option<Message>, StoreError> {
    let Some(id) = read(row.uuid("w_id"))? else {
        return Ok(None);
    };
    Ok(Some(Message {
        id: message_id(id)?,
        seq: Seq(number(row, "w_seq")?),
        sender: user(row, "w_sender")?,
        at: Timestamp(number(row, "w_at")?),
        version: number(row, "w_version")?,
        changed: Seq(number(row, "w_changed")?),
        edited_at: maybe(row, "w_edited_at")?.map(Timestamp),
        deleted_at: maybe(row, "w_deleted_at")?.map(Timestamp),
        reply_to: read(row.uuid("w_reply_to"))?.map(message_id).transpose()?,
        content: json(row, "w_content")?,
        reactions: json(row, "w_reactions")?.unwrap_or_default(),
    }))
}

/// The columns of a row of a log; all are absent when there is none.
pub(crate) fn log_row(row: &impl Columns) -> Result<Option<LogRow>, StoreError> {
    let Some(id) = read(row.uuid("l_id"))? else {
        return Ok(None);
    };
    let id = MessageId::new(id).ok_or_else(|| corrupt("a row without an id"))?;
    let kind = match json(row, "l_detail")? {
        Some(detail) => LogKind::from_detail(&needed(row, "l_kind")?, detail)
            .map_err(|error| corrupt(format!("the detail of a log row: {error}")))?,
        // By far the most frequent kind says everything with its id.
        None => LogKind::MessageNew { message: id },
    };
    Ok(Some(LogRow {
        seq: Seq(number(row, "l_seq")?),
        tag: tag(number_of(row, "l_tag")?),
        id: id.into(),
        actor: user(row, "l_actor")?.map_or(Actor::System, Actor::User),
        at: Timestamp(number(row, "l_at")?),
        fingerprint: read(row.uuid("l_fingerprint"))?.map(|bytes| Fingerprint(bytes.into_bytes())),
        kind,
    }))
}

/// What is kept of a kind beside its name; nothing for a message whose id is the row's.
pub(crate) fn detail(row: &LogRow) -> Result<Option<String>, StoreError> {
    match &row.kind {
        LogKind::MessageNew { message } if *message == row.id.into() => Ok(None),
        kind => to_json(&kind.detail()).map(Some),
    }
}

pub(crate) fn position(row: &impl Columns, seq: &str, tag_: &str) -> Result<Position, StoreError> {
    Ok(Position {
        seq: Seq(number(row, seq)?),
        tag: tag(number_of(row, tag_)?),
    })
}

pub(crate) fn user(row: &impl Columns, column: &str) -> Result<Option<UserId>, StoreError> {
    let user = read(row.text(column))?.map(UserId::new).transpose();
    user.map_err(|error| corrupt(format!("a user id: {error}")))
}

/// A number that is there and not negative.
pub(crate) fn number(row: &impl Columns, column: &str) -> Result<u64, StoreError> {
    maybe(row, column)?.ok_or_else(|| corrupt(format!("no number in {column}")))
}

pub(crate) fn maybe(row: &impl Columns, column: &str) -> Result<Option<u64>, StoreError> {
    let number = read(row.int(column))?.map(u64::try_from).transpose();
    number.map_err(|_| corrupt(format!("a negative number in {column}")))
}

fn number_of(row: &impl Columns, column: &str) -> Result<i64, StoreError> {
    read(row.int(column))?.ok_or_else(|| corrupt(format!("no number in {column}")))
}

pub(crate) fn needed(row: &impl Columns, column: &str) -> Result<String, StoreError> {
    read(row.text(column))?.ok_or_else(|| corrupt(format!("no text in {column}")))
}

pub(crate) fn json<T: DeserializeOwned>(row: &impl Columns, column: &str) -> Result<Option<T>, StoreError> {
    let text = read(row.text(column))?;
    let value = text.map(|text| serde_json::from_str(&text)).transpose();
    value.map_err(|error| corrupt(format!("the JSON in {column}: {error}")))
}

pub(crate) fn to_json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| corrupt(format!("this has no JSON form: {error}")))
}

/// An empty list is not written.
pub(crate) fn reactions(message: &Message) -> Result<Option<String>, StoreError> {
    let some = (!message.reactions.is_empty()).then_some(&message.reactions);
    some.map(to_json).transpose()
}

pub(crate) fn meta(meta: Option<&Map<String, serde_json::Value>>) -> Result<Option<String>, StoreError> {
    meta.map(to_json).transpose()
}

pub(crate) fn conversation_id(id: Uuid) -> Result<ConversationId, StoreError> {
    ConversationId::new(id).ok_or_else(|| corrupt("a conversation without an id"))
}

fn message_id(id: Uuid) -> Result<MessageId, StoreError> {
    MessageId::new(id).ok_or_else(|| corrupt("a message without an id"))
}

/// A seq, a time or a count as the database keeps it: all are below 2^53.
pub(crate) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A tag keeps its 64 bits; its sign in the database means nothing.
pub(crate) fn tag_bits(tag: Tag) -> i64 {
    tag.0.cast_signed()
}

pub(crate) fn tag(bits: i64) -> Tag {
    Tag(bits.cast_unsigned())
}

pub(crate) fn corrupt(what: impl Into<String>) -> StoreError {
    StoreError::Corrupt(what.into())
}

/// What the database answered, or why it did not.
pub(crate) fn read<T>(answer: Result<T, sqlx::Error>) -> Result<T, StoreError> {
    answer.map_err(crate::error::store_error)
}

impl Basis {
    /// From one row for each of what was asked, those about conversations that are not there left out.
    pub fn of(epoch: Epoch, at: Timestamp, rows: &[impl Columns]) -> Result<Self, StoreError> {
        let mut basis = Self {
            epoch,
            at,
            places: HashMap::new(),
            priors: HashMap::new(),
            members: HashMap::new(),
        };
        for row in rows {
            let Some(id) = read(row.uuid("c_id"))? else { continue };
            let id = conversation_id(id)?;
            if let Entry::Vacant(vacant) = basis.places.entry(id)
                && let Some(place) = place(row)?
            {
                vacant.insert(place);
            }
            if let Some(row) = log_row(row)? {
                basis.priors.insert((id, row.id), row.prior(id));
            }
            if let Some(member) = membership(row)? {
                basis.members.entry(id).or_default().insert(member.user.clone(), member);
            }
        }
        Ok(basis)
    }
}

pub(crate) fn logged(row: &impl Columns) -> Result<Logged, StoreError> {
    Ok(Logged {
        row: log_row(row)?.ok_or_else(|| corrupt("a log row without an id"))?,
        message: message(row)?,
    })
}

pub(crate) fn seat(row: &impl Columns) -> Result<(Place, Membership), StoreError> {
    match (place(row)?, membership(row)?) {
        (Some(place), Some(member)) => Ok((place, member)),
        _ => Err(corrupt("a member without a conversation")),
    }
}

pub(crate) fn seated(row: &impl Columns) -> Result<Seated, StoreError> {
    Ok(Seated {
        conversation: conversation(row)?,
        member: membership(row)?.ok_or_else(|| corrupt("a member without a name"))?,
        display: json(row, "display")?,
    })
}

/// The column `epoch`.
pub(crate) fn epoch(row: &impl Columns) -> Result<Epoch, StoreError> {
    let epoch = read(row.uuid("epoch"))?.and_then(Epoch::new);
    epoch.ok_or_else(|| corrupt("a store without an epoch"))
}

/// The column `conversation`.
pub(crate) fn conversation(row: &impl Columns) -> Result<ConversationId, StoreError> {
    conversation_id(read(row.uuid("conversation"))?.unwrap_or_default())
}

/// The column `user_id` of all rows.
pub(crate) fn users(rows: &[impl Columns]) -> Result<Vec<UserId>, StoreError> {
    let users = rows.iter().filter_map(|row| user(row, "user_id").transpose());
    users.collect()
}

/// The columns `user_id` and another one that has to be there, of all rows.
pub(crate) fn by_user<C: Columns, T>(
    rows: &[C],
    value: impl Fn(&C) -> Result<Option<T>, StoreError>,
) -> Result<HashMap<UserId, T>, StoreError> {
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        if let (Some(user), Some(value)) = (user(row, "user_id")?, value(row)?) {
            found.insert(user, value);
        }
    }
    Ok(found)
}
