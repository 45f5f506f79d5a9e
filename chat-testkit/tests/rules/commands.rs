//! Rows of commands: their fields, ids and numbers, who sends them, and to what they come.

use crate::row::{Row, command};
use serde_json::{Value, json};

const GOOD: &str = "0189abcd-0000-7000-8000-000000000001";

pub fn rows() -> Vec<Row> {
    let mut rows = fields();
    rows.extend(ids());
    rows.extend(numbers());
    rows.extend(rights());
    rows.extend(states());
    rows
}

// One row a line: it is a table.
#[rustfmt::skip]
fn fields() -> Vec<Row> {
    let unknown =
        |name: &'static str, to: &str, data, names| command("field.unknown", name, to, data, "invalid_argument", names);
    let missing =
        |name: &'static str, to: &str, data, names| command("field.missing", name, to, data, "invalid_argument", names);
    let wrong =
        |name: &'static str, to: &str, data, names| command("field.type", name, to, data, "invalid_argument", names);
    let word =
        |name: &'static str, to: &str, data, names| command("field.word", name, to, data, "invalid_argument", names);
    let long = |name: &'static str, to: &str, data, names| command("list.long", name, to, data, "too_large", names);
    let create = |more: Value| with(json!({"conversation": "$new", "id": "$new", "kind": "group"}), more);
    let users = |count: usize| (0..count).map(|n| format!("user {n}")).collect::<Vec<_>>();
    vec![
        unknown("in a command", "conversation:get", json!({"conversation": "$group", "colour": "red"}), "colour"),
        unknown("in content", "message:send", say(json!({"text": "x", "html": "<b>"})), "html"),
        unknown("in an attachment", "message:send", say(json!({"attachments": [{"id": "a", "name": "b", "media_type": "c/d", "size": 1, "url": "e"}]})), "url"),
        unknown("in a position", "log:list", json!({"conversation": "$group", "after": {"seq": 1, "tag": "$tag", "epoch": 1}}), "epoch"),
        unknown("a known one in other letters", "conversation:get", json!({"Conversation": "$group"}), "Conversation"),
        unknown("a field of another command", "typing", json!({"conversation": "$group", "active": true, "id": "$new"}), "id"),
        missing("all", "conversation:get", json!({}), "conversation"),
        missing("the id", "message:delete", json!({"conversation": "$group", "message": "$anas"}), "id"),
        missing("the content", "message:send", json!({"conversation": "$group", "id": "$new"}), "content"),
        missing("of an attachment", "message:send", say(json!({"attachments": [{"id": "a", "name": "b", "media_type": "c/d"}]})), "size"),
        missing("of a position", "log:list", json!({"conversation": "$group", "after": {"seq": 1}}), "tag"),
        wrong("a list where a map belongs", "message:send", say(json!(["text", "hello"])), "content"),
        wrong("a map where a text belongs", "message:send", say(json!({"text": {}})), "text"),
        wrong("a number where a text belongs", "message:send", say(json!({"text": 7})), "text"),
        wrong("a text where a list belongs", "watch:presence", json!({"users": "$ben"}), "users"),
        wrong("a number in a list of texts", "watch:presence", json!({"users": [7]}), "users"),
        wrong("1 where true belongs", "typing", json!({"conversation": "$group", "active": 1}), "active"),
        wrong("null where true belongs", "inbox:mute", json!({"conversation": "$group", "muted": null}), "muted"),
        wrong("\"true\" where true belongs", "inbox:archive", json!({"conversation": "$group", "archived": "true"}), "archived"),
        wrong("a list of attachments that is a map", "message:send", say(json!({"attachments": {"0": {}}})), "attachments"),
        wrong("a position that is a number", "log:list", json!({"conversation": "$group", "after": 1}), "after"),
        wrong("a token that is a map", "auth:refresh", json!({"token": {"jwt": "x"}}), "token"),
        word("a role", "member:role", json!({"conversation": "$group", "id": "$new", "user": "$ben", "role": "emperor"}), "role"),
        word("a kind", "conversation:create", json!({"conversation": "$new", "id": "$new", "kind": "club"}), "kind"),
        word("a history", "conversation:create", create(json!({"history": "secret"})), "history"),
        long("51 first members", "conversation:create", create(json!({"members": users(51)})), "members"),
        long("11 attachments", "message:send", say(json!({"attachments": vec![json!({"id": "a", "name": "b", "media_type": "c/d", "size": 1}); 11]})), "attachments"),
        long("201 users to watch", "watch:presence", json!({"users": users(201)}), "users"),
        long("21 conversations to watch", "watch:conversations", json!({"conversations": vec![GOOD; 21]}), "conversations"),
        long("a page token", "inbox:list", json!({"page": "x".repeat(257)}), "page"),
        long("a token", "auth:refresh", json!({"token": "x".repeat(8_193)}), "token"),
    ]
}

