//! Durable stores of the chat engine: [`SqliteStore`] in one file, for one engine, and `PostgresStore` for many.
//!
//! Both pass the contract of [`Store`](chat_core::Store), with the same statements said in the words of each database.
//! What a command does is never decided here: an append loads facts, asks chat-core's judge, and writes what it says.
//!
//! * one append: it waits in `group.rs`, is judged in `desk.rs`, by what `known.rs` still knows where
//!   that is enough, and written by `writes.rs`
//! * one read: `read.rs` puts pages together from `statements.rs`, within one snapshot
//! * beside the log: marks, display data, leases and what changed since, in `keep.rs`
//! * one database: `sqlite.rs`, `postgres.rs`; what they say differently: `database.rs`
//! * bells between nodes, for hosts without a broker: `postgres/backplane.rs`
//! * the schema: `migrations/` as SQL, `migrations.rs`
//!
//! Features: `sqlite` (with SQLite compiled in), `sqlite-unbundled` (the system's), `postgres`.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(all(feature = "sqlite-unbundled", feature = "postgres")),
    allow(dead_code, unused)
)]

mod columns;
mod database;
mod desk;
mod error;
mod group;
mod identity;
mod keep;
mod known;
mod migrations;
#[cfg(test)]
mod plans;
mod read;
mod rows;
mod statements;
mod store;
mod writes;

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite-unbundled")]
mod sqlite;

pub use error::OpenError;
#[cfg(feature = "postgres")]
pub use postgres::{PostgresBackplane, PostgresOptions, PostgresStore};
#[cfg(feature = "sqlite-unbundled")]
pub use sqlite::{SqliteOptions, SqliteStore};
pub use store::AppendError;
