//! A host with a table of its own in the database of its store, and what holds of its transactions; by each database.

use crate::house::House;
use crate::load::{AT_MOST, Words, by, id, message, removal};
use chat_core::command::{Command, MessageSend};
use chat_core::id::{MessageId, Seq};
use chat_core::message::Content;
use chat_core::store::{Actor, Refusal};
use chat_core::{Limits, Store};
use chat_store_sqlx::AppendError;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// What a host does in the database, in the words of that.
pub trait Host {
    type Transaction;
    fn store(&self) -> impl Store + Clone;
    async fn begin(&self) -> Self::Transaction;
    async fn write_order(&self, transaction: &mut Self::Transaction);
    async fn append(
        &self,
        transaction: &mut Self::Transaction,
        actor: Actor,
        command: impl Into<Command>,
    ) -> Result<chat_core::frame::Stored, AppendError>;
    async fn commit(&self, transaction: Self::Transaction);
    async fn roll_back(&self, transaction: Self::Transaction);
    async fn orders(&self) -> i64;
}

pub async fn rows_of_a_host_and_its_message_commit_together_or_not_at_all(host: impl Host) {
    let words = Words::on(&host.store()).await;
    let group = words.group(&["ann", "bob"]).await;
    let mut transaction = host.begin().await;
    host.write_order(&mut transaction).await;
    let dropped = host
        .append(&mut transaction, by("ann"), message(group, "ordered"))
        .await;
    host.roll_back(transaction).await;
    assert_eq!(
        (host.orders().await, words.log(group).await.len()),
        (0, 1),
        "never seen"
    );

    let mut transaction = host.begin().await;
    host.write_order(&mut transaction).await;
    let stored = host
        .append(&mut transaction, by("ann"), message(group, "ordered"))
        .await
        .unwrap();
    host.commit(transaction).await;
    assert_eq!((host.orders().await, words.log(group).await.len()), (1, 2));
    assert_eq!(stored.seq, dropped.unwrap().seq, "the seq is used by the next");
    assert_eq!(words.head(group).await.tag, stored.tag);
}

pub async fn a_hosts_transaction_holds_its_conversation_until_it_commits(host: impl Host) {
    let words = Words::on(&host.store()).await;
    let group = words.group(&["ann", "bob"]).await;
    let mut transaction = host.begin().await;
    let first = host
        .append(&mut transaction, by("ann"), message(group, "first"))
        .await
        .unwrap();
    let next = tokio::spawn({
        let words = words.clone();
        async move { words.stored(by("bob"), message(group, "next")).await }
    });
    sleep(Duration::from_millis(500)).await;
    assert!(!next.is_finished(), "it waits");
    assert_eq!(words.log(group).await.len(), 1, "and nothing is seen");
    host.commit(transaction).await;
    let next = timeout(AT_MOST, next).await.unwrap().unwrap();
    assert_eq!((first.seq, next.seq), (Seq(2), Seq(3)));
    words.log(group).await;
}

pub async fn a_refusal_leaves_the_hosts_transaction_as_it_was(host: impl Host) {
    let words = Words::on(&host.store()).await;
    let group = words.group(&["ann", "bob"]).await;
    let said = message(group, "said before");
    let before = words.stored(by("ann"), said.clone()).await;

    let mut transaction = host.begin().await;
    host.write_order(&mut transaction).await;
    let stranger = host
        .append(&mut transaction, by("eve"), message(group, "let me in"))
        .await;
    assert!(
        matches!(stranger, Err(AppendError::Refused(Refusal::NotFound))),
        "{stranger:?}"
    );
    let other = MessageSend {
        content: Content::text("another"),
        ..said.clone()
    };
    let conflict = host.append(&mut transaction, by("ann"), other).await;
    assert!(
        matches!(conflict, Err(AppendError::Refused(Refusal::IdConflict))),
        "{conflict:?}"
    );
    let long = message(group, &"x".repeat(1_000_000));
    let long = host.append(&mut transaction, by("ann"), long).await;
    assert!(matches!(long, Err(AppendError::Invalid(_))), "{long:?}");
    let again = host.append(&mut transaction, by("ann"), said).await.unwrap();
    assert_eq!((again.duplicate, again.seq), (true, before.seq));
    let new = message(group, "new");
    let stored = host.append(&mut transaction, by("ann"), new.clone()).await.unwrap();
    let again = host.append(&mut transaction, by("ann"), new.clone()).await.unwrap();
    assert_eq!(
        (again.duplicate, again.seq),
        (true, stored.seq),
        "within the transaction too"
    );
    host.commit(transaction).await;

    assert_eq!((host.orders().await, words.log(group).await.len()), (1, 3));
    assert!(words.stored(by("ann"), new).await.duplicate);
}

