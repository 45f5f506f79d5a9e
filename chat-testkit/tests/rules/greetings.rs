//! Rows of hello and resume: who comes late, twice, as somebody else, or with what cannot be.

use crate::line::{Heard, Line};
use crate::row::{Row, frame, story, stream, text};
use crate::stage::Stage;
use chat_core::Limits;
use chat_transport_ws::WsConfig;
use serde_json::{Value, json};
use std::time::Duration;

// One row a line: it is a table.
#[rustfmt::skip]
pub fn rows() -> Vec<Row> {
    let hello = |rule, name: &'static str, value: Value, answer| frame(rule, name, value, answer).first();
    let bad = |name, value, names| hello("hello.fields", name, value, "close 4500").naming(names);
    let refused = |name: &'static str, token: &'static str| {
        hello(
            "hello.refused",
            name,
            json!({"type": "hello", "token": token}),
            "close 4503",
        )
        .naming("auth_failed")
    };
    let label = "x".repeat(65);
    let good = "0189abcd-0000-7000-8000-000000000001";
    vec![
        hello("hello.first", "a command", json!({"type": "command", "req": 7, "command": "inbox:list", "data": {}}), "close 4502"),
        hello("hello.first", "a command that cannot be read", json!({"type": "command", "req": 7, "command": "inbox:fly"}), "close 4502"),
        hello("hello.first", "resume", json!({"type": "resume", "last": true}), "close 4502"),
        hello("hello.first", "ping", json!({"type": "ping"}), "close 4502"),
        hello("hello.first", "pong", json!({"type": "pong"}), "close 4502"),
        story("hello.late", "nothing", |stage| Box::pin(async move { stage.nobody().await.answer().await }), "close 4001").bounded(hasty),
        stream("hello.late", "half of a hello", |data| crate::peer::frame(data, b"{\"type\":\"hello\"}")[..12].to_vec(), "close 4001").first().bounded(hasty),
        stream("hello.late", "only pings of WebSocket", |_| crate::peer::frame(0x89, b"?").repeat(5), "close 4001").first().bounded(hasty),
        frame("hello.twice", "after everything", json!({"type": "hello", "guest": "$ana"}), "close 4504"),
        frame("hello.twice", "as somebody else", json!({"type": "hello", "guest": "$ben", "attempt": 2}), "close 4504"),
        story("hello.twice", "before the first is judged", |stage| Box::pin(at_once(stage)), "close 4504"),
        bad("guest: empty", json!({"type": "hello", "guest": ""}), "guest"),
        bad("guest: only a space of no width", json!({"type": "hello", "guest": "\u{200b}"}), "guest"),
        bad("guest: over 64 bytes", json!({"type": "hello", "guest": label}), "guest"),
        bad("guest: NUL", json!({"type": "hello", "guest": "an\0a"}), "guest"),
        bad("guest: a new line", json!({"type": "hello", "guest": "an\na"}), "guest"),
        bad("guest: an override of direction", json!({"type": "hello", "guest": "\u{202e}ana"}), "guest"),
        bad("guest: a number", json!({"type": "hello", "guest": 7}), "guest"),
        bad("token: a map", json!({"type": "hello", "token": {}}), "token"),
        bad("attempt: a string", json!({"type": "hello", "guest": "$ana", "attempt": "1"}), "attempt"),
        bad("attempt: negative", json!({"type": "hello", "guest": "$ana", "attempt": -1}), "attempt"),
        bad("attempt: 2^53", json!({"type": "hello", "guest": "$ana", "attempt": 9_007_199_254_740_992_u64}), "attempt"),
        bad("device: over 64 bytes", json!({"type": "hello", "guest": "$ana", "device": label}), "device"),
        bad("client: without a version", json!({"type": "hello", "guest": "$ana", "client": {"name": "x"}}), "version"),
        bad("client: a name over 64 bytes", json!({"type": "hello", "guest": "$ana", "client": {"name": label, "version": "1"}}), "client"),
        bad("session: no id", json!({"type": "hello", "guest": "$ana", "session": {"id": "me", "secret": "x"}}), "session"),
        bad("session: a secret over 256 bytes", json!({"type": "hello", "guest": "$ana", "session": {"id": good, "secret": "x".repeat(257)}}), "secret"),
        bad("wants: 33 of them", json!({"type": "hello", "guest": "$ana", "wants": vec!["x"; 33]}), "wants"),
        bad("wants: a word", json!({"type": "hello", "guest": "$ana", "wants": "typing"}), "wants"),
        text("hello.large", "one byte over 8 KiB", long_hello(8_193), "close 1009").first(),
        hello("hello.large", "a long token", json!({"type": "hello", "token": "x".repeat(9_000)}), "close 1009"),
        refused("a bad signature", "bad signature"),
        refused("one that ran out", "expired"),
        refused("one for another audience", "wrong audience"),
        refused("an algorithm of none", "alg none"),
        refused("a public key used as a secret", "rsa as hmac"),
        refused("an unknown key", "unknown kid"),
        refused("an empty one", ""),
        refused("a proof that ran out", "stale ana"),
        refused("a user that cannot be", "good \u{0}"),
        hello("hello.refused", "neither token nor guest", json!({"type": "hello"}), "close 4503").naming("auth_failed"),
        hello("hello.refused", "a session alone, which proves nothing", json!({"type": "hello", "session": {"id": good, "secret": "x"}}), "close 4503").naming("auth_failed"),
        hello("hello.unknown", "a field", json!({"type": "hello", "guest": "$ana", "colour": "red"}), "welcome"),
        hello("hello.unknown", "a capability", json!({"type": "hello", "guest": "$ana", "wants": ["flying"]}), "welcome"),
        story("hello.crowd", "the third of two", |stage| Box::pin(crowd(stage)), "close 4506").bounded(|limits, _| limits.connections_per_user_max = 2),
        frame("resume.frames", "behind the last", json!({"type": "resume", "last": true}), "invalid_argument").naming("resume").unnumbered(),
        story("resume.frames", "nothing in it and not the last", |stage| Box::pin(resume(stage, json!({"type": "resume"}))), "close 4500").naming("cursors"),
        story("resume.frames", "a conversation that is no id", |stage| Box::pin(resume(stage, cursor_of(json!({"conversation": "x", "seq": 1, "tag": "0000000000000000"})))), "close 4500").naming("conversation"),
        story("resume.frames", "a tag in capitals", |stage| Box::pin(resume(stage, cursor_of(json!({"conversation": "$group", "seq": 1, "tag": "ABCDEF0123456789"})))), "close 4500").naming("tag"),
        story("resume.frames", "a seq below nothing", |stage| Box::pin(resume(stage, cursor_of(json!({"conversation": "$group", "seq": -1, "tag": "0000000000000000"})))), "close 4500").naming("seq"),
        story("resume.frames", "more cursors than there may be", |stage| Box::pin(resume(stage, many())), "close 4500").naming("cursors").bounded(|limits, _| limits.connection.resume_cursors_max = 100),
        story("resume.session", "somebody else's", |stage| Box::pin(session(stage, Whose::Bens)), "welcome"),
        story("resume.session", "an unknown one", |stage| Box::pin(session(stage, Whose::Nobodys)), "welcome"),
        story("resume.session", "one's own with a wrong secret", |stage| Box::pin(session(stage, Whose::Forged)), "welcome"),
        story("resume.attempts", "the higher one comes later", |stage| Box::pin(two(stage, [1, 2])), "close 4507"),
        story("resume.attempts", "the higher one comes first", |stage| Box::pin(two(stage, [2, 1])), "close 4507"),
        story("resume.attempts", "the same one comes again", |stage| Box::pin(two(stage, [2, 2])), "close 4507"),
        story("resume.cursor", "ahead of the head", |stage| Box::pin(cursor_at(stage, "$ana", "$group", (99, "$tag"), None)), "reset ahead"),
        story("resume.cursor", "another tag", |stage| Box::pin(cursor_at(stage, "$ana", "$group", (10, "00000000000000ff"), None)), "reset epoch"),
        story("resume.cursor", "another epoch, and a conversation that never was", |stage| Box::pin(resume(stage, json!({"type": "resume", "epoch": "0189abcd-0000-7000-8000-000000000001", "revision": 3, "cursors": [{"conversation": "$unknown", "seq": 1, "tag": "0000000000000000"}], "last": true}))), "reset epoch"),
        story("resume.cursor", "more behind it than it wants", |stage| Box::pin(cursor_at(stage, "$ana", "$group", (0, "0000000000000000"), Some(3))), "reset too_old"),
        story("resume.cursor", "a conversation that never was", |stage| Box::pin(cursor_at(stage, "$ana", "$unknown", (3, "$tag"), None)), "reset not_found"),
        story("resume.cursor", "a conversation that one was removed from", |stage| Box::pin(cursor_at(stage, "$cy", "$group", (9, "$tag"), None)), "reset not_found"),
    ]
}

