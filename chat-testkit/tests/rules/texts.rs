//! Rows of characters: what cannot be stored, what cannot be shown as a name, and what is stored as it came.

use crate::line::Heard;
use crate::row::{Row, command, story};
use crate::stage::Stage;
use serde_json::{Map, Value, json};

// One row a line: it is a table.
#[rustfmt::skip]
pub fn rows() -> Vec<Row> {
    let control =
        |name: &str, to: &str, data: Value, names| command("text.controls", name, to, data, "invalid_argument", names);
    let in_text = |name: &str, text: &str| control(name, "message:send", say(json!({ "text": text })), "content.text");
    let titled = |title: &str| json!({"conversation": "$group", "id": "$new", "title": title});
    let file = |name: &str, media_type: &str| {
        say(json!({"attachments": [{"id": "f1", "name": name, "media_type": media_type, "size": 1}]}))
    };
    let no_title = |name: &str, title: &str| {
        command(
            "text.names",
            name,
            "conversation:update",
            titled(title),
            "invalid_argument",
            "title",
        )
    };
    let large = |name: &str, to: &str, data: Value, names| command("text.large", name, to, data, "too_large", names);
    let empty = |name: &str, content: Value| {
        command(
            "content.empty",
            name,
            "message:send",
            say(content),
            "invalid_argument",
            "content",
        )
    };
    let media = |name: &str, media_type: &str| {
        command(
            "content.attachment",
            name,
            "message:send",
            file("a", media_type),
            "invalid_argument",
            "media_type",
        )
    };
    let meta = |name: &str, meta: Value, answer| {
        command(
            "content.meta",
            name,
            "message:send",
            say(json!({ "meta": meta })),
            answer,
            "",
        )
    };
    let shape = |name: &str, data: Value, names| {
        command(
            "conversation.shape",
            name,
            "conversation:create",
            data,
            "invalid_argument",
            names,
        )
    };
    let react = |emoji: &str| json!({"conversation": "$group", "id": "$new", "message": "$anas", "emoji": emoji});
    vec![
        in_text("NUL", "nul \0"),
        in_text("NUL alone", "\0"),
        in_text("a bell", "bell \u{7}"),
        in_text("an escape of a terminal", "\u{1b}[31mred"),
        in_text("a carriage return", "one\r\ntwo"),
        in_text("the last below the space", "\u{1f}"),
        control("NUL in an edit", "message:edit", json!({"conversation": "$group", "id": "$new", "message": "$anas", "content": {"text": "\0"}}), "content.text"),
        control("NUL in a value of meta", "message:send", say(json!({"meta": {"a": "\0"}})), "meta"),
        control("NUL in a key of meta", "message:send", say(json!({"meta": {"\0": 1}})), "meta"),
        control("NUL deep in meta", "message:send", say(json!({"meta": {"a": [{"b\0": 1}]}})), "meta"),
        control("NUL in a type", "message:send", say(json!({"text": "x", "type": "a\0"})), "type"),
        control("a new line in a type", "message:send", say(json!({"text": "x", "type": "a\nb"})), "type"),
        control("NUL in a title", "conversation:update", titled("a\0"), "title"),
        control("a new line in a title", "conversation:update", titled("line\nbreak"), "title"),
        control("a control beyond ASCII in a title", "conversation:update", titled("a\u{9b}b"), "title"),
        control("a tab in the name of a file", "message:send", file("a\tb", "a/b"), "name"),
        control("NUL in an emoji", "reaction:add", react("\0"), "emoji"),
        control("a new line in an emoji", "reaction:remove", react("\n"), "emoji"),
        control("NUL in a page token", "inbox:list", json!({"page": "\0"}), "page"),
        no_title("empty", ""),
        no_title("spaces", "   "),
        no_title("a space of no width", "\u{200b}"),
        no_title("letters that show nothing", "\u{3164}\u{ffa0}"),
        no_title("tags", "\u{e0041}"),
        no_title("an override to the left", "abc\u{202e}def"),
        no_title("an isolate", "\u{2066}x"),
        command("text.names", "a file that looks like another", "message:send", file("safe\u{202e}gpj.exe", "a/b"), "invalid_argument", "name"),
        command("text.names", "a file of no visible name", "message:send", file("\u{2060}", "a/b"), "invalid_argument", "name"),
        command("text.names", "a conversation's first title", "conversation:create", json!({"conversation": "$new", "id": "$new", "kind": "group", "title": "\u{200f}"}), "invalid_argument", "title"),
        large("one byte over 16 KiB", "message:send", say(json!({"text": "x".repeat(16_385)})), "content.text"),
        large("16 KiB in characters of three bytes, and one more", "message:send", say(json!({"text": "€".repeat(5_462)})), "content.text"),
        large("an edit", "message:edit", json!({"conversation": "$group", "id": "$new", "message": "$anas", "content": {"text": "x".repeat(16_385)}}), "content.text"),
        large("a type", "message:send", say(json!({"text": "x", "type": "x".repeat(65)})), "type"),
        large("a title", "conversation:update", titled(&"x".repeat(256)), "title"),
        large("the name of a file", "message:send", file(&"x".repeat(256), "a/b"), "name"),
        large("the id of a file", "message:send", say(json!({"attachments": [{"id": "x".repeat(129), "name": "a", "media_type": "a/b", "size": 1}]})), "id"),
        large("a media type", "message:send", file("a", &format!("a/{}", "b".repeat(126))), "media_type"),
        large("an emoji", "reaction:add", react(&"👍".repeat(9)), "emoji"),
        verbatim("a script", |stage| { Box::pin(comes_back(stage, "<script>alert(1)</script><img src=x onerror=alert(1)>")) }),
        verbatim("links", |stage| { Box::pin(comes_back(stage, "[click](javascript:alert(1)) `code` **bold** https://evil.net")) }),
        verbatim("overrides of direction", |stage| { Box::pin(comes_back(stage, "\u{202e}gpj.exe \u{2066}x\u{2069}")) }),
        verbatim("an emoji of seven characters", |stage| { Box::pin(comes_back(stage, "👩‍👩‍👧‍👦")) }),
        verbatim("a letter and its accent apart, and in one", |stage| { Box::pin(comes_back(stage, "e\u{301} é")) }),
        verbatim("hundreds of accents on one letter", |stage| { Box::pin(comes_back(stage, format!("a{}", "\u{301}".repeat(500)))) }),
        verbatim("what is no character yet, and the last of all", |stage| { Box::pin(comes_back(stage, "\u{fffe}\u{e000}\u{10ffff}")) }),
        verbatim("a byte order mark, a tab, new lines, only spaces around", |stage| { Box::pin(comes_back(stage, "\u{feff}\t\n \n")) }),
        verbatim("SQL", |stage| { Box::pin(comes_back(stage, "'); DROP TABLE messages; --")) }),
        verbatim("what a placeholder would be", |stage| { Box::pin(comes_back(stage, "{} %s $1 ?1 \\u0000 &amp;")) }),
        verbatim("16 KiB to the byte", |stage| { Box::pin(comes_back(stage, "x".repeat(16_384))) }),
        empty("nothing", json!({})),
        empty("an empty text", json!({"text": ""})),
        empty("a text that is null", json!({"text": null})),
        empty("empty meta", json!({"meta": {}})),
        empty("an empty list of attachments", json!({"attachments": []})),
        empty("only a type", json!({"type": "wave"})),
        media("one word", "image"),
        media("nothing", ""),
        media("two slashes", "a/b/c"),
        media("a space", "a b/c"),
        media("nothing behind the slash", "image/"),
        meta("a list", json!([1]), "invalid_argument"),
        meta("a text", json!("x"), "invalid_argument"),
        meta("13 deep", nested(13), "invalid_argument"),
        meta("2^53", json!({"n": 9_007_199_254_740_992_u64}), "invalid_argument"),
        meta("-2^53", json!({"n": -9_007_199_254_740_992_i64}), "invalid_argument"),
        meta("2^53 in a list", json!({"n": [1, 9_007_199_254_740_993_u64]}), "invalid_argument"),
        meta("2^64 and more", json!({"n": u64::MAX}), "invalid_argument"),
        meta("33 keys", keys(33, 1), "too_large"),
        meta("4 KiB and more", keys(2, 3_000), "too_large"),
        meta("4 KiB and more once it is escaped", json!({"a": "\"".repeat(2_100)}), "too_large"),
        shape("a title for a direct one", json!({"conversation": "$new", "id": "$new", "kind": "direct", "members": ["$ben"], "title": "us"}), "title"),
        shape("a direct one of three", json!({"conversation": "$new", "id": "$new", "kind": "direct", "members": ["$ben", "$cy"]}), "members"),
        shape("a public direct one", json!({"conversation": "$new", "id": "$new", "kind": "direct", "members": ["$ben"], "public": true}), "public"),
        shape("a public group", json!({"conversation": "$new", "id": "$new", "kind": "group", "public": true}), "public"),
        shape("the same member twice", json!({"conversation": "$new", "id": "$new", "kind": "group", "members": ["$ben", "$ben"]}), "members[1]"),
        command("conversation.shape", "a change of nothing", "conversation:update", json!({"conversation": "$group", "id": "$new"}), "invalid_argument", "title"),
    ]
}

