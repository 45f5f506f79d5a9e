//! Every statement that reads, as a function: what it is asked, the SQL, what it answers.
//!
//! The SQL is the same for both databases, in the words of [`database`](crate::database).

use crate::columns::{log_row, membership, message, place};
use crate::database::Argument::{Id, Ids, Json, MaybeText, Names, Number, Text};
use crate::database::{Answer, Database};
use crate::rows::{
    self, Columns, Logged, Members, Membership, Place, by_user, conversation, corrupt, epoch, logged, number, position,
    read, seat, seated, users,
};
use chat_core::id::{CommandId, ConversationId, Epoch, MessageId, Revision, Seq, Timestamp, UserId};
use chat_core::message::Message;
use chat_core::store::{self, Head, Memberships, Prior};
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;

/// A conversation and somebody's latest membership in it, with the epoch of the log.
pub(crate) struct Scene {
    pub epoch: Epoch,
    pub place: Option<Place>,
    pub member: Option<Membership>,
}

/// Messages from one seq to before another.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub from: Seq,
    pub before: Seq,
}

/// Which of a user's conversations.
pub(crate) enum Seats<'a> {
    Of(&'a [ConversationId]),
    /// The first so many beyond this one.
    Beyond(Option<ConversationId>, usize),
}

/// What an entry of the inbox shows of the messages in its conversation.
#[derive(Serialize)]
pub(crate) struct Glance {
    pub conversation: ConversationId,
    /// The first seq that the user may see.
    pub visible_from: Seq,
    /// Those from here on are not read.
    pub unread_from: Seq,
}

/// A member as others see them.
pub(crate) struct Seated {
    pub conversation: ConversationId,
    pub member: Membership,
    pub display: Option<Value>,
}

/// A page of a list.
#[derive(Clone, Copy)]
pub(crate) struct ListPage<'a> {
    pub conversation: ConversationId,
    /// The key of the last one on the page before.
    pub after: &'a str,
    pub limit: usize,
}

/// A reaction on a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ReactionKey {
    pub conversation: ConversationId,
    pub message: Seq,
    pub emoji: String,
}

/// Whom the judge has to know of: an id and a user in a conversation.
pub(crate) struct Asked<'a> {
    pub conversation: ConversationId,
    pub id: Option<CommandId>,
    pub user_id: Option<&'a UserId>,
}

/// What the judge needs for nearly every command, of one moment.
pub(crate) struct Basis {
    pub epoch: Epoch,
    pub at: Timestamp,
    pub places: HashMap<ConversationId, Place>,
    pub priors: HashMap<(ConversationId, CommandId), Prior>,
    pub members: HashMap<ConversationId, Members>,
}

pub(crate) async fn scene(
    database: &mut impl Database,
    conversation: ConversationId,
    viewer: Option<&UserId>,
) -> Answer<Scene> {
    let statement = concat!(
        "SELECT s.epoch AS epoch, ",
        place!(),
        ", ",
        membership!(),
        " FROM chat_store s LEFT JOIN chat_conversations c ON c.id = $1 \
         LEFT JOIN chat_members m ON m.conversation = c.id AND m.user_id = $2"
    );
    let arguments = [id(conversation), MaybeText(viewer.map(UserId::as_str))];
    let rows = database.fetch(statement, &arguments).await?;
    let row = rows.first().ok_or_else(no_identity)?;
    Ok(Scene {
        epoch: epoch(row)?,
        place: rows::place(row)?,
        member: rows::membership(row)?,
    })
}

pub(crate) async fn the_epoch(database: &mut impl Database) -> Answer<Epoch> {
    let rows = database.fetch("SELECT epoch FROM chat_store", &[]).await?;
    epoch(rows.first().ok_or_else(no_identity)?)
}

/// Rows of a log from a seq on, in order.
pub(crate) async fn log(
    database: &mut impl Database,
    conversation: ConversationId,
    from: Seq,
    limit: usize,
) -> Answer<Vec<Logged>> {
    let statement = concat!(
        "SELECT ",
        log_row!(),
        ", ",
        message!(),
        " FROM chat_log l LEFT JOIN chat_messages w ON w.conversation = l.conversation AND w.seq = l.message_seq \
         WHERE l.conversation = $1 AND l.seq >= $2 ORDER BY l.seq LIMIT $3"
    );
    let arguments = [id(conversation), Number(from.0), Number(limit as u64)];
    let rows = database.fetch(statement, &arguments).await?;
    rows.iter().map(logged).collect()
}

