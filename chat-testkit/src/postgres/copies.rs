//! Copies of a cluster: a streaming standby that can be promoted, and a database in a file that can be put back.

use super::{PostgresError, PrivatePostgres, programs, system};
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

const CATCHES_UP_WITHIN: Duration = Duration::from_secs(120);

impl PrivatePostgres {
    /// Copies the running server into a second one, which follows it as a streaming standby and answers reads.
    ///
    /// It has the same password and settings, and a replication slot, so that it may be stopped for as long as it likes
    /// and still catches up. To promote it *without* the last writes, stop it before they are made, stop this server
    /// after them, and start it again.
    ///
    /// # Errors
    /// When this server does not answer, or the standby does not start.
    pub fn base_backup(&self) -> Result<PrivatePostgres, PostgresError> {
        let mut standby = Self::empty(self.programs.clone(), self.password.clone(), self.settings.clone())?;
        let slot = format!("standby_{}", super::new_password()?);
        let mut copy = self.programs.as_server("pg_basebackup");
        self.connect(&mut copy);
        copy.arg("--pgdata")
            .arg(standby.data())
            .current_dir(standby.directory());
        copy.args([
            "--write-recovery-conf",
            "--wal-method=stream",
            "--checkpoint=fast",
            "--no-sync",
        ]);
        copy.args(["--create-slot", "--slot", &slot]);
        programs::output(&mut copy)?;
        standby.start_on_a_free_port()?;
        Ok(standby)
    }

    /// Waits until this standby has replayed everything that the primary had committed when this was called.
    ///
    /// # Errors
    /// When one of them does not answer, or two minutes were not enough.
    pub fn catch_up_with(&self, primary: &PrivatePostgres) -> Result<(), PostgresError> {
        let position = primary.psql("postgres", "select pg_current_wal_lsn()")?;
        let has_it = format!("select coalesce(pg_last_wal_replay_lsn() >= '{position}', false)");
        let end = Instant::now() + CATCHES_UP_WITHIN;
        while self.psql("postgres", &has_it)? != "t" {
            if Instant::now() >= end {
                return Err(system("the standby does not catch up")(io::ErrorKind::TimedOut.into()));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Makes this standby a primary, on a timeline of its own. Returns when it takes writes.
    ///
    /// # Errors
    /// When it is no standby, or does not answer.
    pub fn promote(&self) -> Result<(), PostgresError> {
        match self.psql("postgres", "select pg_promote(true, 120)")?.as_str() {
            "t" => Ok(()),
            _ => Err(PostgresError::Failed {
                program: "pg_promote".to_owned(),
                said: "the standby takes no writes within two minutes".to_owned(),
            }),
        }
    }

    /// Writes a database into a file (`pg_dump -Fc`).
    ///
    /// # Errors
    /// What `pg_dump` says.
    pub fn dump(&self, database: &str, file: &Path) -> Result<(), PostgresError> {
        let mut dump = self.client("pg_dump");
        dump.arg("--format=custom").arg("--file").arg(file).arg(database);
        programs::output(&mut dump).map(drop)
    }

    /// Puts a database back to what [`dump`](Self::dump) wrote, in one transaction; whoever is connected stays so.
    ///
    /// # Errors
    /// What `pg_restore` says; the database is then as before.
    pub fn restore(&self, database: &str, file: &Path) -> Result<(), PostgresError> {
        let mut restore = self.client("pg_restore");
        restore.args(["--clean", "--if-exists", "--single-transaction", "--dbname", database]);
        programs::output(restore.arg(file)).map(drop)
    }
}
