//! The one judge of handshakes (RFC 6455, 4.2): either a connection can begin, or an HTTP answer says why not.

use crate::answer::Answer;
use crate::config::WsConfig;
use crate::origin;
use chat_core::Identity;
use chat_core::codec::Codec;
use chat_core::command::Token;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Request, Response, StatusCode, Version};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

const URI_MAX: usize = 2048;

/// The subprotocol entry that carries a token; it is read and never echoed.
const TOKEN_PREFIX: &str = "chat.token.";

/// A good handshake.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub codec: Codec,
    pub identity: Option<Identity>,
    pub token: Option<Token>,
    /// Nobody is at the path that was asked for: accept, then close 4510, which a browser can read.
    pub is_wrong_path: bool,
    accept_key: String,
    subprotocol: Option<&'static str>,
}

impl Accepted {
    /// The answer 101.
    pub fn response<B: Default>(&self) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        let key = HeaderValue::from_str(&self.accept_key).expect("base64 is fit for a header");
        headers.insert(SEC_WEBSOCKET_ACCEPT, key);
        if let Some(subprotocol) = self.subprotocol {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
        }
        response
    }
}

/// Judges a request; `path` is the only right one, if this listener has one, and `outer_host` the one that a proxy stands
/// for.
pub(crate) fn judge<B>(
    request: &Request<B>,
    config: &WsConfig,
    path: Option<&str>,
    outer_host: Option<&str>,
) -> Result<Accepted, Answer> {
    let headers = request.headers();
    let is_wrong_path = path.is_some_and(|path| request.uri().path() != path);
    let wants_upgrade = has_word(headers, &UPGRADE, "websocket");
    if uri_length(request) > URI_MAX {
        return Err(Answer::uri_too_long());
    }
    if let Some(path) = path
        && is_wrong_path
        && !wants_upgrade
    {
        return Err(Answer::not_found(path));
    }
    if request.method() != Method::GET {
        return Err(Answer::method_not_allowed());
    }
    if request.version() != Version::HTTP_11 {
        return Err(Answer::upgrade_required("WebSocket begins with HTTP/1.1"));
    }
    let Some(host) = once(headers, &HOST)? else {
        return Err(Answer::bad_request("the header Host is missing"));
    };
    if headers.contains_key(TRANSFER_ENCODING) || once(headers, &CONTENT_LENGTH)?.is_some_and(|length| length != "0") {
        return Err(Answer::bad_request("a WebSocket handshake has no body"));
    }
    if !wants_upgrade || !has_word(headers, &CONNECTION, "upgrade") {
        return Err(Answer::upgrade_required(
            "this is a WebSocket: send Connection: Upgrade and Upgrade: websocket",
        ));
    }
    if once(headers, &SEC_WEBSOCKET_VERSION)? != Some("13") {
        return Err(Answer::upgrade_required("send Sec-WebSocket-Version: 13"));
    }
    let Some(key) = once(headers, &SEC_WEBSOCKET_KEY)?.filter(|key| is_key(key)) else {
        return Err(Answer::bad_request("Sec-WebSocket-Key must be 16 bytes in base64"));
    };
    let offered = offered(headers)?;
    let token = token(headers, &offered)?;
    let identity = request.extensions().get::<Identity>().cloned();
    match once(headers, &ORIGIN)? {
        Some(origin) if !origin::is_allowed(origin, outer_host.unwrap_or(host), &config.origins) => {
            return Err(Answer::foreign_origin());
        }
        // Whom a cookie let in must show which page sent it. No page can set a token on a WebSocket of its own accord.
        None if identity.is_some() && token.is_none() => return Err(Answer::no_origin()),
        _ => {}
    }
    let (codec, subprotocol) = codec(&offered)?;
    Ok(Accepted {
        codec,
        identity,
        token,
        is_wrong_path,
        accept_key: derive_accept_key(key.as_bytes()),
        subprotocol,
    })
}

fn uri_length<B>(request: &Request<B>) -> usize {
    let uri = request.uri();
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    authority + uri.path_and_query().map_or(0, |path| path.as_str().len())
}

/// A header that may come once; twice is how requests are smuggled past whoever reads the other one.
fn once<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Answer> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    text.map(Some)
        .ok_or_else(|| Answer::bad_request(format!("the header {name} must come once and in ASCII")))
}

fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

fn has_word(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    words(headers, name).any(|word| word.eq_ignore_ascii_case(wanted))
}

/// 16 bytes are 22 digits and two fillers.
fn is_key(key: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    let digits = key.strip_suffix("==");
    digits.is_some_and(|digits| digits.len() == 22 && digits.bytes().all(is_digit))
}

fn offered(headers: &HeaderMap) -> Result<Vec<&str>, Answer> {
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL);
    if lines.iter().any(|line| line.to_str().is_err()) {
        return Err(Answer::bad_request("Sec-WebSocket-Protocol must be ASCII"));
    }
    Ok(words(headers, &SEC_WEBSOCKET_PROTOCOL).collect())
}

/// The first codec of the client's list; JSON when it offers none.
fn codec(offered: &[&str]) -> Result<(Codec, Option<&'static str>), Answer> {
    let mut names = offered.iter().filter(|name| !name.starts_with(TOKEN_PREFIX)).peekable();
    if names.peek().is_none() {
        return Ok((Codec::Json, None));
    }
    let known = names.find_map(|name| Codec::ALL.into_iter().find(|codec| codec.subprotocol() == *name));
    match known {
        Some(codec) => Ok((codec, Some(codec.subprotocol()))),
        None => {
            let [json, message_pack] = Codec::ALL.map(Codec::subprotocol);
            Err(Answer::bad_request(format!(
                "the subprotocols here are {json} and {message_pack}"
            )))
        }
    }
}

/// From `Authorization: Bearer`, or else from the subprotocols, where a page in a browser can put it.
fn token(headers: &HeaderMap, offered: &[&str]) -> Result<Option<Token>, Answer> {
    let bearer = once(headers, &AUTHORIZATION)?.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let entry = || offered.iter().find_map(|name| name.strip_prefix(TOKEN_PREFIX));
    let token = bearer.or_else(entry).filter(|token| !token.is_empty());
    Ok(token.map(|token| Token(token.to_owned())))
}

#[cfg(test)]
mod tests;
