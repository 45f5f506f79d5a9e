//! What an operator sees of chat-server's store: where it is, and why it cannot be used.

use crate::process::{Process, SOON, chat_server_on, free_address, get, serve_in};
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Longer than a refusal to start may take; a slow machine starts a process in the rest.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Runs to the end and returns exit code, output and notes.
pub fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-server"));
    let started = Instant::now();
    let mut process = Process::start(command.args(arguments).current_dir(folder));
    let code = process.ended().code();
    assert!(
        started.elapsed() < AT_ONCE,
        "{arguments:?} took {:?}",
        started.elapsed()
    );
    let (output, notes) = process.all();
    (code, output, notes)
}

/// What is said on the way out; it is one sentence, and holds no password.
pub fn refused(folder: &Path, store: &str) -> String {
    let (code, _, notes) = run(folder, &["--listen", "127.0.0.1:0", "--store", store]);
    assert_eq!(code, Some(1), "{store}: {notes}");
    assert_eq!(notes.lines().count(), 1, "{store}: {notes}");
    assert!(
        notes.starts_with("chat-server: ") && !notes.contains("secret"),
        "{notes}"
    );
    notes
}

#[cfg(unix)]
#[test]
fn with_no_flag_everything_is_in_a_file_which_is_whole_when_the_server_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = free_address();
    let mut server = serve_in(folder.path(), address);
    let said = server.output.wait_for("Store: sqlite, ");
    let file = folder.path().canonicalize().expect("it is there").join("chat.db");
    assert!(said.ends_with(&file.display().to_string()), "{said}");
    server.terminate();
    assert_eq!(server.ended().code(), Some(0));
    assert!(file.exists() && !folder.path().join("chat.db-wal").exists());
}

#[test]
fn a_second_server_on_the_file_is_refused_and_pointed_to_postgres() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut first = serve_in(folder.path(), free_address());
    let said = refused(folder.path(), "sqlite:chat.db");
    assert!(said.contains("chat.db open") && said.contains("PostgreSQL"), "{said}");
    // A kill frees it at once.
    first.kill();
    serve_in(folder.path(), free_address());
}

#[test]
fn a_file_that_cannot_be_had_gets_a_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("text"), "this is a text and nothing else".repeat(20)).expect("written");
    fs::create_dir(folder.path().join("drawer")).expect("made");
    for (store, sentence) in [
        ("sqlite:nowhere/chat.db", "make the folder"),
        ("text/chat.db", "is not a folder"),
        ("sqlite:drawer", "is a folder: name a file"),
        ("text", "no SQLite database"),
        ("", "names no store"),
        ("mysql://ana:secret@localhost/chat", "names no store"),
        ("postgres:secret", "no address of PostgreSQL"),
        // Passwords that nobody wrote as `%` and two digits: what is behind would pass for host and database.
        (
            "postgres://ana:p@secret/secret@localhost/chat",
            "no address of PostgreSQL",
        ),
        ("postgres://ana:1/secret@localhost/chat", "no address of PostgreSQL"),
        ("postgres://ana:1?secret@localhost/chat", "no address of PostgreSQL"),
        ("postgres://secret:1#secret@localhost/chat", "no address of PostgreSQL"),
    ] {
        let said = refused(folder.path(), store);
        assert!(said.contains(sentence), "{store}: {said}");
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_may_not_be_written_gets_a_sentence() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    serve_in(folder.path(), free_address());
    let file = folder.path().join("chat.db");
    fs::set_permissions(&file, PermissionsExt::from_mode(0o444)).expect("ours");
    if fs::File::options().write(true).open(&file).is_ok() {
        // Nothing is forbidden to root.
        return;
    }
    let said = refused(folder.path(), "chat.db");
    assert!(said.contains("may not be written"), "{said}");
}

