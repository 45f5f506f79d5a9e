//! Slow readers, failing stores, hooks, drains, take-overs: what goes wrong, and what is promised then.

use super::house::{House, narrow};
use super::say::*;
use chat_client::{Client, Content};
use chat_core::code::{CloseCode, ErrorCode};
use chat_core::frame::{Outcome, Resume, ServerFrame};
use chat_core::id::Timestamp;
use chat_core::{Clock, Engine};
use chat_store_memory::MemoryStore;
use chat_testkit::failing_store::{Call, Failure};
use chat_testkit::transport::Dial;
use chat_testkit::wire::{Memory, Wire, events};
use chat_testkit::{FailingStore, StoreFaults};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::time::{Instant, sleep};

#[tokio::test(start_paused = true)]
async fn of_two_connections_of_one_session_the_higher_attempt_wins_whatever_arrives_first() {
    let house = House::open().await;
    let mut first = house.guest("ana").await;
    let memory = first.memory().clone();
    let (mut second, _) = Wire::come_back(&house.connector, memory.clone()).await;
    assert_eq!(first.closed().await, CloseCode::Replaced);
    let mut late = Wire::dial(&house.connector, Dial::default()).await;
    late.say(&chat_core::frame::ClientFrame::Hello(memory.hello())).await;
    assert_eq!(late.closed().await, CloseCode::Replaced);
    let group = group(&mut second, &[]).await;
    say(&mut second, group, "still here").await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_session_or_somebody_elses_is_answered_with_a_fresh_one() {
    let house = House::open().await;
    let ana = house.guest("ana").await;
    let mut grant = ana.memory().session.clone().unwrap();
    let mut eve = Wire::dial(&house.connector, Dial::default()).await;
    let theirs = chat_core::frame::Hello {
        session: Some(grant.clone()),
        attempt: 9,
        ..Memory::hello_of("eve")
    };
    assert_ne!(eve.hello(theirs).await.session.id, grant.id);
    grant.secret = "0".repeat(64);
    let mut unknown = Wire::dial(&house.connector, Dial::default()).await;
    let forged = chat_core::frame::Hello {
        session: Some(grant.clone()),
        attempt: 9,
        ..Memory::hello_of("ana")
    };
    assert_ne!(unknown.hello(forged).await.session.id, grant.id);
}

async fn slow_reader(pause: Duration) {
    let house = House::open().await;
    let [mut ana, mut cy] = house.guests(["ana", "cy"]).await;
    let mut ben = Wire::dial(&house.connector, narrow(16 * 1024)).await;
    ben.hello(Memory::hello_of("ben")).await;
    ben.resume(chat_core::frame::Resume::default()).await;
    let group = group(&mut ana, &["ben", "cy"]).await;
    let (until, mut said) = (Instant::now() + pause, 0);
    while Instant::now() < until {
        house.fill(group, 20).await;
        said += 20;
        sleep(Duration::from_millis(100)).await;
        assert_eq!(
            events(&cy.drain_for(Duration::from_millis(10)).await).len(),
            20,
            "others are unharmed"
        );
        ana.drain_for(Duration::from_millis(1)).await;
        assert!(house.engine.counts().queued_bytes < 1024 * 1024, "memory is bounded");
    }
    let mut heard = 0;
    let ended = loop {
        match tokio::time::timeout(Duration::from_secs(2), ben.hear()).await {
            Ok(Ok(frame)) => heard += events(&[frame]).len(),
            Ok(Err(ending)) => break Some(ending),
            Err(_) => break None,
        }
    };
    assert_eq!(ended.is_some(), pause > Duration::from_secs(30), "{ended:?}");
    if ended.is_some() {
        let (_, frames) = Wire::come_back(&house.connector, ben.leave()).await;
        heard += events(&frames).len();
    }
    assert_eq!(heard, said);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_pauses_for_twenty_seconds_keeps_its_connection_and_catches_up() {
    slow_reader(Duration::from_secs(20)).await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_pauses_for_a_minute_is_closed_resumes_and_catches_up() {
    slow_reader(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn an_outbox_of_five_hundred_messages_drains_in_order_with_default_limits() {
    let house = House::open().await;
    let mut ben = house.guest("ben").await;
    let group = group(&mut ben, &["ana"]).await;
    let (ana, _) = Client::builder(house.connector.clone())
        .guest("ana")
        .rng_seed(7)
        .start()
        .unwrap();
    let pending: Vec<_> = (0..500)
        .map(|n| ana.post(group, Content::text(n.to_string())).1)
        .collect();
    let reader = tokio::spawn(async move {
        let mut heard = Vec::new();
        while heard.len() < 500 {
            heard.push(told(&ben.event().await));
        }
        heard
    });
    for answer in pending {
        assert!(matches!(answer.await, Ok(Outcome::Stored(_))), "no error is shown");
    }
    let heard = reader.await.unwrap();
    assert_eq!(heard, (0..500).map(|n| format!("new {n}")).collect::<Vec<_>>());
}

async fn failing() -> (House, StoreFaults) {
    let store = FailingStore::new(Arc::new(MemoryStore::new()), 1);
    let faults = store.faults();
    (House::with(|builder| builder.store(store)).await, faults)
}

#[tokio::test(start_paused = true)]
async fn unavailable_means_unknown_and_the_same_id_settles_it() {
    for (failure, duplicate) in [(Failure::BeforeTheEffect, false), (Failure::AfterTheEffect, true)] {
        let (house, faults) = failing().await;
        let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
        let group = group(&mut ana, &["ben"]).await;
        faults.fail_next(Call::Append, failure);
        let command = text(group, "once");
        let error = ana.refused(command.clone()).await;
        assert_eq!((error.code, error.retryable), (ErrorCode::Unavailable, true));
        assert_eq!(ana.stored(command).await.duplicate, duplicate);
        assert_eq!(told_all(events(&ben.drain().await)), ["new once"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_store_keeps_nobody_waiting_for_welcome_and_what_to_show_is_kept_later() {
    let (house, faults) = failing().await;
    faults.set_paused(true);
    let mut ana = Wire::dial(&house.connector, Dial::default()).await;
    let since = Instant::now();
    ana.hello(Memory::hello_of("ana")).await;
    assert!(since.elapsed() <= Duration::from_millis(2_100));
    faults.calm();
    ana.resume(Resume::default()).await;
    let group = group(&mut ana, &[]).await;
    let Ok(Outcome::Members(page)) = ana.ask(members(group)).await else {
        panic!("members")
    };
    assert_eq!(page.members[0].display.as_ref().unwrap()["name"], "ana");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_unavailable_in_time() {
    let (house, faults) = failing().await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let group = group(&mut ana, &["ben"]).await;
    faults.set_paused(true);
    let (command, since) = (text(group, "late"), Instant::now());
    assert_eq!(ana.refused(command.clone()).await.code, ErrorCode::Unavailable);
    assert!(since.elapsed() <= Duration::from_millis(2_100));
    faults.calm();
    assert!(ana.stored(command).await.duplicate, "the commit went on");
    assert_eq!(told_all(events(&ben.drain().await)), ["new late"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_store_is_silent_for_over_ten_seconds_is_not_ready_until_it_answers() {
    let stands_still: fn(&StoreFaults) = |faults| faults.set_paused(true);
    let refuses: fn(&StoreFaults) = |faults| faults.set_down(true);
    for goes in [stands_still, refuses] {
        let (house, faults) = failing().await;
        let mut ana = house.guest("ana").await;
        let group = group(&mut ana, &[]).await;
        say(&mut ana, group, "the last that it answered").await;
        goes(&faults);
        for _ in 0..9 {
            sleep(Duration::from_secs(1)).await;
            assert_eq!(house.engine.ready(), Ok(()));
        }
        sleep(Duration::from_secs(2)).await;
        for _ in 0..5 {
            assert!(house.engine.ready().is_err_and(|why| why.contains("store")));
            // The node cannot tell any more who is there, and asks.
            ana.drain_for(Duration::from_secs(1)).await;
        }
        faults.calm();
        sleep(Duration::from_secs(6)).await;
        assert_eq!(house.engine.ready(), Ok(()));
        say(&mut ana, group, "whoever was here still is").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_answers_what_was_accepted_says_when_to_come_back_and_closes_1012() {
    let (house, faults) = failing().await;
    let mut ana = house.guest("ana").await;
    let group = group(&mut ana, &[]).await;
    faults.set_paused(true);
    let req = ana.begin(text(group, "accepted")).await;
    sleep(Duration::from_millis(100)).await;
    let engine = house.engine.clone();
    let drain = tokio::spawn(async move { engine.shutdown(Duration::from_secs(10)).await });
    sleep(Duration::from_millis(100)).await;
    faults.calm();
    assert!(ana.answer(req).await.is_ok());
    let (frames, ending) = ana.ending().await;
    assert!(frames.iter().any(|frame| matches!(frame, ServerFrame::Reconnect(_))));
    assert_eq!(ending.unwrap().0, CloseCode::Restart);
    drain.await.unwrap();
    assert!(house.connector.connect(Dial::default()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_revoked_user_is_closed_4505() {
    let house = House::open().await;
    let mut ana = house.guest("ana").await;
    house.engine.revoke(&user("ana"));
    assert_eq!(ana.closed().await, CloseCode::SessionRevoked);
}

/// A clock at whose next look, once it is wound up, its engine begins to drain.
#[derive(Default)]
struct Alarm {
    engine: OnceLock<Engine>,
    wound_up: Mutex<bool>,
}

impl Clock for Alarm {
    fn now(&self) -> Timestamp {
        let rings = std::mem::take(&mut *self.wound_up.lock().unwrap());
        if let Some(engine) = self.engine.get().cloned().filter(|_| rings) {
            let draining = engine.clone();
            tokio::spawn(async move { draining.shutdown(Duration::from_secs(60)).await });
            // Others go on, and tell those who are here, before this look ends.
            tokio::task::block_in_place(|| {
                while engine.ready() != Err("draining") {
                    std::thread::yield_now();
                }
                std::thread::sleep(Duration::from_millis(100));
            });
        }
        Timestamp(1_750_000_000_000)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_in_while_a_drain_begins_is_sent_away_at_once() {
    let alarm = Arc::new(Alarm::default());
    let house = House::with(|builder| builder.clock(alarm.clone())).await;
    let _ = alarm.engine.set(house.engine.clone());
    let mut wire = Wire::dial(&house.connector, Dial::default()).await;
    *alarm.wound_up.lock().unwrap() = true;
    let hello = chat_core::frame::ClientFrame::Hello(Memory::hello_of("ana"));
    wire.say(&hello).await;
    let closed = tokio::time::timeout(Duration::from_secs(10), wire.closed()).await;
    assert_eq!(closed.expect("long before the grace is over"), CloseCode::Restart);
}
