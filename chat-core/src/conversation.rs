//! The rules of conversations, pure: what a command does to the facts that a store holds.
//!
//! A store loads [`Facts`], asks [`judge`], and does what the [`Verdict`] says; it never decides anything itself. What
//! it keeps are [`LogRow`]s, chained by [`chain`], and messages as they are now; what it hands out is
//! [`render`]ed at the read. No clock, no randomness, no storage here.

mod chain;
#[cfg(test)]
mod examples;
mod facts;
mod judge;
mod marks;
mod page_room;
mod policy;
mod render;
mod row;
mod unread;
mod visibility;

pub use chain::chain;
pub use chat_protocol::conversation::{
    Conversation, ConversationKind, HistoryVisibility, InboxEntry, Marks, Member, Role,
};
pub use facts::{Change, ConversationFacts, Facts, MemberFacts, Touches, Verdict, Write, touches};
pub use judge::judge;
pub use marks::{MarkChange, raise_delivered, raise_read};
pub use page_room::PageRoom;
pub use policy::{Standing, policy};
pub use render::{Current, render};
pub use row::{FirstMember, LogKind, LogRow};
pub use unread::{UNREAD_MAX, unread};
pub use visibility::{Visible, visibility, was_written_after};

/// The bounds that the rules need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuleLimits {
    /// Members of a group.
    pub group_members_max: u64,
    /// Members of a channel.
    pub channel_members_max: u64,
    /// Conversations of a user.
    pub inbox_max: u64,
    /// Different emojis on a message.
    pub reactions_max: u64,
}

impl Default for RuleLimits {
    fn default() -> Self {
        Self {
            group_members_max: 1_000,
            channel_members_max: 100_000,
            inbox_max: 10_000,
            reactions_max: 50,
        }
    }
}
