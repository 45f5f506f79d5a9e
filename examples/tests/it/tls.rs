//! chat-server with a certificate, and behind a proxy.

use crate::process::{Process, chat_server, exchange, free_address};
use chat_transport_ws::rustls::pki_types::ServerName;
use chat_transport_ws::rustls::{ClientConfig, ClientConnection, RootCertStore, Stream, crypto::aws_lc_rs};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

/// A certificate and its key in files.
struct Files {
    folder: tempfile::TempDir,
    roots: RootCertStore,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).expect("written");
        std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).expect("written");
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("a root");
        Self { folder, roots }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn server(&self, address: &str, certificate: &str, key: &str) -> Process {
        let (certificate, key) = (self.path(certificate), self.path(key));
        Process::start(
            chat_server(address)
                .arg("--tls-cert")
                .arg(certificate)
                .arg("--tls-key")
                .arg(key),
        )
    }
}

#[test]
fn a_certificate_makes_it_speak_tls() {
    let files = Files::new();
    let address = free_address();
    let server = files.server(&address.to_string(), "cert.pem", "key.pem");
    let line = server.output.wait_for("Chat:");
    assert!(
        line.contains(&format!("https://{address}/")) && line.contains("wss://"),
        "{line}"
    );
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider's versions")
        .with_root_certificates(files.roots.clone())
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let ask = |request: &str| {
        let mut connection = ClientConnection::new(Arc::new(config.clone()), name.clone()).expect("a client");
        let mut socket = TcpStream::connect(address).expect("somebody listens");
        let mut stream = Stream::new(&mut connection, &mut socket);
        stream.write_all(request.as_bytes()).expect("the server reads");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        String::from_utf8(answer.to_vec()).expect("text")
    };
    assert_eq!(ask("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"), "HTTP/1.1 200");
    let upgrade = "GET /chat HTTP/1.1\r\nHost: localhost\r\nOrigin: https://localhost\r\nConnection: Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    assert_eq!(ask(upgrade), "HTTP/1.1 101");
    let (status, answer) = exchange(address, upgrade);
    assert_eq!(status, 400);
    assert!(answer.contains("connect by wss:// or https://"), "{answer}");
}

#[test]
fn files_that_are_no_good_get_a_sentence() {
    let files = Files::new();
    let other = Files::new();
    std::fs::copy(other.path("key.pem"), files.path("other.pem")).expect("copied");
    for (certificate, key, sentence) in [
        ("absent.pem", "key.pem", "no certificate can be read from"),
        ("key.pem", "key.pem", "no certificate can be read from"),
        ("cert.pem", "absent.pem", "no private key can be read from"),
        ("cert.pem", "cert.pem", "no private key can be read from"),
        ("cert.pem", "other.pem", "cannot be used together"),
    ] {
        let mut server = files.server("127.0.0.1:0", certificate, key);
        assert_eq!(server.ended().code(), Some(1), "{certificate}, {key}");
        let (said, notes) = server.all();
        assert!(notes.contains(sentence), "{notes}");
        assert_eq!(notes.lines().count(), 1, "one sentence: {notes}");
        assert!(!notes.contains("panicked") && said.is_empty(), "{notes}{said}");
    }
    let mut server = Process::start(chat_server("127.0.0.1:0").arg("--tls-cert").arg(files.path("cert.pem")));
    assert!(!server.ended().success(), "a certificate without a key");
}

#[test]
fn a_trusted_proxy_says_whose_limits_count() {
    let address = free_address();
    let server = Process::start(chat_server(&address.to_string()).args([
        "--connections-per-address",
        "1",
        "--trusted-proxy",
        "127.0.0.1",
        "--trusted-proxy",
        "10.0.0.0/8",
    ]));
    server.output.wait_for("Stop:");
    let mut held = Vec::new();
    for (client, status) in [
        ("198.51.100.1", "101"),
        ("198.51.100.1", "503"),
        ("198.51.100.2, 10.0.0.1", "101"),
    ] {
        let mut socket = TcpStream::connect(address).expect("somebody listens");
        let upgrade = format!(
            "GET /chat HTTP/1.1\r\nHost: {address}\r\nX-Forwarded-For: 1.2.3.4, {client}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        socket.write_all(upgrade.as_bytes()).expect("the server reads");
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).expect("an answer");
        assert_eq!(
            String::from_utf8_lossy(&answer),
            format!("HTTP/1.1 {status}"),
            "{client}"
        );
        held.push(socket);
    }
    let mut wrong = Process::start(chat_server("127.0.0.1:0").args(["--trusted-proxy", "proxy.example.com"]));
    assert!(!wrong.ended().success());
    wrong.notes.wait_for("10.0.0.0/8");
}
