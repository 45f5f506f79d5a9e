//! Line clients against the server, and what a kill of either leaves.

use crate::process::{Output, Process, SOON, chat, free_address, serve, serve_in};
use std::net::SocketAddr;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Starts a client and waits until it is in the Lobby.
fn come_in(name: &str, server: SocketAddr, folder: &Path) -> Process {
    let client = chat(name, server, folder);
    client.notes.wait_for("in Lobby");
    client
}

/// Waits until all these messages are there, then says whether each is there once and in this order.
fn assert_once_in_order(output: &Output, who: &str, texts: &[String]) {
    let wanted: Vec<String> = texts.iter().map(|text| format!(" {who}: {text}")).collect();
    let last = wanted.last().expect("something is wanted");
    let lines = output.wait(|lines| lines.iter().any(|line| line.ends_with(last)));
    let found: Vec<&String> = wanted
        .iter()
        .flat_map(|wanted| lines.iter().filter(move |line| line.ends_with(wanted)))
        .collect();
    assert_eq!(found.len(), texts.len(), "each once: {lines:#?}");
    let in_order: Vec<&String> = lines.iter().filter(|line| found.contains(line)).collect();
    assert_eq!(in_order, found, "in the order of writing");
}

fn texts(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("message {number:03}")).collect()
}

#[test]
fn two_line_clients_talk() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = free_address();
    let _server = serve(address);
    let mut ana = come_in("ana", address, folder.path());
    ana.say("anybody here?");
    ana.output.wait_for("ana: anybody here?");
    let mut ben = come_in("ben", address, folder.path());
    ben.output.wait_for("ana: anybody here?");
    ben.say("me");
    ana.output.wait_for("ben: me");
    ben.output.wait_for("ben: me");
    ben.say("/edit me too");
    ana.output.wait_for("ben (edited): me too");
    ana.say("/who");
    ana.notes.wait_for("here: ben");
    ana.say("/delete");
    ben.output.wait_for("ana deleted this message");
    ben.say("/delete #1");
    ben.notes.wait_for("no such message of yours");
    ana.say("/quit");
    assert!(ana.ended().success());
    assert_eq!(ben.output.count("ben: me"), 1);
}

#[test]
fn what_is_piped_in_is_sent_before_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = free_address();
    let _server = serve(address);
    let ben = come_in("ben", address, folder.path());
    let mut ana = chat("ana", address, folder.path());
    ana.say("one");
    ana.say("two");
    ana.close_input();
    assert!(ana.ended().success());
    assert_once_in_order(&ben.output, "ana", &["one".to_owned(), "two".to_owned()]);
}

#[test]
fn a_line_client_killed_while_sending_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = free_address();
    let _server = serve(address);
    let ben = come_in("ben", address, folder.path());
    let mut ana = come_in("ana", address, folder.path());
    // More than go out at once, so that the kill falls between.
    let first = texts(0..25);
    first.iter().for_each(|text| ana.say(text));
    ana.output.wait_for("ana: message 003");
    // What the process has not read yet was never typed as far as it knows: wait until it waits in the file.
    wait_for_file(&folder.path().join("ana"), |text| text.contains("message 024"));
    ana.kill();
    let again = come_in("ana", address, folder.path());
    assert_once_in_order(&ben.output, "ana", &first);
    assert_once_in_order(&again.output, "ana", &first);
    drop(ben);
}

#[test]
fn a_server_killed_and_started_again_has_what_it_acknowledged_and_gets_what_was_not_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = free_address();
    let (ana, ben) = killed_while_talking(folder.path(), address, || serve_in(folder.path(), address));
    let before = ["before".to_owned()];
    assert_once_in_order(&ben.output, "ana", &[&before[..], &texts(0..3)].concat());
    assert_once_in_order(&ana.output, "ana", &before);
    // The epoch is the same: who was there goes on where they were.
    assert_eq!(ben.notes.count("the server has lost its memory"), 0);
    drop(folder);
}

#[test]
fn a_server_on_memory_killed_and_started_again_gets_what_was_not_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = free_address();
    let (ana, ben) = killed_while_talking(folder.path(), address, || serve(address));
    ben.notes.wait_for("the server has lost its memory");
    assert_eq!(ana.output.count("before"), 0, "the store in memory has forgotten it");
}

/// Ana and Ben talk, the server is killed, both write, Ana is killed too, and all come back.
fn killed_while_talking(folder: &Path, address: SocketAddr, serve: impl Fn() -> Process) -> (Process, Process) {
    let mut server = serve();
    let mut ana = come_in("ana", address, folder);
    let mut ben = come_in("ben", address, folder);
    ana.say("before");
    ben.output.wait_for("ana: before");
    // Both her join and her message are acknowledged: what is not would be sent again.
    wait_for_file(&folder.join("ana"), |text| text.matches("\"done\"").count() == 2);
    server.kill();
    ana.notes.wait_for("the connection is gone");
    ben.notes.wait_for("the connection is gone");
    let unsent = texts(0..3);
    unsent.iter().for_each(|text| ana.say(text));
    ben.say("and I");
    wait_for_file(&folder.join("ana"), |text| text.contains("message 002"));
    wait_for_file(&folder.join("ben"), |text| text.contains("and I"));
    // One of them is killed too, and comes back in another process.
    ana.kill();
    let server = serve();
    let ana = chat("ana", address, folder);
    ana.notes.wait_for("3 unsent from last time");
    for output in [&ana.output, &ben.output] {
        assert_once_in_order(output, "ana", &unsent);
        assert_once_in_order(output, "ben", &["and I".to_owned()]);
    }
    drop(server);
    (ana, ben)
}

#[test]
fn starts_without_a_server_say_why_and_leave_one_join_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = free_address();
    let outbox = folder.path().join("ana");
    for start in 0..2 {
        let mut ana = chat("ana", address, folder.path());
        ana.notes
            .wait_for(&format!("no connection to ws://{address}/chat: Connection refused"));
        let line = format!("line {start}");
        ana.say(&line);
        wait_for_file(&outbox, |text| text.contains(&line));
        let unsent = format!("{start} unsent from last time");
        assert_eq!(ana.notes.count(&unsent), start, "joins are not counted");
        ana.kill();
    }
    let kept = std::fs::read_to_string(&outbox).expect("it is there");
    assert_eq!(kept.matches("conversation:join").count(), 1, "{kept}");
}

#[test]
fn a_name_that_no_server_takes_gets_a_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["", "\u{200b}", "a\nb", "\u{202e}ana", &"x".repeat(65)] {
        let mut ana = chat(name, free_address(), folder.path());
        assert_eq!(ana.ended().code(), Some(1), "{name:?}");
        ana.notes.wait_for("--as wants a name: at most 64 bytes");
    }
}

/// Waits until an outbox is as wanted.
fn wait_for_file(path: &Path, wanted: impl Fn(&str) -> bool) {
    let end = Instant::now() + SOON;
    while !std::fs::read_to_string(path).is_ok_and(|text| wanted(&text)) {
        assert!(Instant::now() < end, "the outbox {} did not become so", path.display());
        sleep(Duration::from_millis(10));
    }
}