pub(crate) async fn messages(
    database: &mut impl Database,
    conversation: ConversationId,
    span: Span,
    newest_first: bool,
    limit: usize,
) -> Answer<Vec<Message>> {
    let statement = match newest_first {
        true => concat!(
            "SELECT ",
            message!(),
            " FROM chat_messages w WHERE w.conversation = $1 AND w.seq >= $2 AND w.seq < $3 \
             ORDER BY w.seq DESC LIMIT $4"
        ),
        false => concat!(
            "SELECT ",
            message!(),
            " FROM chat_messages w WHERE w.conversation = $1 AND w.seq >= $2 AND w.seq < $3 \
             ORDER BY w.seq LIMIT $4"
        ),
    };
    let span = [Number(span.from.0), Number(span.before.0), Number(limit as u64)];
    let arguments: Vec<_> = [id(conversation)].into_iter().chain(span).collect();
    let rows = database.fetch(statement, &arguments).await?;
    rows.iter().filter_map(|row| rows::message(row).transpose()).collect()
}

pub(crate) async fn messages_by_id(
    database: &mut impl Database,
    ids: &[(ConversationId, MessageId)],
) -> Answer<Vec<(ConversationId, Message)>> {
    #[derive(Serialize)]
    struct Named {
        conversation: ConversationId,
        id: MessageId,
    }
    let statement = concat!(
        "SELECT w.conversation AS conversation, ",
        message!(),
        " FROM LIST(conversation uuid, id uuid) j IN ORDER JOIN chat_log l ON l.conversation = j.conversation AND l.id = j.id \
         IN ORDER JOIN chat_messages w ON w.conversation = l.conversation AND w.seq = l.seq"
    );
    let named = |(conversation, id): &(ConversationId, MessageId)| Named {
        conversation: *conversation,
        id: *id,
    };
    let rows = database.fetch(statement, &[list(ids.iter().map(named))?]).await?;
    let found = |row| Ok((conversation(row)?, rows::message(row)?.ok_or_else(no_message)?));
    rows.iter().map(found).collect()
}

/// Of which the user is a member now: in the order asked, or of conversation ids.
pub(crate) async fn seats(
    database: &mut impl Database,
    user: &UserId,
    which: Seats<'_>,
) -> Answer<Vec<(Place, Membership)>> {
    let rows = match which {
        Seats::Of(conversations) => {
            let statement = concat!(
                "SELECT ",
                place!(),
                ", ",
                membership!(),
                " FROM LIST(id uuid) j IN ORDER JOIN chat_conversations c ON c.id = j.id \
                 IN ORDER JOIN chat_members m ON m.conversation = c.id AND m.user_id = $2 AND m.ended IS NULL ORDER BY j.n"
            );
            let arguments = [ids(conversations), Text(user.as_str())];
            database.fetch(statement, &arguments).await?
        }
        Seats::Beyond(after, limit) => {
            let statement = concat!(
                "SELECT ",
                place!(),
                ", ",
                membership!(),
                " FROM chat_members m JOIN chat_conversations c ON c.id = m.conversation \
                 WHERE m.user_id = $1 AND m.ended IS NULL AND m.conversation > $2 ORDER BY m.conversation LIMIT $3"
            );
            // The nil id is before all others.
            let after = Id(after.map(|after| *after.as_uuid()).unwrap_or_default());
            let arguments = [Text(user.as_str()), after, Number(limit as u64)];
            database.fetch(statement, &arguments).await?
        }
    };
    rows.iter().map(seat).collect()
}

/// For each, the newest message that the user may see and how many are unread, counted to 1,000: more than 999.
pub(crate) async fn glances(
    database: &mut impl Database,
    user: &UserId,
    glances: &[Glance],
) -> Answer<HashMap<ConversationId, (Option<Message>, u64)>> {
    let statement = concat!(
        "SELECT j.conversation AS conversation, (SELECT count(*) FROM (SELECT 1 FROM chat_messages u \
         WHERE u.conversation = j.conversation AND u.seq >= j.unread_from AND u.sender IS DISTINCT FROM $2 \
         AND u.deleted_at IS NULL ORDER BY u.seq LIMIT 1000) counted) AS unread, ",
        message!(),
        " FROM LIST(conversation uuid, visible_from bigint, unread_from bigint) j \
         LEFT JOIN chat_messages w ON w.conversation = j.conversation AND w.seq = (SELECT x.seq FROM chat_messages x \
         WHERE x.conversation = j.conversation AND x.seq >= j.visible_from ORDER BY x.seq DESC LIMIT 1)"
    );
    let rows = database
        .fetch(statement, &[list(glances)?, Text(user.as_str())])
        .await?;
    let glance = |row| Ok((conversation(row)?, (rows::message(row)?, number(row, "unread")?)));
    rows.iter().map(glance).collect()
}

