//! [`SqliteStore`]: everything in one file, for one engine.

mod commit;
mod lock;
mod messages;
mod session;

use crate::database::{Answer, SQLITE, Statements};
use crate::error::OpenError;
use crate::group::Queue;
use crate::migrations::{self, Files};
use crate::rows::read as answered;
use crate::statements::{self, Seats};
use crate::{identity, keep, read, store};
use chat_core::command::{Command, PageToken};
use chat_core::conversation::InboxEntry;
use chat_core::frame::{ConversationView, HistoryPage, InboxPage, MarkPage, MemberPage, ReactionPage, Stored};
use chat_core::id::{CommandId, ConversationId, Epoch, MessageId, NodeId, Revision, UserId};
use chat_core::store::*;
use chat_core::{Clock, SystemClock};
use commit::Commit;
use lock::FileLock;
use serde_json::Value;
use session::Session;
use sqlx::migrate::{Migrate, MigrateError};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row, Sqlite, SqlitePool, Transaction};
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

const FILES: Files = &[(1, "chat", include_str!("../migrations/sqlite/0001_chat.sql"))];

/// Connections that read; one more writes.
const READERS: u32 = 4;

const BEGIN: &str = "BEGIN IMMEDIATE";

/// Pages in the log of the file, of 4 KiB each, before they go into the file itself: one that is written again and again
/// goes there once for many.
const CHECKPOINT_PAGES: &str = "8000";

/// What the connection that writes keeps of the file; SQLite reads a negative number as KiB.
const CACHE_KIB: &str = "-16000";

/// How long a statement waits for a host's transaction that writes to the same file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A store in one SQLite file; a cheap handle, clones of which share everything.
///
/// Acknowledged means written and synced: WAL with `synchronous=FULL`, foreign keys on. It serves **one engine**: the
/// file beside the database, named like it with `.lock` behind, is locked for as long as the store is open, and a second
/// one is refused. The operating system frees that lock when the process ends, however it ends.
///
/// ```
/// # async fn example(directory: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
/// use chat_core::Engine;
/// use chat_store_sqlx::SqliteStore;
///
/// let store = SqliteStore::connect(directory.join("chat.db")).await?;
/// store.migrate().await?;
/// let engine = Engine::builder().store(store).build().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SqliteStore {
    shared: Arc<Shared>,
    appends: Queue,
}

struct Shared {
    statements: Statements,
    /// One connection; of a database in memory the same as the readers'.
    writer: SqlitePool,
    readers: SqlitePool,
    /// Not the host's.
    owns_readers: bool,
    clock: Arc<dyn Clock>,
    /// Of a database in a file.
    lock: Option<FileLock>,
}

/// How a [`SqliteStore`] is opened.
#[derive(Clone, Default)]
pub struct SqliteOptions {
    prefix: Option<String>,
    clock: Option<Arc<dyn Clock>>,
}

impl SqliteOptions {
    /// The defaults: tables whose names begin with `chat_`, the machine's clock.
    pub fn new() -> Self {
        Self::default()
    }

    /// With what the names of the tables begin: `a-z`, `0-9` and `_`, at most 32 characters.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// The clock that stamps events and leases; the machine's unless told.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Opens the file, which is made when it is not there; the schema is not.
    ///
    /// # Errors
    /// [`OpenError`]: the file cannot be opened, another engine has it, or the prefix is none.
    pub async fn connect(&self, file: impl AsRef<Path>) -> Result<SqliteStore, OpenError> {
        let options = SqliteConnectOptions::new()
            .filename(file.as_ref())
            .create_if_missing(true);
        let lock = FileLock::take(file.as_ref()).await?;
        let pool = SqlitePoolOptions::new()
            .max_connections(READERS)
            .test_before_acquire(false)
            .connect_lazy_with(durable(options));
        self.open(pool, true, Some(lock)).await
    }

