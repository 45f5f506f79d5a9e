use super::*;
use crate::code::ResetReason;
use crate::command::{MessageSend, Token};
use crate::event::MessageNew;
use crate::frame::{Hello, Outcome, Page, Reply, Reset, Resume};
use crate::id::MessageId;
use crate::message::{Content, Message};
use serde_json::json;

const ID: &str = "0190a000-0000-7000-8000-000000000001";

fn json(text: &str) -> Result<ClientFrame, FrameError> {
    Codec::Json.decode_client(text.as_bytes())
}

/// The same value in both codecs.
fn both(value: Value) -> [Result<ClientFrame, FrameError>; 2] {
    Codec::ALL.map(|codec| codec.decode_client(&codec.encode(&value)))
}

fn command(name: &str, data: Value) -> Value {
    json!({"type": "command", "req": 7, "command": name, "data": data})
}

fn assert_refused(value: Value, code: ErrorCode, said: &str) {
    for result in both(value.clone()) {
        match result {
            Err(FrameError::Refused {
                req: 7,
                code: found,
                message,
            }) => {
                assert_eq!(found, code, "{value}: {message}");
                assert!(message.contains(said), "{value}: {message}");
            }
            other => panic!("{value}: {other:?}"),
        }
    }
}

fn assert_unreadable(codec: Codec, bytes: &[u8]) {
    let result = codec.decode_client(bytes);
    assert!(
        matches!(result, Err(FrameError::Unreadable(_))),
        "{bytes:02x?}: {result:?}"
    );
}

#[test]
fn what_is_no_map_cannot_be_read() {
    for text in [
        "",
        " ",
        "null",
        "42",
        "[]",
        "\"hello\"",
        "{",
        "{\"type\":\"ping\"",
        "{\"type\":\"ping\"}x",
        "{\"type\":\"ping\"}{}",
        "\u{feff}{\"type\":\"ping\"}",
        "{\"type\":\"ping\",\"type\":\"ping\"}",
        "{\"type\":\"ping\",}",
        "{}",
        "{\"type\":\"nothing\"}",
        "{\"type\":\"ping\",\"x\":\"\\ud800\"}",
        "{\"type\":\"ping\",\"x\":NaN}",
        "{\"type\":\"ping\",\"x\":1e999}",
        "{type:\"ping\"}",
        "{\"type\":\"hello\",\"token\":7}",
        "{\"type\":\"hello\",\"attempt\":-1}",
        "{\"type\":\"resume\",\"cursors\":{}}",
        "{\"type\":\"resume\",\"cursors\":[{\"conversation\":\"x\",\"seq\":1,\"tag\":\"0\"}]}",
    ] {
        assert_unreadable(Codec::Json, text.as_bytes());
    }
    assert_unreadable(Codec::Json, b"{\"type\":\"ping\",\"x\":\"\xff\"}");
    for bytes in [
        &b""[..],
        b"\xc0",
        b"\x2a",
        b"\x90",
        b"\xc1",
        b"\x81",
        b"\x81\xa4type",
        b"\x81\xa4type\xa4ping\x00",
        b"\x82\xa4type\xa4ping\xa4type\xa4ping",
        b"\x81\xa4type\xa4pin\xff",
    ] {
        assert_unreadable(Codec::MessagePack, bytes);
    }
}

#[test]
fn a_length_larger_than_what_is_left_ends_the_reading() {
    for length in [
        &b"\xdf\xff\xff\xff\xff"[..],
        b"\xdd\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\xdc\xff\xff",
        b"\xde\xff\xff",
        b"\x91",
        b"\x8f\xa1a",
        b"\xd8\x01",
    ] {
        assert_unreadable(Codec::MessagePack, length);
        assert_unreadable(Codec::MessagePack, &[b"\x82\xa4type\xa4ping\xa1x", length].concat());
        // Within what is skipped for its depth too.
        assert_unreadable(
            Codec::MessagePack,
            &[&b"\x82\xa4type\xa4ping\xa1x"[..], &[0x91; 40], length].concat(),
        );
    }
}

#[test]
fn a_command_without_a_readable_number_cannot_be_read() {
    for req in [
        "",
        ",\"req\":-1",
        ",\"req\":1.0",
        ",\"req\":\"1\"",
        ",\"req\":null",
        ",\"req\":9007199254740992",
    ] {
        assert_unreadable(
            Codec::Json,
            format!("{{\"type\":\"command\",\"command\":\"inbox:list\",\"data\":{{}}{req}}}").as_bytes(),
        );
    }
}

