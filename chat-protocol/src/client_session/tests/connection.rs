use super::*;

fn hello(effects: &[ClientEffect]) -> &Hello {
    match sent(effects)[0] {
        ClientFrame::Hello(hello) => hello,
        other => panic!("{other:?}"),
    }
}

fn waits(effects: &[ClientEffect]) -> Option<Duration> {
    effects.iter().find_map(|effect| match effect {
        ClientEffect::Update(Update::Reconnecting { after }) => Some(*after),
        _ => None,
    })
}

#[test]
fn a_fresh_client_says_hello_and_an_empty_resume_at_once() {
    let mut client = Client::new();
    assert_eq!(client.input(ClientInput::Start), [ClientEffect::Connect]);
    let effects = client.input(ClientInput::Connected(Credential::Guest("ann".to_owned())));
    let [ClientFrame::Hello(hello), ClientFrame::Resume(resume)] = sent(&effects)[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(
        (hello.guest.as_deref(), hello.attempt, &hello.session),
        (Some("ann"), 1, &None)
    );
    assert!(resume.last && resume.cursors.is_empty() && resume.epoch.is_none() && resume.revision.is_none());
}

#[test]
fn a_reconnect_keeps_the_session_raises_the_attempt_and_says_what_it_has() {
    let mut client = Client::synced(vec![entry(1, 4), entry(2, 9)]);
    client.input(ClientInput::Closed(None));
    assert_eq!(client.tick(), [ClientEffect::Connect]);
    let effects = client.input(ClientInput::Connected(Credential::Handshake));
    assert_eq!(hello(&effects).attempt, 2);
    assert_eq!(hello(&effects).session, Some(welcome(epoch(1)).session));
    let ClientFrame::Resume(resume) = sent(&effects)[1] else {
        panic!("{effects:?}");
    };
    assert_eq!((resume.epoch, resume.revision), (Some(epoch(1)), Some(Revision(1))));
    let seqs: Vec<u64> = resume.cursors.iter().map(|cursor| cursor.seq.0).collect();
    assert_eq!(seqs, [4, 9]);
}

#[test]
fn ten_thousand_cursors_travel_in_frames_under_64_kib() {
    let mut client = Client::new();
    client.connect();
    client.welcome(epoch(1));
    let entries = (0..10_000_u32).map(|n| {
        let mut entry = entry(1, crate::id::NUMBER_MAX);
        let mut bytes = [1; 10];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        entry.conversation.id = ConversationId::from_parts(1, bytes);
        entry.head.seq = Seq(crate::id::NUMBER_MAX);
        entry.head.tag = Tag(u64::MAX);
        entry
    });
    client.inbox(entries.collect(), 1);
    client.input(ClientInput::Closed(None));
    client.tick();
    let effects = client.input(ClientInput::Connected(Credential::Handshake));
    let resumes = &sent(&effects)[1..];
    let mut cursors = 0;
    for (index, frame) in resumes.iter().enumerate() {
        assert!(serde_json::to_vec(frame).unwrap().len() <= 64 * 1024);
        let ClientFrame::Resume(resume) = frame else {
            panic!("{frame:?}");
        };
        assert_eq!(resume.last, index + 1 == resumes.len());
        assert_eq!(resume.epoch, Some(epoch(1)));
        cursors += resume.cursors.len();
    }
    assert_eq!(cursors, 10_000);
}

#[test]
fn waits_grow_with_failures_and_start_anew_once_synced() {
    let mut client = Client::new();
    client.input(ClientInput::Start);
    let mut longest = Duration::ZERO;
    for _ in 0..20 {
        let effects = client.input(ClientInput::ConnectFailed {
            retry_after: None,
            stop: false,
        });
        longest = longest.max(waits(&effects).unwrap());
        assert!(longest <= Duration::from_secs(30));
        while !matches!(client.session.phase, Phase::Connecting) {
            client.now += Duration::from_secs(31);
            client.input(ClientInput::Tick);
        }
    }
    assert!(longest > Duration::from_secs(10), "{longest:?}");
    client.input(ClientInput::Connected(Credential::Handshake));
    client.welcome(epoch(1));
    client.frame(ServerFrame::Synced(Synced { revision: Revision(0) }));
    let effects = client.input(ClientInput::Closed(None));
    assert!(waits(&effects).unwrap() <= Duration::from_millis(250));
}

#[test]
fn the_server_says_when_to_come_back() {
    let mut client = Client::synced(vec![]);
    client.frame(ServerFrame::Reconnect(Reconnect { after_ms: 7_000 }));
    assert!(
        sent(&client.submit(1, send(1, 1))).is_empty(),
        "nothing new for a server that leaves"
    );
    let effects = client.input(ClientInput::Closed(Some(CloseCode::Restart)));
    let after = waits(&effects).unwrap();
    assert!((7_000..=7_250).contains(&after.as_millis()), "{after:?}");

    let mut client = Client::new();
    client.input(ClientInput::Start);
    let effects = client.input(ClientInput::ConnectFailed {
        retry_after: Some(Duration::from_secs(40)),
        stop: false,
    });
    assert!(waits(&effects).unwrap() >= Duration::from_secs(40));
}

#[test]
fn a_server_that_leaves_but_does_not_close_is_left() {
    let mut client = Client::synced(vec![]);
    client.frame(ServerFrame::Reconnect(Reconnect { after_ms: 100 }));
    let effects = client.tick();
    assert_eq!(effects[0], ClientEffect::Close(CloseCode::GoingAway));
    assert!(waits(&effects).is_some());
}

#[test]
fn codes_from_4500_on_stop_the_client_and_it_starts_again_when_told() {
    for code in [CloseCode::Replaced, CloseCode::AuthFailed, CloseCode::Other(4999)] {
        let mut client = Client::synced(vec![]);
        let effects = client.input(ClientInput::Closed(Some(code)));
        assert!(effects.contains(&ClientEffect::Update(Update::Stopped { code: Some(code) })));
        assert_eq!(client.session.deadline(), None);
        assert_eq!(client.input(ClientInput::Start), [ClientEffect::Connect]);
    }
    for code in [CloseCode::Restart, CloseCode::SlowConsumer, CloseCode::Other(4499)] {
        let mut client = Client::synced(vec![]);
        assert!(waits(&client.input(ClientInput::Closed(Some(code)))).is_some());
    }
}

#[test]
fn silence_brings_a_ping_and_then_the_end() {
    let mut client = Client::synced(vec![]);
    let start = client.now;
    assert_eq!(client.tick(), [ClientEffect::Send(ClientFrame::Ping)]);
    assert_eq!(client.now - start, Duration::from_secs(25));
    let effects = client.tick();
    assert_eq!(client.now - start, Duration::from_secs(60));
    assert_eq!(effects[0], ClientEffect::Close(CloseCode::HeartbeatTimeout));
    assert!(waits(&effects).is_some());
}

#[test]
fn any_frame_ends_the_silence_and_a_ping_is_answered() {
    let mut client = Client::synced(vec![]);
    client.tick();
    assert_eq!(client.frame(ServerFrame::Ping), [ClientEffect::Send(ClientFrame::Pong)]);
    assert_eq!(client.tick(), [ClientEffect::Send(ClientFrame::Ping)]);
}

#[test]
fn a_client_that_does_not_read_blames_nobody_and_still_pings() {
    let mut client = Client::synced(vec![]);
    client.input(ClientInput::Paused(true));
    for _ in 0..5 {
        assert_eq!(client.tick(), [ClientEffect::Send(ClientFrame::Ping)]);
    }
    client.input(ClientInput::Paused(false));
    assert_eq!(client.tick(), [ClientEffect::Send(ClientFrame::Ping)]);
    assert_eq!(client.tick()[0], ClientEffect::Close(CloseCode::HeartbeatTimeout));
}

#[test]
fn a_server_that_never_says_welcome_is_left() {
    let mut client = Client::new();
    client.connect();
    let effects = client.tick();
    assert_eq!(effects[0], ClientEffect::Close(CloseCode::HeartbeatTimeout));
}

#[test]
fn an_expiring_token_is_replaced_in_band() {
    let mut client = Client::synced(vec![]);
    let effects = client.frame(ServerFrame::Expiring(Expiring { expires_in_ms: 60_000 }));
    assert_eq!(effects, [ClientEffect::FetchToken]);
    assert_eq!(
        commands(&client.submit(1, send(1, 1))).len(),
        1,
        "the old token is still good"
    );
    let effects = client.input(ClientInput::Token(Some(Token("fresh".to_owned()))));
    let (req, Command::AuthRefresh(refresh)) = commands(&effects)[0] else {
        panic!("{effects:?}");
    };
    assert_eq!(refresh.token.0, "fresh");
    client.frame(reply(req, Outcome::Refreshed(Refreshed { expires_in_ms: None })));
    let effects = client.frame(ServerFrame::Expiring(Expiring { expires_in_ms: 60_000 }));
    assert_eq!(effects, [ClientEffect::FetchToken], "the next one too");
}

#[test]
fn after_token_expired_everything_waits_for_the_fresh_token_and_goes_out_again() {
    let mut client = Client::synced(vec![]);
    let req = commands(&client.submit(1, send(1, 1)))[0].0;
    let effects = client.frame(error(req, ErrorCode::TokenExpired, None));
    assert_eq!(effects, [ClientEffect::FetchToken]);
    assert!(sent(&client.submit(2, send(2, 2))).is_empty());
    assert!(client.input(ClientInput::Token(None)).is_empty());
    assert_eq!(client.tick(), [ClientEffect::FetchToken], "asked again after a while");
    let effects = client.input(ClientInput::Token(Some(Token("fresh".to_owned()))));
    let req = commands(&effects)[0].0;
    let effects = client.frame(reply(req, Outcome::Refreshed(Refreshed { expires_in_ms: None })));
    let again: Vec<&Command> = commands(&effects).into_iter().map(|(_, command)| command).collect();
    assert_eq!(again, [&send(1, 1), &send(2, 2)]);
}

#[test]
fn a_server_that_knows_the_client_as_somebody_else_gets_nothing() {
    let mut client = Client::synced(vec![entry(1, 4)]);
    client.input(ClientInput::Closed(None));
    client.submit(1, send(1, 1));
    client.tick();
    client.input(ClientInput::Connected(Credential::Handshake));
    let mut other = welcome(epoch(1));
    other.user = user("bob");
    let effects = client.frame(ServerFrame::Welcome(other));
    assert_eq!(effects[0], ClientEffect::Close(CloseCode::Normal));
    assert!(commands(&effects).is_empty());
}
