//! The schema, embedded, with a table of its own for what was done, so that a host's migrations are never touched.

use crate::database::Statements;
use crate::error::OpenError;
use sqlx::migrate::{AppliedMigration, MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};

/// What changes the schema from one version to the next; only ever added to.
pub(crate) type Files = &'static [(i64, &'static str, &'static str)];

pub(crate) const TABLE: &str = "chat_migrations";

/// The migrations with the names of this database.
pub(crate) fn migrator(files: Files, statements: &Statements) -> Migrator {
    let migrations = files.iter().map(|(version, description, sql)| {
        let sql = AssertSqlSafe(statements.make(sql)).into_sql_str();
        Migration::new(*version, (*description).into(), MigrationType::Simple, sql, false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.dangerous_set_table_name(statements.make(TABLE));
    migrator
}

/// All of it as text, for those who make changes by hand.
pub(crate) fn printed(files: Files, statements: &Statements) -> String {
    let one = |(version, description, sql): &(i64, &str, &str)| {
        format!("-- Migration {version}: {description}\n\n{}", statements.make(sql))
    };
    files.iter().map(one).collect::<Vec<_>>().join("\n")
}

/// Compares what was done with what this version knows.
pub(crate) fn check(files: Files, applied: &[i64]) -> Result<(), OpenError> {
    let newest = |versions: &mut dyn Iterator<Item = i64>| versions.max().unwrap_or(0);
    let known = newest(&mut files.iter().map(|(version, ..)| *version));
    let found = newest(&mut applied.iter().copied());
    if found > known {
        return Err(OpenError::SchemaTooNew { found, known });
    }
    if found < known {
        return Err(OpenError::SchemaTooOld);
    }
    Ok(())
}

pub(crate) fn failed(files: Files, error: MigrateError) -> OpenError {
    match error {
        MigrateError::VersionMissing(found) => OpenError::SchemaTooNew {
            found,
            known: files.last().map_or(0, |(version, ..)| *version),
        },
        error => OpenError::Migrate(error),
    }
}

pub(crate) fn versions(applied: &[AppliedMigration]) -> Vec<i64> {
    applied.iter().map(|migration| migration.version).collect()
}
