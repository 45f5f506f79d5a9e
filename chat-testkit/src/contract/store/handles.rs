//! Two handles in turn: one has just written and may remember what it found, the other changes it.

use super::StoreFixture;
use super::scene::{NO_TAG, Scene, assert_chained, by, stored_of};
use chat_core::frame::Stored;
use chat_core::id::{ConversationId, Position, Seq};
use chat_core::store::{ItemOutcome, Refusal};
use std::collections::HashSet;

/// A group in which ann and bob have written through one handle, and another handle.
async fn lively(fixture: &impl StoreFixture) -> (Scene, Scene, ConversationId) {
    let scene = Scene::of(fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    for text in ["one", "two", "three"] {
        scene.send(group, "ann", text).await;
        scene.send(group, "bob", text).await;
    }
    let other = scene.through(fixture.another());
    (scene, other, group)
}

/// Who was removed through another handle sends nothing any more, and sends at once when they are back.
pub async fn who_was_removed_elsewhere_sends_nothing_until_they_are_back(fixture: impl StoreFixture) {
    let (scene, other, group) = lively(&fixture).await;
    for _ in 0..3 {
        other.remove(group, "bob").await;
        let head = scene.head(group).await;
        let refusal = scene.refusal(by("bob"), scene.message(group, "still here?")).await;
        assert_eq!(refusal, Refusal::NotFound);
        assert_eq!(scene.head(group).await, head);
        // The handle looks at both of them, and then has nothing to notice for long.
        for _ in 0..20 {
            let items = ["ann", "bob"].map(|name| scene.item(by(name), scene.message(group, "he is gone")));
            let outcomes = scene.batch(group, items.into()).await;
            assert!(matches!(outcomes[..], [Ok(ItemOutcome::First(_)), Err(Refusal::NotFound)]), "{outcomes:?}");
        }

        other.add(group, "bob").await;
        let message = scene.send(group, "bob", "back").await;
        assert_eq!(message.seq, Seq(head.seq.0 + 22));
    }
}

/// A conversation that was deleted through another handle takes no message.
pub async fn what_was_deleted_elsewhere_takes_no_message(fixture: impl StoreFixture) {
    let (scene, other, group) = lively(&fixture).await;
    let end = other.end(group).await;
    assert_eq!(scene.refusal(by("ann"), scene.message(group, "anybody?")).await, Refusal::NotFound);
    assert_eq!(scene.head(group).await.seq, end.seq);
}

/// Ids that came through another handle answer again, alone and beside new ones.
pub async fn an_id_that_came_elsewhere_answers_again(fixture: impl StoreFixture) {
    let (scene, other, group) = lively(&fixture).await;
    for _ in 0..3 {
        let (command, taken) = (scene.message(group, "once"), scene.message(group, "mine"));
        let first = other.event(by("ann"), command.clone()).await;
        let stored = Stored {
            duplicate: true,
            ..stored_of(&first)
        };
        assert_eq!(scene.duplicate(by("ann"), command.clone()).await, stored);
        other.event(by("bob"), taken.clone()).await;
        assert_eq!(scene.refusal(by("ann"), taken).await, Refusal::IdConflict);

        // Once more, when the handle has written again and has nothing to notice.
        for _ in 0..20 {
            scene.send(group, "ann", "more").await;
        }
        let new = scene.message(group, "new");
        let items = vec![scene.item(by("ann"), command), scene.item(by("bob"), new.clone())];
        let outcomes = scene.batch(group, items).await;
        assert!(
            matches!(&outcomes[..], [Ok(ItemOutcome::Duplicate(again)), Ok(ItemOutcome::First(event))]
                if *again == stored && event.id == new.id.into()),
            "{outcomes:?}"
        );
    }
    let log = scene.whole_log(group).await;
    let ids: HashSet<_> = log.iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), log.len());
}

/// An id of somebody who was removed answers again, also beside messages of those who are still there.
pub async fn a_removed_members_id_answers_again_beside_others_messages(fixture: impl StoreFixture) {
    let (scene, other, group) = lively(&fixture).await;
    let command = scene.message(group, "did it arrive?");
    let stored = Stored {
        duplicate: true,
        ..stored_of(&scene.event(by("bob"), command.clone()).await)
    };
    other.remove(group, "bob").await;
    // The handle looks at both of them, and then has nothing to notice for long.
    for _ in 0..20 {
        let items = ["ann", "bob"].map(|name| scene.item(by(name), scene.message(group, "he is gone")));
        let outcomes = scene.batch(group, items.into()).await;
        assert!(matches!(outcomes[..], [Ok(ItemOutcome::First(_)), Err(Refusal::NotFound)]), "{outcomes:?}");
    }
    for _ in 0..3 {
        let new = scene.message(group, "new");
        let items = vec![scene.item(by("ann"), new.clone()), scene.item(by("bob"), command.clone())];
        let outcomes = scene.batch(group, items).await;
        assert!(
            matches!(&outcomes[..], [Ok(ItemOutcome::First(event)), Ok(ItemOutcome::Duplicate(again))]
                if event.id == new.id.into() && *again == stored),
            "{outcomes:?}"
        );
    }
}

/// Both handles write in turn: one order, and every event has its time.
pub async fn handles_that_write_in_turn_make_one_log(fixture: impl StoreFixture) {
    let (scene, other, group) = lively(&fixture).await;
    for turn in 0..40 {
        let (scene, sender) = if turn % 3 == 0 { (&other, "ann") } else { (&scene, "bob") };
        let head = scene.head(group).await;
        let message = scene.send(group, sender, "turn").await;
        assert_eq!(message.seq, Seq(head.seq.0 + 1));
    }
    let log = scene.whole_log(group).await;
    assert_eq!(log.len(), 47);
    assert!(log.iter().zip(1..).all(|(event, seq)| event.seq == Seq(seq) && event.at.0 > 0), "{log:?}");
}

/// What the other handle wrote is told, late, in part, twice, or falsely: it may save a look, and it changes no answer.
pub async fn what_is_heard_of_another_handle_is_a_hint_and_no_more(fixture: impl StoreFixture) {
    let (scene, other, group) = lively(&fixture).await;
    let mut untold = Vec::new();
    for turn in 0..60 {
        let before = scene.head(group).await;
        let event = other.event(by("bob"), scene.message(group, "theirs")).await;
        let after = event.position();
        match turn % 6 {
            0 | 1 => scene.store.heard(group, before, &[event]),
            2 => (0..2).for_each(|_| scene.store.heard(group, before, std::slice::from_ref(&event))),
            3 => untold.push((before, event)),
            4 => {
                // What was held back comes behind what is newer.
                scene.store.heard(group, before, &[event]);
                for (before, event) in untold.drain(..) {
                    scene.store.heard(group, before, &[event]);
                }
            }
            // Nobody wrote what is told here.
            _ => {
                let mut made_up = event.clone();
                (made_up.seq, made_up.tag) = (after.seq.next(), NO_TAG);
                scene.store.heard(group, before, &[event, made_up]);
            }
        }
        let message = scene.send(group, "ann", "ours").await;
        assert_eq!(message.seq, after.seq.next());
    }
    let before = scene.head(group).await;
    let removed = other.remove(group, "bob").await;
    scene.store.heard(group, before, &[removed]);
    assert_eq!(scene.refusal(by("bob"), scene.message(group, "still here?")).await, Refusal::NotFound);
    scene.send(group, "ann", "he is gone").await;
    let log = scene.whole_log(group).await;
    assert_eq!(log.len(), 7 + 120 + 2);
    assert_chained(Position::START, &log);
}
