use super::*;
use chat_core::id::UserId;

const PATH: Option<&str> = Some("/chat");

/// A good handshake of a client that is no browser.
fn good() -> Request<()> {
    Request::builder()
        .uri("/chat?token=in-the-url-is-never-read")
        .header(HOST, "chat.example.com")
        .header(CONNECTION, "keep-alive, Upgrade")
        .header(UPGRADE, "WebSocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==")
        .body(())
        .expect("a request")
}

fn good_with(name: HeaderName, value: &'static str) -> Request<()> {
    let mut request = good();
    request.headers_mut().append(name, HeaderValue::from_static(value));
    request
}

fn good_without(name: HeaderName) -> Request<()> {
    let mut request = good();
    request.headers_mut().remove(name);
    request
}

fn good_but(name: HeaderName, value: &'static str) -> Request<()> {
    let mut request = good();
    request.headers_mut().insert(name, HeaderValue::from_static(value));
    request
}

fn accepted(request: &Request<()>) -> Accepted {
    judge(request, &WsConfig::default(), PATH, None).expect("a good handshake")
}

fn status(request: &Request<()>) -> u16 {
    match judge(request, &WsConfig::default(), PATH, None) {
        Ok(_) => 101,
        Err(answer) => answer.status.as_u16(),
    }
}

#[test]
fn a_good_handshake_is_answered_as_the_rfc_says() {
    let response = accepted(&good()).response::<()>();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    // The example of RFC 6455, 1.3.
    assert_eq!(response.headers()[SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert!(
        !response.headers().contains_key(SEC_WEBSOCKET_PROTOCOL),
        "none was offered"
    );
}

#[test]
fn the_subprotocol_says_the_codec_and_json_is_the_default() {
    assert_eq!(accepted(&good()).codec, Codec::Json);
    for (offer, codec) in [
        ("chat.v1.json", Codec::Json),
        ("chat.v1.msgpack", Codec::MessagePack),
        ("chat.v9.other, chat.v1.msgpack, chat.v1.json", Codec::MessagePack),
    ] {
        let accepted = accepted(&good_with(SEC_WEBSOCKET_PROTOCOL, offer));
        assert_eq!(accepted.codec, codec, "{offer}");
        let response = accepted.response::<()>();
        assert_eq!(response.headers()[SEC_WEBSOCKET_PROTOCOL], codec.subprotocol());
    }
    let answer = judge(
        &good_with(SEC_WEBSOCKET_PROTOCOL, "chat.v9.json, soap"),
        &WsConfig::default(),
        PATH,
        None,
    )
    .expect_err("only unknown ones");
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.sentence.contains("chat.v1.json and chat.v1.msgpack"));
}

#[test]
fn a_token_comes_from_a_header_or_the_subprotocols_and_never_from_the_url() {
    assert_eq!(accepted(&good()).token, None);
    let bearer = accepted(&good_with(AUTHORIZATION, "bearer abc.def"));
    assert_eq!(bearer.token, Some(Token("abc.def".to_owned())));
    assert_eq!(accepted(&good_with(AUTHORIZATION, "Basic YTpi")).token, None);
    let mut request = good_with(SEC_WEBSOCKET_PROTOCOL, "chat.token.x.y.z");
    let alone = accepted(&request);
    assert_eq!((alone.codec, alone.subprotocol), (Codec::Json, None), "never echoed");
    request
        .headers_mut()
        .append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("chat.v1.msgpack"));
    let both = accepted(&request);
    assert_eq!(both.token, Some(Token("x.y.z".to_owned())));
    assert_eq!(both.subprotocol, Some("chat.v1.msgpack"));
    let debug = format!("{both:?}");
    assert!(!debug.contains("x.y.z"), "{debug}");
}

