//! Bells as bytes: who rang, a proof, and the bell.

use super::{Bell, PresenceBell};
use crate::presence::Digest;
use crate::store::Secret;
use bytes::Bytes;
use chat_protocol::event::Event;
use chat_protocol::id::{ConversationId, Epoch, NodeId};
use chat_protocol::signal::Signal;
use hmac::{Hmac, Mac};
use serde::Serialize;
use sha2::Sha256;
use std::borrow::Borrow;
use uuid::Uuid;

const FORMAT: u8 = 1;
const NODE: std::ops::Range<usize> = 1..17;
const PROOF: std::ops::Range<usize> = 17..33;
const BODY: usize = PROOF.end;
/// A probe is no longer than this.
const PROBE_BYTES_MAX: usize = 48;

type Proof = Hmac<Sha256>;

/// Seals bells so that only nodes with the cluster's key can ring, and opens those of other nodes.
///
/// A bell is a byte for the format, the ringing node's id (16), HMAC-SHA256 of both and the body cut to 16 bytes, and
/// the body in JSON. A bell that is repeated by somebody without the key is no different from one that the broker
/// repeats: every bell is harmless twice.
#[derive(Clone)]
pub struct BellCodec {
    proof: Proof,
    own: NodeId,
    bytes_max: usize,
}

impl BellCodec {
    /// A codec for one run of a node, which makes no bell that is longer than this.
    pub fn new(cluster_key: &Secret, own: NodeId, bytes_max: usize) -> Self {
        // Sessions are proved with the same secret; a key of its own keeps one proof from passing as the other.
        let key = keyed(&cluster_key.0).chain_update(b"chat bell 1").finalize();
        Self {
            proof: keyed(&key.into_bytes()),
            own,
            bytes_max,
        }
    }

    /// The bytes of a bell; none when it would be too long.
    pub fn seal(&self, bell: &Bell) -> Option<Bytes> {
        self.bounded(self.seal_body(bell))
    }

    /// The bytes of signals, in as many bells as it takes. What is too long alone is left out.
    pub fn seal_signals(&self, signals: &[Signal]) -> Vec<Bytes> {
        /// [`Bell::Signals`] without a copy of the signals.
        #[derive(Serialize)]
        #[serde(rename_all = "snake_case")]
        enum Borrowed<'a> {
            Signals(&'a [Signal]),
        }
        if let Some(sealed) = self.bounded(self.seal_body(&Borrowed::Signals(signals))) {
            return vec![sealed];
        }
        if signals.len() < 2 {
            return Vec::new();
        }
        let (first, second) = signals.split_at(signals.len() / 2);
        [self.seal_signals(first), self.seal_signals(second)].concat()
    }

    /// So many bytes of users, as JSON, fit into a [`PresenceBell::All`].
    pub fn users_bytes_max(&self) -> usize {
        let longest = PresenceBell::All {
            version: u64::MAX,
            digest: Digest::LONGEST,
            part: u32::MAX,
            parts: u32::MAX,
            users: Vec::new(),
        };
        self.bytes_max
            .saturating_sub(self.seal_body(&Bell::Presence(longest)).len())
    }

