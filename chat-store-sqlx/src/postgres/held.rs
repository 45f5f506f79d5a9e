//! A pool's connection while it is used: what becomes of it when its user goes away in the middle.

use crate::database::Answer;
use crate::rows::read;
use chat_core::store::StoreError;
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Executor, PgConnection, Postgres};
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::time::Duration;
use tokio::time::timeout;

/// Beyond the session's own `statement_timeout` the server is not there any more.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(6);

/// A connection that is told when an answer is awaited.
pub(super) trait Hold: DerefMut<Target = PgConnection> + Send {
    fn awaits_answer(&mut self, _awaits: bool) {}
}

impl Hold for &mut PgConnection {}

/// Goes back to its pool, after a rollback where one is due; is closed when an answer is still to come.
pub(super) struct Held {
    /// Until it is dropped.
    connection: Option<PoolConnection<Postgres>>,
    awaits_answer: bool,
    is_in_transaction: bool,
}

impl Held {
    pub fn new(connection: PoolConnection<Postgres>) -> Self {
        Self {
            connection: Some(connection),
            awaits_answer: false,
            is_in_transaction: false,
        }
    }

    pub async fn begin(&mut self, statement: &str) -> Answer<()> {
        self.run(statement).await?;
        self.is_in_transaction = true;
        Ok(())
    }

    pub async fn commit(mut self) -> Answer<()> {
        self.run("COMMIT").await?;
        self.is_in_transaction = false;
        Ok(())
    }

    async fn run(&mut self, statement: &str) -> Answer<()> {
        self.awaits_answer = true;
        let statement = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()));
        in_time((&mut **self).execute(statement)).await?;
        self.awaits_answer = false;
        Ok(())
    }
}

/// An answer of the server, or the end of the patience with it.
pub(super) async fn in_time<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Answer<T> {
    match timeout(ANSWER_TIMEOUT, answer).await {
        Ok(answer) => read(answer),
        Err(_) => Err(StoreError::unavailable("PostgreSQL does not answer")),
    }
}

impl Hold for Held {
    fn awaits_answer(&mut self, awaits: bool) {
        self.awaits_answer = awaits;
    }
}

impl Deref for Held {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().expect("there until it is dropped")
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("there until it is dropped")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        if self.awaits_answer {
            // What the next user asked would wait behind it, perhaps for ever.
            drop(connection.detach());
        } else if self.is_in_transaction {
            // Whoever read has what they wanted: they need not wait for this.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move {
                    let rolled_back = timeout(ANSWER_TIMEOUT, connection.execute("ROLLBACK")).await;
                    if !matches!(rolled_back, Ok(Ok(_))) {
                        drop(connection.detach());
                    }
                });
            } else {
                drop(connection.detach());
            }
        }
    }
}
