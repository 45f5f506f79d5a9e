//! The inner door: what each database does for the statements, which are written once.
//!
//! A statement is written in the SQL that both understand, with a few words that each database says in its own way:
//!
//! | word | PostgreSQL | SQLite |
//! |---|---|---|
//! | `LIST(a uuid, b text)` | rows of the first argument, a JSON array of objects | the same |
//! | `IN ORDER JOIN` | `JOIN` | `CROSS JOIN`, which keeps the order: the list is small, and what it names is found by key |
//! | `CHANGE()` | this transaction's id | the number of this transaction |
//! | `LOCKED()` | `FOR NO KEY UPDATE` | nothing: a transaction that writes is alone |
//! | `NOW()` | the server's time in ms | nothing: the process's time is asked |
//! | `NEXT()` | the first transaction that this snapshot may not see | the number of the next transaction |
//! | `LIFE()` | the table and the server's start: both are others after a restore | when the store was opened |
//! | `STAMP($1)`, `NUMBER(x)` | a transaction's id from a number, and as one | the number |
//! | `chat_…` | what the names of the tables begin with, and their schema | what they begin with |

use crate::error::OpenError;
use crate::rows::Columns;
use chat_core::id::{ConversationId, Timestamp};
use chat_core::store::StoreError;
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::future::Future;
use std::sync::{Arc, RwLock};
use uuid::Uuid;

pub(crate) type Answer<T> = Result<T, StoreError>;

/// A connection within one transaction: what is read together is of one moment.
pub(crate) trait Database: Send {
    type Row: Columns + Send;