    /// The bytes of the bell for a batch: [`Bell::Events`], or [`Bell::Head`] when that would be too long; none for an
    /// empty batch.
    pub fn seal_events<E>(&self, conversation: ConversationId, epoch: Epoch, events: &[E]) -> Option<Bytes>
    where
        E: Borrow<Event> + Serialize,
    {
        /// [`Bell::Events`] without a copy of the events.
        #[derive(Serialize)]
        #[serde(rename_all = "snake_case")]
        enum Borrowed<'a, E> {
            Events {
                conversation: ConversationId,
                epoch: Epoch,
                events: &'a [E],
            },
        }
        let last: &Event = events.last()?.borrow();
        let sealed = self.seal_body(&Borrowed::Events {
            conversation,
            epoch,
            events,
        });
        let position = last.position();
        self.bounded(sealed).or_else(|| {
            self.seal(&Bell::Head {
                conversation,
                epoch,
                position,
            })
        })
    }

    fn bounded(&self, sealed: Bytes) -> Option<Bytes> {
        (sealed.len() <= self.bytes_max).then_some(sealed)
    }

    /// Whether these are the bytes of a bell of this node's own, come back. No proof is asked for: whoever can put them here
    /// has shown as well as we that this node hears.
    pub fn is_own(&self, bytes: &[u8]) -> bool {
        bytes.len() >= BODY && bytes[0] == FORMAT && bytes[NODE] == self.own.as_uuid().as_bytes()[..]
    }

    /// Which probe of this node's own has come back, if this is one.
    pub fn probe(&self, own: &[u8]) -> Option<u64> {
        // Nothing longer is looked into: most of what a node hears of itself is not about itself.
        let body = own.get(BODY..).filter(|body| body.len() <= PROBE_BYTES_MAX)?;
        match serde_json::from_slice(body) {
            Ok(Bell::Probe { number }) => Some(number),
            _ => None,
        }
    }

    /// Who rang, and what; none when it is foreign, altered, or our own.
    ///
    /// A bell of a node that knows more is [`Bell::Unknown`].
    pub fn open(&self, bytes: &[u8]) -> Option<(NodeId, Bell)> {
        if bytes.len() < BODY || bytes[0] != FORMAT {
            return None;
        }
        let node = NodeId::new(Uuid::from_slice(&bytes[NODE]).ok()?)?;
        if node == self.own {
            return None;
        }
        let proof = self.prove(&bytes[..NODE.end], &bytes[BODY..]);
        proof.verify_truncated_left(&bytes[PROOF]).ok()?;
        Some((node, serde_json::from_slice(&bytes[BODY..]).unwrap_or(Bell::Unknown)))
    }

    fn seal_body(&self, body: &impl Serialize) -> Bytes {
        let mut bytes = vec![0; BODY];
        bytes[0] = FORMAT;
        bytes[NODE].copy_from_slice(self.own.as_uuid().as_bytes());
        serde_json::to_writer(&mut bytes, body).expect("a bell has no map with other keys than strings");
        let proof = self.prove(&bytes[..NODE.end], &bytes[BODY..]).finalize().into_bytes();
        bytes[PROOF].copy_from_slice(&proof[..PROOF.len()]);
        bytes.into()
    }

    fn prove(&self, head: &[u8], body: &[u8]) -> Proof {
        self.proof.clone().chain_update(head).chain_update(body)
    }
}

impl std::fmt::Debug for BellCodec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BellCodec")
            .field("own", &self.own)
            .finish_non_exhaustive()
    }
}

