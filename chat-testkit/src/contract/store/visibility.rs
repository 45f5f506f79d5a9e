//! Visibility: from which join, up to which removal.

use super::StoreFixture;
use super::scene::{Walk, NO_TAG, Scene, assert_chained, by, event_of, list, user};
use chat_core::command::{MessageDelete, MessageEdit};
use chat_core::conversation::{ConversationKind, HistoryVisibility};
use chat_core::event::EventKind;
use chat_core::frame::LogItem;
use chat_core::id::{Position, Seq};
use chat_core::message::Content;
use chat_core::store::{HistoryQuery, LogRead, Refusal, Window};
use std::time::Duration;

/// What was before a join is one skip, with the tag at its end, so that 1..N stays provable.
pub async fn a_newcomer_skips_what_was_before_their_join(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann"]).await;
    scene.send_many(group, "ann", 5).await;
    let joined = scene.add(group, "bob").await;
    scene.send(group, "ann", "welcome").await;
    let log = scene.whole_log(group).await;
    let page = scene.page(group, Some("bob"), 0).await;
    assert_eq!((page.after, page.ended), (NO_TAG, None));
    let LogItem::Skip(skip) = &page.items[0] else {
        panic!("{:?}", page.items[0]);
    };
    assert_eq!((skip.conversation, skip.from, skip.to), (group, Seq(1), Seq(6)));
    assert_eq!(skip.tag, log[5].tag);
    let start = page.items[0].position();
    let events: Vec<_> = page.items.into_iter().skip(1).map(event_of).collect();
    assert_eq!(events[0], joined);
    assert_eq!(assert_chained(start, &events), page.head);
    // A skip begins where the reader is.
    let page = scene.page(group, Some("bob"), 3).await;
    assert!(matches!(&page.items[0], LogItem::Skip(skip) if (skip.from, skip.to) == (Seq(4), Seq(6))));
    assert_eq!(page.after, log[2].tag);
    let page = scene.page(group, Some("bob"), 6).await;
    assert!(matches!(&page.items[0], LogItem::Event(event) if event.seq == Seq(7)));
}

/// `history: all` is a setting of the conversation.
pub async fn where_history_is_all_a_newcomer_reads_everything(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let mut create = scene.create(ConversationKind::Group, &[]);
    create.history = Some(HistoryVisibility::All);
    let group = create.conversation;
    scene.event(by("ann"), create).await;
    let early = scene.send(group, "ann", "early").await;
    scene.add(group, "bob").await;
    let events: Vec<_> = scene.page(group, Some("bob"), 0).await.items.into_iter().map(event_of).collect();
    assert_chained(Position::START, &events);
    assert_eq!(events.len(), 3);
    let memberships = scene.store.memberships(&user("bob"), None).await.unwrap().value.memberships;
    assert_eq!((memberships[0].visible_from, memberships[0].joined), (Seq(1), Seq(3)));
    scene.react(&early, group, "bob", "+1").await;
    let entry = scene.entry("bob", group).await;
    assert_eq!(entry.last_message.unwrap().id, early.id);
    assert_eq!(entry.unread, 0, "the marks start at the join all the same");
    // A former member still reads from the first event, and no further than their end.
    scene.remove(group, "bob").await;
    scene.send(group, "ann", "late").await;
    let page = scene.page(group, Some("bob"), 0).await;
    assert_eq!((page.items.len(), page.ended), (5, Some(Seq(5))));
}

/// The last event of a removed member is the removal; the head that they are told is there too.
pub async fn a_former_member_reads_up_to_their_removal_and_no_further(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob", "carl"]).await;
    scene.send(group, "ann", "seen").await;
    let removed = scene.remove(group, "bob").await;
    scene.send(group, "ann", "unseen").await;
    let left = scene.leave(group, "carl").await;
    scene.send(group, "ann", "unseen by both").await;
    for (name, last) in [("bob", removed), ("carl", left)] {
        let page = scene.page(group, Some(name), 0).await;
        let last_item = page.items.last().cloned();
        assert_eq!(last_item, Some(LogItem::Event(last.clone())));
        assert_eq!((page.ended, page.head), (Some(last.seq), last.position()));
        let at_the_end = scene.page(group, Some(name), last.seq.0).await;
        assert!(at_the_end.items.is_empty() && at_the_end.ended == Some(last.seq));
    }
}

