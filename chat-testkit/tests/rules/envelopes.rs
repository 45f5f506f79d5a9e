//! Rows of frames that cannot be read, or are no command.

use crate::row::{ALL, JSON_IN_PROCESS, REQ, Row, command, frame, packed, text};
use serde_json::{Value, json};

/// MessagePack, piece by piece: a map of so many fields, texts, and whatever else.
fn map(fields: u8, rest: &[&[u8]]) -> Vec<u8> {
    [&[0x80 | fields][..], &rest.concat()].concat()
}

fn string(text: &str) -> Vec<u8> {
    [&[0xa0 | u8::try_from(text.len()).unwrap()][..], text.as_bytes()].concat()
}

/// A command whose data are these bytes.
fn with_data(data: &[u8]) -> Vec<u8> {
    let field = |name: &str, value: &[u8]| [string(name), value.to_vec()].concat();
    let fields = [
        field("type", &string("command")),
        field("req", &[7]),
        field("command", &string("inbox:list")),
        field("data", data),
    ];
    map(4, &[&fields.concat()])
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!({ "a": inner }))
}

fn lists(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!([inner]))
}

// One row a line: it is a table.
#[rustfmt::skip]
pub fn rows() -> Vec<Row> {
    let unreadable =
        |name: &'static str, payload: &'static [u8]| text("envelope.unreadable", name, payload, "close 4500");
    let strange =
        |name: &'static str, payload: &'static [u8]| packed("envelope.unreadable", name, payload, "close 4500");
    let request = |name: &'static str, req: Value| {
        frame(
            "envelope.request",
            name,
            json!({"type": "command", "req": req, "command": "inbox:list", "data": {}}),
            "close 4500",
        )
        .naming("req")
    };
    let field = |name: &'static str, value: Value, names| {
        frame("envelope.field", name, value, "invalid_argument").naming(names)
    };
    let deep = |name: &'static str, data: Value| {
        command(
            "envelope.depth",
            name,
            "conversation:get",
            data,
            "invalid_argument",
            "deep",
        )
    };
    let inside = [
        b"{\"type\":\"command\",\"req\":7,\"command\":\"inbox:list\",\"data\":".to_vec(),
        b"[".repeat(5_000),
        b"]".repeat(5_000),
        b"}".to_vec(),
    ];
    let packed_inside = |lists: usize| with_data(&[vec![0x91; lists], vec![0xc0]].concat());
    vec![
        unreadable("nothing", b""),
        unreadable("only a space", b" "),
        unreadable("null", b"null"),
        unreadable("42", b"42"),
        unreadable("a string", b"\"hello\""),
        unreadable("a list", b"[]"),
        unreadable("a list of a frame", b"[{\"type\":\"ping\"}]"),
        unreadable("an empty map", b"{}"),
        unreadable("cut short", b"{\"type\":\"ping\""),
        unreadable("cut short in a string", b"{\"type\":\"pi"),
        unreadable("something behind it", b"{\"type\":\"ping\"} ,"),
        unreadable("two frames in one", b"{\"type\":\"ping\"}{\"type\":\"ping\"}"),
        unreadable("a byte order mark", b"\xef\xbb\xbf{\"type\":\"ping\"}"),
        unreadable("a key twice", b"{\"type\":\"ping\",\"type\":\"pong\"}"),
        unreadable("a key twice, deep inside a command", b"{\"type\":\"command\",\"req\":7,\"command\":\"inbox:list\",\"data\":{\"limit\":1,\"limit\":2}}"),
        unreadable("a key twice, once escaped", b"{\"type\":\"ping\",\"typ\\u0065\":\"pong\"}"),
        unreadable("a comma at the end", b"{\"type\":\"ping\",}"),
        unreadable("single quotes", b"{'type':'ping'}"),
        unreadable("a comment", b"{\"type\":\"ping\"} // hello"),
        unreadable("NaN", b"{\"type\":\"command\",\"req\":NaN}"),
        unreadable("a number that no double holds", b"{\"type\":\"command\",\"req\":7,\"command\":\"inbox:list\",\"data\":{\"limit\":1e999}}"),
        unreadable("a number that begins with 0", b"{\"type\":\"command\",\"req\":07,\"command\":\"inbox:list\",\"data\":{}}"),
        unreadable("a control as it is in a string", b"{\"type\":\"pi\nng\"}"),
        unreadable("an escape that is none", b"{\"type\":\"pi\\xng\"}"),
        text("envelope.unreadable", "not UTF-8", b"{\"type\":\"\xff\"}".to_vec(), "close 4500").on(JSON_IN_PROCESS),
        strange("nothing, packed", b""),
        strange("nil", b"\xc0"),
        strange("a number, packed", b"\x2a"),
        strange("a list, packed", b"\x90"),
        strange("0xc1, which is no MessagePack", b"\xc1"),
        strange("a map cut short", b"\x81\xa4ty"),
        strange("something behind the map", b"\x81\xa4type\xa4ping\xc0"),
        strange("a key twice, packed", b"\x82\xa4type\xa4ping\xa4type\xa4pong"),
        strange("a string that is not UTF-8", b"\x81\xa4type\xa2\xff\xfe"),
        strange("JSON", b"{\"type\":\"ping\"}"),
        text("envelope.surrogate", "in a type", b"{\"type\":\"ping\",\"x\":\"\\ud800\"}".to_vec(), "close 4500"),
        text("envelope.surrogate", "in a message", b"{\"type\":\"command\",\"req\":7,\"command\":\"message:send\",\"data\":{\"content\":{\"text\":\"\\udc00\"}}}".to_vec(), "close 4500"),
        text("envelope.surrogate", "two of them the wrong way round", b"{\"type\":\"ping\",\"x\":\"\\udc00\\ud800\"}".to_vec(), "close 4500"),
        packed("envelope.length", "a string of 4 GiB", b"\x81\xdb\xff\xff\xff\xff".to_vec(), "close 4500"),
        packed("envelope.length", "a map of 4 billion", b"\xdf\xff\xff\xff\xff".to_vec(), "close 4500"),
        packed("envelope.length", "a list of 2 billion", b"\xdd\x7f\xff\xff\xff".to_vec(), "close 4500"),
        packed("envelope.length", "binary of 4 GiB inside a command", with_data(b"\xc6\xff\xff\xff\xff"), "close 4500"),
        packed("envelope.length", "a string one byte longer than what is left", b"\x81\xa4type\xa5ping".to_vec(), "close 4500"),
        packed("envelope.length", "a map of one more than what is left", b"\x82\xa4type\xa4ping".to_vec(), "close 4500"),
        packed("envelope.length", "an extension type of 4 GiB", with_data(b"\xc9\xff\xff\xff\xff\x01"), "close 4500"),
        frame("envelope.request", "none", json!({"type": "command", "command": "inbox:list", "data": {}}), "close 4500").naming("req"),
        request("null", json!(null)),
        request("negative", json!(-1)),
        request("1.0", json!(1.0)),
        request("a string", json!("7")),
        request("2^53", json!(9_007_199_254_740_992_u64)),
        request("a list", json!([7])),
        request("true", json!(true)),
        frame("envelope.type", "unknown", json!({"type": "flight", "req": REQ}), "malformed").naming("type"),
        frame("envelope.type", "none", json!({"req": REQ}), "malformed").naming("type"),
        frame("envelope.type", "a number", json!({"type": 7, "req": REQ}), "malformed").naming("type"),
        frame("envelope.type", "null", json!({"type": null, "req": REQ}), "malformed").naming("type"),
        frame("envelope.type", "in capitals", json!({"type": "COMMAND", "req": REQ}), "malformed").naming("type"),
        frame("envelope.type", "of a server", json!({"type": "welcome", "req": REQ}), "malformed").naming("type"),
        frame("envelope.type", "unknown, and no number", json!({"type": "flight"}), "close 4500").naming("type"),
        command("envelope.command", "unknown", "message:fly", json!({}), "unknown_command", "message:fly"),
        command("envelope.command", "empty", "", json!({}), "unknown_command", ""),
        command("envelope.command", "in other letters", "Message:Send", json!({}), "unknown_command", "Message:Send"),
        command("envelope.command", "with a space", "inbox:list ", json!({}), "unknown_command", "inbox:list"),
        command("envelope.command", "an event", "message:new", json!({}), "unknown_command", "message:new"),
        command("envelope.command", "long, and with controls", &format!("\n{}", "x".repeat(5_000)), json!({}), "unknown_command", "\\n"),
        field("no command", json!({"type": "command", "req": REQ, "data": {}}), "command"),
        field("a command that is a number", json!({"type": "command", "req": REQ, "command": 7, "data": {}}), "command"),
        field("no data", json!({"type": "command", "req": REQ, "command": "conversation:get"}), ""),
        field("data that are null", json!({"type": "command", "req": REQ, "command": "conversation:get", "data": null}), ""),
        field("data that are a list", json!({"type": "command", "req": REQ, "command": "conversation:get", "data": ["$group"]}), ""),
        field("data that are a string", json!({"type": "command", "req": REQ, "command": "conversation:get", "data": "$group"}), ""),
        field("an unknown field", json!({"type": "command", "req": REQ, "command": "inbox:list", "data": {}, "colour": "red"}), "colour"),
        deep("17 maps", json!({"conversation": "$group", "ignored": nested(15)})),
        deep("17 lists", json!({"conversation": "$group", "ignored": lists(15)})),
        deep("in what is known", json!({"conversation": nested(20)})),
        frame("envelope.depth", "beside the command", json!({"type": "command", "req": REQ, "command": "inbox:list", "data": {}, "x": nested(16)}), "invalid_argument").naming("deep"),
        text("envelope.depth", "5,000 lists", inside.concat(), "invalid_argument").naming("deep"),
        packed("envelope.depth", "5,000 lists, packed", packed_inside(5_000), "invalid_argument").naming("deep"),
        text("envelope.depth", "5,000 lists and nothing else", [b"[".repeat(5_000), b"]".repeat(5_000)].concat(), "close 4500"),
        text("envelope.depth", "30,000 lists that never end", b"[".repeat(30_000), "close 4500"),
        packed("envelope.depth", "30,000 lists, packed, that never end", [0x91].repeat(30_000), "close 4500"),
        command("envelope.values", "of a list", "watch:presence", json!({"users": vec![0; 9_000]}), "too_large", "values"),
        command("envelope.values", "of many small lists", "watch:presence", json!({"users": vec![json!([[], []]); 3_000]}), "too_large", "values").on(ALL),
        packed("envelope.foreign", "binary", with_data(b"\x81\xa4page\xc4\x02ab"), "invalid_argument").naming("binary"),
        packed("envelope.foreign", "16 bytes for an id", with_data(&[b"\x81\xacconversation\xc4\x10".to_vec(), vec![1; 16]].concat()), "invalid_argument").naming("binary"),
        packed("envelope.foreign", "an extension type", with_data(b"\x81\xa4page\xd4\x01\x01"), "invalid_argument").naming("extension"),
        packed("envelope.foreign", "a time, as an extension type", with_data(b"\x81\xa4page\xd6\xff\x01\x02\x03\x04"), "invalid_argument").naming("extension"),
        packed("envelope.foreign", "a key that is a number", with_data(b"\x81\x01\x02"), "invalid_argument").naming("key"),
        packed("envelope.foreign", "NaN", with_data(b"\x81\xa5limit\xcb\x7f\xf8\0\0\0\0\0\0"), "invalid_argument").naming("nan"),
        packed("envelope.foreign", "infinity", with_data(b"\x81\xa5limit\xca\x7f\x80\0\0"), "invalid_argument").naming("infinities"),
        packed("envelope.foreign", "a floating 1", with_data(b"\x81\xa5limit\xca\x3f\x80\0\0"), "invalid_argument").naming("limit"),
    ]
}
