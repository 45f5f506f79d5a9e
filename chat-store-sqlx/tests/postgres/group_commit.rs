//! Appends that go out together: what harms one of them harms no other, and what nobody knows is settled by its id.

use crate::load::{AT_MOST, Load, Words, by, id, message, user};
use crate::proxy::Proxy;
use crate::{fresh_schema, fresh_store};
use chat_core::command::{ConversationDelete, MemberAdd};
use chat_core::store::ItemOutcome;
use chat_store_sqlx::PostgresOptions;
use chat_testkit::postgres::shared_postgres_url;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool};
use std::ops::Range;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_that_a_host_holds_delays_no_other() {
    let (store, schema) = fresh_store().await;
    let words = Words::on(&store).await;
    let groups = words.groups(5).await;
    let (held, others) = groups.split_last().unwrap();
    let load = Load::start(&words, others, 8);
    let began = Instant::now();
    load.goes_on(500).await;

    let mut host = PgConnection::connect(&shared_postgres_url()).await.unwrap();
    let lock = format!("BEGIN; SELECT 1 FROM {schema}.chat_conversations WHERE id = '{held}' FOR UPDATE");
    host.execute(AssertSqlSafe(lock)).await.unwrap();
    let since = Instant::now();
    let waiting: Vec<_> = (0..12)
        .map(|n| {
            let (words, send) = (words.clone(), message(*held, &n.to_string()));
            tokio::spawn(async move {
                let answer = words.append(by("ann"), send.clone()).await;
                (send, answer.map(Result::unwrap), Instant::now())
            })
        })
        .collect();
    let mut acked = load.acked();
    for second in 0..3 {
        sleep(Duration::from_secs(1)).await;
        let now = load.acked();
        assert!(now > acked + 10, "nothing is acknowledged in second {second}");
        acked = now;
    }
    let until = Instant::now();
    host.execute("COMMIT").await.unwrap();

    let told = load.end().await;
    let p99 = |span: Range<Instant>| {
        let waited = told.waited.iter().filter(|(at, _)| span.contains(at));
        let mut waited: Vec<_> = waited.map(|(_, waited)| *waited).collect();
        waited.sort_unstable();
        waited[waited.len() * 99 / 100]
    };
    let (before, meanwhile) = (p99(began..since), p99(since..until));
    println!("99 of 100 of the others waited for {before:?} before and {meanwhile:?} while it was held");
    // Room for a machine that does something else in one of the two.
    let room = Duration::from_millis(100);
    assert!(meanwhile < before * 3 / 2 + room, "{before:?} became {meanwhile:?}");
    assert!(told.in_vain.is_empty(), "{:?}", told.in_vain);
    words.holds(others, &told).await;

    let mut ids = Vec::new();
    for waiting in waiting {
        let (send, answer, at) = timeout(AT_MOST, waiting).await.unwrap().unwrap();
        assert!(answer.is_err() || at >= until, "acknowledged while it was held");
        assert!(at < until + Duration::from_secs(5));
        ids.push(words.settle(by("ann"), send).await.unwrap().id);
    }
    let log = words.log(*held).await;
    assert_eq!(log.len(), 1 + ids.len(), "each of them once");
    assert!(ids.iter().all(|id| log.iter().any(|event| event.id == *id)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_cannot_be_stored_fails_alone() {
    let (store, schema) = fresh_store().await;
    let words = Words::on(&store).await;
    let groups = words.groups(8).await;
    let mut host = PgConnection::connect(&shared_postgres_url()).await.unwrap();
    let check = format!("ALTER TABLE {schema}.chat_messages ADD CONSTRAINT x CHECK (content NOT LIKE '%poison%')");
    host.execute(AssertSqlSafe(check)).await.unwrap();

    let asked: Vec<_> = (0..64)
        .map(|n| {
            let text = if n == 20 { "poison" } else { "food" };
            let (words, send) = (words.clone(), message(groups[n % groups.len()], text));
            tokio::spawn(async move { (words.append(by("ann"), send.clone()).await, send) })
        })
        .collect();
    let mut poison = None;
    for (n, asked) in asked.into_iter().enumerate() {
        let (answer, send) = timeout(AT_MOST, asked).await.unwrap().unwrap();
        match answer {
            Err(_) if n == 20 => poison = Some(send),
            answer => _ = answer.unwrap().unwrap(),
        }
    }
    let poison = poison.expect("a message that cannot be stored is not acknowledged");
    let stored: usize = {
        let mut sum = 0;
        for group in &groups {
            sum += words.log(*group).await.len() - 1;
        }
        sum
    };
    assert_eq!(stored, 63);
    let cure = format!("ALTER TABLE {schema}.chat_messages DROP CONSTRAINT x");
    host.execute(AssertSqlSafe(cure)).await.unwrap();
    assert!(!words.stored(by("ann"), poison).await.duplicate);
}

/// The host takes what an append takes last, and then what it takes first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_victim_of_a_deadlock_with_a_host_is_stored_all_the_same_and_once() {
    let schema = fresh_schema();
    let url = format!("{}?options[deadlock_timeout]=400ms", shared_postgres_url());
    let store = PostgresOptions::new().schema(&schema).connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    let words = Words::on(&store).await;
    let groups = words.groups(3).await;
    let load = Load::start(&words, &groups, 6);
    let mut host = PgConnection::connect(&shared_postgres_url()).await.unwrap();
    let (mut circles, mut lost) = (0, 0);
    // Fewer than a batch is tried.
    while circles < 3 {
        load.goes_on(3).await;
        let member = format!(
            "BEGIN; SELECT 1 FROM {schema}.chat_members WHERE conversation = '{0}' AND user_id = 'ann' FOR UPDATE",
            groups[0]
        );
        host.execute(AssertSqlSafe(member)).await.unwrap();
        // Until an append holds the conversation and waits for the member.
        sleep(Duration::from_millis(100)).await;
        let conversation = format!(
            "SELECT 1 FROM {schema}.chat_conversations WHERE id = '{}' FOR UPDATE",
            groups[0]
        );
        lost += u32::from(host.execute(AssertSqlSafe(conversation)).await.is_err());
        host.execute("ROLLBACK").await.unwrap();
        circles += 1;
    }
    load.goes_on(10).await;
    let told = load.end().await;
    assert!(lost < circles, "it is the store that gives way");
    let is_victim = |(_, error): &(Duration, String)| error.contains("deadlock");
    assert!(
        !told.in_vain.iter().any(is_victim),
        "a victim is tried again: {:?}",
        told.in_vain
    );
    words.holds(&groups, &told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_settled_by_its_id_and_there_once() {
    let (direct, schema) = fresh_store().await;
    let url = shared_postgres_url();
    let proxy = Proxy::before(&url).await;
    let options = PostgresOptions::new().schema(&schema);
    let store = options.connect(&proxy.url(&url)).await.unwrap();
    let (words, truth) = (Words::on(&store).await, Words::on(&direct).await);
    let groups = truth.groups(4).await;
    let load = Load::start(&words, &groups, 8);
    load.goes_on(20).await;
    proxy.cut_every(5);
    let end = Instant::now() + AT_MOST;
    while proxy.cut() < 60 && Instant::now() < end {
        sleep(Duration::from_millis(10)).await;
    }
    proxy.cut_every(0);
    load.goes_on(20).await;
    let told = load.end().await;
    assert!(proxy.cut() >= 60, "cut {} times", proxy.cut());
    truth.holds(&groups, &told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_who_go_away_cancel_nothing_and_harm_nobody() {
    let (store, _) = fresh_store().await;
    let words = Words::on(&store).await;
    let groups = words.groups(4).await;
    let load = Load::start(&words, &groups, 4);
    let mut gone = Vec::new();
    for n in 0..200_usize {
        let send = message(groups[n % groups.len()], "whoever said this is gone");
        gone.push(send.clone());
        let patience = Duration::from_micros(50 * (n as u64 % 40));
        let _ = timeout(patience, words.append(by("ann"), send)).await;
    }
    load.goes_on(10).await;
    let mut told = load.end().await;
    for send in gone {
        told.asked.push(send.id.into());
        let stood = words
            .store
            .lookup(send.conversation, send.id.into())
            .await
            .unwrap()
            .value;
        let stored = words.stored(by("ann"), send).await;
        assert!(stood.is_none_or(|prior| prior.stored.seq == stored.seq));
        told.acked.push(stored);
    }
    words.holds(&groups, &told).await;
}

/// Whose inbox changes is held as well, until the host commits: whoever adds them elsewhere waits, and nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_whom_a_host_holds_delays_no_conversation() {
    let (store, _) = fresh_store().await;
    let words = Words::on(&store).await;
    let groups = words.groups(14).await;
    let (others, adding) = groups.split_at(4);
    let load = Load::start(&words, others, 8);
    load.goes_on(50).await;

    let pool = PgPool::connect(&shared_postgres_url()).await.unwrap();
    let mut host = pool.begin().await.unwrap();
    let add = |group| MemberAdd {
        conversation: group,
        id: id(),
        user: user("carol"),
    };
    store.append_in(&mut host, &by("ann"), add(adding[0])).await.unwrap();
    let since = Instant::now();
    let waiting: Vec<_> = adding[1..]
        .iter()
        .map(|group| {
            let (words, add) = (words.clone(), add(*group));
            tokio::spawn(async move { words.settle(by("ann"), add).await.unwrap() })
        })
        .collect();
    sleep(Duration::from_secs(3)).await;
    assert!(
        !waiting.iter().any(|waiting| waiting.is_finished()),
        "they wait for the host"
    );
    let until = Instant::now();
    host.commit().await.unwrap();

    let told = load.end().await;
    let meanwhile = told.waited.iter().filter(|(at, _)| (since..until).contains(at));
    let longest = meanwhile.map(|(_, waited)| *waited).max().unwrap();
    assert!(
        longest < Duration::from_secs(2),
        "one of the others waited for {longest:?}"
    );
    assert!(told.in_vain.is_empty(), "{:?}", told.in_vain);
    words.holds(others, &told).await;
    for waiting in waiting {
        timeout(AT_MOST, waiting).await.unwrap().unwrap();
    }
}

/// A large channel takes seconds to end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_that_takes_long_to_end_delays_no_other() {
    let (store, schema) = fresh_store().await;
    let words = Words::on(&store).await;
    let groups = words.groups(9).await;
    let (ended, others) = groups.split_last().unwrap();
    let mut host = PgConnection::connect(&shared_postgres_url()).await.unwrap();
    let slow = format!(
        "CREATE FUNCTION {schema}.slow() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN PERFORM pg_sleep(3); RETURN NEW; END'; \
         CREATE TRIGGER slow BEFORE UPDATE ON {schema}.chat_members FOR EACH ROW \
         WHEN (NEW.ended IS NOT NULL AND NEW.user_id = 'ann') EXECUTE FUNCTION {schema}.slow()"
    );
    host.execute(AssertSqlSafe(slow)).await.unwrap();
    let load = Load::start(&words, others, 8);
    load.goes_on(50).await;

    let since = Instant::now();
    let end = ConversationDelete {
        conversation: *ended,
        id: id(),
    };
    let ending = tokio::spawn({
        let words = words.clone();
        async move { words.stored(by("ann"), end).await }
    });
    sleep(Duration::from_secs(3)).await;
    let told = load.end().await;
    let meanwhile = told.waited.iter().filter(|(at, _)| *at >= since);
    let longest = meanwhile.map(|(_, waited)| *waited).max().unwrap();
    assert!(
        longest < Duration::from_secs(2),
        "one of the others waited for {longest:?}"
    );
    words.holds(others, &told).await;
    timeout(AT_MOST, ending).await.unwrap().unwrap();
}

/// A look before a write is a question more; two nodes that write by turns need none while they hear each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_heard_of_another_node_saves_a_look() {
    const TURNS: u32 = 200;
    let (store, schema) = fresh_store().await;
    let url = shared_postgres_url();
    let proxy = Proxy::before(&url).await;
    let other = PostgresOptions::new()
        .schema(&schema)
        .connect(&proxy.url(&url))
        .await
        .unwrap();
    let nodes = [Words::on(&store).await, Words::on(&other).await];
    let group = nodes[0].group(&["ann"]).await;
    let mut at = nodes[0].head(group).await;
    let mut asked = Vec::new();
    for is_told in [false, true] {
        let before = proxy.questions();
        for turn in 0..2 * TURNS {
            let [writes, hears] = [turn % 2, (turn + 1) % 2].map(|node| &nodes[node as usize]);
            let outcome = writes.append(by("ann"), message(group, "by turns")).await.unwrap();
            let ItemOutcome::First(event) = outcome.unwrap() else {
                panic!("it is new")
            };
            let after = event.position();
            if is_told {
                hears.store.heard(group, at, &[event]);
            }
            at = after;
        }
        asked.push(proxy.questions() - before);
    }
    println!("for {TURNS} messages one node asked {asked:?} times: not told of the other's, and told");
    assert!(asked[0] >= 2 * TURNS, "a look and a write: {asked:?}");
    assert!(asked[1] < TURNS * 3 / 2, "most are written without a look: {asked:?}");
}
