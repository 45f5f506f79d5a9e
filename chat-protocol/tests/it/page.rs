//! `docs/protocol.md` names everything that travels.

use crate::samples;
use chat_protocol::code::{CloseCode, ErrorCode, ResetReason};
use chat_protocol::codec::Codec;
use chat_protocol::command::Command;
use chat_protocol::event::EventKind;
use chat_protocol::signal::Signal;
use serde_json::Value;
use std::collections::BTreeSet;

fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol.md");
    std::fs::read_to_string(path).expect("docs/protocol.md is there")
}

#[track_caller]
fn assert_named(page: &str, name: &str) {
    assert!(
        page.contains(&format!("`{name}`")),
        "docs/protocol.md does not name `{name}`"
    );
}

#[test]
fn every_command_event_signal_and_code_is_on_the_page() {
    let page = page();
    let closed = [Command::NAMES, EventKind::NAMES, Signal::NAMES];
    closed.into_iter().flatten().for_each(|name| assert_named(&page, name));
    ErrorCode::KNOWN
        .iter()
        .for_each(|code| assert_named(&page, code.as_str()));
    ResetReason::KNOWN
        .iter()
        .for_each(|reason| assert_named(&page, reason.as_str()));
    for code in CloseCode::KNOWN {
        assert!(page.contains(&format!("| {} |", code.number())), "{code:?}");
        assert_named(&page, code.reason());
    }
    Codec::ALL
        .iter()
        .for_each(|codec| assert_named(&page, codec.subprotocol()));
}

#[test]
fn every_field_is_on_the_page() {
    let mut keys = BTreeSet::new();
    for (_, frame) in samples::client() {
        collect(&Codec::Json.encode(&frame), &mut keys);
    }
    for (name, frame) in samples::server() {
        if !name.ends_with(".unknown") {
            collect(&Codec::Json.encode(&frame), &mut keys);
        }
    }
    let page = page();
    keys.iter().for_each(|key| assert_named(&page, key));
}

fn collect(frame: &[u8], keys: &mut BTreeSet<String>) {
    fn walk(value: &Value, keys: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    keys.insert(key.clone());
                    // What is in these is the host's.
                    if key != "meta" && key != "display" {
                        walk(value, keys);
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, keys)),
            _ => {}
        }
    }
    walk(&serde_json::from_slice(frame).expect("JSON"), keys);
}

#[test]
fn every_example_on_the_page_is_a_frame() {
    let page = page();
    let mut examples = 0;
    for line in page.lines() {
        let (read, text): (fn(&[u8]) -> bool, _) = match line.split_once(' ') {
            Some(("C:", text)) => (|bytes| Codec::Json.decode_client(bytes).is_ok(), text),
            Some(("S:", text)) => (|bytes| Codec::Json.decode_server(bytes).is_ok(), text),
            _ => continue,
        };
        assert!(read(text.as_bytes()), "{text}");
        examples += 1;
    }
    assert!(examples > 20, "{examples}");
}
