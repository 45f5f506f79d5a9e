//! What changed since a horizon.

use super::StoreFixture;
use super::scene::{Walk, Scene, by, user};
use chat_core::id::{ConversationId, Position, UserId};
use chat_core::store::{Horizon, InboxChange};
use std::collections::{BTreeMap, BTreeSet};

/// Reads on from a horizon until there is no more for now.
async fn read(
    scene: &Scene,
    horizon: &mut Horizon,
    limit: usize,
) -> (BTreeMap<ConversationId, Position>, BTreeSet<UserId>) {
    let (mut heads, mut users) = (BTreeMap::new(), BTreeSet::new());
    let mut walk = Walk::new();
    loop {
        walk.step();
        let changes = scene.store.heads_changed_since(Some(horizon), limit).await.unwrap().value;
        assert!(changes.heads.len() + changes.users.len() <= 2 * limit, "a page is bounded");
        heads.extend(changes.heads.into_iter().map(|head| (head.conversation, head.position)));
        users.extend(changes.users);
        *horizon = changes.horizon;
        if !changes.more {
            return (heads, users);
        }
    }
}

/// Without a horizon a reader is told where it is now; then which logs grew and whose revision rose.
pub async fn a_horizon_begins_now_and_tells_what_changes(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let (one, two) = (scene.group(&["ann", "bob"]).await, scene.group(&["ann"]).await);
    let now = scene.store.heads_changed_since(None, 100).await.unwrap().value;
    assert!(now.heads.is_empty() && now.users.is_empty() && !now.more);
    let start = now.horizon;

    scene.send_many(one, "ann", 3).await;
    let mut horizon = start.clone();
    let (heads, _) = read(&scene, &mut horizon, 100).await;
    assert_eq!(heads.get(&one), Some(&scene.head(one).await));
    scene.set("bob", one, InboxChange::Muted(true)).await;
    scene.send(two, "ann", "hello").await;
    scene.add(two, "carl").await;
    let (heads, users) = read(&scene, &mut horizon, 100).await;
    assert_eq!(heads.get(&two), Some(&scene.head(two).await));
    assert!(users.contains(&user("bob")) && users.contains(&user("carl")), "{users:?}");
    scene.end(one).await;
    let (heads, users) = read(&scene, &mut horizon, 100).await;
    assert!(heads.contains_key(&one), "the end of a log is a change");
    assert!(users.contains(&user("ann")) && users.contains(&user("bob")));

    // A reader that fell behind, and one on another node, are told all of it.
    let (heads, users) = read(&scene.through(fixture.another()), &mut start.clone(), 100).await;
    assert_eq!(heads.keys().copied().collect::<Vec<_>>(), [one, two]);
    assert_eq!(users, ["ann", "bob", "carl"].map(user).into());
}

/// Much that changed is told in pages.
pub async fn a_horizon_is_read_in_pages(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let mut horizon = scene.store.heads_changed_since(None, 100).await.unwrap().value.horizon;
    let mut expected = BTreeMap::new();
    for _ in 0..20 {
        let group = scene.group(&["ann"]).await;
        expected.insert(group, scene.head(group).await);
    }
    let (heads, users) = read(&scene, &mut horizon, 3).await;
    assert_eq!((heads, users), (expected, [user("ann")].into()));
}

/// However many write at once, and in however small pages it is read: every commit is in some answer, also one that
/// commits late, for a reader on each handle.
pub async fn a_horizon_misses_nothing_however_many_write(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let mut groups = Vec::new();
    for writer in 0..8 {
        groups.push(scene.group(&["ann", &format!("user{writer}")]).await);
    }
    let start = scene.store.heads_changed_since(None, 100).await.unwrap().value.horizon;
    let mut writers = Vec::new();
    for (writer, group) in groups.iter().copied().enumerate() {
        let scene = scene.through(if writer % 2 == 0 { fixture.store() } else { fixture.another() });
        let name = format!("user{writer}");
        writers.push(tokio::spawn(async move {
            for number in 0..20 {
                scene.event(by("ann"), scene.message(group, &number.to_string())).await;
                scene.set(&name, group, InboxChange::Muted(number % 2 == 0)).await;
                tokio::task::yield_now().await;
            }
        }));
    }
    let mut readers = [(fixture.store(), 1), (fixture.another(), 3)].map(|(store, limit)| {
        (scene.through(store), limit, start.clone(), BTreeMap::new(), Revisions::new())
    });
    loop {
        let over = writers.iter().all(tokio::task::JoinHandle::is_finished);
        for (scene, limit, horizon, told, revisions) in &mut readers {
            let (heads, users) = read(scene, horizon, *limit).await;
            told.extend(heads);
            for user in users {
                let revision = scene.revision(user.as_str()).await;
                revisions.insert(user, revision);
            }
        }
        if over {
            break;
        }
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    for (scene, _, _, told, revisions) in readers {
        for (writer, group) in groups.iter().enumerate() {
            assert_eq!(told.get(group), Some(&scene.head(*group).await), "the last change of each log was told");
            let name = format!("user{writer}");
            let now = Some(scene.revision(&name).await);
            assert_eq!(revisions.get(&user(&name)).copied(), now, "the last change of each user was told");
        }
    }
    let (heads, users) = read(&scene, &mut start.clone(), 2).await;
    let all = (0..8).map(|writer| user(&format!("user{writer}"))).collect();
    // Of what changed just before the horizon some may be told too: somebody else's transaction was open then.
    assert!(users.is_superset(&all), "who begins late is told all of it: {users:?}");
    assert!(groups.iter().all(|group| heads.contains_key(group)), "of logs too: {heads:?}");
}

/// The revision that a user had when they were last told of.
type Revisions = BTreeMap<UserId, u64>;
