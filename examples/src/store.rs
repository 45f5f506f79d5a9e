//! Where `chat-server` keeps everything: opened, migrated, and given to the engine; or a sentence that says why not.
//!
//! A host that knows its store needs none of this: it connects and gives it to the engine's builder.

mod problem;

pub use problem::StoreProblem;

use crate::settings::{Act, StoreAct, StoreSettings};
use chat_core::id::Epoch;
use chat_core::{Builder, Store};
use chat_store_memory::MemoryStore;
use chat_store_sqlx::{OpenError, PostgresOptions, PostgresStore, SqliteOptions, SqliteStore};
use sqlx::postgres::PgConnectOptions;
use std::convert::Infallible;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use tokio::time::timeout;

const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// What was written where a store or a backplane is asked for. It is judged later, and never shown: it may hold a password.
#[derive(Clone)]
pub struct PlaceText(String);

impl PlaceText {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PlaceText {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for PlaceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Where everything is kept. It shows neither user nor password.
#[derive(Clone)]
pub enum Place {
    /// In this process, until it ends.
    Memory,
    /// In this file.
    Sqlite(PathBuf),
    /// In this database.
    Postgres {
        /// The whole address, as it was given.
        url: String,
        /// Its host and database.
        shown: String,
    },
}

impl TryFrom<&PlaceText> for Place {
    type Error = StoreProblem;

    fn try_from(text: &PlaceText) -> Result<Self, StoreProblem> {
        let text = text.0.as_str();
        // One letter is a drive of Windows.
        let scheme = text
            .split_once(':')
            .map(|(scheme, _)| scheme)
            .filter(|scheme| scheme.len() > 1);
        match scheme {
            None if text == "memory" => Ok(Self::Memory),
            None => file(text),
            Some("sqlite") => {
                let path = &text["sqlite:".len()..];
                file(path.strip_prefix("//").unwrap_or(path))
            }
            Some("postgres" | "postgresql") => {
                let options = may_be_an_address(text).then(|| PgConnectOptions::from_str(text).ok());
                let options = options.flatten().ok_or(StoreProblem::NoAddress)?;
                let host = match options.get_socket() {
                    Some(socket) => socket.display().to_string(),
                    None => format!("{}:{}", options.get_host(), options.get_port()),
                };
                let database = options.get_database().unwrap_or_else(|| options.get_username());
                Ok(Self::Postgres {
                    url: text.to_owned(),
                    shown: format!("{host}/{database}"),
                })
            }
            Some(_) => Err(StoreProblem::NoStore),
        }
    }
}

/// A password with `/`, `?` or `#` as they are would end before them, and the rest of it be shown as host and database.
fn may_be_an_address(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    !rest.contains('#') && !rest[authority.len()..].contains('@')
}

/// A path as the start lines show it: whole, wherever the server was started.
fn file(path: &str) -> Result<Place, StoreProblem> {
    if path.is_empty() || path.starts_with(':') || path.contains('?') {
        return Err(StoreProblem::NoStore);
    }
    let whole = std::path::absolute(path).map_err(|error| StoreProblem::File(path.into(), error))?;
    Ok(Place::Sqlite(whole))
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory: forgets everything when it stops"),
            Self::Sqlite(file) => write!(f, "sqlite, {}", file.display()),
            Self::Postgres { shown, .. } => write!(f, "postgres, {shown}"),
        }
    }
}

/// An open store of any kind.
pub enum Opened {
    /// For tests and first steps.
    Memory(MemoryStore),
    /// For one server.
    Sqlite(SqliteStore),
    /// For many.
    Postgres(PostgresStore),
}

/// Opens the store, with the schema of this version.
///
/// # Errors
/// [`StoreProblem`].
pub async fn open(settings: &StoreSettings, place: &Place) -> Result<Opened, StoreProblem> {
    let opened = Opened::connect(settings, place).await?;
    let ready = match settings.no_migrate {
        true => opened.check().await,
        false => opened.migrate().await,
    };
    ready.map_err(|error| StoreProblem::of(place, error))?;
    Ok(opened)
}

