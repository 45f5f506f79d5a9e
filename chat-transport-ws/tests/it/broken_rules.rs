//! What a client must not do much of, and what it may. Which close code is for what is in the table of bad input of
//! chat-testkit.

use crate::door::{Door, Peer, frame};
use chat_core::transport::Received;
use chat_transport_ws::WsConfig;
use std::time::{Duration, Instant};

const TEXT: u8 = 0x81;

async fn is_healthy(door: &mut Door) {
    let (mut peer, held) = door.peer().await;
    tokio::spawn(held.serve());
    peer.send(frame(TEXT, b"hello")).await;
    assert_eq!(peer.frame().await, (TEXT, b"hello".to_vec()));
}

#[tokio::test]
async fn a_hello_of_8_kib_and_a_message_of_64_are_taken() {
    let mut door = Door::open().await;
    let (mut peer, held) = door.peer().await;
    tokio::spawn(held.serve());
    for length in [8192, 65_536] {
        peer.send(frame(TEXT, &vec![b'a'; length])).await;
        assert_eq!(peer.frame().await.1.len(), length);
    }
}

#[tokio::test]
async fn what_is_no_message_is_read_more_slowly_when_it_is_much() {
    for filler in [frame(0, b""), frame(0x8a, b"")] {
        let mut config = WsConfig::default();
        config.overhead_bytes_per_second = 2000;
        config.overhead_bytes_burst = 1000;
        config.pings_max = 1000;
        let mut door = Door::open_with(config).await;
        let (mut peer, held) = door.peer().await;
        tokio::spawn(held.serve());
        let begun = Instant::now();
        // 500 frames of 6 bytes: 2,000 bytes more than the burst.
        peer.send([frame(0x01, b""), filler.repeat(500), frame(0x80, b"1")].concat())
            .await;
        assert_eq!(peer.frame().await, (TEXT, b"1".to_vec()));
        peer.send(frame(TEXT, b"2")).await;
        assert_eq!(peer.frame().await, (TEXT, b"2".to_vec()));
        assert!(begun.elapsed() > Duration::from_millis(900), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn the_code_of_a_long_message_reaches_a_peer_that_goes_on_sending() {
    let mut door = Door::open().await;
    let (peer, held) = door.peer().await;
    let server = tokio::spawn(held.serve());
    let (read, mut write) = peer.0.into_split();
    let sender = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        // More than linger reads: the socket stays open, and unread, until the peer has seen the code.
        let _ = write.write_all(&frame(TEXT, &vec![b'a'; 8 << 20])).await;
        write
    });
    use tokio::io::AsyncReadExt;
    let mut read = read;
    let mut head = [0; 4];
    read.read_exact(&mut head).await.expect("a close frame, no reset");
    assert_eq!((head[0], u16::from_be_bytes([head[2], head[3]])), (0x88, 1009));
    server.await.expect("no panic");
    sender.abort();
    is_healthy(&mut door).await;
}

#[tokio::test]
async fn pings_are_answered_in_their_place_and_a_flood_of_them_is_closed_4004() {
    let mut config = WsConfig::default();
    config.pings_max = 5;
    let mut door = Door::open_with(config).await;
    let (mut peer, held) = door.peer().await;
    tokio::spawn(held.serve());
    peer.send([frame(TEXT, b"1"), frame(0x89, b"?"), frame(TEXT, b"2")].concat())
        .await;
    let answers = [peer.frame().await, peer.frame().await, peer.frame().await];
    assert_eq!(
        answers,
        [(TEXT, b"1".to_vec()), (0x8a, b"?".to_vec()), (TEXT, b"2".to_vec())]
    );
    peer.send(frame(0x89, b"").repeat(5)).await;
    for _ in 0..4 {
        assert_eq!(peer.frame().await, (0x8a, Vec::new()));
    }
    assert_eq!(peer.closed().await.0, 4004);
    is_healthy(&mut door).await;
}

#[tokio::test]
async fn a_close_is_answered_with_its_number() {
    for (payload, answer) in [(vec![], vec![]), (vec![3, 0xe9, b'b', b'y', b'e'], vec![3, 0xe9])] {
        let mut door = Door::open().await;
        let (mut peer, held) = door.peer().await;
        let server = tokio::spawn(held.serve());
        peer.send([frame(0x88, &payload), frame(TEXT, b"ignored")].concat())
            .await;
        assert_eq!(peer.frame().await, (0x88, answer));
        assert!(peer.rest().await.is_empty());
        drop(peer);
        assert!(matches!(server.await.expect("no panic"), Received::Closed(_)));
    }
}

#[tokio::test]
async fn a_peer_that_vanishes_is_noticed() {
    let mut door = Door::open().await;
    let (peer, mut held) = door.peer().await;
    drop(peer);
    assert_eq!(held.recv().await, Received::Lost);
    let (mut peer, mut held) = door.peer().await;
    peer.send(&frame(TEXT, b"half a frame")[..9]).await;
    drop(peer);
    assert_eq!(held.recv().await, Received::Lost);
    assert_eq!(held.recv().await, Received::Lost, "and stays lost");
}

#[tokio::test]
async fn what_was_sent_right_behind_the_handshake_is_not_lost() {
    let mut door = Door::open().await;
    let mut peer = Peer::connect(door.address).await;
    let mut bytes = crate::door::handshake("/chat", "").into_bytes();
    for text in ["hello", "resume"] {
        bytes.extend(frame(TEXT, text.as_bytes()));
    }
    peer.send(bytes).await;
    let mut held = door.accepted().await;
    assert_eq!(held.recv().await, Received::Frame("hello".into()));
    assert_eq!(held.recv().await, Received::Frame("resume".into()));
}
