//! The end of a membership is exact, and a new one begins at its own join.

use super::house::{House, narrow};
use super::say::*;
use super::two_nodes::{ana_and_ben, two_nodes};
use chat_core::frame::{LogItem, Resume, ServerFrame};
use chat_core::id::Seq;
use chat_store_memory::MemoryStore;
use chat_testkit::backplane::Hub;
use chat_testkit::wire::{Memory, Wire, events};
use std::time::Duration;
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn a_removal_is_the_last_thing_that_one_hears() {
    let house = House::open().await;
    let [mut ana, mut ben, mut cy] = house.guests(["ana", "ben", "cy"]).await;
    let group = group(&mut ana, &["ben", "cy"]).await;
    say(&mut ana, group, "hi").await;
    ana.stored(remove(group, "ben")).await;
    say(&mut ana, group, "now among ourselves").await;
    assert_eq!(told_all(events(&ben.drain().await)), ["new hi", "removed ben"]);
    assert_eq!(
        told_all(events(&cy.drain().await)),
        ["new hi", "removed ben", "new now among ourselves"]
    );
    let memory = ben.leave();
    let (mut ben, frames) = Wire::come_back(&house.connector, memory).await;
    assert!(matches!(&frames[..], [ServerFrame::Inbox(inbox)] if inbox.entries.is_empty()));
    // A new membership begins at its own join: what was said meanwhile, and before, is not theirs.
    ana.stored(add(group, "ben")).await;
    say(&mut ana, group, "welcome back").await;
    assert_eq!(told_all(events(&ben.drain().await)), ["new welcome back"]);
    let page = page_of(ben.ask(history(group)).await);
    assert_eq!(page.messages.iter().map(text_of).collect::<Vec<_>>(), ["welcome back"]);
}

#[tokio::test(start_paused = true)]
async fn a_removal_is_exact_for_a_reader_who_is_behind() {
    let house = House::limited(|limits| limits.session_queue_bytes_max = 8 * 1024).await;
    let mut ana = house.guest("ana").await;
    let mut ben = Wire::dial(&house.connector, narrow(4_000)).await;
    ben.hello(Memory::hello_of("ben")).await;
    ben.resume(Resume::default()).await;
    let group = group(&mut ana, &["ben"]).await;
    house.fill(group, 300).await;
    ana.stored(remove(group, "ben")).await;
    house.fill(group, 5).await;
    let frames = ben.drain().await;
    let heard = told_all(events(&frames));
    assert_eq!(
        (heard.len(), heard.last().map(String::as_str)),
        (301, Some("removed ben"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_waits_in_a_full_queue_is_still_heard() {
    for comes_back in [false, true] {
        let house = House::limited(|limits| limits.session_queue_bytes_max = 8 * 1024).await;
        let mut ana = house.guest("ana").await;
        let mut ben = Wire::dial(&house.connector, narrow(1_000)).await;
        ben.hello(Memory::hello_of("ben")).await;
        ben.resume(Resume::default()).await;
        let (one, other) = (group(&mut ana, &["ben"]).await, group(&mut ana, &["ben"]).await);
        ben.drain().await;
        // A few messages fill the socket; the removal waits behind them, and then the queue overflows.
        house.fill(one, 10).await;
        ana.stored(remove(one, "ben")).await;
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        house.fill(other, 100).await;
        if comes_back {
            ana.stored(add(one, "ben")).await;
            house.fill(one, 2).await;
        }
        let frames = ben.drain().await;
        let of = |conversation| {
            let all = events(&frames);
            let own = all.into_iter().filter(|event| event.conversation == conversation);
            told_all(own.collect::<Vec<_>>())
        };
        assert_eq!(of(other).len(), 100);
        let heard = of(one);
        if comes_back {
            // The new membership begins with its entry, and goes on from there.
            house.fill(one, 1).await;
            assert_eq!(ben.event().await.seq, Seq(16), "{heard:?}");
        } else {
            assert_eq!(
                (heard.len(), heard.last().unwrap().as_str()),
                (11, "removed ben"),
                "{heard:?}"
            );
            assert!(!ben.memory().cursors.contains_key(&one));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_removed_while_behind_never_reads_what_was_written_since() {
    let house = House::limited(|limits| limits.session_queue_bytes_max = 8 * 1024).await;
    let mut ana = house.guest("ana").await;
    let mut ben = Wire::dial(&house.connector, narrow(1_000)).await;
    ben.hello(Memory::hello_of("ben")).await;
    ben.resume(Resume::default()).await;
    let group = group(&mut ana, &["ben"]).await;
    ben.drain().await;
    house.fill(group, 400).await;
    let (message, _) = say(&mut ana, group, "hello everybody").await;
    ana.stored(remove(group, "ben")).await;
    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    ana.stored(edit(group, message, "hello, now that ben is gone")).await;
    let frames = ben.drain().await;
    assert!(!format!("{frames:?}").contains("gone"));
    let heard = told_all(events(&frames));
    assert_eq!((heard.len(), heard.last().unwrap().as_str()), (401, "removed ben"));
}

#[tokio::test(start_paused = true)]
async fn a_new_membership_skips_what_lies_between_two_memberships() {
    let store = MemoryStore::new();
    let house = House::on(&store).await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let group = group(&mut ana, &["ben"]).await;
    house.fill(group, 2).await;
    ben.drain().await;
    let memory = ben.leave();
    ana.stored(remove(group, "ben")).await;
    house.fill(group, 3).await;
    ana.stored(add(group, "ben")).await;
    house.fill(group, 1).await;
    let (_, frames) = Wire::come_back(&house.connector, memory).await;
    let items: Vec<&LogItem> = frames
        .iter()
        .filter_map(|frame| match frame {
            ServerFrame::Page(page) => Some(&page.items),
            _ => None,
        })
        .flatten()
        .collect();
    // 4 is the removal and 5 to 7 were said meanwhile; the new membership begins at 8.
    assert!(
        matches!(items[0], LogItem::Skip(skip) if (skip.from, skip.to) == (Seq(4), Seq(7))),
        "{items:?}"
    );
    assert_eq!(told_all(events(&frames)), ["joined ben", "new 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_pages_behind_shows_a_removed_member_nothing_that_was_written_since() {
    let hub = Hub::new(1);
    let houses = two_nodes(&hub).await;
    let (mut ana, mut ben, group) = ana_and_ben(&houses).await;
    sleep(Duration::from_secs(7)).await;
    ben.drain().await;
    hub.mute_all(true);
    let (harmless, _) = say(&mut ana, group, "harmless").await;
    // More than a page between the message and the end.
    houses[0].fill(group, 300).await;
    let removed = ana.stored(remove(group, "ben")).await;
    sleep(Duration::from_millis(10)).await;
    ana.stored(edit(group, harmless, "a secret")).await;
    sleep(Duration::from_secs(12)).await;
    let heard = ben.drain().await;
    assert!(!serde_json::to_string(&heard).unwrap().contains("a secret"));
    assert_eq!(events(&heard).last().unwrap().seq, removed.seq);
}
