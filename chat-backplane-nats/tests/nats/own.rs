//! What is NATS' own: addresses, passwords, prefixes.

use bytes::Bytes;
use chat_backplane_nats::NatsBackplane;
use chat_core::backplane::{Backplane, Rung, Topic};
use chat_testkit::nats::PrivateNats;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Long enough for a slow machine; nobody waits that long unless something is wrong.
const AT_MOST: Duration = Duration::from_secs(60);

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let end = Instant::now() + AT_MOST;
    while !holds().await {
        assert!(Instant::now() < end, "never came: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Rings on a topic until the node itself hears it.
async fn hears_itself(node: &NatsBackplane, topic: Topic) {
    let word = Bytes::from(format!("to {topic}"));
    until("a node hears itself", async || {
        let _ = node.publish(&[(topic, word.clone())]).await;
        timeout(Duration::from_millis(100), node.recv()).await == Ok(Rung::Bell(word.clone()))
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_is_an_error_that_tells_no_secret() {
    let nats = PrivateNats::start().unwrap();
    let wrong = nats.url().replacen("chat:", "chat:hunter2", 1);
    let error = NatsBackplane::connect(&wrong).await.unwrap_err();
    let said = format!("{error} {error:?}");
    assert!(said.contains("authorization") && !said.contains("hunter2"), "{said}");
    let backplane = NatsBackplane::connect(&nats.url()).await.unwrap();
    assert_eq!(
        format!("{backplane:?}"),
        format!(
            "NatsBackplane {{ servers: [\"127.0.0.1:{}\"], is_alive: true, .. }}",
            nats.port()
        )
    );
}

#[tokio::test]
async fn a_server_that_is_away_at_the_start_is_found_when_it_comes() {
    let nats = PrivateNats::start().unwrap();
    nats.kill().unwrap();
    let backplane = NatsBackplane::connect(&nats.url()).await.unwrap();
    assert!(!backplane.is_alive());
    assert!(backplane.listen(Topic::Nodes).await.is_err());
    assert!(backplane.publish(&[(Topic::Nodes, Bytes::new())]).await.is_err());
    nats.start_again().unwrap();
    until("it is alive", async || backplane.is_alive()).await;
    backplane.listen(Topic::Nodes).await.unwrap();
    hears_itself(&backplane, Topic::Nodes).await;
}

#[tokio::test]
async fn chats_with_different_prefixes_do_not_hear_each_other() {
    let nats = PrivateNats::start().unwrap();
    let one = NatsBackplane::connect(&nats.url()).await.unwrap();
    let other = NatsBackplane::connect_with_prefix(&nats.url(), "other.chat")
        .await
        .unwrap();
    for node in [&one, &other] {
        node.listen(Topic::Nodes).await.unwrap();
        hears_itself(node, Topic::Nodes).await;
    }
    for (node, word) in [(&other, "other"), (&one, "one")] {
        node.publish(&[(Topic::Nodes, word.into())]).await.unwrap();
    }
    for (node, word) in [(&other, "other"), (&one, "one")] {
        // A repetition of what it listened for at first may come before.
        let mut rung = Rung::Bell("to n".into());
        while rung == Rung::Bell("to n".into()) {
            rung = timeout(AT_MOST, node.recv()).await.unwrap();
        }
        assert_eq!(rung, Rung::Bell(word.into()));
    }
    for wrong in ["", "a b", "a.*", ">", "a..b"] {
        assert!(NatsBackplane::connect_with_prefix(&nats.url(), wrong).await.is_err());
    }
}
