//! Exactly: what is kept comes back as it was, whatever it holds.

use super::StoreFixture;
use super::scene::{NO_TAG, Scene, assert_chained, by, list, user};
use chat_core::command::{ConversationUpdate, MessageEdit};
use chat_core::conversation::{ConversationKind, Role};
use chat_core::event::EventKind;
use chat_core::id::{ConversationId, Position, Revision, Seq, UserId};
use chat_core::message::{Attachment, Content, Message};
use chat_core::store::{Actor, HistoryQuery, InboxChange, InboxChanged, ItemOutcome, LogRead, Refusal, Window};
use serde_json::{Map, Value, json};

/// Characters at which a store could stumble: quotes, escapes, wildcards, placeholders, other planes, combinations.
const TEXTS: [&str; 12] = [
    "it's \"quoted\" \u{2018}and\u{2019} `ticked`",
    "back\\slash \\' \\\" \\n \\0 \\u0000 \\x00 E'\\\\'",
    "'; DROP TABLE messages; -- /* */",
    "100 % _ ? * $1 :name {} [] ~ ^",
    "tab\tand\nlines\n\n  kept as they are  \n",
    "\u{1f44d}\u{1f3fd} \u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467} \u{1f1e9}\u{1f1ea}",
    "caf\u{e9} is not cafe\u{301}",
    "\u{202e}right to left\u{202c} \u{5d0}\u{5d1} \u{627}\u{628}",
    "\u{feff}\u{fffd}\u{fffe}\u{10ffff}\u{7f}\u{85}\u{2028}",
    "NULL null \\N true 0 -0 1e5",
    " ",
    "\u{df} SS ss I i \u{130} \u{131}",
];

/// The message again by each way that leads to it, from another handle.
async fn everywhere(fixture: &impl StoreFixture, scene: &Scene, group: ConversationId, seq: Seq) -> Vec<Message> {
    let scene = scene.through(fixture.another());
    let event = scene
        .whole_log(group)
        .await
        .into_iter()
        .find(|event| event.seq == seq)
        .unwrap();
    let history = HistoryQuery {
        conversation: group,
        viewer: None,
        window: Window::Around(seq),
        limit: 1,
        bytes: usize::MAX,
    };
    let history = scene.store.history(history).await.unwrap().value.unwrap();
    let mut found = vec![event.kind.message().unwrap().clone()];
    found.extend(history.messages);
    found.extend(
        scene
            .entry("ann", group)
            .await
            .last_message
            .filter(|message| message.seq == seq),
    );
    found
}

/// Sends the content and wants it back, then edits another message into it and wants it back again.
async fn comes_back(fixture: &impl StoreFixture, scene: &Scene, group: ConversationId, content: &Content) {
    let wanted = serde_json::to_string(content).unwrap();
    let mut message = scene.message(group, "");
    message.content = content.clone();
    let sent = scene.event(by("ann"), message).await;
    let draft = scene.send(group, "ann", "a draft").await;
    let edit = MessageEdit {
        conversation: group,
        id: scene.id(),
        message: draft.id,
        version: Some(1),
        content: content.clone(),
    };
    let edited = scene.event(by("ann"), edit).await;
    let mut found = vec![
        sent.kind.message().unwrap().clone(),
        edited.kind.message().unwrap().clone(),
    ];
    found.extend(everywhere(fixture, scene, group, sent.seq).await);
    found.extend(everywhere(fixture, scene, group, draft.seq).await);
    assert_eq!(found.len(), 7);
    for message in found {
        let found = message.content.unwrap();
        assert_eq!(&found, content);
        // As text too: by value -0.0 equals 0.0.
        assert_eq!(serde_json::to_string(&found).unwrap(), wanted);
    }
}

