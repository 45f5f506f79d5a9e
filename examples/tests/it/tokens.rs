//! Signed tokens at chat-server's socket: each way to bring one, each way to name a key, and what runs out.

use crate::process::{Process, chat_server, free_address, ready};
use crate::signer::{LATER, Signer, claims, seconds_from_now, set};
use crate::wire::{Heard, greet};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

fn serve(flags: &[&str], address: SocketAddr) -> Process {
    ready(chat_server(&address.to_string()).args(flags), address)
}

/// Writes a file for a flag.
fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).expect("written");
    path.to_str().expect("a path in UTF-8").to_owned()
}

fn hello(token: &str) -> Value {
    json!({ "type": "hello", "token": token })
}

fn refused() -> Heard {
    Heard::Closed(4503, "auth_failed".to_owned())
}

async fn first_word(address: SocketAddr, token: &str) -> Heard {
    greet(address, &[], hello(token)).await.1
}

async fn is_let_in(address: SocketAddr, token: &str) -> bool {
    match first_word(address, token).await {
        Heard::Frame(welcome) => welcome["type"] == "welcome",
        heard => {
            assert_eq!(heard, refused(), "one text for all");
            false
        }
    }
}

#[tokio::test]
async fn a_token_comes_in_the_first_frame_in_a_header_or_as_a_subprotocol() {
    let folder = tempfile::tempdir().expect("a folder");
    let signer = Signer::ed25519();
    let address = free_address();
    let key = file(folder.path(), "key.pem", &signer.public_pem);
    let server = serve(&["--jwt-key-file", &key], address);
    server.output.wait_for("signed with the key (EdDSA)");
    let empty = || json!({ "type": "hello" });
    for (good, token) in [
        (true, signer.token(None, &claims("ana"))),
        (false, Signer::ed25519().token(None, &claims("ana"))),
    ] {
        let bearer = format!("Bearer {token}");
        let protocols = format!("chat.v1.json, chat.token.{token}");
        let ways = [
            greet(address, &[], hello(&token)).await,
            greet(address, &[("authorization", &bearer)], empty()).await,
            greet(address, &[("sec-websocket-protocol", &protocols)], empty()).await,
        ];
        for (_, heard) in ways {
            match good {
                true => assert_eq!(heard.frame()["user"], "ana"),
                false => assert_eq!(heard, refused()),
            }
        }
    }
    assert_eq!(greet(address, &[], empty()).await.1, refused(), "without a token");
    assert_eq!(server.notes.count("eyJ"), 0, "no token is logged");
}

#[tokio::test]
async fn a_token_in_the_address_is_none() {
    let signer = Signer::p256();
    let folder = tempfile::tempdir().expect("a folder");
    let address = free_address();
    let key = file(folder.path(), "key.pem", &signer.public_pem);
    let _server = serve(&["--jwt-key-file", &key], address);
    let token = signer.token(None, &claims("ana"));
    let (socket, _) = tokio_tungstenite::connect_async(format!("ws://{address}/chat?token={token}"))
        .await
        .expect("accepted until hello is judged");
    drop(socket);
    let heard = greet(address, &[], json!({ "type": "hello" })).await.1;
    assert_eq!(heard, refused());
}

#[tokio::test]
async fn a_set_is_read_again_when_a_token_names_a_key_that_is_not_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (old, new) = (Signer::rsa(), Signer::p256());
    let address = free_address();
    let path = file(folder.path(), "keys.json", &set(&[old.jwk("2025")]));
    let server = serve(&["--jwks", &path, "--jwt-audience", "chat"], address);
    server.output.wait_for("signed with the key (RS256)");
    let for_chat = json!({ "sub": "ana", "exp": LATER, "aud": "chat" });
    assert!(is_let_in(address, &old.token(Some("2025"), &for_chat)).await);
    assert!(!is_let_in(address, &old.token(Some("2025"), &claims("ana"))).await);
    file(folder.path(), "keys.json", &set(&[old.jwk("2025"), new.jwk("2026")]));
    assert!(is_let_in(address, &new.token(Some("2026"), &for_chat)).await);
    assert!(!is_let_in(address, &new.token(Some("2027"), &for_chat)).await);
    assert!(is_let_in(address, &old.token(Some("2025"), &for_chat)).await);
}

