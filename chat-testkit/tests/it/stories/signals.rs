//! Typing, presence and receipts: to those who want and watch them, the latest of a key, and to nobody else (G13).

use super::house::{House, narrow};
use super::say::*;
use chat_core::code::ErrorCode;
use chat_core::command::{Command, ConversationDelete, MarkDelivered, Typing, WatchConversations, WatchPresence};
use chat_core::conversation::ConversationKind;
use chat_core::frame::{Hello, Resume, ServerFrame};
use chat_core::id::{ConversationId, Seq};
use chat_core::signal::Signal;
use chat_testkit::transport::Dial;
use chat_testkit::wire::{Memory, Wire, events};
use std::time::Duration;
use tokio::time::sleep;

fn watch(conversations: &[ConversationId]) -> WatchConversations {
    WatchConversations {
        conversations: conversations.to_vec(),
    }
}

fn watch_users(names: &[&str]) -> WatchPresence {
    WatchPresence {
        users: names.iter().map(|name| user(name)).collect(),
    }
}

fn typing(conversation: ConversationId, active: bool) -> Typing {
    Typing { conversation, active }
}

fn signals(frames: &[ServerFrame]) -> Vec<String> {
    let signals = frames.iter().filter_map(|frame| match frame {
        ServerFrame::Signal(signal) => Some(match signal {
            Signal::Typing(s) => format!("{} types: {}", s.user, s.active),
            Signal::Presence(s) => format!("{} online: {}", s.user, s.online),
            Signal::Marks(s) => format!("{} read {} of {}", s.user, s.read, s.delivered),
            Signal::Display(s) => format!("{} shows {}", s.user, s.display["name"]),
            Signal::Unknown { name, .. } => name.clone(),
        }),
        _ => None,
    });
    signals.collect()
}

/// What a client hears in the next seconds, longer than receipts are held back.
async fn heard(wire: &mut Wire) -> Vec<String> {
    signals(&wire.drain_for(Duration::from_millis(1_100)).await)
}

async fn guest_who_wants(house: &House, name: &str, wants: &[&str]) -> Wire {
    let mut wire = Wire::dial(&house.connector, Dial::default()).await;
    let hello = Hello {
        wants: wants.iter().map(|want| (*want).to_owned()).collect(),
        ..Memory::hello_of(name)
    };
    wire.hello(hello).await;
    wire.resume(Resume::default()).await;
    wire
}

