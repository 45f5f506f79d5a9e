//! The lock that keeps a second engine away from a SQLite file.

use crate::error::OpenError;
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
    _file: File,
}

impl FileLock {
    pub async fn take(database: &Path) -> Result<Self, OpenError> {
        // However the path is written, the file is one.
        let database = match database.canonicalize() {
            Ok(database) => database,
            Err(_) => database.to_owned(),
        };
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
        Ok(Self { _file: file })
    }
}
