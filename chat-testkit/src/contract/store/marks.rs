//! Marks and revisions.

use super::StoreFixture;
use super::scene::{Scene, by, list, user};
use chat_core::command::ConversationUpdate;
use chat_core::conversation::{ConversationKind, Marks, Role};
use chat_core::id::{Revision, Seq};
use chat_core::message::Message;
use chat_core::store::{InboxChange, InboxChanged};
use tokio::task::JoinHandle;

fn marks(name: &str, read: u64, delivered: u64) -> Marks {
    Marks {
        user: user(name),
        read: Seq(read),
        delivered: Seq(delivered),
    }
}

/// A mark that is set behind where it is stays, and nothing is told to have changed.
pub async fn marks_only_grow(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    scene.send_many(group, "ann", 8).await;
    let InboxChanged::Changed {
        marks: now,
        kind,
        member_count,
    } = scene.set("bob", group, InboxChange::Delivered(Seq(5))).await
    else {
        panic!("it changed");
    };
    assert_eq!(now, marks("bob", 1, 5));
    assert_eq!((kind, member_count), (ConversationKind::Group, 2), "who is told of it follows from these");
    for behind in [InboxChange::Delivered(Seq(5)), InboxChange::Delivered(Seq(2)), InboxChange::Read(Seq(0))] {
        assert_eq!(scene.set("bob", group, behind).await, InboxChanged::Unchanged);
    }
    let InboxChanged::Changed { marks: now, .. } = scene.set("bob", group, InboxChange::Read(Seq(7))).await else {
        panic!("it changed");
    };
    assert_eq!(now, marks("bob", 7, 7), "what is read was delivered");
    assert_eq!(scene.set("bob", group, InboxChange::Read(Seq(3))).await, InboxChanged::Unchanged);
    let entry = scene.entry("bob", group).await;
    assert_eq!((entry.read, entry.delivered), (Seq(7), Seq(7)));
}

/// Two devices that set marks at once end at the highest.
pub async fn marks_set_at_the_same_time_end_at_the_highest(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    scene.send_many(group, "ann", 40).await;
    let mut devices = Vec::new();
    for device in 0..2 {
        let scene = scene.through(if device == 0 { fixture.store() } else { fixture.another() });
        devices.push(tokio::spawn(async move {
            for step in 0..20 {
                let seq = if device == 0 { 2 + step * 2 } else { 41 - step * 2 };
                scene.set("bob", group, InboxChange::Read(Seq(seq))).await;
                tokio::task::yield_now().await;
            }
        }));
    }
    for device in devices {
        device.await.unwrap();
    }
    assert_eq!(scene.entry("bob", group).await.read, Seq(41));
}

