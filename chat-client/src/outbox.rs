//! Where durable commands stay until they have a definite answer: in memory, or in a file that survives a kill.

mod journal;

use chat_protocol::client_session::{Restored, RestoredCommand, Ticket};
use chat_protocol::command::Command;
use chat_protocol::id::{ConversationId, Epoch, UserId};
use journal::Journal;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use thiserror::Error;

/// Where durable commands stay until they have a definite answer.
#[derive(Debug, Clone)]
pub struct Outbox(Place);

#[derive(Debug, Clone)]
enum Place {
    Memory(Arc<Mutex<Kept>>),
    File(PathBuf),
}

impl Outbox {
    /// In memory: what waits is lost with the process.
    ///
    /// A clone shares its content: a client that is started with it later finds what the earlier one left, as if the
    /// process had been killed between them. Never give one to two clients at a time.
    pub fn memory() -> Self {
        Self(Place::Memory(Arc::default()))
    }

    /// In a file: a command is on disk before it is sent for the first time, so that a killed process sends it with the
    /// same id when it is started again.
    ///
    /// The file belongs to one client at a time, of one user; beside it a `.lock` file keeps others out.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Place::File(path.into()))
    }

    /// Opens it and reads what an earlier client left.
    pub(crate) fn open(self) -> Result<(OpenOutbox, Restored), OutboxError> {
        let open = match self.0 {
            Place::Memory(kept) => OpenOutbox::Memory(kept),
            Place::File(path) => OpenOutbox::File(Box::new(Journal::open(path)?)),
        };
        let restored = open.read(Kept::restore);
        Ok((open, restored))
    }
}

/// Why an outbox cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// Another client has it open.
    #[error("the outbox {0} is in use by another client")]
    InUse(PathBuf),
    /// It cannot be read or written.
    #[error("the outbox {path} cannot be used")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A line in the middle of the file is not of an outbox.
    #[error("line {line} of the outbox {path} cannot be read: {reason}")]
    Corrupt {
        /// Which.
        path: PathBuf,
        /// Counted from one.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// One step in an outbox’s life.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Record {
    /// A command is to be sent.
    Add {
        ticket: Ticket,
        epoch: Option<Epoch>,
        command: Command,
    },
    /// A command has a definite answer.
    Done(Ticket),
    /// The server knows the client as this user; its log is of this epoch.
    Known { user: UserId, epoch: Epoch },
    /// Commands for one conversation are addressed to another.
    Moved { from: ConversationId, to: ConversationId },
}

/// What an outbox holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Kept {
    known: Option<(UserId, Epoch)>,
    commands: BTreeMap<Ticket, (Command, Option<Epoch>)>,
}

impl Kept {
    fn apply(&mut self, record: Record) {
        match record {
            Record::Add { ticket, epoch, command } => {
                self.commands.insert(ticket, (command, epoch));
            }
            Record::Done(ticket) => {
                self.commands.remove(&ticket);
            }
            Record::Known { user, epoch } => self.known = Some((user, epoch)),
            Record::Moved { from, to } => {
                for (command, _) in self.commands.values_mut() {
                    // The command that was answered with another address stays what it was: sent again, it finds the same.
                    let creates = matches!(command, Command::ConversationCreate(_));
                    if !creates && command.conversation() == Some(from) {
                        command.readdress(to);
                    }
                }
            }
        }
    }

    /// Whether a record would change anything.
    fn changes(&self, record: &Record) -> bool {
        match record {
            Record::Done(ticket) => self.commands.contains_key(ticket),
            Record::Known { user, epoch } => self.known.as_ref() != Some(&(user.clone(), *epoch)),
            Record::Add { .. } | Record::Moved { .. } => true,
        }
    }

    /// How many [`records`](Self::records) there are.
    fn len(&self) -> usize {
        usize::from(self.known.is_some()) + self.commands.len()
    }

    /// The shortest list of records that makes this.
    fn records(&self) -> impl Iterator<Item = Record> {
        let known = self.known.clone().map(|(user, epoch)| Record::Known { user, epoch });
        let commands = self.commands.iter().map(|(ticket, (command, epoch))| Record::Add {
            ticket: *ticket,
            epoch: *epoch,
            command: command.clone(),
        });
        known.into_iter().chain(commands)
    }

    fn restore(&self) -> Restored {
        let commands = self.commands.iter().map(|(ticket, (command, epoch))| RestoredCommand {
            ticket: *ticket,
            command: command.clone(),
            epoch: *epoch,
        });
        Restored {
            user: self.known.as_ref().map(|(user, _)| user.clone()),
            epoch: self.known.as_ref().map(|(_, epoch)| *epoch),
            commands: commands.collect(),
        }
    }
}

/// An outbox that belongs to a running client.
#[derive(Debug)]
pub(crate) enum OpenOutbox {
    Memory(Arc<Mutex<Kept>>),
    File(Box<Journal>),
}

impl OpenOutbox {
    fn read<T>(&self, read: impl FnOnce(&Kept) -> T) -> T {
        match self {
            Self::Memory(kept) => read(&lock(kept)),
            Self::File(journal) => read(journal.kept()),
        }
    }

    /// Keeps new commands: when this returns they survive what the outbox survives.
    pub(crate) fn add(&mut self, records: Vec<Record>) -> Result<(), OutboxError> {
        match self {
            Self::Memory(kept) => {
                let mut kept = lock(kept);
                records.into_iter().for_each(|record| kept.apply(record));
                Ok(())
            }
            Self::File(journal) => journal.write(records, true),
        }
    }

    /// Whether a record would change anything.
    pub(crate) fn changes(&self, record: &Record) -> bool {
        self.read(|kept| kept.changes(record))
    }

    /// Notes something whose loss would cost nothing but a repetition.
    pub(crate) fn note(&mut self, record: Record) -> Result<(), OutboxError> {
        match self {
            Self::Memory(kept) => {
                lock(kept).apply(record);
                Ok(())
            }
            Self::File(journal) => journal.write(vec![record], false),
        }
    }

    /// Whether writing waits for a disk.
    pub(crate) fn is_slow(&self) -> bool {
        matches!(self, Self::File(_))
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().expect("no panic while the lock is held")
}
