//! Where the databases are, and what their processes cost.

use super::{Failure, Options, StoreKind};
use crate::cpu;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use std::io;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;
use tempfile::TempDir;

/// A place for databases of one kind.
pub(super) enum Place {
    /// None are needed.
    Memory,
    /// Files in a directory that goes when this does.
    Sqlite(TempDir),
    /// A cluster.
    Postgres(Box<Cluster>),
}

/// A PostgreSQL that this program may create databases in.
pub(super) struct Cluster {
    options: PgConnectOptions,
    /// The postmaster, when it runs on this machine and is known.
    process: Option<u32>,
}

impl Place {
    pub fn of(options: &Options) -> Result<Self, Failure> {
        Ok(match options.store {
            StoreKind::Memory => Self::Memory,
            StoreKind::Sqlite => Self::Sqlite(match &options.directory {
                Some(directory) => TempDir::with_prefix_in("chat-bench-", directory)?,
                None => TempDir::with_prefix("chat-bench-")?,
            }),
            StoreKind::Postgres => {
                let url = options.postgres_url.as_ref();
                let url = url.ok_or("where is PostgreSQL? give --postgres-url or CHAT_POSTGRES_URL")?;
                Self::Postgres(Box::new(Cluster {
                    options: PgConnectOptions::from_str(url)?.disable_statement_logging(),
                    process: options.postgres_pid,
                }))
            }
        })
    }

    /// The CPU time that the database's processes have used so far; none when it has none, or none is known.
    pub fn cpu(&self) -> io::Result<Option<Duration>> {
        match self {
            Self::Postgres(cluster) => cluster.process.map(cpu::of_cluster).transpose(),
            Self::Sqlite(_) | Self::Memory => Ok(None),
        }
    }

    /// Removes a database that [`Cluster::fresh`] made; files go with their directory.
    pub async fn remove(&self, name: &str) -> Result<(), Failure> {
        match self {
            Self::Postgres(cluster) => cluster.remove(name).await,
            Self::Sqlite(_) | Self::Memory => Ok(()),
        }
    }

    /// Does at once for these databases what the server would do in its own time, in the middle of a measurement.
    pub async fn settle(&self, names: &[&str]) -> Result<(), Failure> {
        if let Self::Postgres(cluster) = self {
            for name in names {
                cluster.settle(name).await?;
            }
        }
        Ok(())
    }

    /// The directory in which the database writes, if it is on this machine.
    pub async fn directory(&self) -> Option<PathBuf> {
        match self {
            Self::Memory => None,
            Self::Sqlite(directory) => Some(directory.path().to_owned()),
            Self::Postgres(cluster) => {
                cluster.process?;
                let mut connection = cluster.options.connect().await.ok()?;
                let directory: String = sqlx::query_scalar("SHOW data_directory")
                    .fetch_one(&mut connection)
                    .await
                    .ok()?;
                Some(directory.into())
            }
        }
    }
}

impl Cluster {
    /// An empty database of this name; what was there under it goes.
    pub async fn fresh(&self, name: &str) -> Result<PgConnectOptions, Failure> {
        self.remove(name).await?;
        let mut connection = self.options.connect().await?;
        let create = format!("CREATE DATABASE {}", database(name));
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut connection).await?;
        connection.close().await?;
        Ok(self.options.clone().database(&database(name)))
    }

    /// Drops the database of this name, if there is one.
    pub async fn remove(&self, name: &str) -> Result<(), Failure> {
        let mut connection = self.options.connect().await?;
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", database(name));
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut connection).await?;
        connection.close().await?;
        Ok(())
    }

    /// The CPU time that the connections to this database have used so far, without those that ended.
    pub async fn backends_cpu(&self, name: &str) -> Result<Option<Duration>, Failure> {
        if self.process.is_none() {
            return Ok(None);
        }
        let mut connection = self.options.connect().await?;
        let backends: Vec<i32> = sqlx::query_scalar("SELECT pid FROM pg_stat_activity WHERE datname = $1")
            .bind(database(name))
            .fetch_all(&mut connection)
            .await?;
        connection.close().await?;
        let mut sum = Duration::ZERO;
        for backend in backends {
            // Autovacuum's workers come and go.
            sum += cpu::of(backend as u32).unwrap_or_default();
        }
        Ok(Some(sum))
    }

    async fn settle(&self, name: &str) -> Result<(), Failure> {
        let mut connection = self.options.clone().database(&database(name)).connect().await?;
        sqlx::raw_sql("VACUUM ANALYZE").execute(&mut connection).await?;
        sqlx::raw_sql("CHECKPOINT").execute(&mut connection).await?;
        connection.close().await?;
        Ok(())
    }
}

fn database(name: &str) -> String {
    format!("chat_bench_{name}")
}