/// Whatever a user's devices set while they and others write: every entry is true by itself, nothing in it ever falls,
/// no change is lost, and in the end the marks are the highest of all.
pub async fn entries_are_true_while_marks_and_messages_are_set_at_once(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    let start = scene.revision("bob").await;
    let mut writers = Vec::new();
    for (name, count) in [("ann", 40), ("bob", 8)] {
        let scene = scene.through(if name == "ann" { fixture.store() } else { fixture.another() });
        writers.push(tokio::spawn(async move {
            for number in 0..count {
                scene.send(group, name, &number.to_string()).await;
                tokio::task::yield_now().await;
            }
        }));
    }
    let mut devices = Vec::new();
    for device in 0..3 {
        let scene = scene.through(if device == 0 { fixture.store() } else { fixture.another() });
        devices.push(tokio::spawn(async move {
            let (mut changes, mut highest) = (0, Seq::ZERO);
            for number in 0..20 {
                let head = scene.head(group).await.seq;
                let change = match device {
                    0 => InboxChange::Read(head),
                    1 => InboxChange::Delivered(head),
                    _ => InboxChange::Muted(number % 2 == 0),
                };
                match scene.set("bob", group, change).await {
                    InboxChanged::Changed { marks, .. } => {
                        changes += 1;
                        assert!(device != 0 || marks.read == head, "{marks:?} once {head} was set");
                        assert!(device != 1 || marks.delivered == head, "{marks:?} once {head} was set");
                    }
                    InboxChanged::Unchanged => assert!(device != 2, "nobody else mutes"),
                    other => panic!("{other:?}"),
                }
                highest = if device == 0 { head } else { highest };
                tokio::task::yield_now().await;
            }
            (changes, highest)
        }));
    }
    let mut entries = Vec::new();
    while !(writers.iter().all(JoinHandle::is_finished) && devices.iter().all(JoinHandle::is_finished)) {
        let entry = scene.entry("bob", group).await;
        assert!(entry.revision.0 <= scene.revision("bob").await);
        let marks = scene.store.marks(list(group, Some("bob"))).await.unwrap().value.unwrap().marks.remove(1);
        assert!(marks.read >= entry.read && marks.delivered >= entry.delivered, "{marks:?} after {entry:?}");
        entries.push(entry);
        tokio::task::yield_now().await;
    }
    let (mut changes, mut highest) = (0, Seq::ZERO);
    for writer in writers {
        writer.await.unwrap();
    }
    for device in devices {
        let (changed, read) = device.await.unwrap();
        (changes, highest) = (changes + changed, highest.max(read));
    }
    let last = scene.entry("bob", group).await;
    let log = scene.whole_log(group).await;
    let messages: Vec<_> = log.iter().filter_map(|event| event.kind.message()).collect();
    let own = messages.iter().filter(|message| message.sender == Some(user("bob"))).map(|message| message.seq);
    assert_eq!(last.read, own.max().unwrap().max(highest));
    assert!(scene.revision("bob").await >= start + changes, "a revision for each of {changes} changes");
    entries.push(last);
    for entry in &entries {
        let unread = |message: &&&Message| {
            message.seq > entry.read && message.seq <= entry.head.seq && message.sender == Some(user("ann"))
        };
        assert_eq!(entry.unread, messages.iter().filter(unread).count() as u64, "{entry:?}");
        let newest = messages.iter().map(|message| message.seq).filter(|seq| *seq <= entry.head.seq).max();
        assert_eq!(entry.last_message.as_ref().map(|message| message.seq), newest);
        assert!(entry.read <= entry.delivered && entry.delivered <= entry.head.seq, "{entry:?}");
    }
    for (before, after) in entries.iter().zip(&entries[1..]) {
        let rises = before.head.seq <= after.head.seq && before.read <= after.read;
        assert!(rises && before.delivered <= after.delivered && before.revision <= after.revision);
    }
}

/// A mark says what was seen: the log must go so far.
pub async fn a_mark_ahead_of_the_head_is_refused(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    let revision = scene.revision("bob").await;
    for ahead in [InboxChange::Read(Seq(2)), InboxChange::Delivered(Seq(1_000))] {
        assert_eq!(scene.set("bob", group, ahead).await, InboxChanged::Ahead);
    }
    assert_eq!(scene.entry("bob", group).await.read, Seq(1));
    assert_eq!(scene.revision("bob").await, revision);
}

/// Nobody else has marks, mute or archive: equal for strangers, former members and what never was.
pub async fn marks_are_for_members(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    scene.remove(group, "bob").await;
    let nowhere = scene.conversation_id();
    let changes = [
        InboxChange::Read(Seq(1)),
        InboxChange::Delivered(Seq(900)),
        InboxChange::Muted(true),
        InboxChange::Archived(true),
    ];
    for change in changes {
        for (name, conversation) in [("bob", group), ("eve", group), ("ann", nowhere)] {
            let changed = scene.set(name, conversation, change).await;
            assert_eq!(changed, InboxChanged::NotFound, "{name}: {change:?}");
        }
    }
}

