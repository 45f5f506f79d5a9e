//! A server whose store was memory is killed: its clients come back, are told, and what they wrote arrives.

use super::house::House;
use super::say::*;
use chat_client::{Client, Content, ConversationId, Update, Updates};
use chat_core::code::ResetReason;
use chat_core::frame::{Outcome, Stored};
use chat_store_memory::MemoryStore;
use chat_testkit::transport::InProcessConnector;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// A server that makes its public channel at every start, under an id that clients know, before it listens.
async fn server(connector: &InProcessConnector, channel: ConversationId) -> House {
    let store = MemoryStore::new();
    let early = House::on(&store).await;
    let mut open = public_channel();
    open.conversation = channel;
    early.engine.system().store(open).await.unwrap();
    early.engine.shutdown(Duration::ZERO).await;
    let transport = connector.transport();
    let mut house = House::with(|builder| builder.store(store).transport(transport)).await;
    house.connector = connector.clone();
    house
}

/// Waits until the client is told to forget everything.
async fn told_of_the_loss(updates: &mut Updates) {
    loop {
        if let Update::Reset { conversation, reason } = updates.recv().await.unwrap() {
            return assert_eq!((conversation, reason), (None, ResetReason::Epoch));
        }
    }
}

fn start(connector: &InProcessConnector, name: &str, seed: u64) -> (Client, Updates) {
    Client::builder(connector.clone())
        .guest(name)
        .rng_seed(seed)
        .start()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn both_clients_come_back_join_again_and_what_was_not_sent_arrives() {
    let (channel, place) = (fresh_conversation(), House::open().await);
    place.engine.kill();
    let connector = place.connector;
    let first = server(&connector, channel).await;
    let (ana, mut for_ana) = start(&connector, "ana", 1);
    let (ben, mut for_ben) = start(&connector, "ben", 2);
    ana.join(channel).await.unwrap();
    ben.join(channel).await.unwrap();
    ana.send(channel, Content::text("soon forgotten")).await.unwrap();

    first.engine.kill();
    let mut pending = Vec::new();
    for n in 0..3 {
        pending.push(ana.post(channel, Content::text(format!("unsent {n}"))).1);
    }
    sleep(Duration::from_secs(3)).await;
    let second = server(&connector, channel).await;

    // Ana's application joins again at once; Ben writes before his does, who had nothing unsent.
    told_of_the_loss(&mut for_ana).await;
    ana.join(channel).await.unwrap();
    told_of_the_loss(&mut for_ben).await;
    let early = ben.post(channel, Content::text("written before the join")).1;
    sleep(Duration::from_secs(1)).await;
    ben.join(channel).await.unwrap();
    pending.push(early);
    for answer in pending {
        let answer = timeout(Duration::from_secs(10), answer).await.expect("it is settled");
        assert!(
            matches!(answer, Ok(Outcome::Stored(Stored { duplicate: false, .. }))),
            "{answer:?}"
        );
    }
    let mut reader = second.guest("cy").await;
    reader.stored(join(channel)).await;
    sleep(Duration::from_secs(1)).await;
    let page = ben.history(channel, 50).await.unwrap();
    let said: Vec<&str> = page.messages.iter().map(text_of).collect();
    assert_eq!(said, ["written before the join"], "of what came after his join");
    let page = ana.history(channel, 50).await.unwrap();
    let said: Vec<&str> = page.messages.iter().map(text_of).collect();
    assert_eq!(said, ["unsent 0", "unsent 1", "unsent 2", "written before the join"]);
}
