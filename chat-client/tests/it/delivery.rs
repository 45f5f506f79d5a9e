use crate::server::{Server, conversation, text};
use chat_client::protocol::code::{ErrorCode, ResetReason};
use chat_client::protocol::frame::ErrorFrame;
use chat_client::*;
use std::time::Duration;
use tokio::time::Instant;

async fn joined(server: &Server, name: &str, seed: u64) -> (Client, Updates) {
    let (client, updates) = server.client(name, seed).start().unwrap();
    client.join(conversation()).await.unwrap();
    (client, updates)
}

/// The next new message.
async fn next_text(updates: &mut Updates) -> String {
    loop {
        if let Update::Event(event) = updates.recv().await.expect("the client runs")
            && let Some(text) = text(&event)
        {
            return text;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_clients_talk_in_either_codec() {
    for codec in Codec::ALL {
        let server = Server::new();
        let (ann, mut seen_by_ann) = joined(&server, "ann", 1).await;
        let (bob, mut seen_by_bob) = server.client("bob", 2).codec(codec).start().unwrap();
        bob.join(conversation()).await.unwrap();
        if codec == Codec::Json {
            let stored = ann.send(conversation(), Content::text("hello bob")).await.unwrap();
            assert!(!stored.duplicate);
            assert_eq!(next_text(&mut seen_by_bob).await, "hello bob");
        }
        bob.send(conversation(), Content::text("hello ann")).await.unwrap();
        if codec == Codec::Json {
            while next_text(&mut seen_by_ann).await != "hello ann" {}
        }
        assert_eq!(server.texts(conversation()).last().unwrap(), "hello ann");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_is_lost_with_its_connection_comes_on_the_next_one() {
    let server = Server::new();
    let (ann, _) = joined(&server, "ann", 1).await;
    server.lock().cut_after_store = true;
    let stored = ann.send(conversation(), Content::text("once")).await.unwrap();
    assert!(stored.duplicate, "the second attempt had the same id");
    assert_eq!(server.texts(conversation()), ["once"]);
}

#[tokio::test(start_paused = true)]
async fn five_hundred_messages_written_offline_arrive_in_order() {
    let server = Server::new();
    let (ann, _) = joined(&server, "ann", 1).await;
    server.lock().down = true;
    server.cut(None);
    let texts: Vec<String> = (0..500).map(|n| format!("message {n}")).collect();
    let mut pending = Vec::new();
    for text in &texts {
        pending.push(ann.post(conversation(), Content::text(text)).1);
    }
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!(ann.outbox_len(), 500);
    server.lock().down = false;
    for answer in pending {
        answer.await.unwrap();
    }
    assert_eq!(server.texts(conversation()), texts);
    assert_eq!(ann.outbox_len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_arrives_once_and_in_order() {
    let server = Server::new();
    let (ann, _) = joined(&server, "ann", 1).await;
    let (bob, mut seen) = joined(&server, "bob", 2).await;
    for n in 0..60 {
        ann.send(conversation(), Content::text(n.to_string())).await.unwrap();
        if n % 7 == 0 {
            server.cut(None);
            assert!(ann.synced().await);
        }
    }
    for n in 0..60 {
        assert_eq!(next_text(&mut seen).await, n.to_string());
    }
    assert!(bob.synced().await);
    let cursor = bob.with_state(|state| state.conversations[&conversation()].cursor);
    assert_eq!(cursor.seq, Seq(62));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_forgot_gets_the_unsent_messages_after_the_join() {
    let server = Server::new();
    let (ann, mut updates) = joined(&server, "ann", 1).await;
    server.lock().mute = true;
    let (_, first) = ann.post(conversation(), Content::text("first"));
    let (_, second) = ann.post(conversation(), Content::text("second"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.forget();
    server.lock().mute = false;
    loop {
        match updates.recv().await.unwrap() {
            Update::Reset { conversation, reason } => {
                assert_eq!((conversation, reason), (None, ResetReason::Epoch));
            }
            Update::Held { commands, .. } => break assert_eq!(commands, 2),
            _ => {}
        }
    }
    ann.join(conversation()).await.unwrap();
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(server.texts(conversation()), ["first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn rate_limited_is_waited_out_and_nobody_sees_it() {
    let server = Server::new();
    let (ann, _) = joined(&server, "ann", 1).await;
    let refusal = ErrorFrame::new(None, ErrorCode::RateLimited, "slower").retry_after(Duration::from_secs(5));
    server.lock().refuse_next = Some(refusal);
    let start = Instant::now();
    ann.send(conversation(), Content::text("patience")).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_definite_refusal_is_told_to_who_waits_and_to_who_reads() {
    let server = Server::new();
    let (ann, mut updates) = joined(&server, "ann", 1).await;
    server.lock().refuse_next = Some(ErrorFrame::new(None, ErrorCode::TooLarge, "too long"));
    let error = ann.send(conversation(), Content::text("…")).await.unwrap_err();
    assert_eq!(error.code(), Some(&ErrorCode::TooLarge));
    loop {
        if let Update::Failed { command, error: told } = updates.recv().await.unwrap() {
            assert_eq!((command.name(), told), ("message:send", error));
            break;
        }
    }
    ann.send(conversation(), Content::text("shorter")).await.unwrap();
}
