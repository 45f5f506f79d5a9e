//! The store becomes another incarnation of its log under a running engine, as after a restore.

use super::house::House;
use super::say::*;
use chat_core::Store;
use chat_core::code::{CloseCode, ResetReason};
use chat_core::frame::{Reset, ServerFrame};
use chat_core::message::Content;
use chat_store_memory::MemoryStore;
use chat_testkit::failing_store::Call;
use chat_testkit::wire::{Wire, events};
use chat_testkit::{FailingStore, StoreFaults};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

async fn house() -> (House, StoreFaults) {
    let store = FailingStore::new(Arc::new(MemoryStore::new()), 1);
    let faults = store.faults();
    (House::with(|builder| builder.store(store)).await, faults)
}

/// From now on another incarnation answers, with nothing in it.
fn restore(faults: &StoreFaults) -> Arc<MemoryStore> {
    let restored = Arc::new(MemoryStore::new());
    faults.replace(restored.clone());
    restored
}

fn epoch_reset() -> ServerFrame {
    ServerFrame::Reset(Reset {
        conversation: None,
        reason: ResetReason::Epoch,
        entry: None,
    })
}

#[tokio::test(start_paused = true)]
async fn whichever_read_or_append_notices_it_first_every_session_ends_and_is_told() {
    for number in 0..9 {
        let (house, faults) = house().await;
        let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
        let group = group(&mut ana, &["ben"]).await;
        ana.drain().await;
        ben.drain().await;
        let restored = restore(&faults);
        match number {
            0 => _ = ana.begin(history(group)).await,
            1 => _ = ana.begin(members(group)).await,
            2 => _ = ana.begin(text(group, "into another log")).await,
            3 => {
                _ = ana
                    .begin(chat_core::command::InboxList {
                        page: None,
                        limit: None,
                    })
                    .await
            }
            4 => {
                _ = ana
                    .begin(chat_core::command::ConversationGet { conversation: group })
                    .await
            }
            // What the host does.
            5 => _ = house.engine.system().execute(history(group)).await,
            6 => house.engine.ring(group),
            7 => {
                _ = house
                    .engine
                    .system()
                    .send(group, fresh_message(), Content::text("x"))
                    .await
            }
            // Nobody asks but reconcile.
            _ => sleep(Duration::from_secs(6)).await,
        }
        for wire in [&mut ana, &mut ben] {
            let (frames, ending) = wire.ending().await;
            assert_eq!(ending.unwrap().0, CloseCode::Restart, "{number}");
            assert!(events(&frames).is_empty(), "{number}: an event of the other log");
        }
        let (mut ana, frames) = Wire::come_back(&house.connector, ana.leave()).await;
        assert_eq!(frames[0], epoch_reset(), "{number}");
        assert_eq!(house.engine.epoch(), restored.identity().await.unwrap().epoch);
        ana.drain_for(Duration::from_secs(12)).await;
        say_alone(&mut ana).await;
    }
}

async fn say_alone(wire: &mut Wire) {
    let group = group(wire, &[]).await;
    say(wire, group, "still here").await;
}

#[tokio::test(start_paused = true)]
async fn a_resume_that_notices_it_is_sent_back_once_and_told_the_next_time() {
    let (house, faults) = house().await;
    let mut ana = house.guest("ana").await;
    group(&mut ana, &[]).await;
    ana.drain().await;
    let memory = ana.leave();
    restore(&faults);
    let since = Instant::now();
    let mut ana = Wire::dial(&house.connector, Default::default()).await;
    ana.start(memory).await;
    assert_eq!(ana.closed().await, CloseCode::Restart);
    let (_ana, frames) = Wire::come_back(&house.connector, ana.leave()).await;
    assert_eq!(frames[0], epoch_reset());
    assert!(since.elapsed() < Duration::from_secs(4), "before reconcile comes by");
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_of_the_log_before_ends_nobody_and_stores_nothing() {
    let (house, faults) = house().await;
    let mut ana = house.guest("ana").await;
    let group = group(&mut ana, &[]).await;
    ana.drain().await;
    faults.answer_late(Call::Append, Duration::from_secs(8));
    ana.begin(text(group, "into the log that goes")).await;
    sleep(Duration::from_millis(100)).await;
    faults.calm();
    restore(&faults);
    let _ = house.engine.system().execute(history(group)).await;
    assert_eq!(ana.closed().await, CloseCode::Restart);
    let (mut ana, frames) = Wire::come_back(&house.connector, ana.leave()).await;
    assert_eq!(frames[0], epoch_reset());
    assert_eq!(ana.drain_for(Duration::from_secs(18)).await, []);
    say_alone(&mut ana).await;
}
