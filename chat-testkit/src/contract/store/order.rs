//! One order: batches, refusals, writers at the same time.

use super::StoreFixture;
use super::scene::{Scene, by, list, text_of, user};
use chat_core::command::{ConversationJoin, MemberRemove, MessageEdit};
use chat_core::conversation::{ConversationKind, RuleLimits};
use chat_core::event::EventKind;
use chat_core::id::Seq;
use chat_core::message::Content;
use chat_core::store::{Actor, Append, HistoryQuery, InboxChange, ItemOutcome, LogQuery, Refusal, Window};
use std::time::Duration;

/// Epoch and secrets are the store's: every node reads the same.
pub async fn every_handle_sees_one_identity(fixture: impl StoreFixture) {
    let one = fixture.store().identity().await.unwrap();
    let other = fixture.another().identity().await.unwrap();
    assert_eq!(one.epoch, other.epoch);
    assert_eq!(one.fingerprint_key, other.fingerprint_key);
    assert_eq!(one.cluster_key, other.cluster_key);
    assert_ne!(one.fingerprint_key, one.cluster_key, "one secret for one purpose");
}

/// Every append and every read says which epoch it is of, also when it finds nothing.
pub async fn every_append_and_read_says_its_epoch(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let (store, epoch) = (&scene.store, scene.store.identity().await.unwrap().epoch);
    let group = scene.group(&["ann"]).await;
    let message = scene.message(group, "hello");
    let (id, ann) = (message.id, user("ann"));
    let batch = Append {
        conversation: group,
        items: vec![scene.item(by("ann"), message)],
        limits: RuleLimits::default(),
    };
    assert_eq!(store.append(batch).await.unwrap().epoch, epoch);
    for conversation in [group, scene.conversation_id()] {
        let log = LogQuery {
            conversation,
            viewer: None,
            after: Seq::ZERO,
            limit: 10,
            bytes: usize::MAX,
        };
        let history = HistoryQuery {
            conversation,
            viewer: None,
            window: Window::Newest,
            limit: 10,
            bytes: usize::MAX,
        };
        let all = || list(conversation, None);
        let told = [
            store.lookup(conversation, id.into()).await.unwrap().epoch,
            store.log(log.clone()).await.unwrap().epoch,
            store.log(LogQuery { after: Seq(99), ..log }).await.unwrap().epoch,
            store.history(history).await.unwrap().epoch,
            store.memberships(&ann, None).await.unwrap().epoch,
            store.entries(&ann, &[conversation]).await.unwrap().epoch,
            store.inbox(&ann, None, 10, usize::MAX).await.unwrap().epoch,
            store.conversation(conversation, Some(&ann)).await.unwrap().epoch,
            store.members(all()).await.unwrap().epoch,
            store.marks(all()).await.unwrap().epoch,
            store.reactions(all(), id, "+1").await.unwrap().epoch,
            store.heads(&[conversation]).await.unwrap().epoch,
            store.heads_changed_since(None, 10).await.unwrap().epoch,
        ];
        assert_eq!(told, [epoch; 13]);
    }
}

