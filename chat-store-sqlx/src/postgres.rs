//! [`PostgresStore`]: one truth for many nodes.

mod backplane;
mod commit;
mod held;
mod messages;
mod news;
mod session;

pub use backplane::PostgresBackplane;

use crate::database::{Answer, POSTGRES, Statements};
use crate::error::OpenError;
use crate::group::Queue;
use crate::migrations::{self, Files};
use crate::rows::read as answered;
use crate::statements::{self, Seats};
use crate::{identity, keep, read, store};
use chat_core::command::{Command, PageToken};
use chat_core::conversation::InboxEntry;
use chat_core::event::Event;
use chat_core::frame::{ConversationView, HistoryPage, InboxPage, MarkPage, MemberPage, ReactionPage, Stored};
use chat_core::id::{CommandId, ConversationId, Epoch, MessageId, NodeId, Position, Revision, UserId};
use chat_core::store::*;
use commit::{ALONE_MAX, Commit};
use held::Held;
use news::News;
use serde_json::Value;
use session::Session;
use sqlx::migrate::{Migrate, MigrateError};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool, Postgres, Row, Transaction};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

const FILES: Files = &[(1, "chat", include_str!("../migrations/postgres/0001_chat.sql"))];

/// Groups that are under way at the same time, of different conversations: while the server writes one, the next is
/// judged. More make the groups smaller, and each costs the server something of its own.
const LANES: usize = 2;

/// Connections of a pool of our own.
const POOL_CONNECTIONS: u32 = 10;

/// For a connection out of the pool, and for a new one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The oldest server that has what the statements say (`xid8`).
const SERVER_VERSION_MIN: i32 = 130_000;

/// What a session of ours allows: nothing of it waits for ever. And how it plans: every statement finds its rows by key,
/// also when the plan was made while the tables were still empty, and is too short to be compiled.
const SESSION: [(&str, &str); 6] = [
    ("statement_timeout", "5s"),
    ("lock_timeout", "2s"),
    ("idle_in_transaction_session_timeout", "10s"),
    ("enable_seqscan", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];

/// A group waits only so long for what somebody else holds, a user's row say, since all of its lane waits with it: beyond
/// that each of its batches waits alone.
const LANE_LOCK_TIMEOUT: (&str, &str) = ("lock_timeout", "100ms");

/// A store in PostgreSQL 13 or newer, for any number of nodes; a cheap handle, clones of which share everything.
///
/// Acknowledged means committed, with the durability of the server: one that says `synchronous_commit=off` or
/// `fsync=off` is refused, and so is a standby. Reads never go to a replica.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use chat_core::Engine;
/// use chat_store_sqlx::PostgresStore;
///
/// let store = PostgresStore::connect("postgres://localhost/app").await?;
/// store.migrate().await?;
/// let engine = Engine::builder().store(store).build().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PostgresStore {
    shared: Arc<Shared>,
    /// A conversation has its lane.
    lanes: [Queue; LANES],
}

struct Shared {
    statements: Statements,
    schema: Option<String>,
    pool: PgPool,
    /// Not the host's.
    owns_pool: bool,
    /// Whether its connections are as their host made them.
    is_hosts: bool,
    /// The first statement of a transaction: on a host's connection it brings what our sessions have.
    begin_reading: String,
    begin_writing: String,
    /// For the connections that commit, which are no pool's.
    options: PgConnectOptions,
    news: News,
}

/// How a [`PostgresStore`] is opened.
#[derive(Debug, Clone, Default)]
pub struct PostgresOptions {
    schema: Option<String>,
    prefix: Option<String>,
    allow_data_loss: bool,
}

impl PostgresOptions {
    /// The defaults: tables whose names begin with `chat_`, in the schema that the connection finds first.
    pub fn new() -> Self {
        Self::default()
    }

    /// The schema of the tables: `a-z`, `0-9` and `_`, at most 32 characters. `migrate` makes it when it is not there.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// With what the names of the tables begin: `a-z`, `0-9` and `_`, at most 32 characters.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// Accepts a server that may lose what it acknowledged when it stops hard (`synchronous_commit` or `fsync` off).
    #[must_use]
    pub fn allow_data_loss(mut self, allow: bool) -> Self {
        self.allow_data_loss = allow;
        self
    }