// One row a line: it is a table.
#[rustfmt::skip]
fn ids() -> Vec<Row> {
    let of = |name: String, id: Value| {
        command(
            "id.uuid",
            name,
            "conversation:get",
            json!({"conversation": id}),
            "invalid_argument",
            "conversation",
        )
    };
    let user = |name: &str, user: Value| {
        command(
            "id.user",
            name,
            "member:add",
            json!({"conversation": "$group", "id": "$new", "user": user}),
            "invalid_argument",
            "user",
        )
    };
    let tag = |name: &str, tag: Value| {
        command(
            "id.tag",
            name,
            "log:list",
            json!({"conversation": "$group", "after": {"seq": 1, "tag": tag}}),
            "invalid_argument",
            "tag",
        )
    };
    let mut rows: Vec<Row> = [
        ("a word", json!("not a uuid")),
        ("empty", json!("")),
        ("in capitals", json!(GOOD.to_uppercase())),
        ("without hyphens", json!(GOOD.replace('-', ""))),
        ("in braces", json!(format!("{{{GOOD}}}"))),
        ("as a URN", json!(format!("urn:uuid:{GOOD}"))),
        ("with a space behind it", json!(format!("{GOOD} "))),
        ("a hyphen elsewhere", json!("0189abcd0-000-7000-8000-000000000001")),
        ("digits of another script", json!("٠189abcd-0000-7000-8000-00000000001")),
        ("nil", json!("00000000-0000-0000-0000-000000000000")),
        ("a number", json!(7)),
        ("null", json!(null)),
        ("a list", json!([GOOD])),
    ]
    .map(|(name, id)| of(name.to_owned(), id))
    .into();
    rows.extend([
        command("id.uuid", "of a command", "message:delete", json!({"conversation": "$group", "id": "x", "message": "$anas"}), "invalid_argument", "id"),
        command("id.uuid", "of a message that is answered", "message:send", with(say(json!({"text": "x"})), json!({"reply_to": "x"})), "invalid_argument", "reply_to"),
        command("id.uuid", "in a list", "watch:conversations", json!({"conversations": [GOOD, "x"]}), "invalid_argument", "conversations[1]"),
        user("empty", json!("")),
        user("over 128 bytes", json!("x".repeat(129))),
        user("over 128 bytes in 43 characters", json!("€".repeat(43))),
        user("a tab", json!("tab\there")),
        user("NUL", json!("nul\0")),
        user("a control beyond ASCII", json!("next\u{85}line")),
        user("a number", json!(4)),
        tag("in capitals", json!("5F00000000000007")),
        tag("too short", json!("5f")),
        tag("a sign", json!("+f00000000000007")),
        tag("a number", json!(7)),
    ]);
    rows
}

