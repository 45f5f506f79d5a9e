//! [`PostgresBackplane`]: bells by `NOTIFY`, on two connections that are no store's.
//!
//! All topics share one channel, and what nobody here listens to is dropped on arrival. A channel for each topic would save
//! little, since a notification of any channel wakes every session of the database that listens at all; and it would cost
//! a transaction for each `LISTEN`, thousands of them after a reconnect, and a notification for each bell instead of one
//! for all that are rung at once. How bells are put together is in `bells.rs`.

mod bells;

use super::{CONNECT_TIMEOUT, PostgresOptions, PostgresStore, SESSION, not_an_address, reach};
use crate::database::{POSTGRES, Statements};
use crate::error::OpenError;
use async_trait::async_trait;
use bells::{BELL_BYTES_MAX, packed, unpacked};
use bytes::Bytes;
use chat_core::backplane::{Backplane, BackplaneError, Inbox, Rung, Topic};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{ConnectOptions, PgConnection};
use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// After so long a silence the server is asked whether it is still there, and given up when it does not answer in time.
const SILENCE: Duration = Duration::from_secs(2);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// No call waits for longer.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// What was rung at the start has to be heard.
const DEAF_AFTER: Duration = Duration::from_secs(5);

/// Between two attempts to listen again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What is lost of it in a crash of the server was a bell: nobody waits for its disk, least of all whoever else notifies,
/// for they all wait for one another.
const NO_SYNC: (&str, &str) = ("synchronous_commit", "off");

/// The text of a notification cannot hold every byte.
const RING: &str = "SELECT pg_notify($1, encode(payload, 'hex')) FROM unnest($2::bytea[]) AS payload";

/// A backplane in the PostgreSQL that the store is in, for hosts that want no broker beside it.
///
/// Bells carry no events: they say where a log ends, and whoever hears one reads there. It takes two connections a node:
/// one hears and one rings, in transactions of its own, so that no commit of a message waits for a notification. A pooler
/// in transaction mode swallows them: in front of one, give this the server's own address, with
/// [`PostgresOptions::connect_backplane`].
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use chat_core::Engine;
/// use chat_store_sqlx::PostgresStore;
///
/// let store = PostgresStore::connect("postgres://localhost/app").await?;
/// store.migrate().await?;
/// let backplane = store.backplane().await?;
/// let engine = Engine::builder().store(store).backplane(backplane).build().await?;
/// # Ok(())
/// # }
/// ```
pub struct PostgresBackplane {
    shared: Arc<Shared>,
    /// None until it is needed again. It is out while somebody rings: who is dropped in the middle takes it with them.
    ringing: tokio::sync::Mutex<Option<PgConnection>>,
    hearing: AbortHandle,
}

struct Shared {
    options: PgConnectOptions,
    channel: String,
    is_alive: AtomicBool,
    /// What the engine wants to hear. Held for a look or an insertion.
    topics: Mutex<HashSet<Topic>>,
    /// A topic is wanted that is heard already: the node hears nothing of it, and the server may have forgotten.
    again: Notify,
    inbox: Inbox,
}

impl PostgresOptions {
    /// Connects a backplane by itself. Nodes hear each other when they are in one database and name the same schema and
    /// prefix here; [`PostgresStore::backplane`] does so by itself.
    ///
    /// # Errors
    /// [`OpenError`]: the address is none, the server cannot be reached, or nothing is heard there.
    pub async fn connect_backplane(&self, url: &str) -> Result<PostgresBackplane, OpenError> {
        let options = PgConnectOptions::from_str(url).map_err(|error| OpenError::Address(not_an_address(&error)))?;
        let statements = Statements::new(POSTGRES, self.schema.as_deref(), self.prefix.as_deref())?;
        PostgresBackplane::open(options.options(SESSION), &statements).await
    }
}

impl PostgresStore {
    /// Connects a backplane to where the store is: it is heard by the backplanes of all stores with the same tables.
    ///
    /// # Errors
    /// [`OpenError`]: the server cannot be reached, or nothing is heard there.
    pub async fn backplane(&self) -> Result<PostgresBackplane, OpenError> {
        PostgresBackplane::open(self.shared.options.clone(), &self.shared.statements).await
    }
}

impl PostgresBackplane {
    async fn open(options: PgConnectOptions, statements: &Statements) -> Result<Self, OpenError> {
        let options = options.options([NO_SYNC]);
        let mut connection = reach(&options).await?;
        let shared = Arc::new(Shared {
            channel: channel(&mut connection, statements).await.map_err(OpenError::Connect)?,
            options,
            is_alive: AtomicBool::new(true),
            topics: Mutex::default(),
            again: Notify::new(),
            inbox: Inbox::default(),
        });
        let mut listener = shared.listener().await.map_err(OpenError::Connect)?;
        ring(&mut connection, &shared.channel, &[Vec::new()])
            .await
            .map_err(OpenError::Connect)?;
        match timeout(DEAF_AFTER, listener.try_recv()).await {
            Ok(Ok(Some(_))) => {}
            Ok(Err(error)) => return Err(OpenError::Connect(error)),
            Ok(Ok(None)) | Err(_) => return Err(OpenError::Deaf),
        }
        let hearing = tokio::spawn(hear(shared.clone(), listener)).abort_handle();
        Ok(Self {
            shared,
            ringing: tokio::sync::Mutex::new(Some(connection)),
            hearing,
        })
    }

