//! Bad input in commands is answered by the command's number, in a sentence that names what is wrong.

use super::house::House;
use super::rules::refuses;
use super::say::*;
use chat_core::code::ErrorCode;
use chat_core::command::*;
use chat_core::conversation::ConversationKind;
use chat_core::frame::{ErrorFrame, Outcome};
use chat_core::id::{ConversationId, Seq};
use chat_core::message::{Attachment, Content};
use chat_testkit::wire::Wire;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::time::sleep;

/// A command with these data, that may be none.
async fn raw(wire: &mut Wire, command: &str, data: Value) -> Result<Outcome, ErrorFrame> {
    let frame = json!({"type": "command", "req": 7, "command": command, "data": data});
    // Over three seconds apart, protocol errors never add up to a close.
    sleep(Duration::from_millis(3_200)).await;
    wire.say_bytes(frame.to_string().as_bytes()).await;
    wire.answer(7).await
}

/// Refused with this code, in a sentence that names what is wrong.
async fn refused_raw(wire: &mut Wire, command: &str, data: Value, code: ErrorCode, names: &str) {
    let error = raw(wire, command, data.clone()).await.expect_err(&data.to_string());
    assert_eq!(error.code, code, "{data}: {}", error.message);
    assert!(error.message.contains(names), "{data}: {}", error.message);
    assert!(!error.retryable && error.retry_after_ms.is_none(), "{data}");
}

fn of(content: Value) -> Value {
    json!({"conversation": "01890000-0000-7000-8000-000000000001",
           "id": "01890000-0000-7000-8000-000000000002", "content": content})
}

fn object(keys: usize, length: usize) -> Map<String, Value> {
    (0..keys)
        .map(|n| (format!("key {n}"), Value::from("x".repeat(length))))
        .collect()
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!({ "a": inner }))
}

#[tokio::test(start_paused = true)]
async fn a_command_that_is_no_command_is_answered_by_its_number() {
    let house = House::open().await;
    let mut ana = house.guest("ana").await;
    let (unknown, invalid) = (ErrorCode::UnknownCommand, ErrorCode::InvalidArgument);
    refused_raw(&mut ana, "message:fly", json!({}), unknown, "message:fly").await;
    let get = |id: Value| json!({ "conversation": id });
    let good = "0189abcd-0000-7000-8000-000000000001";
    for bad in [
        json!("not a uuid"),
        json!(good.to_uppercase()),
        json!(good.replace('-', "")),
        json!(format!("{{{good}}}")),
        json!("00000000-0000-0000-0000-000000000000"),
        json!(""),
        json!(7),
        json!(null),
        json!([good]),
    ] {
        refused_raw(&mut ana, "conversation:get", get(bad), invalid.clone(), "conversation").await;
    }
    for (data, names) in [
        (json!({}), "conversation"),
        (json!({"conversation": good, "colour": "red"}), "colour"),
        (json!([good]), ""),
        (json!(good), ""),
    ] {
        refused_raw(&mut ana, "conversation:get", data, invalid.clone(), names).await;
    }
    for seq in [
        json!(-1),
        json!(1.0),
        json!("1"),
        json!(9_007_199_254_740_993_u64),
        json!(1e300),
        json!(null),
    ] {
        let data = json!({"conversation": good, "seq": seq});
        refused_raw(&mut ana, "mark:read", data, invalid.clone(), "seq").await;
    }
    for user in [
        json!(""),
        json!("x".repeat(129)),
        json!("tab\there"),
        json!("nul\0"),
        json!(4),
    ] {
        let data = json!({"conversation": good, "id": good, "user": user});
        refused_raw(&mut ana, "member:add", data, invalid.clone(), "user").await;
    }
    let data = json!({"conversation": good, "id": good, "user": "ben", "role": "emperor"});
    refused_raw(&mut ana, "member:role", data, invalid.clone(), "role").await;
    let deep = json!({"conversation": good, "ignored": nested(20)});
    refused_raw(&mut ana, "conversation:get", deep, invalid, "").await;
    group(&mut ana, &[]).await;
}