// One row a line: it is a table.
#[rustfmt::skip]
fn numbers() -> Vec<Row> {
    let seq = |name: &str, seq: Value| {
        command(
            "number.shape",
            name,
            "mark:read",
            json!({"conversation": "$group", "seq": seq}),
            "invalid_argument",
            "seq",
        )
    };
    let range =
        |name: &str, to: &str, data: Value, names| command("number.range", name, to, data, "invalid_argument", names);
    vec![
        seq("-1", json!(-1)),
        seq("1.0", json!(1.0)),
        seq("1.5", json!(1.5)),
        seq("\"1\"", json!("1")),
        seq("2^53", json!(9_007_199_254_740_992_u64)),
        seq("2^64-1", json!(u64::MAX)),
        seq("-2^63", json!(i64::MIN)),
        seq("1e300", json!(1e300)),
        seq("null", json!(null)),
        seq("true", json!(true)),
        seq("a list", json!([1])),
        command("number.shape", "a version of 2^53", "message:edit", with(json!({"conversation": "$group", "id": "$new", "message": "$anas", "version": 9_007_199_254_740_992_u64}), json!({"content": {"text": "x"}})), "invalid_argument", "version"),
        command("number.shape", "a size of -1", "message:send", say(json!({"attachments": [{"id": "a", "name": "b", "media_type": "c/d", "size": -1}]})), "invalid_argument", "size"),
        command("number.shape", "a limit of -1", "inbox:list", json!({"limit": -1}), "invalid_argument", "limit"),
        range("a page of nothing", "inbox:list", json!({"limit": 0}), "limit"),
        range("51 entries", "inbox:list", json!({"limit": 51}), "limit"),
        range("51 members", "member:list", json!({"conversation": "$group", "limit": 51}), "limit"),
        range("51 marks", "mark:list", json!({"conversation": "$group", "limit": 51}), "limit"),
        range("51 who reacted", "reaction:list", json!({"conversation": "$group", "message": "$anas", "emoji": "👍", "limit": 51}), "limit"),
        range("201 messages", "history:list", json!({"conversation": "$group", "limit": 201}), "limit"),
        range("201 events", "log:list", json!({"conversation": "$group", "after": {"seq": 10, "tag": "$tag"}, "limit": 201}), "limit"),
        range("2^53-1 messages", "history:list", json!({"conversation": "$group", "limit": 9_007_199_254_740_991_u64}), "limit"),
        range("an empty page token", "inbox:list", json!({"page": ""}), "page"),
        range("before and after", "history:list", json!({"conversation": "$group", "before": 3, "after": 1}), "before"),
        range("before and around", "history:list", json!({"conversation": "$group", "before": 3, "around": 1}), "before"),
    ]
}

// One row a line: it is a table.
#[rustfmt::skip]
fn rights() -> Vec<Row> {
    let forbidden = |name: &str, by, to: &str, data: Value| {
        command("right.others", name, to, at_group(data), "forbidden", "").by(by)
    };
    let fixed = |to: &str, data: Value| {
        command(
            "right.direct",
            to,
            to,
            with(json!({"conversation": "$direct", "id": "$new"}), data),
            "invalid_argument",
            "direct",
        )
    };
    let conflict =
        |name: &str, by, to: &str, data: Value| command("state.twice", name, to, at_group(data), "conflict", "").by(by);
    let text = json!({"text": "x"});
    vec![
        forbidden("edit by a member", "$ben", "message:edit", json!({"message": "$anas", "content": text})),
        forbidden("edit by an admin", "$adam", "message:edit", json!({"message": "$anas", "content": text})),
        forbidden("edit by the owner", "$ana", "message:edit", json!({"message": "$bens", "content": text})),
        forbidden("delete by a member", "$ben", "message:delete", json!({"message": "$anas"})),
        forbidden("a new title by a member", "$ben", "conversation:update", json!({"title": "mine"})),
        forbidden("add by a member", "$ben", "member:add", json!({"user": "$ana"})),
        forbidden("remove by a member", "$ben", "member:remove", json!({"user": "$adam"})),
        forbidden("the owner is removed by an admin", "$adam", "member:remove", json!({"user": "$ana"})),
        forbidden("a role by an admin", "$adam", "member:role", json!({"user": "$ben", "role": "admin"})),
        forbidden("the end by an admin", "$adam", "conversation:delete", json!({})),
        command("right.others", "a fresh token of somebody else", "auth:refresh", json!({"token": "good eve"}), "forbidden", "token"),
        fixed("conversation:update", json!({"title": "us"})),
        fixed("conversation:delete", json!({})),
        fixed("conversation:join", json!({})),
        fixed("conversation:leave", json!({})),
        fixed("member:add", json!({"user": "$adam"})),
        fixed("member:remove", json!({"user": "$ben"})),
        fixed("member:role", json!({"user": "$ben", "role": "admin"})),
        command("right.stranger", "creates what is there already", "conversation:create", at_group(json!({"kind": "group"})), "not_found", "").by("$eve"),
        command("right.owner", "by leaving", "conversation:leave", at_group(json!({})), "conflict", "owner"),
        command("right.owner", "who is alone", "conversation:leave", json!({"conversation": "$private", "id": "$new"}), "conflict", "owner"),
        conflict("a reaction", "$ana", "reaction:add", json!({"message": "$anas", "emoji": "👍"})),
        conflict("a member is added", "$ana", "member:add", json!({"user": "$ben"})),
        conflict("a member joins", "$ben", "conversation:join", json!({})),
        conflict("a role", "$ana", "member:role", json!({"user": "$ben", "role": "member"})),
        conflict("a conversation", "$ana", "conversation:create", json!({"kind": "group"})),
    ]
}