    /// Connects with a pool of its own, of at most 10 connections, and two more that commit.
    ///
    /// # Errors
    /// [`OpenError`]: the address is none, the server cannot be reached, or it is not durable.
    pub async fn connect(&self, url: &str) -> Result<PostgresStore, OpenError> {
        let options = PgConnectOptions::from_str(url).map_err(|error| OpenError::Address(not_an_address(&error)))?;
        let options = options.options(SESSION);
        knock(&options).await?;
        let pool = PgPoolOptions::new()
            .max_connections(POOL_CONNECTIONS)
            .acquire_timeout(CONNECT_TIMEOUT)
            .connect_lazy_with(options);
        self.open(pool, true, "").await
    }

    /// On a host's own pool, which reads; two connections more, with the same options and `search_path`, commit.
    ///
    /// # Errors
    /// As [`connect`](PostgresOptions::connect).
    pub async fn from_pool(&self, pool: PgPool) -> Result<PostgresStore, OpenError> {
        let set = SESSION.map(|(name, value)| format!("; SET LOCAL {name} = '{value}'"));
        self.open(pool, false, &set.concat()).await
    }

    async fn open(&self, pool: PgPool, owns_pool: bool, set: &str) -> Result<PostgresStore, OpenError> {
        let search_path = self.check_server(&pool).await?;
        let options = (*pool.connect_options()).clone().options(SESSION);
        let shared = Arc::new(Shared {
            statements: Statements::new(POSTGRES, self.schema.as_deref(), self.prefix.as_deref())?,
            schema: self.schema.clone(),
            is_hosts: !set.is_empty(),
            begin_reading: format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY{set}"),
            begin_writing: format!("BEGIN ISOLATION LEVEL READ COMMITTED{set}"),
            options: options.options([("search_path", search_path)]),
            pool,
            owns_pool,
            news: News::default(),
        });
        let alone = Arc::new(Semaphore::new(ALONE_MAX));
        Ok(PostgresStore {
            lanes: std::array::from_fn(|_| Queue::start(Commit::new(shared.clone(), alone.clone()))),
            shared,
        })
    }

    /// Tells where the pool's connections find their tables, which its host may have said to each of them only.
    async fn check_server(&self, pool: &PgPool) -> Result<String, OpenError> {
        let settings = "SELECT current_setting('server_version_num')::int AS version, \
                        current_setting('synchronous_commit') AS synchronous_commit, \
                        current_setting('fsync') AS fsync, pg_is_in_recovery() AS is_standby, \
                        current_setting('search_path') AS search_path";
        let row = sqlx::query(settings)
            .fetch_one(pool)
            .await
            .map_err(OpenError::Connect)?;
        let version: i32 = row.try_get("version").map_err(OpenError::Connect)?;
        if version < SERVER_VERSION_MIN {
            return Err(OpenError::Address(format!(
                "this PostgreSQL is version {}: use 13 or newer",
                version / 10_000
            )));
        }
        if row.try_get("is_standby").map_err(OpenError::Connect)? {
            return Err(OpenError::Address(
                "this PostgreSQL is a standby: give the address of the primary".to_owned(),
            ));
        }
        for setting in ["synchronous_commit", "fsync"] {
            let value: String = row.try_get(setting).map_err(OpenError::Connect)?;
            if value == "off" && !self.allow_data_loss {
                return Err(OpenError::NotDurable(format!(
                    "this PostgreSQL has {setting}=off: it would lose messages that were acknowledged. Set it to on, or \
                     allow the loss of data"
                )));
            }
        }
        row.try_get("search_path").map_err(OpenError::Connect)
    }

