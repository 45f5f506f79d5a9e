//! What a database's errors mean.

use chat_core::store::StoreError;
use sqlx::migrate::MigrateError;
use thiserror::Error;

/// The store could not be opened, or its schema not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The database cannot be reached or does not let us in.
    #[error("the database cannot be opened: {0}")]
    Connect(#[source] sqlx::Error),
    /// There is no server, or it does not let us in.
    #[error("PostgreSQL cannot be reached at {place}: {source}. Start it, or correct the address")]
    Unreachable {
        /// Where it was looked for; without the password.
        place: String,
        /// What came of it.
        source: sqlx::Error,
    },
    /// The address or path makes no sense.
    #[error("{0}")]
    Address(String),
    /// Another engine has this SQLite file.
    #[error(
        "another process has {0} open: SQLite serves one engine. Stop the other one, or use PostgreSQL, which serves \
         many"
    )]
    InUse(String),
    /// The database would lose what it acknowledged.
    #[error("{0}")]
    NotDurable(String),
    /// The schema is newer than this version of the engine.
    #[error(
        "the schema is at version {found}, this version of the engine knows versions up to {known}: run one that knows \
         version {found}"
    )]
    SchemaTooNew {
        /// In the database.
        found: i64,
        /// Here.
        known: i64,
    },
    /// The schema is not there, or an older one.
    #[error("the schema is not up to date: call `migrate()`, or run `chat-server migrate`")]
    SchemaTooOld,
    /// What was rung on the backplane was not heard there.
    #[error(
        "PostgreSQL took LISTEN and delivered nothing: a pooler in transaction mode swallows notifications. Give the \
         backplane the server's own address, or set the pooler to session mode"
    )]
    Deaf,
    /// A migration failed; those before it were made.
    #[error("the schema could not be made: {0}")]
    Migrate(#[source] MigrateError),
    /// The prefix cannot be part of a table's name.
    #[error("{0:?} cannot begin a table's name: use a-z, 0-9 and _, at most 32 characters, not a digit first")]
    Prefix(String),
    /// The database did not answer.
    #[error("{0}")]
    Store(#[source] StoreError),
    /// A file beside the database could not be used.
    #[error("{0}: {1}")]
    File(String, #[source] std::io::Error),
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A store that cannot be used as it is: the engine does not start.
pub(crate) fn unusable(error: OpenError) -> StoreError {
    match error {
        OpenError::Store(error) => error,
        error => StoreError::Unavailable(error.to_string(), Some(Box::new(error))),
    }
}

/// Answers that say nothing about what is stored; the rest says that it is not what it should be.
pub(crate) fn store_error(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
            StoreError::Corrupt(error.to_string())
        }
        error => StoreError::Unavailable(error.to_string(), Some(Box::new(error))),
    }
}