fn keyed(key: &[u8]) -> Proof {
    Proof::new_from_slice(key).expect("HMAC takes a key of any length")
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_protocol::event::{EventKind, UnknownKind};
    use chat_protocol::id::{Position, Seq, SessionId, Tag, Timestamp, UserId};
    use chat_protocol::signal::{DisplaySignal, MarksSignal, PresenceSignal, TypingSignal};
    use serde_json::{Map, Value, json};
    use std::sync::Arc;

    fn node(number: u8) -> NodeId {
        NodeId::from_parts(1, [number; 10])
    }

    fn codec(number: u8) -> BellCodec {
        BellCodec::new(&Secret([7; 32]), node(number), 64 * 1024)
    }

    fn conversation() -> ConversationId {
        ConversationId::from_parts(1, [1; 10])
    }

    fn epoch() -> Epoch {
        Epoch::from_parts(1, [2; 10])
    }

    fn event(seq: u64, text: &str) -> Event {
        let mut data = Map::new();
        data.insert("text".into(), text.into());
        Event {
            conversation: conversation(),
            seq: Seq(seq),
            tag: Tag(seq << 60 | 5),
            id: chat_protocol::id::CommandId::from_parts(seq, [3; 10]),
            actor: Some(user()),
            at: Timestamp(9),
            kind: EventKind::Unknown(UnknownKind {
                name: "poll:opened".into(),
                data,
            }),
        }
    }

    fn user() -> UserId {
        UserId::new("ana").unwrap()
    }

    fn signals() -> Vec<Signal> {
        let (conversation, user) = (conversation(), user());
        vec![
            Signal::Typing(TypingSignal {
                conversation,
                user: user.clone(),
                active: true,
            }),
            Signal::Presence(PresenceSignal {
                user: user.clone(),
                online: true,
                as_of: Timestamp(4),
            }),
            Signal::Marks(MarksSignal {
                conversation,
                user: user.clone(),
                read: Seq(3),
                delivered: Seq(4),
            }),
            Signal::Display(DisplaySignal {
                user,
                display: json!({"name": "Ana"}),
            }),
            Signal::Unknown {
                name: "wave".into(),
                data: Map::new(),
            },
        ]
    }

    fn bells() -> Vec<Bell> {
        let (conversation, epoch, user) = (conversation(), epoch(), user());
        let digest = Digest::of(&user);
        vec![
            Bell::Events {
                conversation,
                epoch,
                events: vec![event(1, "a"), event(2, "b")],
            },
            Bell::Head {
                conversation,
                epoch,
                position: Position {
                    seq: Seq(3),
                    tag: Tag(u64::MAX),
                },
            },
            Bell::Signals(signals()),
            Bell::UserChanged { user: user.clone() },
            Bell::Display {
                user: user.clone(),
                display: Value::Null,
            },
            Bell::Session {
                session: SessionId::from_parts(1, [4; 10]),
                attempt: u64::MAX,
            },
            Bell::Revoked {
                user: user.clone(),
                at: Timestamp(7),
            },
            Bell::Probe { number: u64::MAX },
            Bell::Presence(PresenceBell::Changed {
                version: 1,
                digest,
                user: user.clone(),
                online: true,
            }),
            Bell::Presence(PresenceBell::Digest { version: 1, digest }),
            Bell::Presence(PresenceBell::Ask { node: node(2) }),
            Bell::Presence(PresenceBell::All {
                version: 1,
                digest,
                part: 0,
                parts: 1,
                users: vec![user],
            }),
        ]
    }

    #[test]
    fn every_bell_arrives_as_it_was_rung() {
        for bell in bells() {
            let sealed = codec(1).seal(&bell).unwrap();
            assert_eq!(codec(2).open(&sealed), Some((node(1), bell)));
        }
    }

    #[test]
    fn every_signal_that_has_a_name_is_read() {
        let names: Vec<_> = signals().iter().map(|signal| signal.name().to_owned()).collect();
        for name in Signal::NAMES {
            assert!(names.iter().any(|known| known == name), "{name} is not in this test");
        }
    }

    #[test]
    fn ones_own_bell_is_not_heard() {
        assert_eq!(
            codec(1).open(&codec(1).seal(&Bell::UserChanged { user: user() }).unwrap()),
            None
        );
    }

    #[test]
    fn no_bit_can_be_altered() {
        let sealed = codec(1).seal(&Bell::UserChanged { user: user() }).unwrap();
        for at in 0..sealed.len() {
            let mut altered = sealed.to_vec();
            altered[at] ^= 1;
            assert_eq!(codec(2).open(&altered), None, "byte {at}");
        }
        for length in 0..sealed.len() {
            assert_eq!(codec(2).open(&sealed[..length]), None, "cut to {length}");
        }
    }

    #[test]
    fn a_bell_of_another_cluster_is_not_heard() {
        let foreign = BellCodec::new(&Secret([8; 32]), node(1), 64 * 1024);
        assert_eq!(
            codec(2).open(&foreign.seal(&Bell::UserChanged { user: user() }).unwrap()),
            None
        );
    }

    #[test]
    fn a_bell_of_a_newer_node_is_unknown() {
        for body in [json!({"moon": {}}), json!({"head": {"shape": 2}}), json!(["new"])] {
            assert_eq!(
                codec(2).open(&codec(1).seal_body(&body)),
                Some((node(1), Bell::Unknown)),
                "{body}"
            );
        }
    }

    #[test]
    fn a_batch_that_is_too_long_rings_with_its_head() {
        let open = |events: &[Arc<Event>]| {
            let sealed = codec(1).seal_events(conversation(), epoch(), events)?;
            assert!(sealed.len() <= 64 * 1024);
            codec(2).open(&sealed).map(|(_, bell)| bell)
        };
        let short = [Arc::new(event(1, "a")), Arc::new(event(2, "b"))];
        let events = vec![event(1, "a"), event(2, "b")];
        let (conversation, epoch) = (conversation(), epoch());
        assert_eq!(
            open(&short),
            Some(Bell::Events {
                conversation,
                epoch,
                events
            })
        );
        let long: Vec<_> = (1..6).map(|seq| Arc::new(event(seq, &"x".repeat(16 * 1024)))).collect();
        let position = long[4].position();
        assert_eq!(
            open(&long),
            Some(Bell::Head {
                conversation,
                epoch,
                position
            })
        );
        assert_eq!(open(&[]), None);
    }

    #[test]
    fn many_signals_ring_in_as_many_bells_as_it_takes() {
        let narrow = BellCodec::new(&Secret([7; 32]), node(1), 512);
        let many: Vec<Signal> = (0..40).flat_map(|_| signals()).collect();
        let bells = narrow.seal_signals(&many);
        assert!(bells.iter().all(|bell| bell.len() <= 512) && bells.len() < many.len());
        let heard = bells.iter().flat_map(|bell| match codec(2).open(bell) {
            Some((_, Bell::Signals(signals))) => signals,
            other => panic!("{other:?}"),
        });
        assert_eq!(heard.collect::<Vec<_>>(), many);
        let tiny = BellCodec::new(&Secret([7; 32]), node(1), 64);
        assert_eq!(tiny.seal_signals(&many).len(), 0, "what does not fit is not rung");
    }
}
