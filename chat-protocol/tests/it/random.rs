//! Random values go there and back; random bytes do no harm.

use crate::samples;
use chat_protocol::check;
use chat_protocol::codec::Codec;
use chat_protocol::command::{Command, ConversationUpdate, MessageSend};
use chat_protocol::event::{Event, EventKind, MessageUpdated, UnknownKind};
use chat_protocol::frame::{ClientFrame, Hello, LogItem, Page, Resume, ResumeCursor, ServerFrame};
use chat_protocol::id::{
    CommandId, ConversationId, Epoch, MessageId, NUMBER_MAX, Revision, Seq, Tag, Timestamp, UserId,
};
use chat_protocol::message::{Attachment, Content, Message, Reaction};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::{Map, Value};
use std::hash::{BuildHasher, RandomState};

fn uuid() -> impl Strategy<Value = uuid::Uuid> {
    (1..=u128::MAX).prop_map(uuid::Uuid::from_u128)
}

fn conversation() -> impl Strategy<Value = ConversationId> {
    uuid().prop_map(|uuid| ConversationId::new(uuid).expect("not nil"))
}

fn message_id() -> impl Strategy<Value = MessageId> {
    uuid().prop_map(|uuid| MessageId::new(uuid).expect("not nil"))
}

fn command_id() -> impl Strategy<Value = CommandId> {
    uuid().prop_map(|uuid| CommandId::new(uuid).expect("not nil"))
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..300_u64, 0..=NUMBER_MAX, Just(NUMBER_MAX)]
}

fn seq() -> impl Strategy<Value = Seq> {
    number().prop_map(Seq)
}

fn user() -> impl Strategy<Value = UserId> {
    "\\PC{1,20}".prop_map(|name| UserId::new(name).expect("printable"))
}

