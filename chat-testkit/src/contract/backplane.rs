//! What every [`Backplane`] keeps. On a healthy broker: a contract can only ask for what a broker can do; that the
//! engine lives with one that loses, delays and repeats is shown elsewhere.

use async_trait::async_trait;
use bytes::Bytes;
use chat_core::backplane::{Backplane, Rung, Topic};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// What an implementation brings to be tried: nodes on one broker, and a way to cut one off.
#[async_trait]
pub trait BackplaneFixture: Send + Sync {
    /// A further node on the same broker, connected.
    async fn node(&self) -> Arc<dyn Backplane>;

    /// Breaks a node's connection to the broker and keeps it broken until [`restore`](Self::restore).
    async fn cut(&self, node: &Arc<dyn Backplane>);

    /// Lets a node that was cut off connect again; it may take its time.
    async fn restore(&self, node: &Arc<dyn Backplane>);

    /// Ends a node without a word.
    async fn end(&self, node: Arc<dyn Backplane>) {
        drop(node);
    }

    /// For how long silence is waited for: longer than a bell takes as a rule. A bell that has to come may take longer.
    fn patience(&self) -> Duration {
        Duration::from_secs(1)
    }
}

const HERE: Topic = Topic::Conversations(7);
const THERE: Topic = Topic::Conversations(8);

/// No call waits for longer, and no bell comes later.
const CALL_MAX: Duration = Duration::from_secs(5);

