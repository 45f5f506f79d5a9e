//! What is Redis' own: addresses, passwords, clusters whose slots move.

use bytes::Bytes;
use chat_backplane_redis::RedisBackplane;
use chat_core::backplane::{Backplane, Rung, Topic};
use chat_testkit::redis::{PrivateRedis, PrivateRedisCluster};
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
async fn hears_itself(node: &RedisBackplane, topic: Topic) {
    let word = Bytes::from(format!("to {topic}"));
    until("a node hears itself", async || {
        let _ = node.publish(&[(topic, word.clone())]).await;
        timeout(Duration::from_millis(100), node.recv()).await == Ok(Rung::Bell(word.clone()))
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_or_url_is_an_error_that_tells_no_secret() {
    let redis = PrivateRedis::start().unwrap();
    let right = redis.url();
    let wrong = right.replacen("redis://:", "redis://:hunter2", 1);
    let port = redis.port();
    let no_port = format!("redis://:hunter2@127.0.0.1:{port}x");
    let no_redis = format!("postgres://u:hunter2@127.0.0.1:{port}");
    let several = format!("{right},{right}");
    for url in [&wrong, &no_port, &no_redis, &several] {
        let error = RedisBackplane::connect(url).await.unwrap_err();
        let said = format!("{error} {error:?}");
        assert!(!said.contains("hunter2") && !said.contains(&right[9..41]), "{said}");
    }
    let backplane = RedisBackplane::connect(&right).await.unwrap();
    assert_eq!(
        format!("{backplane:?}"),
        format!("RedisBackplane {{ servers: [\"127.0.0.1:{port}\"], is_alive: true, .. }}")
    );
}

#[tokio::test]
async fn a_server_that_is_away_at_the_start_is_found_when_it_comes() {
    let redis = PrivateRedis::start().unwrap();
    redis.kill().unwrap();
    let backplane = RedisBackplane::connect(&redis.url()).await.unwrap();
    assert!(!backplane.is_alive());
    assert!(backplane.listen(Topic::Nodes).await.is_err());
    assert!(backplane.publish(&[(Topic::Nodes, Bytes::new())]).await.is_err());
    redis.start_again().unwrap();
    until("it is alive", async || backplane.is_alive()).await;
    // What was wanted meanwhile is heard.
    hears_itself(&backplane, Topic::Nodes).await;
}

#[tokio::test]
async fn chats_with_different_prefixes_do_not_hear_each_other() {
    let redis = PrivateRedis::start().unwrap();
    let one = RedisBackplane::connect(&redis.url()).await.unwrap();
    let other = RedisBackplane::connect_with_prefix(&redis.url(), "other")
        .await
        .unwrap();
    one.listen(Topic::Nodes).await.unwrap();
    other.listen(Topic::Nodes).await.unwrap();
    one.publish(&[(Topic::Nodes, "one".into())]).await.unwrap();
    assert_eq!(one.recv().await, Rung::Bell("one".into()));
    other.publish(&[(Topic::Nodes, "other".into())]).await.unwrap();
    assert_eq!(other.recv().await, Rung::Bell("other".into()));
}

#[tokio::test]
async fn what_the_server_refuses_is_an_error_and_the_connection_stays() {
    let redis = PrivateRedis::start().unwrap();
    let may = "ACL SETUSER poor on >secret &chat:n +ping +info +publish +subscribe";
    redis.command(&may.split(' ').collect::<Vec<_>>()).unwrap();
    let url = format!("redis://poor:secret@127.0.0.1:{}", redis.port());
    let poor = RedisBackplane::connect(&url).await.unwrap();
    poor.listen(Topic::Nodes).await.unwrap();
    assert!(poor.listen(Topic::Users(1)).await.is_err());
    assert!(poor.unlisten(Topic::Nodes).await.is_err());
    let bells = [(Topic::Users(1), "no".into()), (Topic::Nodes, "yes".into())];
    assert!(poor.publish(&bells).await.is_err(), "one of them was not rung");
    assert_eq!(poor.recv().await, Rung::Bell("yes".into()));
    assert!(poor.is_alive());
}

#[tokio::test]
async fn a_cluster_is_spoken_to_in_shards_and_a_batch_goes_to_all_of_them() {
    let cluster = PrivateRedisCluster::start().unwrap();
    let backplane = RedisBackplane::connect(&cluster.url()).await.unwrap();
    let topics: Vec<Topic> = (0..30).map(Topic::Conversations).collect();
    for topic in &topics {
        backplane.listen(*topic).await.unwrap();
    }
    let mut shards = 0;
    for redis in cluster.nodes() {
        let of_this = redis.command(&["PUBSUB", "SHARDCHANNELS"]).unwrap().lines().count();
        assert!(of_this > 0);
        shards += of_this;
    }
    assert_eq!(shards, topics.len(), "each on the one server that is for it");
    let bells: Vec<(Topic, Bytes)> = topics.iter().map(|topic| (*topic, topic.to_string().into())).collect();
    backplane.publish(&bells).await.unwrap();
    let mut heard = std::collections::BTreeSet::new();
    for _ in &topics {
        heard.insert(format!("{:?}", timeout(AT_MOST, backplane.recv()).await.unwrap()));
    }
    assert_eq!(heard.len(), topics.len());
}

#[tokio::test]
async fn topics_follow_their_slots_to_another_server() {
    let cluster = PrivateRedisCluster::start().unwrap();
    let backplane = RedisBackplane::connect(&cluster.url()).await.unwrap();
    let topic = Topic::Conversations(7);
    backplane.listen(topic).await.unwrap();
    let nodes = cluster.nodes();
    let slot = nodes[0].command(&["CLUSTER", "KEYSLOT", "chat:c7"]).unwrap();
    let hears = |node: &PrivateRedis| node.command(&["PUBSUB", "SHARDCHANNELS"]).unwrap() == "chat:c7";
    let old = nodes.iter().position(&hears).unwrap();
    let new = (old + 1) % nodes.len();
    let id = nodes[new].command(&["CLUSTER", "MYID"]).unwrap();
    // The new owner first, as the cluster's own tools do it.
    for at in [new, old, (old + 2) % nodes.len()] {
        nodes[at].command(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]).unwrap();
    }
    until("the new server is listened to", async || hears(&nodes[new])).await;
    let heard = timeout(AT_MOST, backplane.recv()).await.unwrap();
    assert_eq!(heard, Rung::Resync, "something may have been missed");
    hears_itself(&backplane, topic).await;
}

#[tokio::test]
async fn a_dead_server_of_a_cluster_silences_its_topics_alone() {
    let cluster = PrivateRedisCluster::start().unwrap();
    // Otherwise the others take nothing as long as one is missing.
    for redis in cluster.nodes() {
        redis
            .command(&["CONFIG", "SET", "cluster-require-full-coverage", "no"])
            .unwrap();
    }
    let backplane = RedisBackplane::connect(&cluster.url()).await.unwrap();
    let topics: Vec<Topic> = (0..30).map(Topic::Conversations).collect();
    for topic in &topics {
        backplane.listen(*topic).await.unwrap();
    }
    let dead = &cluster.nodes()[0];
    let silent = dead.command(&["PUBSUB", "SHARDCHANNELS"]).unwrap();
    let is_silent = |topic: &&Topic| silent.lines().any(|channel| *channel == format!("chat:{topic}"));
    let (silent, heard): (Vec<&Topic>, Vec<&Topic>) = topics.iter().partition(is_silent);
    dead.kill().unwrap();
    until("the loss is seen", async || !backplane.is_alive()).await;
    for topic in &heard {
        hears_itself(&backplane, **topic).await;
    }
    assert!(backplane.publish(&[(*silent[0], "lost".into())]).await.is_err());
    dead.start_again().unwrap();
    until("it is whole again", async || backplane.is_alive()).await;
    for topic in &silent {
        hears_itself(&backplane, **topic).await;
    }
}
