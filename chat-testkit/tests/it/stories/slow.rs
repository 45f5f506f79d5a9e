//! Slow readers that say something, or nothing: whoever makes progress stays, and costs bounded memory.

use super::house::{House, narrow};
use super::say::*;
use chat_core::code::CloseCode;
use chat_core::codec::Codec;
use chat_core::command::{ConversationGet, Typing, WatchConversations, WatchPresence};
use chat_core::frame::{Resume, ServerFrame};
use chat_core::signal::Signal;
use chat_testkit::transport::Heard;
use chat_testkit::wire::{Memory, Wire, events};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A guest whose network holds so little that whatever is not read is felt at once.
async fn slow(house: &House) -> Wire {
    let mut wire = Wire::dial(&house.connector, narrow(64)).await;
    wire.hello(Memory::hello_of("slow")).await;
    wire.resume(Resume::default()).await;
    wire
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("member {n:03}")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_of_many_signals_is_heard_and_stays() {
    let house = House::limited(|limits| limits.handshakes_per_second = 1_000).await;
    let mut ana = house.guest("ana").await;
    let members = names(48);
    let all: Vec<&str> = members.iter().map(String::as_str).chain(["slow"]).collect();
    let group = group(&mut ana, &all).await;
    let mut slow = slow(&house).await;
    let users = members.iter().map(|name| user(name)).collect();
    slow.done(WatchPresence { users }).await;
    slow.drain().await;
    ana.drain().await;
    let mut online = Vec::new();
    for name in &members {
        online.push(house.guest(name).await);
    }
    // Two signals of each of 48 wait; what it says is read all the same, while it reads a frame in a while.
    slow.begin(text(group, "hello")).await;
    assert_eq!(events(&ana.drain().await).len(), 1);
    let since = Instant::now();
    for _ in 0..100 {
        sleep(Duration::from_millis(1_500)).await;
        slow.begin(ConversationGet { conversation: group }).await;
        if let Err(ending) = slow.hear().await {
            panic!("closed after {:?}: {ending:?}", since.elapsed());
        }
    }
    let state = |frame: &ServerFrame| matches!(frame, ServerFrame::Signal(Signal::Presence(_)));
    let frames = slow.drain_for(Duration::from_secs(20)).await;
    assert!(
        frames.iter().filter(|frame| state(frame)).count() <= 48,
        "the latest of each"
    );
    slow.stored(text(group, "still here")).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_faster_than_they_read_is_answered_at_their_pace() {
    let house = House::open().await;
    let mut slow = slow(&house).await;
    let group = group(&mut slow, &[]).await;
    slow.drain().await;
    let mut asked = Vec::new();
    for _ in 0..40 {
        asked.push(slow.begin(ConversationGet { conversation: group }).await);
    }
    for req in asked {
        sleep(Duration::from_secs(5)).await;
        match slow.next().await {
            ServerFrame::Reply(reply) => assert_eq!(reply.req, req),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_makes_progress_stays_although_it_says_nothing_and_not_a_moment_longer() {
    let house = House::open().await;
    let mut slow = slow(&house).await;
    let group = group(&mut slow, &[]).await;
    house.fill(group, 100).await;
    // Frame by frame, and no ping is answered: as long as something waits for the socket none can be.
    let mut frames = 0;
    let ended = loop {
        sleep(Duration::from_secs(2)).await;
        match slow.pipe().recv().await {
            Heard::Frame(bytes) => match Codec::Json.decode_server(&bytes).unwrap() {
                ServerFrame::Ping => break Instant::now(),
                _ => frames += 1,
            },
            other => panic!("closed after {frames} frames: {other:?}"),
        }
    };
    assert!(frames >= 60, "{frames} frames, two minutes");
    assert_eq!(slow.closed().await, CloseCode::HeartbeatTimeout);
    assert!(ended.elapsed() <= Duration::from_secs(10), "{:?}", ended.elapsed());
}

#[tokio::test(start_paused = true)]
async fn signals_for_a_slow_watcher_are_bounded_and_the_oldest_give_way() {
    let house = House::limited(|limits| {
        limits.handshakes_per_second = 1_000;
        limits.session_signals_max = 20;
    })
    .await;
    let mut ana = house.guest("ana").await;
    let channel = ana.stored(public_channel()).await.conversation;
    let mut slow = slow(&house).await;
    slow.stored(join(channel)).await;
    slow.done(WatchConversations {
        conversations: vec![channel],
    })
    .await;
    let mut typing = Vec::new();
    for name in names(150) {
        let mut wire = house.guest(&name).await;
        wire.stored(join(channel)).await;
        typing.push(wire);
    }
    slow.drain().await;
    drop(ana);
    sleep(Duration::from_secs(1)).await;
    let before = house.engine.counts().queued_bytes;
    for wire in &mut typing {
        let conversation = channel;
        wire.done(Typing {
            conversation,
            active: true,
        })
        .await;
    }
    let waits = house.engine.counts().queued_bytes - before;
    assert!(waits <= 22 * 200, "{waits} bytes wait for one slow watcher");
    let frames = slow.drain_for(Duration::from_secs(2)).await;
    let who = frames.iter().filter_map(|frame| match frame {
        ServerFrame::Signal(Signal::Typing(typing)) => Some(typing.user.to_string()),
        _ => None,
    });
    let who: Vec<String> = who.collect();
    assert!((20..=22).contains(&who.len()), "{who:?}");
    assert_eq!(who[who.len() - 20..], names(150)[130..], "the latest are there");
}
