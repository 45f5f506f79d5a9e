//! The rules of conversations, pure: what a command does to the facts that a store holds.

/// The bounds that the rules need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
