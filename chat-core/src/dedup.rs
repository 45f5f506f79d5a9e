//! The one judge of repetition: is a command that comes under an id the first, the same again, or another one?
//!
//! Every store asks it through [`conversation::judge`](crate::conversation::judge); nothing else compares commands.
//! "The same" is decided by a keyed digest of the command as its client sent it, never by what was stored.

use crate::store::{Actor, Fingerprint, Prior, Secret};
use chat_protocol::command::Command;
use chat_protocol::frame::Stored;
use chat_protocol::planted::{Bug, is_planted};
use hmac::{Hmac, Mac};
use serde_json::{Number, Value};
use sha2::Sha256;

/// What a command is to what stands under its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repetition {
    /// Nothing stands there.
    First,
    /// The same command of the same actor: the first answer, marked as a duplicate.
    Duplicate(Stored),
    /// Another command, or another actor's.
    Conflict,
}

/// Judges an incoming command by what exists under its id in its conversation.
///
/// Once the fingerprint was erased the id alone answers its actor.
pub fn judge(existing: Option<&Prior>, actor: &Actor, incoming: Fingerprint) -> Repetition {
    let Some(existing) = existing else {
        return Repetition::First;
    };
    if is_planted(Bug::DedupForgets) {
        return Repetition::First;
    }
    let same_actor = existing.actor == *actor;
    let same_content = existing.fingerprint.is_none_or(|first| first == incoming);
    if same_actor && same_content {
        Repetition::Duplicate(Stored {
            duplicate: true,
            ..existing.stored
        })
    } else {
        Repetition::Conflict
    }
}

/// The keyed digest of a command as its client sent it: HMAC-SHA256, cut to 16 bytes.
///
/// It is the same whichever codec carried the command, in whatever order its maps were written, and whether an
/// optional field with its default was sent or left out.
///
/// # Panics
/// Never: a command always has a JSON form, and HMAC takes a key of any length.
pub fn fingerprint(key: &Secret, command: &Command) -> Fingerprint {
    let data = serde_json::to_value(command).expect("a command has a JSON form: its maps have text keys");
    let mut bytes = Vec::with_capacity(256);
    text(&mut bytes, command.name());
    value(&mut bytes, &data);

    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&key.0).expect("HMAC takes a key of any length");
    mac.update(&bytes);
    let digest = mac.finalize().into_bytes();
    let mut short = [0; 16];
    short.copy_from_slice(&digest[..16]);
    Fingerprint(short)
}

/// Appends the canonical form: a letter for the type, lengths before contents, keys sorted.
fn value(bytes: &mut Vec<u8>, value_: &Value) {
    match value_ {
        Value::Null => bytes.push(b'n'),
        Value::Bool(false) => bytes.push(b'f'),
        Value::Bool(true) => bytes.push(b't'),
        Value::Number(number_) => number(bytes, number_),
        Value::String(string) => text(bytes, string),
        Value::Array(items) => {
            bytes.push(b'a');
            length(bytes, items.len());
            items.iter().for_each(|item| value(bytes, item));
        }
        Value::Object(map) => {
            bytes.push(b'o');
            length(bytes, map.len());
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| key.as_str());
            for (key, item) in entries {
                text(bytes, key);
                value(bytes, item);
            }
        }
    }
}

/// Whole numbers are equal whether a codec wrote them as signed, unsigned or floating.
fn number(bytes: &mut Vec<u8>, number: &Number) {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53: up to here a double holds every integer
    let whole = match number.as_f64() {
        _ if number.is_u64() => number.as_u64().map(i128::from),
        _ if number.is_i64() => number.as_i64().map(i128::from),
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        Some(float) if float.fract() == 0.0 && float.abs() <= EXACT => Some(float as i128),
        _ => None,
    };
    if let Some(whole) = whole {
        bytes.push(b'i');
        bytes.extend_from_slice(&whole.to_be_bytes());
    } else {
        bytes.push(b'd');
        bytes.extend_from_slice(&number.as_f64().unwrap_or(f64::NAN).to_bits().to_be_bytes());
    }
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.push(b's');
    length(bytes, text.len());
    bytes.extend_from_slice(text.as_bytes());
}

