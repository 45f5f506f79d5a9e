//! What is done at one node shows at the other: settings, signals, endings.

use super::house::House;
use super::say::*;
use super::two_nodes::{ana_and_ben, two_nodes};
use chat_core::code::CloseCode;
use chat_core::command::{
    ConversationDelete, InboxMute, MarkDelivered, MemberList, Typing, WatchConversations, WatchPresence,
};
use chat_core::frame::{Outcome, ServerFrame};
use chat_core::id::{ConversationId, Seq};
use chat_core::signal::Signal;
use chat_testkit::backplane::Hub;
use chat_testkit::wire::{Wire, events};
use std::time::Duration;
use tokio::time::sleep;

/// Ana at the first node, Ben at the second, in a group of both, and every node listens by now.
async fn apart(hub: &Hub) -> ([House; 2], Wire, Wire, ConversationId) {
    let houses = two_nodes(hub).await;
    let (mut ana, mut ben, group) = ana_and_ben(&houses).await;
    sleep(Duration::from_secs(7)).await;
    ana.drain().await;
    ben.drain().await;
    (houses, ana, ben, group)
}

fn signals(frames: &[ServerFrame]) -> Vec<&Signal> {
    let signals = frames.iter().filter_map(|frame| match frame {
        ServerFrame::Signal(signal) => Some(signal),
        _ => None,
    });
    signals.collect()
}

#[tokio::test(start_paused = true)]
async fn what_one_device_sets_shows_on_another_at_another_node_at_once_or_seconds_after_a_lost_bell() {
    let hub = Hub::new(1);
    let (houses, _ana, mut phone, group) = apart(&hub).await;
    let mut laptop = houses[0].guest("ben").await;
    houses[0].fill(group, 3).await;
    sleep(Duration::from_secs(1)).await;
    phone.drain().await;
    laptop.drain().await;
    for (mute_bells, wait) in [(false, 100), (true, 7_000)] {
        hub.mute_all(mute_bells);
        let muted = !mute_bells;
        phone
            .done(InboxMute {
                conversation: group,
                muted,
            })
            .await;
        let to = if mute_bells { Seq(4) } else { Seq(3) };
        phone.done(read(group, to)).await;
        sleep(Duration::from_millis(wait)).await;
        let frames = laptop.drain().await;
        let Some(ServerFrame::Inbox(inbox)) = frames.last() else {
            panic!("bells are mute: {mute_bells}; {frames:?}")
        };
        let entry = &inbox.entries[0];
        assert_eq!((entry.muted, entry.read, entry.unread), (muted, to, 4 - to.0));
    }
}