    /// A database in memory, which ends with the last handle.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn in_memory(&self) -> Result<SqliteStore, OpenError> {
        let options = SqliteConnectOptions::from_str("sqlite::memory:").map_err(OpenError::Connect)?;
        let pool = SqlitePoolOptions::new()
            .min_connections(1)
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false);
        let pool = pool
            .connect_with(options.foreign_keys(true))
            .await
            .map_err(OpenError::Connect)?;
        self.open(pool, true, None).await
    }

    /// On a host's own pool. Reads use its connections; one connection more, with the same options but durable, writes.
    ///
    /// A host's transaction that writes to the same file blocks the store's, and the other way round: keep them short.
    /// The pool of a database in memory must have one connection, which never ends.
    ///
    /// # Errors
    /// As [`connect`](SqliteOptions::connect).
    pub async fn from_pool(&self, pool: SqlitePool) -> Result<SqliteStore, OpenError> {
        let file = "SELECT file FROM pragma_database_list WHERE name = 'main'";
        let row = sqlx::query(file).fetch_one(&pool).await.map_err(OpenError::Connect)?;
        let file: Option<String> = row.try_get("file").map_err(OpenError::Connect)?;
        let lock = match file.filter(|file| !file.is_empty()) {
            Some(file) => Some(FileLock::take(Path::new(&file)).await?),
            None => None,
        };
        self.open(pool, false, lock).await
    }

    async fn open(
        &self,
        readers: SqlitePool,
        owns_readers: bool,
        lock: Option<FileLock>,
    ) -> Result<SqliteStore, OpenError> {
        let writer = match &lock {
            None => readers.clone(),
            Some(_) => {
                let options = durable((*readers.connect_options()).clone())
                    .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
                    .pragma("cache_size", CACHE_KIB);
                let pool = SqlitePoolOptions::new().max_connections(1).test_before_acquire(false);
                pool.connect_with(options).await.map_err(OpenError::Connect)?
            }
        };
        let shared = Arc::new(Shared {
            statements: Statements::new(SQLITE, None, self.prefix.as_deref())?,
            writer,
            readers,
            owns_readers,
            clock: self.clock.clone().unwrap_or_else(|| Arc::new(SystemClock)),
            lock,
        });
        Ok(SqliteStore {
            appends: Queue::start(Commit::new(shared.clone())),
            shared,
        })
    }

    /// The statements that make the schema, as [`migrate`](SqliteStore::migrate) runs them.
    ///
    /// # Errors
    /// [`OpenError::Prefix`].
    pub fn schema_sql(&self) -> Result<String, OpenError> {
        Ok(migrations::printed(
            FILES,
            &Statements::new(SQLITE, None, self.prefix.as_deref())?,
        ))
    }
}

impl fmt::Debug for SqliteOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteOptions")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// What an acknowledgement rests on.
fn durable(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
}

impl SqliteStore {
    /// Opens a file with the defaults of [`SqliteOptions`].
    ///
    /// # Errors
    /// As [`SqliteOptions::connect`].
    pub async fn connect(file: impl AsRef<Path>) -> Result<Self, OpenError> {
        SqliteOptions::new().connect(file).await
    }

    /// A database in memory, with the defaults of [`SqliteOptions`].
    ///
    /// # Errors
    /// As [`SqliteOptions::in_memory`].
    pub async fn in_memory() -> Result<Self, OpenError> {
        SqliteOptions::new().in_memory().await
    }

    /// On a host's own pool, with the defaults of [`SqliteOptions`].
    ///
    /// # Errors
    /// As [`SqliteOptions::from_pool`].
    pub async fn from_pool(pool: SqlitePool) -> Result<Self, OpenError> {
        SqliteOptions::new().from_pool(pool).await
    }
}

impl SqliteStore {
    /// Makes the schema, or brings it up to date, and gives a new store its identity. Done again it changes nothing.
    ///
    /// What was done is written in a table of its own, `chat_migrations`: a host's migrations in the same database are
    /// not touched.
    ///
    /// # Errors
    /// [`OpenError`]; what was done before an error stays, and the next call goes on there.
    pub async fn migrate(&self) -> Result<(), OpenError> {
        let migrator = migrations::migrator(FILES, &self.shared.statements);
        let done = migrator.run(&self.shared.writer).await;
        done.map_err(|error| migrations::failed(FILES, error))?;
        let mut session = self.shared.write().await?;
        identity::make(&mut session).await?;
        Ok(session.commit().await?)
    }