#[test]
fn each_fault_has_its_status() {
    let mut post = good();
    *post.method_mut() = Method::POST;
    let mut old = good();
    *old.version_mut() = Version::HTTP_10;
    let mut long = good();
    *long.uri_mut() = format!("/chat?{}", "a".repeat(2048)).parse().expect("a uri");
    let twice = good_with(SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==");
    for (name, request, expected) in [
        ("post", post, 405),
        ("HTTP/1.0", old, 426),
        ("long address", long, 414),
        ("no Host", good_without(HOST), 400),
        ("two Hosts", good_with(HOST, "b"), 400),
        ("no Upgrade", good_without(UPGRADE), 426),
        ("another Upgrade", good_but(UPGRADE, "h2c"), 426),
        ("no Connection", good_without(CONNECTION), 426),
        ("Connection without upgrade", good_but(CONNECTION, "keep-alive"), 426),
        ("no version", good_without(SEC_WEBSOCKET_VERSION), 426),
        ("wrong version", good_but(SEC_WEBSOCKET_VERSION, "8"), 426),
        ("no key", good_without(SEC_WEBSOCKET_KEY), 400),
        ("short key", good_but(SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZQ=="), 400),
        (
            "key that is no base64",
            good_but(SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25j!Q=="),
            400,
        ),
        ("two keys", twice, 400),
        ("a body", good_with(CONTENT_LENGTH, "3"), 400),
        ("a chunked body", good_with(TRANSFER_ENCODING, "chunked"), 400),
        (
            "two Authorizations",
            {
                let mut request = good_with(AUTHORIZATION, "Bearer a");
                request
                    .headers_mut()
                    .append(AUTHORIZATION, HeaderValue::from_static("Bearer b"));
                request
            },
            400,
        ),
        ("foreign page", good_with(ORIGIN, "https://evil.net"), 403),
        ("page of nowhere", good_with(ORIGIN, "null"), 403),
        ("own page", good_with(ORIGIN, "https://chat.example.com"), 101),
        ("no page", good(), 101),
    ] {
        assert_eq!(status(&request), expected, "{name}");
    }
}

#[test]
fn answers_say_what_is_right() {
    let answer = |request| {
        judge(&request, &WsConfig::default(), PATH, None)
            .expect_err("a fault")
            .into_response()
    };
    let mut post = good();
    *post.method_mut() = Method::POST;
    assert_eq!(answer(post).headers()["allow"], "GET");
    let wrong_version = answer(good_but(SEC_WEBSOCKET_VERSION, "8"));
    assert_eq!(wrong_version.headers()[SEC_WEBSOCKET_VERSION], "13");
    assert_eq!(wrong_version.headers()[UPGRADE], "websocket");
    assert_eq!(wrong_version.headers()[CONNECTION], "upgrade, close");
    let busy = Answer::unavailable(std::time::Duration::from_millis(1500)).into_response();
    assert_eq!(busy.headers()["retry-after"], "2");
}

#[test]
fn an_unknown_path_is_404_to_a_plain_get_and_accepted_to_an_upgrade() {
    let mut upgrade = good();
    *upgrade.uri_mut() = "/socket.io".parse().expect("a uri");
    assert!(accepted(&upgrade).is_wrong_path);
    assert!(!accepted(&good()).is_wrong_path);
    let mounted = judge(&upgrade, &WsConfig::default(), None, None).expect("the host chose the path");
    assert!(!mounted.is_wrong_path);
    upgrade.headers_mut().remove(UPGRADE);
    let answer = judge(&upgrade, &WsConfig::default(), PATH, None).expect_err("no upgrade");
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.sentence.contains("/chat"), "{}", answer.sentence);
}

#[test]
fn whom_the_hosts_session_let_in_must_show_an_origin() {
    let let_in = |mut request: Request<()>| {
        let user = UserId::new("ana").expect("a user id");
        request.extensions_mut().insert(Identity::new(user));
        request
    };
    assert_eq!(status(&let_in(good())), 403);
    assert_eq!(status(&let_in(good_with(ORIGIN, "http://chat.example.com"))), 101);
    assert_eq!(status(&let_in(good_with(AUTHORIZATION, "Bearer t"))), 101);
    let accepted = accepted(&let_in(good_with(ORIGIN, "http://chat.example.com")));
    assert_eq!(
        accepted.identity.map(|identity| identity.user.as_str().to_owned()),
        Some("ana".to_owned())
    );
}

#[test]
fn behind_a_proxy_pages_are_of_the_host_that_it_stands_for() {
    // TLS that ends at the proxy changes nothing: a port that is not written is that of the page's own scheme.
    let page = || good_with(ORIGIN, "https://app.example.org");
    let judged = |request: &Request<()>, host| judge(request, &WsConfig::default(), PATH, host).is_ok();
    assert!(judged(&page(), Some("app.example.org")));
    assert!(!judged(&page(), Some("evil.example.net")));
    assert!(!judged(&page(), Some("")));
    assert!(!judged(&page(), None), "the host of the request itself is another");
}
