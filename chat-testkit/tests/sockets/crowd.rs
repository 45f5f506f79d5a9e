//! Many users, many conversations, and a network that breaks at random.

use super::house::{PATIENCE, client, engine_with, group, knows, long, new_message};
use super::proxy::Proxy;
use chat_client::{Client, Content, MessageId, Update, Updates};
use chat_core::command::HistoryList;
use chat_core::frame::Outcome;
use chat_core::id::{ConversationId, Seq};
use chat_core::{Engine, Limits};
use chat_store_memory::MemoryStore;
use chat_testkit::Random;
use chat_testkit::backplane::Hub;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const USERS: usize = 50;
const CONVERSATIONS: usize = 20;
/// Messages of one user to one conversation that wait for their answers at the same time.
const WINDOW: usize = 4;

/// A message as its readers see it.
type Line = (Seq, MessageId, String);
/// What a client was shown, in that order.
type View = BTreeMap<ConversationId, Vec<Line>>;

/// How much of it.
struct Size {
    nodes: usize,
    messages: usize,
    cuts: usize,
}

/// Collects what a client shows until it has shown `count` messages; a reset or a refusal is a failure.
async fn collect(mut updates: Updates, count: usize) -> View {
    let (mut view, mut seen) = (View::new(), 0);
    while seen < count {
        let waited = timeout(PATIENCE * 4, updates.recv()).await;
        let update = waited.unwrap_or_else(|_| panic!("{seen} of {count} messages arrived"));
        match update.unwrap() {
            Update::Event(event) => {
                let lines = view.entry(event.conversation).or_default();
                if let Some(last) = lines.last() {
                    assert_eq!(event.seq, last.0.next(), "a gap or a repetition");
                }
                let (id, text) = new_message(&event).expect("nothing else happens here");
                lines.push((event.seq, id, text));
                seen += 1;
            }
            Update::Reset { reason, .. } => panic!("reset: {reason:?}"),
            Update::Stopped { code } => panic!("stopped: {code:?}"),
            Update::Failed { error, .. } => panic!("refused: {error}"),
            _ => {}
        }
    }
    view
}

