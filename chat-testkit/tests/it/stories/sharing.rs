//! One event, many receivers: encoded once for each codec, and the same allocation is written to all of them.

use super::house::House;
use super::say::*;
use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use chat_core::code::CloseCode;
use chat_core::codec::Codec;
use chat_core::frame::{ClientFrame, Resume};
use chat_core::transport::{Connection, Framing, Handshake, Incoming, Outlet, Received};
use chat_testkit::wire::Memory;
use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;

/// What is looked for in a frame.
const WORDS: &str = "said once, heard by many";

static FRAMED: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

/// Counts how often an event with the words is framed.
static COUNTING: Framing = Framing {
    name: "counting",
    frame: |codec, payload| {
        if holds(payload, WORDS) && holds(payload, "message:new") {
            FRAMED[codec as usize].fetch_add(1, Ordering::SeqCst);
        }
        let mut frame = BytesMut::with_capacity(payload.len() + 1);
        frame.put_u8(0);
        frame.put_slice(payload);
        frame.freeze()
    },
    close: |_: CloseCode, _| None,
};

fn holds(bytes: &[u8], words: &str) -> bool {
    bytes.windows(words.len()).any(|window| window == words.as_bytes())
}

/// A socket that keeps where the bytes lay that it was given.
#[derive(Default)]
struct Looker {
    full: AtomicBool,
    room: Notify,
    /// The address of every frame with the words in it.
    seen: Mutex<Vec<usize>>,
}

#[async_trait]
impl Outlet for Looker {
    fn framing(&self) -> &'static Framing {
        &COUNTING
    }

    fn try_write(&self, frames: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let with_words = frames
            .iter()
            .filter(|frame| holds(frame, WORDS) && holds(frame, "message:new"));
        self.seen
            .lock()
            .unwrap()
            .extend(with_words.map(|frame| frame.as_ptr() as usize));
        Ok(frames.iter().map(|frame| frame.len()).sum())
    }

    async fn writable(&self) -> io::Result<()> {
        while self.full.load(Ordering::SeqCst) {
            self.room.notified().await;
        }
        Ok(())
    }
}

/// A client that says its part and then nothing.
struct Script(mpsc::UnboundedReceiver<Bytes>);

#[async_trait]
impl Incoming for Script {
    async fn recv(&mut self) -> Received {
        match self.0.recv().await {
            Some(frame) => Received::Frame(frame),
            None => Received::Lost,
        }
    }

    async fn linger(&mut self) {}
}

/// A connected client; while the sender lives it stays.
fn connect(house: &House, codec: Codec, name: &str) -> (Arc<Looker>, mpsc::UnboundedSender<Bytes>) {
    let outlet = Arc::new(Looker::default());
    let (says, script) = mpsc::unbounded_channel();
    for frame in [
        ClientFrame::Hello(Memory::hello_of(name)),
        ClientFrame::Resume(Resume {
            last: true,
            ..Resume::default()
        }),
    ] {
        says.send(codec.encode(&frame).into()).unwrap();
    }
    let connection = Connection {
        handshake: Handshake::new(codec),
        incoming: Box::new(Script(script)),
        outlet: outlet.clone(),
    };
    let acceptor = house.engine.acceptor();
    tokio::spawn(async move {
        let permit = acceptor.admit(None).unwrap();
        acceptor.accept(connection, permit).await;
    });
    (outlet, says)
}

#[tokio::test(start_paused = true)]
async fn every_receiver_of_an_event_is_given_the_same_allocation_which_is_encoded_once_a_codec() {
    let house = House::open().await;
    let mut ana = house.guest("ana").await;
    let names: Vec<String> = (0..40).map(|n| format!("user {n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let group = group(&mut ana, &names).await;
    let clients: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(n, name)| connect(&house, [Codec::Json, Codec::MessagePack][n % 2], name))
        .collect();
    sleep(Duration::from_millis(100)).await;
    // Some take nothing now: for them it waits in their queues, and is the same all the same.
    for (outlet, _) in &clients[30..] {
        outlet.full.store(true, Ordering::SeqCst);
    }
    say(&mut ana, group, WORDS).await;
    sleep(Duration::from_millis(100)).await;
    for (outlet, _) in &clients[30..] {
        assert!(outlet.seen.lock().unwrap().is_empty());
        outlet.full.store(false, Ordering::SeqCst);
        outlet.room.notify_one();
    }
    sleep(Duration::from_millis(100)).await;
    let mut lay = [BTreeSet::new(), BTreeSet::new()];
    for (n, (outlet, _)) in clients.iter().enumerate() {
        let seen = outlet.seen.lock().unwrap();
        assert_eq!(seen.len(), 1, "everybody has it once");
        lay[n % 2].extend(seen.iter().copied());
    }
    assert_eq!(lay.each_ref().map(BTreeSet::len), [1, 1], "one allocation a codec");
    assert!(lay[0].is_disjoint(&lay[1]));
    assert_eq!(FRAMED.each_ref().map(|count| count.load(Ordering::SeqCst)), [1, 1]);
}