#[tokio::test(start_paused = true)]
async fn content_is_bounded_and_readable() {
    let house = House::open().await;
    let mut ana = house.guest("ana").await;
    let (invalid, large) = (ErrorCode::InvalidArgument, ErrorCode::TooLarge);
    let file = |name: &str, media_type: &str| json!({"attachments": [{"id": "f1", "name": name, "media_type": media_type, "size": 1}]});
    let files: Vec<Value> = (0..11)
        .map(|n| json!({"id": n.to_string(), "name": "a", "media_type": "a/b", "size": 1}))
        .collect();
    let cases = [
        (json!({}), &invalid, "content"),
        (json!({"text": ""}), &invalid, "content"),
        (json!({"meta": {}}), &invalid, "content"),
        (json!({"text": null}), &invalid, "content"),
        (json!({"text": 7}), &invalid, "text"),
        (json!({"text": "nul \0"}), &invalid, "text"),
        (json!({"text": "bell \u{7}"}), &invalid, "text"),
        (json!({"text": "x".repeat(16 * 1024 + 1)}), &large, "text"),
        (json!({"text": "x", "type": ""}), &invalid, "type"),
        (json!({"text": "x", "type": "x".repeat(65)}), &large, "type"),
        (json!({"text": "x", "html": "<b>"}), &invalid, "html"),
        (json!({"meta": object(33, 1)}), &large, "meta"),
        (json!({"meta": object(2, 3_000)}), &large, "meta"),
        (json!({"meta": {"deep": nested(12)}}), &invalid, ""),
        (json!({"meta": {"n": 9_007_199_254_740_993_u64}}), &invalid, "meta"),
        (json!({"meta": {"nul": "\0"}}), &invalid, "meta"),
        (json!({"meta": [1]}), &invalid, "meta"),
        (json!({ "attachments": files }), &large, "attachments"),
        (file("safe\u{202e}gpj.exe", "a/b"), &invalid, "name"),
        (file("\u{200b}", "a/b"), &invalid, "name"),
        (file(&"x".repeat(256), "a/b"), &large, "name"),
        (file("a", "image"), &invalid, "media_type"),
        (
            json!({"attachments": [{"id": "a", "name": "b", "media_type": "c/d", "size": -1}]}),
            &invalid,
            "size",
        ),
    ];
    for (content, code, names) in cases {
        refused_raw(&mut ana, "message:send", of(content), code.clone(), names).await;
    }
    // What is allowed at the bounds, and stored as it came.
    let group = group(&mut ana, &[]).await;
    let bidi_and_html = "\u{202e}<script>alert(1)</script>\tand\n[links](javascript:1)";
    for words in [
        bidi_and_html.to_owned(),
        "x".repeat(16 * 1024),
        "👩‍👩‍👧‍👦".to_owned(),
        " ".to_owned(),
    ] {
        let (message, _) = say(&mut ana, group, &words).await;
        let page = page_of(ana.ask(history(group)).await);
        let last = page.messages.last().unwrap();
        assert_eq!((last.id, text_of(last)), (message, words.as_str()));
    }
    let mut whole = text(group, "x");
    whole.content = Content {
        kind: "offer".to_owned(),
        text: None,
        attachments: vec![Attachment {
            id: "f1".to_owned(),
            name: "photo.jpg".to_owned(),
            media_type: "image/jpeg".to_owned(),
            size: 1 << 40,
        }],
        meta: Some(object(32, 100)),
    };
    ana.stored(whole.clone()).await;
    let page = page_of(ana.ask(history(group)).await);
    assert_eq!(page.messages.last().unwrap().content, Some(whole.content));
}

