//! What every [`Transport`] keeps, tried from both ends of its connections.

use async_trait::async_trait;
use bytes::Bytes;
use chat_core::code::CloseCode;
use chat_core::codec::Codec;
use chat_core::engine::Acceptor;
use chat_core::transport::{Connection, Outlet, Received, Stop, Transport};
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// What an implementation brings to be tried: the transport, and a client that somebody could have written.
#[async_trait]
pub trait TransportFixture: Send + Sync {
    /// The transport, not bound yet.
    fn transport(&self) -> Box<dyn Transport>;

    /// Connects a client to where [`bind`](Transport::bind) said; none when it is not let in.
    async fn connect(&self, url: &str, codec: Codec) -> Option<Box<dyn TransportPeer>>;
}

/// The client's end of a connection. Dropping it closes the connection without a word.
#[async_trait]
pub trait TransportPeer: Send {
    /// Sends a frame of the agreed codec's kind; may wait while the transport reads nothing.
    async fn send(&mut self, payload: &[u8]) -> io::Result<()>;

    /// Sends a short frame (at most 100 bytes) in pieces, with pauses in which the transport sees half of it.
    async fn send_in_pieces(&mut self, payload: &[u8]) -> io::Result<()>;

    /// Sends a ping of the wire's own; false when the wire has none.
    async fn ping(&mut self) -> io::Result<bool>;

    /// Says goodbye; false when the wire has no word for it.
    async fn close(&mut self) -> io::Result<bool>;

    /// Breaks the wire's rules.
    async fn misbehave(&mut self, how: Misbehaviour) -> io::Result<()>;

    /// What the transport sent next.
    async fn recv(&mut self) -> Seen;
}

/// What a client sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A frame of the agreed codec's kind.
    Frame(Bytes),
    /// The answer to a ping.
    Pong,
    /// A goodbye with its reason.
    Closed(CloseCode, String),
    /// The end of the connection.
    End,
}

/// A rule broken, and the close code for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misbehaviour {
    /// Bytes that are no frame: 1002.
    Garbage,
    /// A frame of the kind that the codec does not use: 1003.
    OtherKind,
    /// A header that declares 16 MiB: 1009, before any of it comes.
    TooLong,
}

/// No call waits for longer.
const CALL_MAX: Duration = Duration::from_secs(10);