promises! {
    $
    /// Makes a test of every promise of a backplane: attributes for the tests, then an expression, which may await,
    /// that makes a [`BackplaneFixture`](crate::contract::backplane::BackplaneFixture).
    macro backplane_contract(BackplaneFixture) in backplane;

    /// What is published on a topic is heard by every other node that listens to it.
    async fn a_bell_reaches_every_node_that_listens(broker) {
        let [a, b, c] = nodes(broker).await;
        for listener in [&b, &c] {
            listen(&a, listener, HERE).await;
        }
        ring(&a, HERE, b"one").await;
        assert_eq!(hear(&b).await, heard(b"one"));
        assert_eq!(hear(&c).await, heard(b"one"));
    }

    /// A node that listens hears what it rang itself, like every other: so it learns that it is not deaf.
    async fn a_node_hears_itself(broker) {
        let node = broker.node().await;
        listen(&node, &node, HERE).await;
        ring(&node, HERE, b"myself").await;
        assert_eq!(hear(&node).await, heard(b"myself"));
    }

    /// Bells of one call go each to its own topic, and are heard in their order.
    async fn bells_of_one_call_arrive_in_order(broker) {
        let [a, b, _] = nodes(broker).await;
        listen(&a, &b, HERE).await;
        let bells: Vec<(Topic, Bytes)> = (0..100_u8)
            .map(|number| (if number % 10 == 9 { THERE } else { HERE }, Bytes::copy_from_slice(&[number])))
            .collect();
        timeout(CALL_MAX, a.publish(&bells)).await.expect("no call waits long").expect("the broker is healthy");
        for (_, bell) in bells.iter().filter(|(topic, _)| *topic == HERE) {
            assert_eq!(hear(&b).await, Rung::Bell(bell.clone()));
        }
        hears_nothing(broker, &b).await;
    }

    /// A node hears nothing of a topic that it does not listen to, whatever the number or the kind.
    async fn a_bell_does_not_reach_a_node_that_does_not_listen(broker) {
        let [a, b, _] = nodes(broker).await;
        listen(&a, &b, HERE).await;
        for topic in [THERE, Topic::Users(7), Topic::Nodes, Topic::Conversations(70)] {
            ring(&a, topic, b"not for you").await;
        }
        hears_nothing(broker, &b).await;
        ring(&a, HERE, b"for you").await;
        assert_eq!(hear(&b).await, heard(b"for you"));
    }

    /// Topics of every kind carry, each for itself.
    async fn every_kind_of_topic_carries(broker) {
        let [a, b, _] = nodes(broker).await;
        for topic in [Topic::Nodes, Topic::Users(0), Topic::Conversations(0), Topic::Users(u16::MAX)] {
            listen(&a, &b, topic).await;
            ring(&a, topic, b"heard").await;
            assert_eq!(hear(&b).await, heard(b"heard"), "{topic}");
            b.unlisten(topic).await.expect("the broker is healthy");
        }
    }

    /// Listening twice is listening once: one `unlisten` ends it. Ending it twice, or without a start, is no error.
    async fn listening_is_idempotent(broker) {
        let [a, b, _] = nodes(broker).await;
        b.unlisten(HERE).await.expect("ending what never began is no error");
        listen(&a, &b, HERE).await;
        b.listen(HERE).await.expect("listening again is no error");
        b.unlisten(HERE).await.expect("the broker is healthy");
        b.unlisten(HERE).await.expect("ending it twice is no error");
        tokio::time::sleep(broker.patience()).await;
        ring(&a, HERE, b"too late").await;
        hears_nothing(broker, &b).await;
        listen(&a, &b, HERE).await;
    }

    /// `listen` and `unlisten` take effect while `recv` waits.
    async fn listening_changes_while_somebody_waits(broker) {
        let [a, b, _] = nodes(broker).await;
        b.listen(THERE).await.expect("the broker is healthy");
        let change = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            b.unlisten(THERE).await.expect("the broker is healthy");
            b.listen(HERE).await.expect("the broker is healthy");
            tokio::time::sleep(broker.patience()).await;
            ring(&a, THERE, b"not for you").await;
            ring(&a, HERE, b"for you").await;
        };
        let (rung, ()) = tokio::join!(timeout(2 * broker.patience() + CALL_MAX, b.recv()), change);
        assert_eq!(rung.expect("a bell arrives"), heard(b"for you"));
        hears_nothing(broker, &b).await;
    }

    /// A `recv` that is dropped loses no bell, wherever it was.
    async fn recv_is_cancel_safe(broker) {
        let [a, b, _] = nodes(broker).await;
        listen(&a, &b, HERE).await;
        let mut missing: BTreeSet<u32> = (0..200).collect();
        for number in missing.clone() {
            ring(&a, HERE, &number.to_be_bytes()).await;
            // Polled once, then dropped: with a bell there, almost there, or not.
            tokio::select! {
                biased;
                rung = b.recv() => take(&mut missing, &rung),
                () = std::future::ready(()) => {}
            }
        }
        while !missing.is_empty() {
            let Ok(rung) = timeout(CALL_MAX, b.recv()).await else {
                panic!("lost: {missing:?}");
            };
            take(&mut missing, &rung);
        }
    }

    /// Whoever publishes does not wait for a listener that does not read. What that listener misses is replaced by
    /// a `Resync`, and it hears again once it reads.
    async fn a_listener_that_does_not_read_holds_nobody_up(broker) {
        const BELLS: u32 = 20_000;
        let [a, slow, _] = nodes(broker).await;
        listen(&a, &slow, HERE).await;
        let mut bell = vec![0; 1024];
        for number in 0..BELLS {
            bell[..4].copy_from_slice(&number.to_be_bytes());
            ring(&a, HERE, &bell).await;
        }
        let mut missing: BTreeSet<u32> = (0..BELLS).collect();
        let mut resyncs = 0;
        loop {
            // What is neither here nor given up has to come.
            let is_owed = !missing.is_empty() && resyncs == 0;
            let patience = if is_owed { CALL_MAX } else { broker.patience() };
            let Ok(rung) = timeout(patience, slow.recv()).await else { break };
            match rung {
                Rung::Resync => resyncs += 1,
                Rung::Bell(_) => take(&mut missing, &rung),
            }
        }
        assert!(missing.is_empty() || resyncs > 0, "{} bells were lost without a word", missing.len());
        ring(&a, HERE, b"again").await;
        // What was on its way before may still come.
        while hear(&slow).await != heard(b"again") {}
    }

    /// After a cut a node is told that it may have missed something, and hears the topics that it listened to.
    async fn a_cut_ends_with_a_resync(broker) {
        let [a, b, _] = nodes(broker).await;
        listen(&a, &b, HERE).await;
        broker.cut(&b).await;
        ring(&a, HERE, b"missed").await;
        broker.restore(&b).await;
        loop {
            match timeout(4 * CALL_MAX, b.recv()).await.expect("a resync comes") {
                Rung::Resync => break,
                // A broker that kept it may bring it before or after.
                Rung::Bell(bell) => assert_eq!(bell, Bytes::from_static(b"missed")),
            }
        }
        probe(&a, &b, HERE).await;
    }

    /// A node that is cut off says so, and answers every call soon, with or without an error.
    async fn a_cut_is_seen_and_no_call_hangs(broker) {
        let [a, _, _] = nodes(broker).await;
        assert!(a.is_alive());
        broker.cut(&a).await;
        let end = Instant::now() + 4 * CALL_MAX;
        while a.is_alive() {
            assert!(Instant::now() < end, "it goes on to believe that it is connected");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // What they answer is the implementation's; that they answer is the promise.
        let calls = async {
            let _ = a.publish(&[(HERE, Bytes::from_static(b"lost"))]).await;
            let _ = a.listen(HERE).await;
            let _ = a.unlisten(THERE).await;
        };
        timeout(3 * CALL_MAX, calls).await.expect("calls answer while the broker is away");
        broker.restore(&a).await;
        let end = Instant::now() + 4 * CALL_MAX;
        while !a.is_alive() {
            assert!(Instant::now() < end, "it does not come back");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The longest bell arrives whole, and so do all byte values and a bell of one byte.
    async fn bells_arrive_intact_up_to_the_longest(broker) {
        let [a, b, _] = nodes(broker).await;
        listen(&a, &b, HERE).await;
        assert!(a.bell_bytes_max() >= 1024, "whatever must be said fits");
        let long: Vec<u8> = (0..a.bell_bytes_max()).map(|at| (at.wrapping_mul(31) >> 3) as u8).collect();
        let every: Vec<u8> = (0..=u8::MAX).collect();
        for bell in [&long[..], &every[..], b"\0", b"\xff", b"\r\n"] {
            ring(&a, HERE, bell).await;
            assert_eq!(hear(&b).await, heard(bell), "{} bytes", bell.len());
        }
    }

    /// A node that ends without a word takes nobody with it.
    async fn a_node_that_ends_leaves_the_others_alone(broker) {
        let [a, b, c] = nodes(broker).await;
        listen(&a, &b, HERE).await;
        listen(&a, &c, HERE).await;
        broker.end(c).await;
        ring(&a, HERE, b"still here").await;
        assert_eq!(hear(&b).await, heard(b"still here"));
    }

    /// The name is one word for logs.
    async fn the_name_is_one_word(broker) {
        let node = broker.node().await;
        let is_plain = |letter: char| letter.is_ascii_lowercase() || letter == '-';
        assert!(!node.name().is_empty() && node.name().chars().all(is_plain), "{:?}", node.name());
    }
}

async fn nodes(broker: &dyn BackplaneFixture) -> [Arc<dyn Backplane>; 3] {
    [broker.node().await, broker.node().await, broker.node().await]
}

async fn ring(from: &Arc<dyn Backplane>, topic: Topic, bell: &[u8]) {
    let published = timeout(CALL_MAX, from.publish(&[(topic, Bytes::copy_from_slice(bell))])).await;
    published.expect("no call waits long").expect("the broker is healthy");
}

/// Listens, and waits until it has taken effect.
async fn listen(from: &Arc<dyn Backplane>, to: &Arc<dyn Backplane>, topic: Topic) {
    let listening = timeout(CALL_MAX, to.listen(topic)).await;
    listening.expect("no call waits long").expect("the broker is healthy");
    probe(from, to, topic).await;
}

/// Rings until it is heard, then hears what else was rung.
async fn probe(from: &Arc<dyn Backplane>, to: &Arc<dyn Backplane>, topic: Topic) {
    let end = Instant::now() + 4 * CALL_MAX;
    loop {
        // It may still be on its way back from a cut.
        let _ = from.publish(&[(topic, Bytes::from_static(PROBE))]).await;
        let rung = timeout(Duration::from_millis(100), to.recv()).await;
        if rung.is_ok_and(|rung| rung == heard(PROBE)) {
            break;
        }
        assert!(Instant::now() < end, "{topic} is not heard");
    }
    while timeout(Duration::from_millis(100), to.recv()).await.is_ok() {}
}

const PROBE: &[u8] = b"probe";

/// The next bell that is not left over from a probe or a repetition of it.
async fn hear(node: &Arc<dyn Backplane>) -> Rung {
    loop {
        let rung = timeout(CALL_MAX, node.recv()).await.expect("a bell arrives");
        if rung != heard(PROBE) {
            return rung;
        }
    }
}

async fn hears_nothing(broker: &dyn BackplaneFixture, node: &Arc<dyn Backplane>) {
    while let Ok(rung) = timeout(broker.patience(), node.recv()).await {
        assert_eq!(rung, heard(PROBE), "nothing was to be heard");
    }
}

fn heard(bell: &[u8]) -> Rung {
    Rung::Bell(Bytes::copy_from_slice(bell))
}

/// Ticks off a bell that carries its number.
fn take(missing: &mut BTreeSet<u32>, rung: &Rung) {
    if let Rung::Bell(bell) = rung
        && let Some(number) = bell.first_chunk()
    {
        missing.remove(&u32::from_be_bytes(*number));
    }
}
