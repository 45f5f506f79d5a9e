//! The small hosts of `examples/`: each started as one would start it, each with a client at its socket, and ended by
//! Ctrl-C.

use crate::process::{Process, SOON, chat, example, exchange, get};
use crate::signer::{LATER, Signer, set};
use crate::wire::{Heard, Wire, greet};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

const ANY: &str = "127.0.0.1:0";

/// Starts an example, and waits until it says where it listens.
fn start(name: &str, arguments: &[&str]) -> (Process, SocketAddr) {
    let server = Process::start(Command::new(example(name)).args(arguments));
    let line = server.output.wait_for("://");
    (server, address_in(&line))
}

fn address_in(line: &str) -> SocketAddr {
    let (_, rest) = line.rsplit_once("://").expect("it was waited for");
    let address = rest.split('/').next().expect("there is a first part");
    address.trim().parse().unwrap_or_else(|_| panic!("no address: {line}"))
}

/// Ctrl-C: it drains, and its code says that all went well.
fn end(mut server: Process) {
    #[cfg(unix)]
    {
        server.interrupt();
        assert!(server.ended().success(), "{:?}", server.notes.lines());
    }
    #[cfg(not(unix))]
    server.kill();
}

fn guest(name: &str) -> Value {
    json!({ "type": "hello", "guest": name })
}

/// Comes in as a guest, with everything that was missed.
async fn come_in(address: SocketAddr, name: &str) -> Wire {
    let (wire, welcome) = greet(address, &[], guest(name)).await;
    assert_eq!(welcome.frame()["user"], name);
    let mut wire = wire.expect("connected");
    wire.say(&json!({ "type": "resume", "last": true })).await;
    wire.wait_for("synced").await;
    wire
}

fn fresh() -> String {
    uuid::Uuid::new_v4().to_string()
}

async fn join_lobby(wire: &mut Wire) {
    let join = json!({ "conversation": examples::lobby::LOBBY, "id": fresh() });
    let answer = wire.ask("conversation:join", join).await;
    assert_eq!(answer["type"], "reply", "{answer}");
    // What is said before its entry comes is in the entry, and what is said later comes as events.
    while wire.wait_for("inbox").await["entries"]
        .as_array()
        .is_none_or(Vec::is_empty)
    {}
}

/// Says something in the Lobby; the answer.
async fn say(wire: &mut Wire, text: &str) -> Value {
    let message = json!({ "conversation": examples::lobby::LOBBY, "id": fresh(), "content": { "text": text } });
    wire.ask("message:send", message).await
}

/// The next message that somebody wrote.
async fn hear(wire: &mut Wire) -> Value {
    loop {
        let event = wire.wait_for("event").await;
        if event["event"] == "message:new" {
            return event;
        }
    }
}

/// The lines of an example that count: not the blank ones, and not those of comments only.
fn lines_of(path: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(path);
    let text = fs::read_to_string(path).expect("an example");
    let lines = text.lines().map(str::trim);
    let counts = |line: &&str| !line.is_empty() && !line.starts_with("//");
    lines.filter(counts).map(str::to_owned).collect()
}

#[tokio::test]
async fn minimal_is_a_whole_server_in_at_most_25_lines() {
    let lines = lines_of("minimal.rs");
    assert!(lines.len() <= 25, "{} lines", lines.len());
    let (server, address) = start("minimal", &[ANY]);
    come_in(address, "ana").await;
    end(server);
}

/// How many lines differ between two texts: those that only one of them has.
fn difference(before: &[String], after: &[String]) -> usize {
    let mut longest = vec![vec![0; after.len() + 1]; before.len() + 1];
    for (i, line) in before.iter().enumerate() {
        for (j, other) in after.iter().enumerate() {
            longest[i + 1][j + 1] = match line == other {
                true => longest[i][j] + 1,
                false => longest[i][j + 1].max(longest[i + 1][j]),
            };
        }
    }
    before.len() + after.len() - 2 * longest[before.len()][after.len()]
}

#[test]
fn a_host_with_its_own_login_changes_at_most_25_lines() {
    let (before, after) = (lines_of("axum_own_auth/before.rs"), lines_of("axum_own_auth/main.rs"));
    let changed = difference(&before, &after);
    assert!(changed <= 25, "{changed} lines");
    let crates = |lines: &[String]| -> BTreeSet<String> {
        let uses = lines.iter().filter_map(|line| line.strip_prefix("use "));
        uses.filter_map(|line| line.split("::").next())
            .map(str::to_owned)
            .collect()
    };
    let added: Vec<String> = crates(&after).difference(&crates(&before)).cloned().collect();
    println!("{changed} lines differ; crates that were added: {added:?}");
    assert_eq!(added, ["chat_core", "chat_store_memory", "chat_transport_ws"]);
}

