//! What a command may contain: lengths, counts, characters, and which fields go together.
//!
//! Pure and without state: [`check`] judges what a client sent and what a host's own code asks for alike, so that no
//! way in stores what another would have refused. Who may do what, and in which state, is not judged here.

mod text;

use crate::code::ErrorCode;
use crate::command::{Command, ConversationCreate, HistoryList, PageToken};
use crate::conversation::{ConversationKind, HistoryVisibility, Role};
use crate::frame::Hello;
use crate::id::{NUMBER_MAX, Seq};
use crate::message::{Attachment, Content};
use serde_json::{Map, Value};
pub use text::{is_blank, is_name};

/// Bytes of a message's text.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Bytes of meta, written as JSON without spaces.
pub const META_BYTES_MAX: usize = 4 * 1024;
/// Keys of meta.
pub const META_KEYS_MAX: usize = 32;
/// The deepest nesting in meta, meta itself counted: with the frame around it 16.
pub const META_DEPTH_MAX: usize = 12;
/// Bytes of a content's type.
pub const TYPE_BYTES_MAX: usize = 64;
/// Attachments of a message.
pub const ATTACHMENTS_MAX: usize = 10;
/// Bytes of an attachment's id.
pub const ATTACHMENT_ID_BYTES_MAX: usize = 128;
/// Bytes of an attachment's name, and of a title.
pub const NAME_BYTES_MAX: usize = 255;
/// Bytes of a media type.
pub const MEDIA_TYPE_BYTES_MAX: usize = 127;
/// Bytes of an emoji.
pub const EMOJI_BYTES_MAX: usize = 32;
/// First members of a conversation, the creator not counted.
pub const FIRST_MEMBERS_MAX: usize = 50;
/// Users whose presence a session watches.
pub const WATCHED_USERS_MAX: usize = 200;
/// Conversations whose typing and receipts a session watches.
pub const WATCHED_CONVERSATIONS_MAX: usize = 20;
/// Entries of a page of the inbox, members, marks or reactions.
pub const PAGE_MAX: u64 = 50;
/// Messages or events of a page.
pub const LOG_PAGE_MAX: u64 = 200;
/// Bytes of a page token.
pub const PAGE_TOKEN_BYTES_MAX: usize = 256;
/// Bytes of a token.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a guest's name, a device, a client's name or version, the name of a capability.
pub const LABEL_BYTES_MAX: usize = 64;
/// Capabilities that a client names.
pub const WANTS_MAX: usize = 32;
/// Bytes of a session's secret.
pub const SECRET_BYTES_MAX: usize = 256;

/// Why a command is refused whatever the state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// `invalid_argument` or `too_large`, and `unknown_command` when it was decoded.
    pub code: ErrorCode,
    /// A sentence that names the field and says what is right.
    pub message: String,
}

impl Refusal {
    /// An `invalid_argument`.
    pub fn argument(message: impl Into<String>) -> Self {
        Self {
            code: ErrorCode::InvalidArgument,
            message: message.into(),
        }
    }

    fn too_large(message: impl Into<String>) -> Self {
        Self {
            code: ErrorCode::TooLarge,
            message: message.into(),
        }
    }
}

/// Judges what a command contains.
///
/// # Errors
/// A [`Refusal`] that names the field.
pub fn check(command: &Command) -> Result<(), Refusal> {
    match command {
        Command::MessageSend(c) => content(&c.content),
        Command::MessageEdit(c) => {
            number("version", c.version)?;
            content(&c.content)
        }
        Command::ReactionAdd(c) => emoji(&c.emoji),
        Command::ReactionRemove(c) => emoji(&c.emoji),
        Command::ConversationCreate(c) => create(c),
        Command::ConversationUpdate(c) => {
            if c.title.is_none() && c.meta.is_none() {
                return Err(Refusal::argument("title, meta: one of them must be there"));
            }
            c.title.as_deref().map_or(Ok(()), |title| name("title", title))?;
            c.meta.as_ref().map_or(Ok(()), |value| meta("meta", value))
        }
        Command::MemberRole(c) => match c.role {
            Role::Unknown(_) => Err(Refusal::argument("role: must be owner, admin or member")),
            Role::Owner | Role::Admin | Role::Member => Ok(()),
        },
        Command::MarkRead(c) => seq("seq", Some(c.seq)),
        Command::MarkDelivered(c) => seq("seq", Some(c.seq)),
        Command::InboxList(c) => page(&c.page, c.limit),
        Command::MemberList(c) => page(&c.page, c.limit),
        Command::MarkList(c) => page(&c.page, c.limit),
        Command::ReactionList(c) => {
            emoji(&c.emoji)?;
            page(&c.page, c.limit)
        }
        Command::HistoryList(c) => history(c),
        Command::LogList(c) => {
            seq("after.seq", Some(c.after.seq))?;
            limit(c.limit, LOG_PAGE_MAX)
        }
        Command::WatchPresence(c) => count("users", c.users.len(), WATCHED_USERS_MAX),
        Command::WatchConversations(c) => count("conversations", c.conversations.len(), WATCHED_CONVERSATIONS_MAX),
        Command::AuthRefresh(c) => bytes("token", &c.token.0, TOKEN_BYTES_MAX),
        Command::MessageDelete(_)
        | Command::ConversationDelete(_)
        | Command::ConversationJoin(_)
        | Command::ConversationLeave(_)
        | Command::MemberAdd(_)
        | Command::MemberRemove(_)
        | Command::InboxMute(_)
        | Command::InboxArchive(_)
        | Command::ConversationGet(_)
        | Command::Typing(_) => Ok(()),
    }
}

