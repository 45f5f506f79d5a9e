//! The plain way: one row, one commit, one message.
//!
//! What a good engineer writes with sqlx on the first day, and nothing slower: statements are prepared once, connections
//! are kept, nothing is logged, nothing is tested that need not be. It gives no order that it did not bring itself, knows
//! no members, and remembers no ids but by the index that refuses them.

mod postgres;
mod sqlite;

use super::Failure;
use super::drive::Way;
use super::load::{Load, Sender};
use super::place::Place;
use crate::load;
use chat_core::id::{Timestamp, UserId};
use chat_core::message::Content;
use chat_core::{Clock, SystemClock};
use postgres::Postgres;
use sqlite::Sqlite;
use std::ops::Range;
use std::sync::Arc;
use uuid::Uuid;

/// The tables, on one database.
pub(super) enum Plain {
    Postgres(Postgres),
    Sqlite(Sqlite),
}

/// How a message gets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// One statement in a transaction of its own, the seq counted in this process.
    Insert,
    /// A transaction that locks the conversation's row, reads its head, inserts, and moves the head.
    RowLock,
    /// The same in one statement.
    OneStatement,
}

/// The plain way as it is loaded.
pub(super) struct PlainWay {
    pub plain: Arc<Plain>,
    pub how: How,
}

/// Everything of a message but its seq: what ours keeps of one in all its tables together.
struct Row<'a> {
    conversation: Uuid,
    id: Uuid,
    tag: i64,
    sender: &'a str,
    at: i64,
    fingerprint: [u8; 16],
    content: String,
}

const KIND: &str = "message:new";

/// The numbers of conversations that hold what nobody sends.
const FILLED: Range<usize> = 1_000..1_100;
/// The number of the conversation that is only read.
const READ: usize = 2_000;

impl Plain {
    /// Empty tables in a fresh database of this name; none where there is no database.
    pub async fn create(place: &Place, name: &str) -> Result<Option<Self>, Failure> {
        Ok(match place {
            Place::Memory => None,
            Place::Sqlite(directory) => Some(Self::Sqlite(Sqlite::create(&directory.path().join(name)).await?)),
            Place::Postgres(cluster) => Some(Self::Postgres(Postgres::create(cluster.fresh(name).await?).await?)),
        })
    }

    /// Writes so many rows beside those that are sent, `filled` of which are there.
    pub async fn fill(&self, filled: u64, rows: u64) -> Result<(), Failure> {
        let share = |rows: u64| rows / FILLED.len() as u64;
        self.fill_conversations(FILLED, share(filled) + 1..share(rows) + 1)
            .await
    }

    /// Writes so many rows into the conversation that [`history`](Plain::history) reads.
    pub async fn fill_history(&self, rows: u64) -> Result<(), Failure> {
        self.fill_conversations(READ..READ + 1, 1..rows + 1).await
    }

    /// The messages before a seq, the nearest first; answers how many there were.
    pub async fn history(&self, before: u64, limit: u32) -> Result<usize, Failure> {
        let page = match self {
            Self::Postgres(postgres) => postgres.history(READ, before, limit).await,
            Self::Sqlite(sqlite) => sqlite.history(READ, before, limit).await,
        }?;
        let last = page.last().map(|(_, seq, ..)| *seq);
        if last != Some(before as i64 - i64::from(limit)) {
            return Err(format!("the plain page before {before} ends at {last:?}").into());
        }
        Ok(page.len())
    }

    async fn fill_conversations(&self, conversations: Range<usize>, seqs: Range<u64>) -> Result<(), Failure> {
        match self {
            Self::Postgres(postgres) => postgres.fill(conversations, seqs).await,
            Self::Sqlite(sqlite) => sqlite.fill(conversations, seqs).await,
        }
    }

    /// How many messages each of these conversations holds.
    pub async fn stored(&self, conversations: Range<usize>) -> Result<Vec<u64>, Failure> {
        match self {
            Self::Postgres(postgres) => postgres.stored(conversations).await,
            Self::Sqlite(sqlite) => sqlite.stored(conversations).await,
        }
    }
}

/// A message as it is read: id, seq, sender, time, version, last change, content.
type Shown = (Uuid, i64, Option<String>, i64, i64, i64, Option<String>);

impl Way for PlainWay {
    async fn send(&self, sender: &Sender, number: usize) -> Result<(), Failure> {
        let row = Row::of(sender, number)?;
        match (&*self.plain, self.how) {
            (Plain::Postgres(postgres), How::Insert) => postgres.insert(sender.conversation, &row).await,
            (Plain::Postgres(postgres), How::RowLock) => postgres.insert_behind_a_lock(&row).await,
            (Plain::Postgres(postgres), How::OneStatement) => postgres.insert_in_one_statement(&row).await,
            (Plain::Sqlite(sqlite), _) => sqlite.insert(sender.conversation, &row).await,
        }
    }

    async fn stored(&self, conversations: Range<usize>) -> Result<Vec<u64>, Failure> {
        self.plain.stored(conversations).await
    }
}

impl<'a> Row<'a> {
    fn of(sender: &'a Sender, number: usize) -> Result<Self, Failure> {
        let Timestamp(at) = SystemClock.now();
        let mut fingerprint = [0; 16];
        fingerprint[8..].copy_from_slice(&(number as u64).to_be_bytes());
        Ok(Self {
            conversation: *sender.id.as_uuid(),
            id: *load::message(number).as_uuid(),
            tag: number as i64,
            sender: sender.user.as_str(),
            at: at as i64,
            fingerprint,
            content: serde_json::to_string(&Content::text(load::text(number)))?,
        })
    }
}

/// What all rows have that nobody sent.
struct Filler {
    sender: UserId,
    fingerprint: [u8; 16],
    content: String,
}

impl Filler {
    fn new() -> Result<Self, Failure> {
        Ok(Self {
            sender: load::user(0, 0),
            fingerprint: [7; 16],
            content: serde_json::to_string(&Content::text(load::text(0)))?,
        })
    }
}

/// The conversations that some load writes to.
fn conversations() -> usize {
    let ends = Load::ALL.map(|load| load.conversations().end);
    ends.into_iter().max().unwrap_or(0)
}