// One row a line: it is a table.
#[rustfmt::skip]
fn states() -> Vec<Row> {
    let text = json!({"text": "x"});
    let stale = |name: &str, message: &str, version: u64| {
        let data = json!({"message": message, "version": version, "content": {"text": "x"}});
        command(
            "state.version",
            name,
            "message:edit",
            at_group(data),
            "version_conflict",
            "",
        )
    };
    let gone = |to: &str, data: Value| {
        command(
            "state.gone",
            to,
            to,
            at_group(with(json!({"message": "$deleted"}), data)),
            "gone",
            "",
        )
    };
    let missing =
        |name: &str, to: &str, data: Value| command("state.missing", name, to, at_group(data), "not_found", "");
    vec![
        stale("an older one", "$edited", 1).naming("version 2"),
        stale("one to come", "$anas", 2).naming("version 1"),
        stale("nought", "$anas", 0).naming("version 1"),
        gone("message:edit", json!({"content": text})),
        gone("message:delete", json!({})),
        gone("reaction:add", json!({"emoji": "👍"})),
        gone("reaction:remove", json!({"emoji": "👍"})),
        missing("a message of another conversation", "message:edit", json!({"message": "$elsewhere", "content": text})),
        missing("a message that never was", "message:delete", json!({"message": GOOD})),
        missing("an answer to what never was", "message:send", json!({"content": text, "reply_to": GOOD})),
        missing("an answer to another conversation", "message:send", json!({"content": text, "reply_to": "$elsewhere"})),
        missing("a reaction to what never was", "reaction:add", json!({"message": GOOD, "emoji": "👍"})),
        missing("another's reaction is taken away", "reaction:remove", json!({"message": "$bens", "emoji": "👍"})),
        missing("who is no member is removed", "member:remove", json!({"user": "$eve"})),
        missing("who is no member gets a role", "member:role", json!({"user": "$eve", "role": "admin"})),
        missing("somebody with whom one shares nothing is added", "member:add", json!({"user": "$eve"})),
        command("state.mark", "read ahead of the head", "mark:read", json!({"conversation": "$group", "seq": 11}), "invalid_argument", "head"),
        command("state.mark", "delivered ahead of the head", "mark:delivered", json!({"conversation": "$group", "seq": 9_007_199_254_740_991_u64}), "invalid_argument", "head"),
        command("state.log", "ahead of the head", "log:list", json!({"conversation": "$group", "after": {"seq": 99, "tag": "$tag"}}), "conflict", "resume"),
        command("state.log", "another tag", "log:list", json!({"conversation": "$group", "after": {"seq": 10, "tag": "00000000000000ff"}}), "conflict", "resume"),
    ]
}

/// A durable command of the group.
fn at_group(data: Value) -> Value {
    with(json!({"conversation": "$group", "id": "$new"}), data)
}

fn say(content: Value) -> Value {
    at_group(json!({"content": content}))
}

/// Both maps in one.
fn with(mut data: Value, more: Value) -> Value {
    let fields = data.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    data
}