#[tokio::test]
async fn a_set_that_was_emptied_admits_nobody_and_a_broken_one_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (old, new) = (Signer::ed25519(), Signer::p256());
    let address = free_address();
    let path = file(folder.path(), "keys.json", &set(&[old.jwk("2025")]));
    let server = serve(&["--jwks", &path], address);
    server.output.wait_for("signed with the key (EdDSA)");
    let of_old = old.token(Some("2025"), &claims("ana"));
    // Each unknown name has the file read again.
    let unknown = new.token(Some("unknown"), &claims("ana"));
    file(folder.path(), "keys.json", r#"{"keys":["#);
    assert!(!is_let_in(address, &unknown).await);
    assert!(is_let_in(address, &of_old).await, "half a file is no set");
    file(folder.path(), "keys.json", &set(&[]));
    assert!(!is_let_in(address, &unknown).await);
    assert!(!is_let_in(address, &of_old).await, "all keys were taken back");
    file(folder.path(), "keys.json", &set(&[new.jwk("2026")]));
    assert!(is_let_in(address, &new.token(Some("2026"), &claims("ana"))).await);
}

#[tokio::test]
async fn a_token_that_runs_out_is_warned_of_and_refreshed_in_band() {
    let key = "0123456789abcdef0123456789abcdef";
    let address = free_address();
    let server = serve(&["--jwt-key", key], address);
    server.output.wait_for("signed with the key (HS256)");
    let signed = |user: &str, exp: u64| {
        let claims = json!({ "sub": user, "exp": exp });
        let key = jsonwebtoken::EncodingKey::from_secret(key.as_bytes());
        jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).expect("signed")
    };
    // Less than a minute is left, so the warning comes at once.
    let short = signed("ana", seconds_from_now(50));
    let (wire, welcome) = greet(address, &[], hello(&short)).await;
    let mut wire = wire.expect("connected");
    assert!(welcome.frame()["expires_in_ms"].as_u64().expect("it says when") <= 50_000);
    wire.say(&json!({ "type": "resume", "last": true })).await;
    wire.wait_for("expiring").await;
    for bad in [signed("eve", LATER), signed("ana", 1), "rubbish".to_owned()] {
        let refused = wire.ask("auth:refresh", json!({ "token": bad })).await;
        assert_eq!(refused["code"], "forbidden", "{refused}");
    }
    let answer = wire.ask("auth:refresh", json!({ "token": signed("ana", LATER) })).await;
    assert_eq!(answer["type"], "reply", "{answer}");
}

#[test]
fn a_key_that_is_none_stops_the_server_with_a_sentence_and_is_not_printed() {
    let folder = tempfile::tempdir().expect("a folder");
    let signer = Signer::p256();
    let private = file(folder.path(), "private.pem", &signer.private_pem);
    let empty = file(folder.path(), "empty.json", &set(&[]));
    let gone = folder.path().join("gone.json");
    let gone = gone.to_str().expect("a path in UTF-8");
    for (flags, sentence) in [
        (["--jwt-key", &signer.public_pem], "this is a key in PEM and no secret"),
        (["--jwt-key-file", &private], "this is the private half"),
        (["--jwks", &private], "this is no key set"),
        (["--jwks", &empty], "no key of the set is a public key"),
        (["--jwks", gone], "the keys cannot be read"),
    ] {
        let mut server = Process::start(chat_server("127.0.0.1:0").args(flags));
        assert_eq!(server.ended().code(), Some(1), "{flags:?}");
        server.notes.wait_for(sentence);
        let middle = signer.private_pem.lines().nth(1).expect("base64");
        assert_eq!(server.notes.count(middle), 0);
    }
}