fn hasty(limits: &mut Limits, _: &mut WsConfig) {
    limits.connection.auth_timeout = Duration::from_secs(2);
}

/// A hello of so many bytes.
fn long_hello(length: usize) -> Vec<u8> {
    let hello = br#"{"type":"hello","guest":"a"}"#;
    [&hello[..], &b" ".repeat(length - hello.len())].concat()
}

fn cursor_of(cursor: Value) -> Value {
    json!({"type": "resume", "cursors": [cursor], "last": true})
}

fn many() -> Value {
    let cursors: Vec<Value> = (1..=101)
        .map(|n| json!({"conversation": format!("0189abcd-0000-7000-8000-{n:012}"), "seq": 1, "tag": "0000000000000000"}))
        .collect();
    json!({"type": "resume", "cursors": cursors, "last": true})
}

async fn at_once(stage: Stage) -> Heard {
    let mut line = stage.nobody().await;
    let hello = stage.said(&json!({"type": "hello", "guest": "$ana"}));
    line.say(&hello).await;
    line.say(&hello).await;
    past_welcome(&mut line).await
}

async fn past_welcome(line: &mut Line) -> Heard {
    loop {
        let heard = line.answer().await;
        if heard.answer != "welcome" {
            return heard;
        }
    }
}

async fn crowd(stage: Stage) -> Heard {
    let _held = [stage.line("$ana").await, stage.line("$ana").await];
    let mut line = stage.nobody().await;
    line.say(&stage.said(&json!({"type": "hello", "guest": "$ana"}))).await;
    past_welcome(&mut line).await
}