#[tokio::test(start_paused = true)]
async fn signals_reach_those_who_want_and_watch_and_nobody_else() {
    let house = House::open().await;
    let [mut ana, mut watcher, mut idle] = house.guests(["ana", "ben", "cy"]).await;
    let mut deaf = guest_who_wants(&house, "di", &[]).await;
    let mut eve = house.guest("eve").await;
    let group = group(&mut ana, &["ben", "cy", "di"]).await;
    house.fill(group, 2).await;
    // Whoever is no member may ask, and hears nothing: as if it never existed.
    for wire in [&mut watcher, &mut deaf, &mut eve] {
        wire.done(watch(&[group])).await;
        wire.done(watch_users(&["ana"])).await;
    }
    for wire in [&mut ana, &mut watcher, &mut idle, &mut deaf, &mut eve] {
        wire.drain().await;
    }
    ana.done(typing(group, true)).await;
    ana.done(read(group, Seq(3))).await;
    let second = house.guest("ana").await;
    drop((ana, second));
    sleep(Duration::from_secs(12)).await;
    assert_eq!(
        heard(&mut watcher).await,
        ["ana types: true", "ana read 3 of 3", "ana online: false"]
    );
    for wire in [&mut idle, &mut deaf, &mut eve] {
        assert!(heard(wire).await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn each_capability_is_wanted_by_its_name() {
    let house = House::open().await;
    let mut ana = house.guest("ana").await;
    let group = group(&mut ana, &["ben", "cy", "di"]).await;
    let mut wires = Vec::new();
    for (name, want) in [("ben", "typing"), ("cy", "receipts"), ("di", "presence")] {
        let mut wire = guest_who_wants(&house, name, &[want, "flying"]).await;
        wire.done(watch(&[group])).await;
        wire.done(watch_users(&["ana"])).await;
        wires.push(wire);
    }
    house.fill(group, 1).await;
    ana.done(typing(group, true)).await;
    ana.done(MarkDelivered {
        conversation: group,
        seq: Seq(2),
    })
    .await;
    let mut all = Vec::new();
    for wire in &mut wires {
        all.push(heard(wire).await);
    }
    assert_eq!(all, [["ana types: true"], ["ana read 1 of 2"], ["ana online: true"]]);
}

#[tokio::test(start_paused = true)]
async fn presence_begins_with_the_state_and_goes_on_with_changes() {
    let house = House::open().await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    group(&mut ana, &["ben", "cy"]).await;
    // Eve shares no conversation with ana; she is left out, as somebody who does not exist.
    let eve = house.guest("eve").await;
    ana.drain().await;
    ana.done(watch_users(&["ben", "cy", "eve", "nobody"])).await;
    assert_eq!(heard(&mut ana).await, ["ben online: true", "cy online: false"]);
    let cy = house.guest("cy").await;
    // Where she was never seen before, what to show of her is news as well.
    assert_eq!(heard(&mut ana).await, ["cy online: true", "cy shows \"cy\""]);
    // One of two connections that drops changes nothing, nor does a reload within the grace.
    let second = house.guest("cy").await;
    drop(cy);
    sleep(Duration::from_secs(12)).await;
    // (Ben answers the pings that came meanwhile.)
    ben.drain().await;
    let memory = second.leave();
    sleep(Duration::from_secs(5)).await;
    let (cy, _) = Wire::come_back(&house.connector, memory).await;
    sleep(Duration::from_secs(12)).await;
    assert!(heard(&mut ana).await.is_empty());
    ben.drain().await;
    drop((cy, eve));
    sleep(Duration::from_secs(12)).await;
    assert_eq!(heard(&mut ana).await, ["cy online: false"]);
    // Who is watched no longer is not told of.
    ana.done(watch_users(&["ben"])).await;
    ana.drain().await;
    let _cy = house.guest("cy").await;
    assert!(heard(&mut ana).await.is_empty());
    ben.drain().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_watches_before_everything_is_caught_up_gets_the_state_all_the_same() {
    let house = House::open().await;
    let mut ana = house.guest("ana").await;
    group(&mut ana, &["ben"]).await;
    let mut ben = Wire::dial(&house.connector, Dial::default()).await;
    ben.hello(Memory::hello_of("ben")).await;
    ben.done(watch_users(&["ana"])).await;
    assert_eq!(heard(&mut ben).await, ["ana online: true"]);
}

#[tokio::test(start_paused = true)]
async fn however_many_go_at_once_others_run_while_it_is_told() {
    let house = House::limited(|limits| {
        limits.handshakes_per_second = 1_000;
        limits.fan_out_slice = Duration::ZERO;
    })
    .await;
    let mut watcher = house.guest("watcher").await;
    let names: Vec<String> = (0..160).map(|n| format!("member {n:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for some in names.chunks(40) {
        group(&mut watcher, some).await;
    }
    watcher.done(watch_users(&names)).await;
    let mut online = Vec::new();
    for name in &names {
        online.push(house.guest(name).await);
    }
    watcher.drain().await;
    drop(online);
    // Their grace ends in one moment. What is written to the watcher meanwhile, turn by turn:
    let link = watcher.pipe().link();
    let (before, mut last, mut most) = (link.bytes_to_client(), link.bytes_to_client(), 0);
    for _ in 0..200 {
        tokio::time::advance(Duration::from_millis(100)).await;
        let now = link.bytes_to_client();
        most = most.max(now - last);
        last = now;
    }
    assert!(
        most * 4 < last - before,
        "{most} of {} bytes in one turn",
        last - before
    );
    let told = heard(&mut watcher).await;
    assert_eq!(told.iter().filter(|told| told.ends_with("online: false")).count(), 160);
}

#[tokio::test(start_paused = true)]
async fn a_watch_is_replaced_and_ends_with_it() {
    let house = House::open().await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let (one, two) = (group(&mut ana, &["ben"]).await, group(&mut ana, &["ben"]).await);
    ben.done(watch(&[one])).await;
    ben.drain().await;
    ana.done(typing(one, true)).await;
    ana.done(typing(two, true)).await;
    assert_eq!(heard(&mut ben).await, ["ana types: true"]);
    ben.done(watch(&[two])).await;
    ana.done(typing(one, false)).await;
    ana.done(typing(two, false)).await;
    assert_eq!(heard(&mut ben).await, ["ana types: false"]);
    ben.done(watch(&[])).await;
    house.fill(two, 1).await;
    ana.done(read(two, Seq(2))).await;
    sleep(Duration::from_secs(4)).await;
    ana.done(typing(two, true)).await;
    assert!(heard(&mut ben).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn typing_is_bounded_and_of_members_only() {
    let house = House::open().await;
    let [mut ana, mut ben, mut eve] = house.guests(["ana", "ben", "eve"]).await;
    let group = group(&mut ana, &["ben", "cy"]).await;
    ben.done(watch(&[group])).await;
    ben.drain().await;
    // A stranger's is dropped, and so is a removed member's; both are told the same as everybody.
    eve.done(typing(group, true)).await;
    eve.done(typing(fresh_conversation(), true)).await;
    let mut cy = house.guest("cy").await;
    ana.stored(remove(group, "cy")).await;
    cy.done(typing(group, true)).await;
    assert!(heard(&mut ben).await.is_empty());
    // The same again within three seconds is coalesced; the end is told at once; nobody hears of themselves.
    for active in [true, true, true, false, false, true, false] {
        ana.done(typing(group, active)).await;
    }
    assert_eq!(heard(&mut ben).await, ["ana types: true", "ana types: false"]);
    sleep(Duration::from_secs(3)).await;
    // Three seconds after it was said to begin it may be said again, however lately it ended.
    ana.done(typing(group, true)).await;
    sleep(Duration::from_millis(2_900)).await;
    for active in [true, false] {
        ana.done(typing(group, active)).await;
    }
    sleep(Duration::from_millis(100)).await;
    ana.done(typing(group, true)).await;
    assert_eq!(
        heard(&mut ben).await,
        ["ana types: true", "ana types: false", "ana types: true"]
    );
    sleep(Duration::from_secs(3)).await;
    ana.done(typing(group, true)).await;
    sleep(Duration::from_secs(3)).await;
    ana.done(typing(group, true)).await;
    assert_eq!(heard(&mut ben).await, ["ana types: true", "ana types: true"]);
    ana.done(watch(&[group])).await;
    sleep(Duration::from_secs(3)).await;
    ana.done(typing(group, true)).await;
    assert!(heard(&mut ana).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_member_who_is_removed_hears_no_more_signals() {
    let house = House::open().await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let group = group(&mut ana, &["ben"]).await;
    house.fill(group, 1).await;
    ben.done(watch(&[group])).await;
    ana.stored(remove(group, "ben")).await;
    ben.drain().await;
    ana.done(typing(group, true)).await;
    ana.done(read(group, Seq(2))).await;
    assert!(heard(&mut ben).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn presence_is_told_for_as_long_as_one_shares_a_conversation() {
    for end in ["removed", "left", "over"] {
        let house = House::open().await;
        let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
        let only = group(&mut ana, &["ben", "cy"]).await;
        let both = group(&mut ana, &["ben"]).await;
        ben.done(watch_users(&["ana", "ben", "cy"])).await;
        assert_eq!(heard(&mut ben).await.len(), 3);
        match end {
            "removed" => ana.stored(remove(only, "ben")).await,
            "left" => house.engine.user(user("cy")).store(leave(only)).await.unwrap(),
            _ => {
                ana.stored(ConversationDelete {
                    conversation: only,
                    id: fresh(),
                })
                .await
            }
        };
        ben.drain().await;
        let cy = house.guest("cy").await;
        assert!(
            heard(&mut ben).await.is_empty(),
            "{end}: with cy he shares nothing any more"
        );
        ben.done(watch_users(&["ana", "cy"])).await;
        assert_eq!(heard(&mut ben).await, ["ana online: true"], "{end}");
        // With ana he still does, until the last of them ends.
        drop((ana, cy));
        sleep(Duration::from_secs(12)).await;
        assert_eq!(heard(&mut ben).await, ["ana online: false"], "{end}");
        for conversation in [only, both] {
            let _ = house.engine.system().store(remove(conversation, "ben")).await;
        }
        ben.drain().await;
        let _ana = house.guest("ana").await;
        assert!(heard(&mut ben).await.is_empty(), "{end}");
    }
}

#[tokio::test(start_paused = true)]
async fn receipts_are_one_a_second_of_each_member_and_the_latest() {
    let house = House::open().await;
    let [mut ana, mut ben, mut cy] = house.guests(["ana", "ben", "cy"]).await;
    let group = group(&mut ana, &["ben", "cy"]).await;
    house.fill(group, 20).await;
    ana.done(watch(&[group])).await;
    ana.drain().await;
    for seq in 2..=12 {
        ben.done(read(group, Seq(seq))).await;
        sleep(Duration::from_millis(100)).await;
    }
    cy.done(MarkDelivered {
        conversation: group,
        seq: Seq(9),
    })
    .await;
    let told = heard(&mut ana).await;
    assert!((3..=4).contains(&told.len()), "{told:?}");
    assert_eq!(told.first().unwrap(), "ben read 2 of 2");
    assert!(
        told.contains(&"ben read 12 of 12".to_owned()) && told.contains(&"cy read 1 of 9".to_owned()),
        "{told:?}"
    );
    // A mark that stays where it is is no news.
    ben.done(read(group, Seq(5))).await;
    assert!(heard(&mut ana).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn receipts_reach_direct_conversations_and_small_groups_only() {
    let house = House::limited(|limits| limits.receipt_members_max = 3).await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let direct = ana
        .stored(create(ConversationKind::Direct, &["ben"]))
        .await
        .conversation;
    let small = group(&mut ana, &["ben", "cy"]).await;
    let large = group(&mut ana, &["ben", "cy", "di"]).await;
    let channel = ana
        .stored(create(ConversationKind::Channel, &["ben"]))
        .await
        .conversation;
    let all = [direct, small, large, channel];
    ana.done(watch(&all)).await;
    for conversation in all {
        house.fill(conversation, 1).await;
    }
    ana.drain().await;
    for (conversation, told) in all.into_iter().zip([true, true, false, false]) {
        ben.done(read(conversation, Seq(2))).await;
        assert_eq!(heard(&mut ana).await.len(), usize::from(told));
        // Marks are kept all the same, and read on request.
        let entry = entry_of(&mut ben, conversation).await;
        assert_eq!(entry.read, Seq(2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_the_latest_signal_of_each_key() {
    let house = House::open().await;
    let mut ana = house.guest("ana").await;
    let mut ben = Wire::dial(&house.connector, narrow(2_000)).await;
    ben.hello(Memory::hello_of("ben")).await;
    ben.resume(Resume::default()).await;
    let group = group(&mut ana, &["ben"]).await;
    ben.done(watch(&[group])).await;
    ben.drain().await;
    // The socket is full of messages; meanwhile ana types, stops, and reads on.
    house.fill(group, 100).await;
    for n in 0..6 {
        ana.done(typing(group, n % 2 == 0)).await;
        ana.done(read(group, Seq(2 + n))).await;
        sleep(Duration::from_secs(3)).await;
    }
    let frames = ben.drain().await;
    assert_eq!(events(&frames).len(), 100);
    assert_eq!(signals(&frames), ["ana types: false", "ana read 7 of 7"]);
}

#[tokio::test(start_paused = true)]
async fn watches_are_bounded_and_belong_to_a_connection() {
    let house = House::open().await;
    let mut ana = house.guest("ana").await;
    let group = group(&mut ana, &[]).await;
    let many: Vec<_> = (0..21).map(|_| fresh_conversation()).collect();
    assert_eq!(ana.refused(watch(&many)).await.code, ErrorCode::TooLarge);
    let names: Vec<String> = (0..201).map(|n| format!("user {n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(ana.refused(watch_users(&names)).await.code, ErrorCode::TooLarge);
    ana.done(watch(&many[..20])).await;
    ana.done(watch_users(&names[..200])).await;
    // A backend has no connection that could watch or type.
    let backend = house.engine.user(user("ana"));
    for command in [
        Command::from(watch(&[group])),
        watch_users(&["ana"]).into(),
        typing(group, true).into(),
    ] {
        assert_eq!(
            *backend.execute(command).await.unwrap_err().code(),
            ErrorCode::InvalidArgument
        );
    }
}
