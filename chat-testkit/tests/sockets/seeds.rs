//! The six ways in which the chat that this project grew from failed, each impossible now.

use super::house::{PATIENCE, client, engine, group, knows, new_message, send, shown};
use super::proxy::Proxy;
use chat_client::{Client, Content, Update, WsConnector};
use chat_core::Alone;
use chat_store_memory::MemoryStore;
use chat_testkit::backplane::Hub;
use std::time::Duration;
use tokio::time::timeout;

/// Four components had a socket each, and each message was shown several times.
#[tokio::test]
async fn seed_1_each_of_four_sockets_of_one_user_gets_each_message_once() {
    let engine = engine(&MemoryStore::new(), Alone).await;
    let url = &engine.addresses()[0];
    let (ben, _) = client(url, "ben").await;
    let mut sockets = Vec::new();
    for _ in 0..4 {
        sockets.push(client(url, "ana").await);
    }
    let group = group(&ben, &["ana"]).await;
    for (ana, _) in &sockets {
        knows(ana, group).await;
    }
    let said = send(&ben, group, 0..10).await;
    for (_, updates) in &mut sockets {
        assert_eq!(shown(updates, said.len()).await, said);
    }
}

/// The front end connected to one namespace, the back end sent to another, and neither heard of it.
#[tokio::test]
async fn seed_2_an_unknown_path_is_answered_with_the_right_one() {
    let engine = engine(&MemoryStore::new(), Alone).await;
    let url = engine.addresses()[0].replace("/chat", "/socket.io");
    let started = Client::builder(WsConnector::new(&url).unwrap()).guest("ana").start();
    let (_ana, mut updates) = started.unwrap();
    let stopped = async {
        loop {
            if let Update::Stopped { code } = updates.recv().await.unwrap() {
                return code;
            }
        }
    };
    let code = timeout(PATIENCE, stopped).await.unwrap();
    assert_eq!(code, Some(chat_core::code::CloseCode::WrongPath));
}

/// An optimistic row, the reply and the event each made a message of their own.
#[tokio::test]
async fn seed_3_reply_event_and_history_carry_the_id_that_the_sender_minted() {
    let engine = engine(&MemoryStore::new(), Alone).await;
    let (ana, mut updates) = client(&engine.addresses()[0], "ana").await;
    let group = group(&ana, &[]).await;
    let (minted, pending) = ana.post(group, Content::text("once"));
    pending.await.unwrap();
    let event = async {
        loop {
            if let Some(Update::Event(event)) = updates.recv().await
                && let Some((id, _)) = new_message(&event)
            {
                return id;
            }
        }
    };
    assert_eq!(timeout(PATIENCE, event).await.unwrap(), minted);
    let history = ana.history(group, 10).await.unwrap();
    assert_eq!(
        history.messages.iter().map(|message| message.id).collect::<Vec<_>>(),
        [minted]
    );
    assert!(shown(&mut updates, 0).await.is_empty(), "and never again");
}

/// Every three seconds the widget asked whether there was anything new.
#[tokio::test]
async fn seed_4_a_client_that_waits_for_news_asks_for_nothing() {
    let engine = engine(&MemoryStore::new(), Alone).await;
    let proxy = Proxy::before(&engine.addresses()[0]).await;
    let (ben, _) = client(&engine.addresses()[0], "ben").await;
    let (ana, mut updates) = client(&proxy.url, "ana").await;
    let group = group(&ben, &["ana"]).await;
    knows(&ana, group).await;
    let before = proxy.bytes_to_server();
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    let said = send(&ben, group, 0..3).await;
    assert_eq!(shown(&mut updates, said.len()).await, said);
    assert_eq!(proxy.bytes_to_server(), before, "not a byte was sent to learn of it");
}

/// The socket was closed and opened at every rendering, and what was said in between was lost.
#[tokio::test]
async fn seed_5_what_was_said_while_the_socket_was_gone_is_replayed_once() {
    let engine = engine(&MemoryStore::new(), Alone).await;
    let proxy = Proxy::before(&engine.addresses()[0]).await;
    let (ben, _) = client(&engine.addresses()[0], "ben").await;
    let (ana, mut updates) = client(&proxy.url, "ana").await;
    let group = group(&ben, &["ana"]).await;
    knows(&ana, group).await;
    let mut said = Vec::new();
    for round in 0..5 {
        proxy.cut();
        said.extend(send(&ben, group, round * 4..round * 4 + 4).await);
    }
    assert_eq!(shown(&mut updates, said.len()).await, said);
}

async fn two_processes(mute: bool) {
    let (hub, store) = (Hub::new(1), MemoryStore::new());
    let (one, two) = (hub.node(), hub.node());
    let first = engine(&store, one.clone()).await;
    let second = engine(&store, two.clone()).await;
    let (ana, mut seen_by_ana) = client(&first.addresses()[0], "ana").await;
    let (ben, mut seen_by_ben) = client(&second.addresses()[0], "ben").await;
    let group = group(&ana, &["ben"]).await;
    knows(&ben, group).await;
    hub.mute_all(mute);
    let mut said = send(&ana, group, 0..3).await;
    assert_eq!(shown(&mut seen_by_ben, 3).await, said);
    said.extend(send(&ben, group, 3..6).await);
    assert_eq!(shown(&mut seen_by_ana, 6).await, said);
}

/// A user was connected to one process, the message came to the other, whose map of sockets did not have them.
#[tokio::test]
async fn seed_6_a_message_reaches_users_of_another_process() {
    two_processes(false).await;
}

/// As before, while the bell between the processes is silent.
#[tokio::test]
async fn seed_6_a_message_reaches_users_of_another_process_without_the_bell() {
    two_processes(true).await;
}
