use super::*;
use crate::command::{InboxList, Token};
use crate::frame::{Expiring, ResumeCursor};
use crate::id::{Seq, Tag};
use serde::Serialize;
use serde_json::json;

/// A session and what it said, with a clock in milliseconds.
struct Bench {
    session: ServerSession,
    start: Instant,
}

impl Bench {
    fn new(config: ServerConfig) -> Self {
        let start = Instant::now();
        let session = ServerSession::new(config, Codec::Json, start);
        Self { session, start }
    }

    /// One that was admitted at 0 and has sent its last resume frame.
    fn resumed() -> Self {
        Self::admitted(None, ServerConfig::default())
    }

    fn admitted(expires_in: Option<Duration>, config: ServerConfig) -> Self {
        let mut bench = Self::new(config);
        assert!(matches!(bench.send(0, &hello())[..], [Effect::Judge(_)]));
        assert_eq!(bench.input(0, Input::Admitted { expires_in }), []);
        assert_eq!(bench.send(0, &resume(0, true)), [Effect::Resume(last(0))]);
        bench
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn input(&mut self, ms: u64, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        self.session.handle(input, self.at(ms), &mut out);
        out
    }

    fn send<T: Serialize>(&mut self, ms: u64, frame: &T) -> Vec<Effect> {
        self.input(ms, Input::Frame(Codec::Json.encode(frame).into()))
    }

    fn raw(&mut self, ms: u64, text: &str) -> Vec<Effect> {
        self.input(ms, Input::Frame(Bytes::copy_from_slice(text.as_bytes())))
    }

    fn tick(&mut self, ms: u64) -> Vec<Effect> {
        self.input(ms, Input::Tick)
    }

    fn deadline(&self) -> Option<u64> {
        let deadline = self.session.deadline()?;
        u64::try_from(deadline.duration_since(self.start).as_millis()).ok()
    }

    fn wants(&self, ms: u64) -> bool {
        self.session.wants_frame(self.at(ms))
    }

    fn assert_closed(&mut self) {
        assert_eq!(self.session.deadline(), None);
        assert!(!self.wants(1_000_000));
        assert_eq!(self.tick(1_000_000), []);
        assert_eq!(self.send(1_000_000, &ClientFrame::Ping), []);
    }
}

fn hello() -> ClientFrame {
    ClientFrame::Hello(Hello {
        token: Some(Token("t".into())),
        ..Hello::default()
    })
}

fn last(cursors: usize) -> Resume {
    Resume {
        cursors: vec![cursor(); cursors],
        last: true,
        ..Resume::default()
    }
}

fn resume(cursors: usize, last: bool) -> ClientFrame {
    ClientFrame::Resume(Resume {
        last,
        ..self::last(cursors)
    })
}

fn cursor() -> ResumeCursor {
    ResumeCursor {
        conversation: "0190a000-0000-7000-8000-000000000001".parse().unwrap(),
        seq: Seq(1),
        tag: Tag(1),
    }
}

fn list() -> Command {
    InboxList {
        page: None,
        limit: None,
    }
    .into()
}

fn command(req: u64) -> ClientFrame {
    ClientFrame::Command { req, command: list() }
}

fn run(req: u64) -> Effect {
    Effect::Run { req, command: list() }
}

#[track_caller]
fn assert_error(effects: &[Effect], code: ErrorCode) -> &ErrorFrame {
    match effects {
        [Effect::Send(ServerFrame::Error(error)), ..] if error.code == code => error,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_close(effects: &[Effect], code: CloseCode) {
    assert!(
        matches!(effects, [.., Effect::Close(found, _)] if *found == code),
        "{effects:?}"
    );
}

#[test]
fn nothing_within_the_auth_timeout_is_4001() {
    let mut bench = Bench::new(ServerConfig::default());
    assert_eq!(bench.deadline(), Some(5_000));
    assert_eq!(bench.tick(4_999), []);
    assert_close(&bench.tick(5_000), CloseCode::AuthTimeout);
    bench.assert_closed();
}

#[test]
fn only_a_hello_comes_first() {
    for first in [command(1), ClientFrame::Ping, ClientFrame::Pong, resume(0, true)] {
        let mut bench = Bench::new(ServerConfig::default());
        assert_close(&bench.send(0, &first), CloseCode::NotAuthenticated);
        bench.assert_closed();
    }
    let mut bench = Bench::new(ServerConfig::default());
    assert_close(
        &bench.raw(0, r#"{"type":"command","req":1}"#),
        CloseCode::NotAuthenticated,
    );
    let mut bench = Bench::new(ServerConfig::default());
    assert_close(&bench.raw(0, "[]"), CloseCode::Malformed);
    let mut bench = Bench::new(ServerConfig::default());
    let large = json!({"type": "hello", "token": "t".repeat(8 * 1024)});
    assert_close(&bench.send(0, &large), CloseCode::TooBig);
}

#[test]
fn nothing_is_read_while_hello_is_judged() {
    let mut bench = Bench::new(ServerConfig::default());
    assert!(bench.wants(0));
    bench.send(0, &hello());
    assert!(!bench.wants(0));
    assert_eq!(bench.deadline(), None, "how long judging takes is the caller's");
    assert_eq!(bench.tick(60_000), []);
    assert_eq!(bench.input(60_000, Input::Admitted { expires_in: None }), []);
    assert!(bench.wants(60_000));
    assert_eq!(bench.deadline(), Some(85_000), "judging was no silence of the client");
}

#[test]
fn a_second_hello_is_4504() {
    let mut bench = Bench::resumed();
    assert_close(&bench.send(1, &hello()), CloseCode::AlreadyAuthenticated);
    bench.assert_closed();
}

#[test]
fn resume_comes_in_chunks_and_ends_with_the_last() {
    let mut bench = Bench::new(ServerConfig::default());
    bench.send(0, &hello());
    bench.input(0, Input::Admitted { expires_in: None });
    assert!(matches!(bench.send(0, &resume(2, false))[..], [Effect::Resume(_)]));
    assert_eq!(bench.send(0, &command(1)), [run(1)], "commands need not wait for it");
    assert_eq!(bench.send(0, &resume(3, true)), [Effect::Resume(last(3))]);
    let again = bench.send(0, &resume(1, true));
    assert_eq!(assert_error(&again, ErrorCode::InvalidArgument).req, None);
    assert_eq!(again.len(), 1);
}

#[test]
fn resume_is_bounded_and_never_empty() {
    let mut bench = Bench::new(ServerConfig::default());
    bench.send(0, &hello());
    bench.input(0, Input::Admitted { expires_in: None });
    for _ in 0..20 {
        assert!(matches!(bench.send(0, &resume(500, false))[..], [Effect::Resume(_)]));
    }
    assert!(bench.wants(0), "800 KiB of cursors are not counted as bytes");
    assert_close(&bench.send(0, &resume(1, true)), CloseCode::Malformed);

    let mut bench = Bench::new(ServerConfig::default());
    bench.send(0, &hello());
    bench.input(0, Input::Admitted { expires_in: None });
    assert_close(&bench.send(0, &resume(0, false)), CloseCode::Malformed);
}

#[test]
fn a_silent_client_is_asked_and_then_given_up() {
    let mut bench = Bench::resumed();
    assert_eq!(bench.deadline(), Some(25_000));
    assert_eq!(bench.tick(25_000), [Effect::Send(ServerFrame::Ping)]);
    assert_eq!(bench.deadline(), Some(35_000));
    assert_eq!(bench.send(34_000, &ClientFrame::Pong), []);
    assert_eq!(bench.tick(35_000), []);
    assert_eq!(bench.tick(59_000), [Effect::Send(ServerFrame::Ping)]);
    assert_eq!(bench.send(60_000, &command(1)), [run(1)], "any frame is a sign of life");
    assert_eq!(bench.tick(85_000), [Effect::Send(ServerFrame::Ping)]);
    assert_close(&bench.tick(95_000), CloseCode::HeartbeatTimeout);
    bench.assert_closed();
}

#[test]
fn a_client_that_is_doubted_is_asked_whatever_it_had_said_and_given_up_as_soon_as_any() {
    let mut bench = Bench::resumed();
    assert_eq!(bench.input(1_000, Input::Doubted), []);
    // It was said before, and is read only now.
    assert_eq!(bench.send(1_001, &ClientFrame::Pong), []);
    assert_eq!(bench.tick(2_000), [Effect::Send(ServerFrame::Ping)]);
    assert_eq!(bench.deadline(), Some(12_000));
    assert_eq!(bench.send(3_000, &ClientFrame::Pong), []);
    assert_eq!(bench.deadline(), Some(28_000));
    assert_eq!(bench.input(4_000, Input::Doubted), []);
    assert_eq!(bench.tick(5_000), [Effect::Send(ServerFrame::Ping)]);
    assert_close(&bench.tick(15_000), CloseCode::HeartbeatTimeout);
    assert_eq!(bench.input(16_000, Input::Doubted), []);
}

#[test]
fn a_ping_is_answered_and_a_flood_of_them_is_4004() {
    let mut bench = Bench::resumed();
    for _ in 0..20 {
        assert_eq!(bench.send(1, &ClientFrame::Ping), [Effect::Send(ServerFrame::Pong)]);
    }
    assert_close(&bench.send(1, &ClientFrame::Ping), CloseCode::RateLimited);
    bench.assert_closed();
}

#[test]
fn too_many_commands_are_told_when_to_come_again() {
    let mut bench = Bench::resumed();
    for req in 0..60 {
        assert_eq!(bench.send(0, &command(req)), [run(req)]);
        bench.input(0, Input::Answered { refused: None });
    }
    for req in 60..200 {
        let effects = bench.send(0, &command(req));
        let error = assert_error(&effects, ErrorCode::RateLimited);
        assert_eq!(
            (error.req, error.retryable, error.retry_after_ms),
            (Some(req), true, Some(50))
        );
        assert_eq!(effects.len(), 1, "it never counts towards 4509");
    }
    assert_eq!(bench.send(50, &command(7)), [run(7)]);
}

#[test]
fn the_ninth_command_is_not_read_until_one_is_answered() {
    let mut bench = Bench::resumed();
    for req in 0..8 {
        assert!(bench.wants(0));
        assert_eq!(bench.send(0, &command(req)), [run(req)]);
    }
    assert!(!bench.wants(0));
    assert_eq!(bench.deadline(), None, "a client that is not read is not silent");
    assert_eq!(bench.tick(100_000), []);
    bench.input(100_000, Input::Answered { refused: None });
    assert!(bench.wants(100_000));
    assert_eq!(bench.deadline(), Some(125_000));
}

#[test]
fn over_the_byte_budget_it_reads_more_slowly() {
    let mut bench = Bench::resumed();
    let padded = json!({"type": "ping", "padding": "x".repeat(32 * 1024)});
    for _ in 0..8 {
        assert!(bench.wants(0));
        assert_eq!(bench.send(0, &padded), [Effect::Send(ServerFrame::Pong)]);
    }
    assert!(!bench.wants(0), "256 KiB and a little came at once");
    let until = bench.deadline().unwrap();
    assert!((1..50).contains(&until), "{until}");
    assert!(!bench.wants(until - 1));
    assert!(bench.wants(until + 1));
    assert_eq!(bench.tick(until + 1), []);
    assert_eq!(bench.deadline(), Some(25_000));
}

#[test]
fn a_frame_over_the_limit_is_1009() {
    let mut bench = Bench::resumed();
    let large = json!({"type": "ping", "padding": "x".repeat(64 * 1024)});
    assert_close(&bench.send(0, &large), CloseCode::TooBig);
}

#[test]
fn what_cannot_be_read_is_4500_with_a_reason_that_fits() {
    for text in [
        "",
        "null",
        "[1]",
        "{\"type\":\"ping\",\"type\":\"ping\"}",
        "{\"type\":\"command\"}",
        "ä",
    ] {
        let mut bench = Bench::resumed();
        let effects = bench.raw(1, text);
        assert_close(&effects, CloseCode::Malformed);
        let [Effect::Close(_, reason)] = &effects[..] else {
            panic!("{effects:?}");
        };
        assert!(reason.is_ascii() && reason.len() <= 123, "{reason}");
        bench.assert_closed();
    }
}

#[test]
fn the_twentieth_error_within_a_minute_is_4509() {
    let bad = r#"{"type":"command","req":5,"command":"message:fly","data":{}}"#;
    let mut bench = Bench::resumed();
    for at in 0..19 {
        let effects = bench.raw(at * 3_200, bad);
        assert_eq!(assert_error(&effects, ErrorCode::UnknownCommand).req, Some(5));
        assert_eq!(effects.len(), 1);
    }
    assert_eq!(bench.raw(60_000, bad).len(), 1, "the first is forgotten");
    let effects = bench.raw(60_001, bad);
    assert_error(&effects, ErrorCode::UnknownCommand);
    assert_close(&effects, CloseCode::TooManyErrors);
    bench.assert_closed();
}

#[test]
fn an_error_that_the_engine_finds_counts_as_one_that_the_machine_finds() {
    let mut bench = Bench::resumed();
    let mut refused = |code| {
        bench.send(0, &command(1));
        bench.input(0, Input::Answered { refused: Some(code) })
    };
    for _ in 0..19 {
        assert_eq!(refused(ErrorCode::InvalidArgument), []);
        assert_eq!(refused(ErrorCode::NotFound), [], "that is no error of the protocol");
    }
    assert_eq!(refused(ErrorCode::Unavailable), []);
    assert_close(&refused(ErrorCode::InvalidArgument), CloseCode::TooManyErrors);
    bench.assert_closed();
}

#[test]
fn an_expiring_token_is_warned_of_then_refused_then_closed() {
    let mut bench = Bench::admitted(
        Some(Duration::from_secs(20 * 60)),
        ServerConfig {
            heartbeat_interval: Duration::from_secs(100_000),
            ..ServerConfig::default()
        },
    );
    assert_eq!(bench.deadline(), Some(1_140_000));
    let warning = Expiring { expires_in_ms: 60_000 };
    assert_eq!(bench.tick(1_140_000), [Effect::Send(ServerFrame::Expiring(warning))]);
    assert_eq!(bench.tick(1_150_000), [], "once");
    assert_eq!(bench.send(1_199_999, &command(1)), [run(1)]);
    let error = bench.send(1_200_000, &command(2));
    assert!(assert_error(&error, ErrorCode::TokenExpired).retryable);
    let refresh = json!({"type": "command", "req": 3, "command": "auth:refresh", "data": {"token": "new"}});
    assert!(matches!(
        bench.send(1_210_000, &refresh)[..],
        [Effect::Run { req: 3, .. }]
    ));
    assert_eq!(bench.deadline(), Some(1_225_000));
    assert_close(&bench.tick(1_225_000), CloseCode::TokenExpired);
    bench.assert_closed();
}

#[test]
fn a_refreshed_token_starts_anew() {
    let mut bench = Bench::admitted(Some(Duration::from_secs(30)), ServerConfig::default());
    let warning = Expiring { expires_in_ms: 29_000 };
    assert_eq!(
        bench.tick(1_000),
        [Effect::Send(ServerFrame::Expiring(warning))],
        "less than a minute from the start"
    );
    let expires_in = Some(Duration::from_secs(3_600));
    assert_eq!(bench.input(10_000, Input::Refreshed { expires_in }), []);
    assert_eq!(bench.send(40_000, &command(1)), [run(1)]);
    assert_eq!(bench.tick(40_000), []);
    assert_eq!(
        bench.input(
            40_000,
            Input::Refreshed {
                expires_in: Some(Duration::MAX)
            }
        ),
        []
    );
    assert_eq!(bench.deadline(), Some(65_000), "for ever leaves only the heartbeat");
}

#[test]
fn what_has_not_left_yet_is_no_silence_of_the_peer() {
    let mut bench = Bench::resumed();
    assert_eq!(bench.deadline(), Some(25_000));
    assert_eq!(bench.input(24_000, Input::Held(true)), []);
    assert_eq!(bench.deadline(), None);
    assert!(bench.wants(24_000), "whether to read is the caller's");
    assert_eq!(bench.tick(90_000), []);
    assert_eq!(bench.input(100_000, Input::Held(false)), []);
    assert_eq!(bench.tick(101_000), [Effect::Send(ServerFrame::Ping)]);
    // The question itself waits for the socket.
    assert_eq!(bench.input(101_000, Input::Held(true)), []);
    assert_eq!(bench.input(200_000, Input::Held(false)), []);
    assert_eq!(bench.deadline(), Some(210_000));
    assert_close(&bench.tick(210_000), CloseCode::HeartbeatTimeout);
    assert_eq!(bench.input(210_000, Input::Held(true)), []);
    bench.assert_closed();
}
