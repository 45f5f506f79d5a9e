//! Unread is a function of the log and the mark (G11).

use super::house::House;
use super::say::*;
use chat_core::conversation::{ConversationKind, HistoryVisibility};
use chat_core::id::{ConversationId, Seq};
use chat_testkit::wire::Wire;

async fn unread(wire: &mut Wire, conversation: ConversationId) -> u64 {
    entry_of(wire, conversation).await.unread
}

#[tokio::test(start_paused = true)]
async fn messages_of_others_count_and_nothing_else_does() {
    let house = House::open().await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let group = group(&mut ana, &["ben"]).await;
    assert_eq!(unread(&mut ben, group).await, 0);
    let (first, _) = say(&mut ana, group, "one").await;
    let (second, _) = say(&mut ana, group, "two").await;
    house.fill(group, 1).await;
    assert_eq!(unread(&mut ben, group).await, 3, "a system message is by others");
    // Edits, reactions, members and titles are not messages.
    ana.stored(edit(group, first, "uno")).await;
    ana.stored(react(group, first, "👍")).await;
    ana.stored(add(group, "cy")).await;
    assert_eq!(unread(&mut ben, group).await, 3);
    // What was deleted does not count, read or not.
    ana.stored(delete(group, second)).await;
    assert_eq!(unread(&mut ben, group).await, 2);
    assert_eq!(unread(&mut ana, group).await, 1, "of the host, after her own");
}

#[tokio::test(start_paused = true)]
async fn to_read_and_to_write_clear_it() {
    let house = House::open().await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let group = group(&mut ana, &["ben"]).await;
    house.fill(group, 4).await;
    ben.done(read(group, Seq(3))).await;
    assert_eq!(unread(&mut ben, group).await, 2);
    ben.done(read(group, Seq(5))).await;
    assert_eq!(unread(&mut ben, group).await, 0);
    house.fill(group, 2).await;
    assert_eq!(unread(&mut ben, group).await, 2);
    let (_, stored) = say(&mut ben, group, "I have seen it").await;
    let entry = entry_of(&mut ben, group).await;
    assert_eq!(
        (entry.unread, entry.read),
        (0, stored.seq),
        "writing moves one's own mark"
    );
    house.fill(group, 1).await;
    assert_eq!(unread(&mut ben, group).await, 1);
}

#[tokio::test(start_paused = true)]
async fn it_is_exact_to_999_and_says_1000_for_more() {
    let house = House::open().await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let group = group(&mut ana, &["ben"]).await;
    let (message, _) = say(&mut ana, group, "one").await;
    house.fill(group, 998).await;
    assert_eq!(unread(&mut ben, group).await, 999);
    house.fill(group, 1).await;
    assert_eq!(unread(&mut ben, group).await, 1_000);
    house.fill(group, 300).await;
    assert_eq!(unread(&mut ben, group).await, 1_000);
    ben.done(read(group, Seq(301))).await;
    assert_eq!(unread(&mut ben, group).await, 1_000);
    ben.done(read(group, Seq(302))).await;
    assert_eq!(unread(&mut ben, group).await, 999);
    ana.stored(delete(group, message)).await;
    assert_eq!(unread(&mut ben, group).await, 999, "that one was read before");
}

#[tokio::test(start_paused = true)]
async fn a_membership_begins_with_nothing_unread_whatever_it_may_see() {
    for history in [HistoryVisibility::Joined, HistoryVisibility::All] {
        let house = House::open().await;
        let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
        let mut command = create(ConversationKind::Group, &[]);
        command.history = Some(history.clone());
        let group = ana.stored(command).await.conversation;
        house.fill(group, 5).await;
        ana.stored(add(group, "ben")).await;
        let entry = entry_of(&mut ben, group).await;
        assert_eq!(
            (entry.unread, entry.read, entry.joined),
            (0, Seq(7), Seq(7)),
            "{history}"
        );
        house.fill(group, 2).await;
        assert_eq!(unread(&mut ben, group).await, 2, "{history}");
        // A new membership begins anew: what was unread before is not.
        ana.stored(remove(group, "ben")).await;
        house.fill(group, 3).await;
        ana.stored(add(group, "ben")).await;
        house.fill(group, 1).await;
        let entry = entry_of(&mut ben, group).await;
        assert_eq!(
            (entry.unread, entry.read, entry.joined),
            (1, Seq(14), Seq(14)),
            "{history}"
        );
    }
}
