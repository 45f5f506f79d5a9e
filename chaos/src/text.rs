//! What messages say: each text names the command that wrote it, so that no two are the same.

use chat_client::protocol::id::CommandId;
use chat_client::protocol::message::Message;
use std::fmt;

/// What follows the id: as much of it as a text is to be long.
const LETTER: char = 'x';

/// The text of a command, with so many letters.
pub fn of(id: CommandId, letters: usize) -> String {
    let mut text = format!("{id} ");
    text.extend(std::iter::repeat_n(LETTER, letters));
    text
}

/// What a message says, as a reader has it.
#[derive(Clone, PartialEq, Eq)]
pub enum Says {
    /// The text of this command, with so many letters.
    Text(CommandId, usize),
    /// Nothing: it is deleted.
    Nothing,
    /// What nobody wrote.
    Other(String),
}

impl Says {
    /// Reads it.
    pub fn read(is_deleted: bool, text: Option<&str>) -> Self {
        match (is_deleted, text) {
            (true, None) => Self::Nothing,
            (false, Some(text)) => Self::parse(text).unwrap_or_else(|| Self::Other(text.chars().take(80).collect())),
            (true, Some(_)) => Self::Other("a text, though it is deleted".to_owned()),
            (false, None) => Self::Other("no text, though it is not deleted".to_owned()),
        }
    }

    /// What a message says.
    pub fn of(message: &Message) -> Self {
        let text = message.content.as_ref().and_then(|content| content.text.as_deref());
        Self::read(message.is_deleted(), text)
    }

    /// The command that wrote it.
    pub fn by(&self) -> Option<CommandId> {
        match self {
            Self::Text(id, _) => Some(*id),
            Self::Nothing | Self::Other(_) => None,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (id, letters) = text.split_once(' ')?;
        let is_whole = letters.chars().all(|letter| letter == LETTER);
        is_whole.then_some(Self::Text(id.parse().ok()?, letters.len()))
    }
}

impl fmt::Debug for Says {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(id, letters) => write!(f, "the text of {id} with {letters} letters"),
            Self::Nothing => f.write_str("nothing"),
            Self::Other(what) => write!(f, "{what:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_says_who_wrote_it_and_nothing_else_does() {
        let id = CommandId::from_parts(7, [2; 10]);
        let text = of(id, 3);
        assert_eq!(Says::read(false, Some(&text)), Says::Text(id, 3));
        assert_eq!(Says::read(true, None), Says::Nothing);
        for (is_deleted, text) in [(true, Some(&*text)), (false, None), (false, Some("xxx"))] {
            assert!(matches!(Says::read(is_deleted, text), Says::Other(_)));
        }
        assert!(matches!(Says::read(false, Some(&format!("{text}y"))), Says::Other(_)));
    }
}
