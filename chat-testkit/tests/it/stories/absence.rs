//! Going away and coming back.

use super::house::House;
use super::house::narrow;
use super::say::*;
use chat_core::code::ResetReason;
use chat_core::conversation::ConversationKind;
use chat_core::frame::{Reset, Resume, ServerFrame};
use chat_core::id::{Position, Seq, Tag};
use chat_store_memory::MemoryStore;
use chat_testkit::FailingStore;
use chat_testkit::transport::Dial;
use chat_testkit::wire::{Memory, Wire, events};
use std::sync::Arc;

fn seqs(frames: &[ServerFrame]) -> Vec<u64> {
    events(frames).iter().map(|event| event.seq.0).collect()
}

fn resets(frames: &[ServerFrame]) -> Vec<&Reset> {
    let resets = frames.iter().filter_map(|frame| match frame {
        ServerFrame::Reset(reset) => Some(reset),
        _ => None,
    });
    resets.collect()
}

#[tokio::test(start_paused = true)]
async fn resume_replays_only_what_was_missed() {
    let house = House::open().await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let group = group(&mut ana, &["ben"]).await;
    say(&mut ana, group, "seen").await;
    ben.event().await;
    let memory = ben.leave();
    house.fill(group, 500).await;
    let (_ben, frames) = Wire::come_back(&house.connector, memory).await;
    assert_eq!(seqs(&frames), (3..=502).collect::<Vec<_>>());
    let longest = frames.iter().map(|frame| match frame {
        ServerFrame::Page(page) => page.items.len(),
        _ => 1,
    });
    assert!(longest.max().unwrap() <= 200, "in pages");
}

#[tokio::test(start_paused = true)]
async fn a_resume_of_five_hundred_conversations_with_nothing_new_asks_the_store_once() {
    let store = FailingStore::new(Arc::new(MemoryStore::new()), 1);
    let faults = store.faults();
    let house = House::with(|builder| builder.store(store)).await;
    let [mut ana] = house.guests(["ana"]).await;
    for _ in 0..500 {
        let group = create(ConversationKind::Group, &["ana"]);
        house.engine.system().execute(group).await.unwrap();
    }
    ana.drain().await;
    let memory = ana.leave();
    assert_eq!(memory.cursors.len(), 500);
    let mut ana = Wire::dial(&house.connector, Dial::default()).await;
    ana.hello(memory.hello()).await;
    let before = faults.calls();
    let frames = ana.resume(memory.resume()).await;
    assert_eq!(faults.calls() - before, 1);
    assert!(seqs(&frames).is_empty() && resets(&frames).is_empty(), "{frames:?}");
}