/// Judges what a hello contains; what is wrong with one is a reason to close with 4500.
///
/// # Errors
/// A sentence that names the field.
pub fn check_hello(hello: &Hello) -> Result<(), &'static str> {
    let label = |text: &str| text.len() <= LABEL_BYTES_MAX && !text.chars().any(char::is_control);
    if hello
        .guest
        .as_deref()
        .is_some_and(|guest| !label(guest) || !is_name(guest))
    {
        return Err("guest: must have 1 to 64 bytes, something visible, no controls, no bidirectional overrides");
    }
    if hello
        .session
        .as_ref()
        .is_some_and(|session| session.secret.len() > SECRET_BYTES_MAX)
    {
        return Err("session.secret: is too long");
    }
    if hello
        .client
        .as_ref()
        .is_some_and(|client| !label(&client.name) || !label(&client.version))
    {
        return Err("client: name and version must be at most 64 bytes without controls");
    }
    if hello
        .device
        .as_ref()
        .is_some_and(|device| device.len() > LABEL_BYTES_MAX)
    {
        return Err("device: must be at most 64 bytes");
    }
    if hello.wants.len() > WANTS_MAX || hello.wants.iter().any(|want| !label(want)) {
        return Err("wants: must be at most 32 names of at most 64 bytes");
    }
    Ok(())
}

/// Judges what a message says.
///
/// # Errors
/// A [`Refusal`] that names the field.
pub fn content(content: &Content) -> Result<(), Refusal> {
    let text = content.text.as_deref().unwrap_or_default();
    if text.is_empty() && content.attachments.is_empty() && content.meta.as_ref().is_none_or(Map::is_empty) {
        return Err(Refusal::argument(
            "content: one of text, attachments and meta must be there and not empty",
        ));
    }
    label("content.type", &content.kind, TYPE_BYTES_MAX)?;
    if text.len() > TEXT_BYTES_MAX {
        return Err(over("content.text", "bytes", TEXT_BYTES_MAX));
    }
    if text::has_control(text) {
        return Err(controls("content.text"));
    }
    count("content.attachments", content.attachments.len(), ATTACHMENTS_MAX)?;
    for (index, file) in content.attachments.iter().enumerate() {
        attachment(&format!("content.attachments[{index}]"), file)?;
    }
    content
        .meta
        .as_ref()
        .map_or(Ok(()), |value| meta("content.meta", value))
}

fn attachment(path: &str, file: &Attachment) -> Result<(), Refusal> {
    label(&format!("{path}.id"), &file.id, ATTACHMENT_ID_BYTES_MAX)?;
    name(&format!("{path}.name"), &file.name)?;
    let path_of_type = format!("{path}.media_type");
    label(&path_of_type, &file.media_type, MEDIA_TYPE_BYTES_MAX)?;
    if !text::is_media_type(&file.media_type) {
        return Err(Refusal::argument(format!("{path_of_type}: must be like image/png")));
    }
    number(&format!("{path}.size"), Some(file.size))
}

fn create(create: &ConversationCreate) -> Result<(), Refusal> {
    let direct = match create.kind {
        ConversationKind::Direct => true,
        ConversationKind::Group | ConversationKind::Channel => false,
        ConversationKind::Unknown(_) => return Err(Refusal::argument("kind: must be direct, group or channel")),
    };
    if direct && create.title.is_some() {
        return Err(Refusal::argument("title: a direct conversation has none"));
    }
    if create.public && create.kind != ConversationKind::Channel {
        return Err(Refusal::argument("public: only a channel can be public"));
    }
    if let Some(HistoryVisibility::Unknown(_)) = create.history {
        return Err(Refusal::argument("history: must be joined or all"));
    }
    count("members", create.members.len(), FIRST_MEMBERS_MAX)?;
    if direct && create.members.len() > 1 {
        return Err(Refusal::argument(
            "members: a direct conversation has one other user, or none",
        ));
    }
    for (index, user) in create.members.iter().enumerate() {
        if create.members[..index].contains(user) {
            return Err(Refusal::argument(format!("members[{index}]: comes twice")));
        }
    }
    create.title.as_deref().map_or(Ok(()), |title| name("title", title))?;
    create.meta.as_ref().map_or(Ok(()), |value| meta("meta", value))
}

