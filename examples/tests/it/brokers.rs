//! chat-server with a broker between its nodes: there, away, and refusing.

use crate::bells;
use crate::process::{SOON, chat, chat_server_on, free_address, get, ready};
use crate::stores::run;
use chat_testkit::nats::PrivateNats;
use chat_testkit::postgres::PrivatePostgres;
use chat_testkit::redis::PrivateRedis;
use chat_testkit::server::Server;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

#[test]
fn servers_ring_through_redis_and_start_while_it_is_away() {
    let redis = PrivateRedis::start().expect("Redis is on this machine");
    rings_and_starts_without(&redis.url(), "redis", &redis);
}

#[test]
fn servers_ring_through_nats_and_start_while_it_is_away() {
    let nats = PrivateNats::start().expect("NATS is on this machine");
    rings_and_starts_without(&nats.url(), "nats", &nats);
}

/// The second server starts without the broker, and finds it.
fn rings_and_starts_without(broker: &str, kind: &str, server: &Server) {
    let folder = tempfile::tempdir().expect("a folder");
    let postgres = PrivatePostgres::start().expect("PostgreSQL is on this machine");
    let url = postgres.new_database("chat").expect("it answers");
    let serve = |address: SocketAddr| {
        let mut command = chat_server_on(&url, &address.to_string());
        // Where an address with a password belongs.
        ready(command.env("CHAT_BACKPLANE", broker), address)
    };
    let (here, there) = (free_address(), free_address());
    let first = serve(here);
    let said = first.output.wait_for("Bells: ");
    assert!(
        said.ends_with(&format!("{kind}, 127.0.0.1:{}", server.port())),
        "{said}"
    );
    server.kill().expect("it runs");
    let _second = serve(there);
    let (_, said) = get(there, "/readyz");
    assert!(said.contains("ready, degraded"), "{said}");

    server.start_again().expect("it was stopped");
    let end = Instant::now() + SOON;
    while [here, there]
        .iter()
        .any(|server| get(*server, "/readyz").1.contains("degraded"))
    {
        assert!(Instant::now() < end, "the broker is not found again");
        sleep(Duration::from_millis(100));
    }
    let (mut ana, ben) = (chat("ana", here, folder.path()), chat("ben", there, folder.path()));
    ana.notes.wait_for("in Lobby");
    ben.notes.wait_for("in Lobby");
    bells::carry(&mut ana, &ben, there);
}

#[test]
fn a_broker_that_refuses_gets_a_sentence_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let postgres = PrivatePostgres::start().expect("PostgreSQL is on this machine");
    let redis = PrivateRedis::start().expect("Redis is on this machine");
    let nats_server = PrivateNats::start().expect("NATS is on this machine");
    let [at, nats] = [redis.port(), nats_server.port()].map(|port| format!("127.0.0.1:{port}"));
    for (backplane, wanted) in [
        (format!("redis://:secret@{at}"), "correct --backplane"),
        (format!("nats://chat:secret@{nats}"), "correct --backplane"),
        (
            format!("nats://chat:secret@{nats},redis://:secret@{at}"),
            "names no backplane",
        ),
        (format!("redis://ann:secret@{at},secret@{at}"), "names no backplane"),
        (format!("redis://:secret@{at}:nonsense"), "correct --backplane"),
    ] {
        let store = postgres.url();
        let flags = ["--listen", "127.0.0.1:0", "--store", &store, "--backplane", &backplane];
        let (code, _, notes) = run(folder.path(), &flags);
        assert_eq!(code, Some(1), "{notes}");
        assert!(
            notes.lines().count() == 1 && notes.starts_with("chat-server: "),
            "{notes}"
        );
        assert!(notes.contains(wanted) && !notes.contains("secret"), "{notes}");
    }
}
