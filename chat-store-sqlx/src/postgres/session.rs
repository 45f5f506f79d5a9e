//! A connection within a transaction, or for one statement, as the statements see it.

use super::held::{Held, Hold, in_time};
use crate::database::{Answer, Argument, Database, Statements};
use crate::rows::{Columns, int, number};
use crate::statements::id;
use chat_core::id::{ConversationId, Timestamp};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{Executor, Postgres, Row};
use uuid::Uuid;

pub(super) struct Session<C> {
    pub connection: C,
    pub statements: Statements,
}

impl Session<Held> {
    pub async fn commit(self) -> Answer<()> {
        self.connection.commit().await
    }
}

pub(super) type Prepared<'q> = Query<'q, Postgres, PgArguments>;

impl<C: Hold> Session<C> {
    pub fn query<'q>(&self, statement: &'static str) -> Prepared<'q> {
        sqlx::query(self.statements.text(statement))
    }

    /// A statement without an answer that matters.
    pub async fn run(&mut self, statement: &str) -> Answer<()> {
        self.connection.awaits_answer(true);
        // Written in this crate, or from settings that are.
        let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()));
        in_time((&mut *self.connection).execute(statement)).await?;
        self.connection.awaits_answer(false);
        Ok(())
    }

    pub async fn all(&mut self, query: Prepared<'_>) -> Answer<Vec<PgRow>> {
        self.connection.awaits_answer(true);
        let rows = in_time(query.fetch_all(&mut *self.connection)).await;
        // After an error of the server the connection is as good as before; sqlx knows of those after which it is not.
        self.connection.awaits_answer(rows.as_ref().is_err_and(is_no_answer));
        rows
    }
}

fn is_no_answer(error: &chat_core::store::StoreError) -> bool {
    std::error::Error::source(error).is_none()
}

impl<C: Hold> Database for Session<C> {
    type Row = PgRow;

    async fn fetch(&mut self, statement: &'static str, arguments: &[Argument<'_>]) -> Answer<Vec<PgRow>> {
        let query = bound(self.query(statement), arguments);
        self.all(query).await
    }

    async fn execute(&mut self, statement: &'static str, arguments: &[Argument<'_>]) -> Answer<u64> {
        let query = bound(self.query(statement), arguments);
        self.connection.awaits_answer(true);
        let done = in_time(query.execute(&mut *self.connection)).await;
        self.connection.awaits_answer(done.as_ref().is_err_and(is_no_answer));
        Ok(done?.rows_affected())
    }

    fn at(&self) -> Option<Timestamp> {
        None
    }

    async fn now(&mut self) -> Answer<Timestamp> {
        let rows = self.fetch("SELECT NOW() AS at", &[]).await?;
        rows.first()
            .map_or(Ok(Timestamp::default()), |row| number(row, "at").map(Timestamp))
    }

    async fn lock_conversation(&mut self, conversation: ConversationId) -> Answer<()> {
        self.fetch(
            "SELECT 1 AS one FROM chat_conversations WHERE id = $1 FOR NO KEY UPDATE",
            &[id(conversation)],
        )
        .await?;
        Ok(())
    }

    /// A transaction has its id by itself.
    async fn begin_change(&mut self) -> Answer<()> {
        Ok(())
    }
}

fn bound<'q>(query: Prepared<'q>, arguments: &'q [Argument<'_>]) -> Prepared<'q> {
    arguments.iter().fold(query, |query, argument| match argument {
        Argument::Id(id) => query.bind(*id),
        Argument::Number(number) => query.bind(int(*number)),
        Argument::Flag(flag) => query.bind(*flag),
        Argument::Text(text) => query.bind(*text),
        Argument::MaybeText(text) => query.bind(*text),
        Argument::Json(json) => query.bind(json),
        Argument::Asked(conversations, ids, users) => query.bind(conversations).bind(ids).bind(users),
        Argument::Ids(ids) => query.bind(ids),
        Argument::Names(names) => query.bind(names),
    })
}

impl Columns for PgRow {
    fn int(&self, column: &str) -> Result<Option<i64>, sqlx::Error> {
        self.try_get(column)
    }

    fn flag(&self, column: &str) -> Result<bool, sqlx::Error> {
        self.try_get(column)
    }

    fn text(&self, column: &str) -> Result<Option<String>, sqlx::Error> {
        self.try_get(column)
    }

    fn uuid(&self, column: &str) -> Result<Option<Uuid>, sqlx::Error> {
        self.try_get(column)
    }

    #[cfg(test)]
    fn plan(&self) -> String {
        self.get(0)
    }
}
