//! What tests rely on when they kill, freeze, measure and copy a PostgreSQL of their own.
#![cfg(target_os = "linux")]
// Helpers of tests may fail as loudly as tests.
#![allow(clippy::unwrap_used)]

use chat_testkit::postgres::{PostgresError, PrivatePostgres, cluster_cpu};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Long enough for a slow machine; nobody waits that long unless something is wrong.
const AT_MOST: Duration = Duration::from_secs(60);

#[test]
fn what_was_committed_is_there_after_an_immediate_stop_on_the_same_port() {
    let postgres = PrivatePostgres::start().unwrap();
    let url = postgres.new_database("orders").unwrap();
    postgres
        .psql("orders", "create table t (n int); insert into t values (7)")
        .unwrap();
    let (pid, port) = (postgres.pid().unwrap(), postgres.port());
    postgres.stop_immediately().unwrap();
    assert_eq!(postgres.pid(), None);
    assert!(!runs(pid), "every process has ended");
    assert!(postgres.psql("orders", "select n from t").is_err());
    assert!(matches!(postgres.stop(), Err(PostgresError::Stopped)));

    postgres.start_again().unwrap();
    assert!(matches!(postgres.start_again(), Err(PostgresError::Running)));
    assert_eq!(postgres.psql("orders", "select n from t").unwrap(), "7");
    assert_eq!((postgres.port(), postgres.url_of("orders")), (port, url));
    let log = fs::read_to_string(postgres.directory().join("log")).unwrap();
    assert!(
        log.contains("automatic recovery in progress"),
        "it was no orderly stop: {log}"
    );
}

#[test]
fn a_server_waits_for_its_port_when_it_starts_again() {
    let postgres = PrivatePostgres::start().unwrap();
    postgres.stop().unwrap();
    let taken = TcpListener::bind(("127.0.0.1", postgres.port())).unwrap();
    thread::scope(|scope| {
        let started = scope.spawn(|| postgres.start_again());
        let log = || fs::read_to_string(postgres.directory().join("log")).unwrap();
        until("the server finds its port taken", || {
            log().contains("Address already in use")
        });
        drop(taken);
        started.join().unwrap().unwrap();
    });
    assert_eq!(postgres.psql("postgres", "select 1").unwrap(), "1");
}

#[test]
fn a_frozen_server_answers_nobody_and_goes_on_when_it_is_thawed() {
    let postgres = PrivatePostgres::start().unwrap();
    let mut before = asks(&postgres, "select pg_sleep(0.5), 'answer'");
    until("the question has arrived", || {
        let active = "select count(*) from pg_stat_activity where query like 'select pg_sleep%'";
        postgres.psql("postgres", active).unwrap() == "1"
    });
    postgres.freeze().unwrap();
    let mut after = asks(&postgres, "select 'answer'");
    thread::sleep(Duration::from_secs(1));
    assert!(
        before.try_wait().unwrap().is_none(),
        "a process for a connection stands still, too"
    );
    assert!(after.try_wait().unwrap().is_none(), "nobody takes new connections");

    postgres.thaw().unwrap();
    for question in [before, after] {
        let output = question.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("answer"));
    }
}

#[test]
fn a_dropped_server_leaves_no_process_and_no_directory_even_when_it_is_frozen() {
    for frozen in [false, true] {
        let postgres = PrivatePostgres::start().unwrap();
        let processes = processes_in(postgres.directory());
        assert!(processes.len() > 3, "a postmaster and its children: {processes:?}");
        let directory = postgres.directory().to_path_buf();
        if frozen {
            postgres.freeze().unwrap();
        }
        drop(postgres);
        assert_eq!(processes_in(&directory), [0; 0]);
        assert!(!processes.into_iter().any(runs));
        assert!(!directory.exists());
    }
}

