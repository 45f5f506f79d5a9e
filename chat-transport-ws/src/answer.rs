//! The HTTP answers to what is no good handshake: a status, the header that says what is right, and a sentence.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{
    ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_VERSION,
    UPGRADE, WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};
use std::time::Duration;

const TEXT: &str = "text/plain; charset=utf-8";

/// Says no in HTTP.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub status: StatusCode,
    /// What somebody who reads it should do.
    pub sentence: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Answer {
    fn new(status: StatusCode, sentence: impl Into<String>) -> Self {
        Self {
            status,
            sentence: sentence.into(),
            headers: vec![(CONNECTION, HeaderValue::from_static("close"))],
        }
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub fn bad_request(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, sentence).with(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
    }

    pub fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "a WebSocket handshake is a GET request")
            .with(ALLOW, HeaderValue::from_static("GET"))
    }

    /// RFC 9110, 15.5.22: with `Upgrade`; RFC 6455, 4.4: with the version that is spoken.
    pub fn upgrade_required(sentence: &str) -> Self {
        let mut answer = Self::new(StatusCode::UPGRADE_REQUIRED, sentence)
            .with(UPGRADE, HeaderValue::from_static("websocket"))
            .with(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        answer.headers[0].1 = HeaderValue::from_static("upgrade, close");
        answer
    }

    /// RFC 9110, 15.5.2: with a challenge. No browser asks for a password at this one: it is the host's login that
    /// answers it.
    pub fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "the server does not know who you are: log in first, then connect",
        )
        .with(WWW_AUTHENTICATE, HeaderValue::from_static("Session realm=\"chat\""))
    }

    pub fn foreign_origin() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "pages of this origin may not connect: the server's list of origins decides",
        )
    }

    pub fn no_origin() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "who comes by a cookie has to say the page's Origin; or bring a token",
        )
    }

    pub fn uri_too_long() -> Self {
        Self::new(StatusCode::URI_TOO_LONG, "the address is longer than 2048 bytes")
    }

    pub fn head_too_large() -> Self {
        Self::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "the head of a request is at most 8 KiB and 64 headers",
        )
    }

    pub fn http2() -> Self {
        Self::new(
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            "HTTP/2 is not spoken here: a WebSocket begins with HTTP/1.1",
        )
    }

    pub fn tls() -> Self {
        Self::bad_request("TLS is not spoken here: connect by ws:// or http://, or to a proxy that has the certificate")
    }

    #[cfg(feature = "tls")]
    pub fn no_tls() -> Self {
        Self::bad_request("only TLS is spoken here: connect by wss:// or https://")
    }

    pub fn not_found(path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, wrong_path(path))
    }

    /// `Retry-After` counts whole seconds, at least one.
    pub fn unavailable(retry_after: Duration) -> Self {
        let seconds = retry_after.as_millis().div_ceil(1000).max(1) as u64;
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the server takes no connection now: come back in {seconds} s"),
        )
        .with(RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// The whole answer as it travels, for who never got as far as a request.
    pub fn into_bytes(self) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_slice(format!("HTTP/1.1 {}\r\n", self.status).as_bytes());
        for (name, value) in &self.headers {
            bytes.put_slice(format!("{name}: ").as_bytes());
            bytes.put_slice(value.as_bytes());
            bytes.put_slice(b"\r\n");
        }
        let body = format!("{}\n", self.sentence);
        let length = body.len();
        let rest = format!("{CONTENT_TYPE}: {TEXT}\r\n{CONTENT_LENGTH}: {length}\r\n\r\n{body}");
        bytes.put_slice(rest.as_bytes());
        bytes.freeze()
    }

    pub fn into_response(self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(format!("{}\n", self.sentence)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.extend(self.headers);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
        response
    }
}

/// The sentence for who came to a path where nobody is.
pub(crate) fn wrong_path(path: &str) -> String {
    format!("wrong path: the chat is at {path}")
}
