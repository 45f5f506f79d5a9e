//! The HTTP answers to what is no good handshake: a status, the header that says what is right, and a sentence.

use bytes::Bytes;
use http::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Response, StatusCode};
use http_body_util::Full;
use std::time::Duration;

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

    pub fn foreign_origin() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "pages of this origin may not connect: the server's list of origins decides",
        )
    }

    pub fn uri_too_long() -> Self {
        Self::new(StatusCode::URI_TOO_LONG, "the address is longer than 2048 bytes")
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

    pub fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::from(format!("{}\n", self.sentence)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.extend(self.headers);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response
    }
}

/// The sentence for who came to a path where nobody is.
pub(crate) fn wrong_path(path: &str) -> String {
    format!("wrong path: the chat is at {path}")
}
