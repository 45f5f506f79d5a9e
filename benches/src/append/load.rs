//! Who sends what, and how many at once.

use crate::load;
use chat_core::id::{ConversationId, UserId};
use std::ops::Range;
use std::sync::Arc;

/// How messages are sent: each sender sends the next one when the one before is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    /// Many conversations with a few senders each.
    Spread,
    /// All senders in one conversation.
    Hot,
    /// One sender alone.
    Lone,
}

const SPREAD_OVER: usize = 100;
const SENDERS: usize = 500;

impl Load {
    pub const ALL: [Self; 3] = [Self::Spread, Self::Hot, Self::Lone];

    pub fn name(self) -> &'static str {
        match self {
            Self::Spread => "100 conversations of 5, 500 in flight",
            Self::Hot => "one conversation of 500, 500 in flight",
            Self::Lone => "one sender, one in flight",
        }
    }

    /// The numbers of its conversations.
    pub fn conversations(self) -> Range<usize> {
        match self {
            Self::Spread => 0..SPREAD_OVER,
            Self::Hot => SPREAD_OVER..SPREAD_OVER + 1,
            Self::Lone => 0..1,
        }
    }

    /// Members of each of its conversations.
    pub fn members(self) -> usize {
        match self {
            Self::Spread | Self::Lone => SENDERS / SPREAD_OVER,
            Self::Hot => SENDERS,
        }
    }

    pub fn senders(self) -> Vec<Arc<Sender>> {
        let count = match self {
            Self::Spread | Self::Hot => SENDERS,
            Self::Lone => 1,
        };
        let conversations = self.conversations();
        let sender = |index: usize| {
            let conversation = conversations.start + index % conversations.len();
            Arc::new(Sender {
                conversation,
                id: load::conversation(conversation),
                user: load::user(conversation, index / conversations.len()),
            })
        };
        (0..count).map(sender).collect()
    }
}

/// A member of a conversation, who writes.
#[derive(Debug)]
pub(super) struct Sender {
    /// The number of their conversation.
    pub conversation: usize,
    pub id: ConversationId,
    pub user: UserId,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_sender_is_another_member_of_a_conversation_of_the_load() {
        for load in Load::ALL {
            let senders = load.senders();
            let users: HashSet<_> = senders.iter().map(|sender| &sender.user).collect();
            assert_eq!(users.len(), senders.len());
            for sender in &senders {
                assert!(load.conversations().contains(&sender.conversation));
                let is_member = |member| load::user(sender.conversation, member) == sender.user;
                assert!((0..load.members()).any(is_member), "{sender:?}");
            }
        }
    }
}