    /// The statements that make the schema, as [`migrate`](PostgresStore::migrate) runs them.
    ///
    /// # Errors
    /// [`OpenError::Prefix`].
    pub fn schema_sql(&self) -> Result<String, OpenError> {
        let statements = Statements::new(POSTGRES, self.schema.as_deref(), self.prefix.as_deref())?;
        let schema = self
            .schema
            .iter()
            .map(|schema| format!("CREATE SCHEMA IF NOT EXISTS {schema};\n\n"));
        Ok(schema.collect::<String>() + &migrations::printed(FILES, &statements))
    }
}

/// The error may show the address, and the address a password.
fn not_an_address(_: &sqlx::Error) -> String {
    "this is no address of a PostgreSQL database: write postgres://USER:PASSWORD@HOST:PORT/DATABASE".to_owned()
}

impl PostgresStore {
    /// Connects with the defaults of [`PostgresOptions`].
    ///
    /// # Errors
    /// As [`PostgresOptions::connect`].
    pub async fn connect(url: &str) -> Result<Self, OpenError> {
        PostgresOptions::new().connect(url).await
    }

    /// On a host's own pool, with the defaults of [`PostgresOptions`].
    ///
    /// # Errors
    /// As [`PostgresOptions::from_pool`].
    pub async fn from_pool(pool: PgPool) -> Result<Self, OpenError> {
        PostgresOptions::new().from_pool(pool).await
    }

    /// Makes the schema, or brings it up to date, and gives a new store its identity. Done again it changes nothing;
    /// several nodes may do it at once.
    ///
    /// What was done is written in a table of its own, `chat_migrations`: a host's migrations in the same database are
    /// not touched.
    ///
    /// # Errors
    /// [`OpenError`]; what was done before an error stays, and the next call goes on there.
    pub async fn migrate(&self) -> Result<(), OpenError> {
        let mut migrator = migrations::migrator(FILES, &self.shared.statements);
        if let Some(schema) = &self.shared.schema {
            migrator.create_schema(schema.clone());
        }
        // A connection without the timeouts of a session: an index of a large table takes its time.
        let options = self
            .shared
            .options
            .clone()
            .options([("statement_timeout", "0"), ("lock_timeout", "0")]);
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(CONNECT_TIMEOUT)
            .connect_lazy_with(options);
        let done = migrator.run(&pool).await;
        done.map_err(|error| migrations::failed(FILES, error))?;
        let mut connection = pool.acquire().await.map_err(OpenError::Connect)?;
        let mut session = self.shared.session(&mut *connection);
        identity::make(&mut session).await?;
        Ok(keep::bring_stamps_here(&mut session).await?)
    }

    /// Gives the log a new epoch: every client starts anew. For after a restore that went back in time.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn reset_epoch(&self) -> Result<Epoch, OpenError> {
        self.check().await?;
        let mut session = self.shared.read_once().await?;
        Ok(identity::reset_epoch(&mut session).await?)
    }

    /// Whether the schema is the one that this version knows.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn check(&self) -> Result<(), OpenError> {
        let mut connection = self.shared.pool.acquire().await.map_err(OpenError::Connect)?;
        let table = self.shared.statements.make(migrations::TABLE);
        let applied = match connection.list_applied_migrations(&table).await {
            Ok(applied) => migrations::versions(&applied),
            Err(error) if is_not_there(&error) => Vec::new(),
            Err(error) => return Err(OpenError::Migrate(error)),
        };
        migrations::check(FILES, &applied)
    }

    /// Closes the pool, if it is the store's own, when what its connections do is done. Afterwards every read is
    /// `unavailable`. For the end of a process; without it nothing that was acknowledged is lost either.
    pub async fn close(&self) {
        if self.shared.owns_pool {
            self.shared.pool.close().await;
        }
    }

    /// Appends one command in a host's own transaction: its rows and the event commit together, or neither does.
    ///
    /// By the same rules as any append, for the same answer. After the commit, [`Engine::ring`](chat_core::Engine::ring)
    /// delivers at once; without it reconcile does, seconds later. Put it last: until the commit it holds the
    /// conversation, and nothing else is appended to it. The transaction has to be READ COMMITTED.
    ///
    /// # Errors
    /// [`store::AppendError`]; after a refusal the transaction goes on as if nothing had been asked, after anything
    /// else roll back.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped early, roll back.
    pub async fn append_in(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        actor: &Actor,
        command: impl Into<Command>,
    ) -> Result<Stored, store::AppendError> {
        let mut session = self.shared.session(&mut **transaction);
        store::append_in(&mut session, actor, command.into()).await
    }
}

