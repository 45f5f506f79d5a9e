//! What a client did and saw, line by line; written by the clients' processes, read by the checker.
//!
//! A line is written whole before what it tells of goes on, so a process that is killed outright leaves everything that
//! mattered, and at most half of a last line.

use chat_client::protocol::id::{CommandId, ConversationId, MessageId, Position, Seq, UserId};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Milliseconds since 1970, by the one clock of this machine.
    pub at: u64,
    /// What.
    #[serde(flatten)]
    pub note: Note,
}

/// What happened at a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Note {
    /// A process began.
    Started {
        /// Whether with the outbox that the one before left; the first begins with an empty one.
        keeps_outbox: bool,
        /// The commands that it found there.
        outbox: Vec<CommandId>,
    },
    /// A durable command is about to be handed over.
    Asked {
        /// Where.
        conversation: ConversationId,
        /// Its id.
        id: CommandId,
        /// Whether it writes a message.
        sends: bool,
        /// What it makes of a message, if it makes anything of one.
        writes: Option<Writing>,
    },
    /// Commands are on disk now, in this client's outbox.
    Kept {
        /// Which, each once.
        ids: Vec<CommandId>,
    },
    /// It was answered as stored.
    Stored {
        /// Where.
        conversation: ConversationId,
        /// Its id.
        id: CommandId,
        /// The command that made the event: another one where the same was done before.
        by: CommandId,
        /// Its place.
        position: Position,
    },
    /// It was refused for good.
    Refused {
        /// Where.
        conversation: ConversationId,
        /// Its id.
        id: CommandId,
        /// Why.
        code: String,
    },
    /// The application was shown an event.
    Event {
        /// Where.
        conversation: ConversationId,
        /// Its place.
        position: Position,
        /// The command that made it.
        id: CommandId,
        /// The message that it is about, the version that was shown, and the command whose text that was.
        message: Option<(MessageId, u64, Option<CommandId>)>,
    },
    /// The application was told that there is nothing for it.
    Skipped {
        /// Where.
        conversation: ConversationId,
        /// From where on.
        from: Seq,
        /// Up to where.
        to: Seq,
    },
    /// The application was shown an entry of its inbox.
    Inbox {
        /// Where.
        conversation: ConversationId,
        /// Up to where the entry is true.
        head: Position,
        /// Where the membership began.
        joined: Seq,
        /// The read mark.
        read: Seq,
        /// The delivered mark.
        delivered: Seq,
    },
    /// The application was told to forget a conversation, or all.
    Reset {
        /// Which.
        conversation: Option<ConversationId>,
        /// Why.
        reason: String,
    },
    /// On a connection, this client is about to say what it has.
    Resumed {
        /// Which, counted within the process.
        connection: u64,
        /// Up to where.
        cursors: Vec<(ConversationId, Seq)>,
    },
    /// A connection brought a stretch of a log, before the client looked at it. What was asked for is not among it.
    Heard {
        /// Which.
        connection: u64,
        /// Whose log.
        conversation: ConversationId,
        /// What came, in one frame.
        items: Vec<Item>,
    },
    /// A connection brought an entry of the inbox.
    HeardEntry {
        /// Which.
        connection: u64,
        /// Of which conversation.
        conversation: ConversationId,
        /// Up to where the entry is true.
        head: Seq,
        /// Where the membership began.
        joined: Seq,
    },
    /// A connection brought a reset.
    HeardReset {
        /// Which.
        connection: u64,
        /// Of a conversation, or of all.
        conversation: Option<ConversationId>,
        /// Where it goes on, if the server said so.
        head: Option<Seq>,
    },
    /// A read mark was answered as set.
    Marked {
        /// Where.
        conversation: ConversationId,
        /// In the membership that began here.
        joined: Seq,
        /// How far.
        read: Seq,
    },
    /// Connected, and everything missed has arrived.
    Synced,
    /// The connection is gone.
    Disconnected,
}

