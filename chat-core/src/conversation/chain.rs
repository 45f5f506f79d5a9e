//! Tags: how a log that went another way is noticed.

use chat_protocol::id::{CommandId, ConversationId, Seq, Tag};
use sha2::{Digest, Sha256};

/// The tag of a log row, from the tag of the row before; the first row follows [`Tag::ZERO`].
///
/// It covers what the envelope of every event shows and what neither a delete nor an erase changes, never the
/// content: so anybody who holds two neighbouring events can check them, of kinds they do not know too.
pub fn chain(previous: Tag, conversation: ConversationId, seq: Seq, kind: &str, id: CommandId) -> Tag {
    let mut hasher = Sha256::new();
    hasher.update(previous.0.to_be_bytes());
    hasher.update(conversation.as_uuid().as_bytes());
    hasher.update(seq.0.to_be_bytes());
    hasher.update(id.as_uuid().as_bytes());
    hasher.update(kind.as_bytes()); // last, so that its length needs no mark
    let mut short = [0; 8];
    short.copy_from_slice(&hasher.finalize()[..8]);
    Tag(u64::from_be_bytes(short))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_covers_every_part_of_the_row_and_is_the_same_for_ever() {
        let conversation = ConversationId::from_parts(1, [1; 10]);
        let id = CommandId::from_parts(2, [2; 10]);
        let tag = chain(Tag::ZERO, conversation, Seq(1), "message:new", id);
        let others = [
            chain(Tag(1), conversation, Seq(1), "message:new", id),
            chain(
                Tag::ZERO,
                ConversationId::from_parts(1, [2; 10]),
                Seq(1),
                "message:new",
                id,
            ),
            chain(Tag::ZERO, conversation, Seq(2), "message:new", id),
            chain(Tag::ZERO, conversation, Seq(1), "message:deleted", id),
            chain(
                Tag::ZERO,
                conversation,
                Seq(1),
                "message:new",
                CommandId::from_parts(2, [3; 10]),
            ),
        ];
        assert!(others.iter().all(|other| *other != tag));
        // Stored logs hold tags: another value here means that every client is reset.
        assert_eq!(tag.to_string(), "42a5618cbd99e1ec");
    }
}
