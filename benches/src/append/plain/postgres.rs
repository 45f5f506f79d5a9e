//! The plain way on PostgreSQL.

use super::{Filler, KIND, Row, Shown, conversations};
use crate::append::Failure;
use crate::load;
use sqlx::PgPool;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPoolOptions};
use sqlx::query::Query;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use uuid::Uuid;

const CONNECTIONS: u32 = 16;
/// Hundreds of senders wait for a connection.
const PATIENCE: Duration = Duration::from_secs(60);

/// The columns and indexes that ours has in all its tables together.
const TABLES: &str = "
    CREATE TABLE plain_conversation (id uuid PRIMARY KEY, head bigint NOT NULL, tag bigint NOT NULL);
    CREATE TABLE plain_message (
        conversation uuid NOT NULL, seq bigint NOT NULL, id uuid NOT NULL, tag bigint NOT NULL, sender text,
        at bigint NOT NULL, fingerprint bytea, kind text NOT NULL, version bigint NOT NULL, changed bigint NOT NULL,
        content text,
        PRIMARY KEY (conversation, seq), UNIQUE (conversation, id)
    );
    CREATE INDEX plain_message_seq ON plain_message (conversation, seq);
";

const INSERT: &str = "
    INSERT INTO plain_message
        (conversation, seq, id, tag, sender, at, fingerprint, kind, version, changed, content)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, $2, $9)";

const INSERT_BEHIND_A_HEAD: &str = "
    WITH conversation AS (UPDATE plain_conversation SET head = head + 1, tag = $3 WHERE id = $1 RETURNING id, head)
    INSERT INTO plain_message
        (conversation, seq, id, tag, sender, at, fingerprint, kind, version, changed, content)
    SELECT id, head, $2, $3, $4, $5, $6, $7, 1, head, $8 FROM conversation";

pub(in crate::append) struct Postgres {
    pool: PgPool,
    /// The last seq of each conversation.
    heads: Vec<AtomicI64>,
}

impl Postgres {
    pub async fn create(options: PgConnectOptions) -> Result<Self, Failure> {
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .min_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_with(options)
            .await?;
        sqlx::raw_sql(TABLES).execute(&pool).await?;
        for index in 0..conversations() {
            sqlx::query("INSERT INTO plain_conversation VALUES ($1, 0, 0)")
                .bind(*load::conversation(index).as_uuid())
                .execute(&pool)
                .await?;
        }
        let heads = (0..conversations()).map(|_| AtomicI64::new(0)).collect();
        Ok(Self { pool, heads })
    }

    pub(super) async fn insert(&self, conversation: usize, row: &Row<'_>) -> Result<(), Failure> {
        let seq = self.heads[conversation].fetch_add(1, Ordering::Relaxed) + 1;
        insert(row, seq).execute(&self.pool).await?;
        Ok(())
    }

    pub(super) async fn insert_behind_a_lock(&self, row: &Row<'_>) -> Result<(), Failure> {
        let mut transaction = self.pool.begin().await?;
        let head: i64 = sqlx::query_scalar("SELECT head FROM plain_conversation WHERE id = $1 FOR UPDATE")
            .bind(row.conversation)
            .fetch_one(&mut *transaction)
            .await?;
        insert(row, head + 1).execute(&mut *transaction).await?;
        sqlx::query("UPDATE plain_conversation SET head = $2, tag = $3 WHERE id = $1")
            .bind(row.conversation)
            .bind(head + 1)
            .bind(row.tag)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    pub(super) async fn insert_in_one_statement(&self, row: &Row<'_>) -> Result<(), Failure> {
        sqlx::query(INSERT_BEHIND_A_HEAD)
            .bind(row.conversation)
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
        let ids: Vec<Uuid> = conversations
            .map(|index| *load::conversation(index).as_uuid())
            .collect();
        let counts: HashMap<Uuid, i64> = sqlx::query_as(
            "SELECT conversation, count(*) FROM plain_message WHERE conversation = ANY($1) GROUP BY conversation",
        )
        .bind(&ids)
        .fetch_all(&self.pool)
        .await?
        .into_iter()
        .collect();
        Ok(ids
            .iter()
            .map(|id| counts.get(id).map_or(0, |count| *count as u64))
            .collect())
    }

    /// Writes rows with these seqs into each of these conversations, which no sender writes to.
    pub(super) async fn fill(&self, conversations: Range<usize>, seqs: Range<u64>) -> Result<(), Failure> {
        let ids: Vec<Uuid> = conversations
            .map(|index| *load::conversation(index).as_uuid())
            .collect();
        let fill = "
            INSERT INTO plain_message
                (conversation, seq, id, tag, sender, at, fingerprint, kind, version, changed, content)
            SELECT conversation, seq, gen_random_uuid(), seq, $4, 0, $5, $6, 1, seq, $7
            FROM generate_series($2, $3 - 1) AS seq, unnest($1) AS conversation";
        let Filler {
            sender,
            fingerprint,
            content,
        } = Filler::new()?;
        sqlx::query(fill)
            .bind(&ids)
            .bind(seqs.start as i64)
            .bind(seqs.end as i64)
            .bind(sender.as_str())
            .bind(fingerprint.as_slice())
            .bind(KIND)
            .bind(content)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub(super) async fn history(&self, conversation: usize, before: u64, limit: u32) -> Result<Vec<Shown>, Failure> {
        let page = "
            SELECT id, seq, sender, at, version, changed, content FROM plain_message
            WHERE conversation = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3";
        let page = sqlx::query_as(page)
            .bind(*load::conversation(conversation).as_uuid())
            .bind(before as i64)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
        Ok(page)
    }
}

fn insert<'a>(row: &'a Row<'a>, seq: i64) -> Query<'a, sqlx::Postgres, PgArguments> {
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
}