/// Does what is done instead of serving; what it has to say goes to `out`.
///
/// # Errors
/// [`StoreProblem`].
pub async fn act(act: &Act, settings: &StoreSettings, mut out: impl Write) -> Result<(), StoreProblem> {
    let place = Place::try_from(&settings.store)?;
    let said = match act {
        Act::Migrate { print_sql: true } => schema_sql(&place)?,
        Act::Migrate { print_sql: false } => {
            let opened = Opened::connect(settings, &place).await?;
            let migrated = opened.migrate().await;
            opened.close().await;
            migrated.map_err(|error| StoreProblem::of(&place, error))?;
            format!("Store: {place}\nThe schema is up to date.\n")
        }
        Act::Store(StoreAct::ResetEpoch) => {
            match &place {
                Place::Memory => return Err(StoreProblem::Memory),
                Place::Sqlite(file) if !file.exists() => {
                    return Err(StoreProblem::File(file.clone(), io::ErrorKind::NotFound.into()));
                }
                _ => {}
            }
            let opened = Opened::connect(settings, &place).await?;
            let epochs = match opened.check().await {
                Ok(()) => opened.reset_epoch().await,
                Err(error) => Err(error),
            };
            opened.close().await;
            let (old, new) = epochs.map_err(|error| StoreProblem::of(&place, error))?;
            format!(
                "Store: {place}\nOld epoch: {old}\nNew epoch: {new}\nNo message was changed. Every client drops what it \
                 knows of the log and reads it anew, as after a restore.\n"
            )
        }
    };
    // Whoever asked may have stopped reading; it is done all the same.
    let _ = out.write_all(said.as_bytes()).and_then(|()| out.flush());
    Ok(())
}

fn schema_sql(place: &Place) -> Result<String, StoreProblem> {
    let sql = match place {
        Place::Memory => return Err(StoreProblem::Memory),
        Place::Sqlite(_) => SqliteOptions::new().schema_sql(),
        Place::Postgres { .. } => PostgresOptions::new().schema_sql(),
    };
    sql.map_err(|error| StoreProblem::of(place, error))
}

impl Opened {
    async fn connect(settings: &StoreSettings, place: &Place) -> Result<Self, StoreProblem> {
        let opened = match place {
            Place::Memory => return Ok(Self::Memory(MemoryStore::new())),
            Place::Sqlite(file) => {
                may_write(file).map_err(|error| StoreProblem::File(file.clone(), error))?;
                SqliteStore::connect(file).await.map(Self::Sqlite)
            }
            Place::Postgres { url, .. } => {
                let options = PostgresOptions::new().allow_data_loss(settings.allow_data_loss);
                options.connect(url).await.map(Self::Postgres)
            }
        };
        opened.map_err(|error| StoreProblem::of(place, error))
    }

    async fn migrate(&self) -> Result<(), OpenError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Sqlite(store) => store.migrate().await,
            Self::Postgres(store) => store.migrate().await,
        }
    }

    async fn check(&self) -> Result<(), OpenError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Sqlite(store) => store.check().await,
            Self::Postgres(store) => store.check().await,
        }
    }

    /// The epochs before and after.
    async fn reset_epoch(&self) -> Result<(Epoch, Epoch), OpenError> {
        let before = match self {
            Self::Memory(store) => store.identity().await,
            Self::Sqlite(store) => store.identity().await,
            Self::Postgres(store) => store.identity().await,
        };
        let before = before?.epoch;
        let after = match self {
            // It has another with every start.
            Self::Memory(_) => before,
            Self::Sqlite(store) => store.reset_epoch().await?,
            Self::Postgres(store) => store.reset_epoch().await?,
        };
        Ok((before, after))
    }

    /// Gives the engine a handle.
    pub fn give(&self, builder: Builder) -> Builder {
        match self {
            Self::Memory(store) => builder.store(store.clone()),
            Self::Sqlite(store) => builder.store(store.clone()),
            Self::Postgres(store) => builder.store(store.clone()),
        }
    }

    /// Closes it in order: a SQLite file is then whole by itself.
    pub async fn close(&self) {
        let closed = async {
            match self {
                Self::Memory(_) => {}
                Self::Sqlite(store) => store.close().await,
                Self::Postgres(store) => store.close().await,
            }
        };
        // What still goes on then ends with the process, as it does when somebody pulls the plug.
        let _ = timeout(CLOSE_WITHIN, closed).await;
    }
}

/// SQLite would open a file that it may only read, and fail at the first message.
fn may_write(file: &Path) -> io::Result<()> {
    match std::fs::File::options().read(true).write(true).open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match file.parent() {
            Some(folder) => std::fs::read_dir(folder).map(drop),
            None => Err(error),
        },
        opened => opened.map(drop),
    }
}
