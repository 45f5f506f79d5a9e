//! Pipes over WebSocket.

use crate::connector::{ConnectError, Connector, Pipe, PipeLost, PipeReceiver, PipeSender, Received};
use async_trait::async_trait;
use bytes::Bytes;
use chat_protocol::code::CloseCode;
use chat_protocol::codec::Codec;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::client::{Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// A page of the inbox may carry fifty last messages, each of the longest text.
const FRAME_BYTES_MAX: usize = 4 << 20;

/// How long the server may take to end the connection after both sides have said goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

type Socket = WebSocketStream<TcpStream>;

/// Connects to a `ws://` address; `wss://` is not there yet.
#[derive(Debug, Clone)]
pub struct WsConnector {
    request: Request,
    host: String,
    port: u16,
}

impl WsConnector {
    /// A connector for an address such as `ws://127.0.0.1:7000/chat`.
    ///
    /// # Errors
    /// [`ConnectError::Final`] when it is no such address.
    pub fn new(url: &str) -> Result<Self, ConnectError> {
        let no = |why: &str| ConnectError::Final(format!("{why}: an address looks like ws://127.0.0.1:7000/chat"));
        let request = url.into_client_request().map_err(|error| no(&error.to_string()))?;
        let uri = request.uri();
        match uri.scheme_str() {
            Some("ws") => {}
            Some("wss") => return Err(no("wss needs TLS, which this version cannot do")),
            _ => return Err(no("not a WebSocket address")),
        }
        let host = uri.host().ok_or_else(|| no("no host"))?;
        // An IPv6 address has brackets in a URL and none elsewhere.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(80);
        Ok(Self { request, host, port })
    }

    /// Adds a header to the handshake, for a host that identifies users by one.
    ///
    /// # Errors
    /// [`ConnectError::Final`] when name or value cannot stand in a header.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, ConnectError> {
        let no =
            |error: &dyn std::fmt::Display| ConnectError::Final(format!("the header {name} is not possible: {error}"));
        let key: HeaderName = name.parse().map_err(|error| no(&error))?;
        let value: HeaderValue = value.parse().map_err(|error| no(&error))?;
        self.request.headers_mut().insert(key, value);
        Ok(self)
    }
}

#[async_trait]
impl Connector for WsConnector {
    async fn connect(&self, codec: Codec) -> Result<Pipe, ConnectError> {
        let unreachable = |error: std::io::Error| ConnectError::Unreachable(error.into());
        let stream = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(unreachable)?;
        // A chat frame is small and somebody waits for it.
        stream.set_nodelay(true).map_err(unreachable)?;
        let mut request = self.request.clone();
        request.headers_mut().insert(
            header::SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(codec.subprotocol()),
        );
        let config = WebSocketConfig::default()
            .read_buffer_size(8 << 10)
            .write_buffer_size(8 << 10)
            .max_message_size(Some(FRAME_BYTES_MAX))
            .max_frame_size(Some(FRAME_BYTES_MAX));
        let (socket, _) = client_async_with_config(request, stream, Some(config))
            .await
            .map_err(refused)?;
        let (sink, stream) = socket.split();
        Ok(Pipe {
            sender: Box::new(Sender { sink, codec }),
            receiver: Box::new(Receiver { stream, closed: None }),
        })
    }
}

fn refused(error: Error) -> ConnectError {
    match error {
        Error::Http(response) => refused_by(&response),
        Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(error)) => {
            ConnectError::Final(format!("the server does not speak this protocol: {error}"))
        }
        // Half an answer among them: a connection that broke in its first moment says nothing about the server.
        other => ConnectError::Unreachable(other.into()),
    }
}

fn refused_by(response: &Response) -> ConnectError {
    let status = response.status();
    let body = response.body().as_deref().unwrap_or_default();
    let body: String = String::from_utf8_lossy(body).chars().take(200).collect();
    let message = format!("{status} {body}");
    let final_statuses = [
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::UPGRADE_REQUIRED,
    ];
    if final_statuses.contains(&status) {
        return ConnectError::Final(message);
    }
    let seconds = response.headers().get(header::RETRY_AFTER);
    let seconds = seconds.and_then(|value| value.to_str().ok()?.parse().ok());
    ConnectError::Busy {
        message,
        retry_after: seconds.map(Duration::from_secs),
    }
}

struct Sender {
    sink: SplitSink<Socket, Message>,
    codec: Codec,
}

#[async_trait]
impl PipeSender for Sender {
    async fn send(&mut self, frames: &mut VecDeque<Bytes>) -> Result<(), PipeLost> {
        loop {
            poll_fn(|context| self.sink.poll_ready_unpin(context))
                .await
                .map_err(|_| PipeLost)?;
            let Some(frame) = frames.pop_front() else { break };
            let message = match self.codec.is_text() {
                true => Message::Text(Utf8Bytes::try_from(frame).expect("JSON is UTF-8")),
                false => Message::Binary(frame),
            };
            self.sink.start_send_unpin(message).map_err(|_| PipeLost)?;
        }
        self.sink.flush().await.map_err(|_| PipeLost)
    }

    async fn close(&mut self, code: CloseCode) {
        let frame = CloseFrame {
            code: code.number().into(),
            reason: Utf8Bytes::from_static(code.reason()),
        };
        let _ = self.sink.send(Message::Close(Some(frame))).await;
    }
}

struct Receiver {
    stream: SplitStream<Socket>,
    /// Set once the server has closed: its code, and how long its end is waited for.
    closed: Option<(Option<CloseCode>, Instant)>,
}

#[async_trait]
impl PipeReceiver for Receiver {
    async fn recv(&mut self) -> Received {
        loop {
            if let Some((code, until)) = self.closed {
                // The answer to the close goes out while the stream is read on.
                while let Ok(Some(Ok(_))) = timeout_at(until, self.stream.next()).await {}
                return Received::Closed(code);
            }
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return Received::Frame(text.into()),
                Some(Ok(Message::Binary(bytes))) => return Received::Frame(bytes),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(frame))) => {
                    let code = frame.map(|frame| CloseCode::from_number(frame.code.into()));
                    self.closed = Some((code, Instant::now() + CLOSE_TIMEOUT));
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "the connection broke");
                    return Received::Closed(None);
                }
                None => return Received::Closed(None),
            }
        }
    }
}
