//! Budgets: how much of everything a client may ask for, and what it is told beyond that.

use super::house::{House, narrow};
use super::say::*;
use chat_core::code::{CloseCode, ErrorCode};
use chat_core::command::{Command, HistoryList, InboxList};
use chat_core::frame::{ClientFrame, ErrorFrame, Outcome, Resume, ServerFrame};
use chat_core::id::Seq;
use chat_core::message::Content;
use chat_store_memory::MemoryStore;
use chat_testkit::FailingStore;
use chat_testkit::wire::{Memory, Wire, events};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

fn inbox() -> InboxList {
    InboxList {
        page: None,
        limit: Some(1),
    }
}

/// A refusal that says when to try again; the wait.
fn wait_of(error: &ErrorFrame) -> Duration {
    assert_eq!((&error.code, error.retryable), (&ErrorCode::RateLimited, true));
    Duration::from_millis(error.retry_after_ms.expect("it says when"))
}

#[tokio::test(start_paused = true)]
async fn beyond_sixty_commands_at_once_and_twenty_a_second_one_is_told_when_to_come_again() {
    let house = House::open().await;
    let mut ana = house.guest("ana").await;
    let since = Instant::now();
    for _ in 0..60 {
        ana.ask(inbox()).await.unwrap();
    }
    assert_eq!(since.elapsed(), Duration::ZERO);
    // However often one asks too early: nothing is counted but what is carried out, and nobody is closed.
    for _ in 0..100 {
        let wait = wait_of(&ana.refused(inbox()).await);
        assert!(wait <= Duration::from_millis(50), "{wait:?}");
    }
    for _ in 0..40 {
        let wait = wait_of(&ana.refused(inbox()).await);
        sleep(wait).await;
        ana.ask(inbox()).await.unwrap();
    }
    let took = since.elapsed().as_millis();
    assert!((1_990..=2_100).contains(&took), "twenty a second: {took} ms");
    // The budget is the connection's own.
    let mut second = house.guest("ana").await;
    second.ask(inbox()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn beyond_twenty_messages_at_once_and_five_a_second_a_user_waits_over_all_connections() {
    let house = House::open().await;
    let [mut phone, mut laptop, mut ben] = house.guests(["ana", "ana", "ben"]).await;
    let group = group(&mut phone, &["ben"]).await;
    for n in 0..10 {
        say(&mut phone, group, &format!("p{n}")).await;
        say(&mut laptop, group, &format!("l{n}")).await;
    }
    let stored = text(group, "one too many");
    let wait = wait_of(&laptop.refused(stored.clone()).await);
    assert!(
        wait <= Duration::from_millis(200) && wait > Duration::from_millis(100),
        "{wait:?}"
    );
    assert_eq!(
        events(&ben.drain().await).len(),
        20,
        "what is over the limit is not carried out"
    );
    assert_eq!(entry_of(&mut ben, group).await.head.seq, Seq(21));
    // Others are not concerned, nor is what is no message.
    say(&mut ben, group, "mine").await;
    ben.drain().await;
    sleep(wait).await;
    assert!(
        !laptop.stored(stored.clone()).await.duplicate,
        "and the same is taken then"
    );
    assert_eq!(told_all(events(&ben.drain().await)), ["new one too many"]);
    // What is stored answers again, whatever the limit says.
    let mut refused = 0;
    for _ in 0..5 {
        refused += u64::from(phone.ask(text(group, "more")).await.is_err());
        assert!(phone.stored(stored.clone()).await.duplicate);
    }
    assert!(refused > 0);
}

#[tokio::test(start_paused = true)]
async fn a_conversation_has_a_budget_of_its_own() {
    let house = House::limited(|limits| limits.sends_per_conversation = (2, 4)).await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let (busy, quiet) = (group(&mut ana, &["ben"]).await, group(&mut ana, &["ben"]).await);
    for _ in 0..2 {
        say(&mut ana, busy, "a").await;
        say(&mut ben, busy, "b").await;
    }
    let wait = wait_of(&ana.refused(text(busy, "c")).await);
    wait_of(&ben.refused(text(busy, "c")).await);
    say(&mut ana, quiet, "elsewhere").await;
    // The host is not bound.
    house.fill(busy, 10).await;
    sleep(wait).await;
    say(&mut ana, busy, "c").await;
}

#[tokio::test(start_paused = true)]
async fn beyond_the_byte_budget_the_engine_reads_more_slowly_and_refuses_nothing() {
    let house = House::limited(|limits| limits.sends_per_user = (1_000, 1_000)).await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let group = group(&mut ana, &["ben"]).await;
    let (since, words) = (Instant::now(), "x".repeat(15 * 1024));
    for _ in 0..10 {
        let mut asked = Vec::new();
        for _ in 0..4 {
            asked.push(ana.begin(text(group, &words)).await);
        }
        for req in asked {
            assert!(matches!(ana.answer(req).await, Ok(Outcome::Stored(_))));
        }
    }
    // 600 KiB, of which 256 at once and 64 a second.
    let took = since.elapsed();
    assert!(
        took > Duration::from_secs(5) && took < Duration::from_secs(7),
        "{took:?}"
    );
    assert_eq!(events(&ben.drain().await).len(), 40);
}

#[tokio::test(start_paused = true)]
async fn cursors_cost_neither_bytes_nor_commands() {
    let house = House::open().await;
    let backend = house.engine.user(user("ana"));
    for _ in 0..600 {
        backend
            .store(create(chat_core::conversation::ConversationKind::Group, &[]))
            .await
            .unwrap();
    }
    let ana = house.guest("ana").await;
    let mut memory = ana.leave();
    // Thousands of cursors of conversations that are no more: 400 KiB of them.
    let at = *memory.cursors.values().next().unwrap();
    memory.cursors.extend((0..3_400).map(|_| (fresh_conversation(), at)));
    let cursors = memory.resume().cursors;
    let since = Instant::now();
    let mut ana = Wire::dial(&house.connector, chat_testkit::transport::Dial::default()).await;
    let epoch = memory.epoch;
    ana.hello(memory.hello()).await;
    for chunk in cursors.chunks(400) {
        ana.say(&ClientFrame::Resume(Resume {
            epoch,
            cursors: chunk.to_vec(),
            ..Resume::default()
        }))
        .await;
    }
    let frames = ana
        .resume(Resume {
            epoch,
            revision: memory.revision,
            ..Resume::default()
        })
        .await;
    let resets = frames
        .iter()
        .filter(|frame| matches!(frame, ServerFrame::Reset(_)))
        .count();
    assert_eq!((resets, since.elapsed()), (3_400, Duration::ZERO));
    for _ in 0..60 {
        ana.ask(inbox()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_ninth_command_waits_until_one_is_answered() {
    let store = FailingStore::new(Arc::new(MemoryStore::new()), 1);
    let faults = store.faults();
    let house = House::with(|builder| builder.store(store)).await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let group = group(&mut ana, &["ben"]).await;
    ana.drain().await;
    faults.set_paused(true);
    let mut asked = Vec::new();
    for n in 0..8 {
        asked.push(ana.begin(text(group, &n.to_string())).await);
    }
    // The ninth could be answered at once, were it read.
    let ninth = ana
        .begin(chat_core::command::Typing {
            conversation: group,
            active: true,
        })
        .await;
    assert!(timeout(Duration::from_secs(1), ana.hear()).await.is_err());
    faults.calm();
    for req in asked {
        assert!(ana.answer(req).await.is_ok());
    }
    assert!(matches!(ana.answer(ninth).await, Ok(Outcome::Done {})));
    assert_eq!(events(&ben.drain().await).len(), 8);
}

#[tokio::test(start_paused = true)]
async fn replies_are_never_dropped_however_slowly_one_reads() {
    let house = House::limited(|limits| limits.session_queue_bytes_max = 16 * 1024).await;
    let mut host = house.guest("host").await;
    let mut ana = Wire::dial(&house.connector, narrow(2_000)).await;
    ana.hello(Memory::hello_of("ana")).await;
    ana.resume(Resume::default()).await;
    let group = group(&mut host, &["ana"]).await;
    let system = house.engine.system();
    for n in 0..8 {
        let content = Content::text(format!("{n}{}", "x".repeat(10_000)));
        system.send(group, fresh_message(), content).await.unwrap();
    }
    ana.drain().await;
    let mut asked = Vec::new();
    for n in 0..20 {
        let list = HistoryList {
            around: Some(Seq(2 + n % 8)),
            limit: Some(4),
            ..history(group)
        };
        asked.push(ana.begin(list).await);
        house.fill(group, 20).await;
        sleep(Duration::from_millis(100)).await;
    }
    assert!(house.engine.counts().queued_bytes < 1024 * 1024, "memory is bounded");
    for req in asked {
        assert!(matches!(ana.answer(req).await, Ok(Outcome::History(_))));
    }
    assert_eq!(events(&ana.drain().await).len(), 400, "and every event came, in order");
}

#[tokio::test(start_paused = true)]
async fn the_twentieth_invalid_command_within_a_minute_closes_whoever_finds_it_invalid() {
    let house = House::open().await;
    let mut ana = house.guest("ana").await;
    let group = group(&mut ana, &[]).await;
    // One that the machine finds, one that the engine finds.
    let invalid: [Command; 2] = [text(group, "").into(), read(group, Seq(99)).into()];
    for n in 0..19 {
        let error = ana.refused(invalid[n % 2].clone()).await;
        assert_eq!(error.code, ErrorCode::InvalidArgument);
    }
    // What is not found, in conflict or forbidden is no error of the protocol.
    for _ in 0..30 {
        assert_eq!(
            ana.refused(text(fresh_conversation(), "x")).await.code,
            ErrorCode::NotFound
        );
        sleep(Duration::from_millis(250)).await;
    }
    ana.drain_for(Duration::from_secs(55)).await;
    for n in 0..20 {
        let error = ana.refused(invalid[1 - n % 2].clone()).await;
        assert_eq!(error.code, ErrorCode::InvalidArgument);
    }
    assert_eq!(ana.closed().await, CloseCode::TooManyErrors);
    assert!(!CloseCode::TooManyErrors.is_retryable());
}

#[tokio::test(start_paused = true)]
async fn the_nodes_memory_stays_within_its_budget_however_many_read_slowly() {
    const BUDGET: usize = 2 * 1024 * 1024;
    let house = House::limited(|limits| limits.node_queue_bytes_max = BUDGET).await;
    let mut ana = house.guest("ana").await;
    let names: Vec<String> = (0..40).map(|n| format!("user {n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let group = group(&mut ana, &names).await;
    let mut wires = Vec::new();
    for name in &names {
        let mut wire = Wire::dial(&house.connector, narrow(2_000)).await;
        wire.hello(Memory::hello_of(name)).await;
        wire.resume(Resume::default()).await;
        wires.push(wire);
    }
    let system = house.engine.system();
    let mut most = 0;
    for n in 0..300 {
        let content = Content::text(format!("{n} {}", "x".repeat(4_000)));
        system.send(group, fresh_message(), content).await.unwrap();
        sleep(Duration::from_millis(60)).await;
        most = most.max(house.engine.counts().queued_bytes);
    }
    assert!(most <= BUDGET, "{most} bytes");
    wires.push(ana);
    for wire in &mut wires {
        assert_eq!(events(&wire.drain().await).len(), 300);
    }
    assert_eq!(house.engine.counts().queued_bytes, 0);
}