#[test]
fn a_command_with_a_readable_number_is_answered() {
    let cases = [
        (
            command("message:fly", json!({})),
            ErrorCode::UnknownCommand,
            "message:fly",
        ),
        (
            json!({"type": "command", "req": 7}),
            ErrorCode::InvalidArgument,
            "command",
        ),
        (
            json!({"type": "command", "req": 7, "command": 3}),
            ErrorCode::InvalidArgument,
            "command",
        ),
        (
            json!({"type": "command", "req": 7, "command": "inbox:list"}),
            ErrorCode::InvalidArgument,
            "map",
        ),
        (
            json!({"type": "command", "req": 7, "command": "inbox:list", "data": []}),
            ErrorCode::InvalidArgument,
            "map",
        ),
        (
            json!({"type": "command", "req": 7, "command": "inbox:list", "data": {}, "x": 1}),
            ErrorCode::InvalidArgument,
            "\"x\"",
        ),
        (json!({"type": "nothing", "req": 7}), ErrorCode::Malformed, "type"),
        (json!({"req": 7}), ErrorCode::Malformed, "type"),
        (
            command("inbox:list", json!({"limit": 1, "size": 2})),
            ErrorCode::InvalidArgument,
            "\"size\"",
        ),
        (
            command("inbox:list", json!({"limit": "1"})),
            ErrorCode::InvalidArgument,
            "limit: must be a whole number",
        ),
        (
            command("inbox:list", json!({"limit": 1.5})),
            ErrorCode::InvalidArgument,
            "limit: must be",
        ),
        (
            command("inbox:list", json!({"limit": -1})),
            ErrorCode::InvalidArgument,
            "limit: must be",
        ),
        (
            command("inbox:list", json!({"limit": 9_007_199_254_740_992_u64})),
            ErrorCode::InvalidArgument,
            "below 2^53",
        ),
        (
            command("mark:read", json!({"conversation": ID})),
            ErrorCode::InvalidArgument,
            "seq: is missing",
        ),
        (
            command("mark:read", json!({"conversation": [], "seq": 1})),
            ErrorCode::InvalidArgument,
            "conversation: must be a string",
        ),
        (
            command(
                "mark:read",
                json!({"conversation": "00000000-0000-0000-0000-000000000000", "seq": 1}),
            ),
            ErrorCode::InvalidArgument,
            "nil",
        ),
        (
            command("mark:read", json!({"conversation": ID.to_uppercase(), "seq": 1})),
            ErrorCode::InvalidArgument,
            "lower-case",
        ),
        (
            command(
                "message:send",
                json!({"conversation": ID, "id": ID, "content": {"attachments": [
                {"id": "a", "name": "n", "media_type": "a/b", "size": 1}, {"id": "a", "name": "n", "media_type": "a/b", "size": -1}]}}),
            ),
            ErrorCode::InvalidArgument,
            "content.attachments[1].size: must be",
        ),
        (
            command(
                "message:send",
                json!({"conversation": ID, "id": ID, "content": {"text": "a", "html": "b"}}),
            ),
            ErrorCode::InvalidArgument,
            "content: has no field \"html\"",
        ),
        (
            command(
                "message:send",
                json!({"conversation": ID, "id": ID, "content": {"text": "a\u{0}"}}),
            ),
            ErrorCode::InvalidArgument,
            "content.text",
        ),
        (
            command(
                "message:send",
                json!({"conversation": ID, "id": ID, "content": {"text": "a".repeat(16 * 1024 + 1)}}),
            ),
            ErrorCode::TooLarge,
            "content.text",
        ),
    ];
    for (value, code, said) in cases {
        assert_refused(value, code, said);
    }
    let refused = json(r#"{"type":"command","req":7,"command":"inbox:list","data":{"limit":1.0}}"#);
    assert!(matches!(
        refused,
        Err(FrameError::Refused {
            code: ErrorCode::InvalidArgument,
            ..
        })
    ));
}

#[test]
fn whole_numbers_beyond_2_53_are_refused_and_never_rounded() {
    let read = |number: &str| {
        let data =
            format!(r#"{{"conversation":"{ID}","id":"{ID}","content":{{"text":"\\\"","meta":{{"x":[{number}]}}}}}}"#);
        json(&format!(
            r#"{{"type":"command","req":7,"command":"message:send","data":{data}}}"#
        ))
    };
    let power = |zeros: usize| format!("1{}", "0".repeat(zeros));
    for number in [
        "9007199254740992",
        "-9007199254740992",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "18446744073709551616",
        &power(30),
        &power(300),
    ] {
        match read(number) {
            Err(FrameError::Refused { req: 7, code, message }) => {
                assert_eq!(code, ErrorCode::InvalidArgument, "{number}");
                assert!(message.contains("2^53"), "{number}: {message}");
            }
            other => panic!("{number}: {other:?}"),
        }
    }
    for number in [
        "9007199254740991",
        "-9007199254740991",
        "1e30",
        "-1.5E+300",
        "18446744073709551616.0",
        "\"18446744073709551616\"",
    ] {
        assert!(read(number).is_ok(), "{number}: {:?}", read(number));
    }
    for value in [json!(u64::MAX), json!(i64::MIN), json!(1_u64 << 53)] {
        let content = json!({"text": "hi", "meta": {"x": value}});
        let send = command(
            "message:send",
            json!({"conversation": ID, "id": ID, "content": content}),
        );
        assert_refused(send, ErrorCode::InvalidArgument, "2^53");
    }
    // What is ignored is ignored whatever it is.
    assert!(json(&format!(r#"{{"type":"ping","x":{}}}"#, power(30))).is_ok());
}

#[test]
fn too_deep_a_nesting_is_found_before_anything_recurses_wherever_it_is() {
    for depth in [17, 1_000, 60_000] {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        for frame in [
            format!(r#"{{"type":"command","req":7,"command":"inbox:list","data":{open}{close}}}"#),
            format!(r#"{{"x":{open}{close},"type":"command","command":"inbox:list","data":{{}},"req":7}}"#),
        ] {
            let refused = json(&frame);
            assert!(
                matches!(
                    refused,
                    Err(FrameError::Refused {
                        req: 7,
                        code: ErrorCode::InvalidArgument,
                        ..
                    })
                ),
                "{refused:?}"
            );
        }
        let frame = [
            &b"\x85\xa1x"[..],
            &vec![0x91; depth],
            b"\xc0\xa4type\xa7command\xa3req\x07\xa7command\xaainbox:list\xa4data\x80",
        ]
        .concat();
        let refused = Codec::MessagePack.decode_client(&frame);
        assert!(
            matches!(
                refused,
                Err(FrameError::Refused {
                    req: 7,
                    code: ErrorCode::InvalidArgument,
                    ..
                })
            ),
            "{refused:?}"
        );
        assert_unreadable(
            Codec::Json,
            format!(r#"{{"type":"ping","x":{open}{close}}}"#).as_bytes(),
        );
    }
    let fits = format!(r#"{{"type":"ping","x":{}{}}}"#, "[".repeat(15), "]".repeat(15));
    assert_eq!(json(&fits), Ok(ClientFrame::Ping));
}

#[test]
fn many_small_values_are_too_large_and_the_number_is_still_read() {
    let frame = json!({"type": "command", "data": {"limit": vec![0; 20_000]}, "command": "inbox:list", "req": 7});
    for codec in Codec::ALL {
        let refused = codec.decode_client(&codec.encode(&frame));
        assert!(
            matches!(
                refused,
                Err(FrameError::Refused {
                    req: 7,
                    code: ErrorCode::TooLarge,
                    ..
                })
            ),
            "{refused:?}"
        );
    }
}

#[test]
fn a_resume_frame_full_of_cursors_fits() {
    let cursor = json!({"conversation": ID, "seq": 1, "tag": "0000000000000000"});
    let frame = json!({"type": "resume", "epoch": ID, "cursors": vec![cursor; 600], "last": true});
    for codec in Codec::ALL {
        let bytes = codec.encode(&frame);
        assert!(bytes.len() > 40_000 && bytes.len() < 64 * 1024, "{}", bytes.len());
        let Ok(ClientFrame::Resume(Resume {
            cursors, last: true, ..
        })) = codec.decode_client(&bytes)
        else {
            panic!("not read");
        };
        assert_eq!(cursors.len(), 600);
    }
}

#[test]
fn any_width_of_messagepack_is_taken_and_foreign_types_are_refused() {
    let head = b"\x84\xd9\x04type\xda\x00\x07command\xa3req\xcf\x00\x00\x00\x00\x00\x00\x00\x07\xa7command";
    let with_data = |data: &[u8]| [head, &b"\xaainbox:list\xa4data"[..], data].concat();
    for limit in [
        &b"\x07"[..],
        b"\xcc\x07",
        b"\xcd\x00\x07",
        b"\xd0\x07",
        b"\xd3\x00\x00\x00\x00\x00\x00\x00\x07",
    ] {
        let data = [&b"\xdf\x00\x00\x00\x01\xdb\x00\x00\x00\x05limit"[..], limit].concat();
        let Ok(ClientFrame::Command {
            req: 7,
            command: Command::InboxList(list),
        }) = Codec::MessagePack.decode_client(&with_data(&data))
        else {
            panic!("{limit:02x?}");
        };
        assert_eq!(list.limit, Some(7));
    }
    for foreign in [
        &b"\xc4\x01a"[..],
        b"\xd4\x01\x00",
        b"\xc7\x01\x05\x00",
        b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
        b"\x81\x01\x02",
        b"\xca\x3f\x80\x00\x00",
    ] {
        let data = [&b"\x81\xa5limit"[..], foreign].concat();
        let refused = Codec::MessagePack.decode_client(&with_data(&data));
        assert!(
            matches!(
                refused,
                Err(FrameError::Refused {
                    req: 7,
                    code: ErrorCode::InvalidArgument,
                    ..
                })
            ),
            "{foreign:02x?}: {refused:?}"
        );
    }
}

#[test]
fn null_stands_for_an_absent_field_and_greetings_may_hold_more_than_is_known() {
    for result in both(command("inbox:list", json!({"limit": null, "page": null}))) {
        assert!(matches!(
            result,
            Ok(ClientFrame::Command {
                req: 7,
                command: Command::InboxList(_)
            })
        ));
    }
    for result in both(json!({"type": "hello", "token": "t", "attempt": 3, "colour": {"of": "hat"}})) {
        let hello = Hello {
            token: Some(Token("t".into())),
            attempt: 3,
            ..Hello::default()
        };
        assert_eq!(result, Ok(ClientFrame::Hello(hello)));
    }
}

#[test]
fn a_client_lives_with_a_newer_server() {
    let at = |kind: &str, data: Value| json!({"type": "event", "event": kind, "conversation": ID, "seq": 3, "tag": "00000000000000ff", "id": ID, "at": 5, "data": data, "x": 1});
    let decode = |codec: Codec, value: &Value| codec.decode_server(&codec.encode(value));
    for codec in Codec::ALL {
        assert_eq!(
            decode(codec, &json!({"type": "weather", "x": 1})),
            Err(FrameError::UnknownType("weather".into()))
        );
        let Ok(ServerFrame::Event(event)) = decode(codec, &at("poll:opened", json!({"question": "?"}))) else {
            panic!("not read");
        };
        assert_eq!(event.kind.name(), "poll:opened");
        assert_eq!(
            codec.decode_server(&codec.encode(&event)),
            Ok(ServerFrame::Event(event))
        );

        let message = json!({"id": ID, "seq": 3, "at": 5, "version": 1, "changed": 3, "content": {"text": "hi", "mood": 1}, "pinned": true});
        let Ok(ServerFrame::Event(event)) = decode(codec, &at("message:new", json!({"message": message, "x": {}})))
        else {
            panic!("not read");
        };
        assert_eq!(
            event.kind.message().and_then(|m| m.content.clone()),
            Some(Content::text("hi"))
        );

        let Ok(ServerFrame::Signal(signal)) =
            decode(codec, &json!({"type": "signal", "signal": "wave", "data": {"a": 1}}))
        else {
            panic!("not read");
        };
        assert_eq!(signal.name(), "wave");

        let reset = json!({"type": "reset", "reason": "moved", "y": [1]});
        let expected = Reset {
            conversation: None,
            reason: ResetReason::Unknown("moved".into()),
            entry: None,
        };
        assert_eq!(decode(codec, &reset), Ok(ServerFrame::Reset(expected)));
    }
}

#[test]
fn what_is_written_is_read_back() {
    let id: MessageId = ID.parse().unwrap();
    let conversation = ID.parse().unwrap();
    let send = MessageSend {
        conversation,
        id,
        content: Content::text("Grüße 👋"),
        reply_to: None,
    };
    let frame = ClientFrame::Command {
        req: 1,
        command: send.into(),
    };
    let message = Message {
        id,
        seq: Seq(1),
        sender: None,
        at: Timestamp(1),
        version: 1,
        changed: Seq(1),
        edited_at: None,
        deleted_at: None,
        reply_to: None,
        content: Some(Content::text("a")),
        reactions: vec![],
    };
    let event = Event {
        conversation,
        seq: Seq(1),
        tag: Tag(7),
        id: id.into(),
        actor: Some(UserId::new("anna").unwrap()),
        at: Timestamp(1),
        kind: MessageNew { message }.into(),
    };
    let skip = Skip {
        conversation,
        from: Seq(2),
        to: Seq(4),
        tag: Tag(9),
    };
    let page = Page {
        conversation,
        items: vec![LogItem::Event(event), LogItem::Skip(skip)],
        more: true,
    };
    for codec in Codec::ALL {
        assert_eq!(codec.decode_client(&codec.encode(&frame)), Ok(frame.clone()));
        for frame in [
            ServerFrame::Page(page.clone()),
            ServerFrame::Ping,
            ServerFrame::Reply(Reply {
                req: 1,
                result: Outcome::Log(page.clone()),
            }),
            ServerFrame::Reply(Reply {
                req: 2,
                result: Outcome::Done {},
            }),
        ] {
            assert_eq!(codec.decode_server(&codec.encode(&frame)), Ok(frame));
        }
    }
    assert_eq!(
        String::from_utf8(Codec::Json.encode(&frame)).unwrap(),
        format!(
            r#"{{"type":"command","req":1,"command":"message:send","data":{{"conversation":"{ID}","id":"{ID}","content":{{"text":"Grüße 👋"}}}}}}"#
        )
    );
}
