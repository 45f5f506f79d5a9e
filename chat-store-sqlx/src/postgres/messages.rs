//! The way of most messages: one statement that takes the conversations, if they are as they were judged, and writes.

use super::held::Hold;
use super::session::{Prepared, Session};
use crate::database::Answer;
use crate::rows::{conversation, epoch, int, number, tag_bits, to_json};
use crate::writes::{Writes, Written};
use chat_core::id::{Timestamp, UserId};
use uuid::Uuid;

/// Writes messages that were judged without a lock.
///
/// Whatever the judge looks at changes together with the head of its log. So a conversation whose head is still the one
/// that was judged has not changed, and one whose row is locked, or whose head has moved, is left for the next round:
/// rows are taken in the order of their ids, and none is waited for. So is one in which an id is there already.
///
/// Only for [`Writes::only_messages`].
pub(super) async fn write_messages<C: Hold>(session: &mut Session<C>, writes: &Writes) -> Answer<Written> {
    if writes.is_empty() {
        return Ok(Written::default());
    }
    let query = bound(session.query(STATEMENT), writes)?;
    let rows = session.all(query).await?;
    let said = |row| Ok((epoch(row)?, Timestamp(number(row, "at")?)));
    Ok(Written {
        conversations: rows.iter().map(conversation).collect::<Answer<_>>()?,
        said: rows.first().map(said).transpose()?,
    })
}

pub(super) const STATEMENT: &str = "WITH lines AS MATERIALIZED ( \
        SELECT j.conversation, j.seq, j.tag, j.id, j.actor COLLATE \"C\" AS actor, j.fingerprint, j.reply_to, \
        j.content FROM unnest($6::uuid[], $7::bigint[], $8::bigint[], $9::uuid[], $10::text[], $11::uuid[], \
        $12::uuid[], $13::text[]) AS j(conversation, seq, tag, id, actor, fingerprint, reply_to, content) \
    ), taken AS ( \
        SELECT c.id, j.new_seq, j.new_tag FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], \
        $5::bigint[]) AS j(id, old_seq, old_tag, new_seq, new_tag) \
        JOIN chat_conversations c ON c.id = j.id AND c.head_seq = j.old_seq AND c.head_tag = j.old_tag \
        WHERE j.id NOT IN ( \
            SELECT l.conversation FROM lines l JOIN chat_log g ON g.conversation = l.conversation AND g.id = l.id \
        ) ORDER BY c.id FOR NO KEY UPDATE OF c SKIP LOCKED \
    ), bumped AS ( \
        UPDATE chat_conversations c SET head_seq = t.new_seq, head_tag = t.new_tag, changed = CHANGE() \
        FROM taken t WHERE c.id = t.id RETURNING c.id, (extract(epoch FROM statement_timestamp()) * 1000)::bigint AS at \
    ), news AS MATERIALIZED ( \
        SELECT l.*, b.at FROM lines l JOIN bumped b ON b.id = l.conversation \
    ), logged AS ( \
        INSERT INTO chat_log (conversation, seq, tag, id, actor, at, fingerprint, kind, message_seq) \
        SELECT conversation, seq, tag, id, actor, at, fingerprint, 'message:new', seq FROM news \
    ), written AS ( \
        INSERT INTO chat_messages (conversation, seq, id, sender, at, version, changed, reply_to, content) \
        SELECT conversation, seq, id, actor, at, 1, seq, reply_to, content FROM news \
    ), marked AS ( \
        UPDATE chat_members m SET read = greatest(m.read, s.seq), delivered = greatest(m.delivered, s.seq) \
        FROM unnest($14::uuid[], $15::text[], $16::bigint[]) AS s(conversation, user_id, seq) \
        JOIN bumped b ON b.id = s.conversation \
        WHERE m.conversation = s.conversation AND m.user_id = s.user_id COLLATE \"C\" \
    ) SELECT id AS conversation, at, (SELECT epoch FROM chat_store) AS epoch FROM bumped";

/// Binds what the statement takes: the heads before and after, the lines of the messages, the marks of their senders.
pub(super) fn bound<'q>(query: Prepared<'q>, writes: &'q Writes) -> Answer<Prepared<'q>> {
    let mut heads = Heads::default();
    for (id, (place, before)) in &writes.places {
        let Some(before) = before else { continue };
        heads.conversations.push(*id.as_uuid());
        heads.old_seqs.push(int(before.seq.0));
        heads.old_tags.push(tag_bits(before.tag));
        heads.new_seqs.push(int(place.head.seq.0));
        heads.new_tags.push(tag_bits(place.head.tag));
    }
    let mut lines = Lines::default();
    for (conversation, row, message) in writes.messages() {
        lines.conversations.push(*conversation.as_uuid());
        lines.seqs.push(int(row.seq.0));
        lines.tags.push(tag_bits(row.tag));
        lines.ids.push(*row.id.as_uuid());
        lines.actors.push(row.actor.user().map(UserId::as_str));
        let fingerprint = row.fingerprint.map(|print| Uuid::from_bytes(print.0));
        lines.fingerprints.push(fingerprint);
        lines.replies.push(message.reply_to.map(|id| *id.as_uuid()));
        lines.contents.push(message.content.as_ref().map(to_json).transpose()?);
    }
    let mut marks = Marks::default();
    for ((conversation, user), change) in &writes.members {
        let Some(seq) = change.mark else { continue };
        marks.conversations.push(*conversation.as_uuid());
        marks.users.push(user.as_str());
        marks.seqs.push(int(seq.0));
    }
    let query = query
        .bind(heads.conversations)
        .bind(heads.old_seqs)
        .bind(heads.old_tags);
    let query = query.bind(heads.new_seqs).bind(heads.new_tags);
    let query = query.bind(lines.conversations).bind(lines.seqs).bind(lines.tags);
    let query = query.bind(lines.ids).bind(lines.actors).bind(lines.fingerprints);
    let query = query.bind(lines.replies).bind(lines.contents);
    Ok(query.bind(marks.conversations).bind(marks.users).bind(marks.seqs))
}

/// The columns of the heads.
#[derive(Default)]
struct Heads {
    conversations: Vec<Uuid>,
    old_seqs: Vec<i64>,
    old_tags: Vec<i64>,
    new_seqs: Vec<i64>,
    new_tags: Vec<i64>,
}

/// The columns of the messages.
#[derive(Default)]
struct Lines<'a> {
    conversations: Vec<Uuid>,
    seqs: Vec<i64>,
    tags: Vec<i64>,
    ids: Vec<Uuid>,
    actors: Vec<Option<&'a str>>,
    fingerprints: Vec<Option<Uuid>>,
    replies: Vec<Option<Uuid>>,
    contents: Vec<Option<String>>,
}

/// The columns of the marks.
#[derive(Default)]
struct Marks<'a> {
    conversations: Vec<Uuid>,
    users: Vec<&'a str>,
    seqs: Vec<i64>,
}
