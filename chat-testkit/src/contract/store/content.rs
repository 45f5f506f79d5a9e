//! Content: it lives once, and what was deleted is nowhere.

use super::StoreFixture;
use super::scene::{Walk, Scene, by, list, text_of, user};
use chat_core::command::{MessageDelete, MessageEdit, MessageSend, ReactionRemove};
use chat_core::conversation::ConversationKind;
use chat_core::event::EventKind;
use chat_core::id::{ConversationId, Seq, UserId};
use chat_core::message::{Attachment, Content};
use chat_core::store::{HistoryQuery, ItemOutcome, Refusal, Window};
use serde_json::json;
use std::fmt::Debug;

/// A log row names what changed; whoever reads it later gets the message as it is then.
pub async fn a_replayed_event_carries_the_message_as_it_is_now(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    let first = scene.send(group, "ann", "helo").await;
    scene.edit(&first, group, "ann", "hello").await;
    scene.react(&first, group, "bob", "+1").await;
    let log = scene.whole_log(group).await;
    let now = log[1].kind.message().unwrap();
    assert_eq!(text_of(now), Some("hello"));
    assert_eq!((now.seq, now.version, now.changed), (Seq(2), 2, Seq(4)));
    assert_eq!(now.reactions.len(), 1);
    for event in &log[2..] {
        assert_eq!(event.kind.message(), Some(now), "one message, whichever event brings it");
    }
    assert!(matches!(log[1].kind, EventKind::MessageNew(_)));
    assert!(matches!(log[2].kind, EventKind::MessageUpdated(_)));
    assert!(matches!(log[3].kind, EventKind::ReactionAdded(_)));
}

const SECRET: &str = "the body that nobody reads again";

/// After a delete no read returns the body: log, history, entries, last message, reactions, the answer itself.
pub async fn a_deleted_body_is_nowhere(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    let first = scene.send(group, "ann", SECRET).await;
    scene.edit(&first, group, "ann", &format!("{SECRET}, edited")).await;
    scene.react(&first, group, "bob", "+1").await;
    let deleted = scene.delete(&first, group, "ann").await;

    let tombstone = deleted.kind.message().unwrap().clone();
    assert!(tombstone.is_deleted() && tombstone.content.is_none() && tombstone.reactions.is_empty());
    assert_eq!((tombstone.version, tombstone.changed), (3, deleted.seq));
    assert_eq!((tombstone.sender.clone(), tombstone.seq), (Some(user("ann")), first.seq));
    shows_nothing(&deleted);
    let log = scene.whole_log(group).await;
    shows_nothing(&log);
    let messages = log.iter().filter_map(|event| event.kind.message());
    assert!(messages.clone().count() == 4 && messages.clone().all(|message| *message == tombstone));
    for name in ["ann", "bob"] {
        shows_nothing(&scene.page(group, Some(name), 0).await);
        let entry = scene.entry(name, group).await;
        assert_eq!(entry.last_message, Some(tombstone.clone()));
        assert_eq!(entry.unread, 0);
        shows_nothing(&scene.store.inbox(&user(name), None, 50, 48 * 1024).await.unwrap().value);
        shows_nothing(&scene.store.conversation(group, Some(&user(name))).await.unwrap().value);
    }
    for window in [Window::Newest, Window::Before(Seq(9)), Window::After(Seq(1)), Window::Around(Seq(2))] {
        let history = scene.store.history(HistoryQuery {
            conversation: group,
            viewer: Some(user("bob")),
            window,
            limit: 10,
            bytes: usize::MAX,
        });
        let history = history.await.unwrap().value.unwrap();
        assert_eq!(history.messages, std::slice::from_ref(&tombstone));
    }
    let reactions = scene.store.reactions(list(group, Some("bob")), first.id, "+1").await.unwrap().value;
    assert!(reactions.is_none_or(|page| page.users.is_empty()));
    // What is gone stays gone.
    let (conversation, message) = (group, first.id);
    let edit = MessageEdit {
        conversation,
        id: scene.id(),
        message,
        version: None,
        content: Content::text("back again"),
    };
    let delete = MessageDelete {
        conversation,
        id: scene.id(),
        message,
    };
    assert_eq!(scene.refusal(by("ann"), edit).await, Refusal::Gone);
    assert_eq!(scene.refusal(by("ann"), delete).await, Refusal::Gone);
    assert_eq!(scene.refusal(by("bob"), scene.reaction(&first, group, "+1")).await, Refusal::Gone);
}

