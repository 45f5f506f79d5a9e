//! A shop with a table of its own: an order and the message about it are stored together, or neither is.
//!
//! `cargo run --example order_service` places an order, lets another one fail at its payment, and shows what each
//! customer reads. Everything is in one SQLite file, `orders.db`; with `PgPool` and `PostgresStore` it reads the same.
#![forbid(unsafe_code)]

use chat_core::command::{ConversationCreate, HistoryList, MessageSend};
use chat_core::frame::Outcome;
use chat_core::id::{CommandId, ConversationId, MessageId, UserId};
use chat_core::store::Actor;
use chat_core::{Content, ConversationKind, Engine};
use chat_store_sqlx::SqliteStore;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{SqlitePool, raw_sql};
use std::error::Error;
use std::io::{self, Write};
use std::time::Duration;
use uuid::Uuid;

/// Under this the shop's own names become ids: made once, never changed.
const SHOP: Uuid = Uuid::from_u128(0x0a11_ce50_0000_4000_8000_0000_0000_0001);

/// An id that follows from a name, so no table says which conversation belongs to which order.
fn id<T>(name: &str, new: fn(Uuid) -> Option<T>) -> T {
    new(Uuid::new_v5(&SHOP, name.as_bytes())).expect("a UUIDv5 is never nil")
}

fn conversation_of(order: i64) -> ConversationId {
    id(&format!("order {order}"), ConversationId::new)
}

struct Shop {
    pool: SqlitePool,
    store: SqliteStore,
    engine: Engine,
}

impl Shop {
    /// On one pool: the shop's table, and the tables of the chat beside it.
    async fn open(file: &str) -> Result<Self, Box<dyn Error>> {
        let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
        let pool = SqlitePoolOptions::new().connect_with(options).await?;
        let orders = "CREATE TABLE IF NOT EXISTS orders (number INTEGER PRIMARY KEY, customer TEXT, item TEXT)";
        raw_sql(orders).execute(&pool).await?;
        let store = SqliteStore::from_pool(pool.clone()).await?;
        store.migrate().await?;
        let engine = Engine::builder().store(store.clone()).build().await?;
        Ok(Self { pool, store, engine })
    }

    /// Takes an order and says so to the customer; answers with its number.
    async fn place(&self, customer: &UserId, item: &str, is_paid: bool) -> Result<i64, Box<dyn Error>> {
        // SQLite lets one transaction write at a time: say at the beginning that this one will.
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let insert = sqlx::query_scalar("INSERT INTO orders (customer, item) VALUES (?, ?) RETURNING number");
        let insert = insert.bind(customer.as_str()).bind(item);
        let order: i64 = insert.fetch_one(&mut *transaction).await?;

        // The chat comes last: what it holds is held until the commit.
        let conversation = conversation_of(order);
        let create = ConversationCreate {
            conversation,
            id: id(&format!("create {order}"), CommandId::new),
            kind: ConversationKind::Group,
            title: Some(format!("Order {order}")),
            public: false,
            history: None,
            members: vec![customer.clone()],
            meta: None,
        };
        self.store.append_in(&mut transaction, &Actor::System, create).await?;
        let thanks = MessageSend {
            conversation,
            id: id(&format!("thanks {order}"), MessageId::new),
            content: Content::text(format!("Thank you, {customer}: {item} is on its way.")),
            reply_to: None,
        };
        self.store.append_in(&mut transaction, &Actor::System, thanks).await?;

        match is_paid {
            true => transaction.commit().await?,
            false => transaction.rollback().await?,
        }
        // Whoever is connected has it at once; without this they would have it some seconds later.
        self.engine.ring(conversation);
        Ok(order)
    }

    /// What the customer reads about an order.
    async fn read(&self, customer: &UserId, order: i64) -> String {
        let list = HistoryList {
            conversation: conversation_of(order),
            before: None,
            after: None,
            around: None,
            limit: None,
        };
        match self.engine.user(customer.clone()).execute(list).await {
            Ok(Outcome::History(page)) => page.messages.into_iter().filter_map(|it| it.content?.text).collect(),
            Ok(other) => format!("{other:?}"),
            Err(refused) => format!("nothing: {refused}"),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let shop = Shop::open("orders.db").await?;
    for (customer, item, is_paid) in [("ana", "a teapot", true), ("ben", "a kettle", false)] {
        let customer = UserId::new(customer)?;
        let order = shop.place(&customer, item, is_paid).await?;
        let became = if is_paid { "committed" } else { "rolled back" };
        let reads = shop.read(&customer, order).await;
        writeln!(io::stdout(), "Order {order} was {became}; {customer} reads {reads}")?;
    }
    shop.engine.shutdown(Duration::from_secs(1)).await;
    shop.store.close().await;
    Ok(())
}
