//! Where the host decides: its word reaches the client, and its failures cost nothing but themselves.

use super::host::{Does, Host};
use super::house::{House, RuntimeClock};
use super::say::*;
use super::two_nodes::ana_and_ben;
use super::two_nodes::two_nodes_with;
use chat_core::code::{CloseCode, ErrorCode};
use chat_core::command::{Command, MessageSend};
use chat_core::conversation::ConversationKind;
use chat_core::frame::{ClientFrame, Outcome};
use chat_core::message::Content;
use chat_testkit::backplane::Hub;
use chat_testkit::transport::Dial;
use chat_testkit::wire::{Memory, Wire, events};
use std::time::Duration;
use tokio::time::{Instant, sleep};

async fn hosted() -> (House, Host) {
    let host = Host::new(RuntimeClock::new());
    let hooks = host.clone();
    (House::with(|builder| builder.hooks(hooks)).await, host)
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_forbidden_in_the_hosts_words_and_nothing_is_stored() {
    let (house, host) = hosted().await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let group = group(&mut ana, &["ben"]).await;
    for before_send in [false, true] {
        let refuses = |does| {
            if before_send {
                host.before_send_does(does)
            } else {
                host.authorize_does(does)
            }
        };
        let command = text(group, "buy now");
        refuses(Does::No("no advertising here"));
        let error = ana.refused(command.clone()).await;
        assert_eq!((error.code, error.retryable), (ErrorCode::Forbidden, false));
        assert_eq!(
            (error.message.as_str(), error.retry_after_ms),
            ("no advertising here", None)
        );
        assert!(events(&ben.drain().await).is_empty());
        refuses(Does::Allows);
        assert!(
            !ana.stored(command).await.duplicate,
            "it was not stored, so its id is free"
        );
        assert_eq!(told_all(events(&ben.drain().await)), ["new buy now"]);
    }
    // Every durable command is asked about, and nothing else.
    host.asked();
    ana.stored(add(group, "cy")).await;
    ana.ask(history(group)).await.unwrap();
    assert_eq!(host.asked(), ["ana: member:add"]);
    host.authorize_does(Does::No("closed today"));
    let refused: [Command; 3] = [
        create(ConversationKind::Group, &[]).into(),
        remove(group, "cy").into(),
        leave(group).into(),
    ];
    for command in refused {
        assert_eq!(ana.refused(command).await.message, "closed today");
    }
    assert_eq!(entry_of(&mut ana, group).await.conversation.member_count, 3);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_takes_too_long_is_unavailable_and_delays_only_its_own_connection() {
    let (house, host) = hosted().await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let group = group(&mut ana, &["ben"]).await;
    for before_send in [false, true] {
        let does = |does| {
            if before_send {
                host.before_send_does(does)
            } else {
                host.authorize_does(does)
            }
        };
        does(Does::Takes(Duration::from_secs(60)));
        let (since, command) = (Instant::now(), text(group, "late"));
        let req = ana.begin(command.clone()).await;
        sleep(Duration::from_millis(100)).await;
        does(Does::Allows);
        say(&mut ben, group, "meanwhile").await;
        assert!(since.elapsed() < Duration::from_millis(200), "nobody else waits");
        let error = ana.answer(req).await.unwrap_err();
        assert_eq!((error.code, error.retryable), (ErrorCode::Unavailable, true));
        assert!(error.retry_after_ms.is_some());
        assert_eq!(since.elapsed().as_millis() / 10, 200, "2 s");
        assert_eq!(told_all(events(&ben.drain().await)), ["new meanwhile"]);
        assert!(!ana.stored(command).await.duplicate);
        assert_eq!(told_all(events(&ben.drain().await)), ["new late"]);
    }
}

#[tokio::test(start_paused = true)]
async fn everybody_sees_what_the_host_made_of_a_message_and_a_retry_is_of_what_was_sent() {
    let (house, host) = hosted().await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let group = group(&mut ana, &["ben"]).await;
    host.before_send_does(Does::Writes("d**n"));
    let command = text(group, "damn");
    let first = ana.stored(command.clone()).await;
    for wire in [&mut ana, &mut ben] {
        assert_eq!(told_all(events(&wire.drain().await)), ["new d**n"]);
        assert_eq!(text_of(&page_of(wire.ask(history(group)).await).messages[0]), "d**n");
    }
    // The same again is the first answer again, and the host is not asked, whatever it would say now.
    host.asked();
    for does in [Does::Writes("other"), Does::No("never"), Does::Panics] {
        host.before_send_does(does);
        host.authorize_does(does);
        let again = ana.stored(command.clone()).await;
        assert_eq!((again.seq, again.tag, again.duplicate), (first.seq, first.tag, true));
    }
    assert!(host.asked().is_empty());
    host.before_send_does(Does::Yes);
    host.authorize_does(Does::Yes);
    // What was made of it is another content than what was sent.
    let made = MessageSend {
        content: Content::text("d**n"),
        ..command
    };
    assert_eq!(ana.refused(made).await.code, ErrorCode::IdConflict);
    assert!(ben.drain().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_host_that_makes_a_message_out_of_bounds_is_not_the_clients_fault() {
    let (house, host) = hosted().await;
    let mut ana = house.guest("ana").await;
    let group = group(&mut ana, &[]).await;
    host.before_send_does(Does::Writes("\0"));
    for _ in 0..25 {
        assert_eq!(ana.refused(text(group, "fine")).await.code, ErrorCode::Forbidden);
        sleep(Duration::from_millis(250)).await;
    }
    host.before_send_does(Does::Yes);
    say(&mut ana, group, "fine").await;
}

#[tokio::test(start_paused = true)]
async fn after_commit_sees_every_event_once_on_the_node_that_committed_it() {
    let hub = Hub::new(1);
    let hosts = [Host::new(RuntimeClock::new()), Host::new(RuntimeClock::new())];
    let houses = two_nodes_with(&hub, |node, builder| builder.hooks(hosts[node].clone())).await;
    let (mut ana, mut ben, group) = ana_and_ben(&houses).await;
    sleep(Duration::from_secs(7)).await;
    let command = text(group, "from one");
    ana.stored(command.clone()).await;
    say(&mut ben, group, "from two").await;
    // Neither what is stored already, nor what is refused, nor a mark is committed.
    assert!(ana.stored(command.clone()).await.duplicate);
    assert_eq!(ben.refused(command).await.code, ErrorCode::IdConflict);
    assert_eq!(ben.refused(add(group, "cy")).await.code, ErrorCode::Forbidden);
    ben.done(read(group, ben.memory().cursors[&group].seq)).await;
    houses[1]
        .engine
        .system()
        .send(group, fresh_message(), Content::text("from the host"))
        .await
        .unwrap();
    sleep(Duration::from_secs(7)).await;
    assert_eq!(hosts[0].committed(), ["conversation:created", "new from one"]);
    assert_eq!(hosts[1].committed(), ["new from two", "new from the host"]);
}

#[tokio::test(start_paused = true)]
async fn after_commit_may_be_slow_or_fail_and_the_next_event_still_comes() {
    let (house, host) = hosted().await;
    let mut ana = house.guest("ana").await;
    let group = group(&mut ana, &[]).await;
    sleep(Duration::from_millis(10)).await;
    host.committed();
    for does in [Does::Takes(Duration::from_secs(60)), Does::Panics] {
        host.after_commit_does(does);
        let since = Instant::now();
        say(&mut ana, group, "one").await;
        assert!(
            since.elapsed() < Duration::from_millis(10),
            "the answer waits for nobody"
        );
        sleep(Duration::from_millis(100)).await;
        host.after_commit_does(Does::Yes);
        say(&mut ana, group, "two").await;
        sleep(Duration::from_secs(3)).await;
        assert_eq!(host.committed(), ["new one", "new two"], "{does:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_fails_loses_nothing_and_nobody() {
    let (house, host) = hosted().await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let group = group(&mut ana, &["ben"]).await;
    for before_send in [false, true] {
        let does = |does| {
            if before_send {
                host.before_send_does(does)
            } else {
                host.authorize_does(does)
            }
        };
        does(Does::Panics);
        let command = text(group, "once");
        let behind = ana.begin(command.clone()).await;
        let error = ana.answer(behind).await.unwrap_err();
        assert_eq!((error.code, error.retryable), (ErrorCode::Unavailable, true));
        does(Does::Allows);
        assert!(!ana.stored(command).await.duplicate);
        assert_eq!(told_all(events(&ben.drain().await)), ["new once"]);
    }
    // A hello that cannot be judged now is told to come back.
    for does in [Does::Panics, Does::Takes(Duration::from_secs(3))] {
        host.authenticate_does(does);
        let mut cy = Wire::dial(&house.connector, Dial::default()).await;
        cy.say(&ClientFrame::Hello(Memory::hello_of("cy"))).await;
        let code = cy.closed().await;
        assert!(code == CloseCode::Overload && code.is_retryable(), "{does:?}");
    }
    host.authenticate_does(Does::No("who are you?"));
    let mut cy = Wire::dial(&house.connector, Dial::default()).await;
    cy.say(&ClientFrame::Hello(Memory::hello_of("cy"))).await;
    let (_, ending) = cy.ending().await;
    let (code, reason) = ending.unwrap();
    assert_eq!(
        (code, reason.as_str()),
        (CloseCode::AuthFailed, "auth_failed"),
        "one text for all reasons"
    );
    host.authenticate_does(Does::Yes);
    let mut cy = house.guest("cy").await;
    assert!(matches!(
        cy.ask(chat_core::command::InboxList {
            page: None,
            limit: None
        })
        .await,
        Ok(Outcome::Inbox(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn without_the_hosts_word_one_brings_together_only_whom_one_knows() {
    let (house, host) = hosted().await;
    let [mut ana, _ben] = house.guests(["ana", "ben"]).await;
    group(&mut ana, &["ben"]).await;
    host.authorize_does(Does::Yes);
    let own = group(&mut ana, &["ben"]).await;
    // Somebody with whom one shares nothing is told apart from nobody at all by nothing.
    let strange = ana.refused(add(own, "eve")).await;
    let nobody = ana.refused(add(own, "nobody")).await;
    assert_eq!((&strange.code, strange.message), (&ErrorCode::NotFound, nobody.message));
    assert_eq!(nobody.code, ErrorCode::NotFound);
    let refused = ana.refused(create(ConversationKind::Group, &["ben", "eve"])).await;
    assert_eq!(refused.code, ErrorCode::NotFound);
    // Direct conversations may be opened with anybody, ten new ones an hour; those that exist are found as often as
    // one likes, and with whom one shares something they do not count.
    let mut first = None;
    for n in 0..10 {
        let stored = ana
            .stored(create(ConversationKind::Direct, &[&format!("stranger {n}")]))
            .await;
        first.get_or_insert(stored.conversation);
    }
    let eleventh = create(ConversationKind::Direct, &["stranger 10"]);
    let error = ana.refused(eleventh.clone()).await;
    assert_eq!(error.code, ErrorCode::RateLimited);
    let wait = Duration::from_millis(error.retry_after_ms.unwrap());
    assert!(
        wait > Duration::from_secs(300) && wait <= Duration::from_secs(360),
        "{wait:?}"
    );
    ana.stored(create(ConversationKind::Direct, &["ben"])).await;
    ana.stored(create(ConversationKind::Direct, &[])).await;
    let found = ana.stored(create(ConversationKind::Direct, &["stranger 0"])).await;
    assert_eq!((Some(found.conversation), found.duplicate), (first, true));
    let memory = ana.leave();
    sleep(wait).await;
    let (mut ana, _) = Wire::come_back(&house.connector, memory).await;
    ana.stored(eleventh).await;
}