fn shows_nothing(shown: &impl Debug) {
    let shown = format!("{shown:?}");
    assert!(!shown.contains(SECRET), "{shown}");
}

/// The answers of a batch are rendered once all of it is written.
pub async fn a_body_deleted_by_its_own_batch_is_not_shown(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann"]).await;
    let message = scene.message(group, SECRET);
    let delete = MessageDelete {
        conversation: group,
        id: scene.id(),
        message: message.id,
    };
    let items = vec![scene.item(by("ann"), message), scene.item(by("ann"), delete)];
    let outcomes = scene.batch(group, items).await;
    assert!(matches!(outcomes[..], [Ok(ItemOutcome::First(_)), Ok(ItemOutcome::First(_))]));
    shows_nothing(&outcomes);
}

/// Of two copies of a message a reader keeps the one with the higher `changed`; an edit knows the version it edits.
pub async fn versions_grow_with_edits_and_deletes_and_changed_with_every_event(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    let first = scene.send(group, "ann", "one").await;
    let state = |event: &chat_core::event::Event| {
        let message = event.kind.message().unwrap();
        (message.version, message.changed == event.seq)
    };
    assert_eq!((first.version, first.changed), (1, first.seq));
    assert_eq!(state(&scene.edit(&first, group, "ann", "two").await), (2, true));
    assert_eq!(state(&scene.react(&first, group, "bob", "+1").await), (2, true));
    let remove = ReactionRemove {
        conversation: group,
        id: scene.id(),
        message: first.id,
        emoji: "+1".to_owned(),
    };
    let removed = scene.event(by("bob"), remove).await;
    assert_eq!(state(&removed), (2, true));
    assert!(removed.kind.message().unwrap().reactions.is_empty(), "an emoji that nobody chose is gone");
    assert_eq!(state(&scene.edit(&first, group, "ann", "three").await), (3, true));
    assert_eq!(state(&scene.delete(&first, group, "ann").await), (4, true));
}

/// Two edits of one version: the second is told what is current, and changes nothing.
pub async fn a_stale_edit_is_told_the_version(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann"]).await;
    let first = scene.send(group, "ann", "one").await;
    let edit = |text: &str| MessageEdit {
        conversation: group,
        id: scene.id(),
        message: first.id,
        version: Some(1),
        content: Content::text(text),
    };
    scene.event(by("ann"), edit("two")).await;
    assert_eq!(scene.refusal(by("ann"), edit("deux")).await, Refusal::VersionConflict(2));
    assert_eq!(text_of(&scene.entry("ann", group).await.last_message.unwrap()), Some("two"));
}

/// Reactions are in the order of first use; each counts all and names the first five who chose it, in their order.
pub async fn a_reaction_counts_everybody_and_names_the_first_five(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let names = ["zoe", "yan", "xia", "wim", "vic", "uma", "tom"];
    let group = scene.group(&names).await;
    let first = scene.send(group, "zoe", "react!").await;
    scene.react(&first, group, "tom", "late").await;
    for name in names {
        scene.react(&first, group, name, "+1").await;
    }
    let message = scene.entry("tom", group).await.last_message.unwrap();
    let shown: Vec<_> = message.reactions.iter().map(|r| (r.emoji.as_str(), r.count, r.users.len())).collect();
    assert_eq!(shown, [("late", 1, 1), ("+1", 7, 5)]);
    let users: Vec<_> = message.reactions[1].users.iter().map(UserId::as_str).collect();
    assert_eq!(users, names[..5]);
    let again = scene.reaction(&first, group, "+1");
    assert!(matches!(scene.refusal(by("tom"), again).await, Refusal::Conflict(_)));
    // The first goes: the sixth moves up.
    let remove = ReactionRemove {
        conversation: group,
        id: scene.id(),
        message: first.id,
        emoji: "+1".to_owned(),
    };
    let event = scene.event(by("zoe"), remove.clone()).await;
    let users: Vec<_> = event.kind.message().unwrap().reactions[1].users.iter().map(UserId::as_str).collect();
    assert_eq!(users, names[1..6]);
    let id = scene.id();
    let twice = scene.refusal(by("zoe"), ReactionRemove { id, ..remove }).await;
    assert_eq!(twice, Refusal::NotFound);
}

