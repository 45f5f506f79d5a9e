//! A reader that takes nothing for a while, behind a real socket with the kernel's real buffers.

use super::house::{PATIENCE, client, engine_with, group, knows, long, new_message};
use chat_client::{Client, Content, Update, Updates, WsConnector};
use chat_core::id::{ConversationId, MessageId};
use chat_core::{Alone, Engine, Limits};
use chat_store_memory::MemoryStore;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// Far more than the kernel keeps for a socket, while a reader pauses for a second.
const TEXT_BYTES: usize = 12 * 1024;

/// Writes messages for so long, or until the engine has closed a connection; answers how many it wrote.
async fn load(engine: &Engine, to: ConversationId, limits: &Limits, pause: Duration, until_closed: bool) -> usize {
    let (connections, begin) = (engine.counts().connections, Instant::now());
    let (host, padding) = (engine.system(), "x".repeat(TEXT_BYTES));
    let mut said = 0;
    // What waits for the one slow reader, and what is on its way to the others.
    let bound = 2 * limits.session_queue_bytes_max + 1024 * 1024;
    while begin.elapsed() < pause || (until_closed && engine.counts().connections == connections) {
        assert!(
            begin.elapsed() < pause + 2 * PATIENCE,
            "a connection that takes nothing is closed"
        );
        let id = MessageId::from(host.mint());
        host.send(to, id, Content::text(format!("{said} {padding}")))
            .await
            .unwrap();
        said += 1;
        let waiting = engine.counts().queued_bytes;
        assert!(waiting < bound, "{waiting} bytes wait");
        sleep(Duration::from_millis(1)).await;
    }
    said
}

/// The number of the next message, and how often the connection broke before it.
async fn next(updates: &mut Updates) -> (usize, usize) {
    let mut breaks = 0;
    loop {
        match timeout(PATIENCE * 2, updates.recv()).await.unwrap().unwrap() {
            Update::Event(event) => {
                let (_, text) = new_message(&event).expect("nothing else happens here");
                return (text.split(' ').next().unwrap().parse().unwrap(), breaks);
            }
            Update::Disconnected { .. } => breaks += 1,
            Update::Reset { reason, .. } => panic!("reset: {reason:?}"),
            _ => {}
        }
    }
}

/// One of two readers pauses, while the other gets everything. Answers how often the slow one's connection broke.
async fn a_reader_pauses(limits: Limits, pause: Duration, until_closed: bool) -> usize {
    let engine = engine_with(&MemoryStore::new(), Alone, limits.clone()).await;
    let url = &engine.addresses()[0];
    let (cy, mut seen_by_cy) = client(url, "cy").await;
    let slow = Client::builder(WsConnector::new(url).unwrap())
        .guest("ben")
        .updates_max(8);
    let slow = slow.settings(|settings| settings.resume_events_max = None);
    let (ben, mut seen_by_ben) = slow.start().unwrap();
    assert!(timeout(PATIENCE, ben.synced()).await.unwrap());
    let group = group(&cy, &["ben"]).await;
    knows(&ben, group).await;

    let (heard, mut heard_by_cy) = watch::channel(0);
    let quick = tokio::spawn(async move {
        for expected in 0.. {
            assert_eq!(next(&mut seen_by_cy).await, (expected, 0));
            heard.send_replace(expected + 1);
        }
    });
    let said = load(&engine, group, &limits, pause, until_closed).await;
    let all = timeout(PATIENCE, heard_by_cy.wait_for(|heard| *heard == said)).await;
    assert!(all.is_ok_and(|heard| heard.is_ok()), "the other reader is unharmed");
    quick.abort();
    let mut breaks = 0;
    for expected in 0..said {
        let (number, broke) = next(&mut seen_by_ben).await;
        assert_eq!(number, expected);
        breaks += broke;
    }
    println!("{said} messages of {TEXT_BYTES} bytes, {breaks} connections lost");
    breaks
}

/// Two seconds of it; 20 s in the long form, under the load that goes on all the while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_pauses_behind_a_socket_keeps_its_connection_and_catches_up() {
    let pause = Duration::from_secs(if long() { 20 } else { 2 });
    assert_eq!(a_reader_pauses(Limits::default(), pause, false).await, 0);
}

/// One second without progress is too long here; 30 s in the long form, as by default, of a pause of 60 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_pauses_behind_a_socket_for_too_long_is_closed_resumes_and_catches_up() {
    let mut limits = Limits::default();
    let mut pause = Duration::from_secs(60);
    if !long() {
        (limits.write_stall_max, pause) = (Duration::from_secs(1), Duration::ZERO);
    }
    assert!(a_reader_pauses(limits, pause, true).await >= 1);
}
