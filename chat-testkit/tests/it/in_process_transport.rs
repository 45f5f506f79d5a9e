//! The in-process transport keeps the contract, and its knobs do what they say.

use async_trait::async_trait;
use bytes::Bytes;
use chat_core::code::CloseCode;
use chat_core::codec::Codec;
use chat_core::engine::Acceptor;
use chat_core::transport::{Connection, Received, Stop, Transport};
use chat_testkit::contract::transport::{Misbehaviour, Seen, TransportFixture, TransportPeer};
use chat_testkit::transport::{Dial, Heard, InProcessConnector, InProcessPipe, in_process};
use std::io;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

mod contract {
    chat_testkit::transport_contract!(
        #[tokio::test(start_paused = true)]
        super::Fixture::new(usize::MAX)
    );
}

mod contract_with_half_frames {
    chat_testkit::transport_contract!(
        #[tokio::test(start_paused = true)]
        super::Fixture::new(97)
    );
}

struct Fixture {
    connector: InProcessConnector,
    write_bytes_max: usize,
}

impl Fixture {
    fn new(write_bytes_max: usize) -> Self {
        let (_, connector) = in_process();
        Self {
            connector,
            write_bytes_max,
        }
    }
}

#[async_trait]
impl TransportFixture for Fixture {
    fn transport(&self) -> Box<dyn Transport> {
        Box::new(self.connector.transport())
    }

    async fn connect(&self, _url: &str, codec: Codec) -> Option<Box<dyn TransportPeer>> {
        let dial = Dial {
            write_bytes_max: self.write_bytes_max,
            ..Dial::new(codec)
        };
        let pipe = self.connector.connect(dial).await.ok()?;
        Some(Box::new(Peer(pipe)))
    }
}

struct Peer(InProcessPipe);