/// Current members in the order of user ids.
pub(crate) async fn members(database: &mut impl Database, page: ListPage<'_>) -> Answer<Vec<Seated>> {
    let statement = concat!(
        "SELECT m.conversation AS conversation, ",
        membership!(),
        ", u.display AS display FROM chat_members m LEFT JOIN chat_users u ON u.id = m.user_id \
         WHERE m.conversation = $1 AND m.user_id > $2 AND m.ended IS NULL ORDER BY m.user_id LIMIT $3"
    );
    let arguments = [id(page.conversation), Text(page.after), Number(page.limit as u64)];
    database
        .fetch(statement, &arguments)
        .await?
        .iter()
        .map(seated)
        .collect()
}

/// The current members of all these conversations, which are small.
pub(crate) async fn members_of_all(
    database: &mut impl Database,
    conversations: &[ConversationId],
) -> Answer<Vec<Seated>> {
    let statement = concat!(
        "SELECT m.conversation AS conversation, ",
        membership!(),
        ", u.display AS display FROM LIST(id uuid) j IN ORDER JOIN chat_members m ON m.conversation = j.id \
         LEFT JOIN chat_users u ON u.id = m.user_id WHERE m.ended IS NULL ORDER BY m.conversation, m.user_id"
    );
    let rows = database.fetch(statement, &[ids(conversations)]).await?;
    rows.iter().map(seated).collect()
}

pub(crate) async fn displays(database: &mut impl Database, users: &[UserId]) -> Answer<HashMap<UserId, Value>> {
    if users.is_empty() {
        return Ok(HashMap::new());
    }
    let statement =
        "SELECT u.id AS user_id, u.display AS display FROM LIST(id text) j IN ORDER JOIN chat_users u ON u.id = j.id";
    let rows = database.fetch(statement, &[names(users)]).await?;
    by_user(&rows, |row| rows::json(row, "display"))
}

pub(crate) async fn marks_revision(database: &mut impl Database, conversation: ConversationId) -> Answer<Revision> {
    let statement = "SELECT revision FROM chat_marks WHERE conversation = $1";
    let rows = database.fetch(statement, &[id(conversation)]).await?;
    rows.first()
        .map_or(Ok(Revision::ZERO), |row| number(row, "revision").map(Revision))
}

/// Who chose a reaction, in the order of user ids.
pub(crate) async fn reaction_users(
    database: &mut impl Database,
    reaction: &ReactionKey,
    after: &str,
    limit: usize,
) -> Answer<Vec<UserId>> {
    let statement = "SELECT user_id FROM chat_reactions WHERE conversation = $1 AND message_seq = $2 AND emoji = $3 \
                     AND user_id > $4 ORDER BY user_id LIMIT $5";
    let arguments = [
        id(reaction.conversation),
        Number(reaction.message.0),
        Text(&reaction.emoji),
        Text(after),
        Number(limit as u64),
    ];
    users(&database.fetch(statement, &arguments).await?)
}

/// The first so many who chose a reaction, in the order in which they did.
pub(crate) async fn first_users(
    database: &mut impl Database,
    reaction: &ReactionKey,
    limit: usize,
) -> Answer<Vec<UserId>> {
    let statement = "SELECT user_id FROM chat_reactions WHERE conversation = $1 AND message_seq = $2 AND emoji = $3 \
                     ORDER BY seq LIMIT $4";
    let arguments = [
        id(reaction.conversation),
        Number(reaction.message.0),
        Text(&reaction.emoji),
        Number(limit as u64),
    ];
    users(&database.fetch(statement, &arguments).await?)
}

