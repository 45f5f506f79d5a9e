//! What tests rely on when they kill, freeze and cut a broker of their own.

use chat_testkit::nats::PrivateNats;
use chat_testkit::redis::{PrivateRedis, PrivateRedisCluster};
use chat_testkit::server::{Server, ServerError};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// Whether a server greets or answers within a moment.
fn answers(port: u16, question: &[u8]) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return false;
    };
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    stream.write_all(question).unwrap();
    match stream.read(&mut [0; 1]) {
        Ok(read) => read == 1,
        Err(error) => {
            assert!(
                matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                "{error}"
            );
            false
        }
    }
}

/// What is true of each of them.
fn may_be_frozen_killed_and_started_again(server: &Server, question: &[u8]) {
    let (pid, port) = (server.pid().unwrap(), server.port());
    assert!(answers(port, question));
    server.freeze().unwrap();
    assert!(
        !answers(port, question),
        "frozen, it takes connections and says nothing"
    );
    server.thaw().unwrap();
    assert!(answers(port, question));
    server.kill().unwrap();
    assert!(!runs(pid) && server.pid().is_none());
    assert!(!answers(port, question));
    assert!(matches!(server.kill(), Err(ServerError::Stopped)));
    server.start_again().unwrap();
    assert!(matches!(server.start_again(), Err(ServerError::Running)));
    assert_eq!(server.port(), port);
    assert!(answers(port, question));
    server.freeze().unwrap();
}

/// Even frozen, nothing is left of it.
fn is_gone(pid: u32, directory: &Path) {
    assert!(!runs(pid) && !directory.exists());
}

fn runs(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn a_redis_may_be_frozen_killed_and_started_again_and_leaves_nothing() {
    let redis = PrivateRedis::start().unwrap();
    may_be_frozen_killed_and_started_again(&redis, b"PING\r\n");
    let (pid, directory) = (redis.pid().unwrap(), redis.directory().to_owned());
    drop(redis);
    is_gone(pid, &directory);
}

#[test]
fn a_nats_may_be_frozen_killed_and_started_again_and_leaves_nothing() {
    let nats = PrivateNats::start().unwrap();
    may_be_frozen_killed_and_started_again(&nats, b"");
    let (pid, directory) = (nats.pid().unwrap(), nats.directory().to_owned());
    drop(nats);
    is_gone(pid, &directory);
}

#[test]
fn subscribers_of_a_redis_are_cut_and_nobody_else() {
    let redis = PrivateRedis::start().unwrap();
    let password = redis.url();
    let password = password.split([':', '@']).nth(2).unwrap();
    let connect = || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, redis.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "AUTH {password}\r\n").unwrap();
        read(&mut stream, "+OK\r\n");
        stream
    };
    let (mut subscriber, mut other) = (connect(), connect());
    subscriber.write_all(b"SUBSCRIBE a\r\n").unwrap();
    read(&mut subscriber, "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    assert_eq!(redis.cut_subscribers().unwrap(), 1);
    assert_eq!(subscriber.read(&mut [0; 1]).unwrap(), 0, "closed");
    other.write_all(b"PING\r\n").unwrap();
    read(&mut other, "+PONG\r\n");
}

fn read(stream: &mut TcpStream, wanted: &str) {
    let mut got = vec![0; wanted.len()];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(String::from_utf8_lossy(&got), wanted);
}

#[test]
fn a_cluster_is_whole_and_whole_again_after_a_node_was_killed() {
    let cluster = PrivateRedisCluster::start().unwrap();
    let slots = |node: &PrivateRedis| node.command(&["CLUSTER", "MYID"]).unwrap();
    let ids: std::collections::BTreeSet<String> = cluster.nodes().iter().map(slots).collect();
    assert_eq!(ids.len(), 3);
    assert_eq!(cluster.url().split(',').count(), 3);
    let node = &cluster.nodes()[1];
    node.kill().unwrap();
    node.start_again().unwrap();
    cluster.wait_until_whole().unwrap();
}

#[test]
fn what_a_redis_refuses_is_said_and_secrets_are_not() {
    let error = PrivateRedis::start_with("no-such-setting 1").unwrap_err().to_string();
    assert!(error.contains("no-such-setting"), "{error}");
    let redis = PrivateRedis::start().unwrap();
    assert_eq!(redis.command(&["ECHO", "a\r\nb"]).unwrap(), "a\r\nb");
    let refused = redis.command(&["NO-SUCH"]).unwrap_err();
    assert!(matches!(refused, ServerError::Refused(said) if said.starts_with("ERR unknown command")));
    let url = redis.url();
    let password = url.split([':', '@']).nth(2).unwrap();
    assert!(!format!("{redis:?}").contains(password));
}
