//! Kinds and members.

use super::StoreFixture;
use super::scene::{Walk, Scene, by, list, user};
use chat_core::command::{ConversationCreate, ConversationUpdate, MemberAdd};
use chat_core::conversation::{ConversationKind, Role};
use chat_core::event::EventKind;
use chat_core::frame::Stored;
use chat_core::id::Seq;
use chat_core::store::{Actor, ItemOutcome, Refusal};
use serde_json::json;
use std::collections::BTreeSet;

async fn create_answer(scene: &Scene, actor: Actor, create: ConversationCreate) -> Stored {
    match scene.append(scene.item(actor, create)).await.unwrap() {
        ItemOutcome::First(event) => super::scene::stored_of(&event),
        ItemOutcome::Duplicate(stored) => stored,
    }
}

/// A direct conversation is found by its unordered pair, under whichever id it is created again.
pub async fn a_direct_conversation_is_found_whichever_side_creates_it(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let first = create_answer(&scene, by("ann"), scene.create(ConversationKind::Direct, &["bob"])).await;
    assert!(!first.duplicate);
    let attempts = [
        ("ann", &["bob"][..]),
        ("bob", &["ann"]),
        ("bob", &["ann", "bob"]),
        ("ann", &["ann", "bob", "bob"]),
    ];
    for (creator, members) in attempts {
        let create = scene.create(ConversationKind::Direct, members);
        let (other, id) = (create.conversation, create.id);
        for _ in 0..2 {
            let again = create_answer(&scene, by(creator), create.clone()).await;
            let expected = Stored {
                duplicate: true,
                ..first
            };
            assert_eq!(again, expected, "{creator} is told the first answer");
        }
        assert!(scene.store.heads(&[other]).await.unwrap().value.is_empty(), "the other id names nothing");
        assert!(scene.store.lookup(other, id).await.unwrap().value.is_none());
    }
    assert_eq!(scene.whole_log(first.conversation).await.len(), 1);
    let another_pair = create_answer(&scene, by("ann"), scene.create(ConversationKind::Direct, &["carl"])).await;
    assert!(!another_pair.duplicate);
}

/// Both sides write to each other for the first time at the same moment, on two nodes.
pub async fn a_direct_conversation_created_by_both_at_once_is_one(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    for number in 0..20 {
        let (one, other) = (format!("ann{number}"), format!("bob{number}"));
        let attempts = [
            (scene.clone(), one.clone(), other.clone()),
            (scene.through(fixture.another()), other, one),
        ];
        let attempts = attempts.map(|(scene, creator, peer)| {
            tokio::spawn(async move {
                let create = scene.create(ConversationKind::Direct, &[&peer]);
                create_answer(&scene, by(&creator), create).await
            })
        });
        let [one, other] = attempts;
        let (one, other) = (one.await.unwrap(), other.await.unwrap());
        assert_eq!((one.conversation, one.id, one.tag), (other.conversation, other.id, other.tag));
        assert!(one.duplicate != other.duplicate, "one of them was first");
    }
}

/// A user alone has notes to self, once.
pub async fn notes_to_self_are_a_direct_conversation_of_one(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let notes = create_answer(&scene, by("ann"), scene.create(ConversationKind::Direct, &[])).await;
    let again = create_answer(&scene, by("ann"), scene.create(ConversationKind::Direct, &["ann"])).await;
    assert_eq!((again.conversation, again.duplicate), (notes.conversation, true));
    let with_bob = create_answer(&scene, by("ann"), scene.create(ConversationKind::Direct, &["bob"])).await;
    assert_ne!(with_bob.conversation, notes.conversation);
    let entry = scene.entry("ann", notes.conversation).await;
    assert_eq!((entry.members.len(), entry.conversation.member_count), (1, 1));
}

/// The host deletes a direct conversation: the pair may begin anew, and the old one's first answer stays.
pub async fn a_direct_conversation_that_was_deleted_makes_place_for_a_new_one(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let create = scene.create(ConversationKind::Direct, &["bob"]);
    let first = create_answer(&scene, by("ann"), create.clone()).await;
    scene.end(first.conversation).await;
    let second = create_answer(&scene, by("bob"), scene.create(ConversationKind::Direct, &["ann"])).await;
    assert!(!second.duplicate && second.conversation != first.conversation);
    let again = create_answer(&scene, by("ann"), create).await;
    assert_eq!((again.conversation, again.duplicate), (first.conversation, true));
    let third = create_answer(&scene, by("ann"), scene.create(ConversationKind::Direct, &["bob"])).await;
    assert_eq!(third.conversation, second.conversation);
}