fn length(bytes: &mut Vec<u8>, length: usize) {
    bytes.extend_from_slice(&(length as u64).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_protocol::command::{MessageDelete, MessageSend};
    use chat_protocol::id::{CommandId, ConversationId, MessageId, Seq, Tag, Timestamp, UserId};
    use chat_protocol::message::Content;
    use serde_json::json;

    const KEY: Secret = Secret([7; 32]);

    fn send(meta: Value) -> Command {
        let mut content = Content::text("hi");
        content.meta = meta.as_object().cloned();
        MessageSend {
            conversation: ConversationId::from_parts(1, [1; 10]),
            id: MessageId::from_parts(2, [2; 10]),
            content,
            reply_to: None,
        }
        .into()
    }

    fn prior(fingerprint: Option<Fingerprint>) -> Prior {
        Prior {
            actor: ann(),
            fingerprint,
            stored: Stored {
                conversation: ConversationId::from_parts(1, [1; 10]),
                id: CommandId::from_parts(2, [2; 10]),
                seq: Seq(4),
                tag: Tag(9),
                at: Timestamp(5),
                duplicate: false,
            },
        }
    }

    fn ann() -> Actor {
        Actor::User(UserId::new("ann").unwrap())
    }

    #[test]
    fn the_same_command_of_the_same_actor_is_a_duplicate_with_the_first_answer() {
        let print = fingerprint(&KEY, &send(json!({})));
        let Repetition::Duplicate(stored) = judge(Some(&prior(Some(print))), &ann(), print) else {
            panic!("not a duplicate");
        };
        assert!(stored.duplicate);
        assert_eq!((stored.seq, stored.tag), (Seq(4), Tag(9)));
    }

    #[test]
    fn another_actor_or_other_content_is_a_conflict_and_an_unused_id_is_the_first() {
        let print = fingerprint(&KEY, &send(json!({})));
        let other = fingerprint(&KEY, &send(json!({"a": 1})));
        let prior = prior(Some(print));
        assert_eq!(judge(Some(&prior), &ann(), other), Repetition::Conflict);
        assert_eq!(judge(Some(&prior), &Actor::System, print), Repetition::Conflict);
        assert_eq!(judge(None, &ann(), print), Repetition::First);
    }

    #[test]
    fn after_an_erase_the_id_alone_answers_its_actor_and_nobody_else() {
        let other = fingerprint(&KEY, &send(json!({"a": 1})));
        assert!(matches!(
            judge(Some(&prior(None)), &ann(), other),
            Repetition::Duplicate(_)
        ));
        assert_eq!(judge(Some(&prior(None)), &Actor::System, other), Repetition::Conflict);
    }

    #[test]
    fn a_fingerprint_does_not_depend_on_codec_or_order_of_keys() {
        let one: Value = serde_json::from_str(r#"{"b":{"y":[1,2.5],"x":-3},"a":1}"#).unwrap();
        let two: Value = serde_json::from_str(r#"{"a":1.0,"b":{"x":-3.0,"y":[1.0,2.5]}}"#).unwrap();
        assert_eq!(fingerprint(&KEY, &send(one)), fingerprint(&KEY, &send(two)));
    }

    #[test]
    fn a_fingerprint_tells_different_commands_apart() {
        let mut prints: Vec<_> = [
            json!({}),
            json!({"a": 1}),
            json!({"a": "1"}),
            json!({"a": 1.5}),
            json!({"a": -1}),
            json!({"a": null}),
            json!({"a": true}),
            json!({"a": [1]}),
            json!({"a": {"1": 1}}),
            json!({"a1": ""}),
            json!({"a": u64::MAX}),
            json!({"a": i64::MAX}),
        ]
        .into_iter()
        .map(|meta| fingerprint(&KEY, &send(meta)))
        .collect();
        let delete = MessageDelete {
            conversation: ConversationId::from_parts(1, [1; 10]),
            id: CommandId::from_parts(2, [2; 10]),
            message: MessageId::from_parts(2, [2; 10]),
        };
        prints.push(fingerprint(&KEY, &delete.into()));
        prints.push(fingerprint(&Secret([8; 32]), &send(json!({}))));
        let all = prints.len();
        prints.sort_unstable_by_key(|print| print.0);
        prints.dedup();
        assert_eq!(prints.len(), all);
    }
}