promises! {
    $
    /// Makes a test of every promise of a transport: attributes for the tests, then an expression, which may await,
    /// that makes a [`TransportFixture`](crate::contract::transport::TransportFixture).
    macro transport_contract(TransportFixture) in transport;

    /// What a client sends arrives frame by frame, as long as it was, in its order.
    async fn frames_arrive_whole_and_in_order(fixture) {
        let (mut peer, mut engine) = connected(fixture).await;
        let frames: Vec<Vec<u8>> = LENGTHS.iter().map(|length| vec![b'a'; *length]).collect();
        let sent = frames.clone();
        let sender = tokio::spawn(async move {
            for frame in sent {
                peer.send(&frame).await.expect("open");
            }
            peer
        });
        for frame in frames {
            assert_eq!(engine.recv().await, Received::Frame(frame.into()));
        }
        drop(soon(sender).await.expect("no panic"));
    }

    /// A dropped `recv` loses no byte.
    async fn recv_is_cancel_safe(fixture) {
        let (mut peer, mut engine) = connected(fixture).await;
        let sender = tokio::spawn(async move {
            for number in 0..40_u8 {
                let letter = b'a' + number % 26;
                match number % 3 {
                    0 => peer.send_in_pieces(&[letter; 100]).await.expect("open"),
                    _ => peer.send(&[letter; 100]).await.expect("open"),
                }
            }
            peer
        });
        for number in 0..40_u8 {
            let received = loop {
                if let Some(received) = once(engine.connection.incoming.recv()).await {
                    break received;
                }
                sleep(Duration::from_micros(200)).await;
            };
            assert_eq!(received, Received::Frame(vec![b'a' + number % 26; 100].into()));
        }
        drop(soon(sender).await.expect("no panic"));
    }

    /// What the engine writes reaches the client whole and in order, wherever the transport cuts the writes.
    async fn frames_leave_whole_and_in_order_under_half_writes(fixture) {
        let (mut peer, engine) = connected(fixture).await;
        let frames: Vec<Bytes> = (0..400_usize)
            .map(|number| Bytes::from(vec![b'a' + (number % 26) as u8; number * 37 % 8000]))
            .collect();
        let sent = frames.clone();
        let writer = tokio::spawn(async move {
            let mut halves = 0;
            for batch in sent.chunks(7) {
                let batch: Vec<Bytes> = batch.iter().map(|payload| engine.framed(payload)).collect();
                halves += write(&*engine.connection.outlet, &batch).await.expect("open");
            }
            (engine, halves)
        });
        for frame in frames {
            assert_eq!(see(&mut *peer).await, Seen::Frame(frame));
        }
        drop(soon(writer).await.expect("no panic"));
    }

    /// A client that does not read makes `try_write` refuse, after a bounded number of bytes; `writable` waits until
    /// it reads again, and a dropped wait harms nothing.
    async fn a_full_connection_refuses_until_it_takes_more(fixture) {
        let (mut peer, engine) = connected(fixture).await;
        let frame = engine.framed(&[b'a'; 16_000]);
        let outlet = &*engine.connection.outlet;
        let mut sent = 0;
        let rest = 'full: loop {
            assert!(sent < 4000, "64 MB waited: nothing is bounded");
            let mut rest = frame.clone();
            while !rest.is_empty() {
                match outlet.try_write(&[IoSlice::new(&rest)]) {
                    Ok(count) => drop(rest.split_to(count)),
                    Err(error) => {
                        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                        // What is on its way to a kernel or a pump may still make room.
                        if timeout(Duration::from_millis(300), outlet.writable()).await.is_err() {
                            break 'full rest;
                        }
                    }
                }
            }
            sent += 1;
        };
        assert!(once(outlet.writable()).await.is_none());
        let rest = [rest];
        let (written, ()) = soon(async {
            tokio::join!(write(outlet, &rest), async {
                for _ in 0..sent {
                    assert!(matches!(see(&mut *peer).await, Seen::Frame(_)));
                }
            })
        })
        .await;
        written.expect("open");
        let last = see(&mut *peer).await;
        assert_eq!(last, Seen::Frame(vec![b'a'; 16_000].into()), "the frame that was cut is whole");
    }

    /// A client that does not read delays nobody else.
    async fn a_full_connection_harms_no_other(fixture) {
        let served = Served::by(fixture).await;
        let (_silent, full) = served.connect(fixture, Codec::Json).await;
        let frame = full.framed(&[b'a'; 16_000]);
        while full.connection.outlet.try_write(&[IoSlice::new(&frame)]).is_ok() {}
        let (mut peer, mut engine) = served.connect(fixture, Codec::Json).await;
        soon(peer.send(b"hello")).await.expect("open");
        assert_eq!(engine.recv().await, Received::Frame("hello".into()));
        engine.write(b"hello").await.expect("open");
        assert_eq!(see(&mut *peer).await, Seen::Frame("hello".into()));
    }

    /// What the transport itself has to say comes out of `recv` at its place, and reaches the client only through
    /// the outlet.
    async fn answers_keep_their_place(fixture) {
        let (mut peer, mut engine) = connected(fixture).await;
        peer.send(b"before").await.expect("open");
        if !peer.ping().await.expect("open") {
            return;
        }
        peer.send(b"behind").await.expect("open");
        assert_eq!(engine.recv().await, Received::Frame("before".into()));
        let Received::Answer(answer) = engine.recv().await else {
            panic!("a ping asks for an answer");
        };
        assert_eq!(engine.recv().await, Received::Frame("behind".into()));
        engine.write(b"first").await.expect("open");
        assert_eq!(see(&mut *peer).await, Seen::Frame("first".into()), "the answer has not left by itself");
        write(&*engine.connection.outlet, &[answer]).await.expect("open");
        engine.write(b"last").await.expect("open");
        assert_eq!(see(&mut *peer).await, Seen::Pong);
        assert_eq!(see(&mut *peer).await, Seen::Frame("last".into()));
    }

    /// A broken rule is a violation with the code of LIMITS, then nothing; the client learns code and reason, and the
    /// next client is served.
    async fn a_broken_rule_has_its_code(fixture) {
        let served = Served::by(fixture).await;
        for (how, expected) in [
            (Misbehaviour::Garbage, CloseCode::Protocol),
            (Misbehaviour::OtherKind, CloseCode::Unsupported),
            (Misbehaviour::TooLong, CloseCode::TooBig),
        ] {
            let (mut peer, mut engine) = served.connect(fixture, Codec::Json).await;
            peer.send(b"good").await.expect("open");
            peer.misbehave(how).await.expect("open");
            assert_eq!(engine.recv().await, Received::Frame("good".into()), "{how:?}");
            let Received::Violation(code, reason) = engine.recv().await else {
                panic!("{how:?} breaks a rule");
            };
            assert_eq!(code, expected, "{how:?}");
            assert_eq!(engine.recv().await, Received::Lost, "{how:?}");
            let lingering = tokio::spawn(engine.close(code, reason));
            assert_eq!(see(&mut *peer).await, Seen::Closed(code, reason.to_owned()), "{how:?}");
            drop(peer);
            soon(lingering).await.expect("no panic");
        }
    }

    /// A close reaches the client behind everything written before it, also when the client is still sending.
    async fn a_close_reaches_the_client(fixture) {
        let (mut peer, mut engine) = connected(fixture).await;
        for _ in 0..4 {
            peer.send(&[b'a'; 10_000]).await.expect("open");
        }
        engine.write(b"last words").await.expect("open");
        let lingering = tokio::spawn(engine.close(CloseCode::SlowConsumer, "slow_consumer"));
        let _ = peer.send(b"too late").await;
        assert_eq!(see(&mut *peer).await, Seen::Frame("last words".into()));
        assert_eq!(
            see(&mut *peer).await,
            Seen::Closed(CloseCode::SlowConsumer, "slow_consumer".to_owned())
        );
        assert_eq!(see(&mut *peer).await, Seen::End);
        drop(peer);
        soon(lingering).await.expect("no panic");
    }

    /// A lingering close ends in bounded time, also when the client neither reads nor closes.
    async fn lingering_ends(fixture) {
        let (_silent, mut engine) = connected(fixture).await;
        soon(engine.connection.incoming.linger()).await;
    }

    /// A client's goodbye is told, with the answer that its wire wants; then nothing more comes.
    async fn a_goodbye_is_told(fixture) {
        let (mut peer, mut engine) = connected(fixture).await;
        peer.send(b"bye").await.expect("open");
        if !peer.close().await.expect("open") {
            return;
        }
        assert_eq!(engine.recv().await, Received::Frame("bye".into()));
        let Received::Closed(answer) = engine.recv().await else {
            panic!("the client said goodbye");
        };
        assert_eq!(engine.recv().await, Received::Lost);
        if let Some(answer) = answer {
            write(&*engine.connection.outlet, &[answer]).await.expect("open");
            assert!(matches!(see(&mut *peer).await, Seen::Closed(..)));
        }
    }

    /// A client that is gone is noticed by who reads and by who writes, and what it sent before is not lost.
    async fn a_lost_client_is_noticed(fixture) {
        let (mut peer, mut engine) = connected(fixture).await;
        peer.send(b"last").await.expect("open");
        drop(peer);
        assert_eq!(engine.recv().await, Received::Frame("last".into()));
        assert_eq!(engine.recv().await, Received::Lost);
        assert_eq!(engine.recv().await, Received::Lost, "and stays lost");
        soon(async {
            while engine.write(&[b'a'; 1000]).await.is_ok() {
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }

    /// When the engine drops a connection, the client's side ends too.
    async fn a_dropped_connection_ends_for_the_client(fixture) {
        let (mut peer, mut engine) = connected(fixture).await;
        engine.write(b"last").await.expect("open");
        drop(engine);
        assert_eq!(see(&mut *peer).await, Seen::Frame("last".into()));
        assert_eq!(see(&mut *peer).await, Seen::End);
    }

    /// The handshake says the codec that the client chose; frames of one codec are the same bytes for everybody.
    async fn the_codec_is_the_clients_choice(fixture) {
        let served = Served::by(fixture).await;
        for codec in Codec::ALL {
            let (mut peer, mut engine) = served.connect(fixture, codec).await;
            let (_other_peer, other) = served.connect(fixture, codec).await;
            assert_eq!(engine.connection.handshake.codec, codec);
            let (framing, same) = (engine.connection.outlet.framing(), other.connection.outlet.framing());
            assert!(std::ptr::eq(framing, same), "one framing for all");
            peer.send(b"{}").await.expect("open");
            assert_eq!(engine.recv().await, Received::Frame("{}".into()));
            engine.write(b"{}").await.expect("open");
            assert_eq!(see(&mut *peer).await, Seen::Frame("{}".into()));
        }
    }

    /// A node that takes nobody lets nobody in.
    async fn a_refused_client_is_not_let_in(fixture) {
        let mut transport = fixture.transport();
        let url = transport.bind().await.expect("can be bound");
        let stop = Stop::default();
        let serving = tokio::spawn(transport.serve(Acceptor::refusing(Duration::from_secs(1)), stop.clone()));
        assert!(soon(fixture.connect(&url, Codec::Json)).await.is_none());
        stop.stop();
        soon(serving).await.expect("no panic");
    }

    /// When told to stop, `serve` returns and lets nobody in any more; connections go on.
    async fn stopping_ends_serving_and_no_connection(fixture) {
        let mut served = Served::by(fixture).await;
        let (mut peer, mut engine) = served.connect(fixture, Codec::Json).await;
        served.stop.stop();
        soon(&mut served.serving).await.expect("no panic");
        assert!(soon(fixture.connect(&served.url, Codec::Json)).await.is_none());
        peer.send(b"still here").await.expect("open");
        assert_eq!(engine.recv().await, Received::Frame("still here".into()));
        engine.write(b"so am I").await.expect("open");
        assert_eq!(see(&mut *peer).await, Seen::Frame("so am I".into()));
    }
}

const LENGTHS: [usize; 9] = [0, 1, 125, 126, 127, 4096, 65_535, 65_536, 2];

/// A transport that serves an engine which is none.
struct Served {
    url: String,
    stop: Stop,
    serving: JoinHandle<()>,
    connections: tokio::sync::Mutex<mpsc::UnboundedReceiver<Held>>,
}

/// The engine's end of a connection; dropping it ends the connection.
struct Held {
    connection: Connection,
    _over: oneshot::Sender<()>,
}

impl Served {
    async fn by(fixture: &dyn TransportFixture) -> Self {
        let mut transport = fixture.transport();
        let url = transport.bind().await.expect("can be bound");
        let (held, connections) = mpsc::unbounded_channel();
        let acceptor = Acceptor::probe(move |connection| {
            let (over, ended) = oneshot::channel::<()>();
            let _ = held.send(Held {
                connection,
                _over: over,
            });
            async move {
                let _ = ended.await;
            }
        });
        let stop = Stop::default();
        let serving = tokio::spawn(transport.serve(acceptor, stop.clone()));
        Self {
            url,
            stop,
            serving,
            connections: tokio::sync::Mutex::new(connections),
        }
    }

    async fn connect(&self, fixture: &dyn TransportFixture, codec: Codec) -> (Box<dyn TransportPeer>, Held) {
        let peer = soon(fixture.connect(&self.url, codec)).await.expect("let in");
        let held = soon(async { self.connections.lock().await.recv().await }).await;
        (peer, held.expect("the transport serves"))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

impl Held {
    async fn recv(&mut self) -> Received {
        soon(self.connection.incoming.recv()).await
    }

    fn framed(&self, payload: &[u8]) -> Bytes {
        (self.connection.outlet.framing().frame)(self.connection.handshake.codec, payload)
    }

    async fn write(&mut self, payload: &[u8]) -> io::Result<usize> {
        let frame = self.framed(payload);
        soon(write(&*self.connection.outlet, &[frame])).await
    }

    /// What the engine does at the end of a connection.
    async fn close(mut self, code: CloseCode, reason: &'static str) {
        if let Some(frame) = (self.connection.outlet.framing().close)(code, reason) {
            let _ = soon(write(&*self.connection.outlet, &[frame])).await;
        }
        soon(self.connection.incoming.linger()).await;
    }
}

/// One client and the engine's end of its connection.
async fn connected(fixture: &dyn TransportFixture) -> (Box<dyn TransportPeer>, Held) {
    let served = Served::by(fixture).await;
    served.connect(fixture, Codec::Json).await
}

async fn see(peer: &mut dyn TransportPeer) -> Seen {
    soon(peer.recv()).await
}

/// Writes frames as the engine does: all at once, then what was not taken. Says how often a frame was cut.
async fn write(outlet: &dyn Outlet, frames: &[Bytes]) -> io::Result<usize> {
    let mut frames: Vec<Bytes> = frames.iter().filter(|frame| !frame.is_empty()).cloned().collect();
    let mut halves = 0;
    while !frames.is_empty() {
        let slices: Vec<IoSlice<'_>> = frames.iter().map(|frame| IoSlice::new(frame)).collect();
        match outlet.try_write(&slices) {
            Ok(mut written) => {
                while let Some(first) = frames.first_mut() {
                    if written < first.len() {
                        halves += usize::from(written > 0);
                        drop(first.split_to(written));
                        break;
                    }
                    written -= first.len();
                    frames.remove(0);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => outlet.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(halves)
}

/// Polls a future once and drops it.
async fn once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(CALL_MAX, future).await.expect("comes in time")
}