#[test]
fn a_killed_owner_leaves_no_process_and_no_directory() {
    let mut owner = Command::new(env!("CARGO_BIN_EXE_private-postgres"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut told = lines.take(4).filter_map(|line| {
        line.split_once('=')
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    });
    let mut value = |wanted: &str| told.find(|(name, _)| name == wanted).unwrap().1;
    let directory = PathBuf::from(value("CHAT_POSTGRES_DIRECTORY"));
    let pid: u32 = value("CHAT_POSTGRES_PID").parse().unwrap();
    assert!(value("CHAT_POSTGRES_URL").starts_with("postgres://postgres:"));
    assert!(runs(pid) && directory.exists());
    owner.kill().unwrap();
    owner.wait().unwrap();
    until("the server has ended", || processes_in(&directory).is_empty());
    until("its directory is gone", || !directory.exists());
}

#[test]
fn cpu_time_counts_connections_that_have_ended() {
    let postgres = PrivatePostgres::start().unwrap();
    let before = postgres.cpu().unwrap();
    // Work of a known amount, by the server's own count, in a process that is gone afterwards.
    let work = "do $$ begin while clock_timestamp() < now() + interval '500 ms' loop end loop; end $$";
    let start = Instant::now();
    postgres.psql("postgres", work).unwrap();
    let took = start.elapsed();
    let used = postgres.cpu().unwrap() - before;
    assert!(
        used > Duration::from_millis(20),
        "half a second of a loop took {used:?}"
    );
    assert!(used < 4 * took, "{used:?} within {took:?}");
    // What has ended since counts to hundredths of a second only, user's and kernel's rounded down each.
    let rounding = Duration::from_millis(50);
    assert!(cluster_cpu(postgres.pid().unwrap()).unwrap() + rounding >= before + used);
}

#[test]
fn a_promoted_standby_has_what_was_replayed_and_not_what_came_later() {
    let primary = PrivatePostgres::start().unwrap();
    primary
        .psql("postgres", "create table t (n int); insert into t values (1)")
        .unwrap();
    let standby = primary.base_backup().unwrap();
    primary.psql("postgres", "insert into t values (2)").unwrap();
    standby.catch_up_with(&primary).unwrap();
    assert!(
        standby.psql("postgres", "insert into t values (9)").is_err(),
        "it only answers reads"
    );
    standby.stop().unwrap();
    primary.psql("postgres", "insert into t values (3)").unwrap();
    primary.stop_immediately().unwrap();

    standby.start_again().unwrap();
    standby.promote().unwrap();
    standby.psql("postgres", "insert into t values (4)").unwrap();
    assert_eq!(
        standby.psql("postgres", "select n from t order by n").unwrap(),
        "1\n2\n4"
    );
}

#[test]
fn a_restored_database_is_as_it_was_dumped() {
    let postgres = PrivatePostgres::start().unwrap();
    postgres.new_database("orders").unwrap();
    postgres
        .psql("orders", "create table t (n int); insert into t values (1)")
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("orders.dump");
    postgres.dump("orders", &file).unwrap();
    postgres.psql("orders", "insert into t values (2)").unwrap();
    postgres.restore("orders", &file).unwrap();
    assert_eq!(postgres.psql("orders", "select n from t").unwrap(), "1");
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let settings = vec![("no_such_setting".to_owned(), "1".to_owned())];
    let error = PrivatePostgres::start_with(settings).unwrap_err().to_string();
    assert!(
        error.contains("unrecognized configuration parameter \"no_such_setting\""),
        "{error}"
    );
}

#[test]
fn settings_of_the_caller_win_and_durability_is_the_default() {
    let postgres = PrivatePostgres::start_with(vec![("max_connections".into(), "17".into())]).unwrap();
    let settings = "select string_agg(current_setting(name), ' ' order by name) from unnest(array['fsync', \
                    'full_page_writes', 'max_connections', 'synchronous_commit']) as name";
    assert_eq!(postgres.psql("postgres", settings).unwrap(), "on on 17 on");
}

/// A client that waits for its answer.
fn asks(postgres: &PrivatePostgres, question: &str) -> Child {
    Command::new(postgres.programs().join("psql"))
        .args(["-X", "-A", "-t", "-c", question, &postgres.url()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + AT_MOST;
    while !holds() {
        assert!(Instant::now() < end, "never came: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn runs(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// The processes that stand in a directory, as all of a server's do in its cluster's.
fn processes_in(directory: &Path) -> Vec<u32> {
    let pids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(directory)))
        .collect()
}