async fn resume(stage: Stage, resume: Value) -> Heard {
    let mut line = stage.nobody().await;
    line.say(&stage.said(&json!({"type": "hello", "guest": "$ana"}))).await;
    line.say(&stage.said(&resume)).await;
    past_welcome(&mut line).await
}

/// Who resumes with one cursor, of the epoch that the server has.
async fn cursor_at(stage: Stage, user: &str, conversation: &str, (seq, tag): (u64, &str), max: Option<u64>) -> Heard {
    let mut line = stage.nobody().await;
    let welcome = line.hello(stage.said(&json!({"type": "hello", "guest": user}))).await;
    let cursors = json!([{"conversation": conversation, "seq": seq, "tag": tag}]);
    let resume =
        json!({"type": "resume", "epoch": welcome.epoch, "revision": 0, "cursors": cursors, "max": max, "last": true});
    line.say(&stage.said(&resume)).await;
    line.answer().await
}

enum Whose {
    Bens,
    Nobodys,
    Forged,
}

async fn session(stage: Stage, whose: Whose) -> Heard {
    let grant = |welcome: chat_core::frame::Welcome| serde_json::to_value(welcome.session).unwrap();
    let session = match whose {
        Whose::Bens => grant(stage.nobody().await.greet(&stage.scene.names["$ben"]).await),
        Whose::Nobodys => json!({"id": "0189abcd-0000-7000-8000-000000000001", "secret": "ab".repeat(32)}),
        Whose::Forged => {
            let mut own = grant(stage.nobody().await.greet(&stage.scene.names["$ana"]).await);
            own["secret"] = "ab".repeat(32).into();
            own
        }
    };
    let mut line = stage.nobody().await;
    let hello = json!({"type": "hello", "guest": "$ana", "session": session, "attempt": 9});
    let welcome = line.hello(stage.said(&hello)).await;
    let fresh = grant(welcome);
    assert_ne!(
        fresh["id"], session["id"],
        "a session that is not one's own is not taken"
    );
    Heard::new("welcome", "")
}

/// Two connections of one session, with these attempts: the lower one's ending. Of equal ones the one that was there stays.
async fn two(stage: Stage, attempts: [u64; 2]) -> Heard {
    let user = &stage.scene.names["$ana"];
    let session = serde_json::to_value(stage.nobody().await.greet(user).await.session).unwrap();
    let hello = |attempt: u64| json!({"type": "hello", "guest": user, "session": session, "attempt": attempt});
    let (mut first, mut second) = (stage.nobody().await, stage.nobody().await);
    first.hello(hello(attempts[0])).await;
    second.say(&hello(attempts[1])).await;
    let (mut winner, mut loser) = if attempts[1] > attempts[0] {
        (second, first)
    } else {
        (first, second)
    };
    let heard = past_welcome(&mut loser).await;
    winner.say(&json!({"type": "ping"})).await;
    assert_eq!(
        past_welcome(&mut winner).await.answer,
        "pong",
        "the higher attempt goes on"
    );
    heard
}
