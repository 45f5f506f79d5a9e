//! A connection within a transaction, as the statements see it.

use crate::database::{Answer, Argument, Database, Statements};
use crate::rows::{Columns, int, read};
use chat_core::id::{ConversationId, Timestamp};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Row, Sqlite, SqliteConnection, Transaction};
use std::ops::DerefMut;
use uuid::Uuid;

pub(super) struct Session<C> {
    pub connection: C,
    pub statements: Statements,
    /// Now, when it began, by the store's clock.
    pub at: Timestamp,
}

impl Session<Transaction<'_, Sqlite>> {
    pub async fn commit(self) -> Answer<()> {
        read(self.connection.commit().await)
    }
}

impl<C: DerefMut<Target = SqliteConnection> + Send> Database for Session<C> {
    type Row = SqliteRow;

    async fn fetch(&mut self, statement: &'static str, arguments: &[Argument<'_>]) -> Answer<Vec<SqliteRow>> {
        let query = bound(sqlx::query(self.statements.text(statement)), arguments);
        read(query.fetch_all(&mut *self.connection).await)
    }

    async fn execute(&mut self, statement: &'static str, arguments: &[Argument<'_>]) -> Answer<u64> {
        let query = bound(sqlx::query(self.statements.text(statement)), arguments);
        Ok(read(query.execute(&mut *self.connection).await)?.rows_affected())
    }

    fn at(&self) -> Option<Timestamp> {
        Some(self.at)
    }

    async fn now(&mut self) -> Answer<Timestamp> {
        Ok(self.at)
    }

    async fn lock_conversation(&mut self, _: ConversationId) -> Answer<()> {
        // Whoever writes is alone; the first statement that writes makes it so, before anything is looked at.
        self.begin_change().await
    }

    async fn begin_change(&mut self) -> Answer<()> {
        self.execute("UPDATE chat_store SET changes = changes + 1", &[]).await?;
        Ok(())
    }
}

type Prepared<'q> = Query<'q, Sqlite, SqliteArguments>;

fn bound<'q>(query: Prepared<'q>, arguments: &'q [Argument<'_>]) -> Prepared<'q> {
    arguments.iter().fold(query, |query, argument| match argument {
        Argument::Id(id) => query.bind(id.to_string()),
        Argument::Number(number) => query.bind(int(*number)),
        Argument::Flag(flag) => query.bind(*flag),
        Argument::Text(text) => query.bind(*text),
        Argument::MaybeText(text) => query.bind(*text),
        Argument::Json(json) => query.bind(json),
        Argument::Asked(conversations, ids, users) => {
            let asked = conversations.iter().zip(ids).zip(users);
            let objects = asked.map(|((conversation, id), user_id)| {
                serde_json::json!({ "conversation": conversation, "id": id, "user_id": user_id })
            });
            query.bind(serde_json::Value::from_iter(objects).to_string())
        }
        Argument::Ids(ids) => query.bind(objects(ids.iter().map(Uuid::to_string))),
        Argument::Names(names) => query.bind(objects(names.iter().map(String::as_str))),
    })
}

/// A JSON array of objects that have an id and nothing else.
fn objects(ids: impl IntoIterator<Item = impl Into<serde_json::Value>>) -> String {
    let object = |id| serde_json::Value::from_iter([("id", Into::<serde_json::Value>::into(id))]);
    serde_json::Value::from_iter(ids.into_iter().map(object)).to_string()
}

impl Columns for SqliteRow {
    fn int(&self, column: &str) -> Result<Option<i64>, sqlx::Error> {
        self.try_get(column)
    }

    fn flag(&self, column: &str) -> Result<bool, sqlx::Error> {
        self.try_get(column)
    }

    fn text(&self, column: &str) -> Result<Option<String>, sqlx::Error> {
        self.try_get(column)
    }

    /// Kept as text, so that `json_each` gives what a key is compared with.
    fn uuid(&self, column: &str) -> Result<Option<Uuid>, sqlx::Error> {
        let text: Option<&str> = self.try_get(column)?;
        let id = text.map(Uuid::try_parse).transpose();
        id.map_err(|error| sqlx::Error::Decode(error.into()))
    }

    #[cfg(test)]
    fn plan(&self) -> String {
        self.get("detail")
    }
}