/// What was written into a message after a membership ended is not shown to the one who left, wherever the log names
/// the message; a reaction or the tombstone hides nothing.
pub async fn a_former_member_never_reads_what_was_written_after_their_end(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    let edited = scene.send(group, "ann", "harmless").await;
    let early = scene.edit(&edited, group, "ann", "mended").await;
    let liked = scene.send(group, "ann", "liked").await;
    let deleted = scene.send(group, "ann", "deleted").await;
    fixture.advance(Duration::from_millis(10)).await;
    let removed = scene.remove(group, "bob").await;
    fixture.advance(Duration::from_millis(10)).await;
    scene.edit(&edited, group, "ann", "a secret").await;
    scene.react(&liked, group, "ann", "+1").await;
    scene.delete(&deleted, group, "ann").await;
    let page = scene.page(group, Some("bob"), 1).await;
    assert!(!format!("{page:?}").contains("a secret"));
    let skipped: Vec<_> = page.items.iter().filter(|item| matches!(item, LogItem::Skip(_))).map(LogItem::first).collect();
    assert_eq!(skipped, [edited.seq, early.seq]);
    assert_eq!((page.items.len(), page.head), (5, removed.position()));
    assert_eq!(page.items[0].position(), scene.whole_log(group).await[1].position());
}

/// An edit, a reaction or the tombstone of a message from before one's join is a skip: it would show that message.
pub async fn what_happens_to_a_message_from_before_a_join_is_a_skip(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann"]).await;
    let before = scene.send(group, "ann", "a secret").await;
    let joined = scene.add(group, "bob").await;
    scene.react(&before, group, "ann", "+1").await;
    scene.edit(&before, group, "ann", "another secret").await;
    let seen = scene.send(group, "ann", "welcome").await;
    scene.react(&seen, group, "ann", "+1").await;
    scene.delete(&before, group, "ann").await;
    let page = scene.page(group, Some("bob"), joined.seq.0).await;
    assert!(!format!("{page:?}").contains("secret"));
    let is_skip = |item: &LogItem| matches!(item, LogItem::Skip(_));
    assert_eq!(page.items.iter().map(is_skip).collect::<Vec<_>>(), [true, true, false, false, true]);
    let log = scene.whole_log(group).await;
    assert_eq!(page.items.last().unwrap().position(), log.last().unwrap().position());
    let whole = scene.page(group, Some("ann"), 0).await;
    assert!(!whole.items.iter().any(is_skip));
}

/// A new membership starts at its own join: what was missed in between, and what was seen before, is one skip.
pub async fn who_comes_back_starts_at_their_new_join(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    let first = scene.send(group, "bob", "before").await;
    scene.remove(group, "bob").await;
    scene.send(group, "ann", "meanwhile").await;
    let joined = scene.add(group, "bob").await;
    scene.send(group, "ann", "after").await;
    let page = scene.page(group, Some("bob"), 2).await;
    assert!(matches!(&page.items[0], LogItem::Skip(skip) if (skip.from, skip.to) == (Seq(3), Seq(4))));
    assert_eq!(page.items[1], LogItem::Event(joined.clone()));
    assert_eq!((page.items.len(), page.ended), (3, None));
    let entry = scene.entry("bob", group).await;
    assert_eq!((entry.joined, entry.read, entry.unread), (joined.seq, joined.seq, 1));
    let query = HistoryQuery {
        conversation: group,
        viewer: Some(user("bob")),
        window: Window::Newest,
        limit: 50,
        bytes: usize::MAX,
    };
    let history = scene.store.history(query).await.unwrap().value.unwrap();
    assert_eq!(history.messages.len(), 1, "{first:?} was in the earlier membership");
    // Leaving again ends the new membership, and the earlier one gives nothing.
    let left = scene.leave(group, "bob").await;
    let page = scene.page(group, Some("bob"), 0).await;
    assert!(matches!(&page.items[0], LogItem::Skip(skip) if skip.to == joined.seq.previous()));
    assert_eq!(page.ended, Some(left.seq));
}

/// The end of a conversation is everybody's last event; then it is not there.
pub async fn a_deleted_conversation_ends_its_log_for_everybody(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    scene.send(group, "ann", "bye").await;
    let end = scene.end(group).await;
    assert!(matches!(end.kind, EventKind::ConversationDeleted(_)));
    for name in ["ann", "bob"] {
        let page = scene.page(group, Some(name), 0).await;
        assert_eq!(page.items.last(), Some(&LogItem::Event(end.clone())));
        assert_eq!(page.ended, Some(end.seq));
        assert!(scene.store.memberships(&user(name), None).await.unwrap().value.memberships.is_empty());
        assert!(scene.store.conversation(group, Some(&user(name))).await.unwrap().value.is_none());
        assert_eq!(scene.refusal(by(name), scene.message(group, "?")).await, Refusal::NotFound);
    }
    let again = chat_core::command::ConversationCreate {
        conversation: group,
        ..scene.create(ConversationKind::Group, &[])
    };
    assert_eq!(scene.refusal(by("ann"), again).await, Refusal::NotFound, "its id is not free again");
    assert_eq!(scene.whole_log(group).await.len(), 3);
    assert_eq!(scene.head(group).await, end.position());
}

