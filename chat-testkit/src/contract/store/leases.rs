//! Leases by the store's clock.

use super::StoreFixture;
use chat_core::id::NodeId;
use std::time::Duration;

const TTL: Duration = Duration::from_millis(600);

fn nodes() -> (NodeId, NodeId) {
    (NodeId::from_parts(1, [1; 10]), NodeId::from_parts(2, [2; 10]))
}

/// Whoever renews is told of all others how long they still hold; one that ran out is told with nothing left.
pub async fn a_lease_runs_out_by_the_stores_clock(fixture: impl StoreFixture) {
    let (store, other) = (fixture.store(), fixture.another());
    let (one, two) = nodes();
    assert!(store.renew_lease(one, TTL).await.unwrap().is_empty(), "nobody else is there");
    let seen = other.renew_lease(two, TTL).await.unwrap();
    assert_eq!(seen.len(), 1, "one's own lease is not told");
    assert_eq!(seen[0].node, one);
    assert!(!seen[0].remaining.is_zero() && seen[0].remaining <= TTL);
    let before = seen[0].at;

    fixture.advance(Duration::from_millis(400)).await;
    let seen = other.renew_lease(two, TTL).await.unwrap();
    assert!(seen[0].remaining <= Duration::from_millis(200), "{:?}", seen[0].remaining);
    assert!(seen[0].at.0 >= before.0 + 400, "the answer says when it was true");

    fixture.advance(Duration::from_millis(300)).await;
    let seen = other.renew_lease(two, TTL).await.unwrap();
    assert!(seen.len() == 1 && seen[0].remaining.is_zero(), "it stays listed, so that it is told from one given back");
    let seen = store.renew_lease(one, TTL).await.unwrap();
    assert!(seen.iter().any(|lease| lease.node == two && !lease.remaining.is_zero()), "two kept renewing");
    let seen = other.renew_lease(two, TTL).await.unwrap();
    assert!(!seen[0].remaining.is_zero(), "one that ran out can be renewed");
    let third = other.renew_lease(NodeId::from_parts(3, [3; 10]), TTL).await.unwrap();
    assert_eq!(third.iter().map(|lease| lease.node).collect::<Vec<_>>(), [one, two], "in the order of node ids");
}

/// Renewing starts the time anew; what is given back is gone at once, and giving it back twice is fine.
pub async fn a_lease_is_renewed_and_given_back(fixture: impl StoreFixture) {
    let store = fixture.store();
    let (one, two) = nodes();
    store.renew_lease(one, TTL).await.unwrap();
    fixture.advance(Duration::from_millis(400)).await;
    store.renew_lease(one, TTL).await.unwrap();
    fixture.advance(Duration::from_millis(400)).await;
    let seen = fixture.another().renew_lease(two, TTL).await.unwrap();
    assert!(!seen[0].remaining.is_zero(), "it was renewed 400 ms ago");
    store.release_lease(one).await.unwrap();
    store.release_lease(one).await.unwrap();
    assert!(fixture.another().renew_lease(two, TTL).await.unwrap().is_empty());
}
