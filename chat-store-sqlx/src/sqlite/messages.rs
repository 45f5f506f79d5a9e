//! The way of most messages: everything that they write, handed to SQLite at once.

use super::session::Session;
use crate::database::Answer;
use crate::rows::{read, tag_bits, to_json};
use crate::writes::Writes;
use chat_core::id::Epoch;
use sqlx::{Sqlite, Transaction};
use uuid::Uuid;

/// Run in this order. Their lists are arrays of arrays: the heads, the lines of the messages, the marks of their senders.
///
/// `OR FAIL`: whoever is refused rolls everything back, so SQLite need not remember what each statement alone has changed.
pub(super) const STATEMENTS: &str = "UPDATE chat_store SET changes = changes + 1 WHERE epoch = $4; \
     UPDATE OR FAIL chat_conversations SET head_seq = j.seq, head_tag = j.tag, changed = CHANGE() \
     FROM (SELECT value ->> 0 AS id, value ->> 1 AS old_seq, value ->> 2 AS old_tag, value ->> 3 AS seq, \
     value ->> 4 AS tag FROM json_each($1)) j WHERE chat_conversations.id = j.id \
     AND chat_conversations.head_seq = j.old_seq AND chat_conversations.head_tag = j.old_tag; \
     INSERT OR FAIL INTO chat_log (conversation, seq, id, actor, at, tag, fingerprint, kind, message_seq) \
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, \
     'message:new', value ->> 1 FROM json_each($2); \
     INSERT OR FAIL INTO chat_messages (conversation, seq, id, sender, at, version, changed, reply_to, content) \
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, 1, value ->> 1, value ->> 7, value ->> 8 \
     FROM json_each($2); \
     UPDATE OR FAIL chat_members SET \
     read = CASE WHEN read < j.seq THEN j.seq ELSE read END, \
     delivered = CASE WHEN delivered < j.seq THEN j.seq ELSE delivered END \
     FROM (SELECT value ->> 0 AS conversation, value ->> 1 AS user_id, value ->> 2 AS seq FROM json_each($3)) j \
     WHERE chat_members.conversation = j.conversation AND chat_members.user_id = j.user_id";

/// Writes messages; whether the log and the heads in it are still those by which they were judged. If not, what it has
/// written is to be rolled back, as after an error, of an id that is there already for instance.
///
/// Only for [`Writes::only_messages`].
pub(super) async fn write_messages(
    session: &mut Session<Transaction<'_, Sqlite>>,
    epoch: Epoch,
    writes: &Writes,
) -> Answer<bool> {
    let heads = writes.places.iter().filter_map(|(id, (place, before))| {
        let (before, head) = ((*before)?, place.head);
        Some((id, before.seq, tag_bits(before.tag), head.seq, tag_bits(head.tag)))
    });
    let heads: Vec<_> = heads.collect();
    let lines = writes.messages().map(|(conversation, row, message)| {
        let fingerprint = row.fingerprint.map(|print| Uuid::from_bytes(print.0));
        let content = message.content.as_ref().map(to_json).transpose()?;
        let (actor, tag) = (row.actor.user(), tag_bits(row.tag));
        Ok((
            conversation,
            row.seq,
            row.id,
            actor,
            row.at,
            tag,
            fingerprint,
            message.reply_to,
            content,
        ))
    });
    let marks = writes.members.iter();
    let marks = marks.filter_map(|((conversation, user), change)| Some((conversation, user, change.mark?)));
    let (lines, marks) = (lines.collect::<Answer<Vec<_>>>()?, marks.collect::<Vec<_>>());
    let query = sqlx::query(session.statements.text(STATEMENTS))
        .bind(to_json(&heads)?)
        .bind(to_json(&lines)?)
        .bind(to_json(&marks)?)
        .bind(epoch.to_string());
    let done = read(query.execute(&mut *session.connection).await)?;
    // Of the store's row, of the heads, of each message twice, of each mark.
    let expected = 1 + heads.len() + 2 * lines.len() + marks.len();
    Ok(done.rows_affected() == expected as u64)
}