/// What is acknowledged through one handle is there for every other one, to be read and to be judged by.
pub async fn what_one_handle_wrote_another_reads_at_once(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let handles = [
        scene.clone(),
        scene.through(fixture.another()),
        scene.through(fixture.another()),
    ];
    let group = scene.group(&["ann", "bob"]).await;
    for round in 0..12 {
        let (writer, reader) = (&handles[round % 3], &handles[(round + 1) % 3]);
        let event = writer.event(by("ann"), writer.message(group, &round.to_string())).await;
        assert_eq!(reader.whole_log(group).await.last(), Some(&event));
        assert_eq!(reader.head(group).await, event.position());
        assert!(reader.store.lookup(group, event.id).await.unwrap().value.is_some());
        let entry = reader.entry("bob", group).await;
        assert_eq!((entry.head, entry.unread), (event.position(), 1));
        assert_eq!(entry.last_message.as_ref(), event.kind.message());

        writer.set("bob", group, InboxChange::Read(event.seq)).await;
        let read = reader.entry("bob", group).await;
        assert_eq!((read.read, read.unread), (event.seq, 0));
        let marks = reader.store.marks(list(group, None)).await.unwrap().value.unwrap().marks;
        assert_eq!(marks[1].read, event.seq);
        assert_eq!(reader.revision("bob").await, writer.revision("bob").await);

        writer.add(group, "carl").await;
        reader.send(group, "carl", "I am in").await;
        assert_eq!(reader.store.sharing(&user("ann"), &[user("carl")]).await.unwrap(), [user("carl")]);
        writer.remove(group, "carl").await;
        assert_eq!(reader.refusal(by("carl"), reader.message(group, "?")).await, Refusal::NotFound);
        assert!(reader.store.sharing(&user("ann"), &[user("carl")]).await.unwrap().is_empty());
        let last = reader.send(group, "bob", "read by now").await;
        assert_eq!(writer.entry("bob", group).await.read, last.seq);
    }
}

/// A batch goes into the log in its order, in one piece, and every item has its own outcome, in the same order.
pub async fn a_batch_is_stored_in_its_order_with_an_outcome_for_each_item(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    let items = vec![
        scene.item(by("ann"), scene.message(group, "one")),
        scene.item(by("eve"), scene.message(group, "a stranger's")),
        scene.item(by("bob"), scene.message(group, "two")),
    ];
    let ids: Vec<_> = items.iter().filter_map(|item| item.command.id()).collect();
    let limits = RuleLimits::default();
    let batch = Append {
        conversation: group,
        items,
        limits,
    };
    let appended = scene.store.append(batch).await.unwrap();
    let [Ok(ItemOutcome::First(one)), Err(Refusal::NotFound), Ok(ItemOutcome::First(two))] = &appended.outcomes[..]
    else {
        panic!("{:?}", appended.outcomes);
    };
    assert_eq!((one.seq, two.seq), (Seq(2), Seq(3)));
    assert_eq!((one.id, two.id), (ids[0], ids[2]));
    assert_eq!((one.actor.clone(), two.actor.clone()), (Some(user("ann")), Some(user("bob"))));
    assert_eq!(appended.head, two.position());
    let log = scene.whole_log(group).await;
    assert_eq!(&log[1..], [one.clone(), two.clone()], "what was answered is what is read");
}

/// Within one batch a later item is judged by what the earlier ones did.
pub async fn items_of_a_batch_see_what_came_before_them(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let create = scene.create(ConversationKind::Group, &["bob"]);
    let conversation = create.conversation;
    let message = scene.message(conversation, "hello");
    let edit = MessageEdit {
        conversation,
        id: scene.id(),
        message: message.id,
        version: Some(1),
        content: Content::text("hello, all"),
    };
    let remove = MemberRemove {
        conversation,
        id: scene.id(),
        user: user("bob"),
    };
    let outcomes = scene
        .batch(
            conversation,
            vec![
                scene.item(by("ann"), create),
                scene.item(by("bob"), message),
                scene.item(by("bob"), edit),
                scene.item(by("ann"), remove),
                scene.item(by("bob"), scene.message(conversation, "too late")),
            ],
        )
        .await;
    assert!(outcomes[..4].iter().all(|o| matches!(o, Ok(ItemOutcome::First(_)))), "{outcomes:?}");
    assert!(matches!(outcomes[4], Err(Refusal::NotFound)), "{:?}", outcomes[4]);
    assert_eq!(scene.whole_log(conversation).await.len(), 4);
}