#[test]
fn a_database_that_is_not_there_gets_a_sentence_without_the_password() {
    let folder = tempfile::tempdir().expect("a folder");
    let nobody = free_address();
    let said = refused(folder.path(), &format!("postgres://ana:secret@{nobody}/chat"));
    assert!(said.contains(&format!("{nobody}/chat cannot be reached")), "{said}");
    // Somebody who takes the connection and says nothing.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free");
    let silent = silent
        .local_addr()
        .map(|address| (address, silent))
        .expect("an address");
    let said = refused(folder.path(), &format!("postgres://ana:secret@{}/chat", silent.0));
    assert!(said.contains("cannot be reached: it does not answer"), "{said}");
}

#[test]
fn migrate_prints_its_statements_without_a_database_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let nobody = format!("postgres://ana:secret@{}/chat", free_address());
    for store in ["chat.db", nobody.as_str()] {
        let (code, output, notes) = run(folder.path(), &["migrate", "--print-sql", "--store", store]);
        assert_eq!(code, Some(0), "{notes}");
        assert!(output.contains("CREATE TABLE chat_conversations"), "{output}");
        assert!(!output.contains("secret"), "{output}");
    }
    assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 0);
}

#[test]
fn a_switch_in_the_environment_may_be_written_as_a_number() {
    let folder = tempfile::tempdir().expect("a folder");
    let ended = |value: &str, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chat-server"));
        command
            .args(arguments)
            .args(["--store", "chat.db"])
            .current_dir(folder.path());
        for name in ["CHAT_NO_MIGRATE", "CHAT_ALLOW_DATA_LOSS"] {
            command.env(name, value);
        }
        command.output().expect("it runs")
    };
    for value in ["1", "0", "true", "false"] {
        let output = ended(value, &["migrate", "--print-sql"]);
        assert!(output.status.success(), "{value}: {output:?}");
    }
    let output = ended("1", &["--listen", "127.0.0.1:0"]);
    let notes = String::from_utf8_lossy(&output.stderr);
    assert!(notes.contains("the schema is not up to date"), "{notes}");
}

#[test]
fn without_migrating_a_server_starts_on_a_schema_that_was_made_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let serve = ["--listen", "127.0.0.1:0", "--no-migrate"];
    let (code, _, notes) = run(folder.path(), &serve);
    assert_eq!(code, Some(1), "{notes}");
    assert!(notes.contains("chat-server migrate"), "{notes}");
    let (code, output, notes) = run(folder.path(), &["migrate"]);
    assert_eq!(code, Some(0), "{notes}");
    assert!(output.contains("The schema is up to date"), "{output}");
    let address = free_address();
    let mut command = chat_server_on("chat.db", &address.to_string());
    let server = Process::start(command.arg("--no-migrate").current_dir(folder.path()));
    server.output.wait_for("Stop:");
    let end = Instant::now() + SOON;
    while get(address, "/readyz").0 != 200 {
        assert!(Instant::now() < end, "it is not ready");
    }
}

#[test]
fn reset_epoch_says_the_old_one_and_the_new_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let reset = || run(folder.path(), &["store", "reset-epoch"]);
    let (code, _, notes) = reset();
    assert_eq!(code, Some(1));
    assert!(notes.contains("chat.db is not there"), "{notes}");
    fs::write(folder.path().join("chat.db"), "").expect("written");
    let (code, _, notes) = reset();
    assert_eq!(code, Some(1));
    assert!(
        notes.contains("cannot be used: the schema is not up to date"),
        "{notes}"
    );
    assert_eq!(run(folder.path(), &["migrate"]).0, Some(0));
    let (code, first, notes) = reset();
    assert_eq!(code, Some(0), "{notes}");
    let (_, second, _) = reset();
    let epoch = |output: &str, which: &str| {
        let line = output.lines().find(|line| line.starts_with(which)).expect("it is said");
        line.replace(which, "").trim().to_owned()
    };
    assert_ne!(epoch(&first, "Old epoch:"), epoch(&first, "New epoch:"));
    assert_eq!(epoch(&first, "New epoch:"), epoch(&second, "Old epoch:"));
}
