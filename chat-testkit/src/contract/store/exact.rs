//! Exactly: what is kept comes back as it was, whatever it holds.

use super::StoreFixture;
use super::scene::{Scene, by, list, user};
use chat_core::command::{ConversationUpdate, MessageEdit};
use chat_core::conversation::ConversationKind;
use chat_core::event::EventKind;
use chat_core::id::{ConversationId, Seq};
use chat_core::message::{Attachment, Content, Message};
use chat_core::store::{HistoryQuery, Window};
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