/// The revision counts what the log does not carry, in the transaction that changes it; nothing else raises it.
pub async fn a_revision_rises_with_marks_mute_archive_and_membership_and_nothing_else(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    assert_eq!(scene.revision("bob").await, 0);
    let group = scene.group(&["ann"]).await;
    scene.add(group, "bob").await;
    let mut revision = scene.revision("bob").await;
    assert!(revision > 0, "a membership was gained");
    assert_eq!(scene.entry("bob", group).await.revision, Revision(revision));
    scene.send(group, "ann", "hello").await;

    let changes = [
        InboxChange::Read(Seq(3)),
        InboxChange::Muted(true),
        InboxChange::Muted(false),
        InboxChange::Archived(true),
        InboxChange::Archived(false),
    ];
    for change in changes {
        let changed = scene.set("bob", group, change).await;
        assert!(matches!(changed, InboxChanged::Changed { .. }), "{change:?} did not change");
        let now = scene.revision("bob").await;
        assert!(now > revision, "{change:?}");
        assert_eq!(scene.entry("bob", group).await.revision, Revision(now));
        assert_eq!(scene.set("bob", group, change).await, InboxChanged::Unchanged, "{change:?} again");
        revision = now;
    }
    // What the log carries.
    let message = scene.send(group, "bob", "hi").await;
    scene.edit(&message, group, "bob", "Hi").await;
    scene.react(&message, group, "ann", "+1").await;
    scene.delete(&message, group, "ann").await;
    scene.set_role(group, "ann", "bob", Role::Admin).await;
    let title = ConversationUpdate {
        conversation: group,
        id: scene.id(),
        title: Some("title".to_owned()),
        meta: None,
    };
    scene.event(by("bob"), title).await;
    scene.add(group, "carl").await;
    scene.set("carl", group, InboxChange::Muted(true)).await;
    assert_eq!(scene.revision("bob").await, revision, "nothing of this is bob's own");
    assert_eq!(scene.entry("bob", group).await.revision.0, revision);
    // A membership lost, by each way.
    scene.remove(group, "bob").await;
    assert!(scene.revision("bob").await > revision);
    let revision = scene.revision("carl").await;
    scene.end(group).await;
    assert!(scene.revision("carl").await > revision);
}

/// A client asks for what changed after the revision that it has.
pub async fn memberships_are_told_by_the_revision_at_which_they_changed(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let (one, two, three) = (
        scene.group(&["ann"]).await,
        scene.group(&["ann"]).await,
        scene.group(&["ann"]).await,
    );
    let changed = async |after: u64| {
        let told = scene.store.memberships(&user("ann"), Some(Revision(after))).await.unwrap().value;
        let conversations = told.memberships.iter().map(|m| m.conversation);
        (told.revision.0, conversations.collect::<Vec<_>>())
    };
    let (revision, all) = changed(0).await;
    assert_eq!(all, [one, two, three]);
    assert_eq!(changed(revision).await, (revision, vec![]));
    scene.set("ann", two, InboxChange::Muted(true)).await;
    scene.send(three, "ann", "a message raises no revision").await;
    let (next, told) = changed(revision).await;
    assert_eq!((next > revision, told), (true, vec![two]));
    scene.remove(one, "ann").await;
    let (last, told) = changed(next).await;
    assert_eq!((last > next, told), (true, vec![]), "what is lost is told by the log");
}

/// All members' marks in pages, with the revision of all.
pub async fn the_marks_of_members_are_listed_with_their_revision(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob", "carl"]).await;
    scene.send_many(group, "ann", 3).await;
    let read = async |name: &str| scene.store.marks(list(group, Some(name))).await.unwrap().value.unwrap();
    let before = read("ann").await;
    assert_eq!(before.marks, [marks("ann", 4, 4), marks("bob", 1, 1), marks("carl", 1, 1)]);
    scene.set("bob", group, InboxChange::Read(Seq(3))).await;
    let after = read("carl").await;
    assert_eq!(after.marks[1], marks("bob", 3, 3));
    assert!(after.revision > before.revision);
    scene.set("carl", group, InboxChange::Muted(true)).await;
    scene.send(group, "carl", "a message").await;
    assert_eq!(read("ann").await.revision, after.revision, "neither a mute nor a message is a mark that was set");
    let mut query = list(group, None);
    query.limit = 2;
    let first = scene.store.marks(query.clone()).await.unwrap().value.unwrap();
    query.page = first.next;
    assert!(query.page.is_some());
    let second = scene.store.marks(query).await.unwrap().value.unwrap();
    assert_eq!((first.marks.len(), second.marks.len(), second.next), (2, 1, None));
}