/// A text is bytes: no character is special, none is changed, and 16 KiB are not too many.
pub async fn texts_of_any_characters_come_back_as_they_were_sent(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann"]).await;
    for text in TEXTS {
        let content = Content {
            kind: text.replace(char::is_control, " ").chars().take(16).collect(),
            attachments: vec![Attachment {
                id: text.to_owned(),
                name: text.to_owned(),
                media_type: "image/svg+xml; charset=\"utf-8\"".to_owned(),
                size: (1 << 53) - 1,
            }],
            meta: json!({ text: { text: [text] } }).as_object().cloned(),
            ..Content::text(text)
        };
        comes_back(&fixture, &scene, group, &content).await;
    }
    for long in [
        "x".repeat(16 * 1024),
        "\u{1f600}".repeat(4 * 1024),
        "\\\"".repeat(8 * 1024),
    ] {
        comes_back(&fixture, &scene, group, &Content::text(long)).await;
    }
    for (index, emoji) in TEXTS
        .iter()
        .map(|text| text.chars().take(8).collect::<String>())
        .enumerate()
    {
        let message = scene.send(group, "ann", "react!").await;
        let event = scene.react(&message, group, "ann", &emoji).await;
        assert_eq!(event.kind.message().unwrap().reactions[0].emoji, emoji);
        let told = scene
            .store
            .reactions(list(group, None), message.id, &emoji)
            .await
            .unwrap()
            .value
            .unwrap();
        assert_eq!(told.users.len(), 1);
        let other = TEXTS[(index + 1) % TEXTS.len()];
        let told = scene
            .store
            .reactions(list(group, None), message.id, other)
            .await
            .unwrap()
            .value
            .unwrap();
        assert!(told.users.is_empty());
    }
    let likes = scene.send(group, "ann", "like or like not").await;
    for emoji in ["e", "E", "\u{e9}", "e\u{301}", "e "] {
        scene.react(&likes, group, "ann", emoji).await;
    }
    assert_eq!(
        scene.entry("ann", group).await.last_message.unwrap().reactions.len(),
        5,
        "each is another one"
    );
}

/// Titles, meta and display data too.
pub async fn titles_meta_and_display_data_come_back_as_they_were_given(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let (other, ann) = (scene.through(fixture.another()), user("ann"));
    let mut create = scene.create(ConversationKind::Group, &["bob"]);
    (create.title, create.meta) = (Some(TEXTS[0].to_owned()), Some(Map::new()));
    let group = create.conversation;
    let created = scene.event(by("ann"), create).await;
    let EventKind::ConversationCreated(created) = created.kind else {
        panic!("{created:?}");
    };
    assert_eq!(created.conversation, scene.entry("ann", group).await.conversation);
    assert_eq!(
        (created.conversation.title.as_deref(), created.conversation.meta),
        (Some(TEXTS[0]), Some(Map::new()))
    );
    for text in TEXTS {
        let meta = json!({ text: text, "at": [text, -0.0, u64::MAX, null] });
        let update = ConversationUpdate {
            conversation: group,
            id: scene.id(),
            title: Some(text.to_owned()),
            meta: meta.as_object().cloned(),
        };
        scene.event(by("ann"), update).await;
        assert!(scene.store.put_display(&ann, &meta).await.unwrap());
        assert!(
            !other.store.put_display(&ann, &meta).await.unwrap(),
            "it is there, as it was given"
        );
        let view = other
            .store
            .conversation(group, Some(&ann))
            .await
            .unwrap()
            .value
            .unwrap();
        assert_eq!(view.conversation.title.as_deref(), Some(text));
        let shown = [
            view.conversation.meta.map(Value::Object),
            view.members[0].display.clone(),
        ];
        assert_eq!(
            shown.map(|shown| shown.unwrap().to_string()),
            [meta.to_string(), meta.to_string()]
        );
    }
    for display in [json!(null), json!({}), json!("text"), json!([1.0, -5]), json!(false)] {
        assert!(scene.store.put_display(&ann, &display).await.unwrap());
        let members = other
            .store
            .members(list(group, None))
            .await
            .unwrap()
            .value
            .unwrap()
            .members;
        assert_eq!(members[0].display.as_ref(), Some(&display), "{display}");
    }
}

/// Nothing and an empty map are two things, and so are no text and an empty one.
pub async fn what_is_empty_is_told_from_what_is_absent(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann"]).await;
    let full = json!({ "k": {}, "l": [], "m": "", "n": null }).as_object().cloned();
    for (text, meta) in [
        (Some("text"), None),
        (Some("text"), Some(Map::new())),
        (Some("text"), full.clone()),
        (Some(""), full.clone()),
        (None, full),
    ] {
        let content = Content {
            text: text.map(str::to_owned),
            meta,
            ..Content::text("")
        };
        comes_back(&fixture, &scene, group, &content).await;
    }
}

/// Numbers keep their value to the last bit, and whether they were written with a point.
pub async fn numbers_in_meta_come_back_as_they_were_sent(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    let group = scene.group(&["ann"]).await;
    let meta = json!({
        "whole": [0, 1, -1, u64::MAX, i64::MAX, i64::MIN, (1_u64 << 53) + 1],
        "pointed": [1.0, -0.0, 0.0, 1e300, -1e300, 1e-300, f64::MAX, f64::MIN_POSITIVE, 5e-324],
        "long": [0.1 + 0.2, 1.0 / 3.0, std::f64::consts::PI, 123_456_789.123_456_79, 9_007_199_254_740_993.0],
    });
    let content = Content {
        meta: meta.as_object().cloned(),
        ..Content::text("numbers")
    };
    comes_back(&fixture, &scene, group, &content).await;
}

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
