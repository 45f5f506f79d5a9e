use chat_client::protocol::code::CloseCode;
use chat_client::*;
use futures_util::{SinkExt, StreamExt};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

async fn listener() -> (TcpListener, WsConnector) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/chat", listener.local_addr().unwrap());
    (listener, WsConnector::new(&url).unwrap())
}

/// Takes the subprotocol that is offered.
#[expect(clippy::result_large_err, reason = "the library’s signature")]
fn agree(
    request: &Request,
    mut response: Response,
) -> Result<Response, tokio_tungstenite::tungstenite::handshake::server::ErrorResponse> {
    let offered = request.headers()["sec-websocket-protocol"].clone();
    response.headers_mut().insert("sec-websocket-protocol", offered);
    Ok(response)
}

#[tokio::test]
async fn frames_travel_as_the_subprotocol_says_and_the_close_code_comes_back() {
    for codec in Codec::ALL {
        let (listener, connector) = listener().await;
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut socket = tokio_tungstenite::accept_hdr_async(stream, agree).await.unwrap();
            let frame = socket.next().await.unwrap().unwrap();
            assert_eq!(frame.is_text(), codec.is_text());
            socket.send(Message::Ping("are you there".into())).await.unwrap();
            socket.send(frame).await.unwrap();
            assert!(socket.next().await.unwrap().unwrap().is_pong());
            let code = 4507.into();
            let reason = "replaced".into();
            socket.close(Some(CloseFrame { code, reason })).await.unwrap();
            while socket.next().await.is_some_and(|frame| frame.is_ok()) {}
        });
        let mut pipe = connector.connect(codec).await.unwrap();
        let frame = bytes::Bytes::from(codec.encode(&protocol::frame::ClientFrame::Ping));
        pipe.sender.send(&mut [frame.clone()].into()).await.unwrap();
        assert_eq!(pipe.receiver.recv().await, Received::Frame(frame));
        assert_eq!(pipe.receiver.recv().await, Received::Closed(Some(CloseCode::Replaced)));
        server.await.unwrap();
    }
}

async fn answered(answer: &'static str) -> ConnectError {
    let (listener, connector) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    let error = connector.connect(Codec::Json).await.err().expect("no connection");
    server.await.unwrap();
    error
}

#[tokio::test]
async fn an_http_answer_says_whether_and_when_to_come_back() {
    let busy = answered("HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n").await;
    assert!(!busy.is_final());
    assert_eq!(busy.retry_after(), Some(Duration::from_secs(7)));
    assert!(
        answered("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
            .await
            .is_final()
    );
    assert!(
        !answered("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")
            .await
            .is_final()
    );
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_with_an_example() {
    for url in ["http://localhost", "wss://localhost/chat", "chat", "ws://"] {
        let error = WsConnector::new(url).unwrap_err();
        assert!(
            error.is_final() && error.to_string().contains("ws://127.0.0.1:7000/chat"),
            "{error}"
        );
    }
    assert!(WsConnector::new("ws://[::1]:7000/chat").is_ok());
    assert!(
        WsConnector::new("ws://localhost")
            .unwrap()
            .header("x-user", "a\nb")
            .is_err()
    );
}

#[tokio::test]
async fn a_connection_that_breaks_during_its_handshake_is_tried_again() {
    for answer in ["", "HTTP/1.1 101 Switching Protocols\r\nupgrade: websock"] {
        let error = answered(answer).await;
        assert!(!error.is_final(), "{error}");
    }
}
