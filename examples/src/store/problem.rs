//! Why a store cannot be used: what was tried, what came of it, what to do. Never a password.

use super::Place;
use chat_store_sqlx::OpenError;
use sqlx::migrate::MigrateError;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Why a store cannot be used, in one sentence.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreProblem {
    /// This names no store.
    NoStore,
    /// This is no address of PostgreSQL.
    NoAddress,
    /// Memory has no schema and no epoch to change.
    Memory,
    /// The file cannot be had.
    File(PathBuf, io::Error),
    /// The file was had, but not as a store.
    Sqlite(PathBuf, OpenError),
    /// The database at this address.
    Postgres(String, OpenError),
}

impl StoreProblem {
    pub(super) fn of(place: &Place, error: OpenError) -> Self {
        match place {
            Place::Memory => Self::Memory,
            Place::Sqlite(file) => Self::Sqlite(file.clone(), error),
            Place::Postgres { shown, .. } => Self::Postgres(shown.clone(), error),
        }
    }
}

impl fmt::Display for StoreProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoStore => f.write_str(
                "--store names no store: write the path of a file for SQLite, `postgres://USER:PASSWORD@HOST/DATABASE`, \
                 or `memory`",
            ),
            Self::NoAddress => f.write_str(
                "--store is no address of PostgreSQL: write `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, with what is \
                 neither letter nor digit in a password as `%` and two hex digits",
            ),
            Self::Memory => f.write_str("a store in memory has nothing that lasts: name another with --store"),
            Self::File(file, error) => about_file(f, file, error),
            Self::Sqlite(file, error) => about_sqlite(f, file, error),
            Self::Postgres(shown, error) => about_postgres(f, shown, error),
        }
    }
}

impl std::error::Error for StoreProblem {}

fn about_file(f: &mut fmt::Formatter<'_>, file: &Path, error: &io::Error) -> fmt::Result {
    let folder = file.parent().unwrap_or(file);
    let (file, folder) = (file.display(), folder.display());
    match error.kind() {
        ErrorKind::NotFound => write!(
            f,
            "{file} is not there, or not the folder {folder}: make the folder, or name another file with --store"
        ),
        ErrorKind::NotADirectory => write!(
            f,
            "{file} cannot be made, because {folder} is not a folder: name another file with --store"
        ),
        ErrorKind::IsADirectory => write!(f, "{file} is a folder: name a file, such as `--store {file}/chat.db`"),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => write!(
            f,
            "{file} may not be written by this user: give them the right to write it and the folder {folder}, or name \
             another file with --store"
        ),
        _ => write!(f, "{file} cannot be opened: {error}; name another file with --store"),
    }
}

fn about_sqlite(f: &mut fmt::Formatter<'_>, file: &Path, error: &OpenError) -> fmt::Result {
    if let OpenError::File(_, error) = error {
        return about_file(f, file, error);
    }
    let shown = file.display();
    // The low byte of an extended code is the plain one.
    let code = database_error(error).and_then(|error| error.code()?.parse::<u32>().ok());
    match code.map(|code| code & 0xff) {
        Some(5 | 6) => write!(
            f,
            "{shown} is being written by another program: end it, and start again"
        ),
        Some(8) => about_file(f, file, &ErrorKind::PermissionDenied.into()),
        Some(11) => write!(f, "{shown} is damaged: put a backup in its place"),
        Some(13) => write!(f, "the disk with {shown} is full: make room"),
        Some(26) => write!(
            f,
            "{shown} is a file, but no SQLite database: name another with --store"
        ),
        _ => write!(f, "the store {shown} cannot be used: {error}"),
    }
}

fn about_postgres(f: &mut fmt::Formatter<'_>, shown: &str, error: &OpenError) -> fmt::Result {
    write!(f, "PostgreSQL at {shown} ")?;
    if let OpenError::Connect(sqlx::Error::Io(error))
    | OpenError::Unreachable {
        source: sqlx::Error::Io(error),
        ..
    } = error
    {
        return match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => {
                f.write_str("cannot be reached, nobody listens there: start it, or correct host and port in --store")
            }
            _ => write!(
                f,
                "cannot be reached: {error}; start it, or correct host and port in --store"
            ),
        };
    }
    let said = database_error(error);
    let code = said.and_then(|said| said.code());
    match (code.as_deref(), said) {
        (Some("28P01" | "28000"), Some(said)) => {
            write!(
                f,
                "refuses us: {}; correct user and password in --store",
                said.message()
            )
        }
        (Some("3D000"), Some(said)) => write!(
            f,
            "has no such database: {}; make it with `createdb`, or correct its name in --store",
            said.message()
        ),
        (Some("57P03"), _) => f.write_str("is starting or stopping: try again in a moment"),
        (Some("53300"), _) => f.write_str("has no connection left: raise its `max_connections`"),
        (Some("42501"), Some(said)) => write!(
            f,
            "does not let this user do what it has to: {}; run `chat-server migrate` as one who may change the schema, \
             grant this user to read and write the rows of its tables, and start with --no-migrate",
            said.message()
        ),
        _ => match error {
            OpenError::Deaf => f.write_str(
                "takes LISTEN and delivers nothing, as behind a pooler in transaction mode: give --store the server's own \
                 address, or choose another --backplane",
            ),
            OpenError::NotDurable(_) => write!(f, "cannot be used: {error} with --allow-data-loss"),
            OpenError::Unreachable { source, .. } => write!(f, "cannot be reached: {source}; correct --store"),
            error => write!(f, "cannot be used: {error}"),
        },
    }
}

/// What the database itself said.
fn database_error(error: &OpenError) -> Option<&dyn sqlx::error::DatabaseError> {
    let error = match error {
        OpenError::Connect(error) | OpenError::Unreachable { source: error, .. } => error,
        OpenError::Migrate(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => error,
        OpenError::Store(error) => std::error::Error::source(error)?.downcast_ref()?,
        _ => return None,
    };
    error.as_database_error()
}
