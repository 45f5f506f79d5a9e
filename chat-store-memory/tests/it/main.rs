//! The memory store passes the store contract, and is another store each time it is made.

mod failing;

use chat_core::{Clock, Store};
use chat_store_memory::MemoryStore;
use chat_testkit::ManualClock;
use chat_testkit::contract::store::StoreFixture;
use std::sync::Arc;
use std::time::Duration;

struct Fixture {
    store: MemoryStore,
    clock: ManualClock,
}

async fn fresh() -> Fixture {
    let clock = ManualClock::default();
    let store = MemoryStore::builder().with_clock(Arc::new(clock.clone())).build();
    Fixture { store, clock }
}

impl StoreFixture for Fixture {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    fn another(&self) -> Arc<dyn Store> {
        self.store()
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

chat_testkit::store_contract!(
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    fresh().await
);

#[tokio::test]
async fn every_start_has_an_epoch_and_secrets_of_its_own() {
    let one = MemoryStore::new().identity().await.unwrap();
    let other = MemoryStore::new().identity().await.unwrap();
    assert_ne!(one.epoch, other.epoch);
    assert_ne!(one.fingerprint_key, other.fingerprint_key);
    assert_ne!(one.cluster_key, other.cluster_key);
}

#[tokio::test]
async fn a_seed_and_a_clock_decide_everything() {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    let seeded = async |seed| {
        let store = MemoryStore::builder().with_clock(clock.clone()).with_seed(seed).build();
        store.identity().await.unwrap()
    };
    let (one, again, other) = (seeded(1).await, seeded(1).await, seeded(2).await);
    assert_eq!((one.epoch, one.cluster_key.clone()), (again.epoch, again.cluster_key));
    assert_ne!(one.epoch, other.epoch);
    assert_ne!(one.cluster_key, other.cluster_key);
}

#[tokio::test]
async fn nothing_secret_is_printed() {
    let store = MemoryStore::new();
    let printed = format!("{store:?} {:?}", store.identity().await.unwrap());
    assert!(printed.contains("[redacted]"), "{printed}");
}
