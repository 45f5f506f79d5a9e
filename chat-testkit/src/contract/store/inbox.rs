//! The inbox.

use super::StoreFixture;
use super::scene::{Walk, Scene, by, text_of, user};
use chat_core::conversation::{ConversationKind, InboxEntry, Role};
use chat_core::id::{Position, Seq};
use chat_core::store::{InboxChange, InboxChanged};
use std::collections::BTreeMap;

/// Everything in an entry is as of its head.
pub async fn an_entry_is_true_at_its_head(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    let writer = scene.through(fixture.another());
    let writer = tokio::spawn(async move {
        for number in 0..100 {
            writer.send(group, "ann", &number.to_string()).await;
            tokio::task::yield_now().await;
        }
    });
    let mut entries = Vec::new();
    while !writer.is_finished() {
        entries.push(scene.entry("bob", group).await);
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    entries.push(scene.entry("bob", group).await);
    for entry in &entries {
        assert_eq!(entry.unread, entry.head.seq.0 - 1, "every event after the first is a message");
        let last = entry.last_message.as_ref().map_or(Seq(1), |message| message.seq);
        assert_eq!(last, entry.head.seq);
    }
    assert_eq!(entries.last().unwrap().unread, 100);
}

/// Role, join, marks, mute and archive are the viewer's; members come with a direct conversation only.
pub async fn an_entry_says_what_is_ones_own(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann"]).await;
    let joined = scene.add(group, "bob").await;
    scene.send(group, "ann", "hello").await;
    scene.set("bob", group, InboxChange::Delivered(Seq(3))).await;
    scene.set("bob", group, InboxChange::Muted(true)).await;
    scene.set("bob", group, InboxChange::Archived(true)).await;
    let bobs = scene.entry("bob", group).await;
    assert_eq!((bobs.role.clone(), bobs.joined), (Role::Member, joined.seq));
    assert_eq!((bobs.read, bobs.delivered, bobs.unread), (Seq(2), Seq(3), 1));
    assert!(bobs.muted && bobs.archived && bobs.members.is_empty());
    assert_eq!(bobs.last_message.as_ref().and_then(text_of), Some("hello"));
    assert_eq!(bobs.conversation.member_count, 2);
    assert_eq!(bobs.head, scene.head(group).await);
    let anns = scene.entry("ann", group).await;
    assert_eq!((anns.role, anns.joined, anns.unread), (Role::Owner, Seq(1), 0));
    assert!(!anns.muted && !anns.archived);

    let create = scene.create(ConversationKind::Direct, &["bob"]);
    let direct = create.conversation;
    scene.event(by("ann"), create).await;
    for name in ["ann", "bob"] {
        let entry = scene.entry(name, direct).await;
        let members: Vec<_> = entry.members.iter().map(|m| (m.user.as_str(), m.role.clone())).collect();
        assert_eq!(members, [("ann", Role::Member), ("bob", Role::Member)]);
        assert_eq!((entry.role, entry.conversation.title), (Role::Member, None));
    }
}

/// What was one's own in a membership that ended is gone with it.
pub async fn who_comes_back_finds_it_neither_muted_nor_archived(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    scene.set("bob", group, InboxChange::Muted(true)).await;
    scene.set("bob", group, InboxChange::Archived(true)).await;
    scene.set_role(group, "ann", "bob", Role::Admin).await;
    scene.remove(group, "bob").await;
    let joined = scene.add(group, "bob").await;
    let entry = scene.entry("bob", group).await;
    assert!(!entry.muted && !entry.archived);
    assert_eq!((entry.role, entry.joined, entry.delivered), (Role::Member, joined.seq, joined.seq));
    let muted = scene.set("bob", group, InboxChange::Muted(true)).await;
    assert!(matches!(muted, InboxChanged::Changed { .. }), "{muted:?}");
}

/// Conversations of which the user is no member are left out, whatever is asked for.
pub async fn entries_are_for_members(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let (one, two) = (scene.group(&["ann", "bob"]).await, scene.group(&["ann"]).await);
    scene.remove(one, "bob").await;
    let asked = [one, two, scene.conversation_id()];
    assert!(scene.store.entries(&user("bob"), &asked).await.unwrap().value.is_empty());
    let anns = scene.store.entries(&user("ann"), &asked).await.unwrap().value;
    assert_eq!(anns.len(), 2);
    assert!(scene.store.entries(&user("ann"), &[]).await.unwrap().value.is_empty());
}

/// Pages are in the order of conversation ids, bounded, and together hold each conversation once.
pub async fn inbox_pages_hold_every_conversation_once(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let mut conversations = Vec::new();
    for _ in 0..7 {
        conversations.push(scene.group(&["ann", "bob"]).await);
    }
    scene.group(&["bob"]).await;
    scene.remove(conversations.remove(3), "ann").await;
    let (ann, mut entries, mut page) = (user("ann"), Vec::<InboxEntry>::new(), None);
    let mut walk = Walk::new();
    loop {
        walk.step();
        let read = scene.store.inbox(&ann, page.as_ref(), 4, 48 * 1024).await.unwrap().value;
        assert!(read.entries.len() <= 4);
        entries.extend(read.entries);
        page = read.next;
        match &page {
            Some(token) => assert!(token.0.len() <= 256, "a token travels"),
            None => break,
        }
        // Between two pages something new comes, and nothing is told twice.
        scene.send(conversations[0], "ann", "meanwhile").await;
    }
    let read: Vec<_> = entries.iter().map(|entry| entry.conversation.id).collect();
    conversations.sort_unstable();
    assert_eq!(read, conversations);
    let nobody = scene.store.inbox(&user("nobody"), None, 4, 48 * 1024).await.unwrap().value;
    assert!(nobody.entries.is_empty() && nobody.next.is_none());
}

/// A page is bounded in bytes too, and holds at least one entry: together they are still all.
pub async fn a_page_of_the_inbox_ends_at_its_bytes_and_holds_at_least_one_entry(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    for _ in 0..6 {
        let group = scene.group(&["ann"]).await;
        scene.send(group, "ann", &"x".repeat(5_000)).await;
    }
    for (bytes, pages_min) in [(1, 6), (12_000, 3), (usize::MAX, 1)] {
        let (mut walk, mut pages, mut entries, mut page) = (Walk::new(), 0, 0, None);
        loop {
            walk.step();
            let read = scene.store.inbox(&user("ann"), page.as_ref(), 50, bytes).await.unwrap().value;
            assert!(!read.entries.is_empty());
            (pages, entries, page) = (pages + 1, entries + read.entries.len(), read.next);
            if page.is_none() {
                break;
            }
        }
        assert_eq!((entries, pages >= pages_min), (6, true), "{pages} pages of {bytes} B");
    }
}

/// All of a user's conversations at one moment, with where their logs end.
pub async fn memberships_are_in_order_with_their_heads(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let mut heads = BTreeMap::new();
    for number in 0..5 {
        let group = scene.group(&["ann", "bob"]).await;
        scene.send_many(group, "ann", number).await;
        heads.insert(group, scene.head(group).await);
    }
    let told = scene.store.memberships(&user("bob"), None).await.unwrap().value;
    let memberships: Vec<_> = told.memberships.iter().map(|m| (m.conversation, m.head)).collect();
    assert_eq!(memberships, heads.clone().into_iter().collect::<Vec<_>>());
    assert!(told.memberships.iter().all(|m| m.joined == Seq(1) && m.visible_from == Seq(1)));

    let mut asked: Vec<_> = heads.keys().copied().collect();
    asked.push(scene.conversation_id());
    let read = scene.store.heads(&asked).await.unwrap().value;
    let read: BTreeMap<_, Position> = read.into_iter().map(|head| (head.conversation, head.position)).collect();
    assert_eq!(read, heads, "what does not exist is left out");
}
