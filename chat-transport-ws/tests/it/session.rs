//! Frames there and back, with a client that somebody else wrote.

use crate::door::Door;
use chat_core::codec::Codec;
use chat_core::transport::Received;
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

#[tokio::test]
async fn a_client_that_somebody_else_wrote_is_understood() {
    let mut door = Door::open().await;
    let (mut client, _) = tokio_tungstenite::connect_async(door.url()).await.expect("let in");
    let server = tokio::spawn(door.accepted().await.serve());
    for length in [0, 1, 125, 126, 4095, 65_535, 65_536] {
        let text = Utf8Bytes::from("ü".repeat(length / 2) + &"x".repeat(length % 2));
        client.send(Message::Text(text.clone())).await.expect("sent");
        let answer = client.next().await.expect("open").expect("a message");
        assert_eq!(answer, Message::Text(text), "{length} bytes");
    }
    client.send(Message::Ping(vec![7; 125].into())).await.expect("sent");
    let answer = client.next().await.expect("open").expect("a message");
    assert_eq!(answer, Message::Pong(vec![7; 125].into()));
    client.close(None).await.expect("sent");
    while let Some(Ok(message)) = client.next().await {
        assert!(message.is_close(), "{message}");
    }
    drop(client);
    let last = server.await.expect("no panic");
    assert!(matches!(last, Received::Closed(Some(_))), "{last:?}");
}

#[tokio::test]
async fn message_pack_travels_in_binary_frames() {
    let mut door = Door::open().await;
    let mut request = door.url().into_client_request().expect("a request");
    let protocol = "chat.v1.msgpack".parse().expect("a header");
    request.headers_mut().insert("sec-websocket-protocol", protocol);
    let (mut client, _) = tokio_tungstenite::connect_async(request).await.expect("let in");
    let held = door.accepted().await;
    assert_eq!(held.connection.handshake.codec, Codec::MessagePack);
    tokio::spawn(held.serve());
    client.send(Message::Binary(vec![0x80].into())).await.expect("sent");
    let answer = client.next().await.expect("open").expect("a message");
    assert_eq!(answer, Message::Binary(vec![0x80].into()));
}