/// Nobody takes over a conversation by creating it again, and strangers do not learn that it is there.
pub async fn an_existing_conversation_is_a_conflict_for_members_and_not_there_for_others(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    let again = |kind| ConversationCreate {
        conversation: group,
        ..scene.create(kind, &["zoe"])
    };
    for kind in [ConversationKind::Group, ConversationKind::Channel, ConversationKind::Direct] {
        assert!(matches!(scene.refusal(by("bob"), again(kind.clone())).await, Refusal::Conflict(_)));
        assert_eq!(scene.refusal(by("eve"), again(kind)).await, Refusal::NotFound);
    }
    assert_eq!(scene.whole_log(group).await.len(), 1);
}

/// There is one owner: giving ownership makes the giver an admin.
pub async fn ownership_is_handed_over_whole(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob", "carl"]).await;
    let event = scene.set_role(group, "ann", "bob", Role::Owner).await;
    assert!(matches!(event.kind, EventKind::MemberRoleChanged(e) if e.role == Role::Owner));
    assert_eq!(scene.entry("ann", group).await.role, Role::Admin);
    assert_eq!(scene.entry("bob", group).await.role, Role::Owner);
    let leave = chat_core::command::ConversationLeave {
        conversation: group,
        id: scene.id(),
    };
    assert!(matches!(scene.refusal(by("bob"), leave).await, Refusal::Conflict(_)));
    scene.leave(group, "ann").await;
    scene.set_role(group, "bob", "carl", Role::Admin).await;
    scene.set_role(group, "bob", "carl", Role::Owner).await;
    assert_eq!(scene.entry("bob", group).await.role, Role::Admin);
}

/// The host is nobody: its messages have no sender, its conversations no owner unless it names one.
pub async fn what_the_host_makes_has_no_owner_and_no_actor(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let create = scene.create(ConversationKind::Group, &["ann", "bob"]);
    let group = create.conversation;
    let created = scene.event(Actor::System, create).await;
    assert_eq!(created.actor, None);
    let EventKind::ConversationCreated(created) = created.kind else {
        panic!("{created:?}");
    };
    assert!(created.members.iter().all(|member| member.role == Role::Member && member.joined == Seq(1)));
    let said = scene.event(Actor::System, scene.message(group, "welcome")).await;
    assert_eq!((said.actor.clone(), said.kind.message().unwrap().sender.clone()), (None, None));
    assert_eq!(scene.whole_log(group).await[1], said);
    scene.leave(group, "bob").await;
    let (id, user) = (scene.id(), user("ann"));
    let owner = chat_core::command::MemberRole {
        conversation: group,
        id,
        user,
        role: Role::Owner,
    };
    scene.event(Actor::System, owner).await;
    assert_eq!(scene.entry("ann", group).await.role, Role::Owner);
    // An empty public channel, as a server makes one at its start.
    let channel = scene.channel(&[]).await;
    let joined = scene.join(channel, "bob").await;
    assert_eq!(joined.actor.as_ref().map(|user| user.as_str()), Some("bob"));
}

/// The one exception to `not_found`: what a public channel is called, and no member, message or log of it.
pub async fn a_public_channel_shows_itself_to_strangers_and_nothing_more(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let mut create = scene.create(ConversationKind::Channel, &["ann"]);
    (create.public, create.title) = (true, Some("lobby".to_owned()));
    let channel = create.conversation;
    scene.event(Actor::System, create).await;
    scene.send(channel, "ann", "for members").await;
    let view = scene.store.conversation(channel, Some(&user("eve"))).await.unwrap().value.unwrap();
    assert_eq!((view.conversation.title.as_deref(), view.conversation.public), (Some("lobby"), true));
    assert!(view.entry.is_none() && view.members.is_empty());
    assert!(scene.store.members(list(channel, Some("eve"))).await.unwrap().value.is_none());
    assert_eq!(scene.refusal(by("eve"), scene.message(channel, "?")).await, Refusal::NotFound);

    let joined = scene.join(channel, "eve").await;
    assert!(matches!(joined.kind, EventKind::MemberJoined(e) if e.member_count == 2));
    let view = scene.store.conversation(channel, Some(&user("eve"))).await.unwrap().value.unwrap();
    assert_eq!(view.entry, Some(scene.entry("eve", channel).await));
    assert_eq!(view.members.len(), 2);
    scene.end(channel).await;
    assert!(scene.store.conversation(channel, Some(&user("zoe"))).await.unwrap().value.is_none());
}

