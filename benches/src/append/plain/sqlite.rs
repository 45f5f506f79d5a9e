//! The plain way on SQLite: one connection, one commit for each message.

use super::{Filler, KIND, Row, Shown, conversations};
use crate::append::Failure;
use crate::load;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, SqlitePool};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Hundreds of senders wait for the connection.
const PATIENCE: Duration = Duration::from_secs(60);

/// The columns and indexes that ours has in all its tables together.
const TABLES: &str = "
    CREATE TABLE plain_message (
        conversation BLOB NOT NULL, seq INTEGER NOT NULL, id BLOB NOT NULL, tag INTEGER NOT NULL, sender TEXT,
        at INTEGER NOT NULL, fingerprint BLOB, kind TEXT NOT NULL, version INTEGER NOT NULL, changed INTEGER NOT NULL,
        content TEXT,
        PRIMARY KEY (conversation, seq), UNIQUE (conversation, id)
    );
    CREATE INDEX plain_message_seq ON plain_message (conversation, seq);
";

const INSERT: &str = "
    INSERT INTO plain_message
        (conversation, seq, id, tag, sender, at, fingerprint, kind, version, changed, content)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1, ?2, ?9)";

pub(in crate::append) struct Sqlite {
    /// Of one connection.
    pool: SqlitePool,
    /// The last seq of each conversation.
    heads: Vec<AtomicI64>,
}

impl Sqlite {
    pub async fn create(file: &Path) -> Result<Self, Failure> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(PATIENCE)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_with(options)
            .await?;
        sqlx::raw_sql(TABLES).execute(&pool).await?;
        let heads = (0..conversations()).map(|_| AtomicI64::new(0)).collect();
        Ok(Self { pool, heads })
    }

    pub(super) async fn insert(&self, conversation: usize, row: &Row<'_>) -> Result<(), Failure> {
        let seq = self.heads[conversation].fetch_add(1, Ordering::Relaxed) + 1;
        sqlx::query(INSERT)
            .bind(row.conversation)
            .bind(seq)
            .bind(row.id)
            .bind(row.tag)
            .bind(row.sender)
            .bind(row.at)
            .bind(row.fingerprint.as_slice())
            .bind(KIND)
            .bind(&row.content)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub(super) async fn stored(&self, conversations: Range<usize>) -> Result<Vec<u64>, Failure> {
        let mut stored = Vec::with_capacity(conversations.len());
        for conversation in conversations {
            let count: i64 = sqlx::query_scalar("SELECT count(*) FROM plain_message WHERE conversation = ?")
                .bind(*load::conversation(conversation).as_uuid())
                .fetch_one(&self.pool)
                .await?;
            stored.push(count as u64);
        }
        Ok(stored)
    }

    /// Writes rows with these seqs into each of these conversations, which no sender writes to.
    pub(super) async fn fill(&self, conversations: Range<usize>, seqs: Range<u64>) -> Result<(), Failure> {
        let fill = "
            WITH RECURSIVE numbers (seq) AS (SELECT ?2 UNION ALL SELECT seq + 1 FROM numbers WHERE seq + 1 < ?3)
            INSERT INTO plain_message
                (conversation, seq, id, tag, sender, at, fingerprint, kind, version, changed, content)
            SELECT ?1, seq, randomblob(16), seq, ?4, 0, ?5, ?6, 1, seq, ?7 FROM numbers";
        if seqs.is_empty() {
            return Ok(());
        }
        let Filler {
            sender,
            fingerprint,
            content,
        } = Filler::new()?;
        let mut transaction = self.pool.begin().await?;
        for conversation in conversations {
            sqlx::query(fill)
                .bind(*load::conversation(conversation).as_uuid())
                .bind(seqs.start as i64)
                .bind(seqs.end as i64)
                .bind(sender.as_str())
                .bind(fingerprint.as_slice())
                .bind(KIND)
                .bind(&content)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    pub(super) async fn history(&self, conversation: usize, before: u64, limit: u32) -> Result<Vec<Shown>, Failure> {
        let page = "
            SELECT id, seq, sender, at, version, changed, content FROM plain_message
            WHERE conversation = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3";
        let page = sqlx::query_as(page)
            .bind(*load::conversation(conversation).as_uuid())
            .bind(before as i64)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
        Ok(page)
    }
}