/// With a bell at once; without one when the engine next asks what changed.
pub async fn a_client_sees_what_a_host_wrote_when_it_rings_and_later_when_it_does_not(host: impl Host) {
    for rings in [true, false] {
        let mut limits = Limits::default();
        limits.reconcile_interval = Duration::from_secs(if rings { 3_600 } else { 1 });
        let house = House::limited(host.store(), limits).await;
        let words = Words::on(&host.store()).await;
        let group = words.group(&["ann", "bob"]).await;
        let mut ann = house.guest("ann").await;
        let mut transaction = host.begin().await;
        let order = host
            .append(&mut transaction, Actor::System, message(group, "your order"))
            .await
            .unwrap();
        host.commit(transaction).await;
        if rings {
            house.engine.ring(group);
        }
        let event = timeout(AT_MOST, ann.event()).await.unwrap();
        assert_eq!((event.id, event.seq, event.tag), (order.id, order.seq, order.tag));
    }
}

pub async fn nothing_that_a_host_writes_for_a_member_is_stored_after_their_removal(host: impl Host) {
    let words = Words::on(&host.store()).await;
    for round in 0..12 {
        let group = words.group(&["ann", "bob"]).await;
        let remover = tokio::spawn({
            let words = words.clone();
            async move {
                sleep(Duration::from_millis(round % 4)).await;
                words.settle(Actor::System, removal(group, "bob")).await.unwrap()
            }
        });
        let mut told = Vec::new();
        let refusal = loop {
            let mut transaction = host.begin().await;
            match host.append(&mut transaction, by("bob"), message(group, "his")).await {
                Ok(stored) => {
                    host.commit(transaction).await;
                    told.push(stored.seq);
                }
                Err(AppendError::Refused(refusal)) => {
                    host.roll_back(transaction).await;
                    break refusal;
                }
                // A transaction that was begun while the remover wrote.
                Err(_) => host.roll_back(transaction).await,
            }
            assert!(told.len() < 10_000, "he is never refused");
        };
        assert_eq!(refusal, Refusal::NotFound);
        let end = remover.await.unwrap();
        let log = words.log(group).await;
        assert_eq!(log.last().unwrap().seq, end.seq, "nothing comes after his removal");
        let his: Vec<Seq> = log[1..log.len() - 1].iter().map(|event| event.seq).collect();
        assert_eq!(his, told);
    }
}

/// The same command, whoever asks for it: an id from the host's own key.
pub async fn a_command_that_was_appended_in_a_transaction_is_the_same_to_a_client(host: impl Host) {
    let words = Words::on(&host.store()).await;
    let group = words.group(&["ann", "bob"]).await;
    let send = MessageSend {
        id: MessageId::from(id()),
        ..message(group, "once")
    };
    let mut transaction = host.begin().await;
    let stored = host.append(&mut transaction, by("ann"), send.clone()).await.unwrap();
    host.commit(transaction).await;
    let house = House::on(host.store()).await;
    let mut ann = house.guest("ann").await;
    let again = ann.stored(send).await;
    assert_eq!((again.duplicate, again.seq, again.tag), (true, stored.seq, stored.tag));
}

/// Makes the tests of a database, from what opens a host.
#[macro_export]
macro_rules! host_stories {
    ($open:expr; $($story:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $story() {
            $crate::host::$story($open.await).await;
        }
    )*};
    ($open:expr) => {
        $crate::host_stories! { $open;
            rows_of_a_host_and_its_message_commit_together_or_not_at_all
            a_hosts_transaction_holds_its_conversation_until_it_commits
            a_refusal_leaves_the_hosts_transaction_as_it_was
            a_client_sees_what_a_host_wrote_when_it_rings_and_later_when_it_does_not
            nothing_that_a_host_writes_for_a_member_is_stored_after_their_removal
            a_command_that_was_appended_in_a_transaction_is_the_same_to_a_client
        }
    };
}
