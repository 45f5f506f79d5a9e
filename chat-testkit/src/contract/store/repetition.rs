//! Repetition: the same id again, in every state.

use super::StoreFixture;
use super::scene::{Scene, by, stored_of, user};
use chat_core::command::*;
use chat_core::conversation::{ConversationKind, Role};
use chat_core::frame::Stored;
use chat_core::id::ConversationId;
use chat_core::message::{Content, Message};
use chat_core::store::{Actor, ItemOutcome, Refusal};

/// Where every command finds what it needs: ann owns it, bob is a member, both wrote.
struct Place {
    scene: Scene,
    group: ConversationId,
    anns: Message,
    bobs: Message,
}

async fn place(fixture: &impl StoreFixture) -> Place {
    let scene = Scene::of(fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    let anns = scene.send(group, "ann", "hers").await;
    let bobs = scene.send(group, "bob", "his").await;
    Place {
        scene,
        group,
        anns,
        bobs,
    }
}

/// The command again gives the first answer, marked, and the log and everybody's inbox stay as they are.
async fn retried(fixture: &impl StoreFixture, scene: &Scene, actor: Actor, command: impl Into<Command>) {
    let command = command.into();
    let conversation = command.conversation().unwrap();
    let first = scene.event(actor.clone(), command.clone()).await;
    let log = scene.whole_log(conversation).await;
    let inboxes = inboxes(scene).await;
    let again = scene.through(fixture.another());
    for scene in [scene, &again] {
        let stored = scene.duplicate(actor.clone(), command.clone()).await;
        let expected = Stored {
            duplicate: true,
            ..stored_of(&first)
        };
        assert_eq!(stored, expected, "the first answer again");
    }
    assert_eq!(scene.whole_log(conversation).await, log, "the log stays as it is");
    assert_eq!(self::inboxes(scene).await, inboxes, "inboxes stay as they are");
}

async fn inboxes(scene: &Scene) -> Vec<(u64, Vec<chat_core::conversation::InboxEntry>)> {
    let mut inboxes = Vec::new();
    for name in ["ann", "bob", "carl"] {
        let inbox = scene.store.inbox(&user(name), None, 50, 48 * 1024).await.unwrap().value;
        inboxes.push((scene.revision(name).await, inbox.entries));
    }
    inboxes
}

/// `message:send` is stored once.
pub async fn message_send_retried_after_the_effect(fixture: impl StoreFixture) {
    let Place { scene, group, .. } = place(&fixture).await;
    let command = scene.message(group, "again?");
    retried(&fixture, &scene, by("bob"), command).await;
}

/// `message:edit` is stored once, and is no version conflict the second time.
pub async fn message_edit_retried_after_the_effect(fixture: impl StoreFixture) {
    let Place { scene, group, anns, .. } = place(&fixture).await;
    let command = MessageEdit {
        conversation: group,
        id: scene.id(),
        message: anns.id,
        version: Some(1),
        content: Content::text("edited"),
    };
    retried(&fixture, &scene, by("ann"), command).await;
}

/// `message:delete` is stored once, and is not `gone` the second time.
pub async fn message_delete_retried_after_the_effect(fixture: impl StoreFixture) {
    let Place { scene, group, bobs, .. } = place(&fixture).await;
    let command = MessageDelete {
        conversation: group,
        id: scene.id(),
        message: bobs.id,
    };
    retried(&fixture, &scene, by("ann"), command).await;
}

/// `reaction:add` is stored once, and is no conflict the second time.
pub async fn reaction_add_retried_after_the_effect(fixture: impl StoreFixture) {
    let Place { scene, group, anns, .. } = place(&fixture).await;
    let command = scene.reaction(&anns, group, "+1");
    retried(&fixture, &scene, by("bob"), command).await;
}

/// `reaction:remove` is stored once, and is found the second time.
pub async fn reaction_remove_retried_after_the_effect(fixture: impl StoreFixture) {
    let Place { scene, group, anns, .. } = place(&fixture).await;
    scene.react(&anns, group, "bob", "+1").await;
    let command = ReactionRemove {
        conversation: group,
        id: scene.id(),
        message: anns.id,
        emoji: "+1".to_owned(),
    };
    retried(&fixture, &scene, by("bob"), command).await;
}

/// `conversation:create` is stored once, and is no conflict the second time.
pub async fn conversation_create_retried_after_the_effect(fixture: impl StoreFixture) {
    let Place { scene, .. } = place(&fixture).await;
    let command = scene.create(ConversationKind::Group, &["bob", "carl"]);
    retried(&fixture, &scene, by("ann"), command).await;
}

/// `conversation:update` is stored once.
pub async fn conversation_update_retried_after_the_effect(fixture: impl StoreFixture) {
    let Place { scene, group, .. } = place(&fixture).await;
    let command = ConversationUpdate {
        conversation: group,
        id: scene.id(),
        title: Some("a title".to_owned()),
        meta: None,
    };
    retried(&fixture, &scene, by("ann"), command).await;
}

/// `conversation:delete` is stored once, and is found the second time.
pub async fn conversation_delete_retried_after_the_effect(fixture: impl StoreFixture) {
    let Place { scene, group, .. } = place(&fixture).await;
    let command = ConversationDelete {
        conversation: group,
        id: scene.id(),
    };
    retried(&fixture, &scene, by("ann"), command).await;
}

/// `conversation:join` is stored once, and is no conflict the second time.
pub async fn conversation_join_retried_after_the_effect(fixture: impl StoreFixture) {
    let Place { scene, .. } = place(&fixture).await;
    let channel = scene.channel(&["ann"]).await;
    let command = ConversationJoin {
        conversation: channel,
        id: scene.id(),
    };
    retried(&fixture, &scene, by("carl"), command).await;
}

/// `conversation:leave` is stored once, and is found the second time.
pub async fn conversation_leave_retried_after_the_effect(fixture: impl StoreFixture) {
    let Place { scene, group, .. } = place(&fixture).await;
    let command = ConversationLeave {
        conversation: group,
        id: scene.id(),
    };
    retried(&fixture, &scene, by("bob"), command).await;
}

/// `member:add` is stored once, and is no conflict the second time.
pub async fn member_add_retried_after_the_effect(fixture: impl StoreFixture) {
    let Place { scene, group, .. } = place(&fixture).await;
    let command = MemberAdd {
        conversation: group,
        id: scene.id(),
        user: user("carl"),
    };
    retried(&fixture, &scene, by("ann"), command).await;
}

/// `member:remove` is stored once, and is found the second time.
pub async fn member_remove_retried_after_the_effect(fixture: impl StoreFixture) {
    let Place { scene, group, .. } = place(&fixture).await;
    let command = MemberRemove {
        conversation: group,
        id: scene.id(),
        user: user("bob"),
    };
    retried(&fixture, &scene, by("ann"), command).await;
}

/// `member:role` is stored once: handing over ownership twice does not ask for it twice.
pub async fn member_role_retried_after_the_effect(fixture: impl StoreFixture) {
    let Place { scene, group, .. } = place(&fixture).await;
    let command = MemberRole {
        conversation: group,
        id: scene.id(),
        user: user("bob"),
        role: Role::Owner,
    };
    retried(&fixture, &scene, by("ann"), command).await;
}

/// Who was removed since still learns that their message was stored, and nothing else.
pub async fn a_repeated_id_answers_after_its_sender_was_removed(fixture: impl StoreFixture) {
    let Place { scene, group, .. } = place(&fixture).await;
    let message = scene.message(group, "did it arrive?");
    let first = scene.event(by("bob"), message.clone()).await;
    scene.remove(group, "bob").await;
    assert_eq!(scene.duplicate(by("bob"), message.clone()).await.seq, first.seq);
    let mut other = message;
    other.content = Content::text("something else");
    assert_eq!(scene.refusal(by("bob"), other).await, Refusal::NotFound, "no member, no id_conflict");
}

/// Neither deleting a message nor its conversation forgets the ids.
pub async fn a_repeated_id_answers_after_its_message_or_conversation_was_deleted(fixture: impl StoreFixture) {
    let Place { scene, group, .. } = place(&fixture).await;
    let command = scene.message(group, "soon gone");
    let first = scene.event(by("bob"), command.clone()).await;
    scene.delete(first.kind.message().unwrap(), group, "bob").await;
    assert_eq!(scene.duplicate(by("bob"), command.clone()).await.seq, first.seq);
    scene.end(group).await;
    assert_eq!(scene.duplicate(by("bob"), command).await.tag, first.tag);
}

/// A member learns that an id is taken: by other content, another command, another sender.
pub async fn an_id_with_other_content_or_of_another_member_is_a_conflict(fixture: impl StoreFixture) {
    let Place { scene, group, .. } = place(&fixture).await;
    let command = scene.message(group, "mine");
    scene.event(by("bob"), command.clone()).await;
    let log = scene.whole_log(group).await;
    let mut other = command.clone();
    other.content = Content::text("not mine");
    assert_eq!(scene.refusal(by("bob"), other).await, Refusal::IdConflict);
    assert_eq!(scene.refusal(by("ann"), command.clone()).await, Refusal::IdConflict);
    let leave = ConversationLeave {
        conversation: group,
        id: command.id.into(),
    };
    assert_eq!(scene.refusal(by("bob"), leave).await, Refusal::IdConflict);
    assert_eq!(scene.whole_log(group).await, log);
}

/// A stranger cannot find out which ids are taken.
pub async fn a_taken_id_is_not_told_to_strangers(fixture: impl StoreFixture) {
    let Place { scene, group, .. } = place(&fixture).await;
    let command = scene.message(group, "mine");
    scene.event(by("bob"), command.clone()).await;
    assert_eq!(scene.refusal(by("eve"), command.clone()).await, Refusal::NotFound);
    let channel = scene.channel(&["bob"]).await;
    let said = scene.message(channel, "in a public place");
    scene.event(by("bob"), said.clone()).await;
    let join = ConversationJoin {
        conversation: channel,
        id: said.id.into(),
    };
    assert_eq!(scene.refusal(by("eve"), join).await, Refusal::NotFound);
}

/// Nothing is ever compared across conversations.
pub async fn the_same_id_in_another_conversation_is_independent(fixture: impl StoreFixture) {
    let Place { scene, group, .. } = place(&fixture).await;
    let other = scene.group(&["bob"]).await;
    let command = scene.message(group, "here");
    let first = scene.event(by("bob"), command.clone()).await;
    let mut elsewhere = command;
    elsewhere.conversation = other;
    elsewhere.content = Content::text("there");
    let second = scene.event(by("bob"), elsewhere).await;
    assert_eq!(first.id, second.id);
    let first = first.kind.message().unwrap().clone();
    scene.delete(&first, group, "bob").await;
    let kept = scene.entry("bob", other).await.last_message.unwrap();
    assert!(!kept.is_deleted(), "the message of the other conversation is another message");
}

/// A client's retry may land in the same batch as its first attempt.
pub async fn a_repeated_id_inside_one_batch_is_a_duplicate(fixture: impl StoreFixture) {
    let Place { scene, group, .. } = place(&fixture).await;
    let item = scene.item(by("bob"), scene.message(group, "twice"));
    let outcomes = scene.batch(group, vec![item.clone(), item]).await;
    let [Ok(ItemOutcome::First(event)), Ok(ItemOutcome::Duplicate(stored))] = &outcomes[..] else {
        panic!("{outcomes:?}");
    };
    assert_eq!((event.seq, event.tag), (stored.seq, stored.tag));
}

/// Before hooks are asked, the engine looks whether an id is stored.
pub async fn lookup_tells_what_stands_under_an_id(fixture: impl StoreFixture) {
    let Place { scene, group, .. } = place(&fixture).await;
    let item = scene.item(by("bob"), scene.message(group, "here"));
    let id = item.command.id().unwrap();
    assert!(scene.store.lookup(group, id).await.unwrap().value.is_none());
    let Ok(ItemOutcome::First(event)) = scene.append(item.clone()).await else {
        panic!("not stored");
    };
    let prior = scene.store.lookup(group, id).await.unwrap().value.unwrap();
    assert_eq!(prior.actor, by("bob"));
    assert_eq!(prior.fingerprint, Some(item.fingerprint));
    assert_eq!(prior.stored, stored_of(&event));
    let elsewhere = scene.group(&["bob"]).await;
    assert!(scene.store.lookup(elsewhere, id).await.unwrap().value.is_none());
    assert!(scene.store.lookup(scene.conversation_id(), id).await.unwrap().value.is_none());
}

/// The same command on two nodes at once: one stores it, the other tells so.
pub async fn two_attempts_at_the_same_time_are_stored_once(fixture: impl StoreFixture) {
    let Place { scene, group, .. } = place(&fixture).await;
    for _ in 0..20 {
        let item = scene.item(by("bob"), scene.message(group, "once"));
        let (one, other) = (scene.clone(), scene.through(fixture.another()));
        let (first, second) = (item.clone(), item);
        let first = tokio::spawn(async move { one.append(first).await });
        let second = tokio::spawn(async move { other.append(second).await });
        let outcomes = (first.await.unwrap().unwrap(), second.await.unwrap().unwrap());
        match outcomes {
            (ItemOutcome::First(event), ItemOutcome::Duplicate(stored))
            | (ItemOutcome::Duplicate(stored), ItemOutcome::First(event)) => assert_eq!(event.seq, stored.seq),
            other => panic!("{other:?}"),
        }
    }
}
