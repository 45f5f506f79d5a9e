//! Names and numbers: every user id, tag and number is what it is, however odd or large.

use super::StoreFixture;
use super::scene::{NO_TAG, Scene, assert_chained, by, list, user};
use chat_core::command::MessageEdit;
use chat_core::conversation::{ConversationKind, Role};
use chat_core::id::{Position, Revision, Seq, UserId};
use chat_core::message::Content;
use chat_core::store::{Actor, HistoryQuery, InboxChange, InboxChanged, ItemOutcome, LogRead, Refusal, Window};

/// A user is a string of bytes: no case, no collation, no normal form makes two of them one or changes their order.
pub async fn users_are_told_apart_and_ordered_byte_by_byte(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let long = |last: char| format!("{}{last}", "\u{1f600}".repeat(31));
    let names = [
        "ann",
        "Ann",
        "ANN",
        "ann ",
        "a",
        "B",
        "b",
        "Z",
        "_",
        "%",
        "-",
        "a-b",
        "ab",
        "a b",
        "10",
        "9",
        "\u{e4}",
        "a\u{308}",
        "z",
        "\u{df}",
        "ss",
        "o'neil",
        "\\",
        "\"",
        "\u{4e00}",
        "\u{ffff}",
        "\u{10ffff}",
        "null",
    ];
    let mut names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    names.extend([
        long('a'),
        long('b'),
        "x".repeat(UserId::BYTES_MAX),
        format!("{}y", "x".repeat(127)),
    ]);
    let create = scene.create(
        ConversationKind::Group,
        &names[1..].iter().map(String::as_str).collect::<Vec<_>>(),
    );
    let group = create.conversation;
    scene.event(by("ann"), create).await;
    let message = scene.send(group, "ann", "react!").await;
    for name in &names {
        scene.react(&message, group, name, "+1").await;
    }
    let mut sorted: Vec<UserId> = names.iter().map(|name| UserId::new(name).unwrap()).collect();
    sorted.sort_unstable_by(|one, other| one.as_str().as_bytes().cmp(other.as_str().as_bytes()));

    let (mut members, mut marks, mut reactions) = (Vec::new(), Vec::new(), Vec::new());
    let store = fixture.another();
    let pages = [(); 3].map(|()| {
        let mut query = list(group, Some("ann"));
        query.limit = 5;
        query
    });
    let [mut of_members, mut of_marks, mut of_reactions] = pages;
    for _ in 0..names.len().div_ceil(5) {
        let page = store.members(of_members.clone()).await.unwrap().value.unwrap();
        members.extend(page.members.into_iter().map(|member| member.user));
        of_members.page = page.next;
        let page = store.marks(of_marks.clone()).await.unwrap().value.unwrap();
        marks.extend(page.marks.into_iter().map(|marks| marks.user));
        of_marks.page = page.next;
        let page = store
            .reactions(of_reactions.clone(), message.id, "+1")
            .await
            .unwrap()
            .value
            .unwrap();
        reactions.extend(page.users);
        of_reactions.page = page.next;
        let tokens = [&of_members.page, &of_marks.page, &of_reactions.page];
        assert!(
            tokens.into_iter().flatten().all(|token| token.0.len() <= 256),
            "a token travels"
        );
    }
    assert_eq!(members, sorted);
    assert_eq!(marks, sorted);
    assert_eq!(reactions, sorted);
    let shown: Vec<_> = scene.entry("ann", group).await.last_message.unwrap().reactions;
    assert_eq!((shown.len(), shown[0].count), (1, names.len() as u64));

    scene.remove(group, "Ann").await;
    assert_eq!(
        scene.refusal(by("Ann"), scene.message(group, "?")).await,
        Refusal::NotFound
    );
    assert_eq!(scene.entry("ann", group).await.role, Role::Owner);
    assert!(store.entries(&user("Ann"), &[group]).await.unwrap().value.is_empty());
    let everybody: Vec<UserId> = sorted.iter().filter(|user| user.as_str() != "ann").cloned().collect();
    let sharing = store.sharing(&user("ann"), &everybody).await.unwrap();
    assert_eq!(sharing.len(), everybody.len() - 1, "all but the one who is gone");
    // The pair of a direct conversation is one of bytes, too.
    let (one, other) = (
        scene.create(ConversationKind::Direct, &["ANN"]),
        scene.create(ConversationKind::Direct, &["ann "]),
    );
    scene.event(by("ann"), one).await;
    scene.event(by("ann"), other).await;
}