/// Members come in the order of their ids, each once, former ones not.
pub async fn members_are_listed_in_pages_in_order(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["mia", "zoe", "ann", "Bob", "\u{e4}nne", "carl", "dora"]).await;
    scene.remove(group, "carl").await;
    let mut query = list(group, Some("mia"));
    query.limit = 2;
    let (mut names, mut pages) = (Vec::new(), 0);
    let mut walk = Walk::new();
    loop {
        walk.step();
        let page = scene.store.members(query.clone()).await.unwrap().value.unwrap();
        names.extend(page.members.iter().map(|member| member.user.to_string()));
        pages += 1;
        query.page = page.next;
        if query.page.is_none() {
            break;
        }
    }
    assert_eq!(names, ["Bob", "ann", "dora", "mia", "zoe", "\u{e4}nne"], "user ids are compared byte by byte");
    assert_eq!(pages, 3);
    let host = scene.store.members(list(group, None)).await.unwrap().value.unwrap();
    assert_eq!((host.members.len(), host.next), (6, None));
}

/// A snapshot is bounded; the rest is listed.
pub async fn a_conversation_comes_with_at_most_fifty_members(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann"]).await;
    let add = |number| MemberAdd {
        conversation: group,
        id: scene.id(),
        user: user(&format!("user{number:03}")),
    };
    let items = (0..60).map(|number| scene.item(by("ann"), add(number))).collect();
    scene.batch(group, items).await;
    let view = scene.store.conversation(group, Some(&user("ann"))).await.unwrap().value.unwrap();
    assert_eq!((view.members.len(), view.conversation.member_count), (50, 61));
    assert_eq!(view.entry.unwrap(), scene.entry("ann", group).await);
    let host = scene.store.conversation(group, None).await.unwrap().value.unwrap();
    assert!(host.entry.is_none() && host.members.len() == 50);
}

/// Every event of membership says how many there are after it; the conversation says how many there are now.
pub async fn member_counts_follow_the_log(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    scene.add(group, "carl").await;
    scene.leave(group, "bob").await;
    scene.add(group, "bob").await;
    scene.remove(group, "carl").await;
    let counts: Vec<u64> = scene
        .whole_log(group)
        .await
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::MemberJoined(e) => Some(e.member_count),
            EventKind::MemberLeft(e) => Some(e.member_count),
            EventKind::MemberRemoved(e) => Some(e.member_count),
            _ => None,
        })
        .collect();
    assert_eq!(counts, [3, 2, 3, 2]);
    assert_eq!(scene.entry("ann", group).await.conversation.member_count, 2);
}

/// An update replaces what it names; every event that shows the conversation shows it as it is now.
pub async fn titles_and_meta_change_and_what_is_absent_stays(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let mut create = scene.create(ConversationKind::Group, &[]);
    create.title = Some("old".to_owned());
    create.meta = json!({"a": 1, "b": 2}).as_object().cloned();
    let group = create.conversation;
    scene.event(by("ann"), create).await;
    let update = |title: Option<&str>, meta: Option<serde_json::Value>| ConversationUpdate {
        conversation: group,
        id: scene.id(),
        title: title.map(ToOwned::to_owned),
        meta: meta.and_then(|meta| meta.as_object().cloned()),
    };
    scene.event(by("ann"), update(Some("new"), None)).await;
    let event = scene.event(by("ann"), update(None, Some(json!({"c": 3})))).await;
    let EventKind::ConversationUpdated(updated) = event.kind else {
        panic!("{event:?}");
    };
    assert_eq!(updated.conversation.title.as_deref(), Some("new"));
    assert_eq!(updated.conversation.meta, json!({"c": 3}).as_object().cloned());
    let log = scene.whole_log(group).await;
    let EventKind::ConversationCreated(created) = &log[0].kind else {
        panic!("{:?}", log[0]);
    };
    assert_eq!(created.conversation, updated.conversation);
    assert_eq!(scene.entry("ann", group).await.conversation, updated.conversation);
}

/// Whom one may watch or add: those with whom one is in a conversation now.
pub async fn sharing_is_told_of_current_members_only(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let one = scene.group(&["ann", "bob", "carl"]).await;
    scene.group(&["dora", "carl"]).await;
    let others: Vec<_> = ["bob", "carl", "dora", "nobody"].map(user).into();
    let sharing = async || {
        let told = scene.store.sharing(&user("ann"), &others).await.unwrap();
        told.iter().map(ToString::to_string).collect::<BTreeSet<_>>()
    };
    assert_eq!(sharing().await, BTreeSet::from(["bob".to_owned(), "carl".to_owned()]));
    scene.remove(one, "bob").await;
    assert_eq!(sharing().await, BTreeSet::from(["carl".to_owned()]));
    scene.end(one).await;
    assert!(sharing().await.is_empty());
}
