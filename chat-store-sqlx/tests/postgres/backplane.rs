//! `PostgresBackplane` passes the contract of backplanes, and comes back whatever becomes of the server.

use crate::house::House;
use crate::load::{AT_MOST, Words, message};
use crate::{fresh_schema, migrated};
use async_trait::async_trait;
use bytes::Bytes;
use chat_core::backplane::{Backplane, Rung, Topic};
use chat_core::event::{Event, EventKind};
use chat_core::id::{ConversationId, UserId};
use chat_core::{Engine, Limits};
use chat_store_sqlx::{OpenError, PostgresBackplane, PostgresOptions};
use chat_testkit::contract::backplane::BackplaneFixture;
use chat_testkit::link::Link;
use chat_testkit::postgres::{PrivatePostgres, shared_postgres_url};
use chat_testkit::wire::{Wire, events};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::block_in_place;
use tokio::time::{sleep, timeout};

const TOPIC: Topic = Topic::Users(7);

/// Nodes in a schema of their own, each behind a link of its own.
struct Fixture {
    schema: String,
    links: Mutex<BTreeMap<usize, Arc<Link>>>,
}

impl Fixture {
    fn start() -> Self {
        Self {
            schema: fresh_schema(),
            links: Mutex::default(),
        }
    }

    fn link(&self, node: &Arc<dyn Backplane>) -> Arc<Link> {
        self.links.lock().unwrap()[&address(node)].clone()
    }
}

fn address(node: &Arc<dyn Backplane>) -> usize {
    Arc::as_ptr(node).cast::<()>() as usize
}

fn server_of(url: &str) -> SocketAddr {
    let options = PgConnectOptions::from_str(url).unwrap();
    format!("{}:{}", options.get_host(), options.get_port())
        .parse()
        .unwrap()
}

fn through(url: &str, address: SocketAddr) -> String {
    url.replace(&server_of(url).to_string(), &address.to_string())
}

async fn node_in(schema: &str) -> PostgresBackplane {
    let options = PostgresOptions::new().schema(schema);
    options.connect_backplane(&shared_postgres_url()).await.unwrap()
}

async fn node_behind_a_link(schema: &str) -> (PostgresBackplane, Link) {
    let url = shared_postgres_url();
    let link = Link::start(server_of(&url)).await.unwrap();
    let options = PostgresOptions::new().schema(schema);
    let node = options.connect_backplane(&through(&url, link.address())).await.unwrap();
    (node, link)
}

#[async_trait]
impl BackplaneFixture for Fixture {
    async fn node(&self) -> Arc<dyn Backplane> {
        let (node, link) = node_behind_a_link(&self.schema).await;
        let node: Arc<dyn Backplane> = Arc::new(node);
        self.links.lock().unwrap().insert(address(&node), Arc::new(link));
        node
    }

    async fn cut(&self, node: &Arc<dyn Backplane>) {
        let link = self.link(node);
        link.faults(|faults| faults.refuses = true);
        link.cut();
    }

    async fn restore(&self, node: &Arc<dyn Backplane>) {
        self.link(node).heal();
    }

    async fn end(&self, node: Arc<dyn Backplane>) {
        self.link(&node).reset();
        drop(node);
    }
}

mod contract {
    chat_testkit::backplane_contract!(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        super::Fixture::start()
    );
}

fn bell(text: &'static str) -> (Topic, Bytes) {
    (TOPIC, Bytes::from_static(text.as_bytes()))
}