/// A tag uses all of its 64 bits: wherever it is told it is the same, also above the signed numbers.
pub async fn tags_of_every_value_come_back_as_they_are(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann"]).await;
    let other = scene.through(fixture.another());
    let ann = user("ann");
    let (mut high, mut before) = (
        0,
        Position {
            seq: Seq(1),
            tag: scene.head(group).await.tag,
        },
    );
    for number in 0..24 {
        let horizon = other.store.heads_changed_since(None, 10).await.unwrap().value.horizon;
        let event = scene.event(by("ann"), scene.message(group, &number.to_string())).await;
        let position = event.position();
        assert_eq!(assert_chained(before, std::slice::from_ref(&event)), position);
        let memberships = other.store.memberships(&ann, None).await.unwrap().value.memberships;
        let changes = other.store.heads_changed_since(Some(&horizon), 10).await.unwrap().value;
        let history = HistoryQuery {
            conversation: group,
            viewer: None,
            window: Window::Newest,
            limit: 1,
            bytes: usize::MAX,
        };
        let page = other.page(group, Some("ann"), event.seq.0).await;
        let told = [
            page.head,
            Position {
                seq: event.seq,
                tag: page.after,
            },
            other.page(group, None, before.seq.0).await.items[0].position(),
            other.head(group).await,
            other.entry("ann", group).await.head,
            memberships[0].head,
            changes.heads.last().unwrap().position,
            other.store.history(history).await.unwrap().value.unwrap().head,
        ];
        assert_eq!(told, [position; 8]);
        let prior = other.store.lookup(group, event.id).await.unwrap().value.unwrap();
        assert_eq!((prior.stored.seq, prior.stored.tag), (event.seq, event.tag));
        high += u32::from(event.tag.0 >> 63 == 1);
        before = position;
    }
    assert!(
        (1..24).contains(&high),
        "some tags have the highest bit set, and some have not"
    );
    let joined = scene.add(group, "bob").await;
    let page = other.page(group, Some("bob"), 0).await;
    assert_eq!(
        (page.after, page.items[0].position()),
        (NO_TAG, before),
        "a skip has the tag at its end"
    );
    assert_eq!(page.head, joined.position());
}

/// Numbers that no log reaches are answered, not stumbled over.
pub async fn numbers_at_their_bounds_are_answered(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann", "bob"]).await;
    let message = scene.send(group, "ann", "only this").await;
    let signed = u64::try_from(i64::MAX).unwrap();
    for number in [(1 << 53) - 1, signed, signed + 1, u64::MAX - 1, u64::MAX] {
        for viewer in [None, Some("bob")] {
            assert!(matches!(scene.read_log(group, viewer, number).await, LogRead::Ahead));
            let windows = [
                Window::Before(Seq(number)),
                Window::After(Seq(number)),
                Window::Around(Seq(number)),
            ];
            for (window, count) in windows.into_iter().zip([1, 0, 1]) {
                let query = HistoryQuery {
                    conversation: group,
                    viewer: viewer.map(super::scene::user),
                    window,
                    limit: usize::MAX,
                    bytes: usize::MAX,
                };
                let page = scene.store.history(query).await.unwrap().value.unwrap();
                assert_eq!(page.messages.len(), count, "{window:?}");
            }
        }
        for ahead in [InboxChange::Read(Seq(number)), InboxChange::Delivered(Seq(number))] {
            assert_eq!(scene.set("bob", group, ahead).await, InboxChanged::Ahead);
        }
        let after = Some(Revision(number));
        let told = scene.store.memberships(&user("bob"), after).await.unwrap().value;
        assert!(told.memberships.is_empty() && told.revision > Revision::ZERO);
        let edit = MessageEdit {
            conversation: group,
            id: scene.id(),
            message: message.id,
            version: Some(number),
            content: Content::text("never"),
        };
        assert_eq!(scene.refusal(by("ann"), edit).await, Refusal::VersionConflict(1));
    }
    let unbounded = scene.log_page(group, None, 0, (usize::MAX, usize::MAX)).await;
    assert!(matches!(unbounded, LogRead::Page(page) if page.items.len() == 2));
    let mut query = list(group, None);
    query.limit = usize::MAX;
    assert_eq!(
        scene
            .store
            .members(query.clone())
            .await
            .unwrap()
            .value
            .unwrap()
            .members
            .len(),
        2
    );
    assert_eq!(
        scene
            .store
            .marks(query.clone())
            .await
            .unwrap()
            .value
            .unwrap()
            .marks
            .len(),
        2
    );
    let reactions = scene
        .store
        .reactions(query, message.id, "+1")
        .await
        .unwrap()
        .value
        .unwrap();
    assert!(reactions.users.is_empty());
    let inbox = scene
        .store
        .inbox(&user("ann"), None, usize::MAX, usize::MAX)
        .await
        .unwrap()
        .value;
    assert_eq!(inbox.entries.len(), 1);
    assert!(
        scene
            .store
            .heads_changed_since(None, usize::MAX)
            .await
            .unwrap()
            .value
            .heads
            .is_empty()
    );
    let send = scene.item(Actor::System, scene.message(group, "and on it goes"));
    assert!(matches!(scene.append(send).await, Ok(ItemOutcome::First(event)) if event.seq == Seq(3)));
}
