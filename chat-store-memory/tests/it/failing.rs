//! What a failing store does to its callers, on top of the memory store.

use super::{Fixture, fresh};
use chat_core::Store;
use chat_core::command::{Command, ConversationCreate};
use chat_core::conversation::{ConversationKind, RuleLimits};
use chat_core::dedup::fingerprint;
use chat_core::id::{CommandId, ConversationId, UserId};
use chat_core::store::{Actor, Append, AppendItem, Appended, ItemOutcome, StoreError};
use chat_testkit::contract::store::StoreFixture;
use chat_testkit::failing_store::{Call, Failure};
use chat_testkit::{FailingStore, StoreFaults};
use std::sync::Arc;
use std::time::Duration;

/// Every promise holds of a store that is slow, which also lets writers meet in every order.
mod when_slow {
    use super::*;

    struct Slow(Fixture);

    async fn slow() -> Slow {
        Slow(fresh().await)
    }

    impl StoreFixture for Slow {
        fn store(&self) -> Arc<dyn Store> {
            let store = FailingStore::new(self.0.store(), 1);
            store.faults().delay_up_to(Duration::from_micros(200));
            Arc::new(store)
        }

        fn another(&self) -> Arc<dyn Store> {
            self.store()
        }

        async fn advance(&self, by: Duration) {
            self.0.advance(by).await;
        }
    }

    chat_testkit::store_contract!(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        slow().await
    );
}

async fn failing() -> (Arc<FailingStore>, StoreFaults) {
    let store = Arc::new(FailingStore::new(fresh().await.store(), 7));
    let faults = store.faults();
    (store, faults)
}

fn conversation() -> ConversationId {
    ConversationId::from_parts(1, [1; 10])
}

async fn create(store: &dyn Store) -> Result<Appended, StoreError> {
    let command: Command = ConversationCreate {
        conversation: conversation(),
        id: CommandId::from_parts(2, [2; 10]),
        kind: ConversationKind::Group,
        title: None,
        public: false,
        history: None,
        members: Vec::new(),
        meta: None,
    }
    .into();
    let item = AppendItem {
        actor: Actor::User(UserId::new("ann").expect("a short name")),
        fingerprint: fingerprint(&chat_core::store::Secret([1; 32]), &command),
        command,
    };
    let (conversation, limits) = (conversation(), RuleLimits::default());
    let items = vec![item];
    store
        .append(Append {
            conversation,
            items,
            limits,
        })
        .await
}

#[tokio::test]
async fn a_failure_before_the_effect_leaves_nothing_and_one_after_it_leaves_everything() {
    for (failure, stored) in [(Failure::BeforeTheEffect, false), (Failure::AfterTheEffect, true)] {
        let (store, faults) = failing().await;
        faults.fail_next(Call::Append, failure);
        assert!(
            store.heads(&[conversation()]).await.unwrap().value.is_empty(),
            "a read is no append"
        );
        assert!(matches!(create(&*store).await, Err(StoreError::Unavailable(..))));
        assert_eq!(
            store.heads(&[conversation()]).await.unwrap().value.len(),
            usize::from(stored)
        );
        let outcome = create(&*store).await.unwrap().outcomes.remove(0).unwrap();
        assert_eq!(
            matches!(outcome, ItemOutcome::Duplicate(_)),
            stored,
            "the same id settles it"
        );
        assert_eq!(faults.failures(), 1);
    }
}

#[tokio::test]
async fn a_store_that_is_down_answers_nothing_until_it_is_up_again() {
    let (store, faults) = failing().await;
    faults.set_down(true);
    assert!(create(&*store).await.is_err());
    assert!(store.identity().await.is_err());
    faults.calm();
    assert!(matches!(
        create(&*store).await.unwrap().outcomes[0],
        Ok(ItemOutcome::First(_))
    ));
}

#[tokio::test]
async fn a_store_that_is_paused_waits_before_its_effect() {
    let (store, faults) = failing().await;
    faults.set_paused(true);
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { create(&*store).await.is_ok() }
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished());
    faults.set_paused(false);
    assert!(waiting.await.unwrap());
}

#[tokio::test]
async fn a_seed_decides_what_fails() {
    let run = async || {
        let (store, faults) = failing().await;
        faults.fail_randomly(0.2, 0.2);
        let mut failed = Vec::new();
        for _ in 0..100 {
            failed.push(create(&*store).await.is_err());
        }
        failed
    };
    let (one, again) = (run().await, run().await);
    assert_eq!(one, again);
    let failures = one.iter().filter(|failed| **failed).count();
    assert!((20..60).contains(&failures), "{failures}");
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_bounded_on_both_sides_of_the_effect() {
    let (store, faults) = failing().await;
    faults.delay_up_to(Duration::from_millis(100));
    let started = tokio::time::Instant::now();
    for _ in 0..50 {
        store.heads(&[]).await.unwrap();
    }
    let took = started.elapsed();
    assert!(
        (Duration::from_secs(3)..Duration::from_secs(8)).contains(&took),
        "{took:?}"
    );
}
