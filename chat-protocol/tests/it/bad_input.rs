//! Frames that a careless or hostile client sends, in bytes.

use crate::samples;
use chat_protocol::codec::{Codec, FrameError};
use serde_json::Value;

/// Every field of every command, one at a time, replaced by something of the wrong type: always an error that names a
/// field, never a close, never taken.
#[test]
fn a_wrong_type_in_any_field_is_answered() {
    for (name, frame) in samples::client()
        .into_iter()
        .filter(|(name, _)| name.starts_with("command."))
    {
        let whole: Value = serde_json::from_slice(&Codec::Json.encode(&frame)).unwrap();
        let fields = whole["data"].as_object().unwrap();
        for key in fields.keys() {
            for wrong in [
                serde_json::json!([[]]),
                serde_json::json!({"no": "such field"}),
                serde_json::json!(-1.5),
            ] {
                if key == "meta" && wrong.is_object() {
                    continue;
                }
                let mut bad = whole.clone();
                bad["data"][key] = wrong;
                for codec in Codec::ALL {
                    match codec.decode_client(&codec.encode(&bad)) {
                        Err(FrameError::Refused { message, .. }) => {
                            assert!(message.starts_with(key.as_str()), "{name}: {message}");
                        }
                        other => panic!("{name} {key}: {other:?}"),
                    }
                }
            }
        }
    }
}

/// Every valid frame cut at every byte cannot be read.
#[test]
fn a_truncated_frame_cannot_be_read() {
    for (name, frame) in samples::client() {
        for codec in Codec::ALL {
            let bytes = codec.encode(&frame);
            for end in 0..bytes.len() {
                let result = codec.decode_client(&bytes[..end]);
                assert!(
                    matches!(result, Err(FrameError::Unreadable(_))),
                    "{name} cut at {end}: {result:?}"
                );
            }
        }
    }
}
