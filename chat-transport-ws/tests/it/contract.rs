//! The contract of transports over real sockets, with a client that somebody else wrote: once written directly, once
//! through the queue of a stream that is no socket, once under TLS.

use crate::door::{ANY_PORT, address_in};
use crate::opaque::Opaque;
use async_trait::async_trait;
use chat_core::code::CloseCode;
use chat_core::codec::Codec;
use chat_core::engine::Acceptor;
use chat_core::transport::{Stop, Transport, TransportError};
use chat_testkit::contract::transport::{Misbehaviour, Seen, TransportFixture, TransportPeer};
use chat_transport_ws::{WsConfig, WsService, WsTransport};
use futures_util::{SinkExt, StreamExt};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tower_service::Service;

mod direct {
    chat_testkit::transport_contract!(
        #[tokio::test]
        super::Fixture {
            way: super::Way::Direct
        }
    );
}

mod queued {
    chat_testkit::transport_contract!(
        #[tokio::test]
        super::Fixture {
            way: super::Way::Queued
        }
    );
}

#[cfg(feature = "tls")]
mod secured {
    chat_testkit::transport_contract!(
        #[tokio::test]
        super::Fixture {
            way: super::Way::secured()
        }
    );
}

struct Fixture {
    way: Way,
}

enum Way {
    Direct,
    Queued,
    #[cfg(feature = "tls")]
    Secured(std::sync::Arc<rustls::ServerConfig>, tokio_rustls::TlsConnector),
}

#[cfg(feature = "tls")]
impl Way {
    fn secured() -> Self {
        let (server, client) = crate::tls::both_ends();
        Self::Secured(server, client)
    }
}

/// What carries the bytes.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

#[async_trait]
impl TransportFixture for Fixture {
    fn transport(&self) -> Box<dyn Transport> {
        let listener = WsTransport::new(ANY_PORT, WsConfig::default());
        match &self.way {
            Way::Direct => Box::new(listener),
            Way::Queued => Box::new(Mounted(None)),
            #[cfg(feature = "tls")]
            Way::Secured(server, _) => Box::new(listener.with_tls(server.clone())),
        }
    }

    async fn connect(&self, url: &str, codec: Codec) -> Option<Box<dyn TransportPeer>> {
        let mut request = url.into_client_request().expect("a url");
        let subprotocol = codec.subprotocol().parse().expect("a header");
        request.headers_mut().insert("sec-websocket-protocol", subprotocol);
        let socket = TcpStream::connect(address_in(url)).await.ok()?;
        let stream: Box<dyn Stream> = match &self.way {
            #[cfg(feature = "tls")]
            Way::Secured(_, client) => {
                let name = "chat.test".try_into().expect("a name");
                Box::new(client.connect(name, socket).await.ok()?)
            }
            _ => Box::new(socket),
        };
        let (stream, _) = tokio_tungstenite::client_async(request, stream).await.ok()?;
        Some(Box::new(Peer { stream, codec }))
    }
}

/// A host whose streams are no sockets that anybody could see.
struct Mounted(Option<TcpListener>);

#[async_trait]
impl Transport for Mounted {
    async fn bind(&mut self) -> Result<String, TransportError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        self.0 = Some(listener);
        Ok(format!("ws://{address}/mounted"))
    }

    async fn serve(self: Box<Self>, acceptor: Acceptor, stop: Stop) {
        let service = WsService::with_tokens(acceptor, WsConfig::default());
        let listener = self.0.expect("bound");
        loop {
            let (stream, _) = tokio::select! {
                biased;
                () = stop.stopped() => return,
                accepted = listener.accept() => accepted.expect("a connection"),
            };
            let service = service.clone();
            let service = service_fn(move |request| service.clone().call(request));
            let stream = TokioIo::new(Opaque(stream));
            tokio::spawn(http1::Builder::new().serve_connection(stream, service).with_upgrades());
        }
    }
}

struct Peer {
    stream: WebSocketStream<Box<dyn Stream>>,
    codec: Codec,
}

impl Peer {
    async fn say(&mut self, message: Message) -> io::Result<()> {
        self.stream.send(message).await.map_err(io::Error::other)
    }
}

#[async_trait]
impl TransportPeer for Peer {
    async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        let payload = payload.to_vec();
        self.say(match self.codec {
            Codec::Json => Message::text(String::from_utf8(payload).expect("text")),
            Codec::MessagePack => Message::binary(payload),
        })
        .await
    }

    async fn send_in_pieces(&mut self, payload: &[u8]) -> io::Result<()> {
        // A mask of zeros leaves the payload as it is.
        let first = if self.codec.is_text() { 0x81 } else { 0x82 };
        let frame = [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat();
        for piece in frame.chunks(37) {
            self.stream.get_mut().write_all(piece).await?;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    async fn ping(&mut self) -> io::Result<bool> {
        self.say(Message::Ping("?".into())).await.map(|()| true)
    }

    async fn close(&mut self) -> io::Result<bool> {
        self.stream.close(None).await.map_err(io::Error::other).map(|()| true)
    }

    async fn misbehave(&mut self, how: Misbehaviour) -> io::Result<()> {
        let socket = self.stream.get_mut();
        match how {
            Misbehaviour::Garbage => socket.write_all(&[0xff, 0xff, 0xff, 0xff]).await,
            Misbehaviour::TooLong => {
                let declared = [0x81, 0xff, 0, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3, 4];
                socket.write_all(&declared).await
            }
            Misbehaviour::OtherKind => match self.codec {
                Codec::Json => self.say(Message::binary(vec![0x80])).await,
                Codec::MessagePack => self.say(Message::text("{}")).await,
            },
        }
    }

    async fn recv(&mut self) -> Seen {
        match self.stream.next().await {
            Some(Ok(Message::Text(text))) if self.codec == Codec::Json => Seen::Frame(text.into()),
            Some(Ok(Message::Binary(bytes))) if self.codec == Codec::MessagePack => Seen::Frame(bytes),
            Some(Ok(Message::Pong(_))) => Seen::Pong,
            Some(Ok(Message::Close(Some(frame)))) => {
                let code = CloseCode::from_number(frame.code.into());
                Seen::Closed(code, frame.reason.to_string())
            }
            Some(Ok(Message::Close(None))) => Seen::Closed(CloseCode::Normal, String::new()),
            None | Some(Err(Error::ConnectionClosed | Error::Io(_) | Error::Protocol(_))) => Seen::End,
            other => panic!("not what a transport says: {other:?}"),
        }
    }
}
