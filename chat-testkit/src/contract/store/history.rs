//! History: messages before, after and around.

use super::StoreFixture;
use super::scene::{Walk, Scene, by, text_of, user};
use chat_core::conversation::{ConversationKind, HistoryVisibility};
use chat_core::frame::HistoryPage;
use chat_core::id::{ConversationId, Seq};
use chat_core::store::{HistoryQuery, Window};

async fn read(
    scene: &Scene,
    conversation: ConversationId,
    viewer: &str,
    window: Window,
    (limit, bytes): (usize, usize),
) -> HistoryPage {
    let query = HistoryQuery {
        conversation,
        viewer: Some(user(viewer)),
        window,
        limit,
        bytes,
    };
    scene.store.history(query).await.unwrap().value.unwrap()
}

fn texts(page: &HistoryPage) -> Vec<&str> {
    page.messages.iter().map(|message| text_of(message).unwrap_or("gone")).collect()
}

/// Each window holds the messages nearest to its seq, in the order of their seqs, and says whether there are more;
/// what is no message does not count.
pub async fn windows_hold_the_nearest_messages_in_order(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob"]).await; // seq 1
    scene.send_many(group, "ann", 4).await; // 1 to 4 at seqs 2 to 5
    let five = scene.send(group, "bob", "5").await; // seq 6
    scene.react(&five, group, "ann", "+1").await; // seq 7
    scene.add(group, "carl").await; // seq 8
    for text in ["6", "7", "8"] {
        scene.send(group, "ann", text).await; // seqs 9 to 11
    }
    scene.delete(&five, group, "bob").await; // seq 12
    let all = ["1", "2", "3", "4", "gone", "6", "7", "8"];
    let cases: &[(Window, usize, &[&str], bool, bool)] = &[
        (Window::Newest, 50, &all, false, false),
        (Window::Newest, 3, &all[5..], true, false),
        (Window::Before(Seq(9)), 2, &all[3..5], true, true),
        (Window::Before(Seq(4)), 50, &all[..2], false, true),
        (Window::Before(Seq(2)), 50, &[], false, true),
        (Window::Before(Seq(1_000)), 50, &all, false, false),
        (Window::After(Seq(6)), 2, &all[5..7], true, true),
        (Window::After(Seq(9)), 50, &all[6..], true, false),
        (Window::After(Seq(11)), 50, &[], true, false),
        (Window::After(Seq(0)), 1, &all[..1], false, true),
        (Window::Around(Seq(5)), 4, &all[1..5], true, true),
        (Window::Around(Seq(8)), 2, &all[4..6], true, true),
        (Window::Around(Seq(5)), 1, &all[3..4], true, true),
        (Window::Around(Seq(2)), 4, &all[..2], false, true),
        (Window::Around(Seq(11)), 4, &all[5..], true, false),
    ];
    for (window, limit, expected, before, after) in cases {
        let page = read(&scene, group, "ann", *window, (*limit, usize::MAX)).await;
        assert_eq!(texts(&page), *expected, "{window:?} with {limit}");
        assert_eq!((page.more_before, page.more_after), (*before, *after), "{window:?} with {limit}");
        assert_eq!((page.conversation, page.head), (group, scene.head(group).await));
    }
}

/// History begins at the join, or at the first message where history is `all`.
pub async fn history_begins_where_the_viewer_may_see(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    for (history, expected, before) in [
        (HistoryVisibility::Joined, &["late"][..], false),
        (HistoryVisibility::All, &["early", "late"], false),
    ] {
        let mut create = scene.create(ConversationKind::Group, &[]);
        create.history = Some(history);
        let group = create.conversation;
        scene.event(by("ann"), create).await;
        scene.send(group, "ann", "early").await;
        scene.add(group, "bob").await;
        scene.send(group, "ann", "late").await;
        for window in [Window::Newest, Window::Before(Seq(9)), Window::After(Seq(0)), Window::Around(Seq(3))] {
            let page = read(&scene, group, "bob", window, (50, usize::MAX)).await;
            assert_eq!((texts(&page).as_slice(), page.more_before), (expected, before), "{window:?}");
        }
        let nothing_before = read(&scene, group, "bob", Window::Before(Seq(2)), (50, usize::MAX)).await;
        assert!(nothing_before.messages.is_empty() && !nothing_before.more_before);
    }
}

/// A page is bounded in messages and bytes; the nearest are kept, and there is at least one.
pub async fn a_page_of_history_ends_at_its_limit_or_bytes_and_holds_at_least_one_message(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann"]).await;
    for digit in 0..8 {
        scene.send(group, "ann", &digit.to_string().repeat(5_000)).await;
    }
    let firsts = |page: &HistoryPage| texts(page).iter().map(|text| text[..1].to_owned()).collect::<String>();
    for (window, bytes, expected) in [
        (Window::Newest, 1, "7"),
        (Window::Newest, 12_000, "67"),
        (Window::Before(Seq(6)), 12_000, "23"),
        (Window::After(Seq(4)), 12_000, "34"),
        (Window::After(Seq(4)), 0, "3"),
    ] {
        let page = read(&scene, group, "ann", window, (50, bytes)).await;
        assert_eq!(firsts(&page), expected, "{window:?} with {bytes} B");
        assert!(page.more_before);
    }
    let around = read(&scene, group, "ann", Window::Around(Seq(5)), (50, 12_000)).await;
    assert!(firsts(&around).contains('3') && around.messages.len() <= 4, "{}", firsts(&around));
    // From the end to the beginning, page by page, each message once.
    let (mut seen, mut window) = (Vec::new(), Window::Newest);
    let mut walk = Walk::new();
    loop {
        walk.step();
        let page = read(&scene, group, "ann", window, (3, 12_000)).await;
        let first = page.messages.first().unwrap().seq;
        seen.splice(0..0, page.messages.iter().map(|message| message.seq));
        window = Window::Before(first);
        if !page.more_before {
            break;
        }
    }
    assert_eq!(seen, (2..=9).map(Seq).collect::<Vec<_>>());
}

/// Former members read no history, also of the time in which they were members; the host reads everything.
pub async fn history_is_for_members_and_the_host(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    scene.send(group, "ann", "hello").await;
    scene.remove(group, "bob").await;
    let query = |viewer: Option<&str>| HistoryQuery {
        conversation: group,
        viewer: viewer.map(user),
        window: Window::Newest,
        limit: 50,
        bytes: usize::MAX,
    };
    assert!(scene.store.history(query(Some("bob"))).await.unwrap().value.is_none());
    assert_eq!(scene.store.history(query(None)).await.unwrap().value.unwrap().messages.len(), 1);
}
