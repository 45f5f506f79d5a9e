//! What each connection got: the way from a client to some node, with an ear on it.
//!
//! The ear knows nothing of the engine but the protocol: a connection's stretch of a log begins at the client's cursor
//! or at the head of an entry that is new to the client, and goes on without a gap until a reset or an end.

use super::device::Seat;
use super::recorder::{Invariant, Recorder, Short};
use crate::random::Random;
use crate::transport::{Dial, InProcessConnector};
use async_trait::async_trait;
use bytes::Bytes;
use chat_client::{ConnectError, Connector, Pipe, PipeLost, PipeReceiver, PipeSender, Received};
use chat_core::code::CloseCode;
use chat_core::codec::Codec;
use chat_core::event::EventKind;
use chat_core::frame::{ClientFrame, LogItem, Outcome, ServerFrame};
use chat_core::id::{ConversationId, Seq, UserId};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What was carried to whom: judged in the end against the memberships of that moment.
pub(super) type Carried = Arc<Mutex<Vec<Delivered>>>;

/// One event on its way to a user.
#[derive(Debug, Clone)]
pub(super) struct Delivered {
    pub seat: Arc<str>,
    pub user: UserId,
    pub conversation: ConversationId,
    pub seq: Seq,
    pub at_ms: u64,
}

/// The network between all clients and all nodes.
#[derive(Debug, Clone)]
pub(super) struct Network {
    pub places: Arc<Vec<InProcessConnector>>,
    pub carried: Carried,
    pub recorder: Recorder,
    /// Whether pushes come in order and once on every connection, as they do over TCP.
    pub orderly: Arc<AtomicBool>,
    pub connections: Arc<AtomicU64>,
}

/// One device's way to a node: a load balancer that knows nothing.
pub(super) struct Balancer {
    network: Network,
    seat: Seat,
    random: Mutex<Random>,
}

impl Balancer {
    pub fn new(network: Network, seat: Seat, random: Random) -> Self {
        let random = Mutex::new(random);
        Self { network, seat, random }
    }
}

#[async_trait]
impl Connector for Balancer {
    async fn connect(&self, codec: Codec) -> Result<Pipe, ConnectError> {
        let (place, random) = {
            let mut random = self.random.lock().expect("no panic while the lock is held");
            let count = self.network.places.len() as u64;
            (random.below(0..count), random.fork())
        };
        let index = usize::try_from(place).expect("below a count");
        let dial = Dial {
            to_client_bytes: self.seat.plan.pipe_bytes,
            to_server_bytes: self.seat.plan.pipe_bytes,
            write_bytes_max: self.seat.plan.write_bytes_max,
            ..Dial::new(codec)
        };
        let connected = self.network.places[index].dialing(dial).connect(codec).await;
        let recorder = &self.network.recorder;
        let pipe = connected.inspect_err(|error| {
            recorder.note(format_args!(
                "{} finds no way into node {index}: {error}",
                self.seat.name
            ));
        })?;
        let number = self.network.connections.fetch_add(1, Ordering::Relaxed);
        recorder.note(format_args!("{} connects to node {index} as #{number}", self.seat.name));
        let ear = Arc::new(Mutex::new(Ear {
            name: format!("{} #{number}", self.seat.name).into(),
            user: self.seat.user.clone(),
            carried: self.network.carried.clone(),
            recorder: recorder.clone(),
            places: BTreeMap::new(),
        }));
        let receiver = Listening {
            inner: pipe.receiver,
            codec,
            ear: ear.clone(),
            ready: VecDeque::new(),
            held: None,
            orderly: self.network.orderly.clone(),
            unruly: self.seat.plan.unruly,
            random,
        };
        Ok(Pipe {
            sender: Box::new(Speaking {
                inner: pipe.sender,
                codec,
                ear,
            }),
            receiver: Box::new(receiver),
        })
    }
}

struct Speaking {
    inner: Box<dyn PipeSender>,
    codec: Codec,
    ear: Arc<Mutex<Ear>>,
}

#[async_trait]
impl PipeSender for Speaking {
    async fn send(&mut self, frames: &mut VecDeque<Bytes>) -> Result<(), PipeLost> {
        // What a dropped call left is looked at again, which changes nothing: it was not sent yet.
        for frame in frames.iter() {
            if let Ok(ClientFrame::Resume(resume)) = self.codec.decode_client(frame) {
                let mut ear = self.ear.lock().expect("no panic while the lock is held");
                for cursor in resume.cursors {
                    ear.places.insert(cursor.conversation, Place::at(cursor.seq));
                }
            }
        }
        self.inner.send(frames).await
    }

    async fn close(&mut self, code: CloseCode) {
        self.inner.close(code).await;
    }
}

struct Listening {
    inner: Box<dyn PipeReceiver>,
    codec: Codec,
    ear: Arc<Mutex<Ear>>,
    ready: VecDeque<Bytes>,
    /// A push that the next frame overtakes.
    held: Option<Bytes>,
    orderly: Arc<AtomicBool>,
    unruly: f64,
    random: Random,
}

