//! Tokens run out: with a warning, a chance to refresh in band, and an end.

use super::host::{Does, Host};
use super::house::{House, RuntimeClock};
use super::say::*;
use chat_core::Identity;
use chat_core::code::{CloseCode, ErrorCode};
use chat_core::command::{AuthRefresh, InboxList, Token};
use chat_core::frame::{ClientFrame, Hello, Outcome, Resume, ServerFrame};
use chat_testkit::transport::Dial;
use chat_testkit::wire::{Memory, Wire, events};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A house whose host goes by tokens such as `ana 90`, good for 90 s.
async fn house() -> (House, Host) {
    let host = Host::new(RuntimeClock::new());
    let hooks = host.clone();
    let house = House::with(|builder| builder.hooks(hooks).clock(RuntimeClock::new())).await;
    (house, host)
}

fn token(text: &str) -> Token {
    Token(text.to_owned())
}

fn refresh(text: &str) -> AuthRefresh {
    AuthRefresh { token: token(text) }
}

fn hello(text: &str) -> Hello {
    Hello {
        guest: None,
        token: Some(token(text)),
        ..Memory::hello_of("nobody")
    }
}

async fn with_token(house: &House, text: &str) -> Wire {
    let mut wire = Wire::dial(&house.connector, Dial::default()).await;
    let welcome = wire.hello(hello(text)).await;
    assert!(welcome.expires_in_ms.is_some(), "it says when");
    wire.say(&ClientFrame::Resume(Resume {
        last: true,
        ..Resume::default()
    }))
    .await;
    wire
}

