//! chat-server on PostgreSQL: two of them on one database, and databases that cannot be used.

use crate::bells;
use crate::process::{Process, SOON, chat, chat_server_on, example, free_address, get, ready};
use crate::stores::{refused, run};
use chat_testkit::postgres::PrivatePostgres;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

fn serve(url: &str, address: SocketAddr) -> Process {
    ready(&mut chat_server_on(url, &address.to_string()), address)
}

/// One that rings: what another server stores is there at once.
fn serve_with_bells(url: &str, address: SocketAddr) -> Process {
    let mut command = chat_server_on(url, &address.to_string());
    ready(command.args(["--backplane", "postgres"]), address)
}

fn come_in(name: &str, server: SocketAddr, folder: &Path) -> Process {
    let client = chat(name, server, folder);
    client.notes.wait_for("in Lobby");
    client
}

#[test]
fn two_servers_on_one_database_have_one_lobby_and_a_kill_of_either_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let postgres = PrivatePostgres::start().expect("PostgreSQL is on this machine");
    let url = postgres.new_database("chat").expect("it answers");
    let (here, there) = (free_address(), free_address());
    let (mut first, second) = (serve(&url, here), serve(&url, there));
    let said = second.output.wait_for("Store: postgres, ");
    assert!(said.ends_with(&format!("127.0.0.1:{}/chat", postgres.port())), "{said}");
    let (mut ana, mut ben) = (
        come_in("ana", here, folder.path()),
        come_in("ben", there, folder.path()),
    );
    ana.say("from here");
    ben.output.wait_for("ana: from here");
    ben.say("from there");
    ana.output.wait_for("ben: from there");
    first.kill();
    ana.notes.wait_for("the connection is gone");
    ben.say("while you were away");
    ben.output.wait_for("ben: while you were away");
    let _first = serve(&url, here);
    ana.output.wait_for("ben: while you were away");
    assert_eq!(ana.output.count("from here"), 1);
    assert_eq!(ana.notes.count("the server has lost its memory"), 0);
}

/// With bells they need not wait for the next reconcile.
#[test]
fn two_servers_ring_each_other_through_the_database_that_they_share() {
    let folder = tempfile::tempdir().expect("a folder");
    let postgres = PrivatePostgres::start().expect("PostgreSQL is on this machine");
    let url = postgres.new_database("chat").expect("it answers");
    let (here, there) = (free_address(), free_address());
    let (first, _second) = (serve_with_bells(&url, here), serve_with_bells(&url, there));
    let said = first.output.wait_for("Bells: postgres, ");
    assert!(said.ends_with(&format!("127.0.0.1:{}/chat", postgres.port())), "{said}");
    let mut ana = come_in("ana", here, folder.path());
    let ben = come_in("ben", there, folder.path());
    bells::carry(&mut ana, &ben, there);
}

#[test]
fn a_server_whose_database_stands_still_is_not_ready_until_it_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let postgres = PrivatePostgres::start().expect("PostgreSQL is on this machine");
    let url = postgres.new_database("chat").expect("it answers");
    let address = free_address();
    let _server = serve(&url, address);
    let mut ana = come_in("ana", address, folder.path());
    let answers = |wanted: u16, why: &str| {
        let end = Instant::now() + SOON;
        loop {
            let (status, said) = get(address, "/readyz");
            if status == wanted {
                return assert!(said.contains(why), "{said}");
            }
            assert!(Instant::now() < end, "it goes on to answer {status}: {said}");
            sleep(Duration::from_millis(100));
        }
    };
    postgres.freeze().expect("Linux");
    answers(503, "the store has not answered");
    postgres.thaw().expect("Linux");
    answers(200, "ready");
    ana.say("whoever was here still is");
    ana.output.wait_for("whoever was here still is");
    assert_eq!(ana.notes.count("the connection is gone"), 0);
}

