//! The backplane of a node that is alone.

use bytes::Bytes;
use chat_core::backplane::{Alone, Backplane, Topic};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn a_node_that_is_alone_rings_into_the_void_and_hears_nothing() {
    assert!(
        Alone
            .publish(&[(Topic::Nodes, Bytes::from_static(b"who?"))])
            .await
            .is_ok()
    );
    assert!(
        tokio::time::timeout(Duration::from_secs(3600), Alone.recv())
            .await
            .is_err()
    );
}
