//! Where to ring: conversations and users hash to a fixed number of topics.

use crate::backplane::Topic;
use chat_protocol::id::{ConversationId, UserId};

/// The topic of a conversation among `count` of them.
///
/// # Panics
/// When `count` is zero.
pub fn topic_of_conversation(conversation: &ConversationId, count: u16) -> Topic {
    Topic::Conversations(place(conversation.as_uuid().as_bytes(), count))
}

/// The topic of a user among `count` of them.
///
/// # Panics
/// When `count` is zero.
pub fn topic_of_user(user: &UserId, count: u16) -> Topic {
    Topic::Users(place(user.as_str().as_bytes(), count))
}

/// FNV-1a with 64 bits (draft-eastlake-fnv): the same on every machine and in every version, as nodes must agree.
fn place(bytes: &[u8], count: u16) -> u16 {
    assert!(count > 0, "there is at least one topic");
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    u16::try_from(hash % u64::from(count)).expect("a remainder is below its divisor")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_the_same_on_every_node_for_ever() {
        let conversation = "018f6f2e-8a3b-7c4d-9e5f-0123456789ab".parse().unwrap();
        // The test vector of FNV-1a for "a" ends in 8c: another hash would split a cluster of two versions.
        assert_eq!(place(b"a", 256), 0x8c);
        assert_eq!(topic_of_user(&UserId::new("a").unwrap(), 1024), Topic::Users(0x8c));
        assert_eq!(topic_of_conversation(&conversation, 1024), Topic::Conversations(787));
    }

    #[test]
    fn topics_are_used_evenly() {
        let mut hits = [0_u32; 64];
        for number in 0..6_400 {
            let user = UserId::new(format!("user-{number}")).unwrap();
            let Topic::Users(topic) = topic_of_user(&user, 64) else {
                panic!("a user's topic is one of users");
            };
            hits[usize::from(topic)] += 1;
        }
        assert!(hits.iter().all(|hits| (50..200).contains(hits)), "{hits:?}");
    }
}