/// Waits for the warning; how long it took, and how long it says is left.
async fn warned(wire: &mut Wire) -> (u64, u64) {
    let since = Instant::now();
    loop {
        if let ServerFrame::Expiring(expiring) = wire.next().await {
            return (since.elapsed().as_secs(), expiring.expires_in_ms / 1_000);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_for_ages_is_good_for_as_long_as_a_number_can_say() {
    let (house, _) = house().await;
    let mut ana = Wire::dial(&house.connector, Dial::default()).await;
    let welcome = ana.hello(hello(&format!("ana {}", i64::MAX / 1_000))).await;
    assert_eq!(welcome.expires_in_ms, Some((1 << 53) - 1));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_warned_of_a_minute_before_refused_when_it_ran_out_and_closed_later() {
    let (house, _) = house().await;
    let mut ana = with_token(&house, "ana 90").await;
    let group = group(&mut ana, &[]).await;
    assert_eq!(warned(&mut ana).await, (30, 60));
    say(&mut ana, group, "still in time").await;
    let since = Instant::now();
    ana.drain_for(Duration::from_secs(59)).await;
    sleep(Duration::from_secs(60).saturating_sub(since.elapsed())).await;
    let command = text(group, "too late");
    let error = ana.refused(command.clone()).await;
    assert_eq!((error.code, error.retryable), (ErrorCode::TokenExpired, true));
    // What others say still comes, until the end.
    house.fill(group, 1).await;
    assert_eq!(told_all(events(&[ana.next().await])), ["new 1"]);
    assert_eq!(ana.closed().await, CloseCode::TokenExpired);
    assert!(CloseCode::TokenExpired.is_retryable());
    assert_eq!(since.elapsed().as_secs(), 85);
    // A fresh token resumes, and the command that was kept is taken.
    let memory = ana.leave();
    let mut again = Wire::dial(&house.connector, Dial::default()).await;
    let session = memory.session.clone();
    let welcome = again
        .hello(Hello {
            session: session.clone(),
            attempt: 2,
            ..hello("ana 90")
        })
        .await;
    assert_eq!(Some(welcome.session), session);
    assert!(!again.stored(command).await.duplicate);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_token_of_the_same_user_goes_on_in_band() {
    let (house, _) = house().await;
    let mut ana = with_token(&house, "ana 90").await;
    let group = group(&mut ana, &[]).await;
    for _ in 0..3 {
        warned(&mut ana).await;
        match ana.ask(refresh("ana 120")).await {
            Ok(Outcome::Refreshed(refreshed)) => assert_eq!(refreshed.expires_in_ms, Some(120_000)),
            other => panic!("{other:?}"),
        }
        say(&mut ana, group, "and on").await;
    }
    // Also after the old one ran out, as long as the connection stands.
    assert_eq!(warned(&mut ana).await.1, 60);
    while ana
        .ask(InboxList {
            page: None,
            limit: None,
        })
        .await
        .is_ok()
    {
        sleep(Duration::from_secs(5)).await;
    }
    ana.ask(refresh("ana 150")).await.unwrap();
    say(&mut ana, group, "back").await;
    assert_eq!(warned(&mut ana).await.1, 60);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_token_that_is_somebody_elses_forged_or_stale_changes_nothing() {
    let (house, host) = house().await;
    let mut ana = with_token(&house, "ana 90").await;
    let since = Instant::now();
    for bad in ["eve 3600", "rubbish", "ana 0", "ana -5"] {
        let error = ana.refused(refresh(bad)).await;
        assert_eq!((error.code, error.retryable), (ErrorCode::Forbidden, false), "{bad}");
    }
    host.authenticate_does(Does::Takes(Duration::from_secs(60)));
    assert_eq!(ana.refused(refresh("ana 3600")).await.code, ErrorCode::Unavailable);
    host.authenticate_does(Does::Yes);
    assert_eq!(ana.memory().user, Some(user("ana")));
    assert_eq!(ana.closed().await, CloseCode::TokenExpired);
    assert_eq!(since.elapsed().as_secs(), 115, "the old token ran out as it would have");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_ran_out_or_is_none_opens_nothing_with_one_text_for_all() {
    let (house, host) = house().await;
    let mut endings = Vec::new();
    for bad in ["ana 0", "ana -1", "rubbish", ""] {
        let mut wire = Wire::dial(&house.connector, Dial::default()).await;
        wire.say(&ClientFrame::Hello(hello(bad))).await;
        endings.push(wire.ending().await);
    }
    host.authenticate_does(Does::No("revoked"));
    let mut wire = Wire::dial(&house.connector, Dial::default()).await;
    wire.say(&ClientFrame::Hello(hello("ana 90"))).await;
    endings.push(wire.ending().await);
    for (frames, ending) in endings {
        assert!(frames.is_empty());
        assert_eq!(ending, Some((CloseCode::AuthFailed, "auth_failed".to_owned())));
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_short_is_warned_of_at_once() {
    let (house, _) = house().await;
    let mut ana = with_token(&house, "ana 20").await;
    assert_eq!(warned(&mut ana).await, (0, 20));
    sleep(Duration::from_secs(20)).await;
    assert_eq!(
        ana.refused(InboxList {
            page: None,
            limit: None
        })
        .await
        .code,
        ErrorCode::TokenExpired
    );
}

#[tokio::test(start_paused = true)]
async fn a_revocation_reaches_sockets_whose_proof_was_not_judged_yet() {
    let (house, host) = house().await;
    let mut let_in = Dial::default();
    let_in.handshake.identity = Some(Identity::new(user("ana")));
    // One was let in by the host's middleware and has said nothing; the other's token is being judged.
    let mut silent = Wire::dial(&house.connector, let_in.clone()).await;
    let mut judged = Wire::dial(&house.connector, Dial::default()).await;
    host.authenticate_does(Does::Takes(Duration::from_secs(1)));
    judged.say(&ClientFrame::Hello(hello("ana 90"))).await;
    sleep(Duration::from_millis(500)).await;
    house.engine.revoke(&user("ana"));
    assert_eq!(judged.closed().await, CloseCode::SessionRevoked);
    let nobody = || Hello {
        guest: None,
        ..Memory::hello_of("nobody")
    };
    silent.say(&ClientFrame::Hello(nobody())).await;
    assert_eq!(silent.closed().await, CloseCode::SessionRevoked);
    // Whoever is let in again afterwards is in.
    let mut again = Wire::dial(&house.connector, let_in).await;
    assert_eq!(again.hello(nobody()).await.user, user("ana"));
}