/// Writes so many messages to each of the conversations, in turn and several at a time; every one must be stored.
async fn write(user: Client, name: String, conversations: Vec<ConversationId>, count: usize, stored: Arc<AtomicUsize>) {
    for first in (0..count).step_by(WINDOW) {
        let mut pending = Vec::new();
        for number in first..count.min(first + WINDOW) {
            for conversation in &conversations {
                pending.push(user.post(*conversation, Content::text(format!("{name} {number}"))).1);
            }
        }
        for answer in pending {
            let outcome = answer.await.unwrap();
            assert!(matches!(outcome, Outcome::Stored(_)), "{outcome:?}");
            stored.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The messages of a conversation as the host reads them.
async fn log(engine: &Engine, conversation: ConversationId) -> Vec<Line> {
    let (mut lines, mut after) = (Vec::new(), Seq::ZERO);
    loop {
        let command = HistoryList {
            conversation,
            before: None,
            after: Some(after),
            around: None,
            limit: Some(200),
        };
        let Ok(Outcome::History(page)) = engine.system().execute(command).await else {
            panic!("history is answered by a page");
        };
        for message in page.messages {
            after = message.seq;
            lines.push((message.seq, message.id, message.content.unwrap().text.unwrap()));
        }
        if !page.more_after {
            return lines;
        }
    }
}

async fn everybody_sees_the_log(size: Size) {
    let mut random = Random::new(50);
    let mut limits = Limits::default();
    limits.sends_per_user = (1_000_000, 1_000_000);
    limits.sends_per_conversation = (1_000_000, 1_000_000);
    limits.connections_per_address_max = 10_000;
    limits.handshakes_per_address = 10_000;
    limits.handshakes_per_second = 10_000;
    let (hub, store) = (Hub::new(1), MemoryStore::new());
    let mut engines = Vec::new();
    for _ in 0..size.nodes {
        engines.push(engine_with(&store, hub.node(), limits.clone()).await);
    }
    let names: Vec<String> = (0..USERS).map(|user| format!("user{user}")).collect();
    let (mut proxies, mut clients) = (Vec::new(), Vec::new());
    for (user, name) in names.iter().enumerate() {
        let proxy = Proxy::before(&engines[user % size.nodes].addresses()[0]).await;
        clients.push(client(&proxy.url, name).await);
        proxies.push(proxy);
    }
    let mut memberships = vec![Vec::new(); USERS];
    for number in 0..CONVERSATIONS {
        let mut members: Vec<usize> = (0..USERS).filter(|_| random.chance(0.2)).collect();
        // Everybody is somewhere, and every conversation has an owner.
        members.extend((0..USERS).filter(|user| user % CONVERSATIONS == number));
        members.sort_unstable();
        members.dedup();
        let others: Vec<&str> = members[1..].iter().map(|user| names[*user].as_str()).collect();
        let conversation = group(&clients[members[0]].0, &others).await;
        for user in members {
            knows(&clients[user].0, conversation).await;
            memberships[user].push(conversation);
        }
    }
    let places: usize = memberships.iter().map(Vec::len).sum();
    let each = size.messages.div_ceil(places);
    let total = each * places;
    let per_conversation = |conversation: &ConversationId| {
        let members = memberships.iter().filter(|of| of.contains(conversation));
        members.count() * each
    };

    let stored = Arc::new(AtomicUsize::new(0));
    let (mut writers, mut readers) = (JoinSet::new(), Vec::new());
    let mut kept = Vec::new();
    for (user, (client, updates)) in clients.into_iter().enumerate() {
        let mine = memberships[user].clone();
        let expected = mine.iter().map(per_conversation).sum();
        readers.push(tokio::spawn(collect(updates, expected)));
        writers.spawn(write(client.clone(), names[user].clone(), mine, each, stored.clone()));
        kept.push(client);
    }
    // Each cut has its share of the messages to break into; after the last a tenth of them is left.
    let mut broken = 0;
    let cuts = async {
        for cut in 0..size.cuts {
            while stored.load(Ordering::Relaxed) * size.cuts * 10 < cut * total * 9 {
                sleep(Duration::from_millis(1)).await;
            }
            // Somebody who is connected now.
            while !proxies[usize::try_from(random.below(0..USERS as u64)).unwrap()].cut() {
                sleep(Duration::from_millis(1)).await;
            }
            broken += 1;
        }
        // Only the writers end this.
        std::future::pending::<()>().await;
    };
    let writing = async {
        while let Some(done) = writers.join_next().await {
            done.unwrap();
        }
    };
    tokio::select! { biased; () = writing => {}, () = cuts => {} }

    let mut logs = BTreeMap::new();
    for conversation in memberships.iter().flatten() {
        if !logs.contains_key(conversation) {
            logs.insert(*conversation, log(&engines[0], *conversation).await);
        }
    }
    assert_eq!(logs.values().map(Vec::len).sum::<usize>(), total);
    for (user, reader) in readers.into_iter().enumerate() {
        let view = reader.await.unwrap();
        for conversation in &memberships[user] {
            assert_eq!(view[conversation], logs[conversation], "{}", names[user]);
        }
        for (conversation, lines) in &view {
            // One send is in flight at a time: what one user wrote stands in the order of writing.
            let own: Vec<&str> = lines
                .iter()
                .filter_map(|(_, _, text)| text.strip_prefix(&format!("{} ", names[user])))
                .collect();
            assert_eq!(
                own,
                (0..each).map(|number| number.to_string()).collect::<Vec<_>>(),
                "{conversation}"
            );
        }
    }
    assert_eq!(broken, size.cuts);
    println!("{total} messages, {broken} connections broken, {USERS} views equal the log");
    drop(kept);
}

/// 50 users in 20 conversations; 2,000 messages and 50 cuts, or 20,000 and 500 in the long form.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_members_view_equals_the_log_though_connections_break_at_random() {
    let (messages, cuts) = if long() { (20_000, 500) } else { (2_000, 50) };
    everybody_sees_the_log(Size {
        nodes: 1,
        messages,
        cuts,
    })
    .await;
}

/// As before, with half of the users on another node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_members_view_equals_the_log_on_two_nodes_though_connections_break_at_random() {
    let (messages, cuts) = if long() { (20_000, 500) } else { (2_000, 50) };
    everybody_sees_the_log(Size {
        nodes: 2,
        messages,
        cuts,
    })
    .await;
}
