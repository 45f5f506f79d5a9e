//! What a session promises to its feed, over a socket that takes what it is told to.

use super::*;
use crate::delivery::{Delivery, Formats};
use crate::transport::{Framing, Handshake};
use bytes::Bytes;
use chat_protocol::codec::Codec;
use chat_protocol::frame::ServerFrame;
use chat_protocol::id::Timestamp;
use chat_protocol::signal::{PresenceSignal, Signal};
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::time::timeout;

/// A socket that takes so many bytes more.
struct Socket(AtomicUsize);

static FRAMING: Framing = Framing {
    name: "plain",
    frame: |_, payload| Bytes::copy_from_slice(payload),
    close: |_, _| None,
};

#[async_trait::async_trait]
impl Outlet for Socket {
    fn framing(&self) -> &'static Framing {
        &FRAMING
    }

    fn try_write(&self, frames: &[IoSlice<'_>]) -> io::Result<usize> {
        let length: usize = frames.iter().map(|frame| frame.len()).sum();
        let taken = length.min(self.0.load(Ordering::Relaxed));
        self.0.fetch_sub(taken, Ordering::Relaxed);
        match taken {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            taken => Ok(taken),
        }
    }

    async fn writable(&self) -> io::Result<()> {
        Ok(())
    }
}

fn session(takes: usize, limits: &Limits, memory: &Arc<Memory>) -> (Arc<Session>, Arc<Socket>) {
    let socket = Arc::new(Socket(takes.into()));
    let format = Formats::default().intern(Handshake::new(Codec::Json).codec, &FRAMING);
    let session = Session::new(1, format, socket.clone(), limits, memory.clone());
    session.attach(Revision::ZERO);
    (session, socket)
}

async fn is_roused(session: &Session) -> bool {
    timeout(Duration::from_secs(1), session.roused()).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_found_no_memory_looks_again_although_nobody_calls_it() {
    let memory = Memory::new(1_000);
    let (session, _) = session(usize::MAX, &Limits::default(), &memory);
    assert!(is_roused(&session).await, "attaching is a reason to look");
    session.poke();
    let full = memory.counted(Bytes::from(vec![0; 960]));
    assert_eq!(session.next_work(None), Work::Nothing);
    assert!(is_roused(&session).await, "it was poked");
    assert_eq!(session.next_work(None), Work::Nothing);
    // The memory comes back before the feed waits, and nothing else happens here.
    drop(full);
    assert!(is_roused(&session).await);
    assert_ne!(session.next_work(None), Work::Nothing);
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_waits_for_its_socket_looks_again_although_memory_is_short_by_then() {
    let memory = Memory::new(1_000_000);
    let limits = Limits {
        session_queue_bytes_max: 10,
        ..Limits::default()
    };
    let (session, socket) = session(0, &limits, &memory);
    session.send(&ServerFrame::Ping);
    assert!(is_roused(&session).await, "attaching is a reason to look");
    assert_eq!(session.next_work(None), Work::Nothing);
    session.poke();
    assert!(is_roused(&session).await, "it was poked");
    assert_eq!(session.next_work(None), Work::Nothing);
    let full = memory.counted(Bytes::from(vec![0; 960_000]));
    socket.0.store(usize::MAX, Ordering::Relaxed);
    session.flush().unwrap();
    assert!(is_roused(&session).await);
    assert_eq!(session.next_work(None), Work::Nothing);
    drop(full);
    assert!(is_roused(&session).await);
    assert_ne!(session.next_work(None), Work::Nothing);
}

#[tokio::test(start_paused = true)]
async fn of_two_news_about_one_user_the_later_counts_whichever_is_told_first() {
    let (memory, hub) = (Memory::new(1_000_000), Hub::new(4));
    let (session, socket) = session(0, &Limits::default(), &memory);
    session.identify(Who {
        user: "watcher".parse().unwrap(),
        session: SessionId::from_parts(1, [1; 10]),
        attempt: 1,
        capabilities: CAPABILITIES.into(),
    });
    let tell = |name: &str, number: u64, online: bool| {
        let signal = Signal::Presence(PresenceSignal {
            user: name.parse().unwrap(),
            online,
            as_of: Timestamp(number),
        });
        let delivery = Delivery::signal(signal.clone(), &memory);
        session.tell(number, &name.parse().unwrap(), signal.key(), &delivery);
        session.queued_bytes()
    };
    session.watch_users(&hub, vec!["ana".parse().unwrap()]);
    let waits = tell("ana", 7, false);
    assert!(waits > 0);
    assert_eq!(tell("ana", 5, true), waits, "older");
    assert_eq!(tell("ben", 9, true), waits, "nobody watches him");
    assert_eq!(tell("ana", 8, true), waits - 1, "in place of the one before");
    // Watched anew, what was told is still known.
    session.watch_users(&hub, vec!["ana".parse().unwrap(), "ben".parse().unwrap()]);
    assert_eq!(tell("ana", 6, false), waits - 1);
    session.watch_users(&hub, Vec::new());
    assert_eq!(tell("ana", 9, false), waits - 1);
    assert!(!hub.presence().is_watched(&"ana".parse().unwrap()));
    socket.0.store(usize::MAX, Ordering::Relaxed);
    session.flush().unwrap();
    assert_eq!(session.queued_bytes(), 0);
}
