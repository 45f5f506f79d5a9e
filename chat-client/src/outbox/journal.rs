//! The file: one JSON object a line, only ever appended to, rewritten when most of it is history.
//!
//! ```text
//! {"outbox":1}
//! {"known":{"user":"ann","epoch":"0190…"}}
//! {"add":{"ticket":1,"epoch":"0190…","command":"message:send","data":{…}}}
//! {"done":1}
//! ```
//!
//! A kill tears at most the last line, which then was not acknowledged to anybody: it is cut off. A line in the middle
//! that cannot be read is an error, since what it held would be lost without a word.

use super::{Kept, OutboxError, Record};
use chat_protocol::client_session::Ticket;
use chat_protocol::command::Command;
use chat_protocol::id::{ConversationId, Epoch, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The file is rewritten when it has more lines than this and four times as many as it needs.
const LINES_MIN: usize = 256;

const VERSION: u64 = 1;

/// An outbox file, open and locked.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    /// Bytes that are whole lines.
    length: u64,
    lines: usize,
    kept: Kept,
    /// Held as long as the journal: the lock is on a file of its own, since the journal’s is replaced.
    _lock: File,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Outbox(u64),
    Known {
        user: UserId,
        epoch: Epoch,
    },
    Add {
        ticket: Ticket,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        epoch: Option<Epoch>,
        command: String,
        data: Value,
    },
    Done(Ticket),
    Moved {
        from: ConversationId,
        to: ConversationId,
    },
}

impl Journal {
    pub(super) fn open(path: PathBuf) -> Result<Self, OutboxError> {
        let failed = |source| OutboxError::Io {
            path: path.clone(),
            source,
        };
        let lock = lock(&path)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let mut kept = Kept::default();
        let mut lines = 0;
        for line in bytes[..whole].split_inclusive(|byte| *byte == b'\n') {
            lines += 1;
            match read_line(line) {
                Ok(record) => record.into_iter().for_each(|record| kept.apply(record)),
                Err(reason) => {
                    let line = lines;
                    return Err(OutboxError::Corrupt { path, line, reason });
                }
            }
        }
        let mut journal = Self {
            file,
            length: whole as u64,
            lines,
            kept,
            _lock: lock,
            path,
        };
        journal.cut().map_err(|source| journal.failed(source))?;
        if journal.lines == 0 {
            journal.rewrite().map_err(|source| journal.failed(source))?;
        }
        Ok(journal)
    }

    pub(super) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Appends; with `durable`, when this returns the records survive a power cut.
    pub(super) fn write(&mut self, records: Vec<Record>, durable: bool) -> Result<(), OutboxError> {
        let mut bytes = Vec::new();
        for record in &records {
            write_line(&mut bytes, &line_of(record)).map_err(|source| self.failed(source))?;
        }
        let written = self.file.write_all(&bytes).and_then(|()| match durable {
            true => self.file.sync_data(),
            false => Ok(()),
        });
        if let Err(source) = written {
            // Half a line must not stay in front of the next one.
            let _ = self.cut();
            return Err(self.failed(source));
        }
        self.length += bytes.len() as u64;
        self.lines += records.len();
        for record in records {
            self.kept.apply(record);
        }
        if self.lines > LINES_MIN && self.lines > 4 * self.kept.len() {
            // What was asked for is written; a long file is no reason to refuse it.
            if let Err(error) = self.rewrite() {
                tracing::warn!(path = %self.path.display(), %error, "the outbox cannot be made shorter");
            }
        }
        Ok(())
    }

    /// Cuts the file to its whole lines.
    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.seek(SeekFrom::Start(self.length))?;
        Ok(())
    }

    /// Writes only what is still needed to a new file, and puts it in the old one’s place.
    fn rewrite(&mut self) -> io::Result<()> {
        let fresh = beside(&self.path, "new");
        let mut bytes = Vec::new();
        write_line(&mut bytes, &Line::Outbox(VERSION))?;
        let mut lines = 1;
        for record in self.kept.records() {
            write_line(&mut bytes, &line_of(&record))?;
            lines += 1;
        }
        let mut file = File::create(&fresh)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&fresh, &self.path)?;
        sync_folder(&self.path)?;
        self.file = file;
        self.length = bytes.len() as u64;
        self.lines = lines;
        Ok(())
    }

    fn failed(&self, source: io::Error) -> OutboxError {
        OutboxError::Io {
            path: self.path.clone(),
            source,
        }
    }
}

fn lock(path: &Path) -> Result<File, OutboxError> {
    let failed = |source| OutboxError::Io {
        path: path.to_owned(),
        source,
    };
    let mut options = OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(false)
        .open(beside(path, "lock"))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OutboxError::InUse(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

/// Makes a rename survive a power cut.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

fn line_of(record: &Record) -> Line {
    match record {
        Record::Add { ticket, epoch, command } => Line::Add {
            ticket: *ticket,
            epoch: *epoch,
            command: command.name().to_owned(),
            data: serde_json::to_value(command).expect("a command can be written as JSON"),
        },
        Record::Done(ticket) => Line::Done(*ticket),
        Record::Known { user, epoch } => Line::Known {
            user: user.clone(),
            epoch: *epoch,
        },
        Record::Moved { from, to } => Line::Moved { from: *from, to: *to },
    }
}

fn write_line(bytes: &mut Vec<u8>, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *bytes, line)?;
    bytes.push(b'\n');
    Ok(())
}

fn read_line(bytes: &[u8]) -> Result<Option<Record>, String> {
    let line: Line = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    Ok(Some(match line {
        Line::Outbox(VERSION) => return Ok(None),
        Line::Outbox(version) => return Err(format!("version {version} is not known here")),
        Line::Known { user, epoch } => Record::Known { user, epoch },
        Line::Add {
            ticket,
            epoch,
            command,
            data,
        } => Record::Add {
            ticket,
            epoch,
            command: Command::from_parts(&command, &data).map_err(|error| error.to_string())?,
        },
        Line::Done(ticket) => Record::Done(ticket),
        Line::Moved { from, to } => Record::Moved { from, to },
    }))
}

#[cfg(test)]
mod tests;
