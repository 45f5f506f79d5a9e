//! Unread is a function of the log.

use super::StoreFixture;
use super::scene::Scene;
use chat_core::id::Seq;
use chat_core::store::{Actor, InboxChange, InboxChanged};

/// Messages count; edits, reactions, membership and titles do not; nor do one's own, deleted or invisible ones.
pub async fn only_messages_by_others_that_are_there_and_visible_are_unread(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    let unread = async |name: &'static str| scene.entry(name, group).await.unread;
    assert_eq!(unread("bob").await, 0);
    let first = scene.send(group, "ann", "one").await;
    scene.send(group, "ann", "two").await;
    assert_eq!((unread("bob").await, unread("ann").await), (2, 0));
    scene.edit(&first, group, "ann", "One").await;
    scene.react(&first, group, "ann", "+1").await;
    scene.add(group, "carl").await;
    assert_eq!(unread("bob").await, 2);
    scene.event(Actor::System, scene.message(group, "from the host")).await;
    assert_eq!((unread("bob").await, unread("ann").await, unread("carl").await), (3, 1, 1));
    scene.delete(&first, group, "ann").await;
    assert_eq!(unread("bob").await, 2);
    scene.set("bob", group, InboxChange::Read(Seq(3))).await;
    assert_eq!(unread("bob").await, 1);
    scene.set("bob", group, InboxChange::Read(scene.head(group).await.seq)).await;
    assert_eq!(unread("bob").await, 0);
}

/// Exact to 999; 1000 means more.
pub async fn unread_is_exact_to_999_and_then_1000(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    scene.send_many(group, "ann", 999).await;
    assert_eq!(scene.entry("bob", group).await.unread, 999);
    scene.send_many(group, "ann", 1).await;
    assert_eq!(scene.entry("bob", group).await.unread, 1_000);
    scene.send_many(group, "ann", 200).await;
    assert_eq!(scene.entry("bob", group).await.unread, 1_000);
    scene.set("bob", group, InboxChange::Read(Seq(301))).await;
    assert_eq!(scene.entry("bob", group).await.unread, 900);
}

/// Who writes has read what was before; it follows from the log and raises no revision.
pub async fn sending_moves_ones_own_mark_and_no_revision(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    scene.send_many(group, "ann", 3).await;
    let (before, revision) = (scene.entry("bob", group).await, scene.revision("bob").await);
    assert_eq!(before.unread, 3);
    let sent = scene.send(group, "bob", "answer").await;
    let entry = scene.entry("bob", group).await;
    assert_eq!((entry.unread, entry.read), (0, sent.seq));
    assert!(entry.delivered >= entry.read, "what is read was delivered");
    assert_eq!((entry.revision, scene.revision("bob").await), (before.revision, revision));
    let behind = scene.set("bob", group, InboxChange::Read(Seq(2))).await;
    assert_eq!(behind, InboxChanged::Unchanged);
    scene.edit(&sent, group, "bob", "Answer").await;
    assert_eq!(scene.entry("bob", group).await.read, sent.seq, "only a message moves it");
}

/// The mark of a new membership starts at its join: what is older is not unread, also where it is visible.
pub async fn a_new_membership_has_read_everything_before_it(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    scene.send_many(group, "ann", 3).await;
    scene.remove(group, "bob").await;
    scene.send_many(group, "ann", 3).await;
    let joined = scene.add(group, "bob").await;
    let entry = scene.entry("bob", group).await;
    assert_eq!((entry.unread, entry.read, entry.delivered), (0, joined.seq, joined.seq));
    assert_eq!(entry.last_message, None, "nothing before the join is shown");
    scene.send_many(group, "ann", 2).await;
    assert_eq!(scene.entry("bob", group).await.unread, 2);
}