/// What is heard within a while, but for what was missed.
async fn hears(node: &PostgresBackplane) -> Option<Bytes> {
    let bell = async {
        loop {
            if let Rung::Bell(bell) = node.recv().await {
                return bell;
            }
        }
    };
    timeout(Duration::from_secs(1), bell).await.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_the_same_tables_hears_and_nobody_else() {
    let (url, schema, other) = (shared_postgres_url(), fresh_schema(), fresh_schema());
    let options = PostgresOptions::new().schema(&schema);
    let store = options.connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    // A host's pool that finds the same schema by its path.
    let connect = PgConnectOptions::from_str(&url).unwrap();
    let connect = connect.options([("search_path", &schema)]);
    let pool = PgPoolOptions::new().connect_with(connect).await.unwrap();
    let hosts = PostgresOptions::new().from_pool(pool).await.unwrap();
    let prefixed = PostgresOptions::new().schema(&schema).prefix("other_");

    let ringing = store.backplane().await.unwrap();
    let same = [hosts.backplane().await.unwrap(), node_in(&schema).await];
    let others = [node_in(&other).await, prefixed.connect_backplane(&url).await.unwrap()];
    for node in same.iter().chain(&others) {
        node.listen(TOPIC).await.unwrap();
    }
    ringing.publish(&[bell("for us")]).await.unwrap();
    for node in &same {
        assert_eq!(hears(node).await, Some(Bytes::from_static(b"for us")));
    }
    for node in &others {
        assert_eq!(hears(node).await, None);
    }
}

/// Nothing is closed, and nothing comes any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_connection_is_noticed_within_seconds_and_replaced() {
    let (node, link) = node_behind_a_link(&fresh_schema()).await;
    node.listen(TOPIC).await.unwrap();
    link.lose();
    let since = Instant::now();
    while node.is_alive() {
        assert!(since.elapsed() < Duration::from_secs(15), "it goes on to believe");
        sleep(Duration::from_millis(50)).await;
    }
    while !node.is_alive() {
        assert!(since.elapsed() < Duration::from_secs(30), "it does not come back");
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(timeout(Duration::from_secs(5), node.recv()).await, Ok(Rung::Resync));
    // What rings may find its own connection lost once more.
    while node.publish(&[bell("again")]).await.is_err() {
        assert!(since.elapsed() < Duration::from_secs(45), "it does not ring again");
    }
    assert_eq!(hears(&node).await, Some(Bytes::from_static(b"again")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_noticed_and_no_call_waits_for_it() {
    let postgres = PrivatePostgres::start().unwrap();
    let store = migrated(&postgres.url()).await;
    let node = store.backplane().await.unwrap();
    block_in_place(|| postgres.freeze()).unwrap();
    let since = Instant::now();
    assert!(node.publish(&[bell("lost")]).await.is_err());
    assert!(since.elapsed() < Duration::from_secs(8), "{:?}", since.elapsed());
    while node.is_alive() {
        assert!(since.elapsed() < Duration::from_secs(15), "it goes on to believe");
        sleep(Duration::from_millis(50)).await;
    }
    let calls = Instant::now();
    assert!(node.publish(&[bell("lost")]).await.is_err());
    node.listen(TOPIC).await.unwrap();
    assert!(
        calls.elapsed() < Duration::from_secs(2),
        "it knows: {:?}",
        calls.elapsed()
    );
    block_in_place(|| postgres.thaw()).unwrap();
    while !node.is_alive() {
        assert!(since.elapsed() < Duration::from_secs(60), "it does not come back");
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(timeout(Duration::from_secs(5), node.recv()).await, Ok(Rung::Resync));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_error_and_nothing_printed_holds_the_password() {
    let url = "postgres://ann:secret@127.0.0.1:1/shop";
    let error = PostgresOptions::new().connect_backplane(url).await.unwrap_err();
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
    let said = format!("{error} {error:?}");
    assert!(said.contains("127.0.0.1:1") && !said.contains("secret"), "{said}");

    let postgres = PrivatePostgres::start().unwrap();
    let url = postgres.url();
    let node = PostgresOptions::new().connect_backplane(&url).await.unwrap();
    block_in_place(|| postgres.stop_immediately()).unwrap();
    let error = node.publish(&[bell("lost")]).await.unwrap_err();
    let password = url.split([':', '@']).nth(2).unwrap();
    let said = format!("{node:?} {error} {error:?}");
    assert!(!said.contains(password), "{said}");
}

/// As a pooler does that gives every transaction another connection of the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_behind_something_that_swallows_notifications_is_told_so_at_the_start() {
    let url = shared_postgres_url();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // Its messages are told apart by their lengths: the answer to a question for TLS, a byte alone, has none.
    let swallows = format!("{}?sslmode=disable", through(&url, listener.local_addr().unwrap()));
    let server = server_of(&url);
    let pooler = tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(swallow_notifications(client, server));
        }
    });
    let error = PostgresOptions::new().connect_backplane(&swallows).await.unwrap_err();
    pooler.abort();
    assert!(matches!(error, OpenError::Deaf), "{error:?}");
    assert!(error.to_string().contains("session mode"), "{error}");
}

async fn swallow_notifications(client: TcpStream, server: SocketAddr) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = TcpStream::connect(server).await.unwrap().into_split();
    let down = async {
        loop {
            let mut message = vec![0; 5];
            from_server.read_exact(&mut message).await?;
            let length = u32::from_be_bytes(*message.last_chunk().unwrap());
            message.resize(1 + length as usize, 0);
            from_server.read_exact(&mut message[5..]).await?;
            if message[0] != b'A' {
                to_client.write_all(&message).await?;
            }
        }
    };
    tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
        ended = down => { let _: std::io::Result<()> = ended; }
    }
}