/// Whether there is a server that lets us in; a pool would only say that it waited in vain.
async fn knock(options: &PgConnectOptions) -> Result<(), OpenError> {
    let connection = reach(options).await?;
    // A goodbye that nobody hears harms nobody.
    drop(tokio::time::timeout(CONNECT_TIMEOUT, connection.close()).await);
    Ok(())
}

/// A connection, or where it was looked for and what came of it.
async fn reach(options: &PgConnectOptions) -> Result<PgConnection, OpenError> {
    let unreachable = |error| OpenError::Unreachable {
        place: format!(
            "{}:{}, database {}, as {}",
            options.get_host(),
            options.get_port(),
            options.get_database().unwrap_or(options.get_username()),
            options.get_username()
        ),
        source: error,
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await {
        Ok(connected) => connected.map_err(unreachable),
        Err(_) => {
            let waited = format!("it does not answer within {} s", CONNECT_TIMEOUT.as_secs());
            let error = std::io::Error::new(std::io::ErrorKind::TimedOut, waited);
            Err(unreachable(sqlx::Error::Io(error)))
        }
    }
}

/// No such table, or no such schema.
fn is_not_there(error: &MigrateError) -> bool {
    let MigrateError::Execute(sqlx::Error::Database(error)) = error else {
        return false;
    };
    matches!(error.code().as_deref(), Some("42P01" | "3F000"))
}

impl PostgresStore {
    /// Before the engine uses it.
    async fn begin_use(&self) -> Result<(), OpenError> {
        self.check().await?;
        // Of a large database this may take longer than a session has; `migrate` has the time.
        if let Err(error) = keep::bring_stamps_here(&mut self.shared.read_once().await?).await {
            tracing::warn!(%error, "changes of another cluster are told again and again until `migrate()` is called");
        }
        Ok(())
    }

    async fn queued(&self, batch: Append) -> Answer<Appended> {
        let [.., last] = batch.conversation.as_uuid().as_bytes();
        self.lanes[usize::from(*last) % LANES].append_in_time(batch).await
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}

impl Shared {
    fn session<C>(&self, connection: C) -> Session<C> {
        Session {
            connection,
            statements: self.statements.clone(),
        }
    }

    /// For one statement.
    async fn read_once(&self) -> Answer<Session<Held>> {
        Ok(self.session(Held::new(answered(self.pool.acquire().await)?)))
    }

    /// For one statement that reads; on a host's connection it takes a transaction to bring what our sessions have.
    async fn look(&self) -> Answer<Session<Held>> {
        match self.is_hosts {
            true => self.read().await,
            false => self.read_once().await,
        }
    }

    /// A snapshot: everything that is read in it is of one moment.
    async fn read(&self) -> Answer<Session<Held>> {
        self.begin(&self.begin_reading).await
    }

    async fn write(&self) -> Answer<Session<Held>> {
        self.begin(&self.begin_writing).await
    }

    async fn begin(&self, statement: &str) -> Answer<Session<Held>> {
        let mut session = self.read_once().await?;
        session.connection.begin(statement).await?;
        Ok(session)
    }

    /// A connection for a lane, which is no pool's.
    async fn connect(&self) -> Answer<PgConnection> {
        let options = self.options.clone().options([LANE_LOCK_TIMEOUT]);
        match tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await {
            Ok(connected) => answered(connected),
            Err(_) => Err(StoreError::unavailable("PostgreSQL does not answer")),
        }
    }
}

store::implement!(
    PostgresStore,
    "postgres",
    fn heard(&self, conversation: ConversationId, after: Position, events: &[Event]) {
        self.shared.news.add(conversation, after, events);
    }
);

#[cfg(all(test, feature = "postgres-tests"))]
mod tests {
    use super::*;
    use crate::desk::judge_all;
    use crate::plans::{ALL_CONVERSATIONS, CONVERSATIONS, MESSAGES, USER, batch, hot};

    #[tokio::test]
    async fn hot_statements_use_their_indexes() {
        let url = chat_testkit::postgres::shared_postgres_url();
        let schema = format!("plans_{}", std::process::id());
        let store = PostgresOptions::new().schema(&schema).connect(&url).await.unwrap();
        store.migrate().await.unwrap();
        let mut session = store.shared.read_once().await.unwrap();
        for statement in [
            "SET statement_timeout = 0".to_owned(),
            format!("SET search_path = {schema}"),
            // A million rows take long enough without a log of them.
            "ALTER TABLE chat_log SET UNLOGGED; ALTER TABLE chat_messages SET UNLOGGED".to_owned(),
            format!(
                "INSERT INTO chat_conversations SELECT format('00000000-0000-7000-8000-%s', lpad(n::text, 12, '0'))::uuid, \
                 'group', NULL, false, 'joined', NULL, 1, 1, '{USER}', false, NULL, NULL, \
                 CASE WHEN n = 1 THEN {MESSAGES} ELSE 1 END, 7, '0' FROM generate_series(1, {ALL_CONVERSATIONS}) n"
            ),
            format!(
                "INSERT INTO chat_members SELECT id, CASE WHEN row_number() OVER (ORDER BY id) <= {CONVERSATIONS} \
                 THEN '{USER}' ELSE 'other' END, 'owner', 1, NULL, 1, 1, false, false, 1 FROM chat_conversations"
            ),
            format!("INSERT INTO chat_users VALUES ('{USER}', 1, NULL, '0')"),
            "INSERT INTO chat_users SELECT 'other-' || n, 1, NULL, '0' FROM generate_series(1, 10000) n".to_owned(),
            format!(
                "INSERT INTO chat_log SELECT '00000000-0000-7000-8000-000000000001', n, 7, \
                 format('10000000-0000-7000-8000-%s', lpad(n::text, 12, '0'))::uuid, 'other', 1, NULL, 'message:new', \
                 NULL, n FROM generate_series(1, {MESSAGES}) n"
            ),
            "INSERT INTO chat_messages SELECT conversation, seq, id, actor, at, 1, seq, NULL, NULL, NULL, \
             '{\"text\":\"hi\"}', NULL FROM chat_log"
                .to_owned(),
            "ANALYZE".to_owned(),
            // As it is planned once a statement has been used for a while: for any arguments.
            "SET plan_cache_mode = force_generic_plan".to_owned(),
        ] {
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
                .execute(&mut *session.connection)
                .await
                .unwrap();
        }
        let judged = judge_all(&mut session, &[&batch()]).await.unwrap();
        assert!(!judged.writes.members.is_empty(), "a mark of the sender");
        let explained = format!("EXPLAIN {}", store.shared.statements.make(messages::STATEMENT));
        let query = sqlx::query(sqlx::AssertSqlSafe(explained));
        let rows = session
            .all(messages::bound(query, &judged.writes).unwrap())
            .await
            .unwrap();
        let messages = ("messages", rows.iter().map(|row| row.get(0)).collect());

        for (kind, plans) in [messages].into_iter().chain(hot(&mut session, "EXPLAIN").await) {
            for pair in plans.windows(2) {
                // Read from one end to the other.
                let whole = pair[0].contains("Scan using chat_") && !pair[1].contains("Index Cond");
                assert!(!whole, "{kind} reads a whole index:\n{}", plans.join("\n"));
            }
            for plan in &plans {
                println!("{kind}: {plan}");
                let scans = plan.contains("Seq Scan on chat_") && !plan.contains("chat_store");
                // A list in another collation than the column's would be compared row by row.
                let users = ["actor", "list.user_id", "s.user_id"];
                let compares = plan.contains("Join Filter") && users.iter().any(|user| plan.contains(user));
                assert!(
                    !scans && !compares,
                    "{kind} does not use its index:\n{}",
                    plans.join("\n")
                );
            }
        }
    }
}