    fn fetch(
        &mut self,
        statement: &'static str,
        arguments: &[Argument<'_>],
    ) -> impl Future<Output = Answer<Vec<Self::Row>>> + Send;

    /// How many rows it changed.
    fn execute(
        &mut self,
        statement: &'static str,
        arguments: &[Argument<'_>],
    ) -> impl Future<Output = Answer<u64>> + Send;

    /// Now, by the store's clock, if that is known without asking.
    fn at(&self) -> Option<Timestamp>;

    /// Now, by the store's clock.
    fn now(&mut self) -> impl Future<Output = Answer<Timestamp>> + Send;

    /// Waits until nobody else can append to the conversation, and keeps it so until this transaction ends.
    fn lock_conversation(&mut self, conversation: ConversationId) -> impl Future<Output = Answer<()>> + Send;

    /// Gives this transaction its number, if it has none by itself: before anything that says `CHANGE()`.
    fn begin_change(&mut self) -> impl Future<Output = Answer<()>> + Send;
}

/// What is bound to a statement.
pub(crate) enum Argument<'a> {
    Id(Uuid),
    Number(u64),
    Flag(bool),
    Text(&'a str),
    MaybeText(Option<&'a str>),
    /// JSON, as a list or as a value.
    Json(String),
    /// For `LIST(conversation uuid, id uuid, user_id text)`, as long as one another.
    Asked(Vec<Uuid>, Vec<Option<Uuid>>, Vec<Option<String>>),
    /// For `LIST(id uuid)`.
    Ids(Vec<Uuid>),
    /// For `LIST(id text)`.
    Names(Vec<String>),
}

/// How a database says the words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialect {
    /// A list's rows, from its columns and their types.
    pub list: fn(&[(&str, &str)]) -> String,
    pub join: &'static str,
    pub change: &'static str,
    pub locked: &'static str,
    pub now: &'static str,
    pub next: &'static str,
    /// Of one row of the table of the store.
    pub life: &'static str,
    /// What `STAMP(x)` and `NUMBER(x)` put behind `x`.
    pub stamp: &'static str,
    pub number: &'static str,
}

/// Makes the text of a statement for one database, once each.
#[derive(Debug, Clone)]
pub(crate) struct Statements {
    dialect: Dialect,
    /// With what the names of the tables begin.
    prefix: String,
    /// No other time that a store is opened has the same.
    opened: String,
    /// Guards the texts made so far, by the place of the written one; held for a look or an insertion.
    made: Arc<RwLock<HashMap<Place, Arc<str>>>>,
}

/// Where a text is, and how long.
type Place = (usize, usize);

const WRITTEN: &str = "chat_";
const OPENED: &str = "OPENED";

impl Statements {
    /// For tables whose names begin with `prefix`, in a schema, where there are schemas.
    pub fn new(dialect: Dialect, schema: Option<&str>, prefix: Option<&str>) -> Result<Self, OpenError> {
        for part in schema.into_iter().chain(prefix) {
            if !is_identifier(part) {
                return Err(OpenError::Prefix(part.to_owned()));
            }
        }
        let name = prefix.unwrap_or(WRITTEN);
        Ok(Self {
            dialect,
            prefix: schema.map_or_else(|| name.to_owned(), |schema| format!("{schema}.{name}")),
            opened: Uuid::new_v4().to_string(),
            made: Arc::default(),
        })
    }

    pub fn text(&self, written: &'static str) -> SqlStr {
        let place: Place = (written.as_ptr() as usize, written.len());
        let known = self
            .made
            .read()
            .expect("nothing panics while the lock is held")
            .get(&place)
            .cloned();
        let text = known.unwrap_or_else(|| {
            let text: Arc<str> = self.make(written).into();
            let mut made = self.made.write().expect("nothing panics while the lock is held");
            made.insert(place, text.clone());
            text
        });
        // What is put in is checked in `new`, or written in this crate: nothing of it comes from a caller.
        AssertSqlSafe(text).into_sql_str()
    }

    /// The text of a statement, or the name of a table, in this database's words.
    pub fn make(&self, written: &str) -> String {
        let mut text = written.replace(WRITTEN, &self.prefix);
        text = text.replace("IN ORDER JOIN", self.dialect.join);
        text = text.replace("CHANGE()", &self.dialect.change.replace(WRITTEN, &self.prefix));
        text = text.replace("NOW()", self.dialect.now);
        text = text.replace("NEXT()", &self.dialect.next.replace(WRITTEN, &self.prefix));
        text = text.replace("LIFE()", &self.dialect.life.replace(OPENED, &self.opened));
        text = text.replace(" LOCKED()", self.dialect.locked);
        replace(&mut text, "STAMP(", |inside| format!("{inside}{}", self.dialect.stamp));
        replace(&mut text, "NUMBER(", |inside| {
            format!("{inside}{}", self.dialect.number)
        });
        replace(&mut text, "LIST(", |inside| {
            let columns = inside.split(',').filter_map(|column| column.trim().split_once(' '));
            (self.dialect.list)(&columns.collect::<Vec<_>>())
        });
        text
    }
}

/// Says a word and what is in its parentheses in another way.
fn replace(text: &mut String, word: &str, say: impl Fn(&str) -> String) {
    while let Some(start) = text.find(word) {
        let end = start + text[start..].find(')').expect("a word is written with its parentheses");
        let said = say(&text[start + word.len()..end]);
        text.replace_range(start..=end, &said);
    }
}

fn is_identifier(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_lowercase() || c == '_';
    text.len() <= 32 && text.starts_with(is_letter) && text.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}

/// SQLite: the values of each object under their names; `n` is its place in the list.
#[cfg(feature = "sqlite-unbundled")]
pub(crate) const SQLITE: Dialect = Dialect {
    list: |columns| {
        let mut text = "(SELECT key AS n".to_owned();
        for (column, _) in columns {
            let _ = write!(text, ", value ->> '{column}' AS {column}");
        }
        text + " FROM json_each($1))"
    },
    join: "CROSS JOIN",
    change: "(SELECT changes FROM chat_store)",
    locked: "",
    now: "NULL",
    next: "(SELECT changes + 1 FROM chat_store)",
    life: "'OPENED'",
    stamp: "",
    number: "",
};

/// User ids are stored and indexed byte by byte; a list in another order finds nothing by index.
#[cfg(feature = "postgres")]
const AS_STORED: &str = " COLLATE \"C\"";

/// PostgreSQL: a record of each object; `n` is its place in the list. What is asked most comes as arrays, which cost less
/// than JSON, and of which the planner does not think that they have a hundred rows.
#[cfg(feature = "postgres")]
pub(crate) const POSTGRES: Dialect = Dialect {
    list: |columns| {
        if let [(column, type_)] = columns {
            let collated = if *type_ == "text" { AS_STORED } else { "" };
            return format!(
                "(SELECT {column}{collated} AS {column}, n FROM unnest($1::{type_}[]) WITH ORDINALITY AS list({column}, n))"
            );
        }
        if let [("conversation", _), ("id", _), ("user_id", _)] = columns {
            return format!(
                "(SELECT conversation, id, user_id{AS_STORED} AS user_id, n FROM unnest($1::uuid[], $2::uuid[], $3::text[]) \
                 WITH ORDINALITY AS list(conversation, id, user_id, n))"
            );
        }
        let mut text = "(SELECT * FROM ROWS FROM (json_to_recordset($1::json) AS (".to_owned();
        for (index, (column, type_)) in columns.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let collated = if *type_ == "text" { AS_STORED } else { "" };
            let _ = write!(text, "{comma}{column} {type_}{collated}");
        }
        text + ")) WITH ORDINALITY AS list(" + &names(columns) + ", n))"
    },
    join: "JOIN",
    change: "pg_current_xact_id()",
    locked: " FOR NO KEY UPDATE",
    now: "(extract(epoch FROM clock_timestamp()) * 1000)::bigint",
    next: "pg_snapshot_xmin(pg_current_snapshot())::text::bigint",
    life: "concat(tableoid, '/', extract(epoch FROM pg_postmaster_start_time()))",
    stamp: "::text::xid8",
    number: "::text::bigint",
};

#[cfg(feature = "postgres")]
fn names(columns: &[(&str, &str)]) -> String {
    let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

#[cfg(all(test, feature = "sqlite-unbundled"))]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_said_in_the_words_of_its_database() {
        let statements = Statements::new(SQLITE, None, Some("c_")).unwrap();
        let text = statements.make("UPDATE chat_users SET changed = CHANGE() FROM LIST(id text) j LOCKED()");
        assert_eq!(
            text,
            "UPDATE c_users SET changed = (SELECT changes FROM c_store) FROM (SELECT key AS n, value ->> 'id' AS id \
             FROM json_each($1)) j"
        );
    }

    #[test]
    fn what_could_end_a_name_is_refused() {
        for prefix in ["", "a b", "a;", "1a", "a\"", "A", "a.b", &"a".repeat(33)] {
            assert!(Statements::new(SQLITE, None, Some(prefix)).is_err(), "{prefix:?}");
            assert!(Statements::new(SQLITE, Some(prefix), None).is_err(), "{prefix:?}");
        }
    }
}
