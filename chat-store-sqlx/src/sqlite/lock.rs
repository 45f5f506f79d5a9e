//! The lock that keeps a second engine away from a SQLite file.

use crate::error::OpenError;
use chat_core::store::StoreError;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A process that was told to end may still be ending when the next one starts.
const ATTEMPTS: u32 = 10;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(100);

/// An operating system's lock on a file beside the database, held until this is dropped or the process ends.
///
/// Not on the database itself: there SQLite's own locks come and go.
#[derive(Debug)]
pub(super) struct FileLock {
    database: PathBuf,
    /// The number of the database among the files.
    number: Option<(u64, u64)>,
    _file: File,
}

impl FileLock {
    pub async fn take(database: &Path) -> Result<Self, OpenError> {
        let database = real(database)?;
        let mut beside = database.clone().into_os_string();
        beside.push(".lock");
        let beside = PathBuf::from(beside);
        let failed = |error| OpenError::File(format!("{} cannot be made", beside.display()), error);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&beside)
            .map_err(failed)?;
        for attempt in 1.. {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if attempt < ATTEMPTS => tokio::time::sleep(BETWEEN_ATTEMPTS).await,
                Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(database.display().to_string())),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
        let number = number(&database);
        Ok(Self {
            database,
            number,
            _file: file,
        })
    }

    /// Whether the database is still the file that was opened.
    ///
    /// # Errors
    /// When its path leads to another file, or to none: whoever opens it next finds nothing of what is written here.
    pub fn check(&self) -> Result<(), StoreError> {
        if number(&self.database) == self.number {
            return Ok(());
        }
        Err(StoreError::unavailable(format!(
            "{} is another file than the one that was opened: start again",
            self.database.display()
        )))
    }
}

/// However the path is written, the file is one. It is made when it is not there, since a link may lead to it.
///
/// One that is there is never opened: closing it would give SQLite's own locks of this process back.
fn real(database: &Path) -> Result<PathBuf, OpenError> {
    if let Ok(database) = database.canonicalize() {
        return Ok(database);
    }
    let failed = |error| OpenError::File(format!("{} cannot be made", database.display()), error);
    let mut make = File::options();
    make.create(true).truncate(false).write(true);
    make.open(database).map_err(failed)?;
    database.canonicalize().map_err(failed)
}

#[cfg(unix)]
fn number(file: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let data = file.metadata().ok()?;
    Some((data.dev(), data.ino()))
}

/// Elsewhere a file that is open cannot be replaced.
#[cfg(not(unix))]
fn number(_: &Path) -> Option<(u64, u64)> {
    None
}
