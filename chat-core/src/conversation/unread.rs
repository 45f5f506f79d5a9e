//! Unread is a function of the log and the mark, never a counter that can drift.

use chat_protocol::id::{Seq, UserId};
use chat_protocol::message::Message;

/// Stands for "more than 999".
pub const UNREAD_MAX: u64 = 1_000;

/// How many messages a viewer has not read: after the read mark, visible to them, by others, not deleted.
///
/// Counts to 999; 1000 means more. `messages` may hold any messages of the conversation, as they are now. A system
/// message counts as "by others".
pub fn unread<'a>(
    messages: impl IntoIterator<Item = &'a Message>,
    viewer: &UserId,
    read: Seq,
    visible_from: Seq,
) -> u64 {
    let counts = |message: &&Message| {
        message.seq > read
            && message.seq >= visible_from
            && message.sender.as_ref() != Some(viewer)
            && !message.is_deleted()
    };
    let bound = usize::try_from(UNREAD_MAX).unwrap_or(usize::MAX);
    messages.into_iter().filter(counts).take(bound).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_protocol::id::{MessageId, Timestamp};
    use chat_protocol::message::Content;

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn message(seq: u64, sender: Option<&str>) -> Message {
        Message {
            id: MessageId::from_parts(seq, [1; 10]),
            seq: Seq(seq),
            sender: sender.map(user),
            at: Timestamp(1),
            version: 1,
            changed: Seq(seq),
            edited_at: None,
            deleted_at: None,
            reply_to: None,
            content: Some(Content::text("x")),
            reactions: Vec::new(),
        }
    }

    #[test]
    fn own_deleted_read_and_invisible_messages_do_not_count_and_system_messages_do() {
        let mut messages: Vec<_> = (1..=8).map(|seq| message(seq, Some("bob"))).collect();
        messages[5].sender = Some(user("ann"));
        messages[6].deleted_at = Some(Timestamp(2));
        messages[7].sender = None;
        let ann = user("ann");
        assert_eq!(unread(&messages, &ann, Seq(0), Seq(1)), 6);
        assert_eq!(unread(&messages, &ann, Seq(3), Seq(1)), 3);
        assert_eq!(unread(&messages, &ann, Seq(3), Seq(5)), 2);
        assert_eq!(unread(&messages, &ann, Seq(8), Seq(1)), 0);
    }

    #[test]
    fn it_is_exact_to_999_and_then_says_1000() {
        let messages: Vec<_> = (1..=1_500).map(|seq| message(seq, None)).collect();
        let ann = user("ann");
        assert_eq!(unread(&messages[..999], &ann, Seq(0), Seq(1)), 999);
        assert_eq!(unread(&messages[..1_000], &ann, Seq(0), Seq(1)), 1_000);
        assert_eq!(unread(&messages, &ann, Seq(0), Seq(1)), 1_000);
    }
}
