use crate::server::{Server, conversation, text};
use chat_client::*;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn an_application_that_reads_late_loses_nothing_and_costs_bounded_memory() {
    let server = Server::new();
    let (ann, _) = server.client("ann", 1).start().unwrap();
    ann.join(conversation()).await.unwrap();
    let (bob, mut updates) = server.client("bob", 2).updates_max(10).start().unwrap();
    // Awaited elsewhere: with so short a queue the answer may stand behind what is not read.
    let join = bob.join(conversation());
    join.await.unwrap();
    for n in 0..500 {
        ann.send(conversation(), Content::text(n.to_string())).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(20)).await;
    let seen = bob.with_state(|state| state.conversations[&conversation()].cursor.seq);
    assert!(seen < Seq(30), "the client goes on reading: {seen}");
    let mut next = 0;
    while next < 500 {
        if let Update::Event(event) = updates.recv().await.unwrap()
            && let Some(text) = text(&event)
        {
            assert_eq!(text, next.to_string());
            next += 1;
        }
    }
    assert_eq!(bob.status(), Status::Synced, "the connection is still the first");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_gone_holds_up_nobody() {
    let server = Server::new();
    let (ann, updates) = server.client("ann", 1).updates_max(1).start().unwrap();
    let second = ann.updates();
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(updates);
    drop(second);
    ann.join(conversation()).await.unwrap();
    for n in 0..50 {
        ann.send(conversation(), Content::text(n.to_string())).await.unwrap();
    }
    assert_eq!(server.texts(conversation()).len(), 50);
}