#[tokio::test(start_paused = true)]
async fn what_happens_during_the_replay_follows_it_once_and_in_order() {
    let house = House::open().await;
    let [mut ana, ben] = house.guests(["ana", "ben"]).await;
    let group = group(&mut ana, &["ben"]).await;
    ana.drain().await;
    let mut memory = ben.leave();
    memory.cursors.insert(group, ana.memory().cursors[&group]);
    house.fill(group, 500).await;
    // A narrow network, so that the replay takes a while; the host goes on writing meanwhile.
    let mut ben = Wire::dial(&house.connector, narrow(2_000)).await;
    ben.start(memory).await;
    let (mut heard, mut written) = (0, 500);
    while heard < written {
        // The wire itself checks that nothing is left out, doubled, or out of order.
        heard += events(&[ben.next().await]).len();
        if written < 520 {
            house.fill(group, 1).await;
            written += 1;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn resume_works_with_nothing_seen_yet() {
    let house = House::open().await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let group = group(&mut ana, &["ben"]).await;
    ben.drain().await;
    assert_eq!(ben.memory().cursors[&group].seq, Seq(1));
    let memory = ben.leave();
    house.fill(group, 3).await;
    let (_, frames) = Wire::come_back(&house.connector, memory).await;
    assert_eq!(seqs(&frames), [2, 3, 4]);
    // A client that kept nothing at all gets its inbox, true at its heads, and no events.
    let mut fresh = Wire::dial(&house.connector, Dial::default()).await;
    fresh.hello(Memory::hello_of("ben")).await;
    let frames = fresh.resume(Resume::default()).await;
    let [ServerFrame::Inbox(inbox)] = &frames[..] else {
        panic!("{frames:?}")
    };
    assert_eq!(
        (inbox.entries[0].head.seq, inbox.entries[0].unread, inbox.last),
        (Seq(4), 3, true)
    );
    house.fill(group, 1).await;
    assert_eq!(fresh.event().await.seq, Seq(5));
}

#[tokio::test(start_paused = true)]
async fn another_epoch_resets_everything_before_anything_else_is_judged() {
    let house = House::open().await;
    let mut ana = house.guest("ana").await;
    group(&mut ana, &[]).await;
    let mut memory = ana.leave();
    memory.cursors.insert(
        fresh_conversation(),
        Position {
            seq: Seq(3),
            tag: Tag(3),
        },
    );
    // The server restarts, and a store in memory has forgotten everything.
    let other = House::open().await;
    let mut ana = Wire::dial(&other.connector, Dial::default()).await;
    let resume = memory.resume();
    ana.hello(memory.hello()).await;
    let frames = ana.resume(resume).await;
    let expected = Reset {
        conversation: None,
        reason: ResetReason::Epoch,
        entry: None,
    };
    assert_eq!(frames[0], ServerFrame::Reset(expected));
    let [_, ServerFrame::Inbox(inbox)] = &frames[..] else {
        panic!("{frames:?}")
    };
    assert!(inbox.entries.is_empty() && inbox.last);
}

#[tokio::test(start_paused = true)]
async fn a_cursor_that_does_not_fit_the_log_is_reset_with_its_reason() {
    let house = House::open().await;
    let mut ana = house.guest("ana").await;
    let (ahead, other, old) = (
        group(&mut ana, &[]).await,
        group(&mut ana, &[]).await,
        group(&mut ana, &[]).await,
    );
    for group in [ahead, other, old] {
        house.fill(group, 20).await;
    }
    ana.drain().await;
    let mut memory = ana.leave();
    let at = memory.cursors[&ahead];
    memory.cursors.insert(
        ahead,
        Position {
            seq: Seq(99),
            tag: at.tag,
        },
    );
    memory.cursors.insert(
        other,
        Position {
            seq: Seq(7),
            tag: Tag(7),
        },
    );
    memory.cursors.insert(
        old,
        Position {
            seq: Seq(0),
            tag: Tag::ZERO,
        },
    );
    let mut ana = Wire::dial(&house.connector, Dial::default()).await;
    ana.hello(memory.hello()).await;
    let frames = ana
        .resume(Resume {
            max: Some(15),
            ..memory.resume()
        })
        .await;
    let mut reasons: Vec<_> = resets(&frames)
        .into_iter()
        .map(|reset| (reset.conversation.unwrap(), reset.reason.clone()))
        .collect();
    reasons.sort_by_key(|(conversation, _)| *conversation);
    let mut expected = [
        (ahead, ResetReason::Ahead),
        (other, ResetReason::Epoch),
        (old, ResetReason::TooOld),
    ];
    expected.sort_by_key(|(conversation, _)| *conversation);
    assert_eq!(reasons, expected);
    assert!(
        resets(&frames)
            .iter()
            .all(|reset| reset.entry.as_ref().unwrap().head.seq == Seq(21))
    );
    // Each goes on after the entry that came with it.
    for group in [ahead, other, old] {
        house.fill(group, 1).await;
        assert_eq!(ana.event().await.seq, Seq(22));
    }
}

#[tokio::test(start_paused = true)]
async fn removed_deleted_and_never_existed_are_one_reset() {
    let house = House::open().await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let (removed, deleted) = (group(&mut ana, &["ben"]).await, group(&mut ana, &["ben"]).await);
    let hidden = group(&mut ana, &[]).await;
    ben.drain().await;
    let mut memory = ben.leave();
    let at = memory.cursors[&removed];
    memory.cursors.extend([(hidden, at), (fresh_conversation(), at)]);
    ana.stored(remove(removed, "ben")).await;
    ana.stored(chat_core::command::ConversationDelete {
        conversation: deleted,
        id: fresh(),
    })
    .await;
    let conversations: Vec<_> = memory.cursors.keys().copied().collect();
    let (_, frames) = Wire::come_back(&house.connector, memory).await;
    let resets = resets(&frames);
    assert_eq!(
        resets
            .iter()
            .map(|reset| reset.conversation.unwrap())
            .collect::<Vec<_>>(),
        conversations
    );
    for reset in resets {
        assert_eq!((&reset.reason, &reset.entry), (&ResetReason::NotFound, &None));
    }
    assert!(events(&frames).is_empty(), "not even the removal is told");
}

#[tokio::test(start_paused = true)]
async fn edits_deletes_and_reactions_survive_absence() {
    let house = House::open().await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let group = group(&mut ana, &["ben"]).await;
    let (edited, _) = say(&mut ana, group, "a typo").await;
    let (deleted, _) = say(&mut ana, group, "a secret").await;
    ben.drain().await;
    let memory = ben.leave();
    let (missed, _) = say(&mut ana, group, "a second secret").await;
    ana.stored(edit(group, edited, "mended")).await;
    ana.stored(react(group, edited, "👍")).await;
    ana.stored(delete(group, deleted)).await;
    ana.stored(delete(group, missed)).await;
    let (mut ben, frames) = Wire::come_back(&house.connector, memory).await;
    let told = told_all(events(&frames));
    assert_eq!(
        told,
        [
            "new (deleted)",
            "updated mended",
            "reaction:added",
            "message:deleted",
            "message:deleted"
        ]
    );
    let page = page_of(ben.ask(history(group)).await);
    assert_eq!(
        page.messages.iter().map(text_of).collect::<Vec<_>>(),
        ["mended", "(deleted)", "(deleted)"]
    );
    assert_eq!(page.messages[0].reactions[0].count, 1);
    // Nowhere is there a trace of what was deleted: not in the replay, the log, the history, or the inbox.
    let mut fresh = house.guest("ben").await;
    let log = chat_core::command::LogList {
        conversation: group,
        after: Position::START,
        limit: None,
    };
    let all = format!(
        "{frames:?} {page:?} {:?} {:?}",
        ben.ask(log).await,
        fresh
            .ask(chat_core::command::InboxList {
                page: None,
                limit: None
            })
            .await
    );
    assert!(!all.contains("secret"), "{all}");
}

#[tokio::test(start_paused = true)]
async fn who_was_added_while_away_finds_the_conversation() {
    let house = House::open().await;
    let [mut ana, ben] = house.guests(["ana", "ben"]).await;
    let memory = ben.leave();
    let group = group(&mut ana, &[]).await;
    house.fill(group, 3).await;
    ana.stored(add(group, "ben")).await;
    house.fill(group, 2).await;
    let (mut ben, frames) = Wire::come_back(&house.connector, memory).await;
    let [ServerFrame::Inbox(inbox)] = &frames[..] else {
        panic!("{frames:?}")
    };
    let entry = &inbox.entries[0];
    assert_eq!(
        (entry.conversation.id, entry.joined, entry.head.seq, entry.unread),
        (group, Seq(5), Seq(7), 2)
    );
    house.fill(group, 1).await;
    assert_eq!(ben.event().await.seq, Seq(8));
}
