//! Bad input is answered as written down, and the same server serves a healthy client right after.

use super::house::House;
use super::say::*;
use chat_core::code::{CloseCode, ErrorCode};
use chat_core::codec::Codec;
use chat_core::command::*;
use chat_core::conversation::{ConversationKind, Role};
use chat_core::frame::{ClientFrame, ErrorFrame, Outcome, Resume, ServerFrame};
use chat_core::id::{ConversationId, Seq};
use chat_core::message::{Attachment, Content};
use chat_testkit::transport::Dial;
use chat_testkit::wire::{Memory, Wire, events};
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

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

async fn refuses(wire: &mut Wire, command: impl Into<Command>, code: ErrorCode) {
    sleep(Duration::from_millis(3_200)).await;
    let command = command.into();
    let name = format!("{command:?}");
    let error = wire.ask(command).await.expect_err(&name);
    assert_eq!(error.code, code, "{name}: {}", error.message);
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
async fn members_are_bounded_and_moved_by_the_rules() {
    let house = House::limited(|limits| {
        limits.rules.group_members_max = 4;
        limits.rules.inbox_max = 3;
    })
    .await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let (conflict, full) = (ErrorCode::Conflict, ErrorCode::LimitExceeded);
    refuses(
        &mut ana,
        create(ConversationKind::Group, &["b", "c", "d", "e"]),
        full.clone(),
    )
    .await;
    let group = group(&mut ana, &["ben", "cy", "di"]).await;
    refuses(&mut ana, add(group, "eve"), full.clone()).await;
    refuses(&mut ana, add(group, "ben"), conflict.clone()).await;
    refuses(&mut ana, remove(group, "eve"), ErrorCode::NotFound).await;
    refuses(&mut ana, role(group, "eve", Role::Admin), ErrorCode::NotFound).await;
    refuses(&mut ana, remove(group, "ana"), conflict.clone()).await;
    refuses(&mut ana, role(group, "ben", Role::Member), conflict.clone()).await;
    refuses(&mut ana, role(group, "ana", Role::Member), conflict.clone()).await;
    refuses(&mut ana, leave(group), conflict.clone()).await;
    refuses(&mut ben, join(group), conflict.clone()).await;
    ana.stored(remove(group, "di")).await;
    ana.stored(add(group, "eve")).await;
    // A user has room for so many conversations, whoever adds them.
    for _ in 0..2 {
        super::say::group(&mut ben, &[]).await;
    }
    refuses(&mut ben, create(ConversationKind::Group, &[]), full.clone()).await;
    let own = super::say::group(&mut ana, &[]).await;
    refuses(&mut ana, add(own, "ben"), full).await;
    ben.stored(leave(group)).await;
    ana.stored(add(own, "ben")).await;
}

#[tokio::test(start_paused = true)]
async fn messages_are_changed_by_the_rules() {
    let house = House::open().await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let group = group(&mut ana, &["ben"]).await;
    let elsewhere = super::say::group(&mut ana, &["ben"]).await;
    let (mine, _) = say(&mut ana, group, "mine").await;
    let (theirs, _) = say(&mut ben, group, "theirs").await;
    let (foreign, _) = say(&mut ana, elsewhere, "elsewhere").await;
    let reply = |to| MessageSend {
        reply_to: Some(to),
        ..text(group, "re")
    };
    let (not_found, gone) = (ErrorCode::NotFound, ErrorCode::Gone);
    // Nobody edits another's, only an admin deletes it; what is not in this conversation is not there.
    refuses(&mut ana, edit(group, theirs, "x"), ErrorCode::Forbidden).await;
    refuses(&mut ben, delete(group, mine), ErrorCode::Forbidden).await;
    for message in [foreign, fresh_message()] {
        refuses(&mut ana, edit(group, message, "x"), not_found.clone()).await;
        refuses(&mut ana, delete(group, message), not_found.clone()).await;
        refuses(&mut ana, react(group, message, "x"), not_found.clone()).await;
        refuses(&mut ana, reply(message), not_found.clone()).await;
    }
    // A stale version says which one is current.
    ana.stored(MessageEdit {
        version: Some(1),
        ..edit(group, mine, "two")
    })
    .await;
    let stale = MessageEdit {
        version: Some(1),
        ..edit(group, mine, "three")
    };
    let error = ana.refused(stale).await;
    assert_eq!(
        (error.code, error.version, error.retryable),
        (ErrorCode::VersionConflict, Some(2), false)
    );
    // Reactions: once, and taken away once.
    let unreact = |emoji: &str| ReactionRemove {
        conversation: group,
        id: fresh(),
        message: mine,
        emoji: emoji.to_owned(),
    };
    for emoji in ["", "\n"] {
        refuses(&mut ben, react(group, mine, emoji), ErrorCode::InvalidArgument).await;
    }
    refuses(&mut ben, react(group, mine, &"x".repeat(33)), ErrorCode::TooLarge).await;
    refuses(&mut ben, unreact("👍"), not_found.clone()).await;
    ben.stored(react(group, mine, "👍")).await;
    refuses(&mut ben, react(group, mine, "👍"), ErrorCode::Conflict).await;
    ben.stored(unreact("👍")).await;
    for n in 0..50 {
        ana.stored(react(group, mine, &n.to_string())).await;
        sleep(Duration::from_millis(50)).await;
    }
    refuses(&mut ana, react(group, mine, "one too many"), ErrorCode::LimitExceeded).await;
    ben.stored(react(group, mine, "7")).await;
    // A tombstone takes nothing more; it may still be answered, for it was there.
    ana.stored(delete(group, mine)).await;
    refuses(&mut ana, edit(group, mine, "x"), gone.clone()).await;
    refuses(&mut ana, delete(group, mine), gone.clone()).await;
    refuses(&mut ben, react(group, mine, "👍"), gone.clone()).await;
    refuses(&mut ben, unreact("7"), gone).await;
    ben.stored(reply(mine)).await;
    // An id that is taken is a conflict, whatever took it.
    let taken = MessageSend {
        id: mine,
        ..text(group, "other")
    };
    refuses(&mut ana, taken.clone(), ErrorCode::IdConflict).await;
    refuses(&mut ben, taken, ErrorCode::IdConflict).await;
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

/// What ends a connection at once: the code, and that the next client is served within the second.
async fn closes(house: &House, dial: Dial, hello: bool, frames: &[&[u8]], code: CloseCode) {
    let mut wire = Wire::dial(&house.connector, dial).await;
    if hello {
        wire.hello(Memory::hello_of("ana")).await;
        wire.resume(Resume::default()).await;
    }
    for frame in frames {
        wire.say_bytes(frame).await;
    }
    let since = Instant::now();
    let (heard, ending) = wire.ending().await;
    let (heard_code, reason) = ending.expect("a word is said");
    let shown = String::from_utf8_lossy(frames.first().unwrap_or(&&b""[..])).into_owned();
    assert_eq!(heard_code, code, "{shown:?}: {reason}");
    assert!(
        reason.is_ascii() && !reason.is_empty() && reason.len() <= 123,
        "{reason}"
    );
    assert!(
        heard.iter().all(|frame| !matches!(frame, ServerFrame::Error(_))),
        "{heard:?}"
    );
    assert!(since.elapsed() <= Duration::from_secs(6));
    let mut healthy = house.guest("healthy").await;
    assert!(
        healthy
            .ask(InboxList {
                page: None,
                limit: None
            })
            .await
            .is_ok()
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_closes_4500_and_the_next_client_is_served() {
    let house = House::open().await;
    let json: [&[u8]; 16] = [
        b"",
        b"null",
        b"42",
        b"[]",
        b"\"hello\"",
        b"{",
        b"{\"type\":\"ping\"} ,",
        b"{\"type\":\"ping\"}{\"type\":\"ping\"}",
        b"\xef\xbb\xbf{\"type\":\"ping\"}",
        b"{\"type\":\"ping\",\"type\":\"pong\"}",
        b"{\"type\":\"command\",\"command\":\"typing\",\"data\":{}}",
        b"{\"type\":\"command\",\"req\":-1,\"command\":\"typing\",\"data\":{}}",
        b"{\"type\":\"command\",\"req\":1.5,\"command\":\"typing\",\"data\":{}}",
        b"{\"type\":\"flight\"}",
        b"{\"type\":\"ping\",\"x\":\"\\ud800\"}",
        b"\xff\xfe",
    ];
    for bytes in json {
        closes(&house, Dial::default(), true, &[bytes], CloseCode::Malformed).await;
    }
    // A map of one that declares gigabytes; a string longer than what is left; a truncated map; an unknown byte.
    let packed: [&[u8]; 5] = [
        b"\x81\xdb\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xa4ty",
        b"\xc1",
        b"\xdd\x7f\xff\xff\xff",
    ];
    for bytes in packed {
        closes(
            &house,
            Dial::new(Codec::MessagePack),
            true,
            &[bytes],
            CloseCode::Malformed,
        )
        .await;
    }
    let deep = ["[".repeat(5_000), "]".repeat(5_000)].concat();
    closes(&house, Dial::default(), true, &[deep.as_bytes()], CloseCode::Malformed).await;
}

#[tokio::test(start_paused = true)]
async fn hello_comes_first_in_time_and_once() {
    let house = House::open().await;
    let typing = ClientFrame::Command {
        req: 1,
        command: Typing {
            conversation: fresh_conversation(),
            active: true,
        }
        .into(),
    };
    let typing = Codec::Json.encode(&typing);
    closes(&house, Dial::default(), false, &[&typing], CloseCode::NotAuthenticated).await;
    closes(
        &house,
        Dial::default(),
        false,
        &[br#"{"type":"ping"}"#],
        CloseCode::NotAuthenticated,
    )
    .await;
    closes(&house, Dial::default(), false, &[], CloseCode::AuthTimeout).await;
    let hello = Codec::Json.encode(&ClientFrame::Hello(Memory::hello_of("ana")));
    closes(
        &house,
        Dial::default(),
        true,
        &[&hello],
        CloseCode::AlreadyAuthenticated,
    )
    .await;
    // Without a name, with one that shows nothing, with what is too long: what it says cannot be read.
    for hello in [
        json!({"type": "hello", "guest": ""}),
        json!({"type": "hello", "guest": "\u{200b}"}),
        json!({"type": "hello", "guest": "x".repeat(65)}),
        json!({"type": "hello", "guest": "ana", "device": "x".repeat(65)}),
        json!({"type": "hello", "guest": "ana", "attempt": "1"}),
    ] {
        closes(
            &house,
            Dial::default(),
            false,
            &[hello.to_string().as_bytes()],
            CloseCode::Malformed,
        )
        .await;
    }
    closes(
        &house,
        Dial::default(),
        false,
        &[br#"{"type":"hello"}"#],
        CloseCode::AuthFailed,
    )
    .await;
    let long = json!({"type": "hello", "guest": "ana", "token": "x".repeat(8 * 1024)}).to_string();
    closes(&house, Dial::default(), false, &[long.as_bytes()], CloseCode::TooBig).await;
}

#[tokio::test(start_paused = true)]
async fn floods_and_silence_end_with_their_own_codes() {
    let house = House::open().await;
    let pings = vec![&br#"{"type":"ping"}"#[..]; 21];
    closes_lately(&house, &pings, CloseCode::RateLimited).await;
    // A client that says nothing is asked after 25 s, and given up 10 s later.
    let mut silent = Wire::dial(&house.connector, Dial::default()).await;
    silent.hello(Memory::hello_of("ana")).await;
    silent.resume(Resume::default()).await;
    let since = Instant::now();
    sleep(Duration::from_secs(36)).await;
    let ending = silent.pipe().recv().await;
    assert!(
        !matches!(ending, chat_testkit::transport::Heard::Lost),
        "it is asked first"
    );
    assert_eq!(silent.closed().await, CloseCode::HeartbeatTimeout);
    assert_eq!(since.elapsed().as_secs(), 36);
    // Resume frames that bring nothing, or come when all is said.
    let empty = br#"{"type":"resume"}"#;
    let mut wire = Wire::dial(&house.connector, Dial::default()).await;
    wire.hello(Memory::hello_of("ana")).await;
    wire.say_bytes(empty).await;
    assert_eq!(wire.closed().await, CloseCode::Malformed);
    let mut late = house.guest("ana").await;
    late.say_bytes(br#"{"type":"resume","last":true}"#).await;
    match late.next().await {
        ServerFrame::Error(error) => assert_eq!((error.req, error.code), (None, ErrorCode::InvalidArgument)),
        other => panic!("{other:?}"),
    }
}

async fn closes_lately(house: &House, frames: &[&[u8]], code: CloseCode) {
    let mut wire = house.guest("ana").await;
    for frame in frames {
        wire.say_bytes(frame).await;
    }
    assert_eq!(wire.closed().await, code);
}

#[tokio::test(start_paused = true)]
async fn the_twenty_first_connection_of_a_user_is_refused_and_the_others_stay() {
    let house = House::limited(|limits| limits.handshakes_per_address = 1_000).await;
    let mut wires = Vec::new();
    for _ in 0..20 {
        wires.push(house.guest("ana").await);
    }
    let mut one_more = Wire::dial(&house.connector, Dial::default()).await;
    one_more.say(&ClientFrame::Hello(Memory::hello_of("ana"))).await;
    assert_eq!(one_more.closed().await, CloseCode::ConnectionLimit);
    let group = group(&mut wires[0], &[]).await;
    house.fill(group, 1).await;
    for wire in &mut wires {
        let frames = wire.drain().await;
        assert_eq!(told_all(events(&frames)), ["new 1"]);
    }
    wires.pop();
    sleep(Duration::from_secs(1)).await;
    house.guest("ana").await;
}