    async fn notify(&self, payloads: &[Vec<u8>]) -> Result<(), sqlx::Error> {
        let mut ringing = self.ringing.lock().await;
        let mut connection = match ringing.take() {
            Some(connection) => connection,
            None if self.is_alive() => self.shared.options.connect().await?,
            None => return Err(sqlx::Error::Io(std::io::ErrorKind::NotConnected.into())),
        };
        ring(&mut connection, &self.shared.channel, payloads).await?;
        *ringing = Some(connection);
        Ok(())
    }
}

/// The name of the channel, of tables that lie in one schema and begin with one prefix: both may be too long for it.
async fn channel(connection: &mut PgConnection, statements: &Statements) -> Result<String, sqlx::Error> {
    let tables = statements.make("chat_");
    let schema = match tables.contains('.') {
        true => "$1",
        false => "concat_ws('.', current_schema(), $1)",
    };
    let named = format!("SELECT 'chat_bells_' || to_hex(hashtextextended({schema}, 0))");
    sqlx::query_scalar(sqlx::AssertSqlSafe(named))
        .bind(tables)
        .fetch_one(connection)
        .await
}

async fn ring(connection: &mut PgConnection, channel: &str, payloads: &[Vec<u8>]) -> Result<(), sqlx::Error> {
    let query = sqlx::query(RING).bind(channel).bind(payloads);
    query.execute(connection).await.map(drop)
}

#[async_trait]
impl Backplane for PostgresBackplane {
    fn name(&self) -> &'static str {
        "postgres"
    }

    async fn publish(&self, bells: &[(Topic, Bytes)]) -> Result<(), BackplaneError> {
        let (payloads, too_long) = packed(bells);
        match timeout(CALL_TIMEOUT, self.notify(&payloads)).await {
            Ok(Ok(())) if too_long == 0 => Ok(()),
            Ok(Ok(())) => Err(BackplaneError(format!("{too_long} bells are too long"))),
            Ok(Err(error)) => Err(BackplaneError(error.to_string())),
            Err(_) => Err(BackplaneError("PostgreSQL does not answer".to_owned())),
        }
    }

    async fn listen(&self, topic: Topic) -> Result<(), BackplaneError> {
        if !self.shared.topics().insert(topic) {
            self.shared.again.notify_one();
        }
        Ok(())
    }

    async fn unlisten(&self, topic: Topic) -> Result<(), BackplaneError> {
        self.shared.topics().remove(&topic);
        Ok(())
    }

    async fn recv(&self) -> Rung {
        self.shared.inbox.recv().await
    }

    fn is_alive(&self) -> bool {
        self.shared.is_alive.load(Ordering::Relaxed)
    }

    fn bell_bytes_max(&self) -> usize {
        BELL_BYTES_MAX
    }

    fn carries_events(&self) -> bool {
        false
    }
}

impl Drop for PostgresBackplane {
    fn drop(&mut self) {
        self.hearing.abort();
    }
}

impl fmt::Debug for PostgresBackplane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresBackplane").finish_non_exhaustive()
    }
}

/// Hears until it is aborted, on one connection after the other.
async fn hear(shared: Arc<Shared>, mut listener: PgListener) {
    loop {
        let why = shared.hear_on(&mut listener).await;
        tracing::debug!(why, "no bells are heard from PostgreSQL");
        shared.is_alive.store(false, Ordering::Relaxed);
        drop(listener);
        listener = shared.listen_again().await;
        shared.is_alive.store(true, Ordering::Relaxed);
        shared.inbox.resync();
    }
}

impl Shared {
    fn topics(&self) -> MutexGuard<'_, HashSet<Topic>> {
        self.topics.lock().expect("nothing panics while the lock is held")
    }

    async fn listener(&self) -> Result<PgListener, sqlx::Error> {
        // A pool for each: a listener that was given up gives its connection back when the server answers, perhaps never.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(CONNECT_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(self.options.clone());
        let connected = async {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.eager_reconnect(false);
            listener.listen(&self.channel).await?;
            Ok(listener)
        };
        let late = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
        timeout(ANSWER_TIMEOUT, connected).await.map_err(late)?
    }

    async fn listen_again(&self) -> PgListener {
        let (mut pause, longest) = PAUSES;
        loop {
            match self.listener().await {
                Ok(listener) => return listener,
                Err(error) => tracing::debug!(%error, "cannot listen to PostgreSQL"),
            }
            sleep(pause).await;
            pause = longest.min(2 * pause);
        }
    }

    /// Hears until nothing can be heard any more, and tells why.
    async fn hear_on(&self, listener: &mut PgListener) -> String {
        loop {
            let heard = tokio::select! {
                biased;
                () = self.again.notified() => None,
                heard = timeout(SILENCE, listener.try_recv()) => Some(heard),
            };
            let Some(heard) = heard else {
                match timeout(ANSWER_TIMEOUT, listener.listen(&self.channel)).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(error)) => return error.to_string(),
                    Err(_) => return "the server does not answer".to_owned(),
                }
            };
            match heard {
                Ok(Ok(Some(notification))) => {
                    for (topic, bell) in unpacked(notification.payload()) {
                        if self.topics().contains(&topic) {
                            self.inbox.push(bell);
                        }
                    }
                }
                Ok(Ok(None)) => return "the connection was closed".to_owned(),
                Ok(Err(error)) => return error.to_string(),
                Err(_) => match timeout(ANSWER_TIMEOUT, sqlx::raw_sql("SELECT 1").execute(&mut *listener)).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => return error.to_string(),
                    Err(_) => return "the server does not answer".to_owned(),
                },
            }
        }
    }
}