#[test]
fn two_nodes_are_one_chat() {
    let postgres = PrivatePostgres::start().expect("PostgreSQL is on this machine");
    let url = postgres.new_database("chat").expect("it answers");
    let mut nodes = Process::start(Command::new(example("two_nodes")).arg(&url));
    assert!(nodes.ended().success(), "{:?}", nodes.notes.lines());
    let (output, _) = nodes.all();
    let time = |line: &str| line.rsplit_once(" after ")?.1.strip_suffix(" ms")?.parse().ok();
    let times: Vec<u64> = output.lines().filter_map(time).collect();
    assert!(output.contains("ben hears Some(\"the other node\") after "), "{output}");
    // The first may be found in the store, where a node looks as soon as it listens. Whatever follows something that was
    // found there waits for the next look, 5 s.
    assert!(
        times.len() == 3 && times[1..].iter().any(|time| *time < 1_000),
        "{output}"
    );
}

#[test]
fn a_backplane_that_makes_no_sense_gets_a_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let sentence = |store: &str, backplane: &str, wanted: &str| {
        let flags = ["--listen", "127.0.0.1:0", "--store", store, "--backplane", backplane];
        let (code, _, notes) = run(folder.path(), &flags);
        assert_eq!(code, Some(1), "{notes}");
        let is_one = notes.lines().count() == 1 && notes.starts_with("chat-server: ");
        assert!(is_one && !notes.contains("secret") && notes.contains(wanted), "{notes}");
    };
    let nowhere = "postgres://ann:secret@127.0.0.1:1/chat";
    for backplane in ["", "none", "mysql://ann:secret@127.0.0.1", nowhere] {
        sentence(nowhere, backplane, "--backplane names no backplane");
    }
    for store in ["memory", "sqlite:chat.db"] {
        sentence(store, "postgres", "this store serves one");
    }
    assert!(!folder.path().join("chat.db").exists(), "nothing was made");
}

#[test]
fn a_database_that_cannot_be_used_gets_a_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let postgres = PrivatePostgres::start().expect("PostgreSQL is on this machine");
    let url = postgres.new_database("chat").expect("it answers");
    let at = format!("127.0.0.1:{}", postgres.port());
    let sentence = |store: &str, wanted: &str| {
        let said = refused(folder.path(), store);
        assert!(said.contains(wanted) && said.contains(&at), "{said}");
    };
    sentence(
        &format!("postgres://postgres:secret@{at}/chat"),
        "correct user and password",
    );
    sentence(&url.replace("/chat", "/chta"), "has no such database");

    let (code, output, notes) = run(folder.path(), &["migrate", "--store", &url]);
    assert_eq!(code, Some(0), "{notes}");
    assert!(output.contains(&format!("postgres, {at}/chat")), "{output}");
    let (code, output, notes) = run(folder.path(), &["store", "reset-epoch", "--store", &url]);
    assert_eq!(code, Some(0), "{notes}");
    assert!(
        output.contains("Old epoch: ") && output.contains("New epoch: "),
        "{output}"
    );
    let clerk = "create role clerk login password 'secret'";
    postgres.psql("postgres", clerk).expect("it answers");
    sentence(&format!("postgres://clerk:secret@{at}/chat"), "grant this user");
    let later = "insert into chat_migrations (version, description, success, checksum, execution_time) \
                 values (9999, 'later', true, '', 0)";
    postgres.psql("chat", later).expect("the table is there");
    sentence(&url, "the schema is at version 9999");

    postgres.new_database("fast").expect("it answers");
    let careless = "alter database fast set synchronous_commit = off";
    postgres.psql("postgres", careless).expect("it answers");
    let fast = url.replace("/chat", "/fast");
    sentence(&fast, "synchronous_commit=off");
    let (code, _, notes) = run(folder.path(), &["migrate", "--allow-data-loss", "--store", &fast]);
    assert_eq!(code, Some(0), "{notes}");

    postgres.freeze().expect("Linux");
    sentence(&url, "cannot be reached: it does not answer");
    postgres.thaw().expect("Linux");
    postgres.stop().expect("it runs");
    sentence(&url, "nobody listens there");
}