#[async_trait]
impl PipeReceiver for Listening {
    async fn recv(&mut self) -> Received {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Received::Frame(frame);
            }
            match self.inner.recv().await {
                Received::Frame(bytes) => self.take(bytes),
                closed @ Received::Closed(_) => return closed,
            }
        }
    }
}

impl Listening {
    fn take(&mut self, bytes: Bytes) {
        let frame = self.codec.decode_server(&bytes);
        let is_push = matches!(
            frame,
            Ok(ServerFrame::Event(_) | ServerFrame::Page(_) | ServerFrame::Skip(_))
        );
        let mut ear = self.ear.lock().expect("no panic while the lock is held");
        match frame {
            Ok(frame) => ear.hear(&frame),
            Err(error) => ear.complain(format!("a frame that cannot be read: {error}")),
        }
        drop(ear);
        if is_push && self.unruly > 0.0 && !self.orderly.load(Ordering::Relaxed) {
            if self.held.is_none() && self.random.chance(self.unruly) {
                self.held = Some(bytes);
                return;
            }
            if self.random.chance(self.unruly) {
                self.ready.push_back(bytes.clone());
            }
        }
        // A push is overtaken by pushes only: other frames are about the whole connection.
        match (is_push, self.held.take()) {
            (true, held) => {
                self.ready.push_back(bytes);
                self.ready.extend(held);
            }
            (false, held) => {
                self.ready.extend(held);
                self.ready.push_back(bytes);
            }
        }
    }
}

/// Follows what one connection gets of each log.
struct Ear {
    name: Arc<str>,
    user: UserId,
    carried: Carried,
    recorder: Recorder,
    places: BTreeMap<ConversationId, Place>,
}

struct Place {
    at: Seq,
    /// The membership ended at `at`: an entry may begin it anew.
    ended: bool,
    anew: Option<Seq>,
}

impl Place {
    fn at(at: Seq) -> Self {
        Self {
            at,
            ended: false,
            anew: None,
        }
    }
}

impl Ear {
    fn hear(&mut self, frame: &ServerFrame) {
        match frame {
            ServerFrame::Inbox(push) => {
                for entry in &push.entries {
                    let head = entry.head.seq;
                    let place = self.places.entry(entry.conversation.id);
                    let place = place.or_insert_with(|| Place::at(head));
                    if place.ended && place.anew.is_none() {
                        place.anew = Some(head);
                    }
                }
            }
            ServerFrame::Reset(reset) => match (reset.conversation, &reset.entry) {
                (None, _) => self.places.clear(),
                (Some(conversation), None) => {
                    self.places.remove(&conversation);
                }
                (Some(conversation), Some(entry)) => {
                    self.places.insert(conversation, Place::at(entry.head.seq));
                }
            },
            ServerFrame::Event(event) => self.step(&LogItem::Event(event.clone())),
            ServerFrame::Skip(skip) => self.step(&LogItem::Skip(skip.clone())),
            ServerFrame::Page(page) => page.items.iter().for_each(|item| self.step(item)),
            ServerFrame::Reply(reply) => {
                if let Outcome::Log(page) = &reply.result {
                    page.items.iter().for_each(|item| self.carry(item));
                }
            }
            _ => {}
        }
    }

    fn step(&mut self, item: &LogItem) {
        self.carry(item);
        let (conversation, is_end) = match item {
            LogItem::Event(event) => (event.conversation, ends(&event.kind, &self.user)),
            LogItem::Skip(skip) => (skip.conversation, false),
        };
        let (first, last) = (item.first(), item.position().seq);
        let Some(place) = self.places.get_mut(&conversation) else {
            let what = format!("{} {first} of a log that was not begun", Short(&conversation));
            return self.complain(what);
        };
        let (at, anew) = (place.at, place.anew);
        let continues = first == at.next() || anew.is_some_and(|anew| first == anew.next());
        *place = Place {
            ended: is_end,
            ..Place::at(last)
        };
        if !continues {
            let or = anew.map(|anew| format!(" or {anew}")).unwrap_or_default();
            self.complain(format!("{} {first} follows {at}{or}", Short(&conversation)));
        }
    }

    fn carry(&self, item: &LogItem) {
        if let LogItem::Event(event) = item {
            let mut carried = self.carried.lock().expect("no panic while the lock is held");
            carried.push(Delivered {
                seat: self.name.clone(),
                user: self.user.clone(),
                conversation: event.conversation,
                seq: event.seq,
                at_ms: self.recorder.now_ms(),
            });
        }
    }

    fn complain(&self, what: String) {
        self.recorder
            .violated(Invariant::ExactWire, format!("{}: {what}", self.name));
    }
}

/// Whether an event ends the membership of this user.
pub(super) fn ends(kind: &EventKind, user: &UserId) -> bool {
    match kind {
        EventKind::MemberLeft(left) => left.user == *user,
        EventKind::MemberRemoved(removed) => removed.user == *user,
        EventKind::ConversationDeleted(_) => true,
        _ => false,
    }
}