fn say(content: Value) -> Value {
    json!({"conversation": "$group", "id": "$new", "content": content})
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!({ "a": inner }))
}

fn keys(keys: usize, length: usize) -> Value {
    let fields = (0..keys).map(|n| (format!("key {n}"), Value::from("x".repeat(length))));
    Value::Object(fields.collect::<Map<_, _>>())
}

fn verbatim(name: &'static str, comes_back: crate::row::Story) -> Row {
    story("text.verbatim", name, comes_back, "reply stored")
}

/// Sends a text and reads it back.
async fn comes_back(stage: Stage, text: impl Into<String>) -> Heard {
    let text = text.into();
    let mut line = stage.line("$ana").await;
    let heard = line
        .ask("message:send", stage.said(&say(json!({ "text": text }))))
        .await;
    let group = &stage.scene.names["$group"];
    line.say(
        &json!({"type": "command", "req": 8, "command": "history:list", "data": {"conversation": group, "limit": 1}}),
    )
    .await;
    loop {
        if let chat_core::frame::ServerFrame::Reply(reply) = line.next().await.unwrap() {
            let page = serde_json::to_value(reply.result).unwrap();
            assert_eq!(page["history"]["messages"][0]["content"], json!({ "text": text }));
            return heard;
        }
    }
}