/// Status and whole answer of a request to the host's own paths.
fn post(address: SocketAddr, path: &str, headers: &str, body: &str) -> (u16, String) {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n");
    exchange(address, &format!("{head}{headers}\r\n{body}"))
}

fn login(address: SocketAddr, name: &str, password: &str) -> Option<String> {
    let body = json!({ "name": name, "password": password }).to_string();
    let (status, answer) = post(address, "/login", "Content-Type: application/json\r\n", &body);
    let cookie = answer
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: ")?.split(';').next());
    assert_eq!(status == 200, cookie.is_some(), "{answer}");
    cookie.map(str::to_owned)
}

#[test]
fn the_host_before_it_had_a_chat_has_a_login_already() {
    let (server, address) = start("axum_own_auth_before", &[ANY]);
    assert_eq!(login(address, "ana", "kettle"), None);
    assert!(login(address, "ana", "teapot").is_some());
    assert_eq!(get(address, "/chat").0, 404);
    end(server);
}

#[tokio::test]
async fn a_cookie_lets_into_the_chat_and_a_logout_closes_it() {
    let (server, address) = start("axum_own_auth", &[ANY]);
    let origin = format!("http://{address}");
    let hello = || json!({ "type": "hello" });
    let enter = async |headers: &[(&'static str, &str)]| greet(address, headers, hello()).await;
    let cookie = login(address, "ana", "teapot").expect("let in");
    let (ana, welcome) = enter(&[("cookie", &cookie), ("origin", &origin)]).await;
    assert_eq!(welcome.frame()["user"], "ana");
    let cookie_of_ben = login(address, "ben", "kettle").expect("let in");
    let (ben, welcome) = enter(&[("cookie", &cookie_of_ben), ("origin", &origin)]).await;
    assert_eq!(welcome.frame()["user"], "ben");

    for (headers, status) in [
        (&[("origin", &*origin)][..], 401),
        (&[("origin", &*origin), ("cookie", "session=guessed")], 401),
        (&[("cookie", &*cookie)], 403),
        (&[("cookie", &*cookie), ("origin", "https://evil.example")], 403),
    ] {
        assert_eq!(enter(headers).await.1, Heard::Status(status), "{headers:?}");
    }

    let (status, _) = post(address, "/logout", &format!("Cookie: {cookie}\r\n"), "");
    assert_eq!(status, 204);
    assert_eq!(
        ana.expect("connected").hear().await,
        Heard::Closed(4505, "session_revoked".to_owned())
    );
    assert_eq!(
        enter(&[("cookie", &cookie), ("origin", &origin)]).await.1,
        Heard::Status(401)
    );
    // Others stay, until the host itself goes.
    let mut ben = ben.expect("connected");
    let pong = ben.ask("inbox:list", json!({})).await;
    assert_eq!(pong["type"], "reply", "{pong}");
    // The chat ends first: it does not wait for who sends half a request.
    #[cfg(unix)]
    {
        let mut slow = TcpStream::connect(address).expect("somebody listens");
        let half = "POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{";
        slow.write_all(half.as_bytes()).expect("taken");
        server.interrupt();
        assert!(matches!(ben.last_word().await, Heard::Closed(1012, _)));
    }
    end(server);
}

/// Serves a key set over HTTP under `/keys?of=chat` until the test ends; on IPv6, where there is any.
fn issuer(keys: Arc<Mutex<String>>) -> SocketAddr {
    let addresses = ["[::1]:0", ANY].map(|address| address.parse().expect("an address"));
    let listener = TcpListener::bind::<&[SocketAddr]>(&addresses).expect("a free port");
    let address = listener.local_addr().expect("an address");
    // Ends with the test's process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("accepted");
            let mut head = BufReader::new(stream.try_clone().expect("a handle"));
            let mut line = String::new();
            let _ = head.read_line(&mut line);
            let is_asked_for = line.starts_with("GET /keys?of=chat HTTP/1.1");
            while head.read_line(&mut line).is_ok_and(|count| count > 2) {
                line.clear();
            }
            let body = match is_asked_for {
                true => keys.lock().expect("no panic inside").clone(),
                false => "another page".to_owned(),
            };
            let length = body.len();
            // Whoever asked may be gone.
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
        }
    });
    address
}