/// Which of these reactions their users have chosen.
pub(crate) async fn chosen(
    database: &mut impl Database,
    asked: &[(ReactionKey, UserId)],
) -> Answer<Vec<(ReactionKey, UserId)>> {
    #[derive(Serialize)]
    struct Choice<'a> {
        number: usize,
        conversation: ConversationId,
        message_seq: Seq,
        emoji: &'a str,
        user_id: &'a UserId,
    }
    let statement = "SELECT j.number AS number \
                     FROM LIST(number bigint, conversation uuid, message_seq bigint, emoji text, user_id text) j \
                     IN ORDER JOIN chat_reactions r ON r.conversation = j.conversation AND r.message_seq = j.message_seq \
                     AND r.emoji = j.emoji AND r.user_id = j.user_id";
    let choices = asked.iter().enumerate().map(|(number, (key, user))| Choice {
        number,
        conversation: key.conversation,
        message_seq: key.message,
        emoji: &key.emoji,
        user_id: user,
    });
    let rows = database.fetch(statement, &[list(choices)?]).await?;
    let mut chosen = Vec::with_capacity(rows.len());
    for row in &rows {
        let number = usize::try_from(number(row, "number")?).unwrap_or(usize::MAX);
        chosen.extend(asked.get(number).cloned());
    }
    Ok(chosen)
}