#[tokio::test(start_paused = true)]
async fn conversations_are_made_and_changed_within_bounds() {
    let house = House::open().await;
    let mut ana = house.guest("ana").await;
    let (invalid, large) = (ErrorCode::InvalidArgument, ErrorCode::TooLarge);
    let base = || create(ConversationKind::Group, &[]);
    let direct = || create(ConversationKind::Direct, &["ben"]);
    let many: Vec<String> = (0..51).map(|n| format!("user {n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let titled = |title: &str| ConversationCreate {
        title: Some(title.to_owned()),
        ..base()
    };
    let cases: Vec<(ConversationCreate, &ErrorCode)> = vec![
        (titled(""), &invalid),
        (titled(" \u{200b} "), &invalid),
        (titled("abc\u{202e}def"), &invalid),
        (titled("line\nbreak"), &invalid),
        (titled(&"x".repeat(256)), &large),
        (ConversationCreate { public: true, ..base() }, &invalid),
        (
            ConversationCreate {
                meta: Some(object(33, 1)),
                ..base()
            },
            &large,
        ),
        (
            ConversationCreate {
                meta: Some(object(1, 5_000)),
                ..base()
            },
            &large,
        ),
        (create(ConversationKind::Group, &many), &large),
        (create(ConversationKind::Group, &["ben", "ben"]), &invalid),
        (create(ConversationKind::Direct, &["ben", "cy"]), &invalid),
        (
            ConversationCreate {
                title: Some("us".to_owned()),
                ..direct()
            },
            &invalid,
        ),
        (
            ConversationCreate {
                public: true,
                ..direct()
            },
            &invalid,
        ),
        (
            ConversationCreate {
                kind: ConversationKind::from_name("club"),
                ..base()
            },
            &invalid,
        ),
    ];
    for (command, code) in cases {
        refuses(&mut ana, command, code.clone()).await;
    }
    let group = ana
        .stored(create(ConversationKind::Group, &many[..50]))
        .await
        .conversation;
    let update = |title: Option<&str>| ConversationUpdate {
        conversation: group,
        id: fresh(),
        title: title.map(str::to_owned),
        meta: None,
    };
    refuses(&mut ana, update(None), invalid.clone()).await;
    refuses(&mut ana, update(Some("\u{2066}x")), invalid.clone()).await;
    // An id that is taken is a conflict for its members, and nothing to others.
    let again = ConversationCreate {
        conversation: group,
        ..base()
    };
    refuses(&mut ana, again.clone(), ErrorCode::Conflict).await;
    let mut eve = house.guest("eve").await;
    refuses(&mut eve, again, ErrorCode::NotFound).await;
    // A direct conversation with oneself is a note, however it is asked for.
    let alone = ana.stored(create(ConversationKind::Direct, &[])).await.conversation;
    let named = ana.stored(create(ConversationKind::Direct, &["ana"])).await;
    assert_eq!((named.conversation, named.duplicate), (alone, true));
    assert_eq!(entry_of(&mut ana, alone).await.conversation.member_count, 1);
}

#[tokio::test(start_paused = true)]
async fn lists_are_asked_for_within_bounds() {
    let house = House::open().await;
    let mut ana = house.guest("ana").await;
    let group = group(&mut ana, &[]).await;
    let invalid = ErrorCode::InvalidArgument;
    for limit in [Some(0), Some(51)] {
        refuses(&mut ana, InboxList { page: None, limit }, invalid.clone()).await;
        refuses(
            &mut ana,
            MemberList {
                limit,
                ..members(group)
            },
            invalid.clone(),
        )
        .await;
        refuses(
            &mut ana,
            MarkList {
                conversation: group,
                page: None,
                limit,
            },
            invalid.clone(),
        )
        .await;
    }
    for limit in [Some(0), Some(201)] {
        refuses(
            &mut ana,
            HistoryList {
                limit,
                ..history(group)
            },
            invalid.clone(),
        )
        .await;
    }
    let both = HistoryList {
        before: Some(Seq(3)),
        after: Some(Seq(1)),
        ..history(group)
    };
    refuses(&mut ana, both, invalid.clone()).await;
    let token = |text: String| Some(PageToken(text));
    refuses(
        &mut ana,
        InboxList {
            page: token(String::new()),
            limit: None,
        },
        invalid,
    )
    .await;
    refuses(
        &mut ana,
        InboxList {
            page: token("x".repeat(257)),
            limit: None,
        },
        ErrorCode::TooLarge,
    )
    .await;
    // A token that is none of ours is a place like any other.
    for strange in ["x", "~~~", "\u{10ffff}"] {
        assert!(
            ana.ask(InboxList {
                page: token(strange.to_owned()),
                limit: None
            })
            .await
            .is_ok()
        );
        let list = MemberList {
            page: token(strange.to_owned()),
            ..members(group)
        };
        assert!(ana.ask(list).await.is_ok());
    }
    let ahead = |conversation: ConversationId| LogList {
        conversation,
        after: chat_core::id::Position {
            seq: Seq(99),
            tag: chat_core::id::Tag(1),
        },
        limit: None,
    };
    refuses(&mut ana, ahead(group), ErrorCode::Conflict).await;
}