/// Two engines that hear of each other by bells alone: reconcile would come far too late.
struct Two {
    postgres: Arc<PrivatePostgres>,
    group: ConversationId,
    ann: Engine,
    bob: House,
}

impl Two {
    async fn start() -> Self {
        let postgres = Arc::new(PrivatePostgres::start().unwrap());
        let store = migrated(&postgres.url()).await;
        let group = Words::on(&store).await.group(&["ann", "bob"]).await;
        let [ann, bob] = [node(&postgres).await, node(&postgres).await];
        Self {
            postgres,
            group,
            ann: ann.engine,
            bob,
        }
    }

    /// Ann says numbers on her node, while something happens; bob hears them on his, each once and in order. Then bells
    /// come again, as soon as ever.
    async fn talk_while(self, disturb: impl FnOnce(&PrivatePostgres) + Send + 'static) {
        let ann = self.ann.user(UserId::new("ann").unwrap());
        let wire = self.bob.guest("bob").await;
        let (connector, (told, mut heard)) = (self.bob.connector.clone(), tokio::sync::mpsc::unbounded_channel());
        let hearing = tokio::spawn(async move {
            let mut wire = wire;
            loop {
                match wire.hear().await {
                    Ok(frame) => events(&[frame])
                        .into_iter()
                        .for_each(|event| _ = told.send(said(event))),
                    Err(_) => {
                        let (back, frames) = Wire::come_back(&connector, wire.leave()).await;
                        events(&frames).into_iter().for_each(|event| _ = told.send(said(event)));
                        wire = back;
                    }
                }
            }
        });
        let say = async |number: u32| {
            let (send, end) = (message(self.group, &number.to_string()), Instant::now() + AT_MOST);
            while let Err(error) = ann.send(self.group, send.id, send.content.clone()).await {
                assert!(error.is_retryable() && Instant::now() < end, "{error}");
                sleep(Duration::from_millis(20)).await;
            }
        };
        for number in 0..20 {
            say(number).await;
        }
        let postgres = self.postgres.clone();
        let disturbed = tokio::task::spawn_blocking(move || disturb(&postgres));
        let mut last = 20;
        while !disturbed.is_finished() {
            say(last).await;
            last += 1;
            sleep(Duration::from_millis(10)).await;
        }
        disturbed.await.unwrap();
        for number in last..last + 10 {
            say(number).await;
        }
        for number in 0..last + 10 {
            let next = timeout(AT_MOST, heard.recv()).await;
            assert_eq!(next.expect("bells come back"), Some(number.to_string()));
        }
        for number in last + 10..last + 20 {
            say(number).await;
            let next = timeout(AT_MOST, heard.recv()).await;
            assert_eq!(next.expect("by a bell"), Some(number.to_string()));
        }
        hearing.abort();
        assert!(heard.try_recv().is_err(), "and nothing more");
    }
}

async fn node(postgres: &PrivatePostgres) -> House {
    let store = migrated(&postgres.url()).await;
    let backplane = store.backplane().await.unwrap();
    let mut limits = Limits::default();
    limits.reconcile_interval = Duration::from_secs(600);
    limits.sends_per_user = (1_000, 1_000);
    limits.sends_per_conversation = (1_000, 1_000);
    House::put_together(Engine::builder().store(store).backplane(backplane).limits(limits)).await
}

fn said(event: &Event) -> String {
    let EventKind::MessageNew(new) = &event.kind else {
        panic!("only messages are written: {event:?}");
    };
    new.message.content.as_ref().unwrap().text.clone().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_arrive_once_and_in_order_while_the_server_is_killed_and_started_again() {
    let restarts = |postgres: &PrivatePostgres| {
        for _ in 0..3 {
            postgres.stop_immediately().unwrap();
            postgres.start_again().unwrap();
            std::thread::sleep(Duration::from_millis(300));
        }
    };
    Two::start().await.talk_while(restarts).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_arrive_once_and_in_order_while_the_server_hangs() {
    let hangs = |postgres: &PrivatePostgres| {
        postgres.freeze().unwrap();
        std::thread::sleep(Duration::from_secs(8));
        postgres.thaw().unwrap();
    };
    Two::start().await.talk_while(hangs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_arrive_once_and_in_order_while_the_server_ends_every_connection() {
    let ends = |postgres: &PrivatePostgres| {
        for _ in 0..5 {
            let all = "select count(pg_terminate_backend(pid)) from pg_stat_activity where pid <> pg_backend_pid() \
                       and backend_type = 'client backend'";
            postgres.psql("postgres", all).unwrap();
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    Two::start().await.talk_while(ends).await;
}
