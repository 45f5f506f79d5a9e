//! What an operator sees of chat-server.

use crate::process::{Process, SOON, chat_server, chat_server_on, exchange, free_address, get, serve};
use std::net::{TcpListener, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

#[test]
fn one_port_serves_page_health_and_metrics() {
    let address = free_address();
    let server = serve(address);
    let (status, page) = get(address, "/");
    assert_eq!(status, 200);
    assert!(
        page.contains("data-admits=\"guests\"") && page.contains("content-security-policy"),
        "{page}"
    );
    assert!(page.contains(examples::lobby::LOBBY), "the page knows the Lobby");
    assert_eq!(get(address, "/healthz").0, 200);
    let (status, metrics) = get(address, "/metrics");
    assert_eq!(status, 200);
    assert!(metrics.contains("# TYPE chat_"), "{metrics}");
    assert!(server.output.wait_for("Chat:").contains(&format!("http://{address}/")));
    assert!(
        server
            .output
            .wait_for("Store:")
            .contains("forgets everything when it stops")
    );
    server.output.wait_for("WARNING");
}

#[test]
fn a_wrong_path_is_answered_with_the_right_one() {
    let address = free_address();
    let _server = serve(address);
    let (status, answer) = get(address, "/caht");
    assert_eq!(status, 404);
    assert!(answer.contains("the chat is at /chat"), "{answer}");
    let upgrade = format!(
        "GET /caht HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    let (status, answer) = exchange(address, &upgrade);
    assert_eq!(status, 101, "a browser cannot read a 404 of an upgrade");
    assert!(
        answer.contains("the chat is at /chat"),
        "the reason of the close: {answer}"
    );
    let (status, _) = exchange(address, &upgrade.replace("/caht", "/chat").replace(": 13", ": 12"));
    assert_eq!(status, 426, "the right path is judged as ever");
}

#[test]
fn an_upgrade_at_the_path_of_a_page_is_told_the_right_path_too() {
    let address = free_address();
    let _server = serve(address);
    for path in ["/", "/healthz", "/metrics"] {
        let upgrade = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        let (status, answer) = exchange(address, &upgrade);
        assert_eq!(status, 101, "{path}: {answer}");
        assert!(answer.contains("the chat is at /chat"), "{path}: {answer}");
    }
}

#[test]
fn one_address_cannot_take_every_place() {
    let address = free_address();
    let _server = serve(address);
    let silent: Vec<_> = (0..80)
        .map(|_| TcpStream::connect(address).expect("a place in the system's queue"))
        .collect();
    let (status, answer) = get(address, "/healthz");
    assert_eq!(status, 503, "{answer}");
    drop(silent);
    let end = Instant::now() + SOON;
    while get(address, "/healthz").0 != 200 {
        assert!(Instant::now() < end, "what was given back can be had again");
    }
}

#[test]
fn pages_of_other_hosts_may_not_connect() {
    let address = free_address();
    let _server = serve(address);
    let upgrade = format!(
        "GET /chat HTTP/1.1\r\nHost: {address}\r\nOrigin: https://evil.example\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    assert_eq!(exchange(address, &upgrade).0, 403);
}

#[test]
fn guests_are_admitted_on_loopback_only() {
    let mut server = Process::start(&mut chat_server("0.0.0.0:0"));
    assert_eq!(server.ended().code(), Some(1));
    assert!(server.notes.wait_for("without a key").contains("CHAT_JWT_KEY"));
    let key = "0123456789abcdef0123456789abcdef";
    let server = Process::start(chat_server("0.0.0.0:0").args(["--jwt-key", key]));
    server.output.wait_for("who brings a token");
    assert_eq!(server.output.count("WARNING"), 0);
}

#[test]
fn a_key_that_is_too_short_is_not_printed() {
    let mut server = Process::start(chat_server("127.0.0.1:0").env("CHAT_JWT_KEY", "my-own-secret"));
    assert_eq!(server.ended().code(), Some(1));
    server.notes.wait_for("at least 32 bytes long, this one has 13");
    assert_eq!(server.notes.count("my-own") + server.output.count("my-own"), 0);
    // Nor does an empty one open the door to guests.
    let mut server = Process::start(chat_server("127.0.0.1:0").env("CHAT_JWT_KEY", ""));
    assert!(!server.ended().success());
    assert_eq!(server.output.count("Users:"), 0);
}

#[test]
fn a_taken_port_gets_a_sentence() {
    let address = free_address();
    let _server = serve(address);
    let mut second = Process::start(&mut chat_server(&address.to_string()));
    assert_eq!(second.ended().code(), Some(1));
    let sentence = second.notes.wait_for("already");
    assert!(
        sentence.contains("--listen") && !sentence.contains("panicked"),
        "{sentence}"
    );
}

#[cfg(unix)]
#[test]
fn sigterm_drains_and_ends_with_code_0() {
    use crate::process::chat;
    let folder = tempfile::tempdir().expect("a folder");
    let address = free_address();
    let mut server = serve(address);
    let mut ana = chat("ana", address, folder.path());
    ana.notes.wait_for("in Lobby");
    ana.say("before the drain");
    ana.output.wait_for("ana: before the drain");
    server.terminate();
    assert_eq!(server.ended().code(), Some(0));
    server.output.wait_for("Stopped.");
    ana.notes.wait_for("the connection is gone");
}

/// Its database takes the connection and says nothing, for as long as the server waits for it.
#[test]
fn while_it_starts_it_lives_and_is_not_ready() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let store = format!("postgres://chat@{}/chat", silent.local_addr().unwrap());
    let address = free_address();
    let mut server = Process::start(&mut chat_server_on(&store, &address.to_string()));
    let since = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(since.elapsed() < SOON, "{:?}", server.notes.lines());
        sleep(Duration::from_millis(5));
    }
    assert_eq!(get(address, "/healthz").0, 200);
    for path in ["/readyz", "/chat", "/metrics"] {
        let (status, answer) = get(address, path);
        assert!(status == 503 && answer.ends_with("starting\n"), "{answer}");
    }
    assert!(!server.ended().success(), "it waited for nothing");
}