/// Anything but the control characters that cannot be stored.
fn text() -> impl Strategy<Value = String> {
    any::<String>().prop_map(|text| text.chars().filter(|c| *c >= ' ' || matches!(c, '\t' | '\n')).collect())
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number().prop_map(Value::from),
        (-(1_i64 << 53) + 1..0).prop_map(Value::from),
        any::<f64>().prop_filter_map("finite", |float| serde_json::Number::from_f64(float).map(Value::Number)),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            btree_map(text(), inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn meta() -> impl Strategy<Value = Map<String, Value>> {
    btree_map(text(), json(), 0..5).prop_map(|map| map.into_iter().collect())
}

fn attachment() -> impl Strategy<Value = Attachment> {
    ("[a-z0-9]{1,10}", "[a-zäöü .]{0,10}x", number()).prop_map(|(id, name, size)| Attachment {
        id,
        name,
        media_type: "image/png".into(),
        size,
    })
}

fn content() -> impl Strategy<Value = Content> {
    (
        "[a-z]{1,8}",
        option::of(text()),
        vec(attachment(), 0..3),
        option::of(meta()),
    )
        .prop_map(|(kind, text, attachments, meta)| Content {
            kind,
            text,
            attachments,
            meta,
        })
}

fn message() -> impl Strategy<Value = Message> {
    let reaction =
        ("\\PC{1,4}", number(), vec(user(), 0..5)).prop_map(|(emoji, count, users)| Reaction { emoji, count, users });
    (
        (message_id(), seq(), option::of(user()), number(), number(), seq()),
        (option::of(number()), option::of(number()), option::of(message_id())),
        option::of(content()),
        vec(reaction, 0..3),
    )
        .prop_map(|(envelope, (edited, deleted, reply_to), content, reactions)| {
            let (id, seq, sender, at, version, changed) = envelope;
            Message {
                id,
                seq,
                sender,
                at: Timestamp(at),
                version,
                changed,
                edited_at: edited.map(Timestamp),
                deleted_at: deleted.map(Timestamp),
                reply_to,
                content,
                reactions,
            }
        })
}

fn event() -> impl Strategy<Value = Event> {
    let kind = prop_oneof![
        message().prop_map(|message| MessageUpdated { message }.into()),
        ("x:[a-z]{1,9}", meta()).prop_map(|(name, data)| EventKind::Unknown(UnknownKind { name, data })),
    ];
    (
        conversation(),
        seq(),
        any::<u64>(),
        command_id(),
        option::of(user()),
        number(),
        kind,
    )
        .prop_map(|(conversation, seq, tag, id, actor, at, kind)| Event {
            conversation,
            seq,
            tag: Tag(tag),
            id,
            actor,
            at: Timestamp(at),
            kind,
        })
}

fn client_frame() -> impl Strategy<Value = ClientFrame> {
    let send = (conversation(), message_id(), content(), option::of(message_id())).prop_map(
        |(conversation, id, content, reply_to)| {
            Command::from(MessageSend {
                conversation,
                id,
                content,
                reply_to,
            })
        },
    );
    let update = (
        conversation(),
        command_id(),
        option::of("[a-zäöü ]{0,10}x"),
        option::of(meta()),
    )
        .prop_map(|(conversation, id, title, meta)| {
            Command::from(ConversationUpdate {
                conversation,
                id,
                title,
                meta,
            })
        });
    let command = (number(), prop_oneof![send, update])
        .prop_filter("valid", |(_, command)| check::check(command).is_ok())
        .prop_map(|(req, command)| ClientFrame::Command { req, command });
    let cursor = (conversation(), seq(), any::<u64>()).prop_map(|(conversation, seq, tag)| ResumeCursor {
        conversation,
        seq,
        tag: Tag(tag),
    });
    let resume = (
        option::of(uuid()),
        option::of(number()),
        vec(cursor, 0..50),
        any::<bool>(),
    )
        .prop_map(|(epoch, revision, cursors, last)| {
            ClientFrame::Resume(Resume {
                epoch: epoch.and_then(Epoch::new),
                revision: revision.map(Revision),
                cursors,
                max: revision,
                last,
            })
        });
    let hello = (option::of("[a-z]{1,64}"), number()).prop_map(|(device, attempt)| {
        ClientFrame::Hello(Hello {
            device,
            attempt,
            ..Hello::default()
        })
    });
    prop_oneof![4 => command, 1 => resume, 1 => hello]
}

fn server_frame() -> impl Strategy<Value = ServerFrame> {
    prop_oneof![
        event().prop_map(ServerFrame::Event),
        (conversation(), vec(event(), 0..4), any::<bool>()).prop_map(|(conversation, events, more)| {
            let items = events.into_iter().map(LogItem::Event).collect();
            ServerFrame::Page(Page {
                conversation,
                items,
                more,
            })
        }),
    ]
}

/// A valid frame of which some bytes were changed.
fn spoiled() -> impl Strategy<Value = Vec<u8>> {
    let frames: Vec<Vec<u8>> = Codec::ALL
        .into_iter()
        .flat_map(|codec| {
            let client = samples::client()
                .into_iter()
                .map(move |(_, frame)| codec.encode(&frame));
            let server = samples::server()
                .into_iter()
                .map(move |(_, frame)| codec.encode(&frame));
            client.chain(server)
        })
        .collect();
    let changes = vec((any::<prop::sample::Index>(), any::<u8>()), 1..4);
    (prop::sample::select(frames), changes).prop_map(|(mut bytes, changes)| {
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

/// A seed of its own for each run, printed when a test fails; `PROPTEST_RNG_SEED=SEED` repeats it.
#[expect(clippy::print_stdout, reason = "a test's own output, shown when it fails")]
fn seeded() -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if matches!(config.rng_seed, RngSeed::Random) {
        config.rng_seed = RngSeed::Fixed(RandomState::new().hash_one(()));
    }
    println!("PROPTEST_RNG_SEED={}", config.rng_seed);
    config.cases = 512;
    config.failure_persistence = None;
    config
}

proptest! {
    #![proptest_config(seeded())]

    #[test]
    fn what_a_client_means_survives_both_codecs(frame in client_frame()) {
        for codec in Codec::ALL {
            prop_assert_eq!(codec.decode_client(&codec.encode(&frame)), Ok(frame.clone()));
        }
    }

    #[test]
    fn what_a_server_means_survives_both_codecs(frame in server_frame()) {
        for codec in Codec::ALL {
            prop_assert_eq!(codec.decode_server(&codec.encode(&frame)), Ok(frame.clone()));
        }
    }

    #[test]
    fn no_bytes_do_harm(bytes in prop_oneof![vec(any::<u8>(), 0..200), spoiled()]) {
        for codec in Codec::ALL {
            let _ = codec.decode_client(&bytes);
            let _ = codec.decode_server(&bytes);
        }
    }
}