fn history(list: &HistoryList) -> Result<(), Refusal> {
    if [list.before, list.after, list.around].iter().flatten().count() > 1 {
        return Err(Refusal::argument("before, after, around: only one of them"));
    }
    seq("before", list.before)?;
    seq("after", list.after)?;
    seq("around", list.around)?;
    limit(list.limit, LOG_PAGE_MAX)
}

fn page(page: &Option<PageToken>, size: Option<u64>) -> Result<(), Refusal> {
    if let Some(token) = page {
        // No page ends in a control character, and not every database takes a NUL.
        label("page", &token.0, PAGE_TOKEN_BYTES_MAX)?;
    }
    limit(size, PAGE_MAX)
}

fn limit(limit: Option<u64>, max: u64) -> Result<(), Refusal> {
    match limit {
        Some(limit) if limit == 0 || limit > max => Err(Refusal::argument(format!("limit: must be 1 to {max}"))),
        _ => Ok(()),
    }
}

fn emoji(emoji: &str) -> Result<(), Refusal> {
    label("emoji", emoji, EMOJI_BYTES_MAX)
}

fn seq(path: &str, seq: Option<Seq>) -> Result<(), Refusal> {
    number(path, seq.map(|seq| seq.0))
}

fn number(path: &str, number: Option<u64>) -> Result<(), Refusal> {
    match number {
        Some(number) if number > NUMBER_MAX => Err(Refusal::argument(format!("{path}: must be below 2^53"))),
        _ => Ok(()),
    }
}

/// What people see as a name: a title or the name of a file.
fn name(path: &str, name: &str) -> Result<(), Refusal> {
    label(path, name, NAME_BYTES_MAX)?;
    if text::has_bidi_override(name) {
        return Err(Refusal::argument(format!(
            "{path}: must not hold bidirectional overrides"
        )));
    }
    if is_blank(name) {
        return Err(Refusal::argument(format!("{path}: must hold a visible character")));
    }
    Ok(())
}

/// A short text without any control character.
fn label(path: &str, text: &str, max: usize) -> Result<(), Refusal> {
    bytes(path, text, max)?;
    if text.chars().any(char::is_control) {
        return Err(controls(path));
    }
    Ok(())
}

fn bytes(path: &str, text: &str, max: usize) -> Result<(), Refusal> {
    if text.is_empty() {
        return Err(Refusal::argument(format!("{path}: must not be empty")));
    }
    if text.len() > max {
        return Err(over(path, "bytes", max));
    }
    Ok(())
}

fn count(path: &str, count: usize, max: usize) -> Result<(), Refusal> {
    if count > max {
        return Err(over(path, "entries", max));
    }
    Ok(())
}

fn over(path: &str, what: &str, max: usize) -> Refusal {
    Refusal::too_large(format!("{path}: must be at most {max} {what}"))
}

fn controls(path: &str) -> Refusal {
    Refusal::argument(format!("{path}: must not hold control characters"))
}

fn meta(path: &str, meta: &Map<String, Value>) -> Result<(), Refusal> {
    if meta.len() > META_KEYS_MAX {
        return Err(over(path, "keys", META_KEYS_MAX));
    }
    for (key, value) in meta {
        if text::has_control(key) {
            return Err(controls(path));
        }
        meta_value(path, value, 2)?;
    }
    // Measured last: only what is known to be shallow is written.
    if text::json_length(meta) > META_BYTES_MAX {
        return Err(over(path, "bytes of JSON", META_BYTES_MAX));
    }
    Ok(())
}

fn meta_value(path: &str, value: &Value, depth: usize) -> Result<(), Refusal> {
    let nested = value.is_array() || value.is_object();
    if nested && depth > META_DEPTH_MAX {
        return Err(Refusal::argument(format!(
            "{path}: must be nested at most {META_DEPTH_MAX} deep"
        )));
    }
    match value {
        Value::Null | Value::Bool(_) => Ok(()),
        Value::Number(number) => {
            let whole = number.as_u64().or(number.as_i64().map(i64::unsigned_abs));
            self::number(path, whole)
        }
        Value::String(text) if text::has_control(text) => Err(controls(path)),
        Value::String(_) => Ok(()),
        Value::Array(items) => items.iter().try_for_each(|item| meta_value(path, item, depth + 1)),
        Value::Object(fields) => fields.iter().try_for_each(|(key, item)| {
            if text::has_control(key) {
                return Err(controls(path));
            }
            meta_value(path, item, depth + 1)
        }),
    }
}

#[cfg(test)]
mod tests;