    /// Gives the log a new epoch: every client starts anew. For after a restore that went back in time.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn reset_epoch(&self) -> Result<Epoch, OpenError> {
        self.check().await?;
        let mut session = self.shared.write().await?;
        let epoch = identity::reset_epoch(&mut session).await?;
        session.commit().await?;
        Ok(epoch)
    }

    /// Whether the schema is the one that this version knows.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn check(&self) -> Result<(), OpenError> {
        let mut connection = self.shared.readers.acquire().await.map_err(OpenError::Connect)?;
        let table = self.shared.statements.make(migrations::TABLE);
        let applied = match connection.list_applied_migrations(&table).await {
            Ok(applied) => migrations::versions(&applied),
            Err(error) if is_not_there(&error) => Vec::new(),
            Err(error) => return Err(OpenError::Migrate(error)),
        };
        migrations::check(FILES, &applied)
    }

    /// Closes the connections that are the store's own, when what they do is done: of a file that [`connect`] opened
    /// everything is then in the file itself and nothing beside it. Afterwards every call is `unavailable`. For the end
    /// of a process; without it nothing that was acknowledged is lost either.
    ///
    /// [`connect`]: SqliteStore::connect
    pub async fn close(&self) {
        if self.shared.owns_readers {
            self.shared.readers.close().await;
        }
        // In memory the writer is the readers', and then perhaps a host's.
        if self.shared.lock.is_some() {
            self.shared.writer.close().await;
        }
    }

    /// Appends one command in a host's own transaction: its rows and the event commit together, or neither does.
    ///
    /// By the same rules as any append, for the same answer. After the commit, [`Engine::ring`](chat_core::Engine::ring)
    /// delivers at once; without it reconcile does, seconds later. Put it last: SQLite lets one transaction write at a
    /// time, so until the commit nothing else is written to the file. Begin the transaction with `BEGIN IMMEDIATE`
    /// (`begin_with`): one that has read before it writes may be refused as busy.
    ///
    /// # Errors
    /// [`store::AppendError`]; after a refusal the transaction goes on as if nothing had been asked, after anything
    /// else roll back.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped early, roll back.
    pub async fn append_in(
        &self,
        transaction: &mut Transaction<'_, Sqlite>,
        actor: &Actor,
        command: impl Into<Command>,
    ) -> Result<Stored, store::AppendError> {
        self.shared.check_file()?;
        let mut session = self.shared.session(&mut **transaction);
        store::append_in(&mut session, actor, command.into()).await
    }
}

/// SQLite has no code of its own for it.
fn is_not_there(error: &MigrateError) -> bool {
    let MigrateError::Execute(sqlx::Error::Database(error)) = error else {
        return false;
    };
    error.message().contains("no such table")
}

/// Somebody else writes.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    // SQLITE_BUSY, also within its extended codes.
    code.and_then(|code| code.parse::<u32>().ok())
        .is_some_and(|code| code & 0xff == 5)
}

impl SqliteStore {
    /// Before the engine uses it.
    async fn begin_use(&self) -> Result<(), OpenError> {
        self.check().await
    }