/// What a command makes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writing {
    /// Which.
    pub message: MessageId,
    /// How many letters its text has from then on; none of one that is deleted.
    pub letters: Option<usize>,
}

/// One step in a log, as it was sent: an event, or a stretch without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The first seq that it covers.
    pub first: Seq,
    /// The last one.
    pub last: Position,
    /// The command that made the event.
    pub id: Option<CommandId>,
}

/// The time of an entry that is made now.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A history that is being written.
#[derive(Debug)]
pub struct Writer(Mutex<File>);

impl Writer {
    /// Goes on with the history of a file, which is made when it is not there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).read(true).open(path)?;
        // Whoever was killed may have left half a line.
        let text = fs::read(path)?;
        if text.last().is_some_and(|last| *last != b'\n') {
            (&file).write_all(b"\n")?;
        }
        Ok(Self(Mutex::new(file)))
    }

    /// Writes a line.
    ///
    /// # Panics
    /// When the disk takes nothing more: there is no proof without a history.
    pub fn note(&self, note: Note) {
        let mut line = serde_json::to_vec(&Entry { at: now_ms(), note }).expect("an entry is JSON");
        line.push(b'\n');
        let mut file = self.0.lock().expect("nothing panics under the lock that is caught");
        file.write_all(&line).expect("a history can be written");
    }
}

/// Where the history of a client is kept: named after its user and its device.
pub fn path(folder: &Path, user: &UserId, device: usize) -> PathBuf {
    folder.join(format!("{user}.{device}.history"))
}

/// Reads a history, without what a kill cut short.
///
/// # Errors
/// When the file cannot be read, or a line is not whole that no kill can have cut: it is neither the last one, nor the
/// last of a process.
pub fn read(path: &Path) -> io::Result<Vec<Entry>> {
    let text = fs::read(path)?;
    let mut entries: Vec<Entry> = Vec::new();
    let mut cut = None;
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        // Behind the last line there is nothing, and a process may end where a line does.
        if line.is_empty() {
            continue;
        }
        let entry: Option<Entry> = serde_json::from_slice(line).ok();
        let begins = entry
            .as_ref()
            .is_some_and(|entry| matches!(entry.note, Note::Started { .. }));
        if let Some(cut) = cut.take()
            && !begins
        {
            let what = format!(
                "line {cut} of {} cannot be read, and no process ended there",
                path.display()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        match entry {
            Some(entry) => entries.push(entry),
            None => cut = Some(number),
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTED: Note = Note::Started {
        keeps_outbox: true,
        outbox: Vec::new(),
    };

    fn of(name: &str, text: &str, next: &[Note]) -> io::Result<Vec<Note>> {
        let path = std::env::temp_dir().join(format!("chaos-history-{}-{name}", std::process::id()));
        fs::write(&path, text)?;
        let writer = Writer::open(&path)?;
        next.iter().for_each(|note| writer.note(note.clone()));
        let entries = read(&path);
        fs::remove_file(&path)?;
        Ok(entries?.into_iter().map(|entry| entry.note).collect())
    }

    #[test]
    fn a_line_that_a_kill_cut_short_is_left_out_and_the_next_is_whole() {
        let text = "{\"at\":1,\"is\":\"synced\"}\n{\"at\":2,\"is\":\"sy";
        let notes = of("cut", text, &[STARTED, Note::Disconnected]).expect("read");
        assert_eq!(notes, [Note::Synced, STARTED, Note::Disconnected]);
        assert_eq!(of("last", text, &[]).expect("read"), [Note::Synced]);
    }

    #[test]
    fn a_line_that_no_kill_can_have_cut_is_an_error() {
        let text = "{\"at\":1,\"is\":\"synced\"}\n{\"at\":2,\"is\":\"sy";
        let error = of("middle", text, &[Note::Disconnected]).expect_err("nothing began there");
        assert!(error.to_string().contains("line 2"), "{error}");
        of("twice", &format!("{text}\nagain"), &[STARTED]).expect_err("a kill cuts one line");
    }
}
