//! The golden files: exact bytes of everything that travels, in both codecs; the contract of every SDK.
//!
//! `CHAT_GOLDEN=write cargo test -p chat-protocol` writes them anew; otherwise they are compared.

use crate::samples;
use chat_protocol::code::{ErrorCode, ResetReason};
use chat_protocol::codec::Codec;
use chat_protocol::command::Command;
use chat_protocol::event::EventKind;
use chat_protocol::signal::Signal;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn is_writing() -> bool {
    std::env::var("CHAT_GOLDEN").is_ok_and(|value| value == "write")
}

/// The golden files of one frame, both codecs, as they are on disk: JSON as text, MessagePack as hex, each with one
/// newline at the end that does not belong to the frame.
fn spelled<T: Serialize>(frame: &T) -> [(&'static str, String); 2] {
    let json = String::from_utf8(Codec::Json.encode(frame)).expect("JSON is UTF-8");
    let hex: String = Codec::MessagePack
        .encode(frame)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    [("json", json + "\n"), ("msgpack.hex", hex + "\n")]
}

fn bytes_of(codec: Codec, file: &str) -> Vec<u8> {
    let line = file.strip_suffix('\n').expect("a golden file ends with a newline");
    match codec {
        Codec::Json => line.as_bytes().to_vec(),
        Codec::MessagePack => (0..line.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&line[at..at + 2], 16).expect("hex"))
            .collect(),
    }
}

/// Compares, or writes, the files of one direction, and sees that no file is left over.
fn compare<T: Serialize>(direction: &str, frames: &[(String, T)]) {
    let folder = root().join(direction);
    let mut expected = BTreeSet::new();
    if is_writing() {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("the folder can be made");
    }
    for (name, frame) in frames {
        for (extension, text) in spelled(frame) {
            let file = format!("{name}.{extension}");
            let path = folder.join(&file);
            if is_writing() {
                fs::write(&path, &text).expect("the file can be written");
            }
            let golden = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(golden, text, "{direction}/{file}");
            assert!(expected.insert(file), "{direction}/{name} comes twice");
        }
    }
    let found: BTreeSet<String> = fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    assert_eq!(found, expected);
}

fn read(direction: &str, name: &str, codec: Codec) -> Vec<u8> {
    let extension = if codec.is_text() { "json" } else { "msgpack.hex" };
    let path = root().join(direction).join(format!("{name}.{extension}"));
    bytes_of(codec, &fs::read_to_string(path).expect("the golden file is there"))
}

#[test]
fn what_clients_send_is_byte_for_byte_as_agreed_and_read_back() {
    let frames = samples::client();
    compare("client", &frames);
    for (name, frame) in frames {
        for codec in Codec::ALL {
            assert_eq!(
                codec.decode_client(&read("client", &name, codec)).as_ref(),
                Ok(&frame),
                "{name}"
            );
        }
    }
}

#[test]
fn what_servers_send_is_byte_for_byte_as_agreed_and_read_back() {
    let frames = samples::server();
    compare("server", &frames);
    for (name, frame) in frames {
        for codec in Codec::ALL {
            assert_eq!(
                codec.decode_server(&read("server", &name, codec)).as_ref(),
                Ok(&frame),
                "{name}"
            );
        }
    }
}

#[test]
fn close_codes_are_as_agreed() {
    let path = root().join("close_codes.json");
    let lines: Vec<String> = samples::close_codes()
        .as_array()
        .expect("a list")
        .iter()
        .map(|code| format!("  {code}"))
        .collect();
    let text = format!("[\n{}\n]\n", lines.join(",\n"));
    if is_writing() {
        fs::write(&path, &text).expect("the file can be written");
    }
    assert_eq!(fs::read_to_string(path).expect("the golden file is there"), text);
}

#[test]
fn everything_that_has_a_name_has_a_golden_file() {
    let names = |frames: Vec<String>| frames.into_iter().collect::<BTreeSet<_>>();
    let client = names(samples::client().into_iter().map(|(name, _)| name).collect());
    let server = names(samples::server().into_iter().map(|(name, _)| name).collect());
    let file = |kind: &str, name: &str| format!("{kind}.{}", name.replace(':', "-"));
    for name in Command::NAMES {
        assert!(client.contains(&file("command", name)), "{name}");
    }
    for name in EventKind::NAMES {
        assert!(server.contains(&file("event", name)), "{name}");
    }
    for name in Signal::NAMES {
        assert!(server.contains(&file("signal", name)), "{name}");
    }
    for code in ErrorCode::KNOWN {
        assert!(server.contains(&file("error", code.as_str())), "{code}");
    }
    for reason in ResetReason::KNOWN {
        assert!(server.contains(&file("reset", reason.as_str())), "{reason}");
    }
}
