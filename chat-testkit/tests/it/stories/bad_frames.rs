//! Floods, silence and crowds, by the default limits. What else ends a connection is in the table of bad input.

use super::house::House;
use super::say::*;
use chat_core::code::CloseCode;
use chat_core::frame::{ClientFrame, Resume};
use chat_testkit::transport::Dial;
use chat_testkit::wire::{Memory, Wire, events};
use std::time::Duration;
use tokio::time::{Instant, sleep};

#[tokio::test(start_paused = true)]
async fn floods_and_silence_end_with_their_own_codes() {
    let house = House::open().await;
    let pings = vec![&br#"{"type":"ping"}"#[..]; 21];
    closes_lately(&house, &pings, CloseCode::RateLimited).await;
    // A client that says nothing is asked after 25 s, and given up 10 s later.
    let mut silent = Wire::dial(&house.connector, Dial::default()).await;
    silent.hello(Memory::hello_of("ana")).await;
    silent.resume(Resume::default()).await;
    let since = Instant::now();
    sleep(Duration::from_secs(36)).await;
    let ending = silent.pipe().recv().await;
    assert!(
        !matches!(ending, chat_testkit::transport::Heard::Lost),
        "it is asked first"
    );
    assert_eq!(silent.closed().await, CloseCode::HeartbeatTimeout);
    assert_eq!(since.elapsed().as_secs(), 36);
}

async fn closes_lately(house: &House, frames: &[&[u8]], code: CloseCode) {
    let mut wire = house.guest("ana").await;
    for frame in frames {
        wire.say_bytes(frame).await;
    }
    assert_eq!(wire.closed().await, code);
}

#[tokio::test(start_paused = true)]
async fn the_twenty_first_connection_of_a_user_is_refused_and_the_others_stay() {
    let house = House::limited(|limits| limits.handshakes_per_address = 1_000).await;
    let mut wires = Vec::new();
    for _ in 0..20 {
        wires.push(house.guest("ana").await);
    }
    let mut one_more = Wire::dial(&house.connector, Dial::default()).await;
    one_more.say(&ClientFrame::Hello(Memory::hello_of("ana"))).await;
    assert_eq!(one_more.closed().await, CloseCode::ConnectionLimit);
    let group = group(&mut wires[0], &[]).await;
    house.fill(group, 1).await;
    for wire in &mut wires {
        let frames = wire.drain().await;
        assert_eq!(told_all(events(&frames)), ["new 1"]);
    }
    wires.pop();
    sleep(Duration::from_secs(1)).await;
    house.guest("ana").await;
}