#[tokio::test(start_paused = true)]
async fn signals_cross_nodes_to_those_who_watch() {
    let hub = Hub::new(1);
    let (houses, mut ana, mut ben, group) = apart(&hub).await;
    let mut idle = houses[1].guest("ben").await;
    ben.done(WatchConversations {
        conversations: vec![group],
    })
    .await;
    ben.done(WatchPresence {
        users: vec![user("ana")],
    })
    .await;
    let state = ben.drain().await;
    assert!(
        matches!(signals(&state)[..], [Signal::Presence(p)] if p.online),
        "{state:?}"
    );
    houses[0].fill(group, 1).await;
    ana.done(Typing {
        conversation: group,
        active: true,
    })
    .await;
    ana.done(MarkDelivered {
        conversation: group,
        seq: Seq(2),
    })
    .await;
    sleep(Duration::from_millis(1_100)).await;
    let frames = ben.drain().await;
    let heard: Vec<_> = signals(&frames).iter().map(|signal| signal.name()).collect();
    assert_eq!(heard, ["typing", "marks"]);
    assert!(signals(&idle.drain().await).is_empty());
    // She goes, and comes back at Ben's node: one of each, no flap.
    drop(ana);
    sleep(Duration::from_secs(5)).await;
    ben.drain().await;
    let ana = houses[1].guest("ana").await;
    sleep(Duration::from_secs(20)).await;
    let frames = ben.drain().await;
    let flaps = signals(&frames);
    assert!(
        flaps.iter().all(|s| matches!(s, Signal::Presence(p) if p.online)),
        "{flaps:?}"
    );
    drop(ana);
    sleep(Duration::from_secs(12)).await;
    let frames = ben.drain().await;
    assert!(
        matches!(signals(&frames)[..], [Signal::Presence(p)] if !p.online),
        "{frames:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_to_show_of_a_user_is_the_same_at_every_node() {
    let hub = Hub::new(1);
    let (houses, mut ana, mut ben, group) = apart(&hub).await;
    ben.done(WatchPresence {
        users: vec![user("cy")],
    })
    .await;
    assert!(signals(&ben.drain().await).is_empty(), "with cy one shares nothing yet");
    ana.stored(add(group, "cy")).await;
    ben.done(WatchPresence {
        users: vec![user("cy")],
    })
    .await;
    ben.drain().await;
    let _cy = houses[0].guest("cy").await;
    sleep(Duration::from_millis(100)).await;
    let frames = ben.drain().await;
    let heard: Vec<_> = signals(&frames).iter().map(|signal| signal.name()).collect();
    assert_eq!(heard, ["presence", "display"]);
    for wire in [&mut ana, &mut ben] {
        let list = MemberList {
            conversation: group,
            page: None,
            limit: None,
        };
        let Ok(Outcome::Members(page)) = wire.ask(list).await else {
            panic!("members")
        };
        assert_eq!(page.members.last().unwrap().display.as_ref().unwrap()["name"], "cy");
    }
}

#[tokio::test(start_paused = true)]
async fn a_revoked_user_is_closed_at_every_node_and_nobody_else() {
    let hub = Hub::new(1);
    let (houses, mut ana, mut ben, _) = apart(&hub).await;
    let mut second = houses[0].guest("ben").await;
    houses[0].engine.revoke(&user("ben"));
    assert_eq!(ben.closed().await, CloseCode::SessionRevoked);
    assert_eq!(second.closed().await, CloseCode::SessionRevoked);
    group(&mut ana, &[]).await;
}

#[tokio::test(start_paused = true)]
async fn a_conversation_that_ends_at_one_node_ends_at_the_other_for_good() {
    for mute in [false, true] {
        let hub = Hub::new(1);
        let (houses, mut ana, mut ben, group) = apart(&hub).await;
        hub.mute_all(mute);
        say(&mut ana, group, "last words").await;
        ana.stored(ConversationDelete {
            conversation: group,
            id: fresh(),
        })
        .await;
        sleep(Duration::from_secs(7)).await;
        assert_eq!(
            told_all(events(&ben.drain().await)),
            ["new last words", "conversation:deleted"]
        );
        let error = ben.refused(text(group, "anybody?")).await;
        assert_eq!(error.code, chat_core::code::ErrorCode::NotFound);
        let memory = ben.leave();
        let (_, frames) = Wire::come_back(&houses[0].connector, memory).await;
        assert!(
            matches!(&frames[..], [ServerFrame::Inbox(inbox)] if inbox.entries.is_empty()),
            "{frames:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_id_at_two_nodes_at_once_is_stored_once() {
    let hub = Hub::new(1);
    let (houses, mut ana, mut ben, group) = apart(&hub).await;
    let mut second = houses[1].guest("ana").await;
    for _ in 0..5 {
        let command = text(group, "once");
        let (here, there) = (ana.begin(command.clone()).await, second.begin(command).await);
        let (here, there) = (ana.answer(here).await, second.answer(there).await);
        let (Ok(Outcome::Stored(here)), Ok(Outcome::Stored(there))) = (here, there) else {
            panic!("both are answered")
        };
        assert_eq!((here.seq, here.tag), (there.seq, there.tag));
        assert!(here.duplicate ^ there.duplicate);
    }
    sleep(Duration::from_secs(7)).await;
    for wire in [&mut ana, &mut ben, &mut second] {
        assert_eq!(events(&wire.drain().await).len(), 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_revocation_whose_bell_is_lost_is_rung_again_and_spares_who_came_back() {
    let hub = Hub::new(1);
    let houses = two_nodes(&hub).await;
    let mut ben = houses[1].guest("ben").await;
    sleep(Duration::from_secs(1)).await;
    hub.mute_all(true);
    houses[0].engine.revoke(&user("ben"));
    sleep(Duration::from_secs(1)).await;
    let mut again = houses[1].guest("ben").await;
    hub.mute_all(false);
    assert_eq!(ben.closed().await, CloseCode::SessionRevoked);
    assert_eq!(again.drain_for(Duration::from_secs(30)).await, []);
}
