//! What is left of a session when its engine dies without notice: nothing that anybody hears of.

use super::say::*;
use super::two_nodes::{ana_and_ben, two_nodes};
use chat_core::code::CloseCode;
use chat_core::command::WatchPresence;
use chat_core::frame::ServerFrame;
use chat_core::signal::Signal;
use chat_testkit::backplane::Hub;
use chat_testkit::transport::Dial;
use chat_testkit::wire::{Wire, events};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// What is told of a user's presence, each with its second.
async fn presence(wire: &mut Wire, until: Duration) -> Vec<(bool, u64)> {
    let since = Instant::now();
    let mut told = Vec::new();
    while let Ok(frame) = timeout(until.saturating_sub(since.elapsed()), wire.next()).await {
        if let ServerFrame::Signal(Signal::Presence(presence)) = frame {
            told.push((presence.online, since.elapsed().as_secs()));
        }
    }
    told
}

async fn watch(wire: &mut Wire, name: &str) {
    wire.done(WatchPresence {
        users: vec![user(name)],
    })
    .await;
    wire.drain().await;
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_elsewhere_at_once_goes_on_and_was_never_away() {
    let hub = Hub::new(1);
    let houses = two_nodes(&hub).await;
    let (mut ana, mut ben, group) = ana_and_ben(&houses).await;
    sleep(Duration::from_secs(7)).await;
    watch(&mut ben, "ana").await;
    ana.drain().await;
    houses[0].engine.kill();
    let (_, ending) = ana.ending().await;
    assert_eq!(ending, None, "it dies without a word");
    let memory = ana.leave();
    say(&mut ben, group, "while you were away").await;
    let session = memory.session.clone();
    let (mut ana, frames) = Wire::come_back(&houses[1].connector, memory).await;
    assert_eq!(told_all(events(&frames)), ["new while you were away"]);
    assert_eq!(
        ana.memory().session,
        session,
        "the session goes on, at a higher attempt"
    );
    say(&mut ana, group, "here I am").await;
    assert_eq!(
        told_all(events(&ben.drain().await)),
        ["new while you were away", "new here I am"]
    );
    // Neither the lease that runs out nor anything else makes her flap.
    assert!(
        presence(&mut ben, Duration::from_secs(40))
            .await
            .iter()
            .all(|(online, _)| *online)
    );
    assert!(houses[1].engine.presence(&user("ana")).online);
    assert!(!houses[1].engine.presence(&user("ghost")).online);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_come_back_is_offline_when_the_lease_has_run_out_and_not_before() {
    for mute in [false, true] {
        let hub = Hub::new(1);
        let houses = two_nodes(&hub).await;
        let mut ana = houses[0].guest("ana").await;
        let mut ben = houses[1].guest("ben").await;
        group(&mut ana, &["ben"]).await;
        sleep(Duration::from_secs(7)).await;
        watch(&mut ben, "ana").await;
        hub.mute_all(mute);
        houses[0].engine.kill();
        let told = presence(&mut ben, Duration::from_secs(30)).await;
        let [(false, at)] = told[..] else { panic!("{told:?}") };
        assert!((5..=15).contains(&at), "mute: {mute}, after {at} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_not_noticed_dead_ends_when_its_owner_comes_back_even_behind_a_mute_bell() {
    for mute in [false, true] {
        let hub = Hub::new(1);
        let houses = two_nodes(&hub).await;
        let mut ghost = houses[0].guest("ana").await;
        let mut ben = houses[1].guest("ben").await;
        let group = group(&mut ghost, &["ben"]).await;
        sleep(Duration::from_secs(7)).await;
        ghost.drain().await;
        hub.mute_all(mute);
        // Her device has lost the connection; the engine has not noticed.
        let memory = ghost.memory().clone();
        let (mut ana, _) = Wire::come_back(&houses[1].connector, memory).await;
        if !mute {
            let (frames, ending) = ghost.ending().await;
            assert!(events(&frames).is_empty(), "the ghost gets nothing more");
            assert_eq!(ending.unwrap().0, CloseCode::Replaced);
        }
        say(&mut ben, group, "to whom?").await;
        assert_eq!(told_all(events(&ana.drain().await)), ["new to whom?"]);
        // A bell that never rings leaves two connections of one session, each with every event once; silence ends it.
        let (frames, _) = if mute {
            ana.drain_for(Duration::from_secs(36)).await;
            ghost.ending().await
        } else {
            (Vec::new(), None)
        };
        assert!(events(&frames).len() <= 1);
        // A lower attempt that arrives later ends at once, here or there.
        let mut late = Wire::dial(&houses[1].connector, Dial::default()).await;
        let mut hello = ana.memory().hello();
        hello.attempt = 1;
        late.say(&chat_core::frame::ClientFrame::Hello(hello)).await;
        assert_eq!(late.closed().await, CloseCode::Replaced, "mute: {mute}");
        ana.drain().await;
        say(&mut ana, group, "the one and only").await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_killed_mid_send_leaves_what_it_stored_and_nothing_half() {
    for steps in 0..12 {
        let hub = Hub::new(1);
        let [first, second] = two_nodes(&hub).await;
        let mut ana = first.guest("ana").await;
        let mut ben = second.guest("ben").await;
        let group = group(&mut ana, &["ben"]).await;
        ana.drain().await;
        let command = text(group, "sent, and then silence");
        ana.begin(command.clone()).await;
        for _ in 0..steps {
            tokio::task::yield_now().await;
        }
        first.engine.kill();
        let (mut ana, frames) = Wire::come_back(&second.connector, ana.leave()).await;
        let stored = events(&frames).len() == 1;
        assert_eq!(ana.stored(command).await.duplicate, stored, "the same id settles it");
        sleep(Duration::from_secs(6)).await;
        let heard = ben.drain().await;
        assert_eq!(told_all(events(&heard)), ["new sent, and then silence"]);
    }
}