/// Nothing tells a conversation that one is not in from one that never was.
pub async fn a_stranger_a_former_member_and_nobodys_conversation_look_the_same(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    let message = scene.send(group, "ann", "secret").await;
    scene.remove(group, "bob").await;
    let nowhere = scene.conversation_id();
    for (name, conversation) in [("eve", group), ("bob", group), ("ann", nowhere)] {
        let viewer = Some(name);
        if name != "bob" {
            assert!(matches!(scene.read_log(conversation, viewer, 0).await, LogRead::NotFound));
        }
        let query = HistoryQuery {
            conversation,
            viewer: viewer.map(user),
            window: Window::Newest,
            limit: 50,
            bytes: usize::MAX,
        };
        let store = &scene.store;
        assert!(store.history(query).await.unwrap().value.is_none());
        assert!(store.conversation(conversation, Some(&user(name))).await.unwrap().value.is_none());
        assert!(store.members(list(conversation, viewer)).await.unwrap().value.is_none());
        assert!(store.marks(list(conversation, viewer)).await.unwrap().value.is_none());
        let reactions = store.reactions(list(conversation, viewer), message.id, "+1");
        assert!(reactions.await.unwrap().value.is_none());
        assert!(store.entries(&user(name), &[conversation]).await.unwrap().value.is_empty());
        assert_eq!(scene.refusal(by(name), scene.message(conversation, "?")).await, Refusal::NotFound);
    }
}

/// A message that one cannot see cannot be edited, deleted, reacted to or answered: it is not there.
pub async fn what_was_before_a_join_cannot_be_touched(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    let before = scene.send(group, "bob", "before").await;
    scene.remove(group, "bob").await;
    scene.add(group, "bob").await;
    let (conversation, message) = (group, before.id);
    let edit = MessageEdit {
        conversation,
        id: scene.id(),
        message,
        version: None,
        content: Content::text("x"),
    };
    let delete = MessageDelete {
        conversation,
        id: scene.id(),
        message,
    };
    let mut reply = scene.message(group, "re");
    reply.reply_to = Some(message);
    assert_eq!(scene.refusal(by("bob"), edit).await, Refusal::NotFound);
    assert_eq!(scene.refusal(by("bob"), delete).await, Refusal::NotFound);
    assert_eq!(scene.refusal(by("bob"), reply).await, Refusal::NotFound);
    assert_eq!(scene.refusal(by("bob"), scene.reaction(&before, group, "+1")).await, Refusal::NotFound);
    assert!(scene.store.reactions(list(group, Some("bob")), message, "+1").await.unwrap().value.is_none());
}

/// A page is bounded in items and bytes, and still every reader comes to the head.
pub async fn a_page_of_the_log_ends_at_its_limit_or_bytes_and_holds_at_least_one_item(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann"]).await;
    let big = "x".repeat(5_000);
    for _ in 0..20 {
        scene.send(group, "ann", &big).await;
    }
    for (limit, bytes, at_most) in [(3, usize::MAX, 3), (100, 1, 1), (100, 20_000, 4), (1, 1, 1)] {
        let (mut position, mut events) = (Position::START, Vec::new());
        let mut walk = Walk::new();
        loop {
            walk.step();
            let LogRead::Page(page) = scene.log_page(group, Some("ann"), position.seq.0, (limit, bytes)).await else {
                panic!("no page");
            };
            assert_eq!(page.after, position.tag);
            if page.items.is_empty() {
                assert_eq!(position, page.head);
                break;
            }
            assert!(page.items.len() <= at_most, "{} items for {limit} or {bytes} B", page.items.len());
            position = page.items.last().unwrap().position();
            events.extend(page.items.into_iter().map(event_of));
        }
        assert_chained(Position::START, &events);
        assert_eq!(events.len(), 21);
    }
    let LogRead::Page(page) = scene.log_page(group, None, 0, (100, 20_000)).await else {
        panic!("no page");
    };
    assert!(page.items.len() > 1, "a page holds about as much as it may");
}

/// A reader ahead of the log is told so, and a former member measures by their own end.
pub async fn a_position_ahead_of_the_log_is_told(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    let removed = scene.remove(group, "bob").await;
    scene.send(group, "ann", "on").await;
    assert!(matches!(scene.read_log(group, Some("ann"), 3).await, LogRead::Page(page) if page.items.is_empty()));
    assert!(matches!(scene.read_log(group, Some("ann"), 4).await, LogRead::Ahead));
    assert!(matches!(scene.read_log(group, None, 4).await, LogRead::Ahead));
    assert!(matches!(scene.read_log(group, Some("bob"), removed.seq.0 + 1).await, LogRead::Ahead));
}