/// All who chose an emoji, in the order of their ids.
pub async fn who_reacted_is_listed_in_pages(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let names = ["zoe", "yan", "xia", "wim", "vic", "uma", "tom"];
    let group = scene.group(&names).await;
    let first = scene.send(group, "zoe", "react!").await;
    for name in names {
        scene.react(&first, group, name, "+1").await;
    }
    let mut query = list(group, Some("tom"));
    query.limit = 3;
    let mut users = Vec::new();
    let mut walk = Walk::new();
    loop {
        walk.step();
        let page = scene.store.reactions(query.clone(), first.id, "+1").await.unwrap().value.unwrap();
        assert!(page.users.len() <= 3);
        users.extend(page.users);
        query.page = page.next;
        if query.page.is_none() {
            break;
        }
    }
    let expected: Vec<_> = names.iter().rev().map(|name| user(name)).collect();
    assert_eq!(users, expected);
    let other = scene.store.reactions(list(group, Some("tom")), first.id, "-1").await.unwrap().value.unwrap();
    assert!(other.users.is_empty() && other.next.is_none());
}

/// A reply names a message that is there, in the same conversation; a deleted one is there.
pub async fn a_reply_names_a_message_of_the_same_conversation(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let (group, other) = (scene.group(&["ann"]).await, scene.group(&["ann"]).await);
    let first = scene.send(group, "ann", "question").await;
    let reply = |conversation: ConversationId| MessageSend {
        reply_to: Some(first.id),
        ..scene.message(conversation, "answer")
    };
    let event = scene.event(by("ann"), reply(group)).await;
    assert_eq!(event.kind.message().unwrap().reply_to, Some(first.id));
    assert_eq!(scene.refusal(by("ann"), reply(other)).await, Refusal::NotFound);
    scene.delete(&first, group, "ann").await;
    scene.event(by("ann"), reply(group)).await;
}

/// Display data is stored beside users and shown wherever a member is, old events included.
pub async fn display_data_is_shown_as_it_is_now(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let display = |name: &str| json!({ "name": name });
    let (ann, store) = (user("ann"), &scene.store);
    assert!(store.put_display(&ann, &display("Ann")).await.unwrap());
    assert!(!store.put_display(&ann, &display("Ann")).await.unwrap());
    let create = scene.create(ConversationKind::Direct, &["bob"]);
    let direct = create.conversation;
    let created = scene.event(by("ann"), create).await;
    let EventKind::ConversationCreated(created) = created.kind else {
        panic!("{created:?}");
    };
    let shown: Vec<_> = created.members.iter().map(|m| (m.user.as_str(), m.display.clone())).collect();
    assert_eq!(shown, [("ann", Some(display("Ann"))), ("bob", None)]);

    assert!(store.put_display(&ann, &display("Anna")).await.unwrap());
    let now = Some(display("Anna"));
    let log = scene.whole_log(direct).await;
    let EventKind::ConversationCreated(created) = &log[0].kind else {
        panic!("{:?}", log[0]);
    };
    assert_eq!(created.members[0].display, now);
    assert_eq!(scene.entry("bob", direct).await.members[0].display, now);
    let view = store.conversation(direct, Some(&user("bob"))).await.unwrap().value.unwrap();
    assert_eq!(view.members[0].display, now);
    let members = store.members(list(direct, Some("bob"))).await.unwrap().value.unwrap().members;
    assert_eq!(members[0].display, now);
}

/// What a client sent is what is read: type, text, attachments, meta with every kind of value.
pub async fn meta_and_attachments_come_back_as_they_were_sent(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann"]).await;
    let meta = json!({"z": 1, "a": [true, null, -5, 2.5, "\u{1F600} ä \"quoted\" \\ \n"], "o": {"k": 9_007_199_254_740_991_u64}});
    let content = Content {
        kind: "photo".to_owned(),
        text: Some("line one\nline two\t\u{202e}".to_owned()),
        attachments: vec![Attachment {
            id: "file-1".to_owned(),
            name: "cat.png".to_owned(),
            media_type: "image/png".to_owned(),
            size: 1 << 40,
        }],
        meta: meta.as_object().cloned(),
    };
    let mut message = scene.message(group, "");
    message.content = content.clone();
    scene.event(by("ann"), message).await;
    let log = scene.whole_log(group).await;
    assert_eq!(log[1].kind.message().unwrap().content, Some(content));
}
