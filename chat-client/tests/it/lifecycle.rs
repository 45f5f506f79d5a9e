use crate::server::{Server, conversation};
use async_trait::async_trait;
use chat_client::protocol::code::CloseCode;
use chat_client::protocol::command::ConversationGet;
use chat_client::protocol::frame::{Expiring, ServerFrame};
use chat_client::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, timeout};

#[tokio::test(start_paused = true)]
async fn each_connection_is_a_higher_attempt_of_the_same_session() {
    let server = Server::new();
    let (client, _) = server.client("ann", 1).start().unwrap();
    for _ in 0..3 {
        assert!(client.synced().await);
        server.cut(None);
        while client.status() == Status::Synced {
            tokio::task::yield_now().await;
        }
    }
    assert!(client.synced().await);
    let state = server.lock();
    let attempts: Vec<u64> = state.hellos.iter().map(|hello| hello.attempt).collect();
    assert_eq!(attempts, [1, 2, 3, 4]);
    assert!(state.hellos[1..].iter().all(|hello| hello.session.is_some()));
}

#[tokio::test(start_paused = true)]
async fn a_replaced_client_stops_and_says_so_and_starts_again_when_told() {
    let server = Server::new();
    let (client, mut updates) = server.client("ann", 1).start().unwrap();
    assert!(client.synced().await);
    server.lock().mute = true;
    let (_, pending) = client.post(conversation(), Content::text("kept"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.cut(Some(CloseCode::Replaced));
    assert_eq!(pending.await, Err(CommandError::Stopped));
    let stopped = Update::Stopped {
        code: Some(CloseCode::Replaced),
    };
    while updates.recv().await.unwrap() != stopped {}
    assert!(!client.synced().await);
    assert_eq!(
        client
            .execute(ConversationGet {
                conversation: conversation()
            })
            .await,
        Err(CommandError::Disconnected)
    );
    assert_eq!(client.outbox_len(), 1, "what is durable waits");
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(server.lock().hellos.len(), 1, "it does not come back by itself");
    server.lock().mute = false;
    client.reconnect();
    while client.outbox_len() > 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn close_says_goodbye_and_ends_the_updates() {
    let server = Server::new();
    let (client, mut updates) = server.client("ann", 1).start().unwrap();
    assert!(client.synced().await);
    client.clone().close().await;
    while updates.recv().await.is_some() {}
    assert_eq!(
        client.send(conversation(), Content::text("late")).await,
        Err(CommandError::Stopped)
    );
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_ends_the_client_at_once() {
    let server = Server::new();
    let (client, mut updates) = server.client("ann", 1).start().unwrap();
    assert!(client.synced().await);
    let (_, pending) = client.post(conversation(), Content::text("gone with the memory"));
    drop(client);
    while updates.recv().await.is_some() {}
    assert_eq!(pending.await, Err(CommandError::Stopped));
}

/// Opens nothing and never answers.
struct Nowhere(Arc<AtomicU64>);

#[async_trait]
impl Connector for Nowhere {
    async fn connect(&self, _: Codec) -> Result<Pipe, ConnectError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_hangs_is_dropped_and_asked_again() {
    let count = Arc::new(AtomicU64::new(0));
    let (client, _) = Client::builder(Nowhere(count.clone())).rng_seed(1).start().unwrap();
    let start = Instant::now();
    while count.load(Ordering::Relaxed) < 3 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(start.elapsed() >= Duration::from_secs(20));
    // Also while it hangs, the client can be closed.
    timeout(Duration::from_secs(1), client.close()).await.unwrap();
}

/// Brings a new token each time.
struct Counting(AtomicU64);

#[async_trait]
impl TokenProvider for Counting {
    async fn token(&self) -> Option<Token> {
        let count = self.0.fetch_add(1, Ordering::Relaxed);
        // The first time the host’s own server is not reachable.
        (count > 0).then(|| Token(format!("token {count}")))
    }
}

#[tokio::test(start_paused = true)]
async fn every_connection_brings_a_fresh_token_and_an_expiring_one_is_replaced() {
    let tokens = Arc::new(Counting(AtomicU64::new(0)));
    let server = Server::new();
    let builder = Client::builder(server.clone()).token(tokens.clone()).rng_seed(1);
    let (client, _) = builder.start().unwrap();
    assert!(client.synced().await);
    server.cut(None);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(client.synced().await);
    server.push(&ServerFrame::Expiring(Expiring { expires_in_ms: 60_000 }));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let state = server.lock();
    let hellos = state.hellos.iter().map(|hello| hello.token.clone().unwrap().0);
    assert_eq!(hellos.collect::<Vec<_>>(), ["token 1", "token 2"]);
    let [Command::AuthRefresh(refresh)] = &state.asked[..] else {
        panic!("{:?}", state.asked);
    };
    assert_eq!(refresh.token.0, "token 3");
}