/// A refused command leaves no trace: no seq, no message, no mark, no revision, and its id is free.
pub async fn a_refusal_takes_no_seq_and_writes_nothing(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    scene.send(group, "ann", "here").await;
    let (log, entry) = (scene.whole_log(group).await, scene.entry("bob", group).await);
    let message = scene.message(group, "let me in");
    let remove = MemberRemove {
        conversation: group,
        id: message.id.into(),
        user: user("ann"),
    };
    assert_eq!(scene.refusal(by("eve"), message).await, Refusal::NotFound);
    assert!(matches!(scene.refusal(by("bob"), remove.clone()).await, Refusal::Forbidden(_)));
    assert_eq!(scene.whole_log(group).await, log);
    assert_eq!(scene.entry("bob", group).await, entry);
    assert!(scene.store.lookup(group, remove.id).await.unwrap().value.is_none());
    let nowhere = scene.conversation_id();
    assert_eq!(scene.refusal(by("ann"), scene.message(nowhere, "hello?")).await, Refusal::NotFound);
    assert!(scene.store.heads(&[nowhere]).await.unwrap().value.is_empty(), "a refusal makes no conversation");
}

/// Each tag follows from the one before and the envelope of its event; deletes and edits change none.
pub async fn tags_are_chained_and_anybody_can_check_them(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    let message = scene.send(group, "ann", "first").await;
    scene.send(group, "bob", "second").await;
    let before: Vec<_> = scene.whole_log(group).await.iter().map(|event| event.tag).collect();
    scene.edit(&message, group, "ann", "First").await;
    scene.delete(&message, group, "ann").await;
    let after: Vec<_> = scene.whole_log(group).await.iter().map(|event| event.tag).collect();
    assert_eq!(after[..before.len()], before);
    for (index, tag) in after.iter().enumerate() {
        let page = scene.page(group, Some("ann"), index as u64 + 1).await;
        assert_eq!(page.after, *tag, "a page tells the tag at the seq that it follows");
    }
}

/// A bound is judged under the conversation's lock.
pub async fn a_bound_on_members_holds_against_many_who_join_at_once(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let channel = scene.channel(&["ann"]).await;
    let mut limits = RuleLimits::default();
    limits.channel_members_max = 5;
    let mut joins = Vec::new();
    for number in 0..12 {
        let scene = scene.through(if number % 2 == 0 { fixture.store() } else { fixture.another() });
        joins.push(tokio::spawn(async move {
            let join = ConversationJoin {
                conversation: channel,
                id: scene.id(),
            };
            let items = vec![scene.item(by(&format!("user{number}")), join)];
            let batch = Append {
                conversation: channel,
                items,
                limits,
            };
            scene.store.append(batch).await.unwrap().outcomes.remove(0)
        }));
    }
    let mut joined = 0;
    for join in joins {
        match join.await.unwrap() {
            Ok(_) => joined += 1,
            Err(refusal) => assert!(matches!(refusal, Refusal::LimitExceeded(_)), "{refusal:?}"),
        }
    }
    assert_eq!(joined, 4);
    let view = scene.store.conversation(channel, None).await.unwrap().value.unwrap();
    assert_eq!(view.conversation.member_count, 5);
}

/// Events carry the time of the store's clock, and what they made carries the same.
pub async fn times_are_the_stores(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann"]).await;
    let first = scene.send(group, "ann", "first").await;
    fixture.advance(Duration::from_millis(50)).await;
    let edited = scene.edit(&first, group, "ann", "First").await;
    assert!(edited.at.0 >= first.at.0 + 50, "{} and {}", first.at, edited.at);
    let EventKind::MessageUpdated(updated) = &edited.kind else {
        panic!("{edited:?}");
    };
    assert_eq!(updated.message.edited_at, Some(edited.at));
    assert_eq!(updated.message.at, first.at);
    assert_eq!(text_of(&updated.message), Some("First"));
    let deleted = scene.event(Actor::System, chat_core::command::MessageDelete {
        conversation: group,
        id: scene.id(),
        message: first.id,
    });
    let deleted = deleted.await;
    assert_eq!(deleted.kind.message().unwrap().deleted_at, Some(deleted.at));
}