#[tokio::test]
async fn tokens_of_an_issuer_let_in_also_after_it_changed_its_keys() {
    let (old, new) = (Signer::rsa(), Signer::ed25519());
    let keys = Arc::new(Mutex::new(set(&[old.jwk("old")])));
    let address_of_keys = format!("http://{}/keys?of=chat", issuer(keys.clone()));
    let server = Process::start(Command::new(example("axum_jwt")).args([&address_of_keys, "my-audience", ANY]));
    server.output.wait_for("signed with the key (RS256)");
    let address = address_in(&server.output.wait_for("Chat:"));
    let first_word = async |token: String| {
        let bearer = format!("Bearer {token}");
        greet(address, &[("authorization", &bearer)], json!({ "type": "hello" }))
            .await
            .1
    };
    let claims = |audience: &str| json!({ "sub": "ana", "exp": LATER, "aud": audience });
    let refused = Heard::Closed(4503, "auth_failed".to_owned());
    assert_eq!(
        first_word(old.token(Some("old"), &claims("my-audience"))).await.frame()["user"],
        "ana"
    );
    assert_eq!(first_word(old.token(Some("old"), &claims("another"))).await, refused);
    *keys.lock().expect("no panic inside") = set(&[new.jwk("new")]);
    assert_eq!(
        first_word(new.token(Some("new"), &claims("my-audience"))).await.frame()["user"],
        "ana"
    );
    assert_eq!(
        first_word(old.token(Some("old"), &claims("my-audience"))).await,
        refused,
        "withdrawn with the same look"
    );
    end(server);
}

#[test]
fn keys_at_an_https_address_are_not_fetched_in_the_clear() {
    let keys = Arc::new(Mutex::new(set(&[Signer::ed25519().jwk("a key")])));
    let address_of_keys = format!("https://{}/keys?of=chat", issuer(keys));
    let mut server = Process::start(Command::new(example("axum_jwt")).args([&address_of_keys, "my-audience", ANY]));
    assert!(!server.ended().success());
    server.notes.wait_for("put your own client into `fetch`");
}

#[tokio::test]
async fn grpc_and_chat_are_on_one_port() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::health_client::HealthClient;
    let (server, address) = start("tonic_side_by_side", &[ANY]);
    let mut ana = come_in(address, "ana").await;
    join_lobby(&mut ana).await;
    let channel = tonic::transport::Channel::from_shared(format!("http://{address}")).expect("an address");
    let mut health = HealthClient::new(channel.connect().await.expect("HTTP/2"));
    let service = "chat".to_owned();
    let answer = health.check(HealthCheckRequest { service }).await.expect("an answer");
    assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
    assert_eq!(say(&mut ana, "both at once").await["type"], "reply");
    drop(health);
    end(server);
}

#[tokio::test]
async fn what_the_host_says_was_sent_by_nobody() {
    let (mut server, address) = start("system_message", &[ANY]);
    let mut ana = come_in(address, "ana").await;
    join_lobby(&mut ana).await;
    server.say("we close at six");
    let event = hear(&mut ana).await;
    assert_eq!(event["data"]["message"]["content"]["text"], "we close at six");
    assert!(
        event["actor"].is_null() && event["data"]["message"]["sender"].is_null(),
        "{event}"
    );
    server.output.wait_for("Said.");
    server.say(&"x".repeat(20_000));
    server.output.wait_for("Not said: ");
    server.close_input();
    assert!(server.ended().success(), "{:?}", server.notes.lines());
}

#[tokio::test]
async fn a_host_decides_what_is_done_and_said_and_hears_what_was() {
    let (server, address) = start("hooks", &[ANY]);
    let mut ana = come_in(address, "ana").await;
    join_lobby(&mut ana).await;
    assert_eq!(say(&mut ana, "a teapot").await["type"], "reply");
    assert_eq!(hear(&mut ana).await["data"]["message"]["content"]["text"], "a ******");
    server.output.wait_for("Push: ana wrote \"a ******\"");
    let refused = say(&mut ana, "see http://evil.example").await;
    assert_eq!(
        (&refused["code"], &refused["message"]),
        (&json!("forbidden"), &json!("links are not for this house"))
    );
    let channel = || json!({ "conversation": fresh(), "id": fresh(), "kind": "channel" });
    let refused = ana.ask("conversation:create", channel()).await;
    assert_eq!(refused["message"], "only the admin opens channels");
    let made = come_in(address, "admin")
        .await
        .ask("conversation:create", channel())
        .await;
    assert_eq!(made["type"], "reply", "{made}");
    assert_eq!(server.output.count("Push:"), 1, "{:?}", server.output.lines());
    end(server);
}