/// What the judge needs for nearly every command; of one moment, whatever the transaction is.
pub(crate) async fn basis(database: &mut impl Database, asked: &[Asked<'_>]) -> Answer<Basis> {
    let statement = concat!(
        "SELECT s.epoch AS epoch, NOW() AS at, ",
        place!(),
        ", ",
        log_row!(),
        ", ",
        membership!(),
        " FROM chat_store s LEFT JOIN LIST(conversation uuid, id uuid, user_id text) j ON true \
         LEFT JOIN chat_conversations c ON c.id = j.conversation \
         LEFT JOIN chat_log l ON l.conversation = j.conversation AND l.id = j.id \
         LEFT JOIN chat_members m ON m.conversation = j.conversation AND m.user_id = j.user_id"
    );
    let argument = crate::database::Argument::Asked(
        asked.iter().map(|a| *a.conversation.as_uuid()).collect(),
        asked.iter().map(|a| a.id.map(|id| *id.as_uuid())).collect(),
        asked.iter().map(|a| a.user_id.map(ToString::to_string)).collect(),
    );
    let rows = database.fetch(statement, &[argument]).await?;
    let first = rows.first().ok_or_else(no_identity)?;
    let at = match database.at() {
        Some(at) => at,
        None => Timestamp(number(first, "at")?),
    };
    Basis::of(epoch(first)?, at, &rows)
}

/// The first answer of the direct conversation of a pair.
pub(crate) async fn direct(database: &mut impl Database, pair: &(UserId, UserId)) -> Answer<Option<Prior>> {
    let statement = concat!(
        "SELECT c.id AS conversation, ",
        log_row!(),
        " FROM chat_conversations c JOIN chat_log l ON l.conversation = c.id AND l.seq = 1 \
         WHERE c.pair_low = $1 AND c.pair_high = $2"
    );
    let arguments = [Text(pair.0.as_str()), Text(pair.1.as_str())];
    let rows = database.fetch(statement, &arguments).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let conversation = conversation(row)?;
    Ok(rows::log_row(row)?.map(|first| first.prior(conversation)))
}

/// In how many conversations each is a member now.
pub(crate) async fn inboxes(database: &mut impl Database, users: &[UserId]) -> Answer<HashMap<UserId, u64>> {
    let statement = "SELECT j.id AS user_id, (SELECT count(*) FROM chat_members m WHERE m.user_id = j.id \
                     AND m.ended IS NULL) AS count FROM LIST(id text) j";
    let rows = database.fetch(statement, &[names(users)]).await?;
    by_user(&rows, |row| number(row, "count").map(Some))
}

pub(crate) async fn current_members(database: &mut impl Database, conversation: ConversationId) -> Answer<Vec<UserId>> {
    let statement = "SELECT user_id FROM chat_members WHERE conversation = $1 AND ended IS NULL";
    users(&database.fetch(statement, &[id(conversation)]).await?)
}

pub(crate) async fn prior(
    database: &mut impl Database,
    conversation: ConversationId,
    command: CommandId,
) -> Answer<store::Read<Option<Prior>>> {
    let statement = concat!(
        "SELECT s.epoch AS epoch, ",
        log_row!(),
        " FROM chat_store s LEFT JOIN chat_log l ON l.conversation = $1 AND l.id = $2"
    );
    let rows = database
        .fetch(statement, &[id(conversation), Id(*command.as_uuid())])
        .await?;
    let row = rows.first().ok_or_else(no_identity)?;
    Ok(store::Read {
        epoch: epoch(row)?,
        value: rows::log_row(row)?.map(|row| row.prior(conversation)),
    })
}

/// One statement, however many conversations there are.
pub(crate) async fn memberships(
    database: &mut impl Database,
    user: &UserId,
    changed_after: Option<Revision>,
) -> Answer<store::Read<Memberships>> {
    let statement = concat!(
        "SELECT s.epoch AS epoch, u.revision AS revision, ",
        "c.id AS c_id, c.history AS c_history, c.head_seq AS c_head_seq, c.head_tag AS c_head_tag, ",
        "m.joined AS m_joined, m.revision AS m_revision \
         FROM chat_store s LEFT JOIN chat_users u ON u.id = $1 \
         LEFT JOIN chat_members m ON m.user_id = u.id AND m.ended IS NULL AND m.revision > $2 \
         LEFT JOIN chat_conversations c ON c.id = m.conversation ORDER BY m.conversation"
    );
    // Every membership has a revision of at least 1: it was raised when it began.
    let after = changed_after.unwrap_or(Revision::ZERO);
    let rows = database
        .fetch(statement, &[Text(user.as_str()), Number(after.0)])
        .await?;
    let first = rows.first().ok_or_else(no_identity)?;
    let membership = |row| rows::membership_of_log(row).transpose();
    Ok(store::Read {
        epoch: epoch(first)?,
        value: Memberships {
            revision: Revision(rows::maybe(first, "revision")?.unwrap_or(0)),
            memberships: rows.iter().filter_map(membership).collect::<Answer<_>>()?,
        },
    })
}

pub(crate) async fn heads(
    database: &mut impl Database,
    conversations: &[ConversationId],
) -> Answer<store::Read<Vec<Head>>> {
    let statement = "SELECT s.epoch AS epoch, c.id AS conversation, c.head_seq AS head_seq, c.head_tag AS head_tag \
                     FROM chat_store s LEFT JOIN LIST(id uuid) j ON true LEFT JOIN chat_conversations c ON c.id = j.id \
                     ORDER BY j.n";
    let rows = database.fetch(statement, &[ids(conversations)]).await?;
    let mut heads = Vec::with_capacity(rows.len());
    for row in &rows {
        if read(row.uuid("conversation"))?.is_some() {
            heads.push(head(row)?);
        }
    }
    Ok(store::Read {
        epoch: epoch(rows.first().ok_or_else(no_identity)?)?,
        value: heads,
    })
}

pub(crate) fn head(row: &impl Columns) -> Answer<Head> {
    Ok(Head {
        conversation: conversation(row)?,
        position: position(row, "head_seq", "head_tag")?,
    })
}

/// Those of `others` who share a conversation with the user.
pub(crate) async fn sharing(database: &mut impl Database, user: &UserId, others: &[UserId]) -> Answer<Vec<UserId>> {
    let statement = "SELECT j.id AS user_id FROM LIST(id text) j WHERE EXISTS (SELECT 1 FROM chat_members o \
                     JOIN chat_members m ON m.conversation = o.conversation AND m.user_id = $2 AND m.ended IS NULL \
                     WHERE o.user_id = j.id AND o.ended IS NULL) ORDER BY j.n";
    users(&database.fetch(statement, &[names(others), Text(user.as_str())]).await?)
}

pub(crate) fn id(conversation: ConversationId) -> crate::database::Argument<'static> {
    Id(*conversation.as_uuid())
}

/// A list of objects.
pub(crate) fn list<T: Serialize>(items: impl IntoIterator<Item = T>) -> Answer<crate::database::Argument<'static>> {
    let items: Vec<T> = items.into_iter().collect();
    rows::to_json(&items).map(Json)
}

/// For `LIST(id uuid)`.
pub(crate) fn ids<'a>(
    conversations: impl IntoIterator<Item = &'a ConversationId>,
) -> crate::database::Argument<'static> {
    Ids(conversations.into_iter().map(|id| *id.as_uuid()).collect())
}

/// For `LIST(id text)`.
fn names(users: &[UserId]) -> crate::database::Argument<'static> {
    Names(users.iter().map(ToString::to_string).collect())
}

fn no_identity() -> store::StoreError {
    corrupt("a store without an identity")
}

fn no_message() -> store::StoreError {
    corrupt("a message without an id")
}