    async fn queued(&self, batch: Append) -> Answer<Appended> {
        self.appends.append(batch).await
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

impl Shared {
    fn session<C>(&self, connection: C) -> Session<C> {
        Session {
            connection,
            statements: self.statements.clone(),
            at: self.clock.now(),
        }
    }

    /// A snapshot: everything that is read in it is of one moment.
    async fn read(&self) -> Answer<Session<Transaction<'static, Sqlite>>> {
        self.check_file()?;
        Ok(self.session(answered(self.readers.begin().await)?))
    }

    /// For one statement.
    async fn look(&self) -> Answer<Session<PoolConnection<Sqlite>>> {
        self.check_file()?;
        Ok(self.session(answered(self.readers.acquire().await)?))
    }

    /// A transaction that writes; it is the only one.
    async fn write(&self) -> Answer<Session<Transaction<'static, Sqlite>>> {
        self.check_file()?;
        let mut begun = self.writer.begin_with(BEGIN).await;
        if self.lock.is_some() && begun.as_ref().is_err_and(|error| !is_busy(error)) {
            // A write that failed, on a full disk say, may have left it in a transaction that is none any more.
            let connection = answered(self.writer.acquire().await)?;
            answered(connection.close().await)?;
            begun = self.writer.begin_with(BEGIN).await;
        }
        Ok(self.session(answered(begun)?))
    }

    /// Nothing is told, and nothing is acknowledged, of a file that somebody has put another one in place of.
    fn check_file(&self) -> Answer<()> {
        self.lock.as_ref().map_or(Ok(()), FileLock::check)
    }
}

store::implement!(
    SqliteStore,
    "sqlite",
    /// Clones of a database in memory may serve several engines of one process.
    fn serves_one_node(&self) -> bool {
        self.shared.lock.is_some()
    }
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plans::{ALL_CONVERSATIONS, CONVERSATIONS, MESSAGES, USER, hot};
    use crate::rows::Columns;

    #[tokio::test]
    async fn hot_statements_use_their_indexes() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::connect(directory.path().join("chat.db")).await.unwrap();
        store.migrate().await.unwrap();
        let mut session = store.shared.write().await.unwrap();
        for statement in [
            format!(
                "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {ALL_CONVERSATIONS}) \
                 INSERT INTO chat_conversations SELECT format('00000000-0000-7000-8000-%012d', n), 'group', NULL, 0, \
                 'joined', NULL, 1, 1, '{USER}', 0, NULL, NULL, CASE WHEN n = 1 THEN {MESSAGES} ELSE 1 END, 7, 0 FROM n"
            ),
            format!(
                "INSERT INTO chat_members SELECT id, CASE WHEN row_number() OVER (ORDER BY id) <= {CONVERSATIONS} \
                 THEN '{USER}' ELSE 'other' END, 'owner', 1, NULL, 1, 1, 0, 0, 1 FROM chat_conversations"
            ),
            format!("INSERT INTO chat_users VALUES ('{USER}', 1, NULL, 0)"),
            format!(
                "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {MESSAGES}) \
                 INSERT INTO chat_log SELECT '00000000-0000-7000-8000-000000000001', n, 7, \
                 format('10000000-0000-7000-8000-%012d', n), 'other', 1, NULL, 'message:new', NULL, n FROM n"
            ),
            "INSERT INTO chat_messages SELECT conversation, seq, id, actor, at, 1, seq, NULL, NULL, NULL, \
             '{\"text\":\"hi\"}', NULL FROM chat_log"
                .to_owned(),
        ] {
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
                .execute(&mut *session.connection)
                .await
                .unwrap();
        }
        let mut messages = Vec::new();
        for statement in messages::STATEMENTS.split("; ") {
            let explained = format!("EXPLAIN QUERY PLAN {}", session.statements.make(statement));
            let query = sqlx::query(sqlx::AssertSqlSafe(explained));
            let rows = query.fetch_all(&mut *session.connection).await.unwrap();
            messages.extend(rows.iter().map(Columns::plan));
        }
        let hot = hot(&mut session, "EXPLAIN QUERY PLAN").await;
        for (kind, plans) in [("messages", messages)].into_iter().chain(hot) {
            for plan in &plans {
                println!("{kind}: {plan}");
                let scanned = plan.strip_prefix("SCAN ").and_then(|rest| rest.split(' ').next());
                let is_table =
                    |name: &str| name.len() == 1 && name != "s" || name.starts_with("chat_") && name != "chat_store";
                assert!(!scanned.is_some_and(is_table), "{kind} reads a whole table: {plans:#?}");
            }
        }
    }
}