#[tokio::test]
async fn an_audited_store_tells_who_did_what() {
    let (server, address) = start("own_store", &[ANY]);
    server.output.wait_for("Audit: the host, conversation:create in ");
    let mut ana = come_in(address, "ana").await;
    let refused = say(&mut ana, "from outside").await;
    assert_eq!(refused["code"], "not_found");
    server
        .output
        .wait_for("ana, message:send in 10bb1e00-0000-4000-8000-000000000001: was refused: there is no such");
    join_lobby(&mut ana).await;
    assert_eq!(say(&mut ana, "hello").await["type"], "reply");
    server
        .output
        .wait_for("ana, conversation:join in 10bb1e00-0000-4000-8000-000000000001: is number 2 (");
    server
        .output
        .wait_for("ana, message:send in 10bb1e00-0000-4000-8000-000000000001: is number 3 (");
    end(server);
}

/// A client of lines.
struct Lines(BufReader<TcpStream>);

impl Lines {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("somebody listens");
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        Self(BufReader::new(stream))
    }

    fn say(&mut self, frame: &Value) {
        writeln!(self.0.get_mut(), "{frame}").expect("taken");
    }

    /// Waits for a line with this in it.
    fn wait_for(&mut self, part: &str) -> String {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            assert!(
                self.0.read_line(&mut line).expect("in time") > 0,
                "it ended before {part}"
            );
        }
        line
    }
}

#[tokio::test]
async fn lines_over_tcp_reach_who_came_by_websocket_and_back() {
    let lines = lines_of("own_transport/lines.rs");
    let count = lines.iter().filter(|line| !line.starts_with("use ")).count();
    assert!(count <= 60, "{count} lines besides imports");

    let (server, address_of_lines) = start("own_transport", &[ANY, ANY]);
    let address = server.output.wait_for("Chat:");
    let address = address_in(address.split(" and ").next().expect("the first one"));
    let mut ana = come_in(address, "ana").await;
    join_lobby(&mut ana).await;

    let mut ben = Lines::connect(address_of_lines);
    ben.say(&guest("ben"));
    ben.wait_for(r#""type":"welcome""#);
    ben.say(&json!({ "type": "resume", "last": true }));
    let command = |req: u64, command: &str, data: Value| json!({ "type": "command", "req": req, "command": command, "data": data });
    let lobby = examples::lobby::LOBBY;
    ben.say(&command(
        1,
        "conversation:join",
        json!({ "conversation": lobby, "id": fresh() }),
    ));
    ben.wait_for(r#""req":1"#);
    let content = json!({ "text": "a line" });
    ben.say(&command(
        2,
        "message:send",
        json!({ "conversation": lobby, "id": fresh(), "content": content }),
    ));
    assert_eq!(hear(&mut ana).await["data"]["message"]["content"]["text"], "a line");
    say(&mut ana, "a frame").await;
    ben.wait_for("a frame");

    let mut rude = Lines::connect(address_of_lines);
    rude.say(&command(1, "inbox:list", json!({})));
    rude.wait_for(r#"{"closed":4502"#);
    let mut endless = Lines::connect(address_of_lines);
    // It may be closed before all of it is taken.
    let _ = endless.0.get_mut().write_all(&[b'x'; 70_000]);
    endless.wait_for(r#"{"closed":1009"#);
    assert_eq!(endless.0.read_to_end(&mut Vec::new()).expect("in time"), 0);
    end(server);
    ben.wait_for(r#"{"closed":1012"#);
}

#[tokio::test]
async fn the_host_that_is_tested_in_process_also_runs() {
    let (server, address) = start("testing_your_host", &[ANY]);
    come_in(address, "ana").await;
    end(server);
}

#[tokio::test]
async fn an_actix_host_has_a_chat() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, address) = start("actix_adapter", &[ANY]);
    let (status, answer) = get(address, "/");
    assert!(status == 200 && answer.ends_with("a host"), "{answer}");
    assert_eq!(
        get(address, "/chat").0,
        426,
        "a sentence for who comes without an upgrade"
    );
    let mut wire = come_in(address, "ana").await;
    join_lobby(&mut wire).await;
    let mut ben = chat("ben", address, folder.path());
    ben.notes.wait_for("in Lobby");
    let large = "x".repeat(16_000);
    for number in 0..10 {
        assert_eq!(say(&mut wire, &format!("{number} {large}")).await["type"], "reply");
    }
    ben.output.wait_for("9 xxx");
    ben.say("and back");
    while hear(&mut wire).await["data"]["message"]["content"]["text"] != "and back" {}
    end(server);
    assert!(matches!(wire.last_word().await, Heard::Closed(1012, _)));
}