#[async_trait]
impl TransportPeer for Peer {
    async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        self.0.send(payload).await
    }

    async fn send_in_pieces(&mut self, payload: &[u8]) -> io::Result<()> {
        let frame = [&[1, 0, 0, 0, payload.len() as u8], payload].concat();
        for piece in frame.chunks(37) {
            self.0.sender.write(piece).await?;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    async fn ping(&mut self) -> io::Result<bool> {
        self.0.sender.ping("").await.map(|()| true)
    }

    async fn close(&mut self) -> io::Result<bool> {
        self.0.sender.close(CloseCode::Normal).await.map(|()| true)
    }

    async fn misbehave(&mut self, how: Misbehaviour) -> io::Result<()> {
        let bytes: &[u8] = match how {
            Misbehaviour::Garbage => &[200, 0, 0, 0, 0],
            Misbehaviour::OtherKind => &[2, 0, 0, 0, 1, 0x80],
            Misbehaviour::TooLong => &[1, 1, 0, 0, 0],
        };
        self.0.sender.write(bytes).await
    }

    async fn recv(&mut self) -> Seen {
        match self.0.recv().await {
            Heard::Frame(payload) => Seen::Frame(payload),
            Heard::Pong(_) => Seen::Pong,
            Heard::Closed(code, reason) => Seen::Closed(code, reason),
            Heard::Lost => Seen::End,
        }
    }
}

/// A listening transport whose connections come to the test.
async fn listen(connector: &InProcessConnector) -> (Stop, mpsc::UnboundedReceiver<Connection>) {
    let (accepted, connections) = mpsc::unbounded_channel();
    let acceptor = Acceptor::probe(move |connection| {
        let _ = accepted.send(connection);
        std::future::pending()
    });
    let mut transport = connector.transport();
    transport.bind().await.unwrap();
    let stop = Stop::default();
    tokio::spawn(Box::new(transport).serve(acceptor, stop.clone()));
    (stop, connections)
}

#[tokio::test(start_paused = true)]
async fn a_cut_is_noticed_on_both_ends_and_loses_what_was_on_its_way() {
    let (_, connector) = in_process();
    let (_stop, mut connections) = listen(&connector).await;
    let mut pipe = connector.connect(Dial::default()).await.unwrap();
    let mut connection = connections.recv().await.unwrap();
    pipe.send("lost").await.unwrap();
    connector.links()[0].cut();
    assert_eq!(connection.incoming.recv().await, Received::Lost);
    assert_eq!(pipe.recv().await, Heard::Lost);
    assert!(pipe.send("x").await.is_err());
    assert!(connection.outlet.try_write(&[io::IoSlice::new(b"x")]).is_err());
    drop((pipe, connection));
    assert!(connector.links().is_empty(), "the dead are not listed");
}

#[tokio::test(start_paused = true)]
async fn a_stall_carries_nothing_and_tells_nobody_until_it_ends() {
    let (_, connector) = in_process();
    let (_stop, mut connections) = listen(&connector).await;
    let mut pipe = connector.connect(Dial::default()).await.unwrap();
    let mut connection = connections.recv().await.unwrap();
    let link = pipe.link();
    link.stall();
    pipe.send("late").await.unwrap();
    let hour = Duration::from_secs(3600);
    assert!(timeout(hour, connection.incoming.recv()).await.is_err());
    link.resume();
    assert_eq!(connection.incoming.recv().await, Received::Frame("late".into()));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_send_goes_on_with_the_next_call() {
    let (_, connector) = in_process();
    let (_stop, mut connections) = listen(&connector).await;
    let dial = Dial {
        to_server_bytes: 10,
        ..Dial::default()
    };
    let mut pipe = connector.connect(dial).await.unwrap();
    let mut connection = connections.recv().await.unwrap();
    let long = "a frame that does not fit at once";
    assert!(timeout(Duration::from_secs(1), pipe.send(long)).await.is_err());
    let (received, heard) = tokio::join!(connection.incoming.recv(), timeout(Duration::from_secs(1), pipe.recv()));
    assert_eq!(received, Received::Frame(long.into()));
    assert!(heard.is_err(), "nothing to hear");
}

#[tokio::test(start_paused = true)]
async fn the_next_engine_listens_at_the_same_place_once_the_one_before_is_gone() {
    let (_, connector) = in_process();
    assert!(connector.connect(Dial::default()).await.is_err(), "nobody listens");
    let (stop, mut first) = listen(&connector).await;
    assert!(connector.transport().bind().await.is_err(), "taken");
    connector.connect(Dial::default()).await.unwrap();
    first.recv().await.unwrap();
    stop.stop();
    tokio::task::yield_now().await;
    let (_stop, mut second) = listen(&connector).await;
    let begun = Instant::now();
    connector.connect(Dial::default()).await.unwrap();
    second.recv().await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_rust_sdk_connects_through_it() {
    use chat_client::{ConnectError, Connector, Pipe, Received as FromServer};
    let (_, connector) = in_process();
    let dialing = connector.dialing(Dial {
        to_server_bytes: 10,
        ..Dial::default()
    });
    let nobody = dialing.connect(Codec::Json).await.map(drop);
    assert!(matches!(nobody, Err(ConnectError::Unreachable(_))));
    let (_stop, mut connections) = listen(&connector).await;
    let Pipe {
        mut sender,
        mut receiver,
    } = dialing.connect(Codec::MessagePack).await.unwrap();
    let mut connection = connections.recv().await.unwrap();
    assert_eq!(connection.handshake.codec, Codec::MessagePack);
    let mut frames = ["first, longer than the network", "second"].map(Bytes::from).into();
    let dropped = timeout(Duration::from_secs(1), sender.send(&mut frames)).await;
    assert!(dropped.is_err(), "the network is full");
    assert_eq!(frames.len(), 1, "a frame leaves the queue as a whole");
    let (sent, first) = tokio::join!(sender.send(&mut frames), connection.incoming.recv());
    sent.unwrap();
    assert_eq!(first, Received::Frame("first, longer than the network".into()));
    assert_eq!(connection.incoming.recv().await, Received::Frame("second".into()));
    let framing = connection.outlet.framing();
    let frame = (framing.frame)(Codec::MessagePack, b"hi");
    let goodbye = (framing.close)(CloseCode::Restart, "restart").unwrap();
    for bytes in [frame, goodbye] {
        connection.outlet.try_write(&[io::IoSlice::new(&bytes)]).unwrap();
    }
    assert_eq!(receiver.recv().await, FromServer::Frame("hi".into()));
    assert_eq!(receiver.recv().await, FromServer::Closed(Some(CloseCode::Restart)));
    connector.links()[0].cut();
    assert_eq!(receiver.recv().await, FromServer::Closed(None));
}
