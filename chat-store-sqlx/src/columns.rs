//! The columns of each kind of row, under the names by which `rows.rs` reads them; the same text in both dialects.

/// Of `chat_conversations c`.
macro_rules! place {
    () => {
        "c.id AS c_id, c.kind AS c_kind, c.title AS c_title, c.public AS c_public, c.history AS c_history, \
         c.meta AS c_meta, c.created_at AS c_created_at, c.member_count AS c_member_count, c.owner AS c_owner, \
         c.deleted AS c_deleted, c.pair_low AS c_pair_low, c.pair_high AS c_pair_high, c.head_seq AS c_head_seq, \
         c.head_tag AS c_head_tag"
    };
}

/// Of `chat_members m`.
macro_rules! membership {
    () => {
        "m.user_id AS m_user, m.role AS m_role, m.joined AS m_joined, m.ended AS m_ended, m.read AS m_read, \
         m.delivered AS m_delivered, m.muted AS m_muted, m.archived AS m_archived, m.revision AS m_revision"
    };
}

/// Of `chat_log l`.
macro_rules! log_row {
    () => {
        "l.seq AS l_seq, l.tag AS l_tag, l.id AS l_id, l.actor AS l_actor, l.at AS l_at, \
         l.fingerprint AS l_fingerprint, l.kind AS l_kind, l.detail AS l_detail"
    };
}

/// Of `chat_messages w`.
macro_rules! message {
    () => {
        "w.id AS w_id, w.seq AS w_seq, w.sender AS w_sender, w.at AS w_at, w.version AS w_version, \
         w.changed AS w_changed, w.edited_at AS w_edited_at, w.deleted_at AS w_deleted_at, w.reply_to AS w_reply_to, \
         w.content AS w_content, w.reactions AS w_reactions"
    };
}

pub(crate) use {log_row, membership, message, place};
