//! What a client asks: one struct a command, and the closed list of them.
//!
//! Every command that makes an event carries an `id` minted by the client, which makes it idempotent for the life of
//! what it made. Marks, mute and archive are idempotent by value and carry none.

use crate::conversation::{ConversationKind, HistoryVisibility, Role, is_false};
use crate::id::{CommandId, ConversationId, MessageId, Position, Seq, UserId};
use crate::message::Content;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

macro_rules! commands {
    ($($(#[$doc:meta])* $variant:ident $(($durable:ident))? = $name:literal { $($(#[$fdoc:meta])* $field:ident: $type:ty),* $(,)? })+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
            pub struct $variant { $($(#[$fdoc])* pub $field: $type,)* }

            impl From<$variant> for Command {
                fn from(command: $variant) -> Self {
                    Self::$variant(command)
                }
            }
        )+

        /// A command; its name travels beside it, its fields as `data`.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum Command {
            $($(#[$doc])* $variant($variant),)+
        }

        impl Command {
            /// Every command's name.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// Its name on the wire.
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)+ }
            }

            /// The id of a durable command.
            pub fn id(&self) -> Option<CommandId> {
                match self { $(Self::$variant(_command) => commands!(@id _command $($durable)?),)+ }
            }

            /// Reads the data of the command of this name; `None` when no command has it.
            pub(crate) fn decode<'de, D: serde::Deserializer<'de>>(name: &str, data: D) -> Option<Result<Self, D::Error>> {
                Some(match name {
                    $($name => <$variant as Deserialize>::deserialize(data).map(Self::$variant),)+
                    _ => return None,
                })
            }
        }
    };
    (@id $command:ident durable) => { Some($command.id.into()) };
    (@id $command:ident) => { None };
}

commands! {
    /// Writes a message.
    MessageSend(durable) = "message:send" {
        /// Where.
        conversation: ConversationId,
        /// The message's id.
        id: MessageId,
        /// What it says.
        content: Content,
        /// The message that it answers; must be in the same conversation.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<MessageId>,
    }
    /// Replaces the content of one's own message.
    MessageEdit(durable) = "message:edit" {
        /// Where.
        conversation: ConversationId,
        /// The command's id.
        id: CommandId,
        /// Which message.
        message: MessageId,
        /// The version that the editor saw; `version_conflict` when it has changed since.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
        /// What it says now.
        content: Content,
    }
    /// Deletes one's own message, or as an admin anybody's: what remains is a tombstone.
    MessageDelete(durable) = "message:delete" {
        /// Where.
        conversation: ConversationId,
        /// The command's id.
        id: CommandId,
        /// Which message.
        message: MessageId,
    }
    /// Puts a reaction on a message; putting it twice changes nothing more.
    ReactionAdd(durable) = "reaction:add" {
        /// Where.
        conversation: ConversationId,
        /// The command's id.
        id: CommandId,
        /// Which message.
        message: MessageId,
        /// 1 to 32 bytes.
        emoji: String,
    }
    /// Takes one's own reaction away.
    ReactionRemove(durable) = "reaction:remove" {
        /// Where.
        conversation: ConversationId,
        /// The command's id.
        id: CommandId,
        /// Which message.
        message: MessageId,
        /// 1 to 32 bytes.
        emoji: String,
    }
    /// Opens a conversation; a direct one is found by its pair of users when it exists.
    ConversationCreate(durable) = "conversation:create" {
        /// The new conversation's id.
        conversation: ConversationId,
        /// The command's id.
        id: CommandId,
        /// Direct, group or channel.
        kind: ConversationKind,
        /// What to call it; not for a direct one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// Whether anyone may join; only for a channel.
        #[serde(default, skip_serializing_if = "is_false")]
        public: bool,
        /// From where on members read; `joined` unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        history: Option<HistoryVisibility>,
        /// The first members beside the creator: at most 50; for a direct one the other user, or nobody.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        members: Vec<UserId>,
        /// The host's own data.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        meta: Option<Map<String, Value>>,
    }
    /// Changes title or meta; what is absent stays.
    ConversationUpdate(durable) = "conversation:update" {
        /// Which.
        conversation: ConversationId,
        /// The command's id.
        id: CommandId,
        /// The new title.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// The new meta, whole.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        meta: Option<Map<String, Value>>,
    }
    /// Ends a conversation for everybody.
    ConversationDelete(durable) = "conversation:delete" {
        /// Which.
        conversation: ConversationId,
        /// The command's id.
        id: CommandId,
    }
    /// Joins a public channel.
    ConversationJoin(durable) = "conversation:join" {
        /// Which.
        conversation: ConversationId,
        /// The command's id.
        id: CommandId,
    }
    /// Leaves a group or channel.
    ConversationLeave(durable) = "conversation:leave" {
        /// Which.
        conversation: ConversationId,
        /// The command's id.
        id: CommandId,
    }
    /// Adds a user as a member.
    MemberAdd(durable) = "member:add" {
        /// Where.
        conversation: ConversationId,
        /// The command's id.
        id: CommandId,
        /// Whom.
        user: UserId,
    }
    /// Removes a member.
    MemberRemove(durable) = "member:remove" {
        /// Where.
        conversation: ConversationId,
        /// The command's id.
        id: CommandId,
        /// Whom.
        user: UserId,
    }
    /// Gives a member another role; giving `owner` hands over ownership, and the giver becomes an admin.
    MemberRole(durable) = "member:role" {
        /// Where.
        conversation: ConversationId,
        /// The command's id.
        id: CommandId,
        /// Whose.
        user: UserId,
        /// The new role.
        role: Role,
    }
    /// Says how far one has read; a mark only grows.
    MarkRead = "mark:read" {
        /// Where.
        conversation: ConversationId,
        /// Up to here.
        seq: Seq,
    }
    /// Says how far one's devices have received; a mark only grows.
    MarkDelivered = "mark:delivered" {
        /// Where.
        conversation: ConversationId,
        /// Up to here.
        seq: Seq,
    }
    /// Sets one's own mute.
    InboxMute = "inbox:mute" {
        /// Which.
        conversation: ConversationId,
        /// Muted or not.
        muted: bool,
    }
    /// Sets one's own archive.
    InboxArchive = "inbox:archive" {
        /// Which.
        conversation: ConversationId,
        /// Archived or not.
        archived: bool,
    }
    /// Asks for a page of one's inbox, in a stable order.
    InboxList = "inbox:list" {
        /// Where the page before ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        page: Option<PageToken>,
        /// At most 50, which is the default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
    }
    /// Asks for messages before, after or around a seq; the newest when none is given.
    HistoryList = "history:list" {
        /// Where.
        conversation: ConversationId,
        /// Messages with a lower seq, the nearest first cut off.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Seq>,
        /// Messages with a higher seq.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Seq>,
        /// Messages on both sides, the one at this seq included.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        around: Option<Seq>,
        /// At most 200; 50 unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
    }
    /// Asks for a page of the log after a position.
    LogList = "log:list" {
        /// Where.
        conversation: ConversationId,
        /// The last position that one has.
        after: Position,
        /// At most 200, which is the default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
    }
    /// Asks for a conversation with up to 50 members; a public channel answers non-members with its title.
    ConversationGet = "conversation:get" {
        /// Which.
        conversation: ConversationId,
    }
    /// Asks for a page of members in the order of their ids.
    MemberList = "member:list" {
        /// Where.
        conversation: ConversationId,
        /// Where the page before ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        page: Option<PageToken>,
        /// At most 50, which is the default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
    }
    /// Asks for a page of the members' marks in the order of their ids.
    MarkList = "mark:list" {
        /// Where.
        conversation: ConversationId,
        /// Where the page before ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        page: Option<PageToken>,
        /// At most 50, which is the default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
    }
    /// Asks who chose an emoji on a message.
    ReactionList = "reaction:list" {
        /// Where.
        conversation: ConversationId,
        /// Which message.
        message: MessageId,
        /// Which emoji.
        emoji: String,
        /// Where the page before ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        page: Option<PageToken>,
        /// At most 50, which is the default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
    }
    /// Says that one is typing, or no longer.
    Typing = "typing" {
        /// Where.
        conversation: ConversationId,
        /// Typing or not.
        active: bool,
    }
    /// Replaces the set of users whose presence one watches: at most 200; the state comes first, then changes.
    WatchPresence = "watch:presence" {
        /// Whom; each must share a conversation with one.
        users: Vec<UserId>,
    }
    /// Replaces the set of conversations whose typing and receipts one watches: at most 20.
    WatchConversations = "watch:conversations" {
        /// Which; one must be a member.
        conversations: Vec<ConversationId>,
    }
    /// Brings a fresh token before the old one runs out.
    AuthRefresh = "auth:refresh" {
        /// The new token; must be of the same user.
        token: Token,
    }
}

impl Command {
    /// Reads a command that was written down as its name and data; unknown fields are ignored.
    ///
    /// # Errors
    /// When no command has this name, or the data is not its.
    pub fn from_parts(name: &str, data: &Value) -> Result<Self, crate::codec::FrameError> {
        let command = Self::decode(name, data).ok_or_else(|| format!("no command {name}"));
        let command = command.and_then(|read| read.map_err(|error| error.to_string()));
        command.map_err(|fault| crate::codec::FrameError::Unreadable(fault.into()))
    }

    /// The conversation that the command is about, if it is about one.
    pub fn conversation(&self) -> Option<ConversationId> {
        Some(match self {
            Self::MessageSend(c) => c.conversation,
            Self::MessageEdit(c) => c.conversation,
            Self::MessageDelete(c) => c.conversation,
            Self::ReactionAdd(c) => c.conversation,
            Self::ReactionRemove(c) => c.conversation,
            Self::ConversationCreate(c) => c.conversation,
            Self::ConversationUpdate(c) => c.conversation,
            Self::ConversationDelete(c) => c.conversation,
            Self::ConversationJoin(c) => c.conversation,
            Self::ConversationLeave(c) => c.conversation,
            Self::MemberAdd(c) => c.conversation,
            Self::MemberRemove(c) => c.conversation,
            Self::MemberRole(c) => c.conversation,
            Self::MarkRead(c) => c.conversation,
            Self::MarkDelivered(c) => c.conversation,
            Self::InboxMute(c) => c.conversation,
            Self::InboxArchive(c) => c.conversation,
            Self::HistoryList(c) => c.conversation,
            Self::LogList(c) => c.conversation,
            Self::ConversationGet(c) => c.conversation,
            Self::MemberList(c) => c.conversation,
            Self::MarkList(c) => c.conversation,
            Self::ReactionList(c) => c.conversation,
            Self::Typing(c) => c.conversation,
            Self::InboxList(_) | Self::WatchPresence(_) | Self::WatchConversations(_) | Self::AuthRefresh(_) => {
                return None;
            }
        })
    }

    /// Addresses a durable command to another conversation; others stay as they are.
    pub fn readdress(&mut self, to: ConversationId) {
        let conversation = match self {
            Self::MessageSend(c) => &mut c.conversation,
            Self::MessageEdit(c) => &mut c.conversation,
            Self::MessageDelete(c) => &mut c.conversation,
            Self::ReactionAdd(c) => &mut c.conversation,
            Self::ReactionRemove(c) => &mut c.conversation,
            Self::ConversationCreate(c) => &mut c.conversation,
            Self::ConversationUpdate(c) => &mut c.conversation,
            Self::ConversationDelete(c) => &mut c.conversation,
            Self::ConversationJoin(c) => &mut c.conversation,
            Self::ConversationLeave(c) => &mut c.conversation,
            Self::MemberAdd(c) => &mut c.conversation,
            Self::MemberRemove(c) => &mut c.conversation,
            Self::MemberRole(c) => &mut c.conversation,
            Self::MarkRead(_)
            | Self::MarkDelivered(_)
            | Self::InboxMute(_)
            | Self::InboxArchive(_)
            | Self::InboxList(_)
            | Self::HistoryList(_)
            | Self::LogList(_)
            | Self::ConversationGet(_)
            | Self::MemberList(_)
            | Self::MarkList(_)
            | Self::ReactionList(_)
            | Self::Typing(_)
            | Self::WatchPresence(_)
            | Self::WatchConversations(_)
            | Self::AuthRefresh(_) => return,
        };
        *conversation = to;
    }
}

/// Where a page ended: opaque, at most 256 bytes, without controls.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PageToken(pub String);

/// A host's token; it prints as `[redacted]`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}
